"""Commands that make a home and look at exports: ``rfm init``, ``rfm check`` and ``rfm sample``."""

from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rfm_pipeline.cli.home_option import Home, home_folder
from rfm_pipeline.errors import RfmError

if TYPE_CHECKING:
    from rfm_pipeline.shop import Shop


def init(
    home: Annotated[Path, typer.Argument(help="The folder to make.")],
    preset: Annotated[str, typer.Option(help="How the exports' columns are read.")] = "standard",
    name: Annotated[str | None, typer.Option(help="The shop's name; it signs the messages.")] = None,
    timezone: Annotated[str, typer.Option(help="The shop's time zone (IANA).")] = "Asia/Shanghai",
    currency: Annotated[
        str | None,
        typer.Option(help="The currency of the amounts; CNY, or what the exports name, if left out."),
    ] = None,
    first_week: Annotated[
        str | None, typer.Option(help="First Monday of the weekly grid; a year ago if left out.")
    ] = None,
    last_week: Annotated[
        str | None, typer.Option(help="Last Monday of the grid; open-ended if left out.")
    ] = None,
) -> None:
    """Makes a home for a new shop: a `shop.yaml` in which every line explains itself, and `orders/`."""
    from rfm_pipeline.home.layout import make_home, shop_file_text
    from rfm_pipeline.ingest.presets import NO_BUYERS, load_preset
    from rfm_pipeline.weeks import week_of

    home = home.expanduser().resolve()
    hides_buyers = load_preset(preset, home).hides_buyers
    begin = _date(first_week) if first_week else week_of(date.today()) - timedelta(weeks=52)
    shop = make_home(
        home,
        shop_file_text(
            name=name or home.name,
            timezone=timezone,
            currency=currency or "CNY",
            orders_currency=None if currency else "auto",
            preset=preset,
            first_week=begin,
            last_week=_date(last_week) if last_week else None,
        ),
    )
    typer.echo(f"made {shop.home / 'shop.yaml'}")
    if not 2 <= len(shop.shop.name) <= 16:
        typer.echo(
            f"note: the name {shop.shop.name!r} can't sign text messages, which takes 2 to 16 characters; "
            "write another into shop.name before the first list"
        )
    if hides_buyers:
        typer.echo(f"note: {NO_BUYERS}")
    typer.echo(f"next: drop the order exports into {shop.orders_dir}, then run")
    typer.echo(f"  rfm check {shop.orders_dir}/*")
    typer.echo(f"  rfm run --home {shop.home}")


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RfmError(f"{text!r} is no date; write it such as 2025-01-06.") from None


def check(
    files: Annotated[list[Path], typer.Argument(help="Order exports.")],
    preset: Annotated[
        str | None, typer.Option(help="How columns are read; the home's preset, or a guess, if left out.")
    ] = None,
    home: Home = None,
) -> None:
    """Shows what would be read, mapped and rejected of some exports, without loading anything.

    Says which preset the header looks like and how sure that is; a file outside a home is read as that one.
    """
    from rfm_pipeline.cli.terminal import print_file_check
    from rfm_pipeline.errors import OrderFileError
    from rfm_pipeline.ingest.files.archives import DEFAULT_LIMITS, Limits
    from rfm_pipeline.ingest.files.reading import AUTO, Rules
    from rfm_pipeline.ingest.loading import reading_rules
    from rfm_pipeline.ingest.presets import load_family
    from rfm_pipeline.ingest.report import check_file, guess

    problems = 0
    for path in files:
        try:
            shop = _shop_of(path, home)
            folder = shop.home if shop else None
            name = preset or (shop.orders.preset if shop else None)
            if name is None:
                best = guess(path, None)[0]
                if best.lacks:
                    raise OrderFileError(
                        f"{path}: fits no known preset. Nearest is {best.preset.name!r}, which needs "
                        f"{best.lacks} more columns; say --preset {best.preset.name} to see which. "
                        f"For a layout of your own, make a preset: rfm preset new {path}"
                    )
                name = best.preset.name
            print_file_check(
                check_file(
                    path,
                    load_family(name, folder),
                    shop.shop.timezone if shop else "Asia/Shanghai",
                    home=folder,
                    encoding=shop.orders.encoding if shop else None,
                    delimiter=shop.orders.delimiter if shop else None,
                    rules=reading_rules(shop) if shop else Rules(AUTO),
                    limits=Limits.of(shop.orders) if shop else DEFAULT_LIMITS,
                )
            )
        except RfmError as error:
            problems += 1
            typer.echo(f"error: {error}", err=True)
    if problems:
        raise typer.Exit(1)


def _shop_of(path: Path, home: Path | None) -> "Shop | None":
    """The shop whose settings read a file: the named one, else the one in whose home the file lies."""
    import os

    from rfm_pipeline.shop import load_shop

    if home is not None or "RFM_HOME" in os.environ:
        return load_shop(home_folder(home))
    folders = path.expanduser().resolve().parents
    return next((load_shop(folder) for folder in folders if (folder / "shop.yaml").exists()), None)


def sample(
    home: Annotated[Path, typer.Argument(help="The folder to make.")],
    customers: Annotated[int, typer.Option(min=1, help="About how many customers.")] = 6000,
    weeks: Annotated[int, typer.Option(min=1, help="How many weeks of orders.")] = 78,
    seed: Annotated[int, typer.Option(help="The same seed makes the same shop.")] = 7,
    effect: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Simulate an effect: recall raises the 30-day return by this, e.g. 0.05."
        ),
    ] = None,
    campaigns: Annotated[int, typer.Option(min=1, help="With --effect: so many weekly lists.")] = 8,
) -> None:
    """Makes a synthetic home-goods shop to try things on; the same seed makes the same shop.

    With `--effect` (0.05, say), the shop is run week by week and recalled customers answer its lists, so that
    what the review finds can be compared with what was simulated.
    """
    from rfm_pipeline.demo.sample_shop import make_sample

    shop = make_sample(home.expanduser().resolve(), customers=customers, weeks=weeks, seed=seed)
    if effect is not None:
        _simulate(shop, effect, campaigns, seed)
    typer.echo(f"made {shop.home}; run it with: rfm run --home {shop.home}")


def _simulate(shop: "Shop", effect: float, campaigns: int, seed: int) -> None:
    """Runs a new sample with an effect of its recall simulated."""
    from rfm_pipeline.cli.terminal import progress
    from rfm_pipeline.demo.simulated_effect import simulate_campaigns
    from rfm_pipeline.orchestration.runner import Runner

    with progress() as say:
        lists = simulate_campaigns(
            shop,
            effect=effect,
            campaigns=campaigns,
            seed=seed,
            run=lambda settings, week: Runner(settings, say).run([week]),
        )
    recalled, answered = sum(list_.recalled for list_ in lists), sum(list_.answered for list_ in lists)
    share = answered / recalled if recalled else 0
    typer.echo(
        f"simulated {answered} answers in {len(lists)} lists with {recalled} recalled: {share:+.1%} "
        f"(asked for {effect:+.1%})"
    )

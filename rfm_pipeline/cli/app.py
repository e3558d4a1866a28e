"""The ``rfm`` command.

Heavy libraries are imported inside the commands, so that ``rfm --help`` answers at once.
"""

import sys
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rfm_pipeline.cli import tags
from rfm_pipeline.cli.home_option import Home, bounded_shop, home_folder
from rfm_pipeline.cli.ledger import ledger
from rfm_pipeline.cli.recall import recall
from rfm_pipeline.errors import RfmError

if TYPE_CHECKING:
    from rfm_pipeline.shop import Shop

app = typer.Typer(
    name="rfm",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Finds the customers an online shop lost in silence, every week, and wins them back.

A shop lives in one **home** folder: `shop.yaml`, `orders/` with any number of exports, and what the
program makes of them (`warehouse.duckdb`, `ledger.sqlite`, `out/`). Name it with `--home` or `RFM_HOME`;
`data/`, the demo shop, is the default.

Typical: `rfm check exports/*` tells whose layout it is, `rfm init myshop --preset taobao_orders`, drop the
exports into `myshop/orders/`, `rfm run --home myshop`, `rfm ui --home myshop`.
""",
)

tags.add_to(recall)
app.add_typer(recall)
app.add_typer(ledger)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RfmError(f"{text!r} is no date; write it such as 2025-01-06.") from None


@app.command()
def init(
    home: Annotated[Path, typer.Argument(help="The folder to make.")],
    preset: Annotated[str, typer.Option(help="How the exports' columns are read.")] = "standard",
    name: Annotated[str | None, typer.Option(help="The shop's name; it signs the messages.")] = None,
    timezone: Annotated[str, typer.Option(help="The shop's time zone (IANA).")] = "Asia/Shanghai",
    currency: Annotated[str, typer.Option(help="The currency of the amounts.")] = "CNY",
    first_week: Annotated[
        str | None, typer.Option(help="First Monday of the weekly grid; a year ago if left out.")
    ] = None,
    last_week: Annotated[
        str | None, typer.Option(help="Last Monday of the grid; open-ended if left out.")
    ] = None,
) -> None:
    """Makes a home for a new shop: a `shop.yaml` in which every line explains itself, and `orders/`."""
    from rfm_pipeline.home.layout import make_home, shop_file_text
    from rfm_pipeline.ingest.presets import load_preset
    from rfm_pipeline.weeks import week_of

    load_preset(preset)
    begin = _date(first_week) if first_week else week_of(date.today()) - timedelta(weeks=52)
    home = home.expanduser().resolve()
    shop = make_home(
        home,
        shop_file_text(
            name=name or home.name,
            timezone=timezone,
            currency=currency,
            preset=preset,
            first_week=begin,
            last_week=_date(last_week) if last_week else None,
        ),
    )
    typer.echo(f"made {shop.home / 'shop.yaml'}")
    typer.echo(f"next: drop the order exports into {shop.orders_dir}, then run")
    typer.echo(f"  rfm check {shop.orders_dir}/*")
    typer.echo(f"  rfm run --home {shop.home}")


@app.command()
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
                        f"{best.lacks} more columns; say --preset {best.preset.name} to see which, or write "
                        "a preset of your own (docs/reference/presets.md)."
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


@app.command()
def run(
    home: Home = None,
    week: Annotated[str | None, typer.Option(help="One week, named by its Monday.")] = None,
    weeks: Annotated[str | None, typer.Option(help="A range of weeks A..B, in one run.")] = None,
) -> None:
    """Takes new orders in, fills in missing weeks, and takes the newest covered week through all stages.

    A range of weeks is diagnosed again in one run; ranges and past weeks never send anything. Where nothing
    has changed since the last run of the same day, it says so and leaves everything as it is.
    """
    from rfm_pipeline.orchestration.last_run import report_if_up_to_date
    from rfm_pipeline.weeks import parse_week, parse_weeks

    if week and weeks:
        raise RfmError("write either --week or --weeks, not both.")
    shop = bounded_shop(home)
    asked = [parse_week(shop, week)] if week else parse_weeks(shop, weeks) if weeks else None
    known = None if asked else report_if_up_to_date(shop)
    from rfm_pipeline.cli.terminal import print_summary, progress, tags_left

    if known is not None:
        typer.echo("nothing has changed since the last run: all is up to date", err=True)
        print_summary(shop, known)
        return
    from rfm_pipeline.orchestration.runner import Runner

    with progress() as say:
        report = Runner(shop, say).run(asked)
    print_summary(shop, report)
    if left := tags_left(report):
        raise RfmError(f"{left}; what is done is done, and this goes on with the rest: rfm recall apply")


@app.command()
def report(
    home: Home = None,
    week: Annotated[
        str | None, typer.Option(help="The week, named by its Monday; the newest if left out.")
    ] = None,
    is_opened: Annotated[bool, typer.Option("--open/--no-open", help="Show it in the browser.")] = True,
) -> None:
    """Opens the owner's page of a week, drawn from the tables as they are now."""
    shop = bounded_shop(home)
    from rfm_pipeline.home.warehouse import open_warehouse
    from rfm_pipeline.review.report.page import newest_week, write_reports
    from rfm_pipeline.weeks import parse_week

    warehouse = open_warehouse(shop)
    asked = newest_week(warehouse, shop) if week is None else parse_week(shop, week)
    path = write_reports(warehouse, shop, [asked])[asked]
    typer.echo(str(path))
    if is_opened:
        _open(path)


def _open(path: Path) -> None:
    import webbrowser

    if not webbrowser.open(path.as_uri()):
        typer.echo("no browser was found here: open the file yourself", err=True)


@app.command()
def playbook(
    home: Home = None,
    is_opened: Annotated[bool, typer.Option("--open/--no-open", help="Show it in the browser.")] = True,
) -> None:
    """Writes the method as a document, from the settings in force, and opens it."""
    shop = bounded_shop(home)
    from rfm_pipeline.home.warehouse import open_warehouse
    from rfm_pipeline.review.report.playbook import write_playbook

    written = write_playbook(open_warehouse(shop), shop)
    for path in written.values():
        typer.echo(str(path))
    if is_opened:
        _open(written["html"])


@app.command()
def sample(
    home: Annotated[Path, typer.Argument(help="The folder to make.")],
    customers: Annotated[int, typer.Option(min=1, help="About how many customers.")] = 6000,
    weeks: Annotated[int, typer.Option(min=1, help="How many weeks of orders.")] = 78,
    seed: Annotated[int, typer.Option(help="The same seed makes the same shop.")] = 7,
    effect: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Plant an effect: recall raises the 30-day return by this, e.g. 0.05."
        ),
    ] = None,
    campaigns: Annotated[int, typer.Option(min=1, help="With --effect: so many weekly lists.")] = 8,
) -> None:
    """Makes a synthetic home-goods shop to try things on; the same seed makes the same shop.

    With `--effect` (0.05, say), the shop is run week by week and recalled customers answer its lists, so that
    what the review finds can be compared with what was planted.
    """
    from rfm_pipeline.demo.sample_shop import make_sample

    shop = make_sample(home.expanduser().resolve(), customers=customers, weeks=weeks, seed=seed)
    if effect is not None:
        _plant(shop, effect, campaigns, seed)
    typer.echo(f"made {shop.home}; run it with: rfm run --home {shop.home}")


def _plant(shop: "Shop", effect: float, campaigns: int, seed: int) -> None:
    """Runs a new sample and plants an effect in it."""
    from rfm_pipeline.cli.terminal import progress
    from rfm_pipeline.demo.simulated_effect import simulate_campaigns
    from rfm_pipeline.orchestration.runner import Runner

    with progress() as say:
        planted = simulate_campaigns(
            shop,
            effect=effect,
            campaigns=campaigns,
            seed=seed,
            run=lambda settings, week: Runner(settings, say).run([week]),
        )
    recalled, answered = sum(list_.recalled for list_ in planted), sum(list_.answered for list_ in planted)
    share = answered / recalled if recalled else 0
    typer.echo(
        f"planted {answered} answers in {len(planted)} lists with {recalled} recalled: {share:+.1%} "
        f"(asked for {effect:+.1%})"
    )


@app.command()
def ui(
    home: Home = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 3000,
) -> None:
    """Opens the Dagster UI for the shop, with the weekly schedule running, until Ctrl-C."""
    import os
    import signal
    import socket

    shop = bounded_shop(home)
    from rfm_pipeline.orchestration.runner import prepare_instance

    with socket.socket() as probe:
        if probe.connect_ex((host, port)) == 0:
            raise RfmError(
                f"port {port} of {host} is taken, perhaps by another `rfm ui`; choose another with --port."
            )
    prepare_instance(shop)
    typer.echo(f"http://{host}:{port} shows {shop.shop.name}; Ctrl-C ends it")
    sys.stdout.flush()
    # Dagster warns of any dagster.yaml in the current folder that isn't the one in use
    os.chdir(shop.dagster_home)
    # a shell that starts a job in the background has it ignore Ctrl-C, and Dagster ends by nothing else
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Dagster takes this process's place: whoever ends it ends the web server and the daemon, too
    no_dg_here = "ignore:Function `dev_command` is superseded"
    arguments = ["dev", "-m", "rfm_pipeline.definitions", "-h", host, "-p", str(port)]
    os.execv(sys.executable, [sys.executable, "-W", no_dg_here, "-m", "dagster", *arguments])


@app.command()
def forget(
    customer: Annotated[str, typer.Argument(help="The customer's id, as it stands in the orders.")],
    home: Home = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask for confirmation.")] = False,
) -> None:
    """Removes a person from warehouse, contacts, outputs and ledger, and keeps them out from then on.

    Their orders stay as a guest's, the review keeps its counts. Exit code 1 if something is left to be done
    by hand.
    """
    shop = bounded_shop(home)
    from rfm_pipeline.home.warehouse import open_warehouse
    from rfm_pipeline.ledger import Ledger
    from rfm_pipeline.privacy import summaries
    from rfm_pipeline.privacy.forget import find_traces
    from rfm_pipeline.privacy.forget import forget as forget_customer

    customer_id, warehouse, ledger = customer.strip(), open_warehouse(shop), Ledger(shop.ledger_url)
    if not yes:
        traces = find_traces(shop, warehouse, ledger, customer_id)
        if traces.is_known:
            for line in [*summaries.found(shop, traces), *summaries.by_hand(shop, traces)]:
                typer.echo(f"- {line}")
            typer.confirm(f"Forget customer {customer_id} of {shop.home} for good?", abort=True)
    traces = forget_customer(shop, warehouse, ledger, customer_id)
    for line in [*summaries.found(shop, traces), *summaries.closing(shop, traces)]:
        typer.echo(f"- {line}")
    left = summaries.by_hand(shop, traces)
    for line in left:
        typer.echo(f"error: {line}", err=True)
    if left:
        raise typer.Exit(1)
    typer.echo(f"customer {customer_id} is forgotten")


def main(arguments: list[str] | None = None) -> Any:
    """Runs the command; an error the user can mend is one message and exit code 1."""
    try:
        return app(args=arguments, standalone_mode=True)
    except RfmError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None

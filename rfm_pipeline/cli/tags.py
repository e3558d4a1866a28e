"""``rfm recall plan``, ``apply`` and ``status``: the tags of a week before, while and after they are sent."""

from typing import TYPE_CHECKING, Annotated

import typer

from rfm_pipeline.cli.home_option import Home, bounded_shop
from rfm_pipeline.errors import RfmError

if TYPE_CHECKING:
    from datetime import date

    import polars as pl
    from rich.table import Table

    from rfm_pipeline.shop import Shop

Week = Annotated[
    str | None, typer.Option(help="The week, named by its Monday; the newest closed one if left out.")
]
_SHOWN_WEEKS = 8
_PREVIEW = {
    "wecom_contacts": "contacts read in WeCom",
    "wecom_staff_unreadable": "members of staff whose contacts can't be read",
    "wecom_matched": "customers matched with a contact",
    "wecom_ambiguous": "customers with no clear contact: not tagged",
    "wecom_unmatched": "customers without a contact: not tagged",
    "wecom_calls": "calls to make",
    "wecom_tags_to_make": "tags to make in the library",
}


def add_to(app: typer.Typer) -> None:
    """Makes these commands part of an app."""
    for command in (plan, apply, status):
        app.command()(command)


def plan(home: Home = None, week: Week = None) -> None:
    """Shows what would be tagged, and what it takes in WeCom; reads only."""
    shop = bounded_shop(home)
    from rich.console import Console

    from rfm_pipeline.contacts.order_contacts import read_order_contacts
    from rfm_pipeline.contacts.reach import read_reach
    from rfm_pipeline.definitions import EARLIER_CHECKS
    from rfm_pipeline.home.warehouse import open_warehouse
    from rfm_pipeline.ledger import Ledger
    from rfm_pipeline.recall import guards, tagging
    from rfm_pipeline.recall.checks import required_before_sending
    from rfm_pipeline.recall.resources import access_of
    from rfm_pipeline.recall.schemas import TAG_PLAN
    from rfm_pipeline.recall.sinks.connection import preview, refuse_connection, refuse_unconfirmed
    from rfm_pipeline.weeks import shop_now

    asked = _asked(shop, week)
    warehouse, ledger, access = open_warehouse(shop), Ledger(shop.ledger_url), access_of(shop)
    if asked not in warehouse.snapshot_weeks(TAG_PLAN.name):
        raise RfmError(f"there is no plan of week {asked}; make it first: rfm run --home {shop.home}")
    reach = read_reach(shop, read_order_contacts(warehouse))
    changes = tagging.open_changes(warehouse, ledger, asked)
    refusal = (
        guards.refuse_weeks(shop, [asked], {}, shop_now(shop))
        or refuse_connection(shop, access)
        or refuse_unconfirmed(shop, ledger)
        or guards.refuse_data(
            warehouse, ledger, shop, asked, required_before_sending(EARLIER_CHECKS), lambda: reach
        )
    )
    seen = preview(warehouse, ledger, shop, reach, access, asked)
    console = Console()
    console.print(_changes_table(changes, f"{shop.shop.name}, week {asked}: tag changes to carry out"))
    for name, words in _PREVIEW.items():
        if name in seen:
            console.print(f"{words}: {seen[name]:,}", highlight=False)
    if "wecom" in seen:
        console.print(f"[yellow]WeCom can't be looked at:[/yellow] {seen['wecom']}", highlight=False)
    console.print(f"[yellow]not carried out as it is:[/yellow] {refusal}" if refusal else "ready to apply")


def apply(
    home: Home = None,
    week: Week = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="You have looked at the first plan: it may be carried out.")
    ] = False,
) -> None:
    """Carries out what is left of a week's tag plan, and makes the work list; what is done is not done again.

    Exit code 1 if it is refused or something is left for another run.
    """
    shop = bounded_shop(home)
    from rfm_pipeline.cli.terminal import progress
    from rfm_pipeline.orchestration.runner import Runner

    with progress() as say:
        tagged = Runner(shop, say).send(_asked(shop, week), is_confirmed=yes).metadata["customer_tags"]
    if "refused" in tagged:
        raise RfmError(f"nothing sent: {tagged['refused']}")
    typer.echo(
        ", ".join(f"{tagged[name]} {name}" for name in ("sent", "done", "failed", "rejected", "unmatched"))
    )
    if "problems" in tagged:
        typer.echo(f"for a human to see to: {tagged['problems']}")
    if "paused" in tagged:
        raise RfmError(str(tagged["paused"]))
    if left := tagged["failed"] + tagged["pending"]:
        raise RfmError(f"{left} tag changes are left for the next run: rfm recall apply --home {shop.home}")


def status(home: Home = None) -> None:
    """Shows what came of the latest lists' tags, and what a human has to see to."""
    shop = bounded_shop(home)
    from rich.console import Console

    from rfm_pipeline.ledger import Ledger
    from rfm_pipeline.recall.problems import problems_file

    ledger = Ledger(shop.ledger_url)
    weeks = sorted(ledger.sealed_weeks())[-_SHOWN_WEEKS:] if ledger.is_there else []
    if not weeks:
        typer.echo("no list was sent yet")
        return
    console = Console()
    console.print(_status_table(shop, ledger.assignments(weeks, ("week", "arm")), ledger.tag_actions(weeks)))
    for day in weeks:
        if (path := problems_file(shop, day)).exists():
            console.print(f"for a human to see to: {path}", soft_wrap=True, highlight=False)


def _asked(shop: "Shop", week: str | None) -> "date":
    from rfm_pipeline.weeks import newest_closed_week, parse_week, shop_now

    return parse_week(shop, week) if week else newest_closed_week(shop, shop_now(shop))


def _changes_table(changes: "pl.DataFrame", title: str) -> "Table":
    from rich.table import Table

    from rfm_pipeline.shop import CHURN_CLASSES

    table = Table(title=title, title_justify="left")
    for heading in ("action", "why", *CHURN_CLASSES, "all"):
        table.add_column(heading, justify="left" if heading in ("action", "why") else "right")
    counted = changes.group_by("action", "reason", "churn_class").len()
    for action, reason in sorted(set(counted.select("action", "reason").iter_rows())):
        found = {name: n for a, r, name, n in counted.iter_rows() if (a, r) == (action, reason)}
        numbers = [found.get(name, 0) for name in CHURN_CLASSES]
        table.add_row(action, reason, *(f"{n:,}" for n in (*numbers, sum(numbers))))
    return table


def _status_table(shop: "Shop", listed: "pl.DataFrame", actions: "pl.DataFrame") -> "Table":
    from rich import box
    from rich.table import Table

    from rfm_pipeline.recall.schemas import STATUSES
    from rfm_pipeline.shop import HOLDOUT, RECALL

    # without lines between them, nine columns fit into the usual 80 characters
    table = Table(
        title=f"{shop.shop.name}: lists and tags",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    table.add_column("week", no_wrap=True)
    for heading in ("to contact", "hold-out", "tag changes", *STATUSES):
        table.add_column(heading, justify="right")
    arms = {(day, arm): n for day, arm, n in listed.group_by("week", "arm").len().iter_rows()}
    found = {(day, how): n for day, how, n in actions.group_by("week", "status").len().iter_rows()}
    for day in sorted({day for day, _ in arms} | {day for day, _ in found}):
        counts = [found.get((day, how), 0) for how in STATUSES]
        numbers = (arms.get((day, RECALL), 0), arms.get((day, HOLDOUT), 0), sum(counts), *counts)
        table.add_row(str(day), *(f"{n:,}" for n in numbers))
    return table

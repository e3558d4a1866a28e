"""``rfm recall``: the messages as customers would read them, whether they may be sent, and news for the team.

Nothing here contacts a customer.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rfm_pipeline.cli.home_option import Home, bounded_shop
from rfm_pipeline.errors import RfmError

if TYPE_CHECKING:
    from datetime import date

    from rfm_pipeline.shop import Shop

recall = typer.Typer(
    name="recall",
    no_args_is_help=True,
    help="The recall's messages: what customers would read, whether it may be sent, and news for the team.",
)
_NO_PRODUCT_YET = "白瓷茶杯"
_PRODUCTS = """
select favourite_product as name
from silent_churners
where week = (select max(week) from silent_churners) and trim(favourite_product) <> ''
group by favourite_product
order by {order}
limit 1
"""


@recall.command()
def preview(
    home: Home = None,
    churn_class: Annotated[
        str | None, typer.Option("--class", help="A, B or C; all of them if left out.")
    ] = None,
    product: Annotated[
        str | None, typer.Option(help="The product to speak of; the one most often bought if left out.")
    ] = None,
) -> None:
    """Shows the messages of a class on every channel, for a made-up customer."""
    shop = bounded_shop(home)
    from rich.console import Console
    from rich.markup import escape

    from rfm_pipeline.recall.linting import examples, segments
    from rfm_pipeline.shop import CHURN_CLASSES

    if churn_class is not None and churn_class.upper() not in CHURN_CLASSES:
        raise RfmError(f"there is no class {churn_class!r}; write one of {', '.join(CHURN_CLASSES)}.")
    names = _products(shop)
    console = Console()
    for row in examples(shop, _week(shop), product or names[0]).iter_rows(named=True):
        if churn_class and row["churn_class"] != churn_class.upper():
            continue
        console.rule(f"class {row['churn_class']}: {escape(row['offer'])}")
        sms = row["sms"]
        count = f"SMS, {len(sms)} characters, charged as {segments(sms)}"
        mail = f"{row['email_subject']}\n\n{row['email_body']}"
        for heading, words in ((count, sms), ("E-mail", mail), ("WeCom", row["wecom_text"])):
            console.print(f"[bold]{heading}[/bold]")
            console.print(escape(words), highlight=False, soft_wrap=True)
            console.print()


@recall.command()
def lint(home: Home = None) -> None:
    """Tries the messages against the rules for promotional messages; exit code 1 if they may not be sent."""
    shop = bounded_shop(home)
    from rfm_pipeline.recall.linting import ERROR, examples
    from rfm_pipeline.recall.linting import lint as lint_messages

    week = _week(shop)
    findings = lint_messages(shop, [examples(shop, week, name) for name in _products(shop)])
    errors = [finding for finding in findings if finding.severity == ERROR]
    for finding in findings:
        kind = "error" if finding.severity == ERROR else "look at"
        typer.echo(f"{kind}: {finding.words}", err=finding.severity == ERROR)
    if errors:
        typer.echo(
            f"{len(errors)} to mend in {shop.home / 'shop.yaml'}; nothing is sent until then", err=True
        )
        raise typer.Exit(1)
    typer.echo("the messages keep the rules")


@recall.command()
def announce(
    home: Home = None,
    week: Annotated[
        str | None, typer.Option(help="The week, named by its Monday; the newest closed one if left out.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Send also what the group may have already: you have looked.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask for confirmation.")] = False,
) -> None:
    """Sends the team's group what it lacks of a week: the message, and the work list as a file.

    A part of which nobody knows whether the group has it, after a time-out, is only sent with `--again`.
    """
    shop = bounded_shop(home)
    from rfm_pipeline.contacts.order_contacts import read_order_contacts
    from rfm_pipeline.contacts.reach import read_reach
    from rfm_pipeline.home.warehouse import open_warehouse
    from rfm_pipeline.ledger import Ledger
    from rfm_pipeline.notifications.delivery import DeliveryStatus
    from rfm_pipeline.recall import weekly_summary
    from rfm_pipeline.recall.resources import robot_key_of
    from rfm_pipeline.weeks import parse_week

    asked = parse_week(shop, week) if week else _week(shop)
    warehouse, ledger, robot_key = open_warehouse(shop), Ledger(shop.ledger_url), robot_key_of(shop)
    refusal = weekly_summary.refuse(shop, ledger, robot_key, [asked], {})
    if refusal or not robot_key:
        raise RfmError(f"the group gets no message: {refusal}.")
    in_doubt = [
        part
        for part, status in weekly_summary.deliveries_of(ledger, asked).items()
        if status is DeliveryStatus.UNKNOWN
    ]
    if again and in_doubt:
        if not yes:
            parts = " and the ".join(in_doubt)
            typer.confirm(f"You have looked, and the group doesn't have the {parts} of {asked}?", abort=True)
        weekly_summary.send_again(ledger, asked)
    reach = read_reach(shop, read_order_contacts(warehouse))
    announcement = weekly_summary.announce(shop, warehouse, ledger, reach, robot_key, asked)
    for part, state in announcement.parts.items():
        typer.echo(
            f"{part}: {state.value}"
            + (f" ({announcement.reasons[part]})" if part in announcement.reasons else "")
        )
    if announcement.unknown:
        typer.echo("look into the group; send what is missing there with --again", err=True)
        raise typer.Exit(1)


def _week(shop: "Shop") -> "date":
    from rfm_pipeline.weeks import newest_closed_week, shop_now

    return newest_closed_week(shop, shop_now(shop))


def _products(shop: "Shop") -> tuple[str, str]:
    """The product that most of the silent bought, and the one with the longest name."""
    from rfm_pipeline.home.warehouse import open_warehouse

    if not Path(shop.warehouse_path).exists():
        return _NO_PRODUCT_YET, _NO_PRODUCT_YET
    with open_warehouse(shop).transaction() as session:
        if not session.has("silent_churners"):
            return _NO_PRODUCT_YET, _NO_PRODUCT_YET
        often, longest = (
            session.read(_PRODUCTS.format(order=order))["name"].to_list()
            for order in (
                "count(*) desc, favourite_product",
                "length(favourite_product) desc, favourite_product",
            )
        )
    return (often or [_NO_PRODUCT_YET])[0], (longest or [_NO_PRODUCT_YET])[0]

"""Commands that write a document and open it: ``rfm report`` and ``rfm playbook``."""

from pathlib import Path
from typing import Annotated

import typer

from rfm_pipeline.cli.home_option import Home, bounded_shop


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


def _open(path: Path) -> None:
    import webbrowser

    if not webbrowser.open(path.as_uri()):
        typer.echo("no browser was found here: open the file yourself", err=True)

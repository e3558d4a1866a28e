"""``rfm ledger``: what is done with the ledger as a whole."""

from typing import Annotated

import typer

from rfm_pipeline.cli.home_option import Home, home_folder

ledger = typer.Typer(
    name="ledger",
    no_args_is_help=True,
    help="The ledger as a whole; docs/reference/ledger.md says what is in it.",
)


@ledger.command()
def copy(
    to_env: Annotated[
        str, typer.Option(help="The environment variable with the target's URL: postgresql://...")
    ],
    home: Home = None,
) -> None:
    """Copies the ledger into an empty PostgreSQL database, all or nothing.

    Stop the runs of this shop before, and name the variable in shop.yaml (ledger.url_env) before the next.
    """
    from rfm_pipeline.ledger import Ledger, copy_ledger
    from rfm_pipeline.shop import ledger_url_of, load_shop

    shop = load_shop(home_folder(home))
    counts = copy_ledger(Ledger(shop.ledger_url), Ledger(ledger_url_of(to_env)))
    for table, count in counts.items():
        typer.echo(f"{table}: {count} rows")
    typer.echo(f"next: write `ledger: {{url_env: {to_env}}}` into {shop.home / 'shop.yaml'} before any run")
    if shop.ledger.url_env is None:
        typer.echo("and move ledger.sqlite away, so that no run goes on with it by mistake")

"""``rfm forget``: removes a person from a home."""

from typing import Annotated

import typer

from rfm_pipeline.cli.home_option import Home, bounded_shop


def forget(
    customer: Annotated[str, typer.Argument(help="The customer's id, as the orders have it.")],
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

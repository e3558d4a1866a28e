"""The ``rfm`` command: assembled here, each group of commands in a module of its own.

Heavy libraries are imported inside the commands, so that ``rfm --help`` answers at once.
"""

from typing import Any

import typer

from rfm_pipeline.cli import tags
from rfm_pipeline.cli.documents import playbook, report
from rfm_pipeline.cli.ledger import ledger
from rfm_pipeline.cli.preset import preset
from rfm_pipeline.cli.privacy import forget
from rfm_pipeline.cli.recall import recall
from rfm_pipeline.cli.run import run, ui
from rfm_pipeline.cli.shop import check, init, sample
from rfm_pipeline.errors import RfmError

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

Typical: `rfm check exports/*` says whose layout it is, `rfm init myshop --preset taobao_orders`, drop the
exports into `myshop/orders/`, `rfm run --home myshop`, `rfm ui --home myshop`.
""",
)

for command in (init, check, run, report, playbook, sample, ui, forget):
    app.command()(command)
tags.add_to(recall)
app.add_typer(preset)
app.add_typer(recall)
app.add_typer(ledger)


def main(arguments: list[str] | None = None) -> Any:
    """Runs the command; an error the user can mend is one message and exit code 1."""
    try:
        return app(args=arguments, standalone_mode=True)
    except RfmError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None

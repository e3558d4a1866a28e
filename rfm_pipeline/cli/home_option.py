"""Which home a command means: the option that all of them share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rfm_pipeline.shop import Shop

Home = Annotated[
    Path | None, typer.Option("--home", help="The shop's folder; RFM_HOME or data/ if left out.")
]


def home_folder(home: Path | None) -> Path:
    """The named home, else the one that ``RFM_HOME`` names, else ``data``."""
    from rfm_pipeline.shop import home_from_environment

    return home_from_environment() if home is None else home.expanduser().resolve()


def bounded_shop(home: Path | None) -> "Shop":
    """The shop of a home, with its number of threads in force for all that is loaded after this.

    The warehouse has its own setting; Polars reads its bound once, when it is imported: a command calls this
    before it imports anything that works with tables.
    """
    from rfm_pipeline.shop import load_shop

    shop = load_shop(home_folder(home))
    if shop.warehouse.threads is not None:
        os.environ.setdefault("POLARS_MAX_THREADS", str(shop.warehouse.threads))
    return shop

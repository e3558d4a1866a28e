"""Which home a command means: the option that all of them share."""

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path | None, typer.Option("--home", help="The shop's folder; RFM_HOME or data/ if left out.")
]


def home_folder(home: Path | None) -> Path:
    """The named home, else the one that ``RFM_HOME`` names, else ``data``."""
    from rfm_pipeline.shop import home_from_environment

    return home_from_environment() if home is None else home.expanduser().resolve()

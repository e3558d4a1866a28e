"""``rfm recall status`` in a terminal of the usual width."""

import io
from datetime import date
from pathlib import Path

import polars as pl
from rich.console import Console

from rfm_pipeline.cli.tags import _status_table
from rfm_pipeline.recall.schemas import STATUSES
from rfm_pipeline_tests.helpers import make_shop

WEEK = date(2026, 6, 29)
HEADINGS = ("contact", "hold-out", "changes", *STATUSES)


def test_weeks_and_headings_are_whole_in_80_columns(tmp_path: Path) -> None:
    listed = pl.DataFrame({"week": [WEEK] * 2000, "arm": ["recall"] * 2000})
    actions = pl.DataFrame({"week": [WEEK] * 2000, "status": ["done"] * 2000})
    shown = io.StringIO()
    Console(file=shown, width=80).print(_status_table(make_shop(tmp_path), listed, actions))
    assert "2026-06-29" in shown.getvalue()
    assert [name for name in HEADINGS if name not in shown.getvalue()] == []
    assert "…" not in shown.getvalue()

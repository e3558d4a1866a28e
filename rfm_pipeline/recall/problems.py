"""What a human has to see to: tag changes that no further run will carry out by itself.

Belongs here: the file beside the tags that lists them. Counts of it are the asset's metadata.
"""

import io
from datetime import date
from pathlib import Path

import polars as pl

from rfm_pipeline.ledger import FORGOTTEN, REJECTED, UNMATCHED, Ledger
from rfm_pipeline.shop import Shop
from rfm_pipeline.storage.atomic_files import replace_files
from rfm_pipeline.storage.spreadsheets import no_formula

_COLUMNS = ("customer_id", "action", "tag", "churn_class", "status", "error")


def problems_file(shop: Shop, week: date) -> Path:
    """Where a week's tag changes that were not carried out are listed."""
    return shop.out_dir / "tags" / f"{week}_problems.csv"


def write_problems(shop: Shop, ledger: Ledger, week: date) -> Path | None:
    """Lists the week's refused and unmatched changes, mode 0600; None, and no file, if there is none."""
    actions = ledger.tag_actions([week])
    left = actions.filter(
        pl.col("status").is_in([REJECTED, UNMATCHED]), ~pl.col("customer_id").str.starts_with(FORGOTTEN)
    )
    path = problems_file(shop, week)
    if left.is_empty():
        path.unlink(missing_ok=True)
        return None
    buffer = io.BytesIO()
    rows = left.select(_COLUMNS).sort("status", "customer_id", "tag")
    rows.with_columns(no_formula(pl.col(pl.String))).write_csv(buffer, include_bom=True)
    replace_files(shop.out_dir, {path: buffer.getvalue()}, mode=0o600)
    return path

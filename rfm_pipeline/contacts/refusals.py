"""Who refused stays refused: refusals that the team wrote down, kept in ``suppression/``.

A work list says of itself that it should be deleted after use; what somebody in it refused must outlive it.
The file is the shop's from then on: a refusal that was none is taken out there, and where it was written.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from rfm_pipeline.contacts.addresses import readable
from rfm_pipeline.contacts.outcome_files import refused
from rfm_pipeline.contacts.phones import phone_region
from rfm_pipeline.contacts.sheets import Dialect, Sheet, filled, known_columns, read_sheets, replace_csv
from rfm_pipeline.contacts.suppression import says_whose
from rfm_pipeline.contacts.vocabulary import CUSTOMER_NAMES, OPTOUT_NAMES
from rfm_pipeline.errors import SuppressionError
from rfm_pipeline.ledger import Ledger, tombstone_digest
from rfm_pipeline.shop import Shop


def refusals_path(shop: Shop) -> Path:
    """Where refusals are kept."""
    return shop.suppression_dir / "outreach_refusals.csv"


def keep_refusals(shop: Shop, ledger: Ledger, sheets: Sequence[Sheet]) -> int:
    """Adds who refused to the opt-outs, each once; of a forgotten customer nothing is written.

    A row that doesn't say whose it is can't be kept: it stops the recall until it does.

    Args:
        shop: The settings.
        ledger: Knows who is forgotten.
        sheets: Tables of ``outcome_files.read_outcomes``.

    Returns:
        How many were added.

    Raises:
        SuppressionError: If the file can't be read or written.
    """
    region = phone_region(shop.shop.timezone)
    found = [
        readable(sheet.frame.filter(refused()), region)
        .filter(says_whose())
        .select(
            *CUSTOMER_NAMES,
            pl.lit(None, pl.String).alias("channel"),
            pl.col("reached_at").alias("since"),
            pl.lit(sheet.path.name).alias("source"),
        )
        for sheet in sheets
    ]
    refusals = pl.concat(found).unique([*CUSTOMER_NAMES], maintain_order=True) if found else pl.DataFrame()
    if refusals.is_empty():
        return 0
    kept = _kept(refusals_path(shop))
    columns = known_columns(kept, OPTOUT_NAMES)
    new = _not_forgotten(refusals, ledger).join(
        readable(_in_our_columns(kept, columns), region), on=[*CUSTOMER_NAMES], how="anti", nulls_equal=True
    )
    if new.is_empty():
        return 0
    ours = {theirs: name for name, theirs in columns.items()}
    added = new.select(
        (pl.col(ours[theirs]) if theirs in ours else pl.lit(None, pl.String)).alias(theirs)
        for theirs in kept.frame.columns
    )
    try:
        kept.path.parent.mkdir(exist_ok=True)
        replace_csv(replace(kept, frame=pl.concat([kept.frame, added])), kept.path.parent)
    except OSError:
        raise SuppressionError(
            f"{kept.path} can't be written: who refused is left alone only as long as the file that says so "
            "is there. Let the program write it, or keep them elsewhere in suppression/."
        ) from None
    return new.height


def _kept(path: Path) -> Sheet:
    """The file of kept refusals, without a row if it isn't there yet."""
    if path.exists():
        return read_sheets(path)[0]
    nothing = pl.DataFrame(schema=dict.fromkeys(OPTOUT_NAMES, pl.String))
    return Sheet(path, "", nothing, Dialect("utf-8-sig", ",", "\n"))


def _in_our_columns(sheet: Sheet, columns: dict[str, str]) -> pl.DataFrame:
    """Whom the kept refusals name."""
    return sheet.frame.select(
        (filled(pl.col(columns[name])) if name in columns else pl.lit(None, pl.String)).alias(name)
        for name in CUSTOMER_NAMES
    )


def _not_forgotten(refusals: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    salt, digests = ledger.tombstones()
    names = refusals["customer_id"].drop_nulls().unique()
    forgotten = [name for name in names if tombstone_digest(salt, name) in digests]
    return refusals.filter(~pl.col("customer_id").is_in(forgotten).fill_null(False))

"""What the team wrote down of whom it reached: the files of ``outreach/``, and work lists filled in in place.

Belongs here: which files there are, their rows as text in our columns, and which rows may be somebody's no.
Fails closed: what can't be read may be a refusal. What a row means for a campaign is ``outreach``'s.
"""

from dataclasses import replace
from pathlib import Path

import polars as pl

from rfm_pipeline.contacts.edit_detection import is_edited
from rfm_pipeline.contacts.sheets import Sheet, filled, known_columns, read_sheets, sheet_files
from rfm_pipeline.contacts.vocabulary import (
    CUSTOMER_NAMES,
    OUTCOME_NAMES,
    OUTCOME_WORDS,
    REFUSED,
)
from rfm_pipeline.errors import SuppressionError
from rfm_pipeline.shop import Shop

FILLED_IN = ("channel", "outcome", "reached_at")
_NO_WORDS = [word for word, outcome in OUTCOME_WORDS.items() if outcome == REFUSED]


def outcome_files(shop: Shop) -> list[Path]:
    """The files that hold outcomes: those handed in, and the work lists that the team wrote into, by name.

    Raises:
        SuppressionError: If a folder is there and can't be looked into.
    """
    lists = [path for path in sheet_files(shop.worklists_dir) if path.suffix.lower() == ".xlsx"]
    return [*sheet_files(shop.outreach_dir), *(path for path in lists if _is_written_into(path))]


def _is_written_into(path: Path) -> bool:
    try:
        return is_edited(path)
    except OSError:
        # the reader reports a file that can't be read
        return True


def read_outcomes(path: Path) -> list[Sheet]:
    """The tables of a file that hold outcomes, without the rows that nobody filled in.

    Returns:
        Tables with the columns ``row`` (1 below the header) and those of ``OUTCOME_NAMES``, as text.

    Raises:
        SuppressionError: If the file can't be read, or lacks a column where somebody may have said no.
    """
    sheets = []
    for sheet in read_sheets(path):
        found = known_columns(sheet, OUTCOME_NAMES)
        if "outcome" in found and not found.keys().isdisjoint(CUSTOMER_NAMES):
            sheets.append(_in_our_columns(sheet, found))
        elif sheet.dialect is not None or _holds_a_no(sheet):
            raise SuppressionError(_lacks(str(sheet)))
    if not sheets:
        raise SuppressionError(_lacks(str(path)))
    return sheets


def _in_our_columns(sheet: Sheet, found: dict[str, str]) -> Sheet:
    columns = (pl.col(found[name]) if name in found else pl.lit(None, pl.String) for name in OUTCOME_NAMES)
    frame = sheet.frame.select(
        # a frame of literals alone would have one row, whatever the file has
        pl.int_range(1, pl.len() + 1).alias("row"),
        *(filled(column).alias(name) for column, name in zip(columns, OUTCOME_NAMES, strict=True)),
    )
    return replace(sheet, frame=frame.filter(pl.any_horizontal(pl.col(FILLED_IN).is_not_null())))


def _holds_a_no(sheet: Sheet) -> bool:
    """Whether any cell holds a word for a refusal."""
    return bool(sheet.frame.select(pl.any_horizontal(_is_no(pl.all()).any())).item())


def _lacks(what: str) -> str:
    return (
        f"{what} lacks a column: a table of outcomes needs 'outcome' (触达结果) and one of "
        f"{', '.join(map(repr, CUSTOMER_NAMES))}. Somebody in it may have refused, so nobody is recalled "
        "until it is there or the file is moved away."
    )


def _is_no(text: pl.Expr) -> pl.Expr:
    return text.str.strip_chars().str.to_lowercase().is_in(_NO_WORDS).fill_null(False)


def outcome() -> pl.Expr:
    """What the outcome of a row means; null for none and for words that aren't known."""
    return pl.col("outcome").str.to_lowercase().replace_strict(OUTCOME_WORDS, default=None)


def refused() -> pl.Expr:
    """Whether a row holds a refusal, in any column."""
    return pl.any_horizontal(_is_no(pl.col(FILLED_IN)))


def may_be_refused() -> pl.Expr:
    """Whether a row holds a refusal, or of an outcome in words that aren't known."""
    return refused() | (pl.col("outcome").is_not_null() & outcome().is_null())

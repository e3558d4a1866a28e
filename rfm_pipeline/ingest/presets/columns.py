"""What a column of an unknown export may be: by its name, and by the values in it.

Belongs here: usual words (``ingest/synonyms.yaml``) and the look at values. Which columns make a preset is
for ``ingest.presets.proposal`` to say.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.files import cells
from rfm_pipeline.ingest.presets import LINE_TYPES, clean_name
from rfm_pipeline.warehouse.columns import MONEY

MONEY_ROLES = ("amount", "unit_price", "list_price", "line_discount", "refunded_amount")
TIME_ROLES = ("ordered_at", "cancelled_at", "refunded_at")
WORDS_LOOKED_AT = 40
MOST = 0.8
"""The share of values that must be of a kind for the column to be of it."""
_BRACKETS = re.compile(r"[(（\[【<].*?[)）\]】>]")
_NO_LETTERS = re.compile(r"[\W_]+")
_LIKE_A_DAY = r"\d[-/.年]\s?\d|^\s*\d{8}|^\s*\d{14}"
_EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
_PHONE = r"^\+?[\d\s()-]{7,20}$"
_COMMA_DECIMALS = r"\d,\d{1,2}\D*$"
_POINT_DECIMALS = r"\.\d{1,2}\D*$"


@dataclass(frozen=True)
class Column:
    """A column of an export, as its first rows show it.

    Attributes:
        name: Its name in the header, as a preset writes it.
        position: Where it stands; 0 is the first.
        rows: Rows looked at.
        filled: How many of them hold a value.
        distinct: How many different values.
        numbers: Share of the values that are numbers.
        times: Share that are days or times.
        emails: Share that are e-mail addresses.
        phones: Share that look like phone numbers.
        masked: Share that hide a part of themselves.
        decimals: Share of numbers with a fraction.
        comma_decimals: Whether a comma separates their fractions.
        lowest: The lowest number; None without one.
        highest: The highest.
        words: The different values, most frequent first, where they are few.
    """

    name: str
    position: int
    rows: int
    filled: int
    distinct: int
    numbers: float
    times: float
    emails: float
    phones: float
    masked: float
    decimals: float
    comma_decimals: bool
    lowest: float | None
    highest: float | None
    words: tuple[str, ...]

    def may_be(self, role: str) -> bool:
        """Whether its values could be those of a canonical column."""
        if not self.filled:
            return False
        if role in TIME_ROLES:
            return self.times >= MOST
        if role in MONEY_ROLES:
            is_rate = role == "line_discount" and (self.highest or 0) <= 1
            return self.numbers >= MOST and not is_rate
        return self._may_be_text(role)

    def _may_be_text(self, role: str) -> bool:
        if role == "quantity":
            return self.numbers >= MOST
        if role in ("order_status", "refund_flag", "currency"):
            return self.distinct <= WORDS_LOOKED_AT and self.times < MOST and self.decimals == 0
        if role == "line_type":
            # all words are known: any other column may be called "type", too
            known = {line_type_of(word) for word in self.words}
            return "sale" in known and None not in known
        if role == "paid_mark":
            return self.numbers < MOST
        if role in ("order_id", "customer_id"):
            is_moment = self.times >= MOST and self.numbers < MOST
            return not is_moment and self.decimals < 1 - MOST
        if role == "product_name":
            return self.numbers < MOST
        return True


def line_type_of(word: str) -> str | None:
    """Whether a word usually means a sale or a return; None if it is no usual one."""
    plain = cells.one_word(word)
    for meaning, words in LINE_TYPES.items():
        if plain in map(cells.one_word, words):
            return meaning
    return None


def fold(name: str) -> str:
    """A header name in one spelling: no case, no spaces or punctuation, nothing in brackets."""
    plain = _NO_LETTERS.sub("", _BRACKETS.sub("", cells.one_word(clean_name(name))))
    return plain or _NO_LETTERS.sub("", cells.one_word(clean_name(name)))


def known_names(header: Sequence[str]) -> int:
    """How many of a header's names are usual words for a column."""
    usual = {name for words in synonyms()["columns"].values() for name in words["exact"]}
    return sum(fold(name) in usual for name in header)


def require_names(path: Path, header: Sequence[str]) -> None:
    """Makes sure that what should be a header holds names, and isn't the first row of data.

    Args:
        path: The file.
        header: Its first row; or another that holds usual names.

    Raises:
        OrderFileError: If it holds a day and more values than usual names, or several values (numbers, e-mail
            addresses) and no usual name.
    """
    row = pl.DataFrame({f"{i}": [name] for i, name in enumerate(header)})
    columns = look(row, header, "UTC", is_workbook=False)
    days = sum(column.times > 0 for column in columns)
    values = sum(max(column.times, column.numbers, column.emails) > 0 for column in columns)
    known = known_names(header)
    # one number may be a name, such as a year
    if (days and values > known) or (values > 1 and not known):
        raise OrderFileError(
            f"{path}: its first row holds values (days, numbers, addresses), not the names of columns. Add a "
            "row of names above it, such as order_id, customer_id, ordered_at, amount; then run this again."
        )


@cache
def synonyms() -> dict[str, Any]:
    """``synonyms.yaml``, with all names and words in one spelling."""
    text = resources.files("rfm_pipeline.ingest").joinpath("synonyms.yaml").read_text("utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    columns = {
        role: {kind: tuple(map(fold, names)) for kind, names in words.items()}
        for role, words in content["columns"].items()
    }
    return {**content, "columns": columns}


def name_score(name: str, role: str) -> int:
    """How well a header name says that it is a canonical column: 0 for not at all, from 1000 down by rank."""
    words, plain = synonyms()["columns"][role], fold(name)
    if plain in words["exact"]:
        return 1000 - int(words["exact"].index(plain))
    if any(part in plain for part in words["never"]):
        return 0
    found = [i for i, part in enumerate(words["holds"]) if part in plain]
    return 500 - min(found) if found else 0


def look(frame: pl.DataFrame, header: Sequence[str], zone: str, is_workbook: bool) -> list[Column]:
    """Looks at the values of an export's first rows.

    Args:
        frame: Its rows as texts, a column a position, as :func:`~rfm_pipeline.ingest.files.texts.text_rows`
            gives them.
        header: The names.
        zone: The shop's time zone.
        is_workbook: Whether a number may be a workbook's day.
    """
    return [_look_at(frame[f"{i}"], clean_name(name), i, zone, is_workbook) for i, name in enumerate(header)]


def texts_of(series: pl.Series) -> pl.Series:
    """The values of a column without what exports wrap around them; empty ones are null."""
    return series.rename("text").to_frame().select(cells.plain(pl.col("text"), cells.Dirt())).to_series()


def _look_at(series: pl.Series, name: str, position: int, zone: str, is_workbook: bool) -> Column:
    texts = texts_of(series).drop_nulls()
    filled = len(texts)
    shares = texts.to_frame("text").select(
        pl.col("text").str.contains(_EMAIL).mean().alias("emails"),
        pl.col("text").str.contains(_PHONE).mean().alias("phones"),
        cells.is_masked(pl.col("text")).mean().alias("masked"),
        pl.col("text").str.contains(_COMMA_DECIMALS).any().alias("comma"),
        pl.col("text").str.contains(_POINT_DECIMALS).any().alias("point"),
    )
    found = shares.row(0, named=True)
    has_comma = bool(found["comma"]) and not found["point"]
    numbers = cells.numbers(cells.decimal_points(texts) if has_comma else texts, MONEY).drop_nulls()
    whole = int((numbers % 1 == 0).sum())
    counted = texts.value_counts(sort=True)
    low: Any = numbers.min()
    high: Any = numbers.max()
    return Column(
        name=name,
        position=position,
        rows=len(series),
        filled=filled,
        distinct=counted.height,
        numbers=len(numbers) / filled if filled else 0.0,
        times=_times(texts, zone, is_workbook, fold(name)),
        emails=found["emails"] or 0.0,
        phones=found["phones"] or 0.0,
        masked=found["masked"] or 0.0,
        decimals=1 - whole / len(numbers) if len(numbers) else 0.0,
        comma_decimals=has_comma and len(numbers) > 0,
        lowest=None if low is None else float(low),
        highest=None if high is None else float(high),
        words=tuple(counted.get_column(counted.columns[0])) if counted.height <= WORDS_LOOKED_AT else (),
    )


def _times(texts: pl.Series, zone: str, is_workbook: bool, name: str) -> float:
    """The share of days and times, whichever order of day and month gives more."""
    if texts.is_empty():
        return 0.0
    looks = texts.str.contains(_LIKE_A_DAY).mean()
    if not is_workbook and isinstance(looks, float) and looks < MOST:
        # most columns are no times, and trying all forms of one costs more than all else
        return 0.0
    # any number of five digits is a day of a workbook: there, the name has to say so, too
    serials = is_workbook and any(name_score(name, role) for role in (*TIME_ROLES, "paid_mark"))
    typed = (
        cells.times(texts, zone, has_serials=serials, date_order=order)
        for order in ("month_first", "day_first")
    )
    return max(1 - times.null_count() / len(texts) for times in typed)

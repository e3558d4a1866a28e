"""Single values of an export: from a text as people, platforms and spreadsheets write it to a typed value.

Every function takes a column of texts and gives a column of the same length; null means that the text is
empty or means nothing of the kind, which the caller tells apart. Plain values are read at once, and only
those that fail are cleaned and tried again, so dirt costs what there is of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import polars as pl

_FULL_WIDTH = [chr(code) for code in range(0xFF01, 0xFF5F)] + ["\u3000"]
_HALF_WIDTH = [chr(code) for code in range(0x21, 0x7F)] + [" "]
_NARROW = str.maketrans(dict(zip(_FULL_WIDTH, _HALF_WIDTH, strict=True)))
_NULL_WORDS = ["NULL", "null", "Null", "\\N"]
_MASKED = r"[*＊]"
_DAMAGED = r"^[+-]?\d+(\.\d+)?[eE]\+\d{1,3}$"
_ROUNDED = r"^(\d{15}0+|9\d{15}|\d{17,})$"
_CURRENCY = (
    r"(?i)^(CNY|RMB|USD|EUR|GBP|HKD|JPY|US\$|HK\$|[¥￥$€£元])|(CNY|RMB|USD|EUR|GBP|HKD|JPY|[¥￥$€£元])$"
)
_GROUPED = r"^-?\d{1,3}(,\d{3})+(\.\d*)?$"
_COMMA_NUMBER = r"^([^\d.,]*)(\d{1,3}(?:[.\s'’]\d{3})+(?:,\d*)?|\d+(?:,\d*)?)([^\d.,]*)$"
_PLAIN_TIME = "%Y-%m-%d %H:%M:%S"
_TIMES = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
    "%Y%m%d%H%M%S",
    "%Y%m%d %H%M%S",
    "%Y%m%d %H:%M:%S",
    "%Y%m%d %H:%M",
    "%Y%m%d",
)
_TIMES_WITH_OFFSET = ("%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z")
_COMPACT_TIME = r"^\d{8}(\d{6}| \d{6}| \d{2}:\d{2}(:\d{2})?)?$"
_FIRST_TIME = datetime(1000, 1, 1)  # %Y reads 24-01-31 as the year 24
_SERIAL_TIME = r"^\d{5}(\.\d+)?$"
_FIRST_SERIAL = datetime(1899, 12, 30)

SLASHED_LONG = r"^(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{4})(?:[^\d/.\-]|$)"
SLASHED_SHORT = r"^(\d{1,2})/(\d{1,2})/(\d{2})(?:[^\d/.\-]|$)"
"""A day that begins with its day or its month, with four or two digits of its year."""

_TIMES_OF_HALF_DAYS = ("%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %I:%M %p")
_CIPHERS = r"^##|##$|^\$\$|\$\$$|^\$.+\$.+\$\d+\$\$?$|^~.+~.*~~$|^~A[gw].+~|密文"
_BASE64 = r"^[A-Za-z0-9+/]{10,}={1,2}$|^[A-Za-z0-9+/]{24,}$"
_WHOLE_NUMBER = r"^(\d+)\.0+$"
_RELAY_NUMBER = r"^(\+?86[- ]?)?1\d{10} ?(-|－|_|转|#|,|，|ext\.?) ?\d{2,6}$"

Parser = Callable[[pl.Series], pl.Series]


@dataclass(frozen=True)
class Dirt:
    """What a file may hold beside plain values; what it surely doesn't hold needs no cleaning.

    Attributes:
        spaces: White space around a value.
        wrapped: ``="…"`` or a leading apostrophe.
        null_words: The word NULL.
        full_width: Full-width digits, letters or punctuation.
        stars: An asterisk, as in masked phone numbers.
        exponents: ``E+``, as in ids damaged by a spreadsheet.
        totals: A word that begins a footer with totals.
        ciphers: Marks of encrypted values.
    """

    spaces: bool = True
    wrapped: bool = True
    null_words: bool = True
    full_width: bool = True
    stars: bool = True
    exponents: bool = True
    totals: bool = True
    ciphers: bool = True


def plain(text: pl.Expr, dirt: Dirt, empty_words: Sequence[str] = ()) -> pl.Expr:
    """A text without what exports wrap around it; null if nothing is left.

    White space, ``="…"``, a leading apostrophe (both keep a spreadsheet from changing an id), the word NULL.

    Args:
        text: The texts.
        dirt: What the file may hold.
        empty_words: What else its platform writes for nothing.
    """
    if dirt.spaces:
        text = text.str.strip_chars()
    if dirt.wrapped:
        text = unwrapped(text)
    unwanted = ["", *empty_words, *(_NULL_WORDS if dirt.null_words else ())]
    return pl.when(~text.is_in(unwanted)).then(text)


def unwrapped(text: pl.Expr) -> pl.Expr:
    """A text without ``="…"`` or a leading apostrophe around it."""
    return text.str.replace(r'(?s)^="(.*)"$', "$1").str.replace(r"^'", "").str.strip_chars()


def half_width(text: pl.Expr) -> pl.Expr:
    """Full-width digits, letters and punctuation as their ordinary forms."""
    return text.str.replace_many(_FULL_WIDTH, _HALF_WIDTH)


def is_masked(text: pl.Expr) -> pl.Expr:
    """Whether a value hides part of itself, such as ``186******05`` or ``张**``."""
    return text.str.contains(_MASKED)


def is_cipher(text: pl.Expr) -> pl.Expr:
    """Whether a value is encrypted by its shape: ``##…##``, ``$$…$$``, ``$…$…$1$$``, ``~…~1~~``, 密文."""
    return text.str.contains(_CIPHERS)


def looks_like_base64(text: pl.Expr) -> pl.Expr:
    """Whether a name or a phone number may be encrypted: long, of both cases and digits, no words."""
    of_all_kinds = text.str.contains("[A-Z]") & text.str.contains("[a-z]")
    has_sign = text.str.contains(r"[0-9+/=]")
    return text.str.contains(_BASE64) & of_all_kinds & has_sign


def is_relay_number(text: pl.Expr) -> pl.Expr:
    """Whether a phone number is a platform's for one order, with an extension: ``17200000000-1234``."""
    return text.str.contains(_RELAY_NUMBER)


def whole_numbers(texts: pl.Series) -> pl.Series:
    """Ids that a program read as numbers with a fraction: ``17850.0`` is 17850."""
    if not (texts.str.ends_with(".0") | texts.str.ends_with(".00")).any():
        return texts
    return texts.str.replace(_WHOLE_NUMBER, "$1")


def is_damaged(text: pl.Expr, is_number: bool = False) -> pl.Expr:
    """Whether an id lost digits in a spreadsheet, such as ``1.2E+18``.

    Args:
        text: The ids.
        is_number: The cells of a workbook that hold numbers: Excel keeps 15 digits, others what a
            floating-point number holds.
    """
    damaged = text.str.contains(_DAMAGED)
    return damaged | text.str.contains(_ROUNDED) if is_number else damaged


def word(text: pl.Expr) -> pl.Expr:
    """A word so that its spellings are equal: ordinary width, lower case, no spaces."""
    return half_width(text).str.to_lowercase().str.replace_all(" ", "", literal=True)


def one_word(text: str) -> str:
    """:func:`word` for a single text."""
    return text.translate(_NARROW).lower().replace(" ", "")


def meaning(words: pl.Expr, meanings: Mapping[Any, Sequence[str]], dtype: Any) -> pl.Expr:
    """Words as what they mean, null for a word that means nothing.

    Args:
        words: The words, of one spelling (:func:`word`).
        meanings: Value to the words that mean it; ``word*`` stands for whatever begins so, ``*word`` for
            whatever ends so.
        dtype: The values' type.
    """
    result = pl.lit(None, dtype)
    for value, spellings in reversed(list(meanings.items())):
        folded = [one_word(spelling) for spelling in spellings]
        matches = words.is_in([spelling for spelling in folded if "*" not in spelling])
        for spelling in folded:
            if spelling.endswith("*"):
                matches = matches | words.str.starts_with(spelling[:-1])
            elif spelling.startswith("*"):
                matches = matches | words.str.ends_with(spelling[1:])
        result = pl.when(matches).then(pl.lit(value, dtype)).otherwise(result)
    return result


def _again(texts: pl.Series, typed: pl.Series, parse: Parser) -> pl.Series:
    """Tries those texts again that a first parser made nothing of."""
    missed = (typed.is_null() & texts.is_not_null()).arg_true()
    return typed if missed.is_empty() else typed.scatter(missed, parse(texts.gather(missed)))


def numbers(texts: pl.Series, dtype: Any) -> pl.Series:
    """Amounts of money, quantities, whole numbers; ``¥1,299.00``, ``（5.00）`` and ``１２`` included.

    A comma that can't separate thousands makes a text unreadable instead of another number, and so does an
    exponent: ``1.2E+05`` has lost its digits.
    """
    typed = texts.cast(dtype, strict=False)
    exponents = texts.str.contains("E", literal=True) | texts.str.contains("e", literal=True)
    if exponents.any():
        typed = typed.set(exponents.fill_null(False), None)
        texts = texts.set(exponents.fill_null(False), "")
    return _again(texts, typed, lambda left: _clean_number(left).cast(dtype, strict=False))


def decimal_points(texts: pl.Series) -> pl.Series:
    """Numbers whose fraction follows a comma, with a point instead: ``1.299,50 €`` is ``1299.50 €``.

    A number with a point where no thousands end, such as ``12.50``, becomes unreadable instead of another.
    """
    text = pl.col("text")
    grouped = text.str.extract(_COMMA_NUMBER, 2).str.replace_all(r"[.\s'’]", "").str.replace(",", ".")
    rebuilt = pl.concat_str(text.str.extract(_COMMA_NUMBER, 1), grouped, text.str.extract(_COMMA_NUMBER, 3))
    unread = pl.when(text.str.contains(r"\d")).then(pl.lit("?")).otherwise(text)
    return pl.DataFrame({"text": texts}).select(pl.coalesce(rebuilt, unread)).to_series()


def _clean_number(texts: pl.Series) -> pl.Series:
    # no space between digits: 1 2 is not 12, and 1. 2 is nothing
    text = half_width(pl.col("text"))
    text = text.str.replace_all(r"(^|[^\d.,])\s+", "$1").str.replace_all(r"\s+([^\d.,]|$)", "$1")
    accounting = text.str.contains(r"^-?[^\d(+]*\(.*\)[^\d)]*$|^[^+-].*\d-$|^\d-$")
    text = pl.when(accounting).then(text.str.replace_all(r"[()]|-$", "")).otherwise(text)
    sign = pl.when(text.str.starts_with("-")).then(pl.lit("-")).otherwise(pl.lit(""))
    text = text.str.replace(r"^-|^\+([^+-])", "$1").str.replace(_CURRENCY, "").str.replace(_CURRENCY, "")
    text = sign + text
    text = (
        pl.when(text.str.contains(_GROUPED)).then(text.str.replace_all(",", "", literal=True)).otherwise(text)
    )
    # (5) is -5; (-5) is nothing we know
    text = pl.when(accounting).then(pl.when(~text.str.starts_with("-")).then("-" + text)).otherwise(text)
    return pl.DataFrame({"text": texts}).select(text).to_series()


def times(texts: pl.Series, zone: str, *, has_serials: bool = False, date_order: str = "iso") -> pl.Series:
    """Shop-local times; a value that carries an offset is converted to the shop's zone.

    A time without an offset is taken as it stands, also one that the change to summer time leaves out or
    that of autumn holds twice: all that is made of times are days and an order, and neither is in doubt.

    Args:
        texts: ``2024-05-01 09:03:00``, ``2024/5/1 9:03``, ``2024年5月1日``, ``20240501``, ISO 8601 with an
            offset or Z.
        zone: The shop's time zone.
        has_serials: Whether a number such as 45413.5 is a workbook's day.
        date_order: What 1/5/2024 means: ``month_first``, ``day_first``, ``clear`` (nothing, but 25/5/2024
            does) or ``iso`` (nothing).
    """
    typed = texts.str.to_datetime(_PLAIN_TIME, strict=False, time_unit="us")
    typed = _again(texts, typed, lambda left: _clean_times(left, zone, has_serials, date_order))
    return typed.set(typed < _FIRST_TIME, None)


def _clean_times(texts: pl.Series, zone: str, has_serials: bool, date_order: str) -> pl.Series:
    # an expression that names itself twice is computed twice: each step has the step before as a column
    narrow = pl.DataFrame({"text": texts}).select(half_width(pl.col("text")))
    if date_order != "iso":
        narrow = _year_first(narrow, date_order)
    text = pl.col("text").str.replace(r"(上午|下午)\s*(\d{1,2}:\d{2}(?::\d{2})?)", "$2 $1")
    text = text.str.replace(r"\s*(上午|(?i:a\.?m\.?))$", " AM").str.replace(
        r"\s*(下午|(?i:p\.?m\.?))$", " PM"
    )
    text = text.str.replace(r"^(\d{4})[-年/.](\d{1,2})[-月/.](\d{1,2})日?[Tt]?\s*", "$1-$2-$3 ")
    text = (
        text.str.strip_chars()
        .str.replace(r" ?(?i:Z|UTC|GMT)$", "+0000")
        .str.replace(r" ([+-]\d{2}:?\d{0,2})$", "$1")
    )
    text = text.str.replace(r"(:\d\d(?:\.\d+)?[+-]\d\d)$", "${1}00")
    # a run of digits is a day, or a day and a time, or some other number
    known = f"{_COMPACT_TIME}|{_SERIAL_TIME}" if has_serials else _COMPACT_TIME
    is_time = ~pl.col("text").str.contains(r"^\d{5}") | pl.col("text").str.contains(known)
    left = narrow.select(text).select(pl.when(is_time).then("text")).to_series()
    typed = left.str.to_datetime(_TIMES[0], strict=False, time_unit="us")
    for form in _TIMES[1:]:
        typed = _again(left, typed, partial(_naive, form=form))
    for form in _TIMES_OF_HALF_DAYS:
        typed = _again(left, typed, partial(_naive, form=form))
    for form in _TIMES_WITH_OFFSET:
        typed = _again(left, typed, partial(_local, form=form, zone=zone))
    if has_serials:
        typed = _again(left, typed, _serial_times)
    return typed


def _year_first(frame: pl.DataFrame, date_order: str) -> pl.DataFrame:
    """Days such as 1/5/2024 as 2024-5-1; what the order leaves open stays as it is, and can't be read."""
    text, first, second = pl.col("text"), pl.col("first"), pl.col("second")
    for pattern, century in ((SLASHED_LONG, ""), (SLASHED_SHORT, "20")):
        if not frame["text"].str.contains(pattern).any():
            continue
        parts = frame.with_columns(
            text.str.extract(pattern, 1).cast(pl.Int64).alias("first"),
            text.str.extract(pattern, 2).cast(pl.Int64).alias("second"),
            (pl.lit(century) + text.str.extract(pattern, 3)).alias("year"),
            text.str.replace(r"^\d{1,2}[/.\-]\d{1,2}[/.\-]\d{2,4},?\s*", "").alias("rest"),
        )
        month_first = {
            "month_first": pl.lit(True),
            "day_first": pl.lit(False),
            "clear": pl.when(second > 12).then(True).when((first > 12) & (century == "")).then(False),
        }[date_order]
        month, day = (
            pl.when(month_first).then(one).when(~month_first).then(other)
            for one, other in ((first, second), (second, first))
        )
        ordered = pl.concat_str(["year", pl.lit("-"), month, pl.lit("-"), day, pl.lit(" "), "rest"])
        frame = parts.select(pl.coalesce(ordered, text).alias("text"))
    return frame


def _naive(texts: pl.Series, form: str) -> pl.Series:
    return texts.str.to_datetime(form, strict=False, time_unit="us")


def _local(texts: pl.Series, form: str, zone: str) -> pl.Series:
    instants = texts.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")
    return instants.dt.convert_time_zone(zone).dt.replace_time_zone(None)


def _serial_times(texts: pl.Series) -> pl.Series:
    """Days since the end of 1899, as workbooks count them, to the second."""
    days = pl.when(pl.col("text").str.contains(_SERIAL_TIME)).then(
        pl.col("text").cast(pl.Float64, strict=False)
    )
    seconds = (days * 86_400).round().cast(pl.Int64) * 1_000_000
    return (
        pl.DataFrame({"text": texts})
        .select(pl.lit(_FIRST_SERIAL) + seconds.cast(pl.Duration("us")))
        .to_series()
    )

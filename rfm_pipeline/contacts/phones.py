"""Phone numbers in one spelling, E.164, so that two ways of writing the same number are equal.

Plain Chinese mobiles, nearly all of a Chinese shop's numbers, are spelled by Polars; only the others are
read one by one with phonenumbers, each different one once. Who a number belongs to is the caller's.
"""

import zoneinfo
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path

import phonenumbers
import polars as pl

DEFAULT_REGION = "CN"
# what a phone's address book or a web form leaves in a number: zero-width and direction marks
_INVISIBLE = r"[\u00AD\u200B-\u200F\u202A-\u202E\u2060-\u2069\uFEFF]"
_SEPARATORS = r"[\s\-.()\u2010-\u2015\u2212]"
_MASKED = r"[*•●]|[xX]{2}"
SCIENTIFIC = r"^[+-]?\d(\.\d+)?[eE][+]?\d+$"
"""What a spreadsheet makes of a long number: its last digits are lost."""


def normalised_phones(series: pl.Series, region: str = DEFAULT_REGION) -> pl.Series:
    """Phone numbers as E.164 text, such as ``+8613800000001``.

    Args:
        series: Numbers as people and spreadsheets write them.
        region: The ISO 3166 country that a number without a country code belongs to.

    Returns:
        As many values: null where it is no number of a possible length for its country, or where digits
        are missing because it was masked (``186******05``) or damaged by a spreadsheet (``1.38E+10``).
        A number of a possible length counts even if its range is not handed out yet.
    """
    written = pl.col("written").cast(pl.String)
    country_code = r"(?:\+86|0086|86)?" if region == "CN" else r"\+86"
    mobile = rf"^{country_code}(1[3-9]\d{{9}})$"
    spelled = series.to_frame("written").select(written, written.str.extract(mobile).alias("mobile"))
    # few need more than that, and each of them once
    others = (
        spelled.filter(pl.col("mobile").is_null())
        .select(pl.col("written").drop_nulls().unique())
        .with_columns(_tidied(pl.col("written")).alias("text"))
        .with_columns(pl.col("text").str.replace_all(_SEPARATORS, "").str.extract(mobile).alias("mobile"))
    )
    read = {
        text: _read(text, region) for text in others.filter(pl.col("mobile").is_null())["text"].drop_nulls()
    }
    spellings = others.select(
        "written",
        pl.when(pl.col("mobile").is_not_null())
        .then(pl.lit("+86") + pl.col("mobile"))
        .otherwise(pl.col("text").replace_strict(read, default=None, return_dtype=pl.String))
        .alias("other"),
    )
    result = spelled.join(spellings, on="written", how="left", maintain_order="left").select(
        (pl.lit("+86") + pl.col("mobile")).fill_null(pl.col("other"))
    )
    return result.to_series().alias(series.name)


def _tidied(text: pl.Expr) -> pl.Expr:
    """The number without what a spreadsheet or an input method put around it; null if digits are missing."""
    plain = (
        text.str.normalize("NFKC")
        .str.replace_all(_INVISIBLE, "")
        .str.strip_chars()
        .str.replace(r'^="(.*)"$', "$1")
        .str.strip_chars("'\"` ")
        .str.replace(r"^(\+?\d{7,})\.0+$", "$1")
    )
    missing = plain.str.contains(_MASKED) | plain.str.contains(SCIENTIFIC) | (plain == "")
    return pl.when(~missing).then(plain)


def _read(text: str, region: str) -> str | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    # not what is possible as a local number only: without its area code it is nobody's
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@cache
def phone_region(timezone: str) -> str:
    """The country whose numbers a shop writes without a country code, from its time zone.

    Args:
        timezone: An IANA name, such as ``Asia/Shanghai``.

    Returns:
        Its ISO 3166 code by the time zone database's own table; ``CN`` where that names none.
    """
    countries = dict(_columns("zone.tab", "\t", name=2, value=0))
    if timezone in countries:
        return countries[timezone]
    # a former name, such as Asia/Chongqing: "L Asia/Shanghai Asia/Chongqing"
    today = dict(_columns("tzdata.zi", " ", name=2, value=1, kind="L"))
    return countries.get(today.get(timezone, ""), DEFAULT_REGION)


def _columns(
    table: str, separator: str, *, name: int, value: int, kind: str | None = None
) -> Iterator[tuple[str, str]]:
    """Two columns of a table of the time zone database; nothing if this system has no such table."""
    for line in _table(table).splitlines():
        fields = line.split(separator)
        if len(fields) > max(name, value) and not line.startswith("#") and kind in (None, fields[0]):
            yield fields[name], fields[value]


def _table(name: str) -> str:
    for folder in zoneinfo.TZPATH:
        path = Path(folder) / name
        if path.is_file():
            return path.read_text("utf-8")
    try:
        return resources.files("tzdata").joinpath("zoneinfo", name).read_text("utf-8")
    except (ModuleNotFoundError, FileNotFoundError):
        return ""

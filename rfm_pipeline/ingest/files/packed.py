"""Rows that pack several order lines: ``茶杯;茶壶`` sold as ``2;1`` becomes two lines.

Belongs here: cutting such rows, and dividing what a row gives once (a total) over its lines. Which columns
may be packed is for the preset to say; typing and judging the lines is ``ingest.files.reading``'s.
"""

import re
from collections.abc import Sequence

import polars as pl

from rfm_pipeline.ingest.files import cells
from rfm_pipeline.ingest.files.texts import PROBLEM
from rfm_pipeline.ingest.presets import ONCE_A_ROW, Preset, clean_name
from rfm_pipeline.warehouse.columns import MONEY, QUANTITY

PART, PARTS = "part", "parts"
"""A line's number in its row, from 1, and how many lines the row has; in frames with a packed row only."""

TOO_FEW_PIECES = (
    "quantity is one number for several packed lines, and no whole number of a piece a line or more"
)

_DISAGREE = "the row packs several lines, and its columns hold different numbers of values"
_BEFORE_AMOUNTS = ("line_discount", "line_price")
_MARK = "\x1f"


class Packing:
    """Cuts the packed rows of one file.

    Args:
        preset: Which columns may be packed, and by what.
        header: The file's column names.
        positions: Canonical column to its positions in the header, fallbacks included.
    """

    def __init__(self, preset: Preset, header: Sequence[str], positions: dict[str, list[int]]) -> None:
        self._preset = preset
        self._header = [clean_name(name) for name in header]
        self._columns = {column: positions[column] for column in preset.packed if positions[column]}
        self._fields = sorted({i for places in self._columns.values() for i in places})
        titles = set(positions["product_name"])
        # a title may contain the separator: it alone does not show that a row is packed
        self._telling = [i for i in self._fields if i not in titles]
        self._separators = f"[{re.escape(preset.packed_separator)}]"

    def unpacked(self, rows: pl.DataFrame) -> pl.DataFrame:
        """A frame of texts with a row a line; the same frame if no row is packed.

        Rows whose columns hold different numbers of values stay whole, and get a ``PROBLEM``. An empty
        column says nothing; what adds up (``ONCE_A_ROW``) may be given once for the row.

        Args:
            rows: Texts by position, with ``row_no`` and ``PROBLEM``.

        Returns:
            The lines in order. Where a row is packed, with ``PART``, ``PARTS``, and ``once_NAME`` for columns
            that are given once for several lines.
        """
        holds = [pl.col(f"{i}").str.contains(self._separators) for i in self._telling]
        if not holds or not rows.select(pl.any_horizontal(holds).any()).item():
            return rows
        counted = self._counted(rows)
        lines = counted.with_columns(self._disagreement().alias("disagreement")).with_columns(
            pl.when(pl.col("disagreement").is_null()).then(pl.col(PARTS)).otherwise(pl.lit(1)).alias(PARTS),
            pl.coalesce(PROBLEM, "disagreement").alias(PROBLEM),
        )
        lines = lines.with_columns(
            *(self._values(i) for i in self._fields),
            pl.int_ranges(1, pl.col(PARTS) + 1).alias(PART),
            *(self._is_once(column).alias(f"once_{column}") for column in self._columns),
        ).explode([*(f"{i}" for i in self._fields), PART])
        is_cut = pl.col(PARTS) > 1
        return lines.with_columns(
            pl.when(is_cut).then(self._plain(pl.col(f"{i}"))).otherwise(pl.col(f"{i}")).alias(f"{i}")
            for i in self._fields
        )

    def _plain(self, text: pl.Expr) -> pl.Expr:
        return cells.plain(text, cells.Dirt(), self._preset.empty_words)

    def _counted(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Adds each field with one separator (``text_N``), its number of values (``count_N``), ``PARTS``."""
        marked = rows.with_columns(
            self._plain(pl.col(f"{i}")).str.replace_all(self._separators, _MARK).alias(f"text_{i}")
            for i in self._fields
        )
        texts = [pl.col(f"text_{i}") for i in self._fields]
        is_single = [~text.str.contains(_MARK, literal=True).fill_null(False) for text in texts]
        ends = [text.str.ends_with(_MARK).fill_null(False) for text in texts]
        # one behind the last value of every column is an end, no further value
        is_ended = pl.all_horizontal(one | end for one, end in zip(is_single, ends, strict=True))
        marked = marked.with_columns(is_ended.alias("is_ended")).with_columns(
            pl.when("is_ended").then(text.str.strip_suffix(_MARK)).otherwise(text).alias(f"text_{i}")
            for i, text in zip(self._fields, texts, strict=True)
        )
        marked = marked.with_columns(
            (pl.col(f"text_{i}").str.count_matches(_MARK, literal=True) + 1)
            .fill_null(0)
            .cast(pl.Int64)
            .alias(f"count_{i}")
            for i in self._fields
        )
        most = pl.max_horizontal(f"count_{i}" for i in self._telling)
        is_whole = pl.col(PROBLEM).fill_null("") == ""
        return marked.with_columns(
            pl.when(is_whole).then(pl.max_horizontal(most, pl.lit(1))).otherwise(pl.lit(1)).alias(PARTS)
        )

    def _may_be_once(self, position: int) -> pl.Expr:
        """Whether a field's one value may count for the row: all columns that it feeds allow it."""
        columns = [column for column, places in self._columns.items() if position in places]
        if not set(columns) <= set(ONCE_A_ROW):
            return pl.lit(False)
        beside = sorted({i for column in columns for i in self._columns[column]})
        return pl.all_horizontal(pl.col(f"count_{i}") <= 1 for i in beside)

    def _disagreement(self) -> pl.Expr:
        """Which columns hold how many values, where those differ; else null."""
        parts = pl.col(PARTS)
        counts = {i: pl.col(f"count_{i}") for i in self._fields}
        counting = {i: (count > 0) & ~self._may_be_once(i) for i, count in counts.items()}
        differs = pl.any_horizontal(counting[i] & (counts[i] != parts) for i in self._fields)
        named = [
            pl.when(counting[i]).then(pl.format("{}: {}", pl.lit(self._header[i]), counts[i]))
            for i in self._fields
        ]
        words = pl.format(
            "{} ({})", pl.lit(_DISAGREE), pl.concat_str(named, separator=", ", ignore_nulls=True)
        )
        return pl.when((parts > 1) & differs).then(words)

    def _values(self, position: int) -> pl.Expr:
        """A field's values, as many as its row has lines."""
        is_list = (pl.col(PARTS) > 1) & (pl.col(f"count_{position}") == pl.col(PARTS))
        once = pl.col(f"{position}").fill_null("").repeat_by(PARTS)
        return (
            pl.when(is_list)
            .then(pl.col(f"text_{position}").str.split(_MARK))
            .otherwise(once)
            .alias(f"{position}")
        )

    def _is_once(self, column: str) -> pl.Expr:
        highest = pl.max_horizontal(f"count_{i}" for i in self._columns[column])
        return (pl.col(PARTS) > 1) & (highest == 1)


def one_a_row(lines: pl.DataFrame) -> pl.DataFrame:
    """The first line of every row of a file, for counting rows."""
    return lines.filter(_is_first())


def _is_first() -> pl.Expr:
    """Whether a line is the first of its row."""
    return pl.col("row_no").ne_missing(pl.col("row_no").shift())


def cut_columns(frame: pl.DataFrame) -> list[str]:
    """The columns of a frame that tell how it was cut."""
    return [name for name in frame.columns if name in (PART, PARTS) or name.startswith("once_")]


def is_cut(frame: pl.DataFrame) -> bool:
    """Whether a row of a frame was cut into lines."""
    return PARTS in frame.columns


def with_pieces(frame: pl.DataFrame) -> pl.DataFrame:
    """Divides a row's pieces evenly over its lines, the rest to the first.

    Adds ``is_short`` for rows with fewer pieces than lines, and ``weight``, by which money is divided. Also
    divides what comes before the lines' amounts (``line_discount``, ``line_price``, ``line_postage``).
    """
    quantity, parts = pl.col("quantity"), pl.col(PARTS)
    whole = quantity.abs().cast(pl.Int64, strict=False)
    each = whole // parts + (pl.col(PART) <= whole % parts).cast(pl.Int64)
    is_once = _once(frame, "quantity") & quantity.is_not_null()
    is_short = is_once & ((quantity.abs() != whole) | (whole < parts))
    pieces = pl.when(quantity < 0).then(-each).otherwise(each).cast(QUANTITY, strict=False)
    frame = frame.with_columns(
        is_short.fill_null(False).alias("is_short"),
        pl.when(is_once & ~is_short).then(pieces).otherwise(quantity).alias("quantity"),
    )
    frame = frame.with_columns(_weights(frame))
    for name in _BEFORE_AMOUNTS:
        frame = _divided(frame, name, _once(frame, name), pl.col("weight"))
    # what a row paid for its postage comes off its lines' own amounts in proportion to them
    is_beside = _once(frame, "line_postage") & ~_once(frame, "amount") & pl.col("_amount").is_not_null()
    return _divided(frame, "line_postage", is_beside, pl.col("amount"))


def with_amounts(frame: pl.DataFrame) -> pl.DataFrame:
    """Divides a row's amount over its lines by price × quantity, to the cent and without a rest."""
    once = _once(frame, "amount") & pl.col("_amount").is_not_null()
    frame = frame.with_columns(
        pl.col("amount").max().over("row_no").alias("of_row"),
        ((pl.col("amount") == 0) & ~pl.col("is_no_sale")).alias("is_left_out"),
    )
    # what is beside the goods has no share of them; a gift card has one, which is no sale
    is_beside = pl.col("is_left_out") & (pl.col("of_row") > 0)
    weight = pl.when(is_beside).then(pl.lit(0.0)).otherwise(pl.col("weight"))
    frame = frame.with_columns(pl.when(once).then("of_row").otherwise("amount").alias("amount"))
    frame = _divided(frame, "amount", once, weight)
    no_sale = once & pl.col("is_no_sale")
    frame = frame.with_columns(
        pl.when(no_sale).then(pl.lit(0, MONEY)).otherwise(pl.col("amount")).alias("amount")
    )
    is_open = once & pl.col("_unit_price").is_null() & pl.col("_line_price").is_null()
    each = pl.col("amount").cast(pl.Float64) / pl.col("quantity").abs().cast(pl.Float64)
    price = each.round(4).cast(MONEY, strict=False)
    is_priced = is_open & (pl.col("quantity") != 0)
    return frame.with_columns(
        pl.when(is_priced).then(price).otherwise(pl.col("unit_price")).alias("unit_price")
    )


def with_refunds(frame: pl.DataFrame, given: pl.Series) -> pl.DataFrame:
    """Divides what a row gives back over its lines, in proportion to what was paid; never more than that.

    Args:
        frame: The lines, with the refunds that their states and words tell.
        given: The refund that the file gives for the row, on each of its lines.
    """
    is_open = (pl.col("status") != "closed").fill_null(True)
    once = _once(frame, "refunded_amount") & is_open & (pl.col("given_back") > 0).fill_null(False)
    frame = frame.with_columns(given.alias("given_back")).with_columns(
        pl.when(once)
        .then(pl.min_horizontal("given_back", pl.col("amount").sum().over("row_no")))
        .otherwise("refunded_amount")
        .cast(MONEY)
        .alias("refunded_amount")
    )
    return _divided(frame, "refunded_amount", once, pl.col("amount"))


def one_judgement(frame: pl.DataFrame) -> pl.DataFrame:
    """Makes a row's lines one thing again: rejected if one of them is, and then once.

    Lines that are no sale of a row that is one are left out.
    """
    is_any = {kind: (pl.col("disposition") == kind).any().over("row_no") for kind in ("rejected", "accepted")}
    frame = frame.with_columns(
        pl.when(is_any["rejected"])
        .then(pl.lit("rejected"))
        .when(is_any["accepted"])
        .then(pl.lit("accepted"))
        .otherwise("disposition")
        .alias("of_row"),
        pl.col("reason").drop_nulls().first().over("row_no"),
        pl.col("row_text").drop_nulls().first().over("row_no"),
    )
    is_accepted = pl.col("disposition") == "accepted"
    is_kept = pl.when(pl.col("of_row") == "accepted").then(is_accepted).otherwise(_is_first())
    return frame.filter(is_kept).with_columns(pl.col("of_row").alias("disposition")).drop("of_row")


def _once(frame: pl.DataFrame, column: str) -> pl.Expr:
    name = f"once_{column}"
    return pl.col(name) if name in frame.columns else pl.lit(False)


def _weights(frame: pl.DataFrame) -> pl.Expr:
    """What a row's money is divided by: price × quantity where every line has a price, else the pieces."""
    pieces = pl.col("quantity").abs().cast(pl.Float64).fill_null(1)
    is_priced = pl.col("unit_price").is_not_null().all().over("row_no")
    worth = pieces * pl.col("unit_price").cast(pl.Float64)
    return pl.when(is_priced).then(worth).otherwise(pieces).alias("weight")


def _divided(frame: pl.DataFrame, column: str, once: pl.Expr, weight: pl.Expr) -> pl.DataFrame:
    """Divides a column's money over the lines of rows that give it once; cents are rounded as they add up."""
    given = weight.cast(pl.Float64).fill_null(0)
    frame = frame.with_columns(
        pl.when(given.sum().over("row_no") > 0).then(given).otherwise(pl.lit(1.0)).alias("weighing")
    )
    so_far, whole = pl.col("weighing").cum_sum().over("row_no"), pl.col("weighing").sum().over("row_no")
    money = pl.col(column)
    # half a cent goes up, whatever binary fractions make of it
    part = (money.cast(pl.Float64) * so_far / whole + 1e-9).round(2).cast(MONEY, strict=False)
    is_last = pl.col(PART) == pl.col(PARTS)
    frame = frame.with_columns(pl.when(is_last).then(money).otherwise(part).alias("shared_so_far"))
    before = pl.col("shared_so_far").shift(1).over("row_no").fill_null(0)
    share = (pl.col("shared_so_far") - before).cast(MONEY)
    return frame.with_columns(pl.when(once).then(share).otherwise(money).alias(column))


def rules() -> list[tuple[pl.Expr, str]]:
    """What may be wrong with the values of a packed row's lines."""
    return [(pl.col("is_short"), TOO_FEW_PIECES)]

"""Whether a file writes the month first or the day first, as its own values show.

``1/5/2024`` is the fifth of January or the first of May. One value above 12 shows it for the whole file.
Belongs here: looking for such values. Typing them is ``ingest.files.cells``'.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from rfm_pipeline.ingest.files.cells import SLASHED_LONG, SLASHED_SHORT

DateOrder = Literal["iso", "month_first", "day_first", "clear"]
"""How days are written; ``clear``: only those are read that can be nothing else."""


@dataclass
class DaySigns:
    """What the values of a file show.

    Attributes:
        values: Values that are not empty.
        slashed: Values such as 1/5/2024.
        day_first: Those whose first number is above 12.
        month_first: Those whose second number is above 12.
    """

    values: int = 0
    slashed: int = 0
    day_first: int = 0
    month_first: int = 0

    def look(self, texts: Iterable[pl.Series]) -> None:
        """Counts the values of some columns."""
        for series in texts:
            text = pl.col("text").str.strip_chars(" \t\"'=\u3000")
            counted = (
                series.rename("text")
                .to_frame()
                .select(text)
                .select(
                    (pl.col("text") != "").sum().alias("values"),
                    *_counts("long", SLASHED_LONG),
                    *_counts("short", SLASHED_SHORT),
                )
                .row(0, named=True)
            )
            self.values += counted["values"] or 0
            self.slashed += (counted["long"] or 0) + (counted["short"] or 0)
            # 25/12/10 may begin with a year
            self.day_first += counted["long_first"] or 0
            self.month_first += (counted["long_second"] or 0) + (counted["short_second"] or 0)

    @property
    def order(self) -> DateOrder | None:
        """The order that the file shows; None where nothing but the shop can say it."""
        if not self.slashed:
            return "iso"
        if self.day_first and self.month_first:
            return "clear"
        if self.day_first:
            return "day_first"
        if self.month_first:
            return "month_first"
        # a few among other days are rejected one by one
        return None if self.slashed * 2 >= self.values else "clear"


def _counts(name: str, pattern: str) -> Sequence[pl.Expr]:
    first = pl.col("text").str.extract(pattern, 1).cast(pl.Int64)
    second = pl.col("text").str.extract(pattern, 2).cast(pl.Int64)
    return (
        first.is_not_null().sum().alias(name),
        ((first > 12) & (second <= 12)).sum().alias(f"{name}_first"),
        ((second > 12) & (first <= 12)).sum().alias(f"{name}_second"),
    )

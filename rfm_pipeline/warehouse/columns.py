"""Short spellings for pandera columns, so that a schema reads like the table it describes."""

from collections.abc import Callable, Sequence
from typing import Any

import pandera.polars as pa
import polars as pl

MONEY = pl.Decimal(18, 4)
QUANTITY = pl.Decimal(18, 3)
TIME = pl.Datetime("us")


def column(
    dtype: Any,
    description: str,
    *checks: pa.Check,
    nullable: bool = False,
) -> pa.Column:
    """A column with its meaning; not null unless said otherwise."""
    return pa.Column(dtype, checks=list(checks), nullable=nullable, description=description)


def one_of(values: Sequence[str]) -> pa.Check:
    """Only these words are allowed in the column."""
    return pa.Check.isin(list(values))


def at_least(minimum: Any) -> pa.Check:
    """No smaller value is allowed in the column."""
    return pa.Check.ge(minimum)


def rows(name: str, test: Callable[[], pl.Expr]) -> pa.Check:
    """A rule over several columns of a row, which is broken where the expression is false."""

    def holds(data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(test())

    return pa.Check(holds, name=name, error=name)

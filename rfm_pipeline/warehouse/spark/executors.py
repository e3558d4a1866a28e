"""What runs inside Spark's executors: the check of rows against their table's schema.

An executor needs this package, Polars and pandera in its Python, and nothing else of the project's home.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date

import polars as pl
import pyarrow as pa

from rfm_pipeline.warehouse.schema import Table, failures_in

TALLY = "week date, rule string, n bigint"
"""One row is a batch's count: of the rows of a week, or of the failures of a rule (then without a week)."""

_ARROW = pa.schema([("week", pa.date32()), ("rule", pa.string()), ("n", pa.int64())])


def tally(table: Table) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for ``mapInArrow`` that counts a table's rows by week, and what is wrong with them.

    Counts only: a failing row is a customer's, and what an executor raises or returns is logged.
    """

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield _tally_of(table, batch)

    return count


def _tally_of(table: Table, batch: pa.RecordBatch) -> pa.RecordBatch:
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    try:
        failures = failures_in(table, frame)
    except Exception as error:
        raise RuntimeError(f"{table.name} can't be checked: {type(error).__name__}") from None
    rows: list[tuple[date | None, str | None, int]] = [
        (week, None, n) for week, n in frame.group_by("week").len().iter_rows()
    ]
    rows += [(None, rule, n) for rule, n in failures.items()]
    return pa.RecordBatch.from_pylist(
        [dict(zip(_ARROW.names, row, strict=True)) for row in rows], schema=_ARROW
    )


def read_tally(counted: list[tuple[date | None, str | None, int]]) -> tuple[dict[date, int], Counter[str]]:
    """The added-up counts as (rows by week, failures by rule)."""
    rows = {week: n for week, rule, n in counted if rule is None and week is not None}
    failures = Counter({rule: n for _, rule, n in counted if rule is not None})
    return rows, failures

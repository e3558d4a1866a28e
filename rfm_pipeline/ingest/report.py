"""What would be read of an order export, without loading it: the answer of ``rfm check``."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.presets import Preset
from rfm_pipeline.ingest.reading import ACCEPTED, REJECTED, SUFFIXES, UNPAID, open_source, stage

_ROWS_SHOWN = 5


@dataclass(frozen=True)
class FileCheck:
    """What a file holds, in counts; no value of a row.

    Attributes:
        path: The file.
        preset: How it was read.
        mapping: Canonical column to the header's name.
        unused: Header names that feed no column.
        rows: Rows by disposition (accepted, unpaid, rejected).
        rejected: Reason, number of rows, and the first rows' numbers.
        without_customer: Accepted rows without a customer.
        first_ordered_at, last_ordered_at: The span of the accepted rows, as text; None without any.
    """

    path: Path
    preset: str
    mapping: dict[str, str]
    unused: list[str]
    rows: dict[str, int]
    rejected: list[tuple[str, int, list[int]]]
    without_customer: int
    first_ordered_at: str | None
    last_ordered_at: str | None


def check_file(path: Path, preset: Preset, zone: str) -> FileCheck:
    """Reads a file as a run would, and counts.

    Raises:
        OrderFileError: If the file can't be read at all.
    """
    if not path.is_file():
        raise OrderFileError(f"{path}: there is no such file.")
    if not path.name.endswith(SUFFIXES):
        raise OrderFileError(f"{path}: is no {', '.join(SUFFIXES)} file.")
    source = open_source(path, preset)
    with TemporaryDirectory() as folder:
        rows = pl.scan_parquet(stage(source, zone, Path(folder)))
        counts = dict(rows.group_by("disposition").len().collect(engine="streaming").iter_rows())
        reasons = (
            rows.filter(pl.col("disposition") == REJECTED)
            .group_by("reason")
            .agg(pl.len().alias("n"), pl.col("row_no").sort().head(_ROWS_SHOWN).alias("first"))
            .sort("n", descending=True)
            .collect(engine="streaming")
        )
        accepted = rows.filter(pl.col("disposition") == ACCEPTED)
        totals = accepted.select(
            pl.col("customer_id").is_null().sum().alias("without_customer"),
            pl.col("ordered_at").min().dt.strftime("%Y-%m-%d %H:%M").alias("first"),
            pl.col("ordered_at").max().dt.strftime("%Y-%m-%d %H:%M").alias("last"),
        ).collect(engine="streaming")
    return FileCheck(
        path=path,
        preset=preset.name,
        mapping=source.mapping,
        unused=[name for name in source.header if name not in source.mapping.values()],
        rows={name: counts.get(name, 0) for name in (ACCEPTED, UNPAID, REJECTED)},
        rejected=[(reason, n, list(first)) for reason, n, first in reasons.iter_rows()],
        without_customer=totals["without_customer"][0],
        first_ordered_at=totals["first"][0],
        last_ordered_at=totals["last"][0],
    )

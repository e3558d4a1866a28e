"""What was read, in words and counts: of one file (``rfm check``) and of a run (``out/ingest/``).

Belongs here: counting and writing down. The terminal's tables are ``terminal``'s.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.batches import DATABASE, unpaid_delivered, waiting_orders
from rfm_pipeline.ingest.files.archives import DEFAULT_LIMITS, SUFFIXES, Limits, has_known_suffix
from rfm_pipeline.ingest.files.packed import one_a_row
from rfm_pipeline.ingest.files.reading import (
    ACCEPTED,
    KEY_DAMAGED,
    KEY_MASKED,
    REJECTED,
    UNPAID,
    Rules,
    Source,
    open_source,
    read_rows,
)
from rfm_pipeline.ingest.files.texts import peek
from rfm_pipeline.ingest.loading import LoadReport
from rfm_pipeline.ingest.presets import (
    NO_BUYERS,
    Guess,
    Preset,
    best_fit,
    clean_name,
    guess_presets,
    load_preset,
    own_preset_names,
)
from rfm_pipeline.ingest.presets import preset_names as shipped_names
from rfm_pipeline.ingest.presets.columns import require_names
from rfm_pipeline.shop import Shop
from rfm_pipeline.storage.spreadsheets import no_formula
from rfm_pipeline.warehouse.duckdb import Warehouse

_ROWS_SHOWN = 5


@dataclass
class FileCheck:
    """What a file holds, in counts; no value of a row.

    Attributes:
        path: The file.
        preset: How it was read.
        layout: Format, encoding, delimiter or sheet, in words.
        mapping: Canonical column to the header's name.
        fallbacks: Canonical column to the header's further names for it.
        unused: Header names that feed no column.
        guesses: The presets that the header may be of, best first.
        rows: Rows by disposition (accepted, unpaid, rejected).
        rejected: Rows by reason.
        first_rows: The numbers of the first rows by reason.
        without_customer: Accepted rows without a customer.
        keys_masked, keys_damaged: Accepted rows whose customer key is masked, or lost digits.
        keys_from_fallback: Accepted rows whose customer is known by another column.
        unpaid_delivered: Orders that were delivered and never paid, as ``ingest.batches`` counts them.
        hides_buyers: Whether the platform's exports name no buyer.
        first_ordered_at, last_ordered_at: The span of the accepted rows; None without any.
    """

    path: Path
    preset: str
    layout: str
    mapping: dict[str, str]
    fallbacks: dict[str, list[str]]
    unused: list[str]
    guesses: list[Guess]
    rows: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    first_rows: dict[str, list[int]] = field(default_factory=dict)
    without_customer: int = 0
    keys_masked: int = 0
    keys_damaged: int = 0
    keys_from_fallback: int = 0
    unpaid_delivered: dict[str, Any] = field(default_factory=dict)
    hides_buyers: bool = False
    first_ordered_at: datetime | None = None
    last_ordered_at: datetime | None = None


def guess(path: Path, home: Path | None, encoding: str | None = None) -> list[Guess]:
    """The presets that a file may be of, by its header, best first.

    Raises:
        OrderFileError: If the file can't be opened or has no header.
    """
    require_export(path)
    presets = [load_preset(name, home) for name in (*own_preset_names(home), *shipped_names())]

    header = peek(path, partial(best_fit, presets), encoding).header
    guesses = guess_presets(header, home)
    if guesses[0].lacks:
        require_names(path, header)
    return guesses


def check_file(
    path: Path,
    presets: Preset | Sequence[Preset],
    zone: str,
    *,
    home: Path | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    rules: Rules | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> FileCheck:
    """Reads a file as a run would, and counts.

    Args:
        path: The file.
        presets: How it is read, as for :func:`~rfm_pipeline.ingest.files.reading.open_source`.
        zone: The shop's time zone.
        home: The shop's folder, for guessing among its own presets too.
        encoding: What the shop says it is; None to find out.
        delimiter: The same.
        rules: What the settings say of reading.
        limits: How large the file may be once it is unpacked.

    Raises:
        OrderFileError: If the file can't be read at all.
    """
    require_export(path)
    source = open_source(path, presets, encoding, delimiter, limits)
    check = _described(source, home)
    waiting: list[pl.DataFrame] = []
    with TemporaryDirectory() as folder:
        for rows in read_rows(source, zone, Path(folder), rules):
            _count(check, rows)
            if rows["is_unpaid_delivered"].any():
                waiting.append(waiting_orders(rows))
    check.unpaid_delivered = unpaid_delivered(waiting)
    return check


def require_export(path: Path) -> None:
    """Makes sure that a path is a file that ends like an export.

    Raises:
        OrderFileError: If it isn't.
    """
    if not path.is_file():
        raise OrderFileError(f"{path}: there is no such file.")
    if not has_known_suffix(path):
        raise OrderFileError(f"{path}: is no {', '.join(SUFFIXES)} file.")


def _how(source: Source) -> str:
    """How a file, or each of its sheets, is cut into rows, in words."""
    layout = source.layout
    if layout.encoding is not None:
        name = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}[layout.delimiter]
        how = f"CSV, {layout.encoding}, {name}-separated"
    elif layout.sheet is None:
        how = "Parquet"
    else:
        how = f"sheet {layout.sheet}" + (f" ({source.preset.name})" if source.further else "")
        how += "".join(f", columns of sheet {lookup.sheet}" for lookup in layout.lookups)
    if layout.skip:
        how += f", header in row {layout.skip + 1}"
    further = (f"sheet {part.layout.sheet} ({part.preset.name})" for part in source.further)
    return "; ".join((how, *further))


def _described(source: Source, home: Path | None) -> FileCheck:
    header = [name for part in source.parts for name in part.header]
    fallbacks: dict[str, list[str]] = {}
    mapping: dict[str, str] = {}
    used: set[str] = set()
    for part in reversed(source.parts):
        found = {
            column: [part.header[i] for i in positions]
            for column, positions in part.preset.fallbacks_in(part.header).items()
            if positions
        }
        used |= {*part.mapping.values(), *(name for names in found.values() for name in names)}
        fallbacks |= found
        mapping |= part.mapping
    return FileCheck(
        path=source.path,
        preset=source.preset.name,
        layout=_how(source),
        mapping=mapping,
        fallbacks=fallbacks,
        unused=[name for name in dict.fromkeys(header) if name not in used and clean_name(name)],
        guesses=guess_presets(source.header, home),
        rows=Counter({ACCEPTED: 0, UNPAID: 0, REJECTED: 0}),
        hides_buyers=source.preset.hides_buyers,
    )


def _count(check: FileCheck, lines: pl.DataFrame) -> None:
    rows = one_a_row(lines)
    check.rows.update(dict(rows.group_by("disposition").len().iter_rows()))
    reasons = rows.filter(pl.col("disposition") == REJECTED).group_by("reason")
    for reason, count, first in reasons.agg(
        pl.len(), pl.col("row_no").head(_ROWS_SHOWN).alias("first")
    ).iter_rows():
        check.rejected[reason] += count
        known = check.first_rows.setdefault(reason, [])
        known.extend(first[: _ROWS_SHOWN - len(known)])
    accepted = rows.filter(pl.col("disposition") == ACCEPTED)
    check.without_customer += accepted["customer_id"].null_count()
    check.keys_masked += int((accepted["key_state"] == KEY_MASKED).sum())
    check.keys_damaged += int((accepted["key_state"] == KEY_DAMAGED).sum())
    check.keys_from_fallback += int(accepted["key_is_fallback"].sum())
    times: Any = accepted["ordered_at"].drop_nulls()
    if len(times):
        first, last = times.min(), times.max()
        check.first_ordered_at = min(first, check.first_ordered_at or first)
        check.last_ordered_at = max(last, check.last_ordered_at or last)


FILE_COLUMNS = (
    "file_name",
    "preset",
    "rows_read",
    "rows_accepted",
    "rows_unpaid",
    "rows_rejected",
    "rows_other_currency",
    "amounts_made_gross",
    "rows_identical",
    "rows_without_customer",
    "keys_masked",
    "keys_damaged",
    "keys_from_fallback",
    "orders",
    "first_ordered_at",
    "last_ordered_at",
    "newest_at",
)
"""What is reported of every file; all are columns of ``order_batches``."""

SET_BACK_COLUMNS = ("order_id", "file_name", "change", "refunded_before", "refunded_now")


def files_in_force(warehouse: Warehouse, at_most: int) -> list[dict[str, Any]]:
    """The newest files in the warehouse, as rows of ``order_batches``, newest first."""
    sql = "select * from order_batches order by batch_id desc limit $at_most"
    return warehouse.read(sql, {"at_most": at_most}).to_dicts()


def rejected_by_reason(warehouse: Warehouse, batches: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rejected rows of some batches, counted by file and reason, most first."""
    if not batches:
        return []
    sql = """
        select file_name, reason, count(*) as rows, min(row_no) as first_row
        from rejected_rows where batch_id in (select unnest($batches))
        group by file_name, reason order by rows desc, file_name, reason
    """
    numbers = [batch["batch_id"] for batch in batches]
    return warehouse.read(sql, {"batches": numbers}).to_dicts()


def write_report(shop: Shop, warehouse: Warehouse, report: LoadReport, now: datetime) -> Path | None:
    """Writes down what a run read: ``out/ingest/<time>.md``, and every rejected row in force.

    ``rejected_rows.csv`` beside it holds the rows' texts, which are customers' data, so only its owner may
    read it. Both are replaced in one step.

    Args:
        shop: The settings.
        warehouse: Holds the rejected rows.
        report: What the run did.
        now: The run's time, shop-local; it names the file.

    Returns:
        The report; None if the run read nothing new.
    """
    if not report.loaded:
        return None
    folder = shop.out_dir / "ingest"
    folder.mkdir(parents=True, exist_ok=True)
    rejected = warehouse.read(
        "select file_name, row_no, reason, row_text from rejected_rows order by file_name, row_no"
    )
    _replace(folder / "rejected_rows.csv", _csv(rejected))
    path = folder / f"{now:%Y-%m-%d_%H%M%S}.md"
    _replace(path, _markdown(shop, report, rejected_by_reason(warehouse, report.loaded), now))
    return path


def _csv(frame: pl.DataFrame) -> str:
    safe = frame.with_columns(no_formula(pl.col("row_text")))
    return "\ufeff" + safe.write_csv(quote_style="non_numeric")


def _replace(path: Path, text: str) -> None:
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.touch(mode=0o600)
    half.write_text(text, "utf-8")
    half.replace(path)


def _markdown(shop: Shop, report: LoadReport, reasons: Sequence[Mapping[str, Any]], now: datetime) -> str:
    loaded = report.loaded
    total = {
        name: sum(batch[name] for batch in loaded)
        for name in FILE_COLUMNS
        if name.startswith(("rows", "keys"))
    }
    share = total["rows_without_customer"] / total["rows_accepted"] if total["rows_accepted"] else 0.0
    lines = [
        f"# {shop.shop.name}: what was read, {now:%Y-%m-%d %H:%M}",
        "",
        f"{len(loaded)} files read, {report.unchanged} known already, {len(report.growing)} still being "
        f"written, {len(report.ignored)} of other kinds left alone.",
        "",
        f"{total['rows_read']:,} rows read = {total['rows_accepted']:,} accepted "
        f"+ {total['rows_unpaid']:,} unpaid + {total['rows_rejected']:,} rejected. "
        f"{total['rows_identical']:,} rows are equal to another of their file; they are kept.",
        "",
        f"Rows without a customer: {total['rows_without_customer']:,} ({share:.1%}). Customer keys masked: "
        f"{total['keys_masked']:,}, damaged by a spreadsheet: {total['keys_damaged']:,}, known by another "
        f"column: {total['keys_from_fallback']:,}.",
        "",
        f"Rows in another currency, rejected: {total['rows_other_currency']:,}. Amounts that were given "
        f"after their refund, and are gross now: {sum(batch['amounts_made_gross'] for batch in loaded):,}.",
        "",
        *_without_buyers(shop, loaded),
        "## Files",
        "",
        "| " + " | ".join(FILE_COLUMNS) + " |",
        "|" + "---|" * len(FILE_COLUMNS),
        *("| " + " | ".join(_cell(batch[name]) for name in FILE_COLUMNS) + " |" for batch in loaded),
        "",
        "## Rejected rows",
        "",
    ]
    if reasons:
        lines += [
            "| file | reason | rows | first row |",
            "|---|---|---|---|",
            *(
                f"| {_cell(r['file_name'])} | {_cell(r['reason'])} | {r['rows']:,} | {r['first_row']} |"
                for r in reasons
            ),
            "",
            "Their texts are in `rejected_rows.csv`.",
        ]
    else:
        lines.append("None.")
    if len(report.places) > 1:
        lines += [
            "",
            "## Which file is the newer",
            "",
            "Where two files hold the same order, the lower one in this list counts.",
            "",
            "| file | newest time inside | newer than the one above by |",
            "|---|---|---|",
            *(
                f"| {_cell(place.file_name)} | {_cell(place.newest_at)} | {_cell(place.by)} |"
                for place in report.places
            ),
        ]
    if report.set_back:
        lines += [
            "",
            "## Orders that a newer file sets back",
            "",
            "An earlier file names a refund or a payment that the newer one doesn't. If the newer one is an "
            "old export, remove it from the folder and delete `warehouse.duckdb`.",
            "",
            "| order | file | change | refunded before | refunded now |",
            "|---|---|---|---|---|",
            *(
                "| " + " | ".join(_cell(row[name]) for name in SET_BACK_COLUMNS) + " |"
                for row in report.set_back
            ),
        ]
    if report.growing:
        lines += ["", "Left for the next run, still being written: " + ", ".join(map(_cell, report.growing))]
    return "\n".join(lines) + "\n"


def _without_buyers(shop: Shop, loaded: Sequence[Mapping[str, Any]]) -> list[str]:
    """A paragraph on the presets whose exports name no buyer; none if there is no such export."""
    of_files = {batch["preset"] for batch in loaded if not batch["file_name"].startswith(DATABASE)}
    hiding = sorted(name for name in of_files if load_preset(name, shop.home).hides_buyers)
    return [f"{', '.join(hiding)}: {NO_BUYERS}.", ""] if hiding else []


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    return str(value).replace("|", "\\|")

"""Small tables that people keep: a file of ``contacts/``, ``suppression/`` or ``outreach/`` as text columns.

Belongs here: finding out the separator, reading CSV and Excel, recognising columns by the names
people give them, and writing a CSV file back as it was. The modules that read them know what columns mean.
"""

import csv
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import fastexcel
import polars as pl

from rfm_pipeline.errors import SuppressionError
from rfm_pipeline.storage.atomic_files import staging_folder
from rfm_pipeline.storage.header_names import header_key
from rfm_pipeline.storage.text_encodings import whole_encoding

SUFFIXES = (".csv", ".xlsx")
_DELIMITERS = (",", ";", "\t")
_READABLE = "a .csv file (UTF-8 or GBK; comma, semicolon or tab) or .xlsx workbook"


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        encoding: Python's name of its encoding; ``utf-8-sig`` with a byte order mark.
        delimiter: What stands between two fields.
        line_end: What ends a row.
    """

    encoding: str
    delimiter: str
    line_end: str


@dataclass(frozen=True)
class Sheet:
    """One table of a file.

    Attributes:
        path: The file.
        name: The worksheet's name; empty for a CSV file.
        frame: Its rows as text, with the column names of the file or, once recognised, with ours.
        dialect: How the CSV file is written; None for a worksheet.
    """

    path: Path
    name: str
    frame: pl.DataFrame
    dialect: Dialect | None

    def __str__(self) -> str:
        return f"{self.path}, worksheet {self.name!r}" if self.name else str(self.path)


def sheet_files(folder: Path) -> list[Path]:
    """The files of a folder by name, hidden ones left out; none if there is no folder.

    Raises:
        SuppressionError: If the folder is there and can't be looked into.
    """
    # a link to a share that isn't mounted is no missing folder
    if not folder.exists() and not folder.is_symlink():
        return []
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "~$")))
    except OSError:
        raise SuppressionError(f"{folder} can't be read; nobody is recalled until it can.") from None


def read_sheets(path: Path) -> list[Sheet]:
    """The tables of a file: one of a CSV file, one of every worksheet that isn't empty of a workbook.

    Raises:
        SuppressionError: If the file is of another kind or can't be read whole. The message quotes no value.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SuppressionError(
            f"{path} is no {_READABLE}, so it is unclear who is in it; nobody is recalled until it is "
            "saved as one of them or moved away."
        )
    try:
        return [_read_csv(path)] if suffix == ".csv" else _read_workbook(path)
    except (pl.exceptions.PolarsError, fastexcel.FastExcelError, OSError, UnicodeError, csv.Error):
        raise SuppressionError(
            f"{path} can't be read as {_READABLE}; nobody is recalled until it is mended."
        ) from None


def _read_csv(path: Path) -> Sheet:
    content = path.read_bytes()
    encoding = whole_encoding(content)
    text = content.decode(encoding)
    line_end = "\r\n" if "\r\n" in text else "\n" if "\n" in text else "\r"
    if line_end == "\r":
        text = text.replace("\r", "\n")
    delimiter = _delimiter(text)
    frame = pl.read_csv(text.encode(), infer_schema=False, separator=delimiter)
    return Sheet(path, "", frame, Dialect(encoding, delimiter, line_end))


def _delimiter(text: str) -> str:
    """What separates the header's columns: that which makes most of them."""
    header = next((line for line in io.StringIO(text) if line.strip()), "").rstrip("\r\n")
    counts = {
        delimiter: len(next(csv.reader([header], delimiter=delimiter), [])) for delimiter in _DELIMITERS
    }
    return max(counts, key=lambda delimiter: counts[delimiter])


def _read_workbook(path: Path) -> list[Sheet]:
    workbook = fastexcel.read_excel(path)
    frames = [(name, workbook.load_sheet(name, dtypes="string").to_polars()) for name in workbook.sheet_names]
    sheets = [Sheet(path, name, frame, None) for name, frame in frames if frame.width]
    if not sheets:
        raise pl.exceptions.NoDataError("every worksheet is empty")
    return sheets


def replace_csv(sheet: Sheet, beside: Path) -> None:
    """Puts a CSV file with these rows in the place of the old one, in one step.

    It keeps the names, encoding, separator, line ends and rights that it had; a new one is its owner's alone.

    Args:
        sheet: The file with its new rows.
        beside: A folder on the same disk, for the half-made one.
    """
    assert sheet.dialect is not None
    buffer = io.BytesIO()
    dialect = sheet.dialect
    sheet.frame.write_csv(buffer, separator=dialect.delimiter, line_terminator=dialect.line_end)
    path = sheet.path.resolve()
    with staging_folder(beside) as staging:
        part = staging / path.name
        part.touch(mode=0o600)
        with part.open("wb") as file:
            file.write(buffer.getvalue().decode("utf-8").encode(dialect.encoding))
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            part.chmod(path.stat().st_mode & 0o777)
        part.replace(path)


def filled(text: pl.Expr) -> pl.Expr:
    """A text without the spaces around it, null if nothing is left."""
    return text.str.strip_chars().replace("", None)


def known_columns(sheet: Sheet, names: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Which column of the file is which.

    Args:
        sheet: The table.
        names: Every column we know to the other names it goes by.

    Returns:
        Our name to the file's, for those that are there.

    Raises:
        SuppressionError: If two columns have the same meaning: it is unclear which one counts.
    """
    ours = {header_key(other): name for name, others in names.items() for other in (name, *others)}
    found: dict[str, str] = {}
    for column in sheet.frame.columns:
        # both readers number a name that stands twice
        second = r"_1$" if sheet.name else r"_duplicated_\d+$"
        name = ours.get(header_key(re.sub(second, "", column)))
        if name is None:
            continue
        if name in found:
            raise SuppressionError(
                f"{sheet} has two columns for {name}; nobody is recalled until one of them is removed or "
                "renamed."
            )
        found[name] = column
    return found


def read_folder(
    folder: Path,
    names: Mapping[str, Sequence[str]],
    needed: Sequence[str],
    judge: Callable[[Sheet], pl.DataFrame],
) -> pl.DataFrame | None:
    """All tables of a folder, each with the columns that ``judge`` makes of it; None if there is none.

    Raises:
        SuppressionError: If a file can't be read or has none of the needed columns.
    """
    frames = [
        judge(_with_our_names(sheet, names, needed))
        for path in sheet_files(folder)
        for sheet in read_sheets(path)
    ]
    return pl.concat(frames) if frames else None


def _with_our_names(sheet: Sheet, names: Mapping[str, Sequence[str]], needed: Sequence[str]) -> Sheet:
    """The table with our column names, null where the file has no such column; others are numbered."""
    found = known_columns(sheet, names)
    if found.keys().isdisjoint(needed):
        raise SuppressionError(
            f"{sheet} lacks the column {' or '.join(repr(name) for name in needed)}; nobody is recalled "
            f"until it is there. Columns: {', '.join(names)}."
        )
    others = [column for column in sheet.frame.columns if column not in found.values()]
    columns = [
        *(
            filled(pl.col(found[name]) if name in found else pl.lit(None, pl.String)).alias(name)
            for name in names
        ),
        *(filled(pl.col(column)).alias(f"other_{number}") for number, column in enumerate(others)),
    ]
    return replace(sheet, frame=sheet.frame.select(columns))

"""The sheets of a workbook as texts, ``.xlsx`` and the ``.xls`` of 1997 to 2003.

Belongs here: opening workbooks, within limits. Which sheet is which is ``sheet_plans``'.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO
from zipfile import ZipFile, ZipInfo

import fastexcel
import polars as pl

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.files.archives import Export, require_ratio, too_large
from rfm_pipeline.ingest.files.headers import ROWS_ABOVE_A_HEADER

_PIECE = 1 << 24
_BYTES_OF_A_CELL = 32
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_FILLED_CELL = re.compile(rb"""<(?:\w+:)?c\b[^>]*?\br=["']([A-Z]{1,3})(\d{1,7})["'][^>]*(?<!/)>""")
_MARGIN = 1 << 10


@dataclass(frozen=True)
class SheetTop:
    """The first rows of a visible sheet.

    Attributes:
        name: The sheet's.
        rows: Its first rows as texts, at most ``ROWS_ABOVE_A_HEADER`` and the header.
    """

    name: str
    rows: list[list[str]]


def sheet_tops(export: Export) -> list[SheetTop]:
    """The first rows of every visible sheet that isn't empty.

    Raises:
        OrderFileError: If the workbook is damaged, locked, or larger than the limits allow.
    """
    content = export.path if export.packing is None else export.in_memory()
    _require_whole(export, content)
    tops = []
    with _no_panic(export.path):
        book = _book(content)
        for name in book.sheet_names:
            sheet = book.load_sheet(
                name, header_row=None, skip_rows=0, n_rows=ROWS_ABOVE_A_HEADER + 1, dtypes="string"
            )
            if sheet.visible == "visible" and sheet.width:
                frame = sheet.to_polars()
                tops.append(SheetTop(name, [[cell or "" for cell in row] for row in frame.rows()]))
    return tops


def sheet_texts(path: Path, sheet: str, skip: int) -> tuple[pl.DataFrame, frozenset[int]]:
    """A sheet's rows below its header. A sheet has at most 1,048,576 rows, so it is read at once.

    Args:
        path: The workbook; its size was looked at by :func:`sheet_tops`.
        sheet: The sheet's name.
        skip: How many rows stand above the header.

    Returns:
        A text column per column of the sheet, named by its position, and the positions of the columns that
        hold numbers, not texts.
    """
    with _no_panic(path):
        book = _book(path)
        texts = book.load_sheet(sheet, header_row=None, skip_rows=skip + 1, dtypes="string").to_polars()
        typed = book.load_sheet(sheet, header_row=skip, schema_sample_rows=None).to_polars()
    numeric = frozenset(i for i, dtype in enumerate(typed.dtypes) if dtype.is_numeric())
    named = [pl.col(name).fill_null("").alias(f"{i}") for i, name in enumerate(texts.columns)]
    return texts.select(named), numeric


def _book(content: Path | bytes) -> fastexcel.ExcelReader:
    """Opens a workbook by its content: of a file fastexcel believes what its name ends in."""
    if isinstance(content, Path) and content.suffix.lower() in (".xls", ".xlsx"):
        content = content.read_bytes()
    return fastexcel.read_excel(content)


@contextmanager
def _no_panic(path: Path) -> Iterator[None]:
    """Turns a crash of the library's, on a damaged workbook, into a refusal."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise OrderFileError(f"{path}: the workbook is damaged; export it again.") from None


def _require_whole(export: Export, content: Path | bytes) -> None:
    """Refuses a workbook that is damaged, locked or too large, before it is read into memory."""
    path, limit = export.path, export.limits.workbook
    if export.kind == "old workbook":
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        if size > limit:
            raise too_large(path, limit, "max_workbook_gb")
        if _ENCRYPTED in (content if isinstance(content, bytes) else content.read_bytes()):
            raise OrderFileError(
                f"{path}: the workbook is locked with a password; save it without one and put it here again."
            )
        return
    file: Path | IO[bytes] = BytesIO(content) if isinstance(content, bytes) else content
    with ZipFile(file) as archive:
        parts = archive.infolist()
        size = sum(part.file_size for part in parts)
        if size > limit:
            raise too_large(path, limit, "max_workbook_gb")
        require_ratio(path, size, sum(part.compress_size for part in parts))
        for part in parts:
            _require_part(path, archive, part, limit)


def _require_part(path: Path, archive: ZipFile, part: ZipInfo, limit: int) -> None:
    """Reads a part of a workbook to its end, piece by piece, which compares its checksum.

    fastexcel compares none: a flipped bit would be read as another value. It also holds a sheet as a full
    grid up to its last filled row and column, so one stray cell far out may cost gigabytes.
    """
    is_sheet = part.filename.startswith("xl/worksheets/") and part.filename.endswith(".xml")
    columns, last_row, rest = set[bytes](), 0, b""
    with archive.open(part) as file:
        while piece := file.read(_PIECE):
            if is_sheet:
                for column, row in _FILLED_CELL.findall(rest + piece):
                    columns.add(column)
                    last_row = max(last_row, int(row))
                rest = piece[-_MARGIN:]
    width = max((_number(column) for column in columns), default=0)
    if width * last_row * _BYTES_OF_A_CELL > limit * 4:
        raise OrderFileError(
            f"{path}: a sheet of the workbook reaches to row {last_row:,} and column {width:,}, which is "
            "more than can be held in memory. Delete the cells far from the orders, or save the sheet as "
            ".csv."
        )


def _number(letters: bytes) -> int:
    """A column's number: ``A`` is 1, ``AA`` is 27."""
    number = 0
    for letter in letters:
        number = 26 * number + letter - ord("A") + 1
    return number


def as_rows(texts: pl.DataFrame, header: Sequence[str], problem: str, row_text: str) -> pl.DataFrame:
    """A sheet's rows with a column per name of the header, and what is wrong with a row as a row.

    Args:
        texts: From :func:`sheet_texts`.
        header: The sheet's column names.
        problem: The column for what is wrong.
        row_text: The column for the text of such a row.
    """
    width = len(header)
    cells = [pl.col(name) for name in texts.columns]
    is_long = pl.any_horizontal(cell != "" for cell in cells[width:]) if cells[width:] else pl.lit(False)
    return texts.select(
        *cells[:width],
        *(pl.lit("").alias(f"{i}") for i in range(len(cells), width)),
        pl.when(is_long).then(pl.lit("the row has more fields than the header")).alias(problem),
        pl.when(is_long).then(pl.concat_str(cells, separator=",")).alias(row_text),
    )

"""An order export as rows of texts, whatever its format, encoding, delimiter and quoting.

Belongs here: opening files. A clean UTF-8 CSV is streamed by Polars as it stands. Any other CSV (another
encoding, stray quotes, NULs, old Mac line ends) is first rewritten, row by row as Python's csv module reads
it, and a row that can't be read is passed on with its problem. What the texts mean is ``ingest.reading``'s.
"""

import codecs
import csv
import re
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from io import BytesIO, StringIO
from itertools import islice
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import fastexcel
import numpy as np
import polars as pl

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.files.archives import DEFAULT_LIMITS, Limits, has_known_suffix, identify, suffix_of
from rfm_pipeline.ingest.files.cells import Dirt
from rfm_pipeline.ingest.files.headers import ROWS_ABOVE_A_HEADER, Fit, header_row
from rfm_pipeline.ingest.files.sheet_plans import Lookup, SheetPlan, looked_up, plan_sheets, sheet_headers
from rfm_pipeline.ingest.files.workbooks import as_rows, sheet_texts, sheet_tops
from rfm_pipeline.ingest.presets import Preset
from rfm_pipeline.storage.text_encodings import (
    USUAL,
    codec_name,
    is_utf8,
    most_are_utf8,
    possible_encodings,
)

PROBLEM = "__problem__"
ROW_TEXT = "__row_text__"
BATCH_ROWS = 100_000
LONGEST_FIELD = 131_072
_DELIMITERS = (",", "\t", ";", "|")
_PEEK = 1 << 18
_PIECE = 1 << 24
_BAD_BYTES = "\U0010ffff"  # a character that no text holds stands for bytes that are none
_KEPT_OF_A_BROKEN_ROW = 10_000
_LONGEST_LINE = 1 << 22
_PIECES_AT_A_TIME = 2
_UNREADABLE = (
    OSError,
    EOFError,
    zlib.error,
    BadZipFile,
    NotImplementedError,  # a way of packing that zipfile doesn't know
    RuntimeError,  # an encrypted workbook
    csv.Error,
    UnicodeError,
    LookupError,
    pl.exceptions.PolarsError,
    fastexcel.FastExcelError,
)
_LINE_FEED, _QUOTE = ord("\n"), ord('"')
_SPACE_BYTES = b" \t\x0b\x0c"


def _bytes_set(members: bytes) -> Any:
    """A table of 256 that tells which bytes are members."""
    table = np.zeros(256, dtype=bool)
    table[list(members)] = True
    return table


# the last byte of U+00A0 and U+3000 ends many other characters, too; their first bytes begin few
_SPACES_BEHIND = _bytes_set(_SPACE_BYTES + b"\xa0")
_SPACES_BEFORE = _bytes_set(_SPACE_BYTES + b"\xc2\xe3")
_TOTAL_STARTS = _bytes_set(_SPACE_BYTES + b'"=\xe5\xe6\xe3GgSsTt')

_TOTAL_WORDS = ("合计", "总计", "小计", "汇总", "共计", "总数")
TOTALS = rf"(?i)^(本页)?({'|'.join(_TOTAL_WORDS)})|^(grand |sub)?total\s*:?$"
"""What the first field of a footer looks like."""
A_TOTAL = "a total, no order"
_TOTAL = re.compile(TOTALS)
_CIPHER_MARKS = (b"##", b"$$", b"~~", b"~A", "密文".encode())
_TOTAL_BYTES = [word.encode() for word in (*_TOTAL_WORDS, "otal", "OTAL")]


@dataclass(frozen=True)
class Layout:
    """How a file is cut into fields.

    Attributes:
        header: The column names as they are in the file.
        encoding: Of a CSV file; None for other formats.
        encodings: Those it may have, should the whole file not fit the one its beginning has.
        delimiter: Of a CSV file.
        skip: How many rows stand above the header, such as a remark.
        sheet: Of a workbook.
        own: Of a workbook: how many of the columns are the sheet's own.
        key: Of a workbook: the position of the order number, by which lookups are joined.
        lookups: Of a workbook: what other sheets add.
        numeric: Of a workbook: positions of the columns that hold numbers, not texts.
        limits: How large the file may be once it is unpacked.
    """

    header: tuple[str, ...]
    encoding: str | None = None
    encodings: tuple[str, ...] = ()
    delimiter: str = ","
    skip: int = 0
    sheet: str | None = None
    own: int = 0
    key: int | None = None
    lookups: tuple[Lookup, ...] = ()
    numeric: frozenset[int] = frozenset()
    limits: Limits = DEFAULT_LIMITS


@dataclass(frozen=True)
class TextRows:
    """The rows of a file.

    Attributes:
        layout: How the file was cut into fields.
        dirt: What its values may hold.
        batches: Frames with a text column per position (``"0"``, ``"1"``, …; empty texts are ``""`` or
            null), ``PROBLEM`` (why the row as a whole can't be read, else null) and ``ROW_TEXT`` (such a row
            as it is in the file).
    """

    layout: Layout
    dirt: Dirt
    batches: Iterator[pl.DataFrame]


def is_order_file(path: Path) -> bool:
    """Whether a file in the landing folder is an export that can be read."""
    return path.is_file() and not path.name.startswith((".", "~$")) and has_known_suffix(path)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what may go wrong with a file as a whole into one message."""
    try:
        yield
    except OrderFileError:
        raise
    except _UNREADABLE as error:
        raise OrderFileError(
            f"{path}: can't be opened as {suffix_of(path)} ({type(error).__name__}); is the file whole? "
            "Export it again; nothing of it was loaded."
        ) from None


def peek(
    path: Path,
    fit: Fit,
    encoding: str | None = None,
    delimiter: str | None = None,
    encodings: Sequence[str] = USUAL,
    limits: Limits = DEFAULT_LIMITS,
) -> Layout:
    """Finds out how a file is cut into fields, from its beginning.

    Args:
        path: The file.
        fit: Tells how many wanted columns a header holds; the encoding, delimiter, row or sheet that gives
            most is taken.
        encoding: What the shop says it is; None to find out.
        delimiter: The same.
        encodings: What the platform writes, where the bytes alone don't tell.
        limits: How large the file may be once it is unpacked.

    Raises:
        OrderFileError: If the file can't be opened, has no header, or is larger than the limits allow.
    """
    with readable(path):
        export = identify(path, limits)
        if export.kind == "parquet":
            content = path if export.packing is None else BytesIO(export.in_memory())
            return Layout(tuple(pl.read_parquet_schema(content)), limits=limits)
        if export.kind != "text":
            headers = sheet_headers(sheet_tops(export), fit)
            best = max(headers, key=lambda sheet: fit(sheet.header), default=None)
            return sheet_layout(path, best, limits)
        head = export.head(_PEEK)
        names = [_codec(path, encoding)] if encoding else possible_encodings(head, encodings)
        return replace(_peek_csv(path, head, fit, names, delimiter), limits=limits)


def planned_sheets(
    path: Path, family: Sequence[Preset], limits: Limits = DEFAULT_LIMITS
) -> list[tuple[Preset, Layout]]:
    """The sheets of a workbook that are read, each with its preset; none of any other file.

    Raises:
        OrderFileError: If the file can't be opened, or is larger than the limits allow.
    """
    with readable(path):
        export = identify(path, limits)
        if export.kind not in ("workbook", "old workbook"):
            return []
        plans = plan_sheets(sheet_tops(export), family)
    return [(preset, sheet_layout(path, plan, limits)) for preset, plan in plans]


def sheet_layout(path: Path, plan: SheetPlan | None, limits: Limits) -> Layout:
    """How a sheet is cut into fields.

    Raises:
        OrderFileError: If there is no sheet with a header.
    """
    if plan is None:
        raise OrderFileError(f"{path}: no sheet of the workbook has a header row; export it again.")
    return Layout(
        plan.header,
        skip=plan.skip,
        sheet=plan.sheet,
        own=plan.own,
        key=plan.key,
        lookups=plan.lookups,
        limits=limits,
    )


def _peek_csv(path: Path, head: bytes, fit: Fit, encodings: Sequence[str], delimiter: str | None) -> Layout:
    if not head.strip(b"\x00\xef\xbb\xbf\xff\xfe \t\r\n"):
        raise OrderFileError(f"{path}: the file is empty, it has no header; remove it or export it again.")
    best: tuple[tuple[int, bool, int, int], Layout] | None = None
    # the last line of a longer file may be cut in the middle of a character
    lines = head.splitlines()
    is_mostly_utf8 = most_are_utf8(lines if len(head) < _PEEK else lines[:-1])
    for name in encodings:
        text = head.decode(name, errors="replace").lstrip("\ufeff")
        # a multi-byte character may be cut at the end of what was read
        errors = text[:-4].count("\ufffd")
        for separator in [delimiter] if delimiter else _DELIMITERS:
            skip, header = header_row(_first_rows(text, separator), fit)
            rank = (fit(header), (name == "utf-8") == is_mostly_utf8, -errors, len(header))
            if header and (best is None or rank > best[0]):
                best = rank, Layout(tuple(header), name, tuple(encodings), separator, skip)
    if best is None:
        raise OrderFileError(f"{path}: the file is empty, it has no header; remove it or export it again.")
    if -best[0][2] > max(16, len(head) // 20):
        raise OrderFileError(
            f"{path}: its encoding can't be found; export it as UTF-8, or name it in shop.yaml "
            "(orders.encoding, such as gb18030)."
        )
    return best[1]


def _codec(path: Path, name: str) -> str:
    try:
        return codec_name(name)
    except LookupError:
        raise OrderFileError(
            f"{path}: orders.encoding {name!r} in shop.yaml is no known encoding; write utf-8, gb18030 or "
            "utf-16."
        ) from None


def _first_rows(text: str, delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    # the same line breaks as when the rows are read
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    with suppress(csv.Error):
        rows.extend(islice(reader, ROWS_ABOVE_A_HEADER + 1))
    return rows


def text_rows(path: Path, layout: Layout, zone: str, folder: Path, fit: Fit) -> TextRows:
    """Opens a file for reading its rows in order, in frames of bounded size.

    Args:
        path: The file.
        layout: What :func:`peek` found. The whole file may tell another encoding than its beginning.
        zone: The shop's time zone, for the instants of a Parquet file.
        folder: For an unpacked or rewritten copy; the caller removes it.
        fit: As for :func:`peek`.

    Raises:
        OrderFileError: If the file as a whole can't be read; the batches may raise it, too.
    """
    with readable(path):
        export = identify(path, layout.limits)
        plain = export.unpacked(folder)
        if export.kind == "parquet":
            return TextRows(layout, Dirt(), _guarded(path, _parquet_batches(plain, zone)))
        if layout.sheet is not None:
            return _workbook_rows(plain, layout)
        found = _inspect(plain, layout)
        if found.is_plain:
            return TextRows(layout, found.dirt, _guarded(path, _csv_batches(plain, layout)))
        if layout.encoding == "utf-8" and not found.is_utf8:
            layout = _second_look(plain, layout, fit)
        clean = folder / f"{path.name}.rewritten.csv"
        rows = _rewrite(plain, layout, clean)
        rewritten = Layout(layout.header, "utf-8")
        return TextRows(layout, Dirt(), _guarded(path, _csv_batches(clean, rewritten, rows)))


def _guarded(path: Path, batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    with readable(path):
        yield from batches


@dataclass(frozen=True)
class _Inspection:
    """What the bytes of a CSV file show.

    Attributes:
        is_utf8: Whether all of them are.
        is_regular: Whether it is a grid that Polars cuts as Python's csv module does: quotes where RFC 4180
            wants them, as many fields in every row as in the header, no NUL, one kind of line break.
        signs: The kinds of dirt that may be there, as names of ``Dirt``'s attributes.
    """

    is_utf8: bool
    is_regular: bool
    signs: frozenset[str] = frozenset()

    @property
    def is_plain(self) -> bool:
        """Whether Polars can read the file as it stands."""
        return self.is_utf8 and self.is_regular

    @property
    def dirt(self) -> Dirt:
        return Dirt(**{field.name: field.name in self.signs for field in fields(Dirt)})


def _inspect(path: Path, layout: Layout) -> _Inspection:
    """Looks at every byte once, fast: piece by piece, several pieces at a time."""
    if layout.encoding != "utf-8":
        return _Inspection(is_utf8=False, is_regular=False)
    # what stands above a header is seldom a grid; the slower way is right then
    begins_regular = layout.skip == 0
    delimiter, width = ord(layout.delimiter), len(layout.header)
    signs: set[str] = set()
    is_regular = begins_regular
    with path.open("rb") as file, ThreadPoolExecutor(_PIECES_AT_A_TIME) as pool:
        pending: deque[Future[_Inspection]] = deque()
        while True:
            piece = _to_line_end(file)
            if piece:
                pending.append(pool.submit(_look, piece, delimiter, width))
            if not pending:
                return _Inspection(True, is_regular, frozenset(signs))
            if not piece or len(pending) > _PIECES_AT_A_TIME:
                found = pending.popleft().result()
                if not found.is_utf8:
                    return found
                is_regular = is_regular and found.is_regular
                signs |= found.signs


def _to_line_end(file: Any) -> bytes:
    """The next piece of a file, up to a line break, so that neither a character nor a row is cut."""
    piece: bytes = file.read(_PIECE)
    return piece + file.readline(_LONGEST_LINE) if piece else b""


def _look(piece: bytes, delimiter: int, width: int) -> _Inspection:
    """Looks at whole lines. Places are found by vectorised search; no row is cut."""
    if not is_utf8(piece):
        return _Inspection(is_utf8=False, is_regular=False)
    codes = np.frombuffer(piece, dtype=np.uint8)
    ends = np.flatnonzero((codes == _LINE_FEED) | (codes == delimiter))
    signs = _signs(piece, codes, ends, delimiter)
    returns = piece.count(b"\r")
    if b"\x00" in piece or (returns and returns != piece.count(b"\r\n")):
        return _Inspection(True, False, signs)
    if b'"' in piece:
        quotes = np.flatnonzero(codes == _QUOTE)
        if len(quotes) % 2 or not _are_in_place(codes, quotes, delimiter):
            # also a quoted line break where the piece ends: given to the slower way
            return _Inspection(True, False, signs)
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
    marks = codes[ends]
    if codes[-1] != _LINE_FEED:
        marks = np.append(marks, np.uint8(_LINE_FEED))
    return _Inspection(True, _is_grid(marks, delimiter, width), signs)


def _is_grid(marks: Any, delimiter: int, width: int) -> bool:
    """Whether every row has as many fields as the header, from its delimiters and line breaks in order.

    Of a file with one column a blank line looks like a row; that is given to the slower way.
    """
    if width == 1 or len(marks) % width:
        return False
    by_row = marks.reshape(-1, width)
    return bool((by_row[:, -1] == _LINE_FEED).all() and (by_row[:, :-1] == delimiter).all())


def _are_in_place(codes: Any, quotes: Any, delimiter: int) -> bool:
    """Whether quotes open behind a delimiter or line break and close before one, or are doubled."""
    beside = _bytes_set(bytes([delimiter]) + b'\n\r"')
    opening, closing, last = quotes[::2], quotes[1::2], len(codes) - 1
    previous = np.where(opening > 0, codes[opening - 1], _LINE_FEED)
    following = np.where(closing < last, codes[np.minimum(closing + 1, last)], _LINE_FEED)
    return bool(beside[previous].all() and beside[following].all())


def _signs(piece: bytes, codes: Any, ends: Any, delimiter: int) -> frozenset[str]:
    """The kinds of dirt that a piece may hold; in doubt they are named."""
    # what a field begins with stands behind an end; the last line break has nothing behind it
    inner = ends[:-1] if len(ends) and ends[-1] == len(codes) - 1 else ends
    starts = codes[inner + 1]
    line_starts = starts[codes[inner] == _LINE_FEED]
    found = {
        "spaces": bool(
            _SPACES_BEHIND[codes[ends - 1]].any()
            or _SPACES_BEFORE[starts].any()
            or codes[0] in _SPACE_BYTES
            or (delimiter != ord("\t") and b"\t" in piece)
        ),
        "wrapped": b"'" in piece or (b"=" in piece and b'="' in piece),
        "null_words": bool(((starts | 0x20) == ord("n")).any()) or b"\\" in piece,
        "full_width": b"\xef" in piece and (b"\xef\xbc" in piece or b"\xef\xbd" in piece),
        "stars": b"*" in piece or (b"\xef" in piece and b"\xef\xbc\x8a" in piece),
        "exponents": b"+" in piece and (b"E+" in piece or b"e+" in piece),
        "ciphers": any(mark in piece for mark in _CIPHER_MARKS),
        "totals": bool(_TOTAL_STARTS[line_starts].any() or _TOTAL_STARTS[codes[0]])
        and any(word in piece for word in _TOTAL_BYTES),
    }
    return frozenset(name for name, is_there in found.items() if is_there)


def _second_look(plain: Path, layout: Layout, fit: Fit) -> Layout:
    """The layout of a file that isn't all UTF-8: GB18030, or UTF-8 with damaged places.

    The header has the first say. Where it is plain ASCII, most lines decide: GB18030 makes some text of
    almost any bytes, but a line of Chinese in it is hardly ever UTF-8.
    """
    layouts = []
    for name in layout.encodings or ("utf-8",):
        with plain.open("r", encoding=name, errors="replace", newline="") as file:
            rows = _first_rows("".join(_lines(file, layout.skip + 1)), layout.delimiter)
            header = rows[layout.skip] if len(rows) > layout.skip else []
        layouts.append(replace(layout, header=tuple(header), encoding=name))
    with plain.open("rb") as file:
        is_mostly_utf8 = most_are_utf8(iter(lambda: file.readline(_LONGEST_LINE), b""))
    return max(layouts, key=lambda one: (fit(one.header), (one.encoding == "utf-8") == is_mostly_utf8))


def _lines(file: IO[str], rows: int) -> Iterator[str]:
    """Enough lines of a file for some rows; a remark may hold line breaks."""
    for _ in range(rows + ROWS_ABOVE_A_HEADER):
        yield file.readline(_LONGEST_LINE)


def _positions(header: Sequence[str]) -> list[str]:
    return [f"{i}" for i in range(len(header))]


def _csv_batches(path: Path, layout: Layout, rows: int | None = None) -> Iterator[pl.DataFrame]:
    """Streams a regular CSV file; columns are named by position, for a header may hold a name twice.

    Args:
        path: The file.
        layout: How it is cut into fields.
        rows: Of a rewritten file: how many rows it has. It has no header.
    """
    if rows == 0:
        return
    names = _positions(layout.header)
    is_rewritten = rows is not None
    scan = pl.scan_csv(
        path,
        has_header=False,
        skip_rows=0 if is_rewritten else 1,
        separator=layout.delimiter,
        schema=dict.fromkeys([PROBLEM, ROW_TEXT, *names] if is_rewritten else names, pl.String),
    )
    nothing = [pl.lit(None, pl.String).alias(name) for name in (PROBLEM, ROW_TEXT)]
    seen = 0
    for batch in scan.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True, engine="streaming"):
        seen += batch.height
        yield batch if is_rewritten else batch.with_columns(nothing)
    if rows is not None and seen != rows:
        raise OrderFileError(
            f"{path}: {rows} rows were rewritten, {seen} came back. Nothing of the file was loaded; please "
            "report this file's layout."
        )


def _rewrite(source: Path, layout: Layout, target: Path) -> int:
    """Writes a CSV file again as a regular UTF-8 grid, each row behind what is wrong with it and its text.

    Rows are cut as Python's csv module cuts them. A row with bytes that are no text, with NULs, with more or
    fewer fields than the header, or with a field longer than ``LONGEST_FIELD`` (a quote that isn't closed
    swallows what follows) is unreadable; reading goes on behind it.

    Returns:
        The number of rows.
    """
    width = len(layout.header)
    named = max((i for i, name in enumerate(layout.header, start=1) if name.strip()), default=1)
    count = 0
    csv.field_size_limit(LONGEST_FIELD)
    with (
        source.open("r", encoding=layout.encoding, errors="bad-bytes", newline="") as file,
        target.open("w", encoding="utf-8", newline="") as out,
    ):
        lines = _Remembered(file)
        reader = csv.reader(lines, delimiter=layout.delimiter)
        writer = csv.writer(out, lineterminator="\r\n")
        for _ in range(layout.skip + 1):
            next(reader, None)
        while True:
            lines.begin()
            try:
                row = next(reader, None)
                if row is None:
                    break
                problem = _problem_of(row, width, named, layout.delimiter)
            except csv.Error:
                row, problem = [], "a quote is not closed, or a field is longer than 128 KiB"
            count += 1
            if problem:
                text = lines.text().rstrip("\r\n").replace("\x00", "␀").replace(_BAD_BYTES, "\ufffd")
                writer.writerow([problem, text, *[""] * width])
            else:
                writer.writerow(["", "", *row, *[""] * (width - len(row))])
    return count


def _problem_of(row: list[str], width: int, named: int, delimiter: str) -> str:
    """What is wrong with a row as a row, in words; empty if nothing is."""
    if any(_BAD_BYTES in field for field in row):
        return "the row holds bytes that are no text in the file's encoding"
    if any("\x00" in field for field in row):
        return "the row holds a NUL character"
    if not any(field.strip() for field in row):
        return "the row is empty"
    if _TOTAL.match(row[0].strip()):
        return A_TOTAL
    if len(row) > width:
        # also an empty one: a stray delimiter may have moved all fields behind it
        return "the row has more fields than the header"
    if len(row) < named:
        return "the row has fewer fields than the header"
    if any("\n" in field and field.count(delimiter) >= named - 1 for field in row):
        return "a quote is not closed: one field holds whole rows"
    return ""


class _Remembered:
    """The lines of a file, keeping those read since the last :meth:`begin`, up to a bound."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._lines: list[str] = []
        self._kept = 0

    def begin(self) -> None:
        self._lines, self._kept = [], 0

    def text(self) -> str:
        return "".join(self._lines)[:_KEPT_OF_A_BROKEN_ROW]

    def __iter__(self) -> Iterator[str]:
        # a bound, for a file without any line break
        while line := self._file.readline(_LONGEST_LINE):
            if self._kept < _KEPT_OF_A_BROKEN_ROW:
                self._lines.append(line)
                self._kept += len(line)
            yield line


def _bad_bytes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return _BAD_BYTES, error.end


codecs.register_error("bad-bytes", _bad_bytes)


def _text_of(name: str, dtype: pl.DataType, zone: str) -> pl.Expr:
    """A typed Parquet column as the text that a CSV export would hold."""
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        column = column.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    if dtype.is_float():
        whole = column == column.floor()
        return (
            pl.when(whole)
            .then(column.cast(pl.Int64, strict=False).cast(pl.String))
            # without the noise of binary fractions, and never with an exponent
            .when(column.is_finite() & (column.abs() < 1e12))
            .then(column.cast(pl.Decimal(38, 6), strict=False).cast(pl.String))
            .otherwise(column.cast(pl.String))
            .alias(name)
        )
    return column.cast(pl.String)


def _parquet_batches(path: Path, zone: str) -> Iterator[pl.DataFrame]:
    rows = pl.scan_parquet(path)
    texts = rows.select(
        _text_of(name, dtype, zone).fill_null("").alias(f"{i}")
        for i, (name, dtype) in enumerate(rows.collect_schema().items())
    ).with_columns(pl.lit(None, pl.String).alias(name) for name in (PROBLEM, ROW_TEXT))
    yield from texts.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True, engine="streaming")


def _workbook_rows(path: Path, layout: Layout) -> TextRows:
    """A sheet as texts, with what other sheets add to it."""
    assert layout.sheet is not None
    texts, numeric = sheet_texts(path, layout.sheet, layout.skip)
    frame = as_rows(texts, layout.header[: layout.own], PROBLEM, ROW_TEXT)
    position = layout.own
    for lookup in layout.lookups:
        other, other_numeric = sheet_texts(path, lookup.sheet, lookup.skip)
        frame = looked_up(frame, layout.key or 0, other, lookup, position)
        numeric |= {position + i for i, column in enumerate(lookup.columns) if column in other_numeric}
        position += len(lookup.columns)
    layout = replace(layout, numeric=numeric)
    return TextRows(layout, Dirt(), frame.iter_slices(BATCH_ROWS))

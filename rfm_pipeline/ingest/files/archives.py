"""What an export is by its content, whatever its name ends in, and unpacking it within a limit.

Belongs here: telling gzip, zip, workbooks, Parquet and text apart, finding the one export in a zip file, and
refusing what would unpack to more than ``orders.max_unpacked_gb`` or ``orders.max_workbook_gb``. Nothing is
read into memory before its size is known. What is in a file is ``texts``' and ``workbooks``'.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal, cast
from zipfile import BadZipFile, ZipFile, ZipInfo

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.shop import OrdersSection

TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
SUFFIXES = (
    *TEXT_SUFFIXES,
    *(f"{suffix}.gz" for suffix in TEXT_SUFFIXES),
    ".xlsx",
    ".xls",
    ".parquet",
    ".zip",
)

Kind = Literal["text", "workbook", "old workbook", "parquet"]
Packing = Literal["gzip", "zip"]

LARGEST_RATIO = 200
"""How many times its packed size a file may have; orders reach 30, what Deflate can do at most is 1,032."""

_GB = 10**9
_HARMLESS = 64_000_000
_PIECE = 1 << 24
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f]")


@dataclass(frozen=True)
class Limits:
    """How large an export may be once it is unpacked.

    Attributes:
        unpacked: Bytes of what is unpacked into a file, from gzip or zip.
        workbook: Bytes of all parts of a workbook, which is held in memory, at several times that size.
    """

    unpacked: int = 8 * _GB
    workbook: int = _GB

    @classmethod
    def of(cls, orders: OrdersSection) -> "Limits":
        """The limits that a shop's settings name."""
        return cls(int(orders.max_unpacked_gb * _GB), int(orders.max_workbook_gb * _GB))


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Export:
    """A file of the landing folder, and what it is.

    Attributes:
        path: The file.
        kind: What it holds, unpacked.
        packing: How it is packed; None if it isn't.
        member: The name of the export inside of a zip file.
        limits: How large it may be.
    """

    path: Path
    kind: Kind
    packing: Packing | None = None
    member: str | None = None
    limits: Limits = DEFAULT_LIMITS

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The export's bytes, unpacked while they are read."""
        if self.packing == "gzip":
            with gzip.open(self.path, "rb") as packed:
                yield cast(IO[bytes], packed)
        elif self.packing == "zip":
            assert self.member is not None
            with ZipFile(self.path) as archive, archive.open(self.member) as inner:
                yield inner
        else:
            with self.path.open("rb") as file:
                yield file

    def head(self, size: int) -> bytes:
        """The first bytes of the export, unpacked."""
        with self.opened() as file:
            return file.read(size)

    def unpacked(self, folder: Path) -> Path:
        """The export as a plain file; unpacked piece by piece, so that it is never in memory as a whole.

        Args:
            folder: For the unpacked copy.

        Raises:
            OrderFileError: If it is damaged, or larger than the limits allow; the copy is removed then.
        """
        if self.packing is None:
            return self.path
        target = folder / f"{self.path.name}.unpacked"
        try:
            with self.opened() as packed, target.open("wb") as plain:
                self._copy(packed, plain)
        except OrderFileError:
            target.unlink(missing_ok=True)
            raise
        # what gzip and zipfile raise on damage, and for a way of packing that zipfile doesn't know
        except (OSError, EOFError, zlib.error, BadZipFile, NotImplementedError):
            target.unlink(missing_ok=True)
            raise OrderFileError(
                f"{self.path}: the {self.packing} file is damaged or cut off; nothing of it was loaded."
            ) from None
        return target

    def in_memory(self) -> bytes:
        """The bytes of a packed workbook or Parquet file, at most as many as a workbook may have.

        Raises:
            OrderFileError: If it is larger.
        """
        with self.opened() as file:
            content = file.read(self.limits.workbook + 1)
        if len(content) > self.limits.workbook:
            raise too_large(self.path, self.limits.workbook, "max_workbook_gb")
        return content

    def _copy(self, packed: IO[bytes], plain: IO[bytes]) -> None:
        size, packed_size = 0, self.path.stat().st_size
        while piece := packed.read(_PIECE):
            size += len(piece)
            if size > self.limits.unpacked:
                raise too_large(self.path, self.limits.unpacked, "max_unpacked_gb")
            require_ratio(self.path, size, packed_size)
            plain.write(piece)


def too_large(path: Path, limit: int, setting: str) -> OrderFileError:
    """The refusal of a file that unpacks to more than a limit.

    Args:
        path: The file.
        limit: In bytes.
        setting: The name of the limit below ``orders`` in ``shop.yaml``.
    """
    return OrderFileError(
        f"{path}: unpacks to more than {limit / _GB:g} GB (orders.{setting} in shop.yaml); nothing of it was "
        "loaded. If the file is what you expect, raise the limit, or export a shorter time."
    )


def require_ratio(path: Path, size: int, packed_size: int) -> None:
    """Refuses a file that is packed denser than orders can be: it is made to fill the machine.

    Args:
        path: The file.
        size: Bytes unpacked, so far.
        packed_size: Bytes packed.

    Raises:
        OrderFileError: If the ratio is too large.
    """
    if size > _HARMLESS and size > LARGEST_RATIO * packed_size:
        raise OrderFileError(
            f"{path}: unpacks to more than {LARGEST_RATIO} times its size, as no orders do; nothing of "
            "it was loaded. If the file is what you expect, save it as an unpacked .csv file."
        )


def has_known_suffix(path: Path) -> bool:
    """Whether a file's name ends like an export's."""
    return path.name.lower().endswith(SUFFIXES)


def suffix_of(path: Path) -> str:
    """The ending of an export's name, such as ``.csv.gz``."""
    fitting = [suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)]
    return max(fitting, key=len, default=path.suffix)


def identify(path: Path, limits: Limits = DEFAULT_LIMITS) -> Export:
    """Finds out what an export is, by its first bytes.

    Platforms and people give files other endings than they should have: a workbook called ``.csv``, a text
    called ``.xls``.

    Args:
        path: The file.
        limits: How large it may be.

    Raises:
        OrderFileError: If it is a zip file without exactly one export, or no export at all.
    """
    with path.open("rb") as file:
        head = file.read(1 << 12)
    if head.startswith(b"\x1f\x8b"):
        return Export(path, "text", "gzip", None, limits)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _identify_zip(path, limits)
    kind = _kind(head)
    if kind == "text":
        _require_text(path, head)
    return Export(path, kind, None, None, limits)


def _kind(head: bytes) -> Kind:
    if head.startswith(_OLE):
        return "old workbook"
    return "parquet" if head.startswith(b"PAR1") else "text"


def _require_text(path: Path, head: bytes) -> None:
    """Refuses what its name calls packed or a workbook, and is neither that nor a text."""
    suffix = suffix_of(path)
    if suffix in TEXT_SUFFIXES:
        return
    if suffix == ".xls" and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise OrderFileError(
            f"{path}: is a web page with the ending .xls; open it in a spreadsheet program, save it as "
            ".xlsx, and put that file here instead."
        )
    is_marked = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    is_text = bool(head) and (is_marked or not _CONTROLS.search(head))
    if not (is_text and suffix in (".xls", ".xlsx")):
        raise OrderFileError(
            f"{path}: can't be opened as {suffix}; is the file whole? Export it again; nothing of it was "
            "loaded."
        )


def _identify_zip(path: Path, limits: Limits) -> Export:
    with ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.filename in ("[Content_Types].xml", "xl/workbook.xml") for member in members):
            return Export(path, "workbook", None, None, limits)
        member = _the_export(path, members)
        if member.flag_bits & 1:
            raise OrderFileError(
                f"{path}: the zip file is locked with a password; unpack it yourself and put the export in "
                "its place."
            )
        if member.file_size > limits.unpacked:
            raise too_large(path, limits.unpacked, "max_unpacked_gb")
        require_ratio(path, member.file_size, path.stat().st_size)
        with archive.open(member) as inner:
            head = inner.read(1 << 12)
    kind = _kind(head)
    if head.startswith(b"PK\x03\x04"):
        kind = "workbook"
        if not member.filename.lower().endswith(".xlsx"):
            raise OrderFileError(
                f"{path}: holds another zip file; unpack it and put the export in its place."
            )
    if kind == "text":
        _require_text(path.with_name(f"{path.name}{suffix_of(Path(member.filename))}"), head)
    return Export(path, kind, "zip", member.filename, limits)


def _the_export(path: Path, members: list[ZipInfo]) -> ZipInfo:
    """The one export of a zip file; a text beside another kind of file is taken for a note."""
    names = [(member, PurePosixPath(member.filename)) for member in members if not member.is_dir()]
    exports = [
        (member, name.suffix.lower())
        for member, name in names
        if not name.name.startswith((".", "~$")) and "__MACOSX" not in name.parts
    ]
    known = [(member, suffix) for member, suffix in exports if suffix in SUFFIXES]
    found = [member for member, suffix in known if suffix != ".txt"] or [member for member, _ in known]
    if len(found) == 1:
        return found[0]
    how_many = "no export" if not found else f"{len(found)} exports"
    raise OrderFileError(
        f"{path}: the zip file holds {how_many}; it must hold one "
        f"({', '.join((*TEXT_SUFFIXES, '.xlsx', '.xls'))}). Unpack it and put the exports here singly."
    )

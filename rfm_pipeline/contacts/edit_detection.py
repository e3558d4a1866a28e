"""Tells a file that was written here from one that somebody has written into since.

Beside a file stands its mark: the digest of everything that was ever written there. A file of another content
is somebody's own, and one without a mark, too.
"""

import hashlib
from pathlib import Path


def mark_of(path: Path) -> Path:
    """The file that says what a file was whenever it was written: a digest a line."""
    return path.with_name(f".{path.stem}.sha256")


def marked(path: Path, content: bytes) -> bytes:
    """The mark with one more content in it; former ones stay, a killed run may have left one of them."""
    return "\n".join(dict.fromkeys([*_digests(path), _digest(content)])).encode()


def is_edited(path: Path) -> bool:
    """Whether a file is there and is none that was written here."""
    return path.exists() and _digest(path.read_bytes()) not in _digests(path)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digests(path: Path) -> list[str]:
    mark = mark_of(path)
    return mark.read_text("ascii").split() if mark.exists() else []

"""Finds out whether somebody has written into a file since it was written here.

Beside a file lie the digests of everything that was ever written there. A file of another content is
somebody's own, and one without digests, too.
"""

import hashlib
from pathlib import Path


def digests_file(path: Path) -> Path:
    """The file that says what a file was whenever it was written: a digest a line."""
    return path.with_name(f".{path.stem}.sha256")


def with_digest(path: Path, content: bytes) -> bytes:
    """The digests with that of one more content; earlier ones stay: a killed run may have left one."""
    return "\n".join(dict.fromkeys([*_digests(path), _digest(content)])).encode()


def is_edited(path: Path) -> bool:
    """Whether a file is there and is none that was written here."""
    return path.exists() and _digest(path.read_bytes()) not in _digests(path)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digests(path: Path) -> list[str]:
    file = digests_file(path)
    return file.read_text("ascii").split() if file.exists() else []

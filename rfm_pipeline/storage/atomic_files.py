"""Half-made files: a private folder for each use, clearing up after killed runs, and the way to the disk."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def staging_folder(beside: Path) -> Iterator[Path]:
    """A folder for half-made files, on the same disk as ``beside``, gone when the block ends.

    What killed processes left behind is removed first; what living ones are writing stays.
    """
    staging = beside / ".staging"
    staging.mkdir(parents=True, exist_ok=True)
    for left in staging.iterdir():
        owner = left.name.partition("-")[0]
        if not (owner.isdigit() and _is_alive(int(owner))):
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(dir=staging, prefix=f"{os.getpid()}-") as folder:
        yield Path(folder)


def replace_files(beside: Path, files: Mapping[Path, bytes], *, mode: int = 0o666) -> None:
    """Puts files in their places, in their order, each in one step; one that says the same is left as it is.

    Args:
        beside: A folder on the same disk, for the half-made ones.
        files: The files with what they are to hold; their folders are made.
        mode: Who may read and write them, less what the process's umask takes away.
    """
    with staging_folder(beside) as staging:
        for path, content in files.items():
            if path.exists() and path.read_bytes() == content and not path.stat().st_mode & 0o777 & ~mode:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            half = staging / path.name
            with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)


def to_disk(path: Path) -> None:
    """Waits until a file, or what a folder lists, is on the disk: a power cut can't take it back."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

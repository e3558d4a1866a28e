"""Half-made files: a private folder for each use, and the clearing up after killed runs."""

import os
import shutil
from collections.abc import Iterator
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


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

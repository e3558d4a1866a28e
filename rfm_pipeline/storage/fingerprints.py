"""What the file system says of a file: enough to know that nobody wrote to it since it was last looked at.

Belongs here: looking without reading. What follows from an unchanged file is the business of who asks.
"""

import time
from pathlib import Path
from typing import Final, NamedTuple

FRESH_SECONDS = 2.0
"""A file younger than this may still be growing, or change again within the clock's tick."""


class FileState(NamedTuple):
    """What the file system says of a file; any write, rename or replacement changes it.

    ``changed_ns`` is set by the system alone, so a copy that keeps size and time is seen, too.
    """

    size: int
    modified_ns: int
    changed_ns: int
    inode: int

    @property
    def is_fresh(self) -> bool:
        """Whether the file was written to a moment ago, or in the future of this clock."""
        return time.time() - max(self.modified_ns, self.changed_ns) / 1e9 < FRESH_SECONDS


GONE: Final = FileState(-1, 0, 0, 0)


def state_of(path: Path) -> FileState:
    """A file's state, ``GONE`` if it isn't there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return GONE
    return FileState(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

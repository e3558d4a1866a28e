"""The landing folder ``orders/``: which exports lie there, complete and by which content.

A file's bytes are hashed once: as long as size, times and inode stay, the hash in the warehouse holds. So a
run costs what is new in the folder, not what lies there since years.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rfm_pipeline.ingest.files.texts import is_order_file
from rfm_pipeline.shop import Shop
from rfm_pipeline.storage.fingerprints import FileState, state_of
from rfm_pipeline.warehouse.duckdb import Session

_PAUSE_SECONDS = 0.25
_CREATE = """
create table if not exists landing_states (
    file_name varchar not null, size bigint not null, modified_ns bigint not null, changed_ns bigint not null,
    inode ubigint not null, content_hash varchar not null
)
"""


@dataclass(frozen=True)
class Landing:
    """A file of the landing folder.

    Attributes:
        path: The file.
        name: Its name below ``orders/``, by which a changed file is known again.
        content_hash: SHA-256 of its bytes.
        state: Its state when it was hashed.
    """

    path: Path
    name: str
    content_hash: str
    state: FileState

    def is_still_the_same(self) -> bool:
        """Whether nobody wrote to the file since."""
        return state_of(self.path) == self.state


Hashes = Mapping[tuple[str, FileState], str]
"""The content of files by name and state, as earlier runs found it."""


def landed_files(
    shop: Shop, known: Hashes | None = None, pause: Callable[[float], None] = time.sleep
) -> tuple[list[Landing], list[str]]:
    """The exports in the landing folder, by name.

    Args:
        shop: The settings.
        known: What needn't be hashed again, from :func:`known_hashes`.
        pause: Waits a moment to see whether a file that was just written to still grows.

    Returns:
        The exports, and the names of those that are still being written: they are left for the next run.
    """
    folder = shop.orders_dir
    paths = export_paths(folder)
    before = {path: state_of(path) for path in paths}
    if any(state.is_fresh for state in before.values()):
        pause(_PAUSE_SECONDS)
    files, growing = [], []
    for path in paths:
        name, state = path.relative_to(folder).as_posix(), before[path]
        if state_of(path) == state:
            content = (known or {}).get((name, state)) or _hash(path)
            file = Landing(path, name, content, state)
            if file.is_still_the_same():
                files.append(file)
                continue
        growing.append(name)
    return files, growing


def export_paths(folder: Path) -> list[Path]:
    """The exports below a landing folder, by name."""
    return [path for path in sorted(folder.rglob("*")) if is_order_file(path)]


def landing_states(folder: Path) -> dict[str, FileState]:
    """The states of the exports below a landing folder, by name; no file is opened."""
    return {path.relative_to(folder).as_posix(): state_of(path) for path in export_paths(folder)}


def known_hashes(session: Session) -> dict[tuple[str, FileState], str]:
    """The content of files by name and state, as the last run noted it."""
    if not session.has("landing_states"):
        return {}
    rows = session.execute(
        "select file_name, content_hash, size, modified_ns, changed_ns, inode from landing_states"
    )
    return {(name, FileState(*state)): content for name, content, *state in rows.fetchall()}


def note_hashes(session: Session, landed: Sequence[Landing]) -> None:
    """Notes the content of the files that lie there, but for those that were just written to."""
    settled = [file for file in landed if not file.state.is_fresh]
    if known_hashes(session) == {(file.name, file.state): file.content_hash for file in settled}:
        return
    rows = [(file.name, *file.state, file.content_hash) for file in settled]
    columns = ("file_name", "size", "modified_ns", "changed_ns", "inode", "content_hash")
    schema = dict(zip(columns, (pl.String, pl.Int64, pl.Int64, pl.Int64, pl.UInt64, pl.String), strict=True))
    session.execute(_CREATE)
    session.execute("delete from landing_states")
    with session.frames(states=pl.DataFrame(rows, schema=schema, orient="row")):
        session.execute("insert into landing_states by name select * from states")


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""

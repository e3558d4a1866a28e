"""Which Parquet files are a table's rows of a week: the pointer by which a write becomes visible.

The pointers are two small tables of the catalog, a DuckDB file. A write puts its files into a folder of its
own, which nobody reads, and then moves the pointers of its weeks inside the catalog's transaction: when that
commits, all the weeks of all the tables written in it are there at once; when it doesn't, none is. Files that
no pointer names are rubbish, whatever left them.

    <root>/<table>/write=<id>/week=<Monday>/*.parquet
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb

from rfm_pipeline.errors import RfmError, ShopFileError
from rfm_pipeline.storage.atomic_files import to_disk
from rfm_pipeline.warehouse.schema import Table

_GLOB = set("*?[]{}")
_log = logging.getLogger(__name__)

_POINTERS = """
create table if not exists published_weeks (
    table_name varchar not null, week date not null, write_id varchar not null, files varchar[] not null
)
"""
_TABLES = """
create table if not exists published_tables (table_name varchar not null, columns varchar not null)
"""
_CATALOG = "create table if not exists catalog_id as select left(replace(uuid()::varchar, '-', ''), 12) as id"


@dataclass(frozen=True)
class Pointer:
    """Where a table's rows of a week are.

    Attributes:
        week: The week.
        write_id: The write that made them.
        files: The names of the files; empty for a week without rows.
    """

    week: date
    write_id: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class TableStore:
    """The folder, or place in an object storage, that holds the tables' files.

    Attributes:
        root: An absolute path or a URL that Spark knows, such as ``s3a://bucket/rfm``.
    """

    root: str

    def __post_init__(self) -> None:
        if broken := sorted(_GLOB & set(self.root)):
            raise ShopFileError(
                f"warehouse.spark.tables: {self.root} holds {' '.join(broken)}, which Spark takes for a "
                "pattern. Name a folder without such characters, or move the shop's home into one."
            )

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine's file system, as far as its name says."""
        return "://" not in self.root

    @cached_property
    def files(self) -> Any:
        """The file system, as fsspec knows it.

        Raises:
            RfmError: If its fsspec package isn't installed.
        """
        import fsspec

        try:
            return fsspec.core.url_to_fs(self.root)[0]
        except (ImportError, ValueError) as error:
            raise RfmError(
                f"warehouse.spark.tables: {self.root} can't be opened: {error}. Object storage needs its "
                "fsspec package beside rfm-pipeline: s3fs for s3a://, gcsfs for gs://, adlfs for abfs://."
            ) from None

    def for_spark(self, *parts: str) -> str:
        """A place below the root, as Spark names it."""
        return "/".join([f"file://{self.root}" if self.is_local else self.root, *parts])

    def for_duckdb(self, *parts: str) -> str:
        """A place below the root, as DuckDB names it."""
        return "/".join([self.root, *parts])

    def connect(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Lets DuckDB read and write where the root is."""
        if not self.is_local:
            connection.register_filesystem(self.files)

    def remove(self, *parts: str) -> None:
        """Removes a folder with all it holds; what can't be removed now is left for the next write."""
        place = self.for_duckdb(*parts)
        try:
            if self.files.exists(place):
                self.files.rm(place, recursive=True)
        except Exception as error:
            # storages raise what they like; the write itself is done
            _log.warning("files no longer needed could not be removed: %s", type(error).__name__)

    def writes(self, table: str) -> list[str]:
        """The ids of a table's writes that have left files."""
        try:
            found = self.files.ls(self.for_duckdb(table), detail=False)
        except FileNotFoundError:
            return []
        names = [str(place).rstrip("/").rpartition("/")[2] for place in found]
        return [name.removeprefix("write=") for name in names if name.startswith("write=")]

    def to_disk(self, table: str, write_id: str, files: Mapping[date, Sequence[str]]) -> None:
        """Waits until a write's files and folders are on the disk, so that a power cut leaves them whole.

        A storage that is no folder keeps what was closed; its files are not looked at.
        """
        if not self.is_local:
            return
        write = Path(self.root, table, f"write={write_id}")
        for week, names in files.items():
            folder = write / f"week={week}"
            for path in (*(folder / name for name in names), folder):
                to_disk(path)
        for folder in (write, write.parent, write.parent.parent):
            to_disk(folder)

    def prepare(self, table: str) -> None:
        """Makes the folder for a table's writes, where there are folders."""
        if self.is_local:
            Path(self.root, table).mkdir(parents=True, exist_ok=True)


class Pointers:
    """The catalog's pointers, seen and moved inside one transaction.

    Attributes:
        superseded: Folders of weeks that this transaction moved a pointer away from, as parts below the root.
        written: The tables whose pointers it moved.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.superseded: list[tuple[str, ...]] = []
        self.written: set[str] = set()
        connection.execute(_POINTERS)
        connection.execute(_TABLES)
        connection.execute(_CATALOG)
        # another shop may by mistake have been given the same folder: its files are none of ours
        self._mine = str(connection.execute("select id from catalog_id").fetchall()[0][0])

    def new_write(self) -> str:
        """An id for a write, which says whose it is."""
        return f"{self._mine}-{uuid4().hex[:16]}"

    def has(self, table: str) -> bool:
        """Whether the table was made, be it without rows."""
        return self._columns(table) is not None

    def _columns(self, table: str) -> str | None:
        found = self._connection.execute(
            "select columns from published_tables where table_name = ?", [table]
        ).fetchall()
        return str(found[0][0]) if found else None

    def create(self, table: Table) -> None:
        """Makes the table if it isn't there.

        Raises:
            RfmError: If it is there with other columns, from an older version of the program.
        """
        columns = ", ".join(f"{name} {kind}" for name, kind in table.column_types.items())
        found = self._columns(table.name)
        if found is None:
            self._connection.execute("insert into published_tables values (?, ?)", [table.name, columns])
        elif found != columns:
            raise RfmError(
                f"the warehouse's table {table.name} has other columns than this version of rfm expects. "
                "The warehouse is derived from the orders: delete warehouse_spark/ in the shop's home, and "
                "what warehouse.spark.tables names, and run again."
            )

    def of(self, table: str) -> list[Pointer]:
        """Where the table's rows are, week by week."""
        rows = self._connection.execute(
            "select week, write_id, files from published_weeks where table_name = ? order by week", [table]
        )
        return [Pointer(week, write_id, tuple(files)) for week, write_id, files in rows.fetchall()]

    def move(
        self, table: str, weeks: Sequence[date], write_id: str, files: Mapping[date, Sequence[str]]
    ) -> None:
        """Points the weeks to a write's files; weeks without files become empty ones."""
        asked = set(weeks)
        for old in self.of(table):
            if old.week in asked and old.files:
                self.superseded.append((table, f"write={old.write_id}", f"week={old.week}"))
        self._connection.execute(
            "delete from published_weeks where table_name = ? and list_contains(?, week)",
            [table, list(weeks)],
        )
        self._connection.executemany(
            "insert into published_weeks values (?, ?, ?, ?)",
            [[table, week, write_id, list(files.get(week, ()))] for week in weeks],
        )
        self.written.add(table)

    def clear_up(self, store: TableStore) -> None:
        """Removes this catalog's files that no pointer names, of the tables written; for after the commit."""
        for parts in self.superseded:
            store.remove(*parts)
        for table in self.written:
            named = {pointer.write_id for pointer in self.of(table) if pointer.files}
            for write_id in set(store.writes(table)) - named:
                if write_id.startswith(f"{self._mine}-"):
                    store.remove(table, f"write={write_id}")


def view_sql(table: Table, store: TableStore, pointers: Sequence[Pointer]) -> str:
    """A SELECT, in DuckDB's dialect, of the table's rows from its files."""
    paths = [
        store.for_duckdb(table.name, f"write={pointer.write_id}", f"week={pointer.week}", name)
        for pointer in pointers
        for name in pointer.files
    ]
    kinds = table.column_types
    columns = ", ".join(f'cast("{name}" as {kind}) as "{name}"' for name, kind in kinds.items())
    if not paths:
        nothing = ", ".join(f'cast(null as {kind}) as "{name}"' for name, kind in kinds.items())
        return f"select {nothing} where false"
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    return (
        f"select {columns} from read_parquet([{listed}], hive_partitioning = true, "
        "hive_types = {'week': DATE, 'write': VARCHAR})"
    )

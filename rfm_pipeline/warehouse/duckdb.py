"""The DuckDB warehouse: one file, one writer, every write one transaction.

Belongs here: connecting (late, briefly, with a bounded wait for another process), replacing a table or
its weeks so that a reader sees the old rows or the new ones, and reading. What the tables mean is the
stages' business.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from rfm_pipeline.errors import RfmError, ValidationError, WarehouseBusyError
from rfm_pipeline.warehouse.schema import Table, validate
from rfm_pipeline.warehouse.sql import used_parameters
from rfm_pipeline.weeks import as_of, name_range

BATCH_ROWS = 250_000
_SNAPSHOTS = """
create table if not exists snapshots (
    table_name varchar not null, week date not null, row_count bigint not null, inputs_version bigint not null
)
"""
_INPUT_CHANGES = """
create table if not exists input_changes (version bigint not null, week date not null)
"""
_LOCKED = re.compile(r"Conflicting lock is held in .*?\(PID (\d+)\)", re.DOTALL)


@contextmanager
def _values_kept_private() -> Iterator[None]:
    """Reports that a value was refused without quoting it, as DuckDB's own errors do."""
    try:
        yield
    except (duckdb.DataError, duckdb.IntegrityError) as error:
        raise ValidationError(
            f"a value can't be written to its column or computed with ({type(error).__name__}); "
            "nothing was written."
        ) from None


@dataclass(frozen=True)
class Snapshot:
    """A week of a weekly table.

    Attributes:
        rows: How many rows it has.
        inputs_version: The state of the inputs that it was made from (:meth:`Session.inputs_version`).
    """

    rows: int
    inputs_version: int


class Session:
    """An open transaction on the warehouse; all that is done through it becomes visible at once."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> duckdb.DuckDBPyConnection:
        """Runs one statement with the parameters it names."""
        with _values_kept_private():
            return self.connection.execute(sql, used_parameters(sql, dict(params or {})))

    def read(self, sql: str, params: Mapping[str, Any] | None = None) -> pl.DataFrame:
        """The rows of a query."""
        with _values_kept_private():
            frame = self._relation(sql, params).pl()
        assert isinstance(frame, pl.DataFrame)
        return frame

    def _relation(self, sql: str, params: Mapping[str, Any] | None) -> duckdb.DuckDBPyRelation:
        return self.connection.sql(sql, params=used_parameters(sql, dict(params or {})) or None)

    def value(self, sql: str, params: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row, None if there is none."""
        # fetched whole: an open result would hold what it reads
        rows = self.execute(sql, params).fetchall()
        return rows[0][0] if rows else None

    @contextmanager
    def frames(self, **frames: pl.DataFrame) -> Iterator[None]:
        """Lets SQL read Polars frames under the given names."""
        for name, frame in frames.items():
            self.connection.register(name, frame.to_arrow())
        try:
            yield
        finally:
            for name in frames:
                self.connection.unregister(name)

    def answer(self, sql: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The only row of a query that adds up whole tables, by column; computed where the tables are."""
        return self.read(sql, params).row(0, named=True)

    def create(self, table: Table) -> None:
        """Makes the table from its schema if it isn't there.

        Raises:
            RfmError: If it is there with other columns, from an older version of the program.
        """
        self.connection.execute(table.ddl)
        found = dict(
            self.connection.execute(
                "select column_name, data_type from information_schema.columns "
                "where table_name = ? and table_catalog = current_database() order by ordinal_position",
                [table.name],
            ).fetchall()
        )
        if found != table.column_types:
            raise RfmError(
                f"the warehouse's table {table.name} has other columns than this version of rfm expects. "
                "The warehouse is derived from the orders: delete warehouse.duckdb and run again."
            )

    def target(self, weeks: Sequence[date]) -> None:
        """Fills ``target_weeks(week, as_of)``, the weeks that a statement is asked for."""
        frame = pl.DataFrame(
            {"week": list(weeks), "as_of": [as_of(week) for week in weeks]},
            schema={"week": pl.Date, "as_of": pl.Date},
        )
        with self.frames(target_frame=frame):
            self.connection.execute(
                "create or replace temp table target_weeks as select week, as_of from target_frame"
            )

    def replace_weeks(
        self,
        table: Table,
        weeks: Sequence[date],
        sql: str,
        params: Mapping[str, Any] | None = None,
    ) -> dict[date, int]:
        """Replaces the rows of the given weeks by those of a query, and checks them.

        Args:
            table: The table to write; made if it isn't there.
            weeks: The weeks asked for; the query finds them in ``target_weeks(week, as_of)``.
            sql: A SELECT that yields the table's columns, in any order.
            params: Values for the query's ``$names``.

        Returns:
            The number of rows of every week asked for, 0 included.

        Raises:
            ValidationError: If a row breaks the schema; the caller's transaction must then end.
        """
        rows = self.rewrite_weeks(table, weeks, sql, params)
        self._note_snapshot(table, rows)
        return rows

    def rewrite_weeks(
        self,
        table: Table,
        weeks: Sequence[date],
        sql: str,
        params: Mapping[str, Any] | None = None,
    ) -> dict[date, int]:
        """:meth:`replace_weeks` for a table that has a ``week`` but no snapshots of it."""
        self.create(table)
        self.target(weeks)
        self.connection.execute(f'delete from "{table.name}" where week in (select week from target_weeks)')
        self.execute(f'insert into "{table.name}" by name {sql}', params)
        mine = f'from "{table.name}" where week in (select week from target_weeks)'
        validate(table, self.batches(f"select * {mine}"), f"{table.name}, week {name_range(weeks)}")
        counted = self.execute(f"select week, count(*) {mine} group by week").fetchall()
        return dict.fromkeys(sorted(weeks), 0) | dict(sorted(counted))

    def note_rewritten(self, table: Table, weeks_sql: str) -> None:
        """Says in which weeks (the query's ``week`` column) rows of a table were written by plain SQL.

        Nothing to do where all tables are in one file; where copies of the table are kept for others to
        read, those weeks are copied again.
        """

    def _note_snapshot(self, table: Table, rows: Mapping[date, int]) -> None:
        """Records that a table's weeks are made, from which state of the inputs."""
        self.execute(_SNAPSHOTS)
        name = {"table_name": table.name, "version": self.inputs_version()}
        self.execute(
            "delete from snapshots where table_name = $table_name "
            "and week in (select week from target_weeks)",
            name,
        )
        counted = pl.DataFrame(
            {"week": list(rows), "row_count": list(rows.values())},
            schema={"week": pl.Date, "row_count": pl.Int64},
        )
        with self.frames(counted_weeks=counted):
            self.execute(
                "insert into snapshots by name select $table_name as table_name, week, row_count, "
                "$version::bigint as inputs_version from counted_weeks",
                name,
            )

    def append(self, table: Table, frames: Iterable[pl.DataFrame], what: str) -> None:
        """Adds rows to a table, streaming: each frame is checked on its way in.

        Args:
            table: The table; it must be there.
            frames: Rows with the table's columns, in any order of columns.
            what: What is written, for the message.

        Raises:
            ValidationError: If a row breaks the schema; the caller's transaction must then end.
            Exception: Whatever the frames' source raises.
        """
        names = list(table.schema.columns)
        empty = pl.DataFrame(
            schema={name: column.dtype.type for name, column in table.schema.columns.items()}
        )
        schema = empty.to_arrow().schema
        raised: list[BaseException] = []

        def checked() -> Iterator[pa.RecordBatch]:
            try:
                for frame in frames:
                    validate(table, [frame], what)
                    yield from frame.select(names).to_arrow().cast(schema).to_batches()
            except BaseException as error:
                # DuckDB would wrap it in an error of its own
                raised.append(error)

        reader = pa.RecordBatchReader.from_batches(schema, checked())
        self.connection.register("appended_rows", reader)
        try:
            self.execute(f'insert into "{table.name}" by name select * from appended_rows')
        finally:
            self.connection.unregister("appended_rows")
        if raised:
            raise raised[0]

    def inputs_version(self) -> int:
        """A number that grows with every change of what the weekly tables are made from."""
        if not self.has("input_changes"):
            return 0
        return int(self.value("select coalesce(max(version), 0) from input_changes"))

    def note_input_changes(self, weeks_sql: str) -> None:
        """Records the weeks (the query's ``week`` column) in which the weekly tables' inputs changed."""
        self.execute(_INPUT_CHANGES)
        version = self.inputs_version() + 1
        self.execute(
            f"insert into input_changes by name "
            f"select distinct $version::bigint as version, week from ({weeks_sql}) where week is not null",
            {"version": version},
        )

    def stale_weeks(self, table: str) -> set[date]:
        """The snapshots of a table made before a change of the orders of that week or an earlier one."""
        if not (self.has("snapshots") and self.has("input_changes")):
            return set()
        rows = self.execute(
            """
            select s.week
            from snapshots s
            where s.table_name = $name and exists (
                select 1 from input_changes c
                where c.version > s.inputs_version and c.week <= s.week
            )
            """,
            {"name": table},
        )
        return {week for (week,) in rows.fetchall()}

    def replace(self, table: Table, sql: str, params: Mapping[str, Any] | None = None) -> int:
        """Replaces all rows of a table by those of a query, and checks them.

        Returns:
            The number of rows.
        """
        self.create(table)
        self.connection.execute(f'delete from "{table.name}"')
        self.execute(f'insert into "{table.name}" by name {sql}', params)
        return validate(table, self.batches(f'select * from "{table.name}"'), table.name)

    def batches(self, sql: str, params: Mapping[str, Any] | None = None) -> Iterator[pl.DataFrame]:
        """The rows of a query in frames of bounded size."""
        for batch in self._relation(sql, params).to_arrow_reader(BATCH_ROWS):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            yield frame

    def tables_elsewhere(self) -> Sequence[Table]:
        """The tables that exist and can be read here, but are not kept in this file."""
        return ()

    def has(self, table: str) -> bool:
        """Whether a table exists."""
        return bool(
            self.value(
                "select count(*) from information_schema.tables where table_name = $name "
                "and table_catalog = current_database()",
                {"name": table},
            )
        )

    def snapshot_weeks(self, table: str) -> set[date]:
        """The weeks that a weekly table holds, weeks without a row included."""
        return set(self.snapshots(table))

    def snapshots(self, table: str) -> dict[date, Snapshot]:
        """What is known of the weeks that a weekly table holds, weeks without a row included."""
        if not self.has("snapshots"):
            return {}
        rows = self.execute(
            "select week, row_count, inputs_version from snapshots where table_name = $name", {"name": table}
        )
        return {week: Snapshot(count, version) for week, count, version in rows.fetchall()}


@dataclass(frozen=True)
class Warehouse:
    """One shop's DuckDB file.

    Attributes:
        path: The file; made on first use.
        memory_limit: What DuckDB may hold in memory before it spills beside the file.
        threads: Worker threads, None for all cores.
        lock_wait_seconds: How long to wait while another process holds the file.
    """

    path: Path
    memory_limit: str = "4GB"
    threads: int | None = None
    lock_wait_seconds: float = 60
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    _held: list[duckdb.DuckDBPyConnection] = field(default_factory=list, repr=False, compare=False)

    def _connect(
        self, *, wait_seconds: float | None = None, read_only: bool = False
    ) -> duckdb.DuckDBPyConnection:
        config: dict[str, Any] = {
            "memory_limit": self.memory_limit,
            "preserve_insertion_order": False,
        }
        if self.threads is not None:
            config["threads"] = self.threads
        patience = self.lock_wait_seconds if wait_seconds is None else wait_seconds
        deadline = time.monotonic() + patience
        pause = 0.05
        while True:
            try:
                return duckdb.connect(str(self.path), read_only=read_only, config=config)
            except duckdb.IOException as error:
                locked = _LOCKED.search(str(error))
                if locked is None:
                    raise
                if time.monotonic() >= deadline:
                    raise WarehouseBusyError(
                        f"{self.path} has been in use by process {locked[1]} for more than "
                        f"{patience:g} s. Wait for that run to end, or stop it, then run again."
                    ) from None
                self.sleep(pause)
                pause = min(pause * 2, 1.0)

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keeps the file open for the block: its transactions share one connection instead of one each.

        For one step of a run. Not between steps: a process that waits for the warehouse gets it there.
        """
        with self._open() as connection:
            self._held.append(connection)
            try:
                yield
            finally:
                self._held.remove(connection)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A transaction: committed at the end of the block, rolled back on any exception."""
        with nullcontext(self._held[-1]) if self._held else self._open() as connection:
            connection.execute("begin")
            session = self._session(connection)
            try:
                yield session
            except BaseException:
                # an interrupt must not leave half a write on a connection that is used again
                connection.execute("rollback")
                raise
            connection.execute("commit")
            self._after_commit(session)

    @contextmanager
    def glance(self) -> Iterator[Session]:
        """A look at the tables that writes nothing, waits for nobody, and holds the file for moments only.

        For who looks often and can look again later, such as a sensor.

        Raises:
            WarehouseBusyError: If another process writes at the moment.
            FileNotFoundError: If there is no warehouse yet.
        """
        if not self.path.exists():
            raise FileNotFoundError(self.path)
        with closing(self._connect(wait_seconds=0, read_only=True)) as connection:
            connection.execute("begin transaction read only")
            yield self._session(connection)

    def _session(self, connection: duckdb.DuckDBPyConnection) -> Session:
        """The transaction's session; another engine's is of another kind."""
        return Session(connection)

    def _after_commit(self, session: Session) -> None:
        """What is to be cleared up once a transaction's writes are visible."""

    @contextmanager
    def _open(self) -> Iterator[duckdb.DuckDBPyConnection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = self._connect()
        try:
            connection.execute("set enable_progress_bar = false")
            yield connection
        finally:
            connection.close()

    def leave_out(self, customer_id: str) -> None:
        """Takes a customer out of the tables that are not kept in this file; an order stays, without them."""

    def replace_weeks(
        self, table: Table, weeks: Sequence[date], sql: str, params: Mapping[str, Any] | None = None
    ) -> dict[date, int]:
        """:meth:`Session.replace_weeks` in a transaction of its own."""
        with self.transaction() as session:
            return session.replace_weeks(table, weeks, sql, params)

    def replace(self, table: Table, sql: str, params: Mapping[str, Any] | None = None) -> int:
        """:meth:`Session.replace` in a transaction of its own."""
        with self.transaction() as session:
            return session.replace(table, sql, params)

    def read(self, sql: str, params: Mapping[str, Any] | None = None) -> pl.DataFrame:
        """The rows of a query."""
        with self.transaction() as session:
            return session.read(sql, params)

    def snapshot_weeks(self, table: str) -> set[date]:
        """The weeks that a weekly table holds, weeks without a row included."""
        if not self.path.exists():
            return set()
        with self.transaction() as session:
            return session.snapshot_weeks(table)

"""The Spark warehouse: the tables that grow with the shop as Parquet, made on a cluster by the same SQL.

What is small stays in a DuckDB file, the catalog: bookkeeping, lists, verdicts, and which Parquet files are
a table's rows of a week (``published``). A transaction is the catalog's: a reader through it
sees the big tables as views over their files, so the stages that take a week's list from them don't notice.

Belongs here: the transaction that hands its big statements to Spark. Starting Spark is
``warehouse.cluster``'s, the other dialect ``warehouse.translate``'s, the check of rows
``warehouse.executors``'.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import duckdb
import polars as pl

from rfm_pipeline.errors import ValidationError
from rfm_pipeline.warehouse.duckdb import Session, Warehouse
from rfm_pipeline.warehouse.schema import Table, refuse
from rfm_pipeline.warehouse.spark.cluster import ClusterSettings, errors_without_values
from rfm_pipeline.warehouse.spark.published import Pointers, TableStore, view_sql
from rfm_pipeline.weeks import name_range

_SPARK_TYPES = {"VARCHAR": "STRING", "INTEGER": "INT", "TIMESTAMP": "TIMESTAMP_NTZ"}


def spark_columns(table: Table) -> dict[str, str]:
    """Spark's type of every column, in order."""
    return {name: _SPARK_TYPES.get(kind, kind) for name, kind in table.column_types.items()}


class SparkTransaction(Session):
    """An open transaction of the catalog, in which the big tables' statements run on Spark."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, warehouse: "SparkWarehouse") -> None:
        super().__init__(connection)
        self.warehouse = warehouse
        self.pointers = Pointers(connection)
        self._shown: set[str] = set()
        self._defined: set[str] = set()

    # Reading

    def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> duckdb.DuckDBPyConnection:
        """Runs one statement in the catalog; it finds the big tables as views."""
        self._show(sql)
        return super().execute(sql, params)

    def _relation(self, sql: str, params: Mapping[str, Any] | None) -> duckdb.DuckDBPyRelation:
        self._show(sql)
        return super()._relation(sql, params)

    def _show(self, sql: str) -> None:
        """Makes the views of the big tables that the statement names: their files are looked at only then."""
        words = set(re.findall(r"\w+", sql))
        for name in words & self.warehouse.on_spark.keys() - self._shown:
            if self.pointers.has(name):
                view = view_sql(self.warehouse.on_spark[name], self.warehouse.store, self.pointers.of(name))
                self.connection.execute(f'create or replace temp view "{name}" as {view}')
                self._shown.add(name)

    def tables_elsewhere(self) -> Sequence[Table]:
        """The tables that exist as files; what is only a copy is left out."""
        return [table for table in self.warehouse.on_spark.values() if self.pointers.has(table.name)]

    def has(self, table: str) -> bool:
        """Whether a table exists."""
        return self.pointers.has(table) if table in self.warehouse.on_spark else super().has(table)

    def answer(self, sql: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The only row of a query that adds up whole tables; on Spark if one of them is there."""
        from rfm_pipeline.warehouse.spark.translate import tables_of

        if not tables_of(sql) & self.warehouse.on_spark.keys():
            return super().answer(sql, params)
        return self.collect(sql, params).row(0, named=True)

    def collect(self, sql: str, params: Mapping[str, Any] | None = None) -> pl.DataFrame:
        """The rows of a query that runs on Spark; for few of them."""
        with errors_without_values("a query"):
            found = pl.from_arrow(self._on_spark(sql, params).toArrow())
        assert isinstance(found, pl.DataFrame)
        return found

    def define(self, name: str, sql: str, params: Mapping[str, Any] | None = None) -> None:
        """Gives a query on Spark a name, by which later ones of this transaction find its rows."""
        self.lend(name, self._on_spark(sql, params))

    @contextmanager
    def kept(self, name: str) -> Iterator[None]:
        """Lets Spark keep the rows of a defined query in the block: they are made once, not for every use."""
        spark = self.warehouse.cluster.session()
        spark.catalog.cacheTable(name)
        try:
            yield
        finally:
            spark.catalog.uncacheTable(name)

    def lend(self, name: str, frame: Any) -> None:
        """Gives a Spark frame a name, by which later queries of this transaction find its rows."""
        frame.createOrReplaceTempView(name)
        self._defined.add(name)

    # Writing

    def create(self, table: Table) -> None:
        """Makes the table if it isn't there."""
        if table.name in self.warehouse.on_spark:
            self.pointers.create(table)
        else:
            super().create(table)

    def rewrite_weeks(
        self,
        table: Table,
        weeks: Sequence[date],
        sql: str,
        params: Mapping[str, Any] | None = None,
    ) -> dict[date, int]:
        """Replaces the rows of the given weeks by those of a query, on Spark if the table is there.

        The rows go to files of their own, which are read back and checked inside the executors; only then
        are the weeks pointed to them.
        """
        if table.name not in self.warehouse.on_spark:
            return super().rewrite_weeks(table, weeks, sql, params)
        self.create(table)
        self.target(weeks)
        what = f"{table.name}, week {name_range(weeks)}"
        self.warehouse.store.prepare(table.name)
        write_id = self.pointers.new_write()
        place = self.warehouse.store.for_spark(table.name, f"write={write_id}")
        try:
            with errors_without_values(what):
                self._write(table, place, sql, params)
                rows, files = self._check(table, place, what)
            if foreign := sorted(rows.keys() - set(weeks)):
                raise ValidationError(f"{what}: rows of week {foreign[0]} were made, which nobody asked for.")
        except BaseException:
            self.warehouse.store.remove(table.name, f"write={write_id}")
            raise
        self.warehouse.store.to_disk(table.name, write_id, files)
        self.pointers.move(table.name, weeks, write_id, files)
        self._shown.discard(table.name)
        return {week: rows.get(week, 0) for week in sorted(weeks)}

    def _write(self, table: Table, place: str, sql: str, params: Mapping[str, Any] | None) -> None:
        columns = [f"cast(`{name}` as {kind}) as `{name}`" for name, kind in spark_columns(table).items()]
        frame = self._on_spark(sql, params).selectExpr(*columns)
        order = ["week", *(name for name in table.key if name != "week")]
        # files of a good size whatever the week's: small ones joined, large ones split
        frame.hint("rebalance", "week").sortWithinPartitions(*order).write.partitionBy("week").parquet(place)

    def _check(self, table: Table, place: str, what: str) -> tuple[dict[date, int], dict[date, list[str]]]:
        """Checks the written rows inside the executors; returns each week's rows and files."""
        from rfm_pipeline.warehouse.spark.executors import TALLY, read_tally, tally

        columns = spark_columns(table)
        written = self.warehouse.cluster.session().read.schema(_ddl(columns)).parquet(place)
        counts = written.mapInArrow(tally(table), TALLY).groupBy("week", "rule").sum("n").collect()
        rows, failures = read_tally([tuple(row) for row in counts])
        refuse(failures, sum(rows.values()), what)
        return rows, {week: names for week, names in _by_week(written.inputFiles()).items() if week in rows}

    def note_rewritten(self, table: Table, weeks_sql: str) -> None:
        """Copies the weeks of a table of the catalog to where Spark reads it."""
        if table.name not in self.warehouse.copied:
            return
        self.pointers.create(table)
        found = self.execute(f"select distinct week from ({weeks_sql}) order by week").fetchall()
        self._copy(table, [week for (week,) in found], f'select * from "{table.name}"')

    def leave_out(self, table: Table, customer_id: str) -> None:
        """Rewrites the files of a table that hold a customer; a row that can do without one stays."""
        asked = {"id": customer_id}
        source = view_sql(table, self.warehouse.store, self.pointers.of(table.name))
        found = self.execute(f"select distinct week from ({source}) where customer_id = $id", asked)
        without = f"select * from ({source}) where customer_id is distinct from $id"
        if table.schema.columns["customer_id"].nullable:
            nobody = "case when customer_id is distinct from $id then customer_id end as customer_id"
            without = f"select * replace ({nobody}) from ({source})"
        self._copy(table, sorted(week for (week,) in found.fetchall()), without, asked)

    def _copy(
        self, table: Table, weeks: Sequence[date], sql: str, params: Mapping[str, Any] | None = None
    ) -> None:
        """Writes the weeks' rows of a query in the catalog to files, and points the weeks to them."""
        if not weeks:
            return
        self.warehouse.store.prepare(table.name)
        write_id = self.pointers.new_write()
        place = self.warehouse.store.for_duckdb(table.name, f"write={write_id}").replace("'", "''")
        self.target(weeks)
        copied = self.execute(
            f"""
            copy (
                from ({sql}) where week in (select week from target_weeks) order by week
            ) to '{place}' (
                format parquet, compression zstd, partition_by (week), filename_pattern 'part-{{uuid}}',
                return_files
            )
            """,
            params,
        )
        files = _by_week(copied.fetchall()[0][1])
        self.warehouse.store.to_disk(table.name, write_id, files)
        self.pointers.move(table.name, weeks, write_id, files)
        self._shown.discard(table.name)

    # Spark

    def _on_spark(self, sql: str, params: Mapping[str, Any] | None) -> Any:
        """The statement as a Spark frame, over the tables as this transaction sees them."""
        from rfm_pipeline.warehouse.spark.translate import tables_of, to_spark

        for name in tables_of(sql) - self._defined:
            self._lend(name)
        translated = to_spark(
            sql, dict(params or {}), lambda query: [value for (value,) in self.execute(query).fetchall()]
        )
        return self.warehouse.cluster.session().sql(translated)

    def _lend(self, name: str) -> None:
        """Lets Spark read a table: its files, or, of a small table of the catalog, its rows."""
        spark = self.warehouse.cluster.session()
        table = self.warehouse.on_spark.get(name) or self.warehouse.copied.get(name)
        if table is None:
            spark.createDataFrame(self.read(f'select * from "{name}"').to_arrow()).createOrReplaceTempView(
                name
            )
            return
        columns = spark_columns(table)
        store = self.warehouse.store
        places = [
            store.for_spark(name, f"write={pointer.write_id}", f"week={pointer.week}")
            for pointer in self.pointers.of(name)
            if pointer.files
        ]
        if places:
            reader = spark.read.schema(_ddl(columns)).option("basePath", store.for_spark(name))
            frame = reader.parquet(*places).select(*columns)
        else:
            frame = spark.createDataFrame([], _ddl(columns))
        frame.createOrReplaceTempView(name)


def _ddl(columns: Mapping[str, str]) -> str:
    return ", ".join(f"`{name}` {kind}" for name, kind in columns.items())


def _by_week(paths: Iterable[str]) -> dict[date, list[str]]:
    """Names of files by the week that their folder names."""
    found: dict[date, list[str]] = {}
    for path in sorted(paths):
        folder, _, name = path.replace("\\", "/").rpartition("/")
        found.setdefault(date.fromisoformat(folder.rpartition("week=")[2]), []).append(name)
    return found


@dataclass(frozen=True)
class SparkWarehouse(Warehouse):
    """A shop's tables on Spark, with their catalog.

    Attributes:
        path: The catalog, a DuckDB file; made on first use.
        memory_limit: What the catalog's DuckDB may hold in memory.
        threads: Its worker threads.
        store: Where the Parquet files are.
        on_spark: The tables that are made and kept there, by name; each has a ``week``.
        copied: Tables of the catalog of which a copy is kept there, for Spark to read.
        cluster: The Spark that makes them.
    """

    store: TableStore = field(kw_only=True)
    on_spark: Mapping[str, Table] = field(kw_only=True, repr=False)
    copied: Mapping[str, Table] = field(kw_only=True, repr=False)
    cluster: ClusterSettings = field(kw_only=True)

    def _connect(
        self, *, wait_seconds: float | None = None, read_only: bool = False
    ) -> duckdb.DuckDBPyConnection:
        connection = super()._connect(wait_seconds=wait_seconds, read_only=read_only)
        self.store.connect(connection)
        return connection

    @contextmanager
    def glance(self) -> Iterator[Session]:
        """:meth:`Warehouse.glance`; the file is opened to write, as the pointers are made on first use."""
        if not self.path.exists():
            raise FileNotFoundError(self.path)
        with replace(self, lock_wait_seconds=0).transaction() as session:
            yield session

    def _session(self, connection: duckdb.DuckDBPyConnection) -> SparkTransaction:
        return SparkTransaction(connection, self)

    def _after_commit(self, session: Session) -> None:
        assert isinstance(session, SparkTransaction)
        session.pointers.clear_up(self.store)

    def leave_out(self, customer_id: str) -> None:
        """Takes a customer out of the Parquet files, in one step; an order stays, without them."""
        with self.transaction() as session:
            assert isinstance(session, SparkTransaction)
            for table in (*self.on_spark.values(), *self.copied.values()):
                if "customer_id" in table.schema.columns:
                    session.leave_out(table, customer_id)

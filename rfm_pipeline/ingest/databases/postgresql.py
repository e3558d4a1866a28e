"""Reading orders from PostgreSQL: COPY as CSV, streamed.

Belongs here: what is PostgreSQL's own, its driver included. Doesn't belong here: what is read and why
(``ingest.database``).
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import psycopg
from psycopg import sql

from rfm_pipeline.errors import OrderDatabaseError
from rfm_pipeline.ingest.databases.dialect import (
    Address,
    Column,
    Question,
    State,
    TimeKind,
    no_table,
    select_rows,
    select_state,
)
from rfm_pipeline.storage.database_urls import POSTGRESQL_OPTIONS, is_lost, postgresql_refusal

# type numbers that never change (pg_type.dat)
_BOOL, _FLOAT4, _FLOAT8, _MONEY, _DATE, _TIMESTAMP, _TIMESTAMPTZ = 16, 700, 701, 790, 1082, 1114, 1184
_KINDS = {_DATE: TimeKind.DAY, _TIMESTAMP: TimeKind.LOCAL, _TIMESTAMPTZ: TimeKind.INSTANT}
_CASTS = {TimeKind.DAY: "date", TimeKind.LOCAL: "timestamp", TimeKind.INSTANT: "timestamptz"}
_NOW = {
    TimeKind.DAY: "(localtimestamp + interval '1 day')::date",
    TimeKind.LOCAL: "localtimestamp + interval '1 day'",
    TimeKind.INSTANT: "now() + interval '1 day'",
}
_ROWS_AT_ONCE = 100  # each row is a buffer of the driver's; many held at once cost twice the time
_CANCELLED = ("57014", "40001", "55P03")
_SETTINGS = {
    "datestyle": "ISO, YMD",
    "extra_float_digits": "1",
    # unchanged rows come in the same order at every read
    "synchronize_seqscans": "off",
    "max_parallel_workers_per_gather": "0",
}


class PostgresSession:
    """One REPEATABLE READ, READ ONLY transaction; times come out in the shop's zone.

    Raises:
        OrderDatabaseError: If the server can't be reached or refuses.
    """

    errors: tuple[type[Exception], ...] = (psycopg.Error,)

    def __init__(self, address: Address, zone: str) -> None:
        given = {
            "host": address.host,
            "port": None if address.port is None else str(address.port),
            "user": address.user,
            "password": address.password,
            "dbname": address.database,
        }
        named = {key: value for key, value in given.items() if value is not None}
        how: dict[str, Any] = POSTGRESQL_OPTIONS | named
        try:
            self._connection = psycopg.connect(**how | dict(address.options))
        except psycopg.ProgrammingError:
            raise OrderDatabaseError(
                f"{address}: the URL has an option that PostgreSQL does not know; "
                f"options are: {', '.join(address.options)}."
            ) from None
        except psycopg.Error as error:
            raise OrderDatabaseError(f"{address}: can't connect: {postgresql_refusal(error)}.") from None
        try:
            self._begin(zone)
        except psycopg.Error as error:
            self.close()
            raise OrderDatabaseError(f"{address}: {self.reason(error)}.") from None

    def _begin(self, zone: str) -> None:
        """Starts the transaction; the settings end with it: a pooled connection serves others afterwards."""
        self._connection.read_only = True
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        for name, value in (_SETTINGS | {"timezone": "UTC"}).items():
            self._set(name, value)
        try:
            with self._connection.transaction():
                self._set("timezone", zone)
            self.knows_zone = True
        except psycopg.errors.InvalidParameterValue:
            self.knows_zone = False

    def _set(self, name: str, value: str) -> None:
        self._connection.execute("select set_config(%s, %s, true)", (name, value))

    def table(self, name: str) -> tuple[str, list[Column]]:
        """The table, quoted, and those of its columns that may be read."""
        quoted = sql.Identifier(*name.split(".")).as_string(self._connection)
        if not self._rows("select to_regclass(%s) is not null", quoted)[0][0]:
            known = self._rows(
                "select table_schema || '.' || table_name from information_schema.tables "
                "where table_schema not in ('pg_catalog', 'information_schema')"
            )
            raise OrderDatabaseError(no_table(name, [row[0].removeprefix("public.") for row in known]))
        readable = self._rows(
            "select attname from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 "
            "and not attisdropped and has_column_privilege(attrelid, attnum, 'select') order by attnum",
            quoted,
        )
        if not readable:
            raise OrderDatabaseError(
                f"this user may not read the table {name!r}; "
                f"let the database's owner run: GRANT SELECT ON {quoted} TO <user>"
            )
        names = ", ".join(_quoted(row[0]) for row in readable)
        return quoted, self._described(f"select {names} from {quoted} limit 0")

    def query(self, text: str) -> tuple[str, list[Column]]:
        """The query in parentheses and its columns; nothing is run."""
        source = f"(\n{text}\n)"
        return source, self._described(f"select * from {source} as source limit 0")

    def _described(self, statement: str) -> list[Column]:
        # the binary protocol takes one statement at a time: a second one behind a semicolon is refused
        cursor = self._connection.execute(statement.encode(), binary=True)
        return [Column(column.name, column.type_code) for column in cursor.description or ()]

    def _rows(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement.encode(), values or None).fetchall()

    def time_kind(self, column: Column) -> TimeKind | None:
        """What a column's times mean, None if it holds no times."""
        return _KINDS.get(column.type_code)

    def state(self, question: Question) -> State:
        """What is known of the rows before they are read."""
        updated_at = _quoted(question.updated_at.name)
        newest = f"({_as_text('t', question.updated_at.type_code)})::text"
        statement = select_state(
            question, newest, updated_at, _bound(question), _NOW[question.kind], f"{updated_at} is null"
        )
        watermark, without_time, ahead = self._rows(statement)[0]
        return State(watermark, without_time, ahead)

    def read(self, question: Question, batch_rows: int) -> Iterator[tuple[bytes, int]]:
        """The rows as CSV in UTF-8, with the number of rows in each piece."""
        line = ", ".join(_as_text(_quoted(c.name), c.type_code) for c in question.columns.values())
        rows = select_rows(
            question,
            line,
            _quoted(question.order_id.name),
            _quoted(question.updated_at.name),
            _bound(question),
        )
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"copy ({rows}) to stdout (format csv)".encode()) as copy,
        ):
            lines = iter(copy)
            while batch := list(islice(lines, min(batch_rows, _ROWS_AT_ONCE))):
                yield b"".join(batch), len(batch)

    def reason(self, error: Exception) -> str:
        """What went wrong and what to do, without any value of a row or any secret."""
        state = error.sqlstate if isinstance(error, psycopg.Error) else None
        said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
        if state is None or is_lost(state):
            return "the connection was lost; run it again when the server is back"
        if state in _CANCELLED:
            return "the server cancelled the read (a time limit, a lock, or an administrator); run it again"
        if state == "42501":
            return f"no rights: {said}; let the database's owner GRANT SELECT on it to this user"
        if state == "25006":
            return "the query would change data; only a SELECT that changes nothing may be read"
        if state.startswith(("42", "0A")):  # names and syntax, never a row's value
            return f"the database refuses the question: {said}; mend orders.database in shop.yaml"
        return f"the database reports {type(error).__name__} ({state}); try the query in its own client"

    def close(self) -> None:
        """Ends the connection, even in the middle of a read."""
        self._connection.close()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _as_text(column: str, type_code: int) -> str:
    """The SQL by which COPY writes a value as the reader of order files expects it."""
    if type_code == _BOOL:
        return f"{column}::text"
    if type_code == _TIMESTAMPTZ:
        return f"({column} at time zone 'UTC')::text || '+00:00'"
    if type_code in (_FLOAT4, _FLOAT8):
        return f"{column}::text::numeric"  # no exponent; by way of text, or numeric would round
    if type_code == _MONEY:
        return f"{column}::numeric"
    return column


def _bound(question: Question) -> str | None:
    """The earliest ``updated_at`` that counts as changed."""
    if question.since is None:
        return None
    since = question.since.isoformat(" ", "microseconds")
    zone = "+00:00" if question.kind is TimeKind.INSTANT else ""
    overlap = f"interval '{question.overlap_minutes} minutes'"
    of_time = "timestamptz" if question.kind is TimeKind.INSTANT else "timestamp"
    # a date stands for its whole day: the bound is the day in which the overlap begins
    return f"({of_time} '{since}{zone}' - {overlap})::{_CASTS[question.kind]}"

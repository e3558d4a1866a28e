"""Reading orders from MySQL or MariaDB: the server writes each row as a line of CSV, streamed.

Belongs here: what is MySQL's own, its driver included. Doesn't belong here: what is read and why
(``ingest.database``).

The driver is plain Python and spends ten times the server's time on taking rows apart. A row that comes as
one value, a finished line, costs it little.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain
from typing import Any
from zoneinfo import ZoneInfo

import pymysql  # type: ignore[import-untyped]
from pymysql.constants import ER, FIELD_TYPE  # type: ignore[import-untyped]
from pymysql.cursors import SSCursor  # type: ignore[import-untyped]

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

_KINDS = {
    FIELD_TYPE.DATE: TimeKind.DAY,
    FIELD_TYPE.NEWDATE: TimeKind.DAY,
    FIELD_TYPE.DATETIME: TimeKind.LOCAL,
    FIELD_TYPE.TIMESTAMP: TimeKind.INSTANT,
}
_NUMBERS = {
    FIELD_TYPE.DECIMAL,
    FIELD_TYPE.NEWDECIMAL,
    FIELD_TYPE.TINY,
    FIELD_TYPE.SHORT,
    FIELD_TYPE.INT24,
    FIELD_TYPE.LONG,
    FIELD_TYPE.LONGLONG,
    FIELD_TYPE.YEAR,
}
_CONNECT_SECONDS = 10
_SILENCE_SECONDS = 3600  # a server may think for long before its first row, but not for ever
# for the changed orders' ids, which MariaDB else puts on disk from 16 MiB on, at twice the time or more
_CHANGED_ORDERS_BYTES = 128 << 20
_EPOCH = "timestamp'1970-01-01 00:00:00'"
_LOST = {0, 1053, 1077, 1079, 1927, 2006, 2013, 2055}
_CANCELLED = {1205, 1213, 1317, 1969, 3024}
_FORBIDDEN = {1044, 1142, 1143, 1227, 1356, 1370}
_WRITES = {1290, 1792}
_MISTAKES = {1052, 1054, 1055, 1060, 1064, 1140, 1146, 1222, 1248, 1267, 1305, 1582}
_OPTIONS = {"ssl_ca": str, "ssl_cert": str, "ssl_key": str, "unix_socket": str, "connect_timeout": int}
_SWITCHES = ("ssl_disabled", "ssl_verify_cert", "ssl_verify_identity")
_REFUSALS = {
    1040: "the server has too many connections; try again later",
    1044: "this user may not use that database, or there is none of that name",
    1045: "the server refused user or password",
    1049: "the server has no database of that name",
    1129: "the server has blocked this machine after too many errors (FLUSH HOSTS)",
    1130: "the server does not let this machine in",
    1698: "the server refused user or password",
    2026: "TLS can't be agreed on; check the ssl_ options in the URL",
}
_UNREACHABLE = (
    ("refused", "nothing listens there; check host and port, and that the server runs"),
    ("timed out", "no answer in time; check host, port and firewall"),
    ("name or service", "the host's name is unknown; check it"),
    ("name resolution", "the host's name is unknown; check it"),
    ("getaddrinfo", "the host's name is unknown; check it"),
    ("nodename", "the host's name is unknown; check it"),
)


class MySQLSession:
    """One read-only transaction with a consistent snapshot; times come out in the shop's zone.

    Raises:
        OrderDatabaseError: If the server can't be reached or refuses.
    """

    errors: tuple[type[Exception], ...] = (pymysql.Error, OSError)

    def __init__(self, address: Address, zone: str) -> None:
        options = {"connect_timeout": _CONNECT_SECONDS} | _options(address)
        try:
            self._connection = pymysql.connect(
                host=address.host or "localhost",
                port=address.port or 3306,
                user=address.user,
                # the driver would encode a text as latin1
                password=(address.password or "").encode(),
                database=address.database,
                charset="utf8mb4",
                program_name="rfm_pipeline",
                read_timeout=options["connect_timeout"],
                **options,
            )
            # the driver waits for the server's first words without connect_timeout; read_timeout stood in
            self._connection._read_timeout = _SILENCE_SECONDS
        except (pymysql.Error, OSError, RuntimeError, ValueError) as error:
            raise OrderDatabaseError(f"{address}: can't connect: {_refusal(error)}.") from None
        try:
            self._begin(zone)
        except self.errors as error:
            self.close()
            raise OrderDatabaseError(f"{address}: {self.reason(error)}.") from None

    def _begin(self, zone: str) -> None:
        offset = _fixed_offset(zone)
        self.knows_zone = True
        try:
            self._rows(f"set time_zone = {self._connection.escape(offset or zone)}")
        except pymysql.Error:  # named zones have to be loaded into a server
            self._rows("set time_zone = '+00:00'")
            self.knows_zone = False
        self._repeats_an_hour = offset is None and self.knows_zone
        for variable in ("tmp_table_size", "max_heap_table_size"):
            self._rows(f"set {variable} = greatest(@@{variable}, {_CHANGED_ORDERS_BYTES})")
        self._rows("set transaction isolation level repeatable read")
        self._rows("start transaction with consistent snapshot, read only")

    def table(self, name: str) -> tuple[str, list[Column]]:
        """The table, quoted, and those of its columns that may be read."""
        quoted = ".".join(_quoted(part) for part in name.split("."))
        try:
            readable = [row[0] for row in self._rows(f"show columns from {quoted}")]
        except pymysql.Error as error:
            if _code(error) in (ER.NO_SUCH_TABLE, ER.BAD_DB_ERROR):
                known = self._rows(
                    "select if(table_schema = database(), table_name, concat(table_schema, '.', table_name)) "
                    "from information_schema.tables where table_schema not in "
                    "('information_schema', 'performance_schema', 'mysql', 'sys')"
                )
                raise OrderDatabaseError(no_table(name, [row[0] for row in known])) from None
            if _code(error) in _FORBIDDEN:
                readable = []
            else:
                raise
        if not readable:
            raise OrderDatabaseError(
                f"this user may not read the table {name!r}; "
                f"let the database's owner run: GRANT SELECT ON {quoted} TO <user>"
            )
        return quoted, self._described(f"select {', '.join(map(_quoted, readable))} from {quoted} limit 0")

    def query(self, text: str) -> tuple[str, list[Column]]:
        """The query in parentheses and its columns; nothing is run."""
        source = f"(\n{text}\n)"
        return source, self._described(f"select * from {source} as source limit 0")

    def _described(self, statement: str) -> list[Column]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return [Column(name, type_code) for name, type_code, *_ in cursor.description]

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def time_kind(self, column: Column) -> TimeKind | None:
        """What a column's times mean, None if it holds no times."""
        return _KINDS.get(column.type_code)

    def state(self, question: Question) -> State:
        """What is known of the rows before they are read."""
        updated_at = _quoted(question.updated_at.name)
        statement = select_state(
            question,
            f"cast({_value('t', question.updated_at.type_code)} as char)",
            updated_at,
            self._bound(question),
            "now() + interval 1 day",
            f"({updated_at} is null or {updated_at} = 0)",
        )
        return State(*self._rows(statement)[0])

    def read(self, question: Question, batch_rows: int) -> Iterator[tuple[bytes, int]]:
        """The rows as CSV in UTF-8, with the number of rows in each piece."""
        fields = ", ".join(_field(column) for column in question.columns.values())
        statement = select_rows(
            question,
            f"cast(concat_ws(',', {fields}) as binary)",
            _quoted(question.order_id.name),
            _quoted(question.updated_at.name),
            self._bound(question),
        )
        cursor = self._connection.cursor(SSCursor)
        cursor.execute(statement)
        while rows := cursor.fetchmany(batch_rows):
            if (None,) in rows:
                raise OrderDatabaseError("a row is larger than the server's max_allowed_packet; enlarge that")
            yield b"\n".join(chain.from_iterable(rows)) + b"\n", len(rows)

    def _bound(self, question: Question) -> str | None:
        """The earliest ``updated_at`` that counts as changed."""
        if question.since is None:
            return None
        minutes = question.overlap_minutes
        if question.kind is TimeKind.INSTANT and self._repeats_an_hour:
            minutes += 60  # compared as local times, of which an hour comes twice a year
        since = question.since.isoformat(" ", "microseconds")
        bound = f"cast('{since}' as datetime(6)) - interval {minutes} minute"
        if question.kind is TimeKind.INSTANT:
            return f"from_unixtime(timestampdiff(microsecond, {_EPOCH}, {bound}) * 0.000001)"
        # a date stands for its whole day: the bound is the day in which the overlap begins
        return f"date({bound})" if question.kind is TimeKind.DAY else f"({bound})"

    def reason(self, error: Exception) -> str:
        """What went wrong and what to do, without any value of a row or any secret."""
        code = _code(error)
        if code in _LOST or not isinstance(error, pymysql.Error):
            return "the connection was lost; run it again when the server is back"
        if code in _CANCELLED:
            return "the server cancelled the read (a time limit, a lock, or an administrator); run it again"
        if code in _FORBIDDEN:
            return "no rights; let the database's owner GRANT SELECT on what is read to this user"
        if code in _WRITES:
            return "the query would change data; only a SELECT that changes nothing may be read"
        if code in _MISTAKES:  # names and syntax, never a row's value
            return f"the database refuses the question: {error.args[1]}; mend orders.database in shop.yaml"
        return f"the database reports {type(error).__name__} ({code}); try the query in its own client"

    def close(self) -> None:
        """Ends the connection, even in the middle of a read."""
        if self._connection._result is not None:  # else the driver would read all rows that are still to come
            self._connection._result.unbuffered_active = False
        if self._connection.open:
            self._connection.close()


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _value(column: str, type_code: int) -> str:
    """A value as the reader of order files expects it, as SQL."""
    kind = _KINDS.get(type_code)
    if kind is TimeKind.INSTANT:  # by way of the epoch: exact in every session zone
        return f"concat({_EPOCH} + interval nullif(unix_timestamp({column}), 0) second, '+00:00')"
    if kind is not None:
        return f"nullif({column}, 0)"  # 0000-00-00 stands for no date
    if type_code == FIELD_TYPE.BIT:
        return f"{column} + 0"
    if type_code in (FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE):
        text = f"cast({column} + 0e0 as char)"  # as a double: a float alone shows six digits
        return f"if(instr({text}, 'e') > 0, cast(cast({text} as decimal(60, 20)) as char), {text})"
    return column


def _field(column: Column) -> str:
    """A value as a field of a CSV line, as SQL; NULL is an empty field."""
    name = _quoted(column.name)
    is_plain = column.type_code in _NUMBERS | _KINDS.keys() | {
        FIELD_TYPE.BIT,
        FIELD_TYPE.FLOAT,
        FIELD_TYPE.DOUBLE,
    }
    if is_plain:
        return f"ifnull({_value(name, column.type_code)}, '')"
    text = f"if(charset({name}) = 'binary', hex({name}), convert({name} using utf8mb4))"
    return f"""ifnull(concat('"', replace({text}, '"', '""'), '"'), '')"""


def _fixed_offset(zone: str) -> str | None:
    """The zone's distance from UTC if its clocks have kept it since 2000, else None."""
    start = datetime(2000, 1, 1)
    days = (datetime.now() - start).days + 400
    offsets = {
        (start + timedelta(days=day)).replace(tzinfo=ZoneInfo(zone)).utcoffset() for day in range(days)
    }
    offset = offsets.pop()
    if offsets or offset is None:
        return None
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _options(address: Address) -> dict[str, Any]:
    """The URL's options as the driver's, with the few that a shop needs."""
    options: dict[str, Any] = {}
    for name, value in address.options.items():
        if name in _SWITCHES:
            options[name] = value.lower() in ("1", "true", "yes")
        elif name in _OPTIONS:
            try:
                options[name] = _OPTIONS[name](value)
            except ValueError:
                raise OrderDatabaseError(f"{address}: the URL's option {name} must be a number.") from None
        elif name != "charset":  # always utf8mb4
            known = ", ".join((*_OPTIONS, *_SWITCHES))
            raise OrderDatabaseError(f"{address}: the URL has an unknown option {name}; known: {known}.")
    return options


def _code(error: Exception) -> int:
    code = error.args[0] if error.args else 0
    return code if isinstance(code, int) else 0


def _refusal(error: Exception) -> str:
    """Why the connection failed, without the driver's own text."""
    if isinstance(error, RuntimeError):
        return "the account's way to sign in needs TLS, or the Python package cryptography"
    if isinstance(error, FileNotFoundError | ValueError):
        return "an option in the URL names a file that isn't there, or has a value that can't be"
    said = str(error).lower()
    unreachable = next((why for part, why in _UNREACHABLE if part in said), "the server can't be reached")
    return _REFUSALS.get(_code(error), unreachable)

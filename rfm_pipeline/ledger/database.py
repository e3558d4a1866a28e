"""The ledger's database: transactions, the newest version of its tables, and what to say when it fails.

Belongs here: what every method of the ledger needs, whether it is an SQLite file or in PostgreSQL. Which
facts are kept is ``store``'s.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import sqlalchemy as sa

from rfm_pipeline.errors import LedgerBusyError, LedgerError, RfmError
from rfm_pipeline.ledger import migrations
from rfm_pipeline.ledger.locks import FileLock, Lock, ServerLock, acquired, advisory_key
from rfm_pipeline.storage.database_urls import POSTGRESQL_OPTIONS, is_lost, postgresql_refusal

if TYPE_CHECKING:
    import psycopg

_BUSY_SECONDS = 60
_HOW_TO_BEGIN = "rfm_how_to_begin"
_SQLITE_REASONS = {
    "SQLITE_CANTOPEN": "it can't be opened; check that its folder is there and may be written to",
    "SQLITE_READONLY": "it may not be written to; check the rights of the file and its folder",
    "SQLITE_PERM": "it may not be read; check the rights of the file",
    "SQLITE_NOTADB": "it is no SQLite file; put the backup back (docs/how-to/ledger.md)",
    "SQLITE_CORRUPT": "it is damaged; put the backup back (docs/how-to/ledger.md)",
    "SQLITE_FULL": "the disk is full; make room and run it again",
    "SQLITE_IOERR": "the disk reports an error; look after it and run it again",
}


def now() -> datetime:
    """The present moment as the ledger keeps it: UTC without a zone.

    For people to read: nothing is decided by it, for clocks jump.
    """
    return datetime.now(UTC).replace(tzinfo=None)


class LedgerDatabase:
    """A database that holds a ledger.

    Args:
        url: An SQLAlchemy URL, or a function that gives it on first use; the tables are made on first use.
    """

    def __init__(self, url: str | Callable[[], str]) -> None:
        self._given = url
        self._is_upgraded = False

    def __repr__(self) -> str:
        if callable(self._given):
            return f"{type(self).__name__}(...)"
        return f"{type(self).__name__}({self._url.render_as_string(hide_password=True)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._given,)

    @cached_property
    def _url(self) -> sa.URL:
        return sa.make_url(self._given() if callable(self._given) else self._given)

    @cached_property
    def _engine(self) -> sa.Engine:
        if self.is_sqlite:
            options: dict[str, Any] = {"timeout": _BUSY_SECONDS}
        else:
            # who holds a lock hears of a dead line before the server frees it (ServerLock)
            wanted = POSTGRESQL_OPTIONS | {"tcp_user_timeout": "30000"}
            options = {key: value for key, value in wanted.items() if key not in self._url.query}
        # connections end with their transaction: a run holds no file open for long, and a fork shares none.
        # values are customers' data: they must not show in an error's text
        engine = sa.create_engine(
            self._url, poolclass=sa.NullPool, hide_parameters=True, connect_args=options
        )
        if self.is_sqlite:
            sa.event.listen(engine, "connect", _prepare_sqlite)
            sa.event.listen(engine, "begin", _begin_sqlite)
        return engine

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of its own."""
        return self._url.get_backend_name() == "sqlite"

    @property
    def is_there(self) -> bool:
        """Whether there is a ledger already: to look is not to make one."""
        if self.is_sqlite:
            return self._file.exists()
        with self._explained(), self._connected("") as connection:
            return migrations.has_tables(connection)

    @property
    def _file(self) -> Path:
        return Path(self._url.database or "")

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction that may write.

        In SQLite it is the only one from its first moment on, so what it reads is true when it writes;
        others wait. In PostgreSQL, it sees what others committed (READ COMMITTED) and keys decide.

        Raises:
            LedgerError: If the ledger can't be reached, may not be used, or is of a newer version.
            LedgerBusyError: If others hold an SQLite file for too long.
        """
        with self._transaction("immediate") as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that only reads, and keeps nobody from anything; see :meth:`begin`."""
        with self._transaction("deferred") as connection:
            yield connection

    @contextmanager
    def lock(self, name: str, wait_seconds: float = 0) -> Iterator[Lock]:
        """Lets one process at a time into the block, of all that share the ledger, on whatever machine.

        The lock dies with its holder: nothing is left behind by ``kill -9``. In PostgreSQL it belongs to a
        connection that may break while the block runs, so who sends asks ``still_mine()`` and stops if not.

        Args:
            name: What the lock guards: small letters, digits, ``-`` and ``_``.
            wait_seconds: How long to wait for the process that holds it.

        Raises:
            LedgerBusyError: If another process has the lock all the time.
            LedgerError: If the ledger can't be reached.
        """
        if not re.fullmatch(r"[a-z0-9_-]{1,60}", name):
            raise ValueError(f"{name!r} is no name for a lock")
        lock: Lock
        if self.is_sqlite:
            lock = FileLock(self._file.with_name(f"{self._file.name}.lock-{name}"))
        else:
            lock = ServerLock(self._engine, name)
        with ExitStack() as stack:
            with self._explained():
                stack.enter_context(acquired(lock, name, wait_seconds))
            yield lock

    def frame(self, query: sa.Select[Any], schema: Mapping[str, Any]) -> pl.DataFrame:
        """The rows of a query, whose columns are those of the schema in their order."""
        with self.reading() as connection:
            rows = [tuple(row) for row in connection.execute(query)]
        return pl.DataFrame(rows, schema=dict(schema), orient="row")

    def compact(self) -> None:
        """Rewrites an SQLite file, so that no former version of a row stays in it."""
        if not self.is_sqlite:
            return
        with self._explained(), self._engine.connect() as connection:
            connection.exec_driver_sql("vacuum")

    @contextmanager
    def _transaction(self, how: str) -> Iterator[sa.Connection]:
        with self._explained(), ExitStack() as stack:
            connection = stack.enter_context(self._connected(how))
            if not self._is_of_newest_version(connection):
                stack.close()
                self._upgrade()
                connection = stack.enter_context(self._connected(how))
            yield connection

    @contextmanager
    def _connected(self, how: str) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection:
            ready = connection.execution_options(**{_HOW_TO_BEGIN: how})
            with ready.begin():
                yield ready

    def _is_of_newest_version(self, connection: sa.Connection) -> bool:
        # a file may be taken away and made again, a database not: it is asked once
        if self.is_sqlite or not self._is_upgraded:
            self._is_upgraded = migrations.is_newest(migrations.version_of(connection))
        return self._is_upgraded

    def _upgrade(self) -> None:
        """Brings the tables to the newest version: all or nothing, and once however many try."""
        with self._connected("immediate") as connection:
            if not self.is_sqlite:
                key = advisory_key(connection, "/upgrade")  # no name that lock() takes
                connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": key})
            # another process may have done it while this one waited
            if not migrations.is_newest(migrations.version_of(connection)):
                migrations.upgrade(connection)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns what the user can mend into an error that says so; no error's text holds a row's values."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise self._mendable(error) from None

    def _mendable(self, error: sa.exc.DBAPIError) -> Exception:
        cause = error.orig
        if isinstance(cause, sqlite3.Error):
            return self._explained_sqlite(cause) or error
        # not loaded where the ledger is a file
        import psycopg

        if isinstance(cause, psycopg.Error):
            reason = _reason_in_postgresql(cause, is_connecting=error.statement is None)
            where = f"the ledger in PostgreSQL at {self._url.host or 'localhost'}/{self._url.database or ''}"
            return LedgerError(f"{where}: {reason}.") if reason else _without_values(error, cause)
        return error

    def _explained_sqlite(self, cause: sqlite3.Error) -> RfmError | None:
        name = getattr(cause, "sqlite_errorname", "")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return LedgerBusyError(
                f"{self._file}: another process has held the ledger for {_BUSY_SECONDS} seconds. "
                "Let it finish, or end it, and run this again."
            )
        reasons = (reason for start, reason in _SQLITE_REASONS.items() if name.startswith(start))
        reason = next(reasons, None)
        return LedgerError(f"the ledger {self._file}: {reason}.") if reason else None


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    """Leaves the beginning of transactions to us, and holds foreign keys as PostgreSQL does."""
    connection.isolation_level = None
    connection.execute("pragma foreign_keys = on")


def _begin_sqlite(connection: sa.Connection) -> None:
    # who reads first and asks for the right to write later may be refused it: so writers ask at once
    how = connection.get_execution_options().get(_HOW_TO_BEGIN)
    if how is not None:
        connection.exec_driver_sql(f"begin {how}")


def _reason_in_postgresql(cause: "psycopg.Error", *, is_connecting: bool) -> str | None:
    """What went wrong and what to do, without any value of a row or any secret; None if it is a bug."""
    import psycopg

    state, said = cause.sqlstate, cause.diag.message_primary
    if isinstance(cause, psycopg.ProgrammingError) and is_connecting:
        return "the URL has an option that PostgreSQL does not know"
    if is_connecting:
        return f"can't connect: {postgresql_refusal(cause)}"
    if isinstance(cause, psycopg.OperationalError) and (state is None or is_lost(state)):
        return "the connection was lost; run it again when the server is back"
    if state == "42501":
        return f"no rights: {said}; let the database's owner grant this user CREATE on a schema of its own"
    if state == "3F000":
        return "there is no schema to make tables in; check the user's search_path"
    if state == "25006":
        return "the server only reads at the moment (a standby, perhaps); nothing was written"
    if state in ("40P01", "40001", "55P03", "57014"):
        return "the server cancelled it (a lock, a time limit, an administrator); run it again"
    if state in ("53100", "53200", "53300"):
        return "the server is out of disk, memory or connections; run it again later"
    return None


def _without_values(error: sa.exc.DBAPIError, cause: "psycopg.Error") -> sa.exc.DBAPIError:
    """The same error without the server's DETAIL, which quotes rows."""
    state, said = cause.sqlstate, cause.diag.message_primary or type(cause).__name__
    # class 22 quotes the value itself
    short = f"SQLSTATE {state}" if state is None or state.startswith("22") else f"{said} ({state})"
    return type(error)(error.statement or "", None, type(cause)(short), hide_parameters=True)

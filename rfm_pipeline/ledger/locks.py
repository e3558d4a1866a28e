"""One process at a time: locks that die with the process that holds them.

Belongs here: a lock by name, on a file beside an SQLite ledger or on a PostgreSQL connection of its own. No
lock has a time limit, so no clock can end one early and none is left behind: the operating system frees a
dead process's file, and the server what a dead connection held.
"""

import fcntl
import hashlib
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa

from rfm_pipeline.errors import LedgerBusyError, LedgerError

_POLL_SECONDS = 0.05


class Lock(ABC):
    """A lock that :meth:`Ledger.lock` got."""

    @abstractmethod
    def still_mine(self) -> bool:
        """Whether the lock is held yet; once it is lost, it stays lost. Any thread may ask."""

    @abstractmethod
    def take(self) -> bool:
        """Tries to get the lock, without waiting."""

    @abstractmethod
    def release(self) -> None:
        """Frees the lock; harmless if it is lost or was never got."""


class FileLock(Lock):
    """A lock on a file, which stays there: to remove it would let two hold two files of one name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """See :meth:`Lock.take`."""
        try:
            # opened again: the lock is the opened file's, so threads of one process exclude each other, too
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LedgerError(
                f"{self._path} can't be opened: {error.strerror}. It keeps two runs from doing the same; "
                "make its folder writable."
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return False
            raise LedgerError(f"{self._path} can't be locked: {error.strerror}.") from None
        self._descriptor = descriptor
        if self.still_mine():
            return True
        self.release()
        return False

    def still_mine(self) -> bool:
        """See :meth:`Lock.still_mine`; a file that somebody removed locks nobody out."""
        if self._descriptor is None:
            return False
        try:
            there = self._path.stat()
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))

    def release(self) -> None:
        """See :meth:`Lock.release`."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # not only closed: a process that was forked meanwhile has the file open, too
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


class ServerLock(Lock):
    """A PostgreSQL session's advisory lock; it is the connection's, so it needs one that isn't pooled."""

    _HELD = sa.text(
        "select count(*) from pg_locks where locktype = 'advisory' and granted and objsubid = 1 "
        "and pid = pg_backend_pid() and ((classid::bigint << 32) | objid::bigint) = :key "
        "and database = (select oid from pg_database where datname = current_database())"
    )
    # whatever the server is set to: a machine that vanished is noticed in a minute, an idle holder stays
    _SETTINGS = (
        "select set_config(name, wanted.value, false) from pg_settings join (values "
        "('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3'), "
        "('idle_session_timeout', '0')) as wanted(name, value) using (name)"
    )

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._key = 0
        self._connection: sa.Connection | None = None
        self._one_thread = threading.Lock()

    def take(self) -> bool:
        """See :meth:`Lock.take`."""
        if self._connection is None:
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._connection = connection
            connection.exec_driver_sql(self._SETTINGS)
            self._key = advisory_key(connection, self._name)
        taken = self._connection.scalar(sa.text("select pg_try_advisory_lock(:key)"), {"key": self._key})
        return bool(taken)

    def still_mine(self) -> bool:
        """See :meth:`Lock.still_mine`; asks the server by the connection that holds the lock."""
        with self._one_thread:
            if self._connection is None:
                return False
            try:
                if self._connection.scalar(self._HELD, {"key": self._key}) == 1:
                    return True
            except sa.exc.SQLAlchemyError:
                pass
            self._close()
            return False

    def release(self) -> None:
        """See :meth:`Lock.release`."""
        with self._one_thread:
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sa.exc.SQLAlchemyError):
                # never given back to anybody: the server frees what the connection held
                connection.detach()
                connection.close()


def advisory_key(connection: sa.Connection, name: str) -> int:
    """The number of a lock in PostgreSQL; two ledgers in two schemas of one database have two."""
    schema = connection.scalar(sa.text("select current_schema()"))
    digest = hashlib.sha256(f"rfm_pipeline:{schema}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@contextmanager
def acquired(lock: Lock, name: str, wait_seconds: float) -> Iterator[Lock]:
    """Waits for a lock and holds it for the block.

    Raises:
        LedgerBusyError: If somebody else holds it all the time.
    """
    until = time.monotonic() + wait_seconds
    try:
        while not lock.take():
            if time.monotonic() >= until:
                raise LedgerBusyError(
                    f"another process is at {name!r} with this ledger, and only one may be at a time. "
                    "Let it finish, or end it, and run this again."
                )
            time.sleep(_POLL_SECONDS)
        yield lock
    finally:
        lock.release()

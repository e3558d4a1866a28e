"""The shop's own database as the source of its orders: what changed since the last read, as a CSV file.

Belongs here: from the settings to the question, from the rows to the file, and what to tell when it fails.
Doesn't belong here: what is one kind of database's own (``ingest.postgresql``, ``ingest.mysql``) and how the
file is read (``ingest.reading``).

A row is changed when its ``updated_at`` is at or after the watermark of the last read, less an overlap: a
transaction that began before that read and was committed after it leaves rows with a time before the
watermark. As the unit of correction is the order, all rows of an order come when one has changed. Reading a
row twice does no harm.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rfm_pipeline.errors import OrderDatabaseError
from rfm_pipeline.ingest.databases.dialect import Address, Column, Question, Session, TimeKind, nearest
from rfm_pipeline.ingest.databases.mysql import MySQLSession
from rfm_pipeline.ingest.databases.postgresql import PostgresSession
from rfm_pipeline.ingest.presets import ALL_COLUMNS
from rfm_pipeline.shop import DatabaseSection
from rfm_pipeline.storage.database_urls import POSTGRESQL_SCHEMES, url_from_environment

_SESSIONS: Mapping[str, Callable[[Address, str], Session]] = {
    **dict.fromkeys(POSTGRESQL_SCHEMES, PostgresSession),
    "mysql": MySQLSession,
    "mariadb": MySQLSession,
    "mysql+pymysql": MySQLSession,
}
_FILE_NAME = "orders_from_database.csv"
_SECONDS_A_WORD = 2.0
_COMMENTS = re.compile(r"\A(\s|--[^\n]*(\n|\Z)|#[^\n]*(\n|\Z)|/\*.*?\*/|\()*", re.DOTALL)
_SELECT = re.compile(r"(select|with)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Changes:
    """What was read.

    Attributes:
        path: A UTF-8 CSV file; its header has the canonical names of the columns that the source has.
        rows: How many rows it holds.
        orders: How many orders it holds, if that is known without counting them; it never is so far.
        watermark: The newest ``updated_at`` among the rows, in the database's own terms; the one before if
            no row was read, None if no row ever was.
    """

    path: Path
    rows: int
    orders: int | None
    watermark: str | None


def fetch_changes(
    database: DatabaseSection, zone: str, since: str | None, folder: Path, say: Callable[[str], None]
) -> Changes:
    """Reads every row of every order that has a row changed since the last read.

    Args:
        database: The settings.
        zone: The shop's IANA time zone, in which the database shows its times where it has a choice.
        since: The watermark of the last read; None reads everything.
        folder: Where the file goes; made if it isn't there.
        say: Hears of progress, every few seconds, and about rows that need attention.

    Returns:
        The file, which the caller removes, and what is known of it.

    Raises:
        OrderDatabaseError: If the rows can't be read in full; no file is left then. The message holds
            neither a secret nor a value of a row.
    """
    path = folder / _FILE_NAME
    with suppress(OSError):
        path.unlink(missing_ok=True)  # of a read before this one, so that none is left if this one fails
    _check_settings(database)
    scheme, address = _address(database.url_env)
    with closing(_SESSIONS[scheme](address, zone)) as session:
        if not session.knows_zone:
            say(
                f"the database does not know the time zone {zone}, so its session runs on UTC: a query that "
                "makes a local time out of a point in time makes one of UTC"
            )
        with _explained(session, address):
            question = _question(database, session, since, say)
            state = session.state(question)
        if state.without_time:
            say(
                f"rows without {question.updated_at.name}: {state.without_time:,}; that one of them changed "
                "is not noticed unless another row of its order did"
            )
        if state.ahead:
            say(
                f"rows whose {question.updated_at.name} lies more than a day in the future: {state.ahead:,}; "
                "they are read every time"
            )
        rows = _write(path, session, question, address, database.batch_rows, say)
    return Changes(path, rows, None, state.watermark or (since if question.since else None))


def _check_settings(database: DatabaseSection) -> None:
    """What is wrong without a look at the database."""
    for name in database.columns:
        if name not in ALL_COLUMNS:
            near = nearest(name, ALL_COLUMNS)
            hint = f"did you mean {near!r}?" if near else f"known are: {', '.join(ALL_COLUMNS)}"
            raise OrderDatabaseError(
                f"orders.database.columns in shop.yaml: there is no column {name!r}; {hint}"
            )
    if database.query is not None and not _SELECT.match(_COMMENTS.sub("", database.query, count=1)):
        raise OrderDatabaseError(
            "orders.database.query in shop.yaml must be a single SELECT (it may begin with WITH)."
        )


def _address(variable: str) -> tuple[str, Address]:
    """The scheme and the rest of the URL that an environment variable holds."""
    url = url_from_environment(
        variable,
        whose="the shop's database",
        setting="orders.database.url_env",
        schemes=_SESSIONS,
        error=OrderDatabaseError,
    )
    options = {key: value if isinstance(value, str) else value[-1] for key, value in url.query.items()}
    return url.drivername, Address(url.host, url.port, url.username, url.password, url.database, options)


def _question(
    database: DatabaseSection, session: Session, since: str | None, say: Callable[[str], None]
) -> Question:
    """The question that the settings and the last watermark ask of this source."""
    if database.table is not None:
        source, columns = session.table(database.table)
    else:
        source, columns = session.query(_without_semicolon(database.query or ""))
    mapped = {
        canonical: _column(database.columns[canonical], columns, f"columns.{canonical}")
        if canonical in database.columns
        else _find(canonical, columns)
        for canonical in ALL_COLUMNS
    }
    known = {canonical: column for canonical, column in mapped.items() if column is not None}
    if "order_id" not in known:
        raise OrderDatabaseError(
            "no column is named order_id; write which one it is under orders.database.columns in "
            f"shop.yaml (order_id: <column>). There are: {_names(columns)}"
        )
    updated_at = _column(database.updated_at, columns, "updated_at")
    kind = session.time_kind(updated_at)
    if kind is None:
        raise OrderDatabaseError(
            f"orders.database.updated_at in shop.yaml: the column {updated_at.name!r} is neither a date nor "
            "a time; name another, or make one in orders.database.query"
        )
    return Question(
        source=source,
        is_table=database.table is not None,
        columns=known,
        order_id=known["order_id"],
        updated_at=updated_at,
        kind=kind,
        since=_since(since, kind, say),
        overlap_minutes=database.overlap_minutes,
    )


def _without_semicolon(query: str) -> str:
    return query.strip().removesuffix(";")


def _find(name: str, columns: list[Column]) -> Column | None:
    """The column of a name; one that differs in case only if there is no other."""
    found = [column for column in columns if column.name == name]
    found = found or [column for column in columns if column.name.casefold() == name.casefold()]
    if len(found) > 1:
        raise OrderDatabaseError(f"the source has {len(found)} columns {name!r}; rename all but one")
    return found[0] if found else None


def _column(name: str, columns: list[Column], setting: str) -> Column:
    """The column that a setting names."""
    column = _find(name, columns)
    if column is None:
        near = nearest(name, [column.name for column in columns])
        hint = f"did you mean {near!r}? " if near else ""
        raise OrderDatabaseError(
            f"orders.database.{setting} in shop.yaml: the source has no column {name!r} that this user may "
            f"read; {hint}There are: {_names(columns)}"
        )
    return column


def _names(columns: list[Column]) -> str:
    return ", ".join(column.name for column in columns)


def _since(watermark: str | None, kind: TimeKind, say: Callable[[str], None]) -> datetime | None:
    """The watermark as a time that the database can be asked about; None if everything has to be read."""
    if watermark is None:
        return None
    try:
        since = datetime.fromisoformat(watermark)
    except ValueError:
        since = None
    if since is None or (since.tzinfo is not None) != (kind is TimeKind.INSTANT):
        say("the last read ended at a time of another kind than updated_at now is: everything is read again")
        return None
    return since if since.tzinfo is None else since.astimezone(UTC).replace(tzinfo=None)


@contextmanager
def _explained(session: Session, address: Address, note: str = "") -> Iterator[None]:
    """Turns what the driver raises, which may quote rows, into what the user can do."""
    try:
        yield
    except OrderDatabaseError as error:
        raise OrderDatabaseError(f"{address}: {str(error).rstrip('.')}.{note}") from None
    except session.errors as error:
        raise OrderDatabaseError(f"{address}: {session.reason(error)}.{note}") from None


def _write(
    path: Path,
    session: Session,
    question: Question,
    address: Address,
    batch_rows: int,
    say: Callable[[str], None],
) -> int:
    """Writes the rows; the file has its name only once it is whole.

    Returns:
        How many rows there are.
    """
    partial = path.with_name(f".{path.name}.part")
    rows, said_at = 0, time.monotonic()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)  # it holds customers
        with partial.open("wb") as file:
            file.write((",".join(question.columns) + "\n").encode())
            pieces = session.read(question, batch_rows)
            while (piece := _next_piece(pieces, session, address, rows)) is not None:
                file.write(piece[0])
                rows += piece[1]
                if time.monotonic() - said_at >= _SECONDS_A_WORD:
                    said_at = time.monotonic()
                    say(f"{rows:,} rows read")
        partial.replace(path)
    except OSError as error:
        raise OrderDatabaseError(
            f"{path} can't be written ({error.strerror}); nothing of the database's rows is loaded."
        ) from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return rows


def _next_piece(
    pieces: Iterator[tuple[bytes, int]], session: Session, address: Address, rows: int
) -> tuple[bytes, int] | None:
    with _explained(session, address, f" {rows:,} rows had come; nothing of them is loaded."):
        return next(pieces, None)

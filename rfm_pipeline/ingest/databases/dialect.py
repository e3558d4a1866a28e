"""What a kind of database has to be able to do so that orders can be read from it.

Belongs here: the address, a source's columns, the question that is asked, and the statements that read the
same in every dialect. Doesn't belong here: a driver (``ingest.postgresql``, ``ingest.mysql``), the settings
and the file that is written (``ingest.database``).
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol


@dataclass(frozen=True)
class Address:
    """Where a database is and who reads it; its text and repr hold no secret.

    Attributes:
        host: None for the driver's default.
        port: None for the driver's default.
        user: None for the driver's default.
        password: None for none, or for what the driver finds by itself (``~/.pgpass``).
        database: None for the driver's default.
        options: What follows ``?`` in the URL.
    """

    host: str | None
    port: int | None
    user: str | None
    password: str | None = field(repr=False)
    database: str | None
    options: Mapping[str, str] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.host or 'localhost'}{f':{self.port}' if self.port else ''}/{self.database or ''}"


class TimeKind(Enum):
    """What a column's times mean."""

    INSTANT = "instant"
    """A point in time, whatever the time zone of who looks at it."""
    LOCAL = "local"
    """What a clock on the wall shows."""
    DAY = "day"


@dataclass(frozen=True)
class Column:
    """A column of the table or query.

    Attributes:
        name: As the database spells it.
        type_code: The driver's number of its type.
    """

    name: str
    type_code: int


@dataclass(frozen=True)
class Question:
    """What is to be read.

    Attributes:
        source: What stands after FROM, quoted: a table, or a query in parentheses.
        is_table: Whether ``source`` is a table.
        columns: Canonical column to column of the source.
        order_id: The source's column of that meaning.
        updated_at: The source's column of that meaning.
        kind: What the times of ``updated_at`` mean.
        since: The watermark, as UTC if ``kind`` is an instant; None reads everything.
        overlap_minutes: How far before ``since`` a row counts as changed.
    """

    source: str
    is_table: bool
    columns: Mapping[str, Column]
    order_id: Column
    updated_at: Column
    kind: TimeKind
    since: datetime | None
    overlap_minutes: int


@dataclass(frozen=True)
class State:
    """What the database says about the rows of a question.

    Attributes:
        watermark: The newest ``updated_at`` among them, None if there is none.
        without_time: How many rows of the source have no ``updated_at``.
        ahead: How many rows have one that lies more than a day in the future; not in ``watermark``.
    """

    watermark: str | None
    without_time: int
    ahead: int


class Session(Protocol):
    """A connection inside one read-only transaction that sees one state of the data.

    Attributes:
        errors: What its driver raises.
        knows_zone: Whether it shows times in the shop's zone; in UTC otherwise.
    """

    errors: tuple[type[Exception], ...]
    knows_zone: bool

    def table(self, name: str) -> tuple[str, list[Column]]:
        """A table as it stands after FROM, and those of its columns that may be read.

        Raises:
            OrderDatabaseError: If there is no such table, or nothing of it may be read.
        """

    def query(self, text: str) -> tuple[str, list[Column]]:
        """A query as it stands after FROM, and its columns; nothing is run."""

    def time_kind(self, column: Column) -> TimeKind | None:
        """What a column's times mean, None if it holds no times."""

    def state(self, question: Question) -> State:
        """What is known of the rows before they are read."""

    def read(self, question: Question, batch_rows: int) -> Iterator[tuple[bytes, int]]:
        """The rows as CSV in UTF-8, with the number of rows in each piece."""

    def reason(self, error: Exception) -> str:
        """What went wrong and what to do, without any value of a row or any secret."""

    def close(self) -> None:
        """Ends the connection, even in the middle of a read."""


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that is most like a given one, whatever its case."""
    by_folded = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    return by_folded[near[0]] if near else None


def no_table(name: str, known: Sequence[str]) -> str:
    """What to tell when the database has no table of a name."""
    near = nearest(name, known)
    hint = f"did you mean {near!r}?" if near else "this user sees none that is named like it"
    return f"there is no table {name!r} (orders.database.table in shop.yaml); {hint}"


def select_rows(question: Question, line: str, order_id: str, updated_at: str, bound: str | None) -> str:
    """The statement that reads the rows: every row of every order that has a changed row.

    Args:
        question: What is to be read.
        line: What stands after SELECT.
        order_id: The column, quoted.
        updated_at: The column, quoted.
        bound: The earliest ``updated_at`` that counts as changed, as SQL; None reads everything.
    """
    if bound is None:
        return f"select {line} from {question.source} as source"
    # a changed row without an order is read too, so that it is rejected and not lost; OR would cost the index
    return (
        f"select {line} from {question.source} as source where {order_id} in "
        f"(select {order_id} from {question.source} as changed where {updated_at} >= {bound}) "
        f"union all "
        f"select {line} from {question.source} as source "
        f"where {order_id} is null and {updated_at} >= {bound}"
    )


def select_state(
    question: Question, newest: str, updated_at: str, bound: str | None, limit: str, is_missing: str
) -> str:
    """The statement behind :class:`State`: three values in one row.

    Args:
        question: What is to be read.
        newest: What the watermark is, as SQL over ``max(t)``.
        updated_at: The column, quoted.
        bound: As in :func:`select_rows`.
        limit: The latest time that is believed, as SQL.
        is_missing: The condition that a row has no ``updated_at``.
    """
    since = f"{updated_at} >= {bound}" if bound else f"{updated_at} is not null"
    believed = f"{since} and {updated_at} <= {limit}"
    if question.is_table:
        # each of the three can be answered by an index on updated_at
        return (
            f"select (select {newest} from (select max({updated_at}) as t from {question.source} as source "
            f"where {believed}) as newest), "
            f"(select count(*) from {question.source} as source where {is_missing}), "
            f"(select count(*) from {question.source} as source where {updated_at} > {limit})"
        )
    return (
        f"select {newest}, missing, ahead from (select "
        f"max(case when {believed} then {updated_at} end) as t, "
        f"count(case when {is_missing} then 1 end) as missing, "
        f"count(case when {updated_at} > {limit} then 1 end) as ahead "
        f"from {question.source} as source) as state"
    )

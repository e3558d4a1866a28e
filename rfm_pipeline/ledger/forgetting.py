"""Taking a person out of the ledger: tombstones, the name that is no name, what is left for a human.

Belongs here: what :meth:`Ledger.forget` and :meth:`Ledger.holdings` do within their transaction. Files and
the warehouse are ``forget``'s.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time

import sqlalchemy as sa

from rfm_pipeline.ledger.tables import (
    ASSIGNMENTS,
    DONE,
    FAILED,
    FORGOTTEN,
    LEDGER_SETTINGS,
    LEFT_OPEN,
    PENDING,
    SPEAKING,
    TAG_ACTIONS,
    TAG_CALLS,
)

SALT = "tombstone_salt"
"""The name of the salt among the ledger's settings."""


def tombstone_digest(salt: str, customer_id: str) -> str:
    """The digest of a forgotten customer; in SQL: ``sha256(salt || ':' || customer_id)``."""
    return hashlib.sha256(f"{salt}:{customer_id}".encode()).hexdigest()


@dataclass(frozen=True)
class Holdings:
    """What the ledger holds of one customer.

    Attributes:
        assignments: Lists the customer was put on.
        tag_actions: Tag changes asked for.
        tags_left: Tags that may still be on, by the sink that was to set them.
        forgotten: Whether there is a tombstone.
    """

    assignments: int
    tag_actions: int
    tags_left: dict[str, int]
    forgotten: bool


def salt_of(connection: sa.Connection) -> str:
    """The ledger's salt, empty as long as nobody was forgotten."""
    query = sa.select(LEDGER_SETTINGS.c.value).where(LEDGER_SETTINGS.c.name == SALT)
    return connection.scalar(query) or ""


def pseudonym(digest: str) -> str:
    """The name that is no name, in the place of a forgotten customer."""
    return f"{FORGOTTEN}{digest[:16]}"


def count_where(connection: sa.Connection, table: sa.Table, condition: sa.ColumnElement[bool]) -> int:
    """How many rows of a table are so."""
    return connection.scalar(sa.select(sa.func.count()).select_from(table).where(condition)) or 0


def count(connection: sa.Connection, table: sa.Table, names: Sequence[str]) -> int:
    """How many rows of a table name one of the customers."""
    return count_where(connection, table, table.c.customer_id.in_(names))


def blank(connection: sa.Connection, customer_id: str, name: str) -> None:
    """Puts the name that is no name in the place of a customer and empties what speaks of the person."""
    listed = ASSIGNMENTS.c.customer_id == customer_id
    weeks = connection.scalars(sa.select(ASSIGNMENTS.c.week).where(listed)).all()
    for week in weeks:
        connection.execute(
            sa.update(ASSIGNMENTS)
            .where(listed, ASSIGNMENTS.c.week == week)
            .values(
                customer_id=name,
                # the ledger holds a silence once, so each list gets one of its own
                silent_since=datetime.combine(week, time.min),
                recency_days=1,
                frequency=0,
                monetary="0",
                **dict.fromkeys(SPEAKING),
            )
        )
    mine = TAG_ACTIONS.c.customer_id == customer_id
    open_changes = sa.update(TAG_ACTIONS).where(mine, TAG_ACTIONS.c.status == PENDING)
    connection.execute(sa.update(TAG_ACTIONS).where(mine).values(error=None))
    connection.execute(open_changes.values(status=FAILED, error=LEFT_OPEN))
    connection.execute(sa.update(TAG_ACTIONS).where(mine).values(customer_id=name))
    # the calls name the person's WeCom contact, and count nothing that the actions don't
    connection.execute(sa.delete(TAG_CALLS).where(TAG_CALLS.c.customer_id == customer_id))


def tags_left(connection: sa.Connection, names: Sequence[str]) -> dict[str, int]:
    """How many of a customer's tags may be on now, by sink: the latest change that is known was an addition.

    An addition whose outcome was never learnt counts as on, a removal as not done.
    """
    actions = sa.select(
        TAG_ACTIONS.c.tag, TAG_ACTIONS.c.action, TAG_ACTIONS.c.status, TAG_ACTIONS.c.sink, TAG_ACTIONS.c.error
    )
    rows = connection.execute(
        actions.where(TAG_ACTIONS.c.customer_id.in_(names)).order_by(TAG_ACTIONS.c.week)
    ).all()
    latest: dict[str, tuple[str, str]] = {}
    for tag, action, status, sink, error in rows:
        unknown = status == PENDING or error == LEFT_OPEN
        if status == DONE or (unknown and action == "add"):
            latest[tag] = (action, sink)
    sinks = [sink for action, sink in latest.values() if action == "add"]
    return {sink: sinks.count(sink) for sink in sorted(set(sinks))}

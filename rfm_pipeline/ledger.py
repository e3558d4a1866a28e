"""The ledger: who was put on which list, in which arm, which tags were asked for and done, what arrived when.

The one thing that can't be rebuilt from the orders, so it is a database of its own (SQLite by default), is
only ever added to, and its unique keys make double work impossible:

- ``campaigns``: one row is a sealed week.
- ``assignments``: one row is a customer on a sealed list, with arm and words. A silence (customer,
  silent_since) is listed at most once, whatever is re-run.
- ``landings``: one row is an order export that was loaded, in the order of arrival: where two exports hold
  the same order, the later one is right, also when the warehouse is made again from the files.
- ``tag_actions``: one row is a tag to add or remove. ``pending`` is written before the sink is called, the
  outcome after.
- ``tombstones``: one row is a customer who is forgotten, as a digest that tells the same customer again when
  their orders are loaded again, and nothing else. ``ledger_settings`` holds the salt it is made with.

The one change of what stands there is :meth:`Ledger.forget`: the person goes, what the review counts stays.

Belongs here: reading and writing these facts. Who is listed and what is tagged is the recall stage's.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from rfm_pipeline.errors import RfmError

PENDING, DONE, FAILED = "pending", "done", "failed"
FORGOTTEN = "forgotten:"
"""What the customer_id of a forgotten customer begins with; the beginning of their digest follows."""
LEFT_OPEN = "the customer was forgotten before the outcome was known"
_SALT = "tombstone_salt"

_META = sa.MetaData()

CAMPAIGNS = sa.Table(
    "campaigns",
    _META,
    sa.Column("week", sa.Date, primary_key=True),
    sa.Column("listed", sa.Integer, nullable=False),
    sa.Column("sealed_at", sa.DateTime, nullable=False),
)

LANDINGS = sa.Table(
    "landings",
    _META,
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("content_hash", sa.String, nullable=False),
    sa.Column("file_name", sa.String, nullable=False),
)

ASSIGNMENTS = sa.Table(
    "assignments",
    _META,
    sa.Column("week", sa.Date, sa.ForeignKey("campaigns.week"), primary_key=True),
    sa.Column("customer_id", sa.String, primary_key=True),
    sa.Column("silent_since", sa.DateTime, nullable=False),
    sa.Column("churn_class", sa.String, nullable=False),
    sa.Column("arm", sa.String, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("favourite_sku", sa.String),
    sa.Column("favourite_product", sa.String),
    sa.Column("recency_days", sa.Integer, nullable=False),
    sa.Column("frequency", sa.Integer, nullable=False),
    # money as text: SQLite knows no decimal
    sa.Column("monetary", sa.String, nullable=False),
    sa.Column("offer", sa.String),
    sa.Column("coupon_code", sa.String, unique=True),
    sa.Column("sms", sa.String),
    sa.Column("email_subject", sa.String),
    sa.Column("email_body", sa.String),
    sa.Column("wecom_text", sa.String),
    sa.UniqueConstraint("customer_id", "silent_since", name="one_list_a_silence"),
)

TAG_ACTIONS = sa.Table(
    "tag_actions",
    _META,
    sa.Column("week", sa.Date, sa.ForeignKey("campaigns.week"), primary_key=True),
    sa.Column("customer_id", sa.String, primary_key=True),
    sa.Column("tag", sa.String, primary_key=True),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("churn_class", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("sink", sa.String, nullable=False),
    sa.Column("error", sa.String),
    sa.Column("requested_at", sa.DateTime, nullable=False),
    sa.Column("finished_at", sa.DateTime),
)

TOMBSTONES = sa.Table(
    "tombstones",
    _META,
    sa.Column("digest", sa.String, primary_key=True),
    sa.Column("forgotten_at", sa.DateTime, nullable=False),
)

LEDGER_SETTINGS = sa.Table(
    "ledger_settings",
    _META,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.String, nullable=False),
)

_SPEAKING = (
    "favourite_sku",
    "favourite_product",
    "offer",
    "coupon_code",
    "sms",
    "email_subject",
    "email_body",
    "wecom_text",
)

ASSIGNMENT_SCHEMA: dict[str, Any] = {
    "week": pl.Date,
    "customer_id": pl.String,
    "silent_since": pl.Datetime("us"),
    "churn_class": pl.String,
    "arm": pl.String,
    "priority": pl.Int64,
    "favourite_sku": pl.String,
    "favourite_product": pl.String,
    "recency_days": pl.Int64,
    "frequency": pl.Int64,
    "monetary": pl.String,
    "offer": pl.String,
    "coupon_code": pl.String,
    "sms": pl.String,
    "email_subject": pl.String,
    "email_body": pl.String,
    "wecom_text": pl.String,
}
TAG_ACTION_SCHEMA: dict[str, Any] = {
    "week": pl.Date,
    "customer_id": pl.String,
    "tag": pl.String,
    "action": pl.String,
    "churn_class": pl.String,
    "reason": pl.String,
    "status": pl.String,
    "sink": pl.String,
    "error": pl.String,
}


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


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


class Ledger:
    """One shop's ledger.

    Args:
        url: An SQLAlchemy URL; the tables are made on first use.
    """

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url)

    def __repr__(self) -> str:
        return f"Ledger({self._url.render_as_string(hide_password=True)})"

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        """A transaction on a connection that is closed afterwards: a run holds no file open for long."""
        options = {"connect_args": {"timeout": 60}} if self._url.get_backend_name() == "sqlite" else {}
        # values are customers' data: they must not show in an error's text
        engine = sa.create_engine(self._url, poolclass=sa.NullPool, hide_parameters=True, **options)
        try:
            with engine.begin() as connection:
                for table in _META.sorted_tables:
                    # two processes may be the first at the same time
                    connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                yield connection
        finally:
            engine.dispose()

    def _frame(self, query: sa.Select[Any], schema: Mapping[str, Any]) -> pl.DataFrame:
        with self._begin() as connection:
            rows = [tuple(row) for row in connection.execute(query)]
        return pl.DataFrame(rows, schema=dict(schema), orient="row")

    def landing_positions(self) -> dict[str, int]:
        """Content hash of every export ever loaded to its latest place in the order of arrival."""
        latest = sa.select(LANDINGS.c.content_hash, sa.func.max(LANDINGS.c.position))
        with self._begin() as connection:
            rows = connection.execute(latest.group_by(LANDINGS.c.content_hash))
            return {row[0]: row[1] for row in rows}

    def note_landings(self, files: Sequence[tuple[str, str]]) -> None:
        """Writes down the order of arrival where it isn't known yet.

        Args:
            files: (content hash, file name) of all exports in force, first come first.
        """
        known = self.landing_positions()
        newest = max(known.values(), default=0)
        last = 0
        rows = []
        for content_hash, file_name in files:
            position = known.get(content_hash, 0)
            if position <= last:
                # not seen yet, or back again after a later one
                newest += 1
                position = newest
                row = {"position": position, "content_hash": content_hash, "file_name": file_name}
                rows.append(row)
            last = position
        if rows:
            with self._begin() as connection:
                connection.execute(sa.insert(LANDINGS), rows)

    def sealed_weeks(self) -> set[date]:
        """The weeks whose lists are final."""
        with self._begin() as connection:
            return set(connection.scalars(sa.select(CAMPAIGNS.c.week)))

    def sealed_at(self, week: date) -> datetime:
        """When a week's list was sealed, in UTC without a zone.

        Raises:
            RfmError: If it isn't sealed.
        """
        with self._begin() as connection:
            found = connection.scalar(sa.select(CAMPAIGNS.c.sealed_at).where(CAMPAIGNS.c.week == week))
        if found is None:
            raise RfmError(f"the list of week {week} isn't sealed.")
        assert isinstance(found, datetime)
        return found

    def assignments(
        self, weeks: Sequence[date] | None = None, columns: Sequence[str] = tuple(ASSIGNMENT_SCHEMA)
    ) -> pl.DataFrame:
        """The sealed lists, of all weeks or of some.

        Args:
            weeks: The weeks; None for all.
            columns: Which columns of ``ASSIGNMENT_SCHEMA``; who looks at all weeks hardly wants their words.
        """
        schema = {name: ASSIGNMENT_SCHEMA[name] for name in columns}
        query = sa.select(*(ASSIGNMENTS.c[name] for name in schema))
        if weeks is not None:
            query = query.where(ASSIGNMENTS.c.week.in_(weeks))
        return self._frame(query.order_by(ASSIGNMENTS.c.week, ASSIGNMENTS.c.priority), schema)

    def tag_actions(self, weeks: Sequence[date] | None = None) -> pl.DataFrame:
        """The tag changes asked for, of all weeks or of some, with the columns of ``TAG_ACTION_SCHEMA``."""
        query = sa.select(*(TAG_ACTIONS.c[name] for name in TAG_ACTION_SCHEMA))
        if weeks is not None:
            query = query.where(TAG_ACTIONS.c.week.in_(weeks))
        keys = (TAG_ACTIONS.c.week, TAG_ACTIONS.c.customer_id, TAG_ACTIONS.c.tag)
        return self._frame(query.order_by(*keys), TAG_ACTION_SCHEMA)

    def seal(self, week: date, assignments: pl.DataFrame, actions: pl.DataFrame, sink: str) -> bool:
        """Makes a week's list final and writes its tag changes as pending, all or nothing.

        Of two processes that seal the same week, one does; the other finds it sealed.

        Args:
            week: The week.
            assignments: The list, with the columns of ``ASSIGNMENT_SCHEMA``.
            actions: The tag plan: customer_id, tag, action, churn_class, reason.
            sink: Who will carry it out.

        Returns:
            False if the week was sealed already; the ledger is then left as it is.

        Raises:
            RfmError: If a customer was listed in this silence before, in another week.
        """
        now = _now()
        campaign = {"week": week, "listed": assignments.height, "sealed_at": now}
        listed = assignments.select(*ASSIGNMENT_SCHEMA).to_dicts()
        asked = actions.select("customer_id", "tag", "action", "churn_class", "reason").to_dicts()
        common = {"week": week, "status": PENDING, "sink": sink, "requested_at": now}
        if week in self.sealed_weeks():
            return False
        try:
            with self._begin() as connection:
                # first the campaign: its key lets one process through
                connection.execute(sa.insert(CAMPAIGNS), campaign)
                if listed:
                    connection.execute(sa.insert(ASSIGNMENTS), listed)
                if asked:
                    connection.execute(sa.insert(TAG_ACTIONS), [{**row, **common} for row in asked])
        except sa.exc.IntegrityError:
            if week in self.sealed_weeks():
                return False
            # the database's own words may quote a customer
            raise RfmError(self._why_not_sealed(week, assignments)) from None
        return True

    def _why_not_sealed(self, week: date, assignments: pl.DataFrame) -> str:
        """What to tell when the database refuses a week's list."""
        silences = ["customer_id", "silent_since"]
        again = assignments.join(self.assignments(columns=silences), on=silences, how="semi").height
        reason = (
            f"{again} of its {assignments.height} customers were listed in the same silence by another week, "
            "after this list was made"
            if again
            else "a customer or coupon code stands in it twice, or a value is missing"
        )
        return (
            f"the list of week {week} can't be sealed: {reason}. Nothing was sent; materialize "
            "recall_list and tag_plan of the week again."
        )

    def record(self, week: date, outcomes: Iterable[tuple[str, str, str, str | None]]) -> None:
        """Writes what came of a week's pending tag changes; a known success is never overwritten.

        Args:
            week: The week.
            outcomes: (customer_id, tag, status, error) of each.
        """
        rows = [
            {"b_customer": customer, "b_tag": tag, "b_status": status, "b_error": error, "b_at": _now()}
            for customer, tag, status, error in outcomes
        ]
        if not rows:
            return
        update = (
            sa.update(TAG_ACTIONS)
            .where(
                TAG_ACTIONS.c.week == week,
                TAG_ACTIONS.c.customer_id == sa.bindparam("b_customer"),
                TAG_ACTIONS.c.tag == sa.bindparam("b_tag"),
                TAG_ACTIONS.c.status != DONE,
            )
            .values(
                status=sa.bindparam("b_status"),
                error=sa.bindparam("b_error"),
                finished_at=sa.bindparam("b_at"),
            )
        )
        with self._begin() as connection:
            connection.execute(update, rows)

    def tombstones(self) -> tuple[str, set[str]]:
        """The salt and the digests of all forgotten customers; see :func:`tombstone_digest`.

        The salt is empty as long as nobody was forgotten.
        """
        with self._begin() as connection:
            return _salt(connection), set(connection.scalars(sa.select(TOMBSTONES.c.digest)))

    def holdings(self, customer_id: str) -> Holdings:
        """What the ledger holds of a customer; of a forgotten one, what is left without the name."""
        if self._is_sqlite and not Path(self._url.database or "").exists():
            # to look is not to make one
            return Holdings(0, 0, {}, forgotten=False)
        with self._begin() as connection:
            salt = _salt(connection)
            digest = tombstone_digest(salt, customer_id)
            names = [customer_id, _pseudonym(digest)] if salt else [customer_id]
            return Holdings(
                assignments=_count(connection, ASSIGNMENTS, names),
                tag_actions=_count(connection, TAG_ACTIONS, names),
                tags_left=_tags_left(connection, names),
                forgotten=bool(_count_where(connection, TOMBSTONES, TOMBSTONES.c.digest == digest)),
            )

    def forget(self, customer_id: str) -> None:
        """Writes a customer's tombstone and takes the customer out of what was written, all or nothing.

        Their rows stay, so that the review counts as many as were drawn: week, class, arm, tag and outcome
        under a name that is no name. Words, product, coupon code, silence and value go. Doing it again
        changes nothing.
        """
        with self._begin() as connection:
            if self._is_sqlite:
                # what is overwritten must not stay in the file
                connection.exec_driver_sql("pragma secure_delete = on")
            digest = tombstone_digest(_salt(connection, make=True), customer_id)
            if not _count_where(connection, TOMBSTONES, TOMBSTONES.c.digest == digest):
                connection.execute(sa.insert(TOMBSTONES), {"digest": digest, "forgotten_at": _now()})
            _blank(connection, customer_id, _pseudonym(digest))
        if self._is_sqlite:
            self._compact()

    @property
    def _is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    def _compact(self) -> None:
        """Rewrites an SQLite file, so that no former version of a row stays in it."""
        engine = sa.create_engine(self._url, poolclass=sa.NullPool, connect_args={"timeout": 60})
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("vacuum")
        finally:
            engine.dispose()


def _salt(connection: sa.Connection, *, make: bool = False) -> str:
    """The ledger's salt, empty if it has none and none is to be made."""
    query = sa.select(LEDGER_SETTINGS.c.value).where(LEDGER_SETTINGS.c.name == _SALT)
    salt = connection.scalar(query)
    if salt is None and make:
        salt = secrets.token_hex(16)
        connection.execute(sa.insert(LEDGER_SETTINGS), {"name": _SALT, "value": salt})
    return salt or ""


def _pseudonym(digest: str) -> str:
    return f"{FORGOTTEN}{digest[:16]}"


def _count_where(connection: sa.Connection, table: sa.Table, condition: sa.ColumnElement[bool]) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(table).where(condition)) or 0


def _count(connection: sa.Connection, table: sa.Table, names: Sequence[str]) -> int:
    return _count_where(connection, table, table.c.customer_id.in_(names))


def _blank(connection: sa.Connection, customer_id: str, pseudonym: str) -> None:
    """Puts the pseudonym in the place of a customer and empties what speaks of the person."""
    listed = ASSIGNMENTS.c.customer_id == customer_id
    weeks = connection.scalars(sa.select(ASSIGNMENTS.c.week).where(listed)).all()
    for week in weeks:
        connection.execute(
            sa.update(ASSIGNMENTS)
            .where(listed, ASSIGNMENTS.c.week == week)
            .values(
                customer_id=pseudonym,
                # a silence may stand in the ledger once, so each list gets one of its own
                silent_since=datetime.combine(week, time.min),
                recency_days=1,
                frequency=0,
                monetary="0",
                **dict.fromkeys(_SPEAKING),
            )
        )
    mine = TAG_ACTIONS.c.customer_id == customer_id
    open_changes = sa.update(TAG_ACTIONS).where(mine, TAG_ACTIONS.c.status == PENDING)
    connection.execute(sa.update(TAG_ACTIONS).where(mine).values(error=None))
    connection.execute(open_changes.values(status=FAILED, error=LEFT_OPEN))
    connection.execute(sa.update(TAG_ACTIONS).where(mine).values(customer_id=pseudonym))


def _tags_left(connection: sa.Connection, names: Sequence[str]) -> dict[str, int]:
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

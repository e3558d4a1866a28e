"""The ledger's facts, read and written.

Belongs here: one method a fact. Who is listed and what is tagged is the recall stage's.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from rfm_pipeline.errors import RfmError
from rfm_pipeline.ledger import forgetting
from rfm_pipeline.ledger.database import LedgerDatabase, now
from rfm_pipeline.ledger.tables import (
    ASSIGNMENT_SCHEMA,
    ASSIGNMENTS,
    CAMPAIGNS,
    DONE,
    FAILED,
    LANDINGS,
    LEDGER_SETTINGS,
    MESSAGE_SCHEMA,
    MESSAGES,
    PENDING,
    TAG_ACTION_SCHEMA,
    TAG_ACTIONS,
    TAG_CALL_SCHEMA,
    TAG_CALLS,
    TOMBSTONES,
)

_CALL_KEY = ("week", "userid", "external_userid", "tag", "action")


class Ledger(LedgerDatabase):
    """One shop's ledger.

    Args:
        url: An SQLAlchemy URL, or a function that gives it on first use; the tables are made on first use.
    """

    def landing_positions(self) -> dict[str, int]:
        """Content hash of every export ever loaded to its latest place in the order of arrival."""
        with self.reading() as connection:
            return _landing_positions(connection)

    def note_landings(self, files: Sequence[tuple[str, str]]) -> None:
        """Writes down the order of arrival where it isn't known yet.

        Args:
            files: (content hash, file name) of all exports in force, first come first.
        """
        with self.begin() as connection:
            if not self.is_sqlite:
                # what is read here has to be true until the new places are written
                connection.execute(sa.text(f"lock table {LANDINGS.name} in share row exclusive mode"))
            rows = _new_places(files, _landing_positions(connection))
            if rows:
                connection.execute(sa.insert(LANDINGS), rows)

    def sealed_weeks(self) -> set[date]:
        """The weeks whose lists are final."""
        with self.reading() as connection:
            return set(connection.scalars(sa.select(CAMPAIGNS.c.week)))

    def sealed_at(self, week: date) -> datetime:
        """When a week's list was sealed, in UTC without a zone.

        Raises:
            RfmError: If it isn't sealed.
        """
        with self.reading() as connection:
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
            columns: Which columns of ``ASSIGNMENT_SCHEMA``; a look at all weeks rarely needs the messages.
        """
        schema = {name: ASSIGNMENT_SCHEMA[name] for name in columns}
        query = sa.select(*(ASSIGNMENTS.c[name] for name in schema))
        if weeks is not None:
            query = query.where(ASSIGNMENTS.c.week.in_(weeks))
        return self.frame(query.order_by(ASSIGNMENTS.c.week, ASSIGNMENTS.c.priority), schema)

    def tag_actions(self, weeks: Sequence[date] | None = None) -> pl.DataFrame:
        """The tag changes asked for, of all weeks or of some, with the columns of ``TAG_ACTION_SCHEMA``."""
        query = sa.select(*(TAG_ACTIONS.c[name] for name in TAG_ACTION_SCHEMA))
        if weeks is not None:
            query = query.where(TAG_ACTIONS.c.week.in_(weeks))
        # sorted here: databases differ in how they sort text
        return self.frame(query, TAG_ACTION_SCHEMA).sort("week", "customer_id", "tag")

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
        at = now()
        campaign = {"week": week, "listed": assignments.height, "sealed_at": at}
        # in one order: two weeks that list the same silences must not wait for each other
        listed = assignments.select(*ASSIGNMENT_SCHEMA).sort("customer_id").to_dicts()
        asked = actions.select("customer_id", "tag", "action", "churn_class", "reason").to_dicts()
        common = {"week": week, "status": PENDING, "sink": sink, "requested_at": at}
        if week in self.sealed_weeks():
            return False
        try:
            with self.begin() as connection:
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
        """What to say when the database refuses a week's list."""
        silences = ["customer_id", "silent_since"]
        again = assignments.join(self.assignments(columns=silences), on=silences, how="semi").height
        reason = (
            f"{again} of its {assignments.height} customers were listed in the same silence by another week, "
            "after this list was made"
            if again
            else "a customer or coupon code is in it twice, or a value is missing"
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
            {"b_customer": customer, "b_tag": tag, "b_status": status, "b_error": error, "b_at": now()}
            # two that write the same rows do so in the same order, or each may wait for the other
            for customer, tag, status, error in sorted(outcomes, key=lambda outcome: outcome[:2])
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
        with self.begin() as connection:
            connection.execute(update, rows)

    def request_calls(self, week: date, calls: pl.DataFrame) -> None:
        """Writes the calls that are about to be made as pending; one that is known to be done stays so.

        Args:
            week: The sealed week that they belong to.
            calls: customer_id, userid, external_userid, tag, action; a row is one tag of one contact of one
                member of staff.
        """
        common = {"week": week, "status": PENDING, "attempts": 0, "requested_at": now()}
        names = ("customer_id", "userid", "external_userid", "tag", "action")
        rows = [{**row, **common} for row in calls.select(names).sort(names[1:]).iter_rows(named=True)]
        if not rows:
            return
        again = _insert(self, TAG_CALLS).on_conflict_do_update(
            index_elements=_CALL_KEY,
            set_={"status": PENDING, "error": None, "finished_at": None},
            where=TAG_CALLS.c.status != DONE,
        )
        with self.begin() as connection:
            connection.execute(again, rows)

    def finish_calls(self, week: date, outcomes: Iterable[Mapping[str, Any]]) -> None:
        """Writes what came of pending calls; a known success is never overwritten.

        Args:
            week: The sealed week that they belong to.
            outcomes: userid, external_userid, tag, action, status, error, attempts (of this run) of each.
        """
        at = now()
        rows = [
            _as_bound({**row, "week": week})
            | {
                "b_status": row["status"],
                "b_error": row["error"],
                "b_attempts": row["attempts"],
                "b_at": at,
            }
            for row in sorted(outcomes, key=lambda row: [row[name] for name in _CALL_KEY[1:]])
        ]
        if not rows:
            return
        known = sa.update(TAG_CALLS).where(*_this_call(), TAG_CALLS.c.status != DONE)
        update = known.values(
            status=sa.bindparam("b_status"),
            error=sa.bindparam("b_error"),
            attempts=TAG_CALLS.c.attempts + sa.bindparam("b_attempts"),
            finished_at=sa.bindparam("b_at"),
        )
        with self.begin() as connection:
            connection.execute(update, rows)

    def tag_calls(self, weeks: Sequence[date] | None = None) -> pl.DataFrame:
        """The calls that were asked for, of all weeks or of some, with the columns of ``TAG_CALL_SCHEMA``."""
        query = sa.select(*(TAG_CALLS.c[name] for name in TAG_CALL_SCHEMA))
        if weeks is not None:
            query = query.where(TAG_CALLS.c.week.in_(weeks))
        return self.frame(query, TAG_CALL_SCHEMA).sort(_CALL_KEY)

    def claim_message(self, kind: str, name: str) -> bool:
        """Writes a message as pending and says whether the caller may send it.

        It may be once: a message that was sent, or of which it isn't known whether it was, is nobody's to
        send again. One that is known not to have left may be tried again.

        Args:
            kind: What kind of message, such as ``weekly``.
            name: Which one of its kind, such as the week.
        """
        row = {"kind": kind, "name": name, "status": PENDING, "requested_at": now()}
        mine = (MESSAGES.c.kind == kind, MESSAGES.c.name == name)
        with self.begin() as connection:
            # not by rowcount, which PostgreSQL's driver doesn't tell of an INSERT
            first = _insert_ignore(self, MESSAGES).returning(MESSAGES.c.name)
            if connection.scalar(first, row) is not None:
                return True
            again = sa.update(MESSAGES).where(*mine, MESSAGES.c.status == FAILED)
            taken = connection.execute(
                again.values(status=PENDING, error=None, finished_at=None, requested_at=now())
            )
            return taken.rowcount == 1

    def finish_message(self, kind: str, name: str, status: str, error: str | None = None) -> None:
        """Writes what came of a message: done, or failed if it is certain that it didn't leave."""
        mine = (MESSAGES.c.kind == kind, MESSAGES.c.name == name)
        with self.begin() as connection:
            connection.execute(
                sa.update(MESSAGES).where(*mine).values(status=status, error=error, finished_at=now())
            )

    def messages(self, kind: str | None = None) -> pl.DataFrame:
        """The messages to the team, of all kinds or of one, with the columns of ``MESSAGE_SCHEMA``."""
        query = sa.select(*(MESSAGES.c[name] for name in MESSAGE_SCHEMA))
        if kind is not None:
            query = query.where(MESSAGES.c.kind == kind)
        # not by time: clocks jump
        return self.frame(query, MESSAGE_SCHEMA).sort("kind", "name")

    def confirmed_at(self, sink: str) -> datetime | None:
        """When somebody said that a sink may carry out its first plan, in UTC; None if nobody has."""
        query = sa.select(LEDGER_SETTINGS.c.value).where(LEDGER_SETTINGS.c.name == f"confirmed:{sink}")
        with self.reading() as connection:
            value = connection.scalar(query)
        return None if value is None else datetime.fromisoformat(value)

    def confirm(self, sink: str) -> None:
        """Writes down that a sink's first plan was looked at and may be carried out; once and for all."""
        row = {"name": f"confirmed:{sink}", "value": now().isoformat()}
        with self.begin() as connection:
            connection.execute(_insert_ignore(self, LEDGER_SETTINGS), row)

    def tombstones(self) -> tuple[str, set[str]]:
        """The salt and the digests of all forgotten customers; see :func:`tombstone_digest`.

        The salt is empty as long as nobody was forgotten.
        """
        with self.reading() as connection:
            return forgetting.salt_of(connection), set(connection.scalars(sa.select(TOMBSTONES.c.digest)))

    def holdings(self, customer_id: str) -> forgetting.Holdings:
        """What the ledger holds of a customer; of a forgotten one, what is left without the name."""
        if not self.is_there:
            return forgetting.Holdings(0, 0, {}, forgotten=False)
        with self.reading() as connection:
            salt = forgetting.salt_of(connection)
            digest = forgetting.tombstone_digest(salt, customer_id)
            names = [customer_id, forgetting.pseudonym(digest)] if salt else [customer_id]
            return forgetting.Holdings(
                assignments=forgetting.count(connection, ASSIGNMENTS, names),
                tag_actions=forgetting.count(connection, TAG_ACTIONS, names),
                tags_left=forgetting.tags_left(connection, names),
                forgotten=bool(forgetting.count_where(connection, TOMBSTONES, TOMBSTONES.c.digest == digest)),
            )

    def forget(self, customer_id: str) -> None:
        """Writes a customer's tombstone and takes the customer out of what was written, all or nothing.

        Their rows stay, so that the review counts as many as were drawn: week, class, arm, tag and outcome
        under a name that is no name. Words, product, coupon code, silence and value go. Doing it again
        changes nothing.
        """
        with self.begin() as connection:
            if self.is_sqlite:
                # what is overwritten must not stay in the file
                connection.exec_driver_sql("pragma secure_delete = on")
            # of two that are the first to forget somebody, the salt of one is everybody's
            salt = {"name": forgetting.SALT, "value": secrets.token_hex(16)}
            connection.execute(_insert_ignore(self, LEDGER_SETTINGS), salt)
            digest = forgetting.tombstone_digest(forgetting.salt_of(connection), customer_id)
            connection.execute(_insert_ignore(self, TOMBSTONES), {"digest": digest, "forgotten_at": now()})
            forgetting.blank(connection, customer_id, forgetting.pseudonym(digest))
        self.compact()


def _landing_positions(connection: sa.Connection) -> dict[str, int]:
    latest = sa.select(LANDINGS.c.content_hash, sa.func.max(LANDINGS.c.position))
    return {row[0]: row[1] for row in connection.execute(latest.group_by(LANDINGS.c.content_hash))}


def _new_places(files: Sequence[tuple[str, str]], known: Mapping[str, int]) -> list[dict[str, Any]]:
    """The rows to add, so that the places of the exports in force rise in their order."""
    newest = max(known.values(), default=0)
    last = 0
    rows = []
    for content_hash, file_name in files:
        position = known.get(content_hash, 0)
        if position <= last:
            # not seen yet, or back again after a later one
            newest += 1
            position = newest
            rows.append({"position": position, "content_hash": content_hash, "file_name": file_name})
        last = position
    return rows


def _insert(database: LedgerDatabase, table: sa.Table) -> Any:
    dialect = sqlite if database.is_sqlite else postgresql
    return dialect.insert(table)


def _insert_ignore(database: LedgerDatabase, table: sa.Table) -> Any:
    """An INSERT that leaves a row alone whose key is there already."""
    return _insert(database, table).on_conflict_do_nothing()


def _this_call() -> list[sa.ColumnElement[bool]]:
    return [TAG_CALLS.c[name] == sa.bindparam(f"k_{name}") for name in _CALL_KEY]


def _as_bound(row: Mapping[str, Any]) -> dict[str, Any]:
    return {f"k_{name}": row[name] for name in _CALL_KEY}

"""Carries out tag changes in WeCom.

Why a retry is safe: what WeCom has is read back before anything is changed, so what is so already is not
called again; the ledger holds every call as pending before it is made, and its outcome after; and a call
that is known to have succeeded is never made twice for the same week. Killed at any moment and called again,
it does what is left.

Belongs here: the order of calls and ledger rows. What has to be called is ``wecom_plan``'s, how, is
``rfm_pipeline.wecom``'s.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from time import monotonic
from typing import Any

import polars as pl

from rfm_pipeline.contacts.phones import phone_region
from rfm_pipeline.ledger import DONE, FAILED, PENDING, REJECTED, Ledger
from rfm_pipeline.recall.schemas import ADD, REMOVE
from rfm_pipeline.recall.sinks.base import Outcome, Outcomes, SinkPausedError
from rfm_pipeline.recall.sinks.matching import contact_frame, match_contacts
from rfm_pipeline.recall.sinks.wecom_plan import CALL_COLUMNS, CallPlan, Survey, plan_calls
from rfm_pipeline.shop import Shop
from rfm_pipeline.wecom.client import WecomClient, WecomSettings
from rfm_pipeline.wecom.errors import WecomError, WecomRefused
from rfm_pipeline.wecom.model import Contact, Status
from rfm_pipeline.wecom.model import Outcome as MarkOutcome

_REQUESTED_AT_ONCE = 200
"""How many contacts' calls are written as pending in one transaction."""
_COLLECT_SECONDS = 0.2
"""How long outcomes are collected before they are written: what a kill can leave unrecorded."""
_REPORT_SECONDS = 10
_STATUSES = {Status.DONE: DONE, Status.REJECTED: REJECTED, Status.FAILED: FAILED}


def wecom_settings(shop: Shop, corp_id: str, secret: str) -> WecomSettings:
    """How to reach WeCom, from the settings and the environment's secrets."""
    return WecomSettings(
        corp_id=corp_id,
        secret=secret,
        base_url=shop.wecom.base_url,
        requests_per_second=shop.wecom.requests_per_second,
        in_flight=shop.wecom.in_flight,
        timeout_seconds=shop.wecom.timeout_seconds,
    )


@dataclass(frozen=True)
class Mark:
    """One call: a member of staff's contact, with the tags to add and to remove.

    Attributes:
        userid: The member of staff.
        external_userid: The contact.
        rows: The changes of ``CALL_COLUMNS`` that it carries out.
    """

    userid: str = field(repr=False)
    external_userid: str = field(repr=False)
    rows: Sequence[Mapping[str, str]] = field(repr=False)

    def tags(self, action: str, ids: Mapping[str, str]) -> list[str]:
        """The ids of the tags to add or to remove."""
        return [ids[row["tag"]] for row in self.rows if row["action"] == action]


class WecomSink:
    """Puts tags on WeCom contacts and takes them off; see :class:`rfm_pipeline.recall.sinks.base.TagSink`.

    Args:
        shop: The settings.
        ledger: Gets every call, before and after.
        people: Who the customers are: ``Reach.people``.
        wanted_on: (customer_id, tag) that are on by the ledger.
        settings: How to reach WeCom.
        report: Gets a line about the progress.
    """

    name = "wecom"

    def __init__(
        self,
        shop: Shop,
        ledger: Ledger,
        people: pl.DataFrame,
        wanted_on: pl.DataFrame,
        settings: WecomSettings,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._shop = shop
        self._ledger = ledger
        self._people = people
        self._wanted_on = wanted_on
        self._settings = settings
        self._report = report

    def preview(self, week: date, actions: pl.DataFrame) -> tuple[Survey, CallPlan]:
        """What carrying out some changes would call; only reads.

        Raises:
            WecomError: If WeCom can't be read.
        """
        return asyncio.run(self._preview(week, actions))

    def apply(self, week: date, open_actions: pl.DataFrame, all_actions: pl.DataFrame) -> Outcomes:
        """See :meth:`TagSink.apply`.

        Raises:
            SinkPausedError: If the rest has to wait for another run.
            WecomRefused: If WeCom refuses for good.
        """
        if open_actions.is_empty():
            return
        with asyncio.Runner() as runner:
            outcomes = self._outcomes(week, open_actions)
            try:
                while (batch := runner.run(_next(outcomes))) is not None:
                    yield from batch
            except WecomRefused:
                raise
            except WecomError as error:
                raise SinkPausedError(str(error)) from None
            finally:
                runner.run(outcomes.aclose())

    # --- reading ----------------------------------------------------------------------------------

    async def _preview(self, week: date, actions: pl.DataFrame) -> tuple[Survey, CallPlan]:
        async with WecomClient(self._settings) as client:
            survey = await self._survey(client)
        return survey, self._plan(week, actions, survey)

    async def _survey(self, client: WecomClient) -> Survey:
        library = await client.tags()
        staff = self._shop.wecom.staff or await client.follow_users()
        contacts: list[Contact] = []
        unreadable: list[str] = []
        async for page in client.contacts(staff):
            contacts += page.contacts
            unreadable += page.rejected
        frame = contact_frame(contacts)
        self._report(f"WeCom: {frame.height:,} contacts of {len(staff):,} members of staff read")
        return Survey(
            contacts=frame,
            tag_ids=library.ids(self._shop.wecom.tag_group),
            matches=match_contacts(self._people, frame, phone_region(self._shop.shop.timezone)),
            unreadable=pl.DataFrame({"userid": unreadable}, schema={"userid": pl.String}),
        )

    def _plan(self, week: date, actions: pl.DataFrame, survey: Survey) -> CallPlan:
        calls = self._ledger.tag_calls().with_columns(is_now=pl.col("week") == week)
        return plan_calls(actions, survey, calls, self._wanted_on)

    # --- calling ----------------------------------------------------------------------------------

    async def _outcomes(self, week: date, actions: pl.DataFrame) -> AsyncGenerator[list[Outcome]]:
        async with WecomClient(self._settings) as client:
            survey = await self._survey(client)
            plan = self._plan(week, actions, survey)
            yield plan.settled
            names = plan.calls.filter(pl.col("action") == ADD)["tag"].unique(maintain_order=True)
            made = await client.add_tags(self._shop.wecom.tag_group, names) if len(names) else {}
            sending = _Sending(
                client, self._ledger, week, plan.calls, {**survey.tag_ids, **made}, self._report
            )
            async with sending.under_way():
                async for batch in sending.batches():
                    yield batch


async def _next(outcomes: AsyncIterator[list[Outcome]]) -> list[Outcome] | None:
    return await anext(outcomes, None)


class _Sending:
    """The calls of one run: written, made a few at a time, and written again.

    Three parts work side by side: one writes the next calls into the ledger, some make calls, and
    :meth:`batches` collects what came of them.
    """

    def __init__(
        self,
        client: WecomClient,
        ledger: Ledger,
        week: date,
        calls: pl.DataFrame,
        tag_ids: Mapping[str, str],
        report: Callable[[str], None],
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._week = week
        self._calls = calls
        self._ids = tag_ids
        self._report = report
        self._marks = [
            Mark(userid, external_userid, rows.to_dicts())
            for (userid, external_userid), rows in calls.group_by(
                "userid", "external_userid", maintain_order=True
            )
        ]
        self._waiting: asyncio.Queue[Mark] = asyncio.Queue(maxsize=_REQUESTED_AT_ONCE)
        self._known: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self._ended: BaseException | None = None
        self._left = len(self._marks)
        self._under_way = 0
        self._changes = _Changes(calls)

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """Works in the background for the block; what is known at its end is written, whatever ends it."""
        workers = 2 * max(1, min(len(self._marks), 5))
        parts = [self._request(), *(self._work() for _ in range(workers))]
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._ledger.finish_calls(self._week, self._taken())

    async def batches(self) -> AsyncIterator[list[Outcome]]:
        """The outcomes of whole changes, after what they come from was written."""
        total, reported = len(self._marks), monotonic()
        while self._left or self._known:
            await self._news.wait()
            await asyncio.sleep(_COLLECT_SECONDS)
            self._news.clear()
            known = self._taken()
            await asyncio.to_thread(self._ledger.finish_calls, self._week, known)
            if (now := monotonic()) >= reported + _REPORT_SECONDS or not self._left:
                self._report(f"WeCom: {total - self._left:,} of {total:,} contacts tagged")
                reported = now
            yield self._changes.completed_by(known)
            if self._ended is not None and not self._under_way and not self._known:
                raise self._ended

    def _taken(self) -> list[dict[str, Any]]:
        known, self._known = self._known, []
        return known

    async def _request(self) -> None:
        """Writes calls into the ledger, some at a time, and hands them on."""
        try:
            for start in range(0, len(self._marks), _REQUESTED_AT_ONCE):
                marks = self._marks[start : start + _REQUESTED_AT_ONCE]
                rows = [row for mark in marks for row in mark.rows]
                frame = pl.DataFrame(rows, schema=dict.fromkeys(CALL_COLUMNS, pl.String))
                await asyncio.to_thread(self._ledger.request_calls, self._week, frame)
                for mark in marks:
                    await self._waiting.put(mark)
        except Exception as error:
            # raised again by batches(), once what is under way has ended
            self._end(error)

    async def _work(self) -> None:
        while self._ended is None:
            mark = await self._waiting.get()
            self._under_way += 1
            try:
                self._take(mark, await self._mark(mark))
            except Exception as error:
                # what this contact has now is for the next run to look at
                self._end(error)
            finally:
                self._under_way -= 1
                self._news.set()

    async def _mark(self, mark: Mark) -> MarkOutcome:
        return await self._client.mark_tag(
            mark.userid,
            mark.external_userid,
            add=mark.tags(ADD, self._ids),
            remove=mark.tags(REMOVE, self._ids),
        )

    def _take(self, mark: Mark, outcome: MarkOutcome) -> None:
        # what failed without an answer may be on all the same
        is_unknown = outcome.status is Status.FAILED and outcome.may_have_happened
        came_of_it = {
            "status": PENDING if is_unknown else _STATUSES[outcome.status],
            "error": outcome.reason,
            "attempts": outcome.attempts,
        }
        self._known += [{**row, **came_of_it} for row in mark.rows]
        self._left -= 1

    def _end(self, error: BaseException) -> None:
        self._ended = self._ended or error
        self._news.set()


class _Changes:
    """Puts the outcomes of a customer's calls together to that of the change they belong to."""

    def __init__(self, calls: pl.DataFrame) -> None:
        counted = calls.group_by("customer_id", "tag").len()
        self._open = {(customer, tag): n for customer, tag, n in counted.iter_rows()}
        self._found: dict[tuple[str, str], list[tuple[str, str | None]]] = {}

    def completed_by(self, outcomes: Sequence[Mapping[str, Any]]) -> list[Outcome]:
        """The changes of which the last call's outcome is among these."""
        completed: list[Outcome] = []
        for row in outcomes:
            change = (row["customer_id"], row["tag"])
            found = self._found.setdefault(change, [])
            found.append((row["status"], row["error"]))
            if len(found) == self._open[change]:
                completed.append((*change, *_together(found)))
        return completed


def _together(found: Sequence[tuple[str, str | None]]) -> tuple[str, str | None]:
    """One outcome of several: failures are tried again; one success is enough where others were refused."""
    errors = dict(reversed(found))
    status = next(status for status in (PENDING, FAILED, DONE, REJECTED) if status in errors)
    return status, errors.get(REJECTED) if status == DONE else errors[status]

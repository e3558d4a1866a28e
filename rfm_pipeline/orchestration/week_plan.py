"""The week plan: which weeks are to be made, made again, kept or held, and why.

A function from what is known to what is to be done. ``rfm run`` (``runner``) and Dagster
(``week_plan_sensor``) both follow it, so that they end in the same tables. Belongs here: the decisions, as
plain values. Nothing here knows Dagster, a database or the clock; ``week_facts`` gathers what is known.

The rules, for each week of the shop's grid that has closed:

- A week whose end the orders don't reach (``rules.max_order_gap_days``) is held. So are all weeks while there
  are no orders, or one only.
- The newest week that is not held goes through all stages (``weekly_job``). It is the only one that may be
  sent, and the recall's guards send it only if it is the newest closed week.
- An older week without a snapshot is made, and one whose orders were corrected since is made again
  (``history_job``, without any sink). All others are kept.
- Weeks that were made with other thresholds are kept as they are: thresholds in force are part of a past
  week's result. The plan says which weeks those are, and the command that judges them by today's.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum
from itertools import groupby

from rfm_pipeline.shop import Shop
from rfm_pipeline.weeks import WEEK, as_of, name_range, newest_closed_week, ranges, weeks_between


class Action(Enum):
    """What is to be done about a week."""

    MAKE = "make"
    AGAIN = "make again"
    KEEP = "keep"
    HOLD = "hold"


class Reason(Enum):
    """Why; the value is the reason in words."""

    MISSING = "it was not made yet"
    UNFINISHED = "it was not through all stages yet"
    FAILED = "its last run through all stages failed"
    CORRECTED = "orders of it or of an earlier week were corrected since it was made"
    ASKED = "it was asked for"
    UP_TO_DATE = "nothing that it is made from has changed"
    NO_ORDERS = "there is no order yet"
    ONE_ORDER = "there is one order only, which is too little to tell who fell silent"
    NOT_COVERED = "the orders do not reach its end yet"
    TOO_EARLY = "it has just closed, and its run begins on Monday at 06:00"


WAITING = frozenset({Reason.NO_ORDERS, Reason.ONE_ORDER, Reason.NOT_COVERED})
"""The reasons to hold a week that newer orders remove."""


@dataclass(frozen=True)
class Facts:
    """What is known of a shop's weeks at a moment.

    Attributes:
        now: The moment, on the shop's clock.
        newest_order_at: The time of the newest order up to then; None without orders.
        is_single_order: Whether there is one order only.
        made: The weeks that are diagnosed.
        corrected: Those of them made before a correction of orders of that week or an earlier one.
        complete: The weeks that went through all stages.
        failed: The weeks whose newest run through all stages failed.
        other_settings: The weeks made with other thresholds than today's.
        inputs_version: Grows with every change of what the weeks are made from.
    """

    now: datetime
    newest_order_at: datetime | None = None
    is_single_order: bool = False
    made: frozenset[date] = frozenset()
    corrected: frozenset[date] = frozenset()
    complete: frozenset[date] = frozenset()
    failed: frozenset[date] = frozenset()
    other_settings: frozenset[date] = frozenset()
    inputs_version: int = 0


@dataclass(frozen=True)
class Decision:
    """What is to be done about a week, and why."""

    week: date
    action: Action
    reason: Reason


@dataclass(frozen=True)
class Range:
    """Unbroken weeks that one run of ``history_job`` makes.

    Attributes:
        weeks: The weeks, in order.
        reason: Why, in words.
    """

    weeks: tuple[date, ...]
    reason: str


@dataclass(frozen=True)
class WeekPlan:
    """What is to be done, week by week.

    Attributes:
        decisions: One for each week looked at, in order of the weeks.
        all_stages: The weeks that go through all stages: those asked for, or the newest one that is not held.
        other_settings: The weeks that are kept although they were made with other thresholds.
    """

    decisions: tuple[Decision, ...] = ()
    all_stages: tuple[date, ...] = ()
    other_settings: tuple[date, ...] = ()
    _by_week: dict[date, Decision] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_week", {decision.week: decision for decision in self.decisions})

    def of(self, week: date) -> Decision:
        """The decision on a week that was looked at."""
        return self._by_week[week]

    @property
    def history(self) -> list[Range]:
        """The weeks before those through all stages that are to be made or made again, as ranges."""
        due = [
            decision.week
            for decision in self.decisions
            if decision.action in (Action.MAKE, Action.AGAIN) and decision.week not in self.all_stages
        ]
        return [self._range(weeks_between(first, last)) for first, last in ranges(due)]

    @property
    def due(self) -> Range | None:
        """The weeks through all stages; None if all of them can be kept as they are."""
        if all(self.of(week).action is Action.KEEP for week in self.all_stages):
            return None
        return self._range(self.all_stages)

    @property
    def held(self) -> list[Decision]:
        """The weeks that wait for something."""
        return [decision for decision in self.decisions if decision.action is Action.HOLD]

    @property
    def awaits_orders(self) -> bool:
        """Whether a week is held that newer orders would let through."""
        return any(decision.reason in WAITING for decision in self.held)

    def words(self) -> list[str]:
        """The plan in words, a line for each run of weeks with the same decision; kept weeks are left out."""
        due = _lines(decision for decision in self.decisions if decision.action is not Action.KEEP)
        return [*due, *self.notes()]

    def notes(self) -> list[str]:
        """What is kept though it could be made in another way, a line for each range."""
        return [
            f"keep {_span(first, last)}: made with other thresholds than shop.yaml has now; to judge it by "
            f"today's, run: rfm run --weeks {first}..{last}"
            for first, last in ranges(self.other_settings)
        ]

    def _range(self, weeks: Sequence[date]) -> Range:
        return Range(tuple(weeks), "; ".join(_lines(self.of(week) for week in weeks)))


def plan_weeks(
    shop: Shop, facts: Facts, asked: Sequence[date] = (), *, release_after: timedelta = timedelta(0)
) -> WeekPlan:
    """Decides what is to be done about every closed week.

    Args:
        shop: The grid and ``rules.max_order_gap_days``.
        facts: What is known.
        asked: Weeks to take through all stages, in order, whatever they are; weeks after the first of them
            are not looked at otherwise. Empty for the newest week that is not held.
        release_after: How long after the week's end it may begin. For runs that begin by themselves: the
            last orders of a week come in after it has closed.
    """
    if asked:
        before = weeks_between(shop.shop.first_week, asked[0])[:-1]
        decisions = [_older(facts, week, _hold(shop, facts, week)) for week in before]
        decisions += [_asked(facts, week, _hold(shop, facts, week)) for week in asked]
        return WeekPlan(tuple(decisions), tuple(asked), _other_settings(facts, decisions))
    closed = weeks_between(shop.shop.first_week, newest_closed_week(shop, facts.now))
    released = newest_closed_week(shop, facts.now - release_after)
    holds = {week: _hold(shop, facts, week, released) for week in closed}
    newest = max((week for week, reason in holds.items() if reason is None), default=None)
    decisions = [
        _newest(facts, week) if week == newest else _older(facts, week, holds[week]) for week in closed
    ]
    all_stages = () if newest is None else (newest,)
    return WeekPlan(tuple(decisions), all_stages, _other_settings(facts, decisions))


def _hold(shop: Shop, facts: Facts, week: date, released: date | None = None) -> Reason | None:
    """Why a week must wait, None if it needn't."""
    if facts.is_single_order:
        return Reason.ONE_ORDER
    if facts.newest_order_at is None:
        return Reason.NO_ORDERS
    last_day = as_of(week) - date.resolution
    if (last_day - facts.newest_order_at.date()).days > shop.rules.max_order_gap_days:
        return Reason.NOT_COVERED
    return Reason.TOO_EARLY if released is not None and week > released else None


def _older(facts: Facts, week: date, hold: Reason | None) -> Decision:
    if hold is not None:
        return Decision(week, Action.HOLD, hold)
    if week not in facts.made:
        return Decision(week, Action.MAKE, Reason.MISSING)
    if week in facts.corrected:
        return Decision(week, Action.AGAIN, Reason.CORRECTED)
    return Decision(week, Action.KEEP, Reason.UP_TO_DATE)


def _newest(facts: Facts, week: date) -> Decision:
    decision = _older(facts, week, None)
    if decision.action is not Action.KEEP:
        return decision
    if week not in facts.complete:
        return Decision(week, Action.MAKE, Reason.UNFINISHED)
    if week in facts.failed:
        return Decision(week, Action.AGAIN, Reason.FAILED)
    return decision


def _asked(facts: Facts, week: date, hold: Reason | None) -> Decision:
    if hold is not None:
        return Decision(week, Action.HOLD, hold)
    return Decision(week, Action.AGAIN if week in facts.made else Action.MAKE, Reason.ASKED)


def _other_settings(facts: Facts, decisions: Iterable[Decision]) -> tuple[date, ...]:
    kept = [decision.week for decision in decisions if decision.action in (Action.KEEP, Action.HOLD)]
    return tuple(week for week in kept if week in facts.other_settings)


def _lines(decisions: Iterable[Decision]) -> list[str]:
    lines = []
    for (action, reason), group in groupby(decisions, lambda decision: (decision.action, decision.reason)):
        weeks = [decision.week for decision in group]
        lines += [f"{action.value} {_span(first, last)}: {reason.value}" for first, last in ranges(weeks)]
    return lines


def _span(first: date, last: date) -> str:
    return name_range([first] if first == last else [first, last])


def plan_summary(plan: WeekPlan) -> list[str]:
    """What a command says of a plan beside what it made: weeks made again, held, with other thresholds."""
    shown = [
        decision
        for decision in plan.decisions
        if decision.action in (Action.AGAIN, Action.HOLD) and decision.week not in plan.all_stages
    ]
    return [*_lines(shown), *plan.notes()]


# Orders


class IngestReason(Enum):
    """Why orders are to be looked for; the value is the reason in words."""

    NO_WAREHOUSE = "there is no warehouse yet"
    NEW_EXPORTS = "the exports in orders/ changed since they were read"
    UNFINISHED = "an earlier ingest did not get to its end"
    FAILED = "the last ingest failed"
    INTERVAL = "the orders were last looked at some time ago"


@dataclass(frozen=True)
class OrderFacts:
    """What is known of where the orders come from.

    Attributes:
        is_read_from_files: Whether ``orders/`` is where they come from; it can be looked at cheaply.
        has_exports: Whether there is an export at all.
        has_warehouse: Whether there is a warehouse.
        is_changed: Whether the exports are others than those last read.
        is_unfinished: Whether orders were read that are not added up, or whose checks did not pass.
        has_failed: Whether the last ingest failed.
        looked_at: When the last ingest began, on the shop's clock; None if never.
    """

    is_read_from_files: bool
    has_exports: bool = False
    has_warehouse: bool = True
    is_changed: bool = False
    is_unfinished: bool = False
    has_failed: bool = False
    looked_at: datetime | None = None


INTERVAL_WAITING, INTERVAL = timedelta(hours=1), timedelta(days=1)
"""How often orders are looked for that don't lie in ``orders/``: while a week waits for them, and else."""


def plan_ingest(
    orders: OrderFacts, plan: WeekPlan, now: datetime, released_at: datetime
) -> IngestReason | None:
    """Why orders are to be looked for now; None if there is no need.

    Files are looked for when they changed. What lies elsewhere can't be looked at from here, so it is read in
    intervals, and once before the week that was released begins.

    Args:
        orders: What is known of where they come from.
        plan: The plan for the weeks, from the orders as they are.
        now: The moment, on the shop's clock.
        released_at: When the newest closed week could begin.
    """
    if orders.is_read_from_files and not orders.has_exports:
        return None
    if not orders.has_warehouse:
        return IngestReason.NO_WAREHOUSE
    if orders.is_read_from_files:
        if orders.is_changed:
            return IngestReason.NEW_EXPORTS
        if orders.has_failed:
            return IngestReason.FAILED
        return IngestReason.UNFINISHED if orders.is_unfinished else None
    interval = INTERVAL_WAITING if plan.awaits_orders or orders.has_failed else INTERVAL
    seen = orders.looked_at
    if seen is None or seen < released_at or now - seen >= interval:
        return IngestReason.INTERVAL
    return None


def cause_of(job: str, weeks: Sequence[date], *causes: object) -> str:
    """A name for a decision, the same as long as its cause is: 16 hexadecimal digits."""
    text = repr((job, [str(week) for week in weeks], *causes))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def release_time(shop: Shop, now: datetime, release_after: timedelta) -> datetime:
    """When the newest closed week that may begin by itself could begin, at or before ``now``."""
    week = newest_closed_week(shop, now - release_after)
    return datetime.combine(week + WEEK, datetime.min.time()) + release_after

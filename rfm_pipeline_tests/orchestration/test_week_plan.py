"""The week plan: what is made, made again, kept and held, at both sides of every boundary, and why."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_pipeline.orchestration.week_plan import (
    INTERVAL,
    INTERVAL_WAITING,
    Action,
    Facts,
    IngestReason,
    OrderFacts,
    Reason,
    WeekPlan,
    cause_of,
    plan_ingest,
    plan_summary,
    plan_weeks,
    release_time,
)
from rfm_pipeline.shop import Shop
from rfm_pipeline.weeks import newest_covered_week
from rfm_pipeline_tests.helpers import make_shop

MONDAY = date(2024, 1, 1)
SIX_HOURS = timedelta(hours=6)


def nth(number: int) -> date:
    return MONDAY + timedelta(weeks=number)


def at(day: date, hour: int = 12, minute: int = 0, second: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, second)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A grid without an end, from 1 January 2024; the orders may end three days before a week does."""
    return make_shop(tmp_path_factory.mktemp("shop"), shop={"first_week": MONDAY})


def weeks(*numbers: int) -> frozenset[date]:
    return frozenset(nth(number) for number in numbers)


# weeks 0 to 3 have closed, and the orders reach the end of week 3
KNOWN = Facts(
    now=at(nth(4)),
    newest_order_at=at(nth(4) - timedelta(days=1)),
    made=weeks(0, 1, 2, 3),
    complete=weeks(3),
    inputs_version=1,
)


def decided(plan: WeekPlan) -> list[tuple[int, Action, Reason]]:
    return [((d.week - MONDAY).days // 7, d.action, d.reason) for d in plan.decisions]


KEPT = (Action.KEEP, Reason.UP_TO_DATE)


# One week at a time


def test_a_home_that_is_up_to_date_keeps_every_week(shop: Shop) -> None:
    plan = plan_weeks(shop, KNOWN)
    assert decided(plan) == [(number, *KEPT) for number in range(4)]
    assert (plan.history, plan.due, plan.held, plan.words()) == ([], None, [], [])
    assert plan.all_stages == (nth(3),)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"made": weeks(0, 2, 3)}, {1: (Action.MAKE, Reason.MISSING)}),
        ({"corrected": weeks(1)}, {1: (Action.AGAIN, Reason.CORRECTED)}),
        # a week that is missing can't be made "again", whatever is noted of it
        ({"made": weeks(0, 2, 3), "corrected": weeks(1)}, {1: (Action.MAKE, Reason.MISSING)}),
        ({"made": weeks(0, 1, 2), "complete": weeks()}, {3: (Action.MAKE, Reason.MISSING)}),
        ({"corrected": weeks(3)}, {3: (Action.AGAIN, Reason.CORRECTED)}),
        ({"complete": weeks()}, {3: (Action.MAKE, Reason.UNFINISHED)}),
        # only the newest week goes through all stages
        ({"complete": weeks(0, 1, 2, 3)}, {}),
        ({"failed": weeks(3)}, {3: (Action.AGAIN, Reason.FAILED)}),
        ({"failed": weeks(2)}, {}),
        ({"other_settings": weeks(0, 3)}, {}),
    ],
)
def test_each_fact_changes_the_week_that_it_is_about(
    shop: Shop, facts: dict[str, frozenset[date]], expected: dict[int, tuple[Action, Reason]]
) -> None:
    plan = plan_weeks(shop, replace(KNOWN, **facts))
    assert decided(plan) == [(number, *expected.get(number, KEPT)) for number in range(4)]
    assert bool(plan.due) is (3 in expected)
    assert [part.weeks for part in plan.history] == [(nth(n),) for n in expected if n != 3]


# Coverage, to the day


@pytest.mark.parametrize(
    ("days_before_the_end", "is_covered"), [(0, True), (3, True), (4, False), (60, False)]
)
def test_a_week_is_held_once_the_orders_end_more_than_three_days_early(
    shop: Shop, days_before_the_end: int, is_covered: bool
) -> None:
    newest = at(nth(4) - timedelta(days=1 + days_before_the_end), 23, 59, 59)
    plan = plan_weeks(shop, replace(KNOWN, newest_order_at=newest))
    assert (plan.of(nth(3)).action is Action.KEEP) is is_covered
    if not is_covered:
        assert plan.of(nth(3)).reason is Reason.NOT_COVERED
        assert plan.awaits_orders


def test_the_week_before_a_held_one_goes_through_all_stages(shop: Shop) -> None:
    newest = at(nth(3) - timedelta(days=1))
    plan = plan_weeks(shop, replace(KNOWN, newest_order_at=newest, complete=weeks(1)))
    assert plan.all_stages == (nth(2),)
    assert plan.of(nth(2)).reason is Reason.UNFINISHED
    assert [decision.week for decision in plan.held] == [nth(3)]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"newest_order_at": None}, Reason.NO_ORDERS),
        ({"is_single_order": True}, Reason.ONE_ORDER),
        ({"newest_order_at": at(MONDAY)}, Reason.NOT_COVERED),
    ],
)
def test_without_enough_orders_every_week_is_held(
    shop: Shop, facts: dict[str, object], reason: Reason
) -> None:
    plan = plan_weeks(shop, replace(KNOWN, **facts))  # type: ignore[arg-type]
    assert decided(plan) == [(number, Action.HOLD, reason) for number in range(4)]
    assert (plan.all_stages, plan.due, plan.history) == ((), None, [])


# The clock, to the second


@pytest.mark.parametrize(
    ("now", "newest"),
    [
        (at(nth(4), 0) - timedelta(seconds=1), 2),
        (at(nth(4), 0), 3),
    ],
)
def test_a_command_takes_the_week_from_its_last_moment_on(shop: Shop, now: datetime, newest: int) -> None:
    plan = plan_weeks(shop, replace(KNOWN, now=now))
    assert plan.all_stages == (nth(newest),)
    assert len(plan.decisions) == newest + 1


@pytest.mark.parametrize(
    ("now", "newest"),
    [
        (at(nth(4), 0) - timedelta(seconds=1), 2),
        (at(nth(4), 0), 2),
        (at(nth(4), 5, 59, 59), 2),
        (at(nth(4), 6), 3),
    ],
)
def test_a_run_that_begins_by_itself_waits_until_monday_at_six(
    shop: Shop, now: datetime, newest: int
) -> None:
    plan = plan_weeks(shop, replace(KNOWN, now=now, made=weeks(0, 1, 2)), release_after=SIX_HOURS)
    assert plan.all_stages == (nth(newest),)
    held = [decision.reason for decision in plan.held]
    assert held == ([Reason.TOO_EARLY] if newest == 2 and now >= at(nth(4), 0) else [])
    assert not plan.awaits_orders


def test_the_grid_ends_with_its_last_week(tmp_path: Path) -> None:
    ended = make_shop(tmp_path, shop={"first_week": MONDAY, "last_week": nth(2)})
    plan = plan_weeks(ended, replace(KNOWN, now=at(nth(40))), release_after=SIX_HOURS)
    assert [decision.week for decision in plan.decisions] == [nth(0), nth(1), nth(2)]
    assert plan.all_stages == (nth(2),)


@pytest.mark.parametrize(("now", "count"), [(at(nth(1), 0), 1), (at(nth(1), 0) - timedelta(seconds=1), 0)])
def test_before_the_first_week_has_closed_there_is_nothing_to_decide(
    shop: Shop, now: datetime, count: int
) -> None:
    assert len(plan_weeks(shop, replace(KNOWN, now=now)).decisions) == count


# Weeks that are asked for


def test_asked_weeks_go_through_all_stages_and_what_lies_before_them_is_filled_in(shop: Shop) -> None:
    facts = replace(KNOWN, made=weeks(1, 2, 3), corrected=weeks(3))
    plan = plan_weeks(shop, facts, [nth(1), nth(2)])
    assert decided(plan) == [
        (0, Action.MAKE, Reason.MISSING),
        (1, Action.AGAIN, Reason.ASKED),
        (2, Action.AGAIN, Reason.ASKED),
    ]
    assert plan.all_stages == (nth(1), nth(2))
    assert [part.weeks for part in plan.history] == [(nth(0),)]
    assert plan.due is not None


def test_an_asked_week_that_is_not_covered_is_held(shop: Shop) -> None:
    plan = plan_weeks(shop, KNOWN, [nth(3), nth(4)])
    assert [(d.action, d.reason) for d in plan.decisions[-2:]] == [
        (Action.AGAIN, Reason.ASKED),
        (Action.HOLD, Reason.NOT_COVERED),
    ]


# Words


def test_the_plan_in_words_joins_weeks_with_the_same_reason(shop: Shop) -> None:
    facts = replace(
        KNOWN,
        now=at(nth(7)),
        newest_order_at=at(nth(6) - timedelta(days=1)),
        made=weeks(0, 1, 2, 3),
        corrected=weeks(1, 2),
        other_settings=weeks(0, 1, 3),
    )
    plan = plan_weeks(shop, facts)
    assert plan.words() == [
        "make again 2024-01-08..2024-01-15: orders of it or of an earlier week were corrected since it was "
        "made",
        "make 2024-01-29..2024-02-05: it was not made yet",
        "hold 2024-02-12: the orders do not reach its end yet",
        "keep 2024-01-01: made with other thresholds than shop.yaml has now; to judge it by today's, "
        "run: rfm run --weeks 2024-01-01..2024-01-01",
        "keep 2024-01-22: made with other thresholds than shop.yaml has now; to judge it by today's, "
        "run: rfm run --weeks 2024-01-22..2024-01-22",
    ]
    assert [(part.weeks, part.reason) for part in plan.history] == [
        ((nth(1), nth(2)), plan.words()[0]),
        ((nth(4),), "make 2024-01-29: it was not made yet"),
    ]
    assert plan.due is not None
    assert plan.due.reason == "make 2024-02-05: it was not made yet"
    # a command says what it fills in beside this
    assert plan_summary(plan) == [plan.words()[0], *plan.words()[2:]]


# Any facts, against the rules read one by one


@st.composite
def any_facts(draw: st.DrawFn) -> Facts:
    some = st.frozensets(st.integers(0, 7).map(nth))
    return Facts(
        now=draw(st.datetimes(at(MONDAY, 0), at(nth(8)))),
        newest_order_at=draw(st.none() | st.datetimes(at(MONDAY, 0), at(nth(8)))),
        is_single_order=draw(st.integers(0, 9)) == 0,
        made=draw(some),
        corrected=draw(some),
        complete=draw(some),
        failed=draw(some),
        other_settings=draw(some),
    )


def by_the_rules(facts: Facts, wait: timedelta) -> dict[date, Action]:
    """A reading of the rules, week by week from the newest to the oldest."""
    found: dict[date, Action] = {}
    is_newest = True
    for number in range(7, -1, -1):
        week, end = nth(number), at(nth(number + 1), 0)
        if facts.now < end:
            continue
        is_reached = (
            facts.newest_order_at is not None
            and not facts.is_single_order
            and facts.newest_order_at >= end - timedelta(days=4)
        )
        if not is_reached or facts.now < end + wait:
            found[week] = Action.HOLD
            continue
        found[week] = Action.KEEP
        if is_newest and (week not in facts.complete or week in facts.failed):
            found[week] = Action.MAKE if week not in facts.complete else Action.AGAIN
        if week in facts.corrected:
            found[week] = Action.AGAIN
        if week not in facts.made:
            found[week] = Action.MAKE
        is_newest = False
    return found


@given(facts=any_facts(), wait=st.sampled_from([timedelta(0), SIX_HOURS]))
def test_any_facts_lead_where_the_rules_lead(shop: Shop, facts: Facts, wait: timedelta) -> None:
    plan = plan_weeks(shop, facts, release_after=wait)
    expected = by_the_rules(facts, wait)
    assert {d.week: d.action for d in plan.decisions} == expected
    assert [d.week for d in plan.decisions] == sorted(expected)
    ready = [week for week, action in expected.items() if action is not Action.HOLD]
    assert plan.all_stages == ((max(ready),) if ready else ())
    if not wait and not facts.is_single_order:
        covered = newest_covered_week(shop, facts.newest_order_at, facts.now)
        assert plan.all_stages == (() if covered is None else (covered,))


@given(facts=any_facts())
def test_every_week_to_make_is_in_exactly_one_run(shop: Shop, facts: Facts) -> None:
    plan = plan_weeks(shop, facts)
    runs = [*plan.history, *([plan.due] if plan.due else [])]
    in_runs = [week for part in runs for week in part.weeks]
    due = [d.week for d in plan.decisions if d.action in (Action.MAKE, Action.AGAIN)]
    assert sorted(in_runs) == due
    assert all(
        b - a == timedelta(weeks=1) for part in runs for a, b in zip(part.weeks, part.weeks[1:], strict=False)
    )
    assert set(plan.other_settings) == {
        d.week for d in plan.decisions if d.week in facts.other_settings and d.week not in due
    }


# Orders

FILES = OrderFacts(is_read_from_files=True, has_exports=True)
NOW = at(nth(4))
DATABASE = OrderFacts(is_read_from_files=False, looked_at=NOW - timedelta(minutes=1))
RELEASED = NOW - timedelta(days=2)
COVERED = WeekPlan()


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, None),
        ({"is_changed": True}, IngestReason.NEW_EXPORTS),
        ({"has_failed": True}, IngestReason.FAILED),
        ({"is_unfinished": True}, IngestReason.UNFINISHED),
        ({"has_warehouse": False}, IngestReason.NO_WAREHOUSE),
        # an empty folder can't be read, and doing so would fail
        ({"has_warehouse": False, "has_exports": False}, None),
        ({"looked_at": NOW - timedelta(days=400)}, None),
    ],
)
def test_files_are_looked_for_when_they_changed(facts: dict[str, bool], reason: IngestReason | None) -> None:
    assert plan_ingest(replace(FILES, **facts), COVERED, NOW, RELEASED) is reason  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("is_waiting", "ago", "is_due"),
    [
        (True, INTERVAL_WAITING, True),
        (True, INTERVAL_WAITING - timedelta(seconds=1), False),
        (False, INTERVAL_WAITING, False),
        (False, INTERVAL, True),
        (False, INTERVAL - timedelta(seconds=1), False),
    ],
)
def test_a_database_is_read_in_intervals(shop: Shop, is_waiting: bool, ago: timedelta, is_due: bool) -> None:
    plan = plan_weeks(shop, replace(KNOWN, newest_order_at=None if is_waiting else KNOWN.newest_order_at))
    reason = plan_ingest(replace(DATABASE, looked_at=NOW - ago), plan, NOW, RELEASED)
    assert reason is (IngestReason.INTERVAL if is_due else None)


@pytest.mark.parametrize(
    ("looked_at", "is_due"), [(RELEASED, False), (RELEASED - timedelta(seconds=1), True), (None, True)]
)
def test_a_database_is_read_before_a_new_week_begins(looked_at: datetime | None, is_due: bool) -> None:
    reason = plan_ingest(
        replace(DATABASE, looked_at=looked_at), COVERED, RELEASED + timedelta(seconds=1), RELEASED
    )
    assert reason is (IngestReason.INTERVAL if is_due else None)


def test_a_week_is_released_on_monday_at_six(shop: Shop) -> None:
    assert release_time(shop, at(nth(4), 6), SIX_HOURS) == at(nth(4), 6)
    assert release_time(shop, at(nth(4), 5, 59, 59), SIX_HOURS) == at(nth(3), 6)


def test_the_same_cause_has_the_same_name_and_any_other_another() -> None:
    names = [
        cause_of("history_job", [nth(0), nth(1)], 1, "a"),
        cause_of("history_job", [nth(0)], 1, "a"),
        cause_of("weekly_job", [nth(0), nth(1)], 1, "a"),
        cause_of("history_job", [nth(0), nth(1)], 2, "a"),
        cause_of("history_job", [nth(0), nth(1)], 1, "b"),
    ]
    assert len(set(names)) == len(names)
    assert cause_of("history_job", [nth(0), nth(1)], 1, "a") == names[0]

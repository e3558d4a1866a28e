"""The guards, each on both sides of its border."""

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import pytest

from rfm_pipeline.contacts.reach import Reach
from rfm_pipeline.orchestration.run_tags import CAUSE_TAG
from rfm_pipeline.recall.guards import (
    refuse_data,
    refuse_size,
    refuse_verdicts,
    refuse_weeks,
    refuse_worklist,
)
from rfm_pipeline.recall.schemas import RECALL_LIST, TAG_PLAN
from rfm_pipeline.recall.tagging import opted_out_since, plan_differs, planned_customers
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.checks import TableCheck, run_checks
from rfm_pipeline_tests.helpers import make_shop
from rfm_pipeline_tests.recall.recall_home import (
    CHANNELS,
    RecallHome,
    make_recall_home,
    reach_of,
    silent,
    week,
)

WEEK = date(2024, 3, 4)
WEEK_BEFORE = date(2024, 2, 26)
WEEK_AFTER = date(2024, 3, 11)
MONDAY_MORNING = datetime(2024, 3, 11, 6, 0)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return make_shop(tmp_path)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> RecallHome:
    recall_home = make_recall_home(tmp_path_factory.mktemp("scene"))
    recall_home.silent_are([*silent("a"), *silent("b")])
    recall_home.make_list(week(0))
    recall_home.last_orders_are([week(0)], {})
    recall_home.make_plan(week(0))
    return recall_home


@pytest.fixture
def recall_home(scene: RecallHome, tmp_path: Path) -> RecallHome:
    """Two customers on the list and in the plan."""
    return scene.copy_to(tmp_path)


# --- which weeks ----------------------------------------------------------------------------------


def test_the_newest_closed_week_may_be_sent(shop: Shop) -> None:
    assert refuse_weeks(shop, [WEEK], {"dagster/partition": "2024-03-04"}, MONDAY_MORNING) is None


def test_a_backfill_never_sends(shop: Shop) -> None:
    reason = refuse_weeks(shop, [WEEK], {"dagster/backfill": "abcdef"}, MONDAY_MORNING)
    assert reason == "this run belongs to a backfill; backfills never send"


def test_a_range_of_weeks_is_not_sent(shop: Shop) -> None:
    reason = refuse_weeks(shop, [WEEK_BEFORE, WEEK], {}, MONDAY_MORNING)
    assert reason is not None
    assert "2 weeks (2024-02-26..2024-03-04)" in reason


def test_a_range_is_not_sent_even_where_past_weeks_are_allowed(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, recall={"allow_past_weeks": True})
    assert refuse_weeks(shop, [WEEK_BEFORE, WEEK], {}, MONDAY_MORNING) is not None
    assert refuse_weeks(shop, [WEEK_BEFORE], {"dagster/backfill": "abcdef"}, MONDAY_MORNING) is not None


@pytest.mark.parametrize(("allowed", "refused"), [(False, True), (True, False)])
def test_a_past_week_is_sent_only_if_the_shop_allows_it(tmp_path: Path, allowed: bool, refused: bool) -> None:
    shop = make_shop(tmp_path, recall={"allow_past_weeks": allowed})
    reason = refuse_weeks(shop, [WEEK_BEFORE], {}, MONDAY_MORNING)
    assert (reason is not None) == refused
    if reason is not None:
        assert "not the newest closed week (2024-03-04)" in reason
        assert "recall.allow_past_weeks" in reason


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (datetime(2024, 3, 10, 23, 59, 59), "week 2024-03-04 is not over yet"),
        (datetime(2024, 3, 11, 0, 0, 0), None),
    ],
)
@pytest.mark.parametrize("allowed", [False, True])
def test_a_week_is_sent_from_the_midnight_after_its_sunday(
    tmp_path: Path, now: datetime, reason: str | None, allowed: bool
) -> None:
    shop = make_shop(tmp_path, recall={"allow_past_weeks": allowed})
    assert refuse_weeks(shop, [WEEK], {}, now) == reason


def test_a_week_is_past_from_the_next_midnight_but_one(shop: Shop) -> None:
    assert refuse_weeks(shop, [WEEK], {}, datetime(2024, 3, 17, 23, 59, 59)) is None
    assert refuse_weeks(shop, [WEEK], {}, datetime(2024, 3, 18, 0, 0, 0)) is not None


def test_where_the_grid_has_an_end_its_last_week_stays_the_newest(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, shop={"last_week": WEEK})
    years_later = datetime(2030, 1, 1)
    assert refuse_weeks(shop, [WEEK], {}, years_later) is None
    assert refuse_weeks(shop, [WEEK_BEFORE], {}, years_later) is not None


def test_a_run_that_began_by_itself_sends_no_past_week_even_where_the_shop_allows_it(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, recall={"allow_past_weeks": True})
    by_itself = {CAUSE_TAG: "2024-02-26 is missing"}
    assert refuse_weeks(shop, [WEEK_BEFORE], by_itself, MONDAY_MORNING) == (
        "week 2024-02-26 is not the newest closed week (2024-03-04), and no other is sent by a run that "
        "began by itself"
    )
    assert refuse_weeks(shop, [WEEK], by_itself, MONDAY_MORNING) is None


# --- the team's work list ---------------------------------------------------------------------------


def test_a_work_list_is_made_of_one_week(shop: Shop) -> None:
    weeks = [WEEK_BEFORE, WEEK]
    assert refuse_worklist(shop, weeks, weeks, MONDAY_MORNING) == (
        "this run is asked for 2 weeks; a work list is made of a single one"
    )
    assert refuse_worklist(shop, [WEEK], weeks, MONDAY_MORNING) is None


def test_no_work_list_is_made_of_a_list_that_was_not_sent(shop: Shop) -> None:
    assert refuse_worklist(shop, [WEEK], [WEEK_BEFORE], MONDAY_MORNING) == (
        "the list of week 2024-03-04 was not sent, so nobody on it may be contacted"
    )


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize(
    ("now", "is_over"), [(datetime(2024, 3, 24, 23, 59, 59), False), (datetime(2024, 3, 25, 0, 0, 0), True)]
)
def test_a_work_list_is_made_until_the_midnight_in_which_its_campaign_ends(
    tmp_path: Path, now: datetime, is_over: bool, allowed: bool
) -> None:
    shop = make_shop(tmp_path, recall={"campaign_days": 14, "allow_past_weeks": allowed})
    refused = "the campaign of week 2024-03-04 ended on 2024-03-25"
    expected = refused if is_over and not allowed else None
    assert refuse_worklist(shop, [WEEK], [WEEK], now) == expected


def test_the_last_week_of_a_grid_keeps_its_work_list(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, shop={"last_week": WEEK})
    years_later = datetime(2030, 1, 1)
    assert refuse_worklist(shop, [WEEK], [WEEK], years_later) is None
    assert refuse_worklist(shop, [WEEK_BEFORE], [WEEK_BEFORE], years_later) is not None


# --- how many -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("customers", "refused"), [(0, False), (10, False), (11, True)])
def test_a_plan_may_change_so_many_customers_and_no_more(
    tmp_path: Path, customers: int, refused: bool
) -> None:
    shop = make_shop(tmp_path, recall={"max_changes": 10})
    assert (refuse_size(shop, customers) is not None) == refused


def test_customers_are_counted_not_tags(recall_home: RecallHome) -> None:
    assert planned_customers(recall_home.warehouse, week(0)) == 2
    assert planned_customers(recall_home.warehouse, week(1)) == 0


# --- data checks ----------------------------------------------------------------------------------

EXPECTED = [("raw_orders", "nothing_lost"), ("tag_plan", "unique_key")]


def test_all_checks_passed_is_the_only_way() -> None:
    assert refuse_verdicts(EXPECTED, dict.fromkeys(EXPECTED, True)) is None


def test_checks_nobody_asked_for_do_not_matter() -> None:
    stored = dict.fromkeys(EXPECTED, True) | {("raw_orders", "few_rejected_rows"): False}
    assert refuse_verdicts(EXPECTED, stored) is None


def test_a_failed_check_is_named() -> None:
    stored = {EXPECTED[0]: True, EXPECTED[1]: False}
    assert refuse_verdicts(EXPECTED, stored) == "data checks failed: tag_plan.unique_key"


def test_a_check_without_a_verdict_is_named() -> None:
    reason = refuse_verdicts(EXPECTED, {EXPECTED[1]: True})
    assert reason == "data checks have no verdict for this week: raw_orders.nothing_lost"


# --- what changed since the list was made ---------------------------------------------------------


@pytest.mark.parametrize(
    ("opted_out", "late"),
    [
        ([], 0),
        ([("a", "sms"), ("b", "email")], 0),
        ([("a", "wecom")], 1),
        ([("a", "wecom"), ("b", "wecom"), ("stranger", "wecom")], 2),
        ([("b", channel) for channel in CHANNELS], 1),
    ],
)
def test_who_opted_out_since_the_list_was_made_is_counted(
    recall_home: RecallHome, opted_out: list[tuple[str, str]], late: int
) -> None:
    assert opted_out_since(recall_home.warehouse, reach_of(opted_out), week(0)) == late


def test_a_tag_that_is_taken_off_needs_no_consent(recall_home: RecallHome) -> None:
    recall_home.send(week(0))
    recall_home.silent_are([], [week(9)])
    recall_home.last_orders_are([week(9)], {})
    recall_home.make_list(week(9))
    recall_home.make_plan(week(9))
    assert planned_customers(recall_home.warehouse, week(9)) == 2
    assert opted_out_since(recall_home.warehouse, reach_of([("a", "wecom")]), week(9)) == 0


def test_a_plan_that_is_older_than_its_list_is_noticed(recall_home: RecallHome) -> None:
    def differing() -> int:
        return plan_differs(recall_home.warehouse, recall_home.reach, week(0))

    assert differing() == 0
    both = [row for name in ("a", "b") for row in silent(name)]
    recall_home.silent_are(silent("a"))
    recall_home.make_list(week(0))
    # the plan still tags a customer who isn't on the list any more
    assert differing() == 1
    recall_home.make_plan(week(0))
    assert differing() == 0
    recall_home.silent_are(both)
    recall_home.make_list(week(0))
    # the list now has a customer whom the plan doesn't tag
    assert differing() == 1
    recall_home.reach = reach_of([("b", "wecom")])
    assert differing() == 0


# --- list and plan of a week, all guards together --------------------------------------------------

PLAN_KEY = (TAG_PLAN.name, "unique_key")


def refused(
    recall_home: RecallHome, required: Sequence[tuple[str, str]] = (), *, asks_for_reach: bool = True
) -> str | None:
    """What the guards say of week 0, and that they read who may be reached only where it matters."""
    readings: list[Reach] = []

    def read() -> Reach:
        readings.append(recall_home.reach)
        return recall_home.reach

    reason = refuse_data(recall_home.warehouse, recall_home.ledger, recall_home.shop, week(0), required, read)
    assert len(readings) == asks_for_reach
    return reason


def check_answers(recall_home: RecallHome, number: int, checked: date) -> None:
    """Stores a verdict on the plan's key: a number above 0 is a failure."""
    check = TableCheck(*PLAN_KEY, description="", sql=f"select {number} as duplicated_rows")
    with recall_home.warehouse.transaction() as session:
        run_checks(session, [check], [checked], {})


def orders_change(recall_home: RecallHome, day: date) -> None:
    with recall_home.warehouse.transaction() as session:
        session.note_input_changes(f"select date '{day}' as week")


def test_a_list_and_its_plan_may_be_acted_upon(recall_home: RecallHome) -> None:
    check_answers(recall_home, 0, week(0))
    assert refused(recall_home, [PLAN_KEY]) is None


def test_a_check_that_failed_or_never_ran_in_this_week_keeps_it_from_being_sent(
    recall_home: RecallHome,
) -> None:
    check_answers(recall_home, 0, week(1))
    assert refused(recall_home, [PLAN_KEY], asks_for_reach=False) == (
        "data checks have no verdict for this week: tag_plan.unique_key"
    )
    check_answers(recall_home, 1, week(0))
    assert refused(recall_home, [PLAN_KEY], asks_for_reach=False) == (
        "data checks failed: tag_plan.unique_key"
    )


def test_orders_that_changed_up_to_the_week_make_its_list_stale(recall_home: RecallHome) -> None:
    orders_change(recall_home, week(1))
    assert refused(recall_home) is None
    orders_change(recall_home, week(0))
    assert refused(recall_home, asks_for_reach=False) == (
        f"orders of week {week(0)} changed since the list was made; materialize the week again"
    )
    with recall_home.warehouse.transaction() as session:
        assert session.stale_weeks(RECALL_LIST.name) == {week(0)}


def test_a_plan_of_more_customers_than_allowed_is_refused(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path, max_changes=1)
    recall_home.silent_are([*silent("a"), *silent("b")])
    recall_home.last_orders_are([week(0)], {})
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    assert refused(recall_home, asks_for_reach=False) == (
        "the plan changes 2 customers, more than recall.max_changes (1); look at tag_plan before raising it"
    )


def test_an_opt_out_or_another_list_since_the_plan_is_refused(recall_home: RecallHome) -> None:
    recall_home.reach = reach_of([("b", "wecom")])
    assert refused(recall_home) == "1 listed customers opted out since the list was made; make it again"
    recall_home.reach = reach_of()
    recall_home.silent_are(silent("a"))
    recall_home.make_list(week(0))
    assert refused(recall_home) == "the plan and the list differ by 1 customers; make the plan again"


def test_a_sealed_week_is_finished_whatever_changed_since_but_for_a_failed_check(
    recall_home: RecallHome,
) -> None:
    recall_home.seal(week(0))
    recall_home.reach = reach_of([("a", "wecom")])
    orders_change(recall_home, week(0))
    assert refused(recall_home, asks_for_reach=False) is None
    check_answers(recall_home, 1, week(0))
    assert refused(recall_home, [PLAN_KEY], asks_for_reach=False) is not None

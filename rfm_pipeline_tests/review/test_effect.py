"""Recall against hold-out: who is compared, what is said, and at which borders the verdict turns."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rfm_pipeline.review.effect import Arm, compare_arms, judge, write_recall_effect
from rfm_pipeline.review.outcomes import write_recall_outcomes
from rfm_pipeline.review.schemas import RECALL_EFFECT, VERDICTS
from rfm_pipeline.review.statistics import Interval, Sums, newcombe, welch, wilson
from rfm_pipeline_tests.recall.recall_home import RecallHome, make_recall_home, week
from rfm_pipeline_tests.review.test_outcomes import DAY, OPENS, Assigned, Order, lists_are, orders_are

LATE = week(12)


@pytest.fixture
def recall_home(tmp_path: Path) -> RecallHome:
    return make_recall_home(tmp_path, holdout_share=0.2)


def effects(recall_home: RecallHome, day: date = LATE) -> dict[tuple[str, date | None, str], dict[str, Any]]:
    """The rows of a week by scope, campaign and class."""
    write_recall_outcomes(recall_home.warehouse, recall_home.ledger, recall_home.shop, [day])
    write_recall_effect(recall_home.warehouse, recall_home.ledger, recall_home.shop, [day])
    rows = recall_home.warehouse.read(
        "select * from recall_effect where week = $week", {"week": day}
    ).to_dicts()
    return {(row["scope"], row["campaign_week"], row["churn_class"]): row for row in rows}


def people(count: int, prefix: str, **other: Any) -> list[Assigned]:
    return [Assigned(f"{prefix}{number:03}", **other) for number in range(count)]


def buys(customers: list[Assigned], amount: int = 100) -> list[Order]:
    return [
        Order(f"o-{row.customer_id}", row.customer_id, OPENS + (row.week - week(0)) + DAY, amount)
        for row in customers
    ]


# --- the verdict ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.0001, 0.2, "works"),
        (0.0, 0.2, "does_no_harm"),
        (-0.0099, 0.2, "does_no_harm"),
        (-0.01, 0.2, "too_small"),
        (-0.2, 0.0, "too_small"),
        (-0.2, -0.0001, "does_harm"),
        # ruled out by the margin, and yet below 0: harm all the same
        (-0.005, -0.001, "does_harm"),
    ],
)
def test_the_verdict_turns_where_an_end_of_the_interval_passes_zero_or_the_margin(
    low: float, high: float, verdict: str
) -> None:
    said, reason = judge(Interval((low + high) / 2, low, high), 0.05, 0.01, is_final=True)
    assert said == verdict
    assert reason


def test_nothing_is_judged_while_the_window_is_open() -> None:
    assert judge(Interval(0.5, 0.4, 0.6), 0.05, 0.01, is_final=False)[0] == "too_early"


def test_without_a_hold_out_nothing_can_be_reported() -> None:
    verdict, reason = judge(None, None, 0.01, is_final=True)
    assert (verdict, "nothing to compare with" in reason) == ("too_small", True)


def test_too_small_says_which_effect_would_show() -> None:
    assert "6.20%" in judge(Interval(0.0, -0.1, 0.1), 0.062, 0.01, is_final=True)[1]


def test_every_verdict_has_its_chinese_word() -> None:
    assert set(VERDICTS) == {"too_early", "too_small", "works", "does_no_harm", "does_harm"}


# --- two arms -------------------------------------------------------------------------------------


def arm(assigned: int, amounts: list[float], reached: int = 0) -> Arm:
    values = np.array(amounts)
    return Arm(assigned, reached, len(amounts), Decimal(str(sum(amounts))), float((values**2).sum()), values)


def test_two_arms_are_compared_by_assignment(recall_home: RecallHome) -> None:
    recall, holdout = arm(40, [100.0, 50.0, 30.0, 20.0], reached=31), arm(10, [80.0], reached=2)
    found = compare_arms(recall, holdout, recall_home.shop, is_final=True, seed=1)
    rate = newcombe(4, 40, 1, 10)
    assert (found["rate_lift"], found["rate_lift_low"], found["rate_lift_high"]) == (
        rate.estimate,
        rate.low,
        rate.high,
    )
    sales = welch(Sums(40, 200.0, 13_800.0), Sums(10, 80.0, 6400.0))
    assert sales is not None
    assert found["sales_lift"] == pytest.approx(200 / 40 - 80 / 10)
    assert (found["sales_lift_low"], found["sales_lift_high"]) == pytest.approx((sales.low, sales.high))
    assert found["sales_lift_boot_low"] < found["sales_lift"] < found["sales_lift_boot_high"]
    assert found["incremental_customers"] == pytest.approx(40 * (4 / 40 - 1 / 10))
    assert found["incremental_customers_low"] == pytest.approx(40 * rate.low)
    assert found["incremental_sales_high"] == pytest.approx(40 * sales.high)
    assert (found["recall_reached"], found["holdout_contaminated"]) == (31, 2)
    assert (found["recall_net_sales"], found["holdout_net_sales"]) == (200, 80)
    for name, own in (("recall_rate", wilson(4, 40)), ("holdout_rate", wilson(1, 10))):
        figures = tuple(found[f"{name}{end}"] for end in ("", "_low", "_high"))
        assert figures == (own.estimate, own.low, own.high)


def test_a_comparison_fills_every_column_of_the_table_that_is_not_a_place(recall_home: RecallHome) -> None:
    found = compare_arms(arm(40, [1.0, 2.0]), arm(10, [1.0]), recall_home.shop, is_final=True, seed=1)
    places = {"week", "scope", "campaign_week", "churn_class", "campaigns", "left_out", "is_final"}
    assert set(found) == set(RECALL_EFFECT.schema.columns) - places
    assert [name for name, figure in found.items() if figure is None] == []


def test_without_a_hold_out_the_recall_arm_has_a_rate_and_nothing_is_compared(
    recall_home: RecallHome,
) -> None:
    found = compare_arms(arm(40, [100.0]), arm(0, []), recall_home.shop, is_final=True, seed=1)
    assert (found["recall_rate"], found["holdout_rate"], found["rate_lift"]) == (1 / 40, None, None)
    assert (found["incremental_customers"], found["incremental_sales"]) == (None, None)
    assert found["verdict"] == "too_small"


@pytest.mark.parametrize(
    ("holdout", "is_ok"), [(200, True), (159, True), (158, False), (242, True), (243, False)]
)
def test_arms_that_are_too_uneven_for_the_draw_are_reported(
    recall_home: RecallHome, holdout: int, is_ok: bool
) -> None:
    """The share drawn for is 0.2: of 1,000, 159 are 1 in 980 and 158 are 1 in 1,303."""
    found = compare_arms(
        arm(1000 - holdout, [1.0]), arm(holdout, [1.0]), recall_home.shop, is_final=True, seed=1
    )
    assert found["ratio_ok"] is is_ok


@pytest.mark.parametrize(("returned", "is_trusted"), [(29, False), (30, True)])
def test_sales_of_fewer_than_thirty_returners_are_not_to_be_trusted(
    recall_home: RecallHome, returned: int, is_trusted: bool
) -> None:
    recall, holdout = arm(900, [5.0] * 80), arm(400, [5.0] * returned)
    for first, second in ((recall, holdout), (holdout, recall)):
        found = compare_arms(first, second, recall_home.shop, is_final=True, seed=1)
        assert found["sales_trusted"] is is_trusted


# --- campaigns ------------------------------------------------------------------------------------


def test_a_campaign_is_told_by_class_and_as_a_whole(recall_home: RecallHome) -> None:
    recalled, left = people(8, "a"), people(2, "h", arm="holdout")
    other, other_left = people(4, "b", churn_class="B"), people(1, "i", arm="holdout", churn_class="B")
    lists_are(recall_home, *recalled, *left, *other, *other_left)
    orders_are(recall_home, buys(recalled[:4]) + buys(left[:1], 30) + buys(other[:1]))
    found = effects(recall_home)
    rows = {name: found["campaign", week(0), name] for name in ("A", "B", "all")}
    figures = ("recall_assigned", "recall_returned", "holdout_assigned", "holdout_returned", "left_out")
    assert [rows["A"][name] for name in figures] == [8, 4, 2, 1, 0]
    assert [rows["B"][name] for name in figures] == [4, 1, 1, 0, 0]
    assert [rows["all"][name] for name in figures] == [12, 5, 3, 1, 0]
    assert rows["all"]["recall_net_sales"] == 500
    assert rows["all"]["sales_lift"] == pytest.approx(500 / 12 - 30 / 3)
    assert rows["all"]["rate_lift"] == pytest.approx(5 / 12 - 1 / 3)
    # one closed campaign pooled is that campaign, class by class
    place = ("scope", "campaign_week")
    for name in ("A", "B", "all"):
        pooled = found["pooled", None, name]
        assert {key: value for key, value in pooled.items() if key not in place} == {
            key: value for key, value in rows[name].items() if key not in place
        }
    assert ("pooled", None, "C") not in found


def test_a_class_without_hold_out_is_left_out_on_both_sides(recall_home: RecallHome) -> None:
    """Nobody of class C was left alone: its many returns must not count for the recall."""
    everyone = people(5, "a"), people(5, "h", arm="holdout"), people(3, "c", churn_class="C")
    lists_are(recall_home, *(row for rows in everyone for row in rows))
    orders_are(recall_home, buys(everyone[2]))
    row = effects(recall_home)["campaign", week(0), "all"]
    assert (row["recall_assigned"], row["recall_returned"], row["left_out"]) == (5, 0, 3)
    alone = effects(recall_home)["campaign", week(0), "C"]
    assert (alone["rate_lift"], alone["verdict"], alone["left_out"]) == (None, "too_small", 3)


def test_only_campaigns_whose_window_has_closed_are_pooled(recall_home: RecallHome) -> None:
    lists_are(
        recall_home,
        *people(4, "a"),
        *people(4, "h", arm="holdout"),
        *people(4, "b", week=week(3)),
        *people(4, "i", week=week(3), arm="holdout"),
    )
    orders_are(recall_home, [])
    found = effects(recall_home, week(5))
    assert found["campaign", week(0), "all"]["verdict"] != "too_early"
    assert found["campaign", week(3), "all"]["verdict"] == "too_early"
    pooled = found["pooled", None, "all"]
    assert (pooled["campaigns"], pooled["recall_assigned"], pooled["is_final"]) == (1, 4, True)
    pooled = effects(recall_home, week(8))["pooled", None, "all"]
    assert (pooled["campaigns"], pooled["recall_assigned"]) == (2, 8)


def test_before_any_window_has_closed_the_pool_is_empty_and_too_early(recall_home: RecallHome) -> None:
    lists_are(recall_home, *people(4, "a"), *people(4, "h", arm="holdout"))
    orders_are(recall_home, [])
    pooled = effects(recall_home, week(2))["pooled", None, "all"]
    assert (pooled["verdict"], pooled["campaigns"], pooled["rate_lift"]) == ("too_early", 0, None)
    assert (pooled["recall_net_sales"], pooled["holdout_net_sales"], pooled["is_final"]) == (0, 0, False)


def test_a_strong_effect_works_and_its_reverse_does_harm(recall_home: RecallHome) -> None:
    recalled, left = people(60, "a"), people(60, "h", arm="holdout")
    lists_are(recall_home, *recalled, *left)
    orders_are(recall_home, buys(recalled[:40]) + buys(left[:5]))
    assert effects(recall_home)["campaign", week(0), "all"]["verdict"] == "works"
    orders_are(recall_home, buys(recalled[:5]) + buys(left[:40]))
    assert effects(recall_home)["campaign", week(0), "all"]["verdict"] == "does_harm"


def test_a_closed_campaign_reads_the_same_at_every_later_week(recall_home: RecallHome) -> None:
    recalled, left = people(20, "a"), people(5, "h", arm="holdout")
    lists_are(recall_home, *recalled, *left)
    orders_are(recall_home, buys(recalled[:7]) + buys(left[:1]))
    weeks = [week(number) for number in range(5, 12)]
    write_recall_outcomes(recall_home.warehouse, recall_home.ledger, recall_home.shop, weeks)
    write_recall_effect(recall_home.warehouse, recall_home.ledger, recall_home.shop, weeks)
    rows = recall_home.warehouse.read("select * exclude (week) from recall_effect where churn_class = 'all'")
    assert rows.unique().height == 2
    # one week on its own as in the range, the bootstrap included
    before = recall_home.warehouse.read(
        "select * from recall_effect where week = $week order by all", {"week": weeks[3]}
    )
    write_recall_effect(recall_home.warehouse, recall_home.ledger, recall_home.shop, [weeks[3]])
    after = recall_home.warehouse.read(
        "select * from recall_effect where week = $week order by all", {"week": weeks[3]}
    )
    assert before.equals(after)


def test_without_any_list_there_is_nothing_to_tell(recall_home: RecallHome) -> None:
    orders_are(recall_home, [])
    assert effects(recall_home) == {}


def test_the_effect_is_of_todays_outcomes_whatever_the_table_holds(recall_home: RecallHome) -> None:
    recalled, left = people(8, "a"), people(2, "h", arm="holdout")
    lists_are(recall_home, *recalled, *left)
    orders_are(recall_home, buys(recalled[:4]))
    fresh = effects(recall_home)
    with recall_home.warehouse.transaction() as session:
        session.execute("drop table recall_outcomes")
    write_recall_effect(recall_home.warehouse, recall_home.ledger, recall_home.shop, [LATE])
    rows = recall_home.warehouse.read("select * from recall_effect").to_dicts()
    assert {(row["scope"], row["campaign_week"], row["churn_class"]): row for row in rows} == fresh


def test_a_hold_out_that_was_tagged_is_counted_as_contaminated(recall_home: RecallHome) -> None:
    actions = pl.DataFrame(
        [("h000", "T", "add", "A", "listed")],
        schema=["customer_id", "tag", "action", "churn_class", "reason"],
        orient="row",
    )
    lists_are(recall_home, *people(4, "a"), *people(2, "h", arm="holdout"), actions=actions)
    recall_home.ledger.record(week(0), [("h000", "T", "done", None)])
    orders_are(recall_home, [])
    row = effects(recall_home)["campaign", week(0), "all"]
    assert (row["holdout_contaminated"], row["recall_reached"]) == (1, 0)

"""What the silent are worth: the past weeks against a plain reading, the forecast against counting it out."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from rfm_pipeline.diagnose.pipeline import (
    write_customer_rfm,
    write_customer_segments,
    write_silent_churners,
)
from rfm_pipeline.errors import MissingWeekError
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.review.models.backtest import write_value_backtest
from rfm_pipeline.review.models.sleeping import read_answers, write_sleeping_value
from rfm_pipeline.review.models.value import (
    Outcome,
    Slope,
    Window,
    answered_weeks,
    fit_slope,
    forecast,
    recency_bands,
)
from rfm_pipeline.review.outcomes import write_recall_outcomes
from rfm_pipeline.review.statistics import Z, wilson
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import as_of
from rfm_pipeline_tests import reference_model as plain
from rfm_pipeline_tests.helpers import ingest, make_shop, shop_of, small_warehouse, table_rows
from rfm_pipeline_tests.hypothesis_profiles import examples
from rfm_pipeline_tests.random_shops import FIRST_WEEK, shops, to_standard_csv
from rfm_pipeline_tests.recall.recall_home import Churner, RecallHome, make_recall_home, week
from rfm_pipeline_tests.reference_model import Line, Rules
from rfm_pipeline_tests.review.test_outcomes import DAY, SECOND, Order, orders_are

HORIZON = timedelta(days=90)
Cells = dict[tuple[str, int], tuple[int, int, Decimal]]


# --- the bands and the weeks ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dormant", "starts", "ends"),
    [
        (90, [90, 120, 180, 270, 365], [119, 179, 269, 364, None]),
        (120, [120, 180, 270, 365], [179, 269, 364, None]),
        (30, [30, 120, 180, 270, 365], [119, 179, 269, 364, None]),
        (400, [400], [None]),
    ],
)
def test_the_bands_begin_with_the_shops_threshold(dormant: int, starts: list[int], ends: list[Any]) -> None:
    bands = recency_bands(dormant)
    assert bands["recency_from"].to_list() == starts
    assert bands["recency_to"].to_list() == ends
    # no day lies between two bands, or in both
    assert bands["below"].to_list()[:-1] == bands["lowest"].to_list()[1:]


def test_a_week_is_answered_when_its_ninety_days_have_passed() -> None:
    weeks = answered_weeks(date(2025, 6, 2))
    assert len(weeks) == 13
    assert (
        as_of(weeks[0]) + HORIZON <= as_of(date(2025, 6, 2)) < as_of(weeks[0]) + HORIZON + timedelta(days=7)
    )
    assert {(before - after).days for before, after in itertools.pairwise(weeks)} == {28}
    assert (weeks[0] - weeks[-1]).days < 365


# --- the past, read in plain Python ---------------------------------------------------------------


def plain_answers(lines: Sequence[Line], rules: Rules, day: date) -> Cells:
    """By class and band: silent churners, those of them back within 90 days, and their net sales."""
    opens = plain.as_of_moment(day)
    closes = opens + HORIZON
    starts = recency_bands(rules.dormant_after_days)["recency_from"].to_list()
    orders, times = plain.paid_orders(lines), plain.order_times(lines)
    cells: dict[tuple[str, int], list[Any]] = {}
    for customer_id, churner in plain.silent_churners(lines, day, rules).items():
        band = max(start for start in starts if start <= churner.recency_days)
        cell = cells.setdefault((churner.churn_class, band), [0, 0, Decimal(0)])
        cell[0] += 1
        later = [order for order in orders[customer_id] if opens <= order.ordered_at < closes]
        if not later:
            continue
        cell[1] += 1
        returned_at = min(order.ordered_at for order in later)
        for order in later:
            cell[2] += order.amount - sum(amount for at, amount in order.refunds if at < closes)
        cell[2] -= sum(
            line.amount
            for line in lines
            if line.customer_id == customer_id
            and line.line_type == "return"
            and returned_at <= times[line.order_id] < closes
        )
    return {key: (n, back, net) for key, (n, back, net) in cells.items()}


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
@given(shops(max_orders=24, min_orders=8), st.sampled_from([7, 14, 28]))
def test_past_weeks_answer_what_the_definition_says(lines: list[Line], dormant: int) -> None:
    rules = Rules(
        first_week=FIRST_WEEK,
        dormant_after_days=dormant,
        lapsing_after_days=7,
        monetary_high=Decimal(200),
    )
    weeks = [week(number) for number in range(2, 30, 4)]
    with TemporaryDirectory() as folder:
        shop = shop_of(Path(folder), rules)
        to_standard_csv(lines, shop.orders_dir / "orders.csv")
        warehouse = small_warehouse(shop)
        ingest(warehouse, shop)
        for write in (write_customer_rfm, write_customer_segments, write_silent_churners):
            write(warehouse, shop, weeks)
        with warehouse.transaction() as session, session.frames(recency_bands=recency_bands(dormant)):
            found = read_answers(session, shop, weeks)
        for day in weeks:
            row_of_table = {
                cell: (outcome.customers, outcome.returned, pytest.approx(outcome.net_sales))
                for cell, outcome in (found[day].cells.items() if day in found else ())
            }
            assert {
                cell: (n, back, float(net))
                for cell, (n, back, net) in plain_answers(lines, rules, day).items()
            } == row_of_table


@pytest.fixture
def recall_home(tmp_path: Path) -> RecallHome:
    return make_recall_home(tmp_path)


def answer_of(recall_home: RecallHome, orders: Sequence[Order]) -> Outcome:
    """What the only silent churner of week 0 did."""
    day = week(0)
    orders_are(recall_home, orders)
    recall_home.silent_are([Churner(day, "a")])
    with recall_home.warehouse.transaction() as session, session.frames(recency_bands=recency_bands(90)):
        return read_answers(session, recall_home.shop, [day])[day].total


OPENS = datetime(2024, 1, 8)
CLOSES = OPENS + HORIZON


@pytest.mark.parametrize(
    ("at", "returned"), [(OPENS - SECOND, 0), (OPENS, 1), (CLOSES - SECOND, 1), (CLOSES, 0)]
)
def test_only_an_order_within_ninety_days_is_a_return(
    recall_home: RecallHome, at: datetime, returned: int
) -> None:
    found = answer_of(recall_home, [Order("o1", "a", at)])
    assert (found.customers, found.returned, found.net_sales) == (1, returned, 100 * returned)


@pytest.mark.parametrize(("at", "net_sales"), [(CLOSES - SECOND, 40), (CLOSES, 100)])
def test_a_refund_counts_within_the_same_ninety_days(
    recall_home: RecallHome, at: datetime, net_sales: int
) -> None:
    found = answer_of(recall_home, [Order("o1", "a", OPENS, refunded=60, refunded_at=at)])
    assert (found.returned, found.net_sales, found.squares) == (1, net_sales, net_sales**2)


@pytest.mark.parametrize(
    ("at", "net_sales"),
    [
        (OPENS + DAY, 100),
        (OPENS + 2 * DAY, 70),
        (CLOSES - SECOND, 70),
        (CLOSES, 100),
    ],
)
def test_goods_sent_back_after_the_return_are_taken_off(
    recall_home: RecallHome, at: datetime, net_sales: int
) -> None:
    """The return is on the second day; what is sent back before it is of an older order."""
    back = Order("r1", "a", at, amount=30, line_type="return")
    found = answer_of(recall_home, [Order("o1", "a", OPENS + 2 * DAY), back])
    assert (found.returned, found.net_sales) == (1, net_sales)


# --- the slope ------------------------------------------------------------------------------------


def groups_of(power: float, seed: int = 0) -> list[Outcome]:
    rng = np.random.default_rng(seed)
    customers = rng.integers(200, 2000, 20).astype(float)
    days = np.linspace(95, 420, 20)
    returned = rng.poisson(customers * 0.2 * (days / 95) ** power).astype(float)
    return [
        Outcome(n, n * math.log(day), back) for n, day, back in zip(customers, days, returned, strict=True)
    ]


@pytest.mark.parametrize("power", [-0.3, -1.0, -2.5])
@pytest.mark.parametrize("overlap", [1.0, 3.2])
def test_the_slope_is_statsmodels_poisson_regression(power: float, overlap: float) -> None:
    groups = groups_of(power)
    # a second to import, which only this test is to pay
    import statsmodels.api as sm

    model = sm.GLM(
        np.array([group.returned for group in groups]),
        sm.add_constant(np.array([group.mean_log_days for group in groups])),
        family=sm.families.Poisson(),
        exposure=np.array([group.customers for group in groups]),
    ).fit()
    found = fit_slope(groups, overlap)
    assert found.power == pytest.approx(model.params[1], rel=1e-6)
    assert found.variance == pytest.approx(model.bse[1] ** 2 * overlap, rel=1e-5)


def test_a_longer_silence_never_raises_the_chance() -> None:
    assert fit_slope(groups_of(0.8), 1.0) == Slope()


@pytest.mark.parametrize(
    "groups",
    [[], [Outcome(500, 500 * 4.6, 90)], [Outcome(500, 500 * 4.6, 9), Outcome(500, 500 * 5.0, 10)]],
)
def test_too_little_makes_no_slope(groups: list[Outcome]) -> None:
    assert fit_slope(groups, 1.0) == Slope()


def test_twenty_returns_make_a_slope() -> None:
    groups = [Outcome(500, 500 * 4.6, 15), Outcome(500, 500 * 5.0, 5)]
    assert fit_slope(groups, 1.0).power == pytest.approx(math.log(5 / 15) / 0.4)


# --- the forecast ---------------------------------------------------------------------------------


def outcome(customers: int, days: int, returned: int, sales: float = 0, squares: float = 0) -> Outcome:
    return Outcome(customers, customers * math.log(days), returned, sales, squares)


def window(**cells: Outcome) -> Window:
    """A past week: ``A90=outcome(…)``. Its customers lie all in one fortnight of their band."""
    named = {(name[0], int(name[1:])): found for name, found in cells.items()}
    fortnights: dict[int, Outcome] = {}
    for (_, band), found in named.items():
        fortnights[band // 14] = fortnights.get(band // 14, Outcome()) + found
    return Window(named, fortnights)


def test_a_full_cell_is_worth_its_own_share_times_its_own_sales() -> None:
    past = {week(0): window(A90=outcome(1000, 100, 200, 20_000, 4_000_000))}
    found = forecast({("A", 90): outcome(500, 100, 0)}, past)
    cell = found.cells["A", 90]
    assert cell.probability is not None
    assert cell.sales is not None
    assert (cell.probability.source, cell.sales.source) == ("cell", "cell")
    assert (cell.probability.estimate, cell.sales.estimate) == (0.2, 100.0)
    assert (found.returns, found.value and found.value.estimate) == (100.0, 10_000.0)
    ends = wilson(200, 1000)
    assert (cell.probability.low, cell.probability.high) == (ends.low, ends.high)


def test_the_interval_is_the_spread_of_the_same_shop_lived_through_many_times() -> None:
    """Past and future drawn again and again from one truth: what came lies in it 95 times of 100."""
    rng = np.random.default_rng(8)
    held = 0
    lives = 1500
    for _ in range(lives):
        back = int(rng.binomial(800, 0.12))
        spent = rng.lognormal(5, 0.6, back)
        past = {week(0): window(A90=outcome(800, 100, back, spent.sum(), (spent**2).sum()))}
        calm = replace(forecast({("A", 90): outcome(1200, 100, 0)}, past), season=0.0)
        found = calm.cell_interval(("A", 90))
        came = rng.lognormal(5, 0.6, int(rng.binomial(1200, 0.12))).sum()
        assert found is not None
        held += found.low <= came <= found.high
    assert 0.935 < held / lives < 0.97


@pytest.mark.parametrize(("customers", "source"), [(100, "cell"), (99, "band")])
def test_a_cell_of_fewer_than_a_hundred_borrows_from_its_band(customers: int, source: str) -> None:
    past = {week(0): window(A90=outcome(customers, 100, 30, 3000, 3e5), B90=outcome(900, 100, 90, 9000, 9e5))}
    learnt = forecast({("A", 90): outcome(10, 100, 0)}, past).cells["A", 90].probability
    assert learnt is not None
    expected = 30 / customers if source == "cell" else (30 + 90) / (customers + 900)
    assert (learnt.source, learnt.estimate) == (source, pytest.approx(expected))


def test_a_band_that_nobody_was_in_borrows_from_the_nearest_and_follows_the_slope() -> None:
    past = {week(0): window(A90=outcome(1000, 100, 240, 2400, 9e4), A120=outcome(1000, 150, 160, 1600, 9e4))}
    learnt = forecast({("A", 180): outcome(10, 220, 0)}, past).cells["A", 180].probability
    assert learnt is not None
    assert learnt.source == "nearest_band"
    power = math.log(0.16 / 0.24) / math.log(150 / 100)
    assert learnt.estimate == pytest.approx(0.16 * (220 / 150) ** power)


def test_sales_of_few_returners_are_borrowed_too() -> None:
    past = {week(0): window(A90=outcome(500, 100, 19, 1900, 2e5), B90=outcome(500, 100, 30, 6000, 2e6))}
    cell = forecast({("A", 90): outcome(10, 100, 0)}, past).cells["A", 90]
    assert cell.probability is not None
    assert cell.sales is not None
    assert (cell.probability.source, cell.sales.source) == ("cell", "band")
    assert cell.sales.estimate == pytest.approx(7900 / 49)


@pytest.mark.parametrize(("customers", "is_known"), [(30, True), (29, False)])
def test_with_fewer_than_thirty_customers_nothing_is_foreseen(customers: int, is_known: bool) -> None:
    past = {week(0): window(A90=outcome(customers, 100, 3, 300, 3e4))}
    found = forecast({("A", 90): outcome(10, 100, 0)}, past)
    assert (found.value is not None) is is_known
    assert (found.windows != []) is is_known


def test_nobody_back_in_the_past_means_nothing_expected_but_not_for_sure() -> None:
    found = forecast({("A", 90): outcome(100, 100, 0)}, {week(0): window(A90=outcome(500, 100, 0))})
    probability = found.cells["A", 90].probability
    assert found.value is not None
    assert probability is not None
    assert (found.value.estimate, probability.low) == (0.0, 0.0)
    assert probability.high > 0


def test_overlapping_windows_hold_less_than_they_count() -> None:
    """Thirteen windows four weeks apart, in which every order counts 90 / 28 times."""
    each = outcome(1000, 100, 100, 10_000, 1.5e6)
    past = {week(4 * number): window(A90=each) for number in range(13)}
    learnt = forecast({("A", 90): outcome(10, 100, 0)}, past).cells["A", 90].probability
    assert learnt is not None
    assert learnt.high - learnt.low == pytest.approx(
        (lambda ends: ends.high - ends.low)(wilson(1300 * 28 / 90, 13_000 * 28 / 90))
    )


def test_windows_that_differ_beyond_chance_widen_the_interval() -> None:
    def past(*rates: float) -> dict[date, Window]:
        return {
            week(13 * number): window(A90=outcome(9000, 100, int(9000 * rate), 9e5 * rate, 1e8 * rate))
            for number, rate in enumerate(rates)
        }

    silent = {("A", 90): outcome(1000, 100, 0)}
    calm, stormy = forecast(silent, past(0.1, 0.1, 0.1, 0.1)), forecast(silent, past(0.05, 0.15, 0.05, 0.15))
    assert calm.season == 0.0
    assert stormy.season == pytest.approx(np.std([0.5, 1.5, 0.5, 1.5], ddof=1), abs=0.02)
    assert calm.value is not None
    assert stormy.value is not None
    assert stormy.value.high - stormy.value.low > 4 * (calm.value.high - calm.value.low)


@pytest.mark.parametrize(("apart", "is_known"), [(25, False), (26, True)])
def test_the_season_needs_three_windows_that_share_no_day(apart: int, is_known: bool) -> None:
    each = window(A90=outcome(1000, 100, 100, 10_000, 1.5e6))
    found = forecast({("A", 90): outcome(10, 100, 0)}, {week(0): each, week(13): each, week(apart): each})
    assert (found.season is not None) is is_known


def test_a_season_that_cannot_be_told_is_assumed_to_be_a_quarter() -> None:
    past = {week(0): window(A90=outcome(10**7, 100, 10**6, 1e8, 1.1e10))}
    found = forecast({("A", 90): outcome(10**7, 100, 0)}, past)
    assert found.value is not None
    # of so many customers chance leaves no trace
    assert found.value.high / found.value.estimate - 1 == pytest.approx(1.96 * 0.25, abs=0.001)


def test_cells_that_borrow_from_the_same_group_err_together() -> None:
    past = {week(0): window(A90=outcome(50, 100, 5, 500, 6e4), B90=outcome(950, 100, 95, 9500, 1.2e6))}
    both = forecast({("A", 90): outcome(5000, 100, 0), ("C", 90): outcome(5000, 100, 0)}, past).value
    one = forecast({("A", 90): outcome(10_000, 100, 0)}, past).value
    assert both is not None
    assert one is not None
    assert (both.low, both.high) == pytest.approx((one.low, one.high))


# --- the tables -----------------------------------------------------------------------------------


def tea_shop(home: Path, customers: int = 60, weeks: int = 50) -> tuple[Shop, Warehouse]:
    """A shop in which everybody is silent from the first week on, and every tenth order comes each week."""
    shop = make_shop(home, review={"response_days": 30})
    recall_home = RecallHome(shop, small_warehouse(shop), Ledger(shop.ledger_url))
    grid = [week(number) for number in range(weeks)]
    names = [f"c{number:03}" for number in range(customers)]
    recall_home.silent_are(
        [Churner(day, name, churn_class="ABC"[int(name[1:]) % 3]) for day in grid for name in names], grid
    )
    orders = [
        Order(
            f"o{number}-{name}",
            name,
            datetime(2024, 1, 8, 9) + number * 7 * DAY + int(name[1:]) * 60 * SECOND,
        )
        for number in range(weeks)
        for name in names
        if (int(name[1:]) + number * 7) % 40 == 0
    ]
    orders_are(recall_home, orders)
    return shop, recall_home.warehouse


def write(shop: Shop, warehouse: Warehouse, *weeks: date) -> None:
    with warehouse.transaction() as session:
        session.execute(
            "create table if not exists customer_activity as select customer_id, week, count(*) as orders, "
            "0 as refunded_orders, sum(amount) as sales, 0::decimal(18, 4) as refunds, min(order_at) as "
            "first_order_at, max(order_at) as last_order_at, null::timestamp as last_return_at "
            "from order_lines group by all"
        )
    write_recall_outcomes(warehouse, Ledger(shop.ledger_url), shop, weeks)
    write_sleeping_value(warehouse, shop, weeks)
    write_value_backtest(warehouse, shop, weeks)


def one_total(warehouse: Warehouse, day: date) -> dict[str, Any]:
    return warehouse.read("select * from sleeping_totals where week = $week", {"week": day}).row(
        0, named=True
    )


@pytest.mark.parametrize(
    ("number", "status"),
    [(12, "too_short"), (13, "season_assumed"), (37, "season_assumed"), (41, "complete")],
)
def test_the_first_answer_is_known_thirteen_weeks_after_the_first_snapshot(
    tmp_path: Path, number: int, status: str
) -> None:
    shop, warehouse = tea_shop(tmp_path)
    write(shop, warehouse, week(number))
    total = one_total(warehouse, week(number))
    assert total["status"] == status
    assert (total["value"] is None) is (status == "too_short")
    if status == "too_short":
        assert f"from week {week(13)} on" in total["reason"]


def test_past_weeks_know_nothing_of_what_came_later(tmp_path: Path) -> None:
    """Orders after as_of change neither the value nor the backtest of the week."""
    shop, warehouse = tea_shop(tmp_path)
    tables = ("sleeping_value", "sleeping_totals", "value_backtest", "backtest_summary")
    write(shop, warehouse, week(40))
    before = {table: table_rows(warehouse, table) for table in tables}
    with warehouse.transaction() as session:
        session.execute(
            "delete from order_lines where order_at >= $as_of",
            {"as_of": datetime.combine(as_of(week(40)), datetime.min.time())},
        )
        session.execute("delete from silent_churners where week > $week", {"week": week(40)})
    write(shop, warehouse, week(40))
    assert {table: table_rows(warehouse, table) for table in tables} == before
    assert before["value_backtest"]


def test_weeks_in_one_range_equal_weeks_one_by_one(tmp_path: Path) -> None:
    shop, warehouse = tea_shop(tmp_path)
    tables = ("sleeping_value", "sleeping_totals", "value_backtest", "backtest_summary")
    weeks = [week(number) for number in (12, 13, 27, 40)]
    write(shop, warehouse, *weeks)
    together = {table: table_rows(warehouse, table) for table in tables}
    for day in weeks:
        write(shop, warehouse, day)
    assert {table: table_rows(warehouse, table) for table in tables} == together


def test_the_backtest_holds_what_was_predicted_then_against_what_came(tmp_path: Path) -> None:
    shop, warehouse = tea_shop(tmp_path)
    then, now = week(26), week(39)
    write(shop, warehouse, then, now)
    total = one_total(warehouse, then)
    row_of_table = warehouse.read(
        "select * from backtest_summary where week = $week and predicted_week = $then",
        {"week": now, "then": then},
    ).row(0, named=True)
    assert row_of_table["predicted_value"] == pytest.approx(total["value"])
    assert (row_of_table["predicted_value_low"], row_of_table["predicted_value_high"]) == pytest.approx(
        (total["value_low"], total["value_high"])
    )
    opens = datetime.combine(as_of(then), datetime.min.time())
    came = warehouse.read(
        "select sum(amount)::double as sales, count(distinct customer_id) as customers from order_lines "
        "where order_at >= $opens and order_at < $closes",
        {"opens": opens, "closes": opens + HORIZON},
    ).row(0)
    assert (row_of_table["actual_value"], row_of_table["actual_returns"]) == pytest.approx(came)
    assert row_of_table["error"] == pytest.approx(total["value"] / came[0] - 1)
    assert row_of_table["covered"] == float(total["value_low"] <= came[0] <= total["value_high"])
    # the cells add up to the same
    cells = warehouse.read(
        "select sum(predicted_value), sum(actual_value)::double, sum(actual_returns) from value_backtest "
        "where week = $week and predicted_week = $then",
        {"week": now, "then": then},
    ).row(0)
    assert cells[:2] == pytest.approx((row_of_table["predicted_value"], row_of_table["actual_value"]))


@pytest.mark.parametrize(("number", "status"), [(25, "too_short"), (26, "tested")])
def test_a_backtest_needs_an_answered_week_before_an_answered_week(
    tmp_path: Path, number: int, status: str
) -> None:
    shop, warehouse = tea_shop(tmp_path)
    write(shop, warehouse, week(number))
    overall = warehouse.read("select * from backtest_summary where predicted_week is null").row(0, named=True)
    assert overall["status"] == status
    assert (overall["weeks_tested"] > 0) is (status == "tested")
    if status == "too_short":
        assert f"from week {week(26)} on" in overall["reason"]


def test_a_week_without_a_silent_churner_is_worth_nothing_and_says_why(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path)
    recall_home.silent_are([], [week(0)])
    orders_are(recall_home, [])
    write(recall_home.shop, recall_home.warehouse, week(0))
    total = one_total(recall_home.warehouse, week(0))
    assert (total["status"], total["customers"]) == ("nobody", 0)
    assert table_rows(recall_home.warehouse, "sleeping_value") == []


def test_a_week_that_was_not_diagnosed_is_refused(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path)
    orders_are(recall_home, [])
    with pytest.raises(MissingWeekError, match=r"silent_churners has no snapshot of week .* history_job"):
        write_sleeping_value(recall_home.warehouse, recall_home.shop, [week(0)])


def test_the_campaigns_own_response_stands_beside_it(tmp_path: Path) -> None:
    from rfm_pipeline_tests.review.test_outcomes import Assigned, lists_are

    shop, warehouse = tea_shop(tmp_path)
    recall_home = RecallHome(shop, warehouse, Ledger(shop.ledger_url))
    listed = [Assigned(f"c{number:03}", week(8), churn_class="A") for number in range(0, 60, 3)]
    left = [Assigned("left", week(8), arm="holdout")]
    lists_are(recall_home, *listed, *left)
    write(shop, warehouse, week(20))
    rows = warehouse.read("select * from sleeping_value order by churn_class").to_dicts()
    outcomes = warehouse.read("select * from recall_outcomes where arm = 'recall'").row(0, named=True)
    of_a = [row for row in rows if row["churn_class"] == "A"]
    per_customer = float(outcomes["net_sales"]) / 20
    assert outcomes["returned"] > 0
    for row in of_a:
        assert row["campaign_assigned"] == 20
        assert row["campaign_response_rate"] == outcomes["returned"] / 20
        assert row["campaign_value"] == pytest.approx(row["customers"] * per_customer)
        variance = (outcomes["net_sales_squares"] - 20 * per_customer**2) / 19
        n = row["customers"]
        assert row["campaign_value_high"] == pytest.approx(
            n * per_customer + Z * math.sqrt(n**2 * variance / 20 + n * variance)
        )
    assert all(row["campaign_value"] is None for row in rows if row["churn_class"] != "A")
    total = one_total(warehouse, week(20))
    assert total["campaign_customers"] == sum(row["customers"] for row in of_a)

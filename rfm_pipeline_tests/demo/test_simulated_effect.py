"""A simulated effect: who answers, how many, and that the review finds what was simulated."""

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from rfm_pipeline.demo.simulated_effect import campaign_weeks, simulate_answers
from rfm_pipeline.errors import RfmError
from rfm_pipeline.review.effect import write_recall_effect
from rfm_pipeline.review.outcomes import write_recall_outcomes
from rfm_pipeline_tests.helpers import ingest, make_shop
from rfm_pipeline_tests.recall.recall_home import RecallHome, make_recall_home, week
from rfm_pipeline_tests.review.test_outcomes import CLOSES, OPENS, Assigned, Order, lists_are, orders_are

LATER = week(6)


def listed(size: int = 1000, holdout: int = 100) -> list[Assigned]:
    arms = [("holdout" if number < holdout else "recall") for number in range(size)]
    return [Assigned(f"c{number:04}", arm=arm) for number, arm in enumerate(arms)]


@pytest.fixture
def recall_home(tmp_path: Path) -> RecallHome:
    """A sealed list of 900 and 100, of whom every twentieth comes back by itself."""
    recall_home = make_recall_home(tmp_path, holdout_share=0.1)
    lists_are(recall_home, *listed())
    orders_are(recall_home, by_themselves())
    return recall_home


def by_themselves() -> Sequence[Order]:
    return [Order(f"own{number}", f"c{number:04}", OPENS, 10) for number in range(0, 1000, 20)]


def simulate(recall_home: RecallHome, effect: float, seed: int = 3) -> pl.DataFrame:
    simulated = simulate_answers(
        recall_home.warehouse, recall_home.ledger, recall_home.shop, week(0), effect=effect, seed=seed
    )
    assert simulated.recalled == 900
    if simulated.path is None:
        return pl.DataFrame(schema={"customer_id": pl.String})
    orders = pl.read_csv(simulated.path, infer_schema=False)
    assert orders.height == simulated.answered
    return orders


def test_answers_come_from_the_recalled_who_would_have_stayed_away(recall_home: RecallHome) -> None:
    answered = set(simulate(recall_home, 0.2)["customer_id"])
    arms = {row.customer_id: row.arm for row in listed()}
    assert {arms[name] for name in answered} == {"recall"}
    assert answered.isdisjoint(order.customer_id for order in by_themselves())


def test_the_answers_raise_the_return_by_the_effect(recall_home: RecallHome) -> None:
    """Over many seeds on average; of 900 recalled, 855 would have stayed away."""
    counts = [simulate(recall_home, 0.1, seed).height for seed in range(30)]
    assert sum(counts) / 30 == pytest.approx(90, abs=6)
    assert len(set(counts)) > 5


def test_the_same_seed_plants_the_same_orders(recall_home: RecallHome) -> None:
    assert simulate(recall_home, 0.1).equals(simulate(recall_home, 0.1))


def test_answers_lie_in_the_response_window(recall_home: RecallHome) -> None:
    times = simulate(recall_home, 0.5)["ordered_at"].str.to_datetime()
    assert times.min() >= OPENS  # type: ignore[operator]
    assert times.max() < CLOSES  # type: ignore[operator]


def test_no_effect_plants_nothing(recall_home: RecallHome) -> None:
    assert simulate(recall_home, 0.0).is_empty()


@pytest.mark.parametrize(("effect", "fits"), [(0.95, True), (0.951, False)])
def test_no_more_can_answer_than_would_have_stayed_away(
    recall_home: RecallHome, effect: float, fits: bool
) -> None:
    if fits:
        assert simulate(recall_home, effect).height == 855
    else:
        with pytest.raises(RfmError, match="there are 855"):
            simulate(recall_home, effect)


def test_an_open_list_cannot_be_answered(recall_home: RecallHome) -> None:
    with pytest.raises(RfmError, match=f"week {week(1)} isn't sealed"):
        simulate_answers(
            recall_home.warehouse, recall_home.ledger, recall_home.shop, week(1), effect=0.1, seed=1
        )


def test_the_review_finds_what_was_planted(tmp_path: Path) -> None:
    """The export is read like any other, and the difference between the arms is the simulated one."""
    recall_home = make_recall_home(tmp_path, holdout_share=0.1)
    lists_are(recall_home, *listed())
    own = [
        f"own{order.order_id},{order.customer_id},{order.at:%Y-%m-%d %H:%M:%S},CUP1,1,10"
        for order in by_themselves()
    ]
    header = "order_id,customer_id,ordered_at,sku,quantity,unit_price"
    (recall_home.shop.orders_dir / "own.csv").write_text("\n".join([header, *own]) + "\n", "utf-8")
    ingest(recall_home.warehouse, recall_home.shop)
    simulated = simulate_answers(
        recall_home.warehouse, recall_home.ledger, recall_home.shop, week(0), effect=0.15, seed=3
    )
    assert ingest(recall_home.warehouse, recall_home.shop).loaded
    write_recall_outcomes(recall_home.warehouse, recall_home.ledger, recall_home.shop, [LATER])
    write_recall_effect(recall_home.warehouse, recall_home.ledger, recall_home.shop, [LATER])
    row = recall_home.warehouse.read(
        "select * from recall_effect where scope = 'campaign' and churn_class = 'all'"
    ).row(0, named=True)
    assert row["recall_returned"] - simulated.answered == 45
    assert row["rate_lift"] == pytest.approx((45 + simulated.answered) / 900 - 5 / 100)
    assert row["rate_lift_low"] < 0.15 < row["rate_lift_high"]
    assert row["verdict"] == "works"


@pytest.mark.parametrize(("campaigns", "fits"), [(5, True), (6, False)])
def test_the_lists_are_the_last_whose_window_is_closed_at_the_end(
    tmp_path: Path, campaigns: int, fits: bool
) -> None:
    first, last = date(2024, 1, 1), date(2024, 3, 4)
    shop = make_shop(tmp_path, shop={"first_week": first, "last_week": last})
    if not fits:
        with pytest.raises(RfmError, match="need a grid from 2023-12-25 on"):
            campaign_weeks(shop, campaigns)
        return
    weeks = campaign_weeks(shop, campaigns)
    assert (weeks[0], weeks[-1], len(weeks)) == (first, date(2024, 1, 29), 5)
    # the window of 30 days is over at as_of of the shop's last week, and not a week earlier
    closes = datetime(2024, 2, 5) + (CLOSES - OPENS)
    assert datetime(2024, 3, 4) < closes <= datetime(2024, 3, 11)


def test_a_shop_without_an_end_cannot_be_planted(tmp_path: Path) -> None:
    with pytest.raises(RfmError, match="only a shop with an end"):
        campaign_weeks(make_shop(tmp_path), 1)

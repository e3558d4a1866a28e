"""The histories that BG/NBD and Gamma-Gamma are given, and what is made of them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rfm_pipeline.diagnose.pipeline import sql_of
from rfm_pipeline.diagnose.schemas import CUSTOMER_ACTIVITY
from rfm_pipeline.review.inputs import PACKAGE
from rfm_pipeline.review.models.bgnbd import Histories, fit_bg_nbd, fit_gamma_gamma
from rfm_pipeline.review.models.sleeping import second_opinion
from rfm_pipeline.warehouse.sql import read_sql
from rfm_pipeline.weeks import week_of
from rfm_pipeline_tests.recall.recall_home import Churner, RecallHome, make_recall_home, week
from rfm_pipeline_tests.review.test_outcomes import DAY, Order, orders_are

START = datetime(2024, 1, 1, 12)
NOW = week(20)


@pytest.fixture
def recall_home(tmp_path: Path) -> RecallHome:
    return make_recall_home(tmp_path)


def asked(
    recall_home: RecallHome, orders: Sequence[Order], silent: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The histories and the spending at ``NOW``."""
    orders_are(recall_home, orders)
    recall_home.silent_are([Churner(NOW, name) for name in silent], [NOW])
    with recall_home.warehouse.transaction() as session:
        session.target(sorted({week_of(order.at.date()) for order in orders}))
        session.replace(CUSTOMER_ACTIVITY, sql_of(CUSTOMER_ACTIVITY))
        session.target([NOW])
        return (
            session.read(f"{read_sql(PACKAGE, 'purchase_histories')} order by all"),
            session.read(read_sql(PACKAGE, "repeat_spending"), {"sample": 20_000}),
        )


def test_a_history_counts_weeks_with_purchases_and_alike_ones_together(recall_home: RecallHome) -> None:
    orders = [
        # twice in the first week is one purchase; again in weeks 3 and 8
        Order("a1", "a", START, 100),
        Order("a2", "a", START + DAY, 50),
        Order("a3", "a", START + 21 * DAY, 30),
        Order("a4", "a", START + 56 * DAY, 50),
        # once each, in week 2, alike
        Order("b1", "b", START + 14 * DAY, 70),
        Order("c1", "c", START + 15 * DAY, 90),
        # like a, but not silent
        Order("d1", "d", START, 10),
        Order("d2", "d", START + 21 * DAY, 20),
        Order("d3", "d", START + 56 * DAY, 40),
        # the week itself is known, the next is not
        Order("e1", "e", START + 20 * 7 * DAY, 10),
        Order("e2", "e", START + 21 * 7 * DAY, 10),
        # a gift is no purchase
        Order("f1", "f", START, 0),
    ]
    histories, spending = asked(recall_home, orders, ["a", "b", "c"])
    columns = ("x", "t_x", "t", "is_silent", "customers", "mean_sales")
    assert histories.select(columns).rows() == [
        (0, 0, 1, False, 1, 0.0),
        (0, 0, 19, True, 2, 0.0),
        (2, 8, 21, False, 1, 30.0),
        (2, 8, 21, True, 1, 40.0),
    ]
    assert sorted(spending.select("x", "mean_sales").rows()) == [(2, 30.0), (2, 40.0)]


def test_the_opinion_is_the_models_summed_over_the_silent(recall_home: RecallHome) -> None:
    """Each silent customer on their own, against the histories taken together."""
    rng = np.random.default_rng(6)
    orders, weeks, amounts = [], {}, {}
    for number in range(400):
        name = f"c{number:03}"
        visits = [int(rng.integers(0, 15))]
        while rng.random() < 0.55 and visits[-1] < 19:
            visits.append(min(20, visits[-1] + 1 + int(rng.geometric(0.3))))
        weeks[name], amounts[name] = sorted(set(visits)), []
        scale = rng.gamma(4.0, 10.0)
        for visit in weeks[name]:
            amount = int(rng.integers(20, 60) + scale)
            amounts[name].append(amount)
            orders.append(Order(f"{name}-{visit}", name, START + timedelta(weeks=visit), amount))
    silent = [name for name in weeks if weeks[name][-1] < 8]
    found = second_opinion(*asked(recall_home, orders, silent))
    data = Histories(
        np.array([len(visits) - 1.0 for visits in weeks.values()]),
        np.array([float(visits[-1] - visits[0]) for visits in weeks.values()]),
        np.array([21.0 - visits[0] for visits in weeks.values()]),
        np.ones(len(weeks)),
    )
    means = np.array([np.mean(paid[1:]) if len(paid) > 1 else 0.0 for paid in amounts.values()])
    again = data.x > 0
    purchases = fit_bg_nbd(data).expected_purchases(data, 90 / 7)
    worth = purchases * fit_gamma_gamma(data.x[again], means[again]).expected_amount(data.x, means)
    mine = np.array([name in set(silent) for name in weeks])
    assert found["second_opinion_returns"] == pytest.approx(purchases[mine].sum(), rel=0.01)
    assert found["second_opinion_value"] == pytest.approx(worth[mine].sum(), rel=0.02)
    assert "BG/NBD r=" in found["second_opinion_note"]


def test_without_anybody_who_bought_again_it_says_why(recall_home: RecallHome) -> None:
    found = second_opinion(*asked(recall_home, [Order("a1", "a", START)], ["a"]))
    assert found == {"second_opinion_note": "not fitted: nobody bought again"}

"""What came of the lists, against a plain reading of it, and at both ends of the response window."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from rfm_pipeline.contacts.schemas import OUTREACH_LOG
from rfm_pipeline.ingest.schemas import ORDER_LINES
from rfm_pipeline.ledger import ASSIGNMENT_SCHEMA
from rfm_pipeline.review.outcomes import write_recall_outcomes
from rfm_pipeline.weeks import week_of
from rfm_pipeline_tests.hypothesis_profiles import examples
from rfm_pipeline_tests.random_shops import FIRST_WEEK
from rfm_pipeline_tests.recall.recall_home import LONG_AGO, NO_ACTIONS, RecallHome, make_recall_home, week

# the list of week 0 is as of this Monday, and its 30 days end with the second before CLOSES
OPENS = datetime(2024, 1, 8)
CLOSES = datetime(2024, 2, 7)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


@pytest.fixture
def recall_home(tmp_path: Path) -> RecallHome:
    return make_recall_home(tmp_path)


@dataclass(frozen=True)
class Order:
    """An order of one line, or of several equal ones."""

    order_id: str
    customer_id: str | None
    at: datetime
    amount: Decimal | int = 100
    refunded: Decimal | int = 0
    refunded_at: datetime | None = None
    line_type: str = "sale"
    lines: int = 1

    def rows(self) -> Iterable[dict[str, Any]]:
        refund_at = (self.refunded_at or self.at) if self.refunded else None
        for line_no in range(1, self.lines + 1):
            yield {
                "order_id": self.order_id,
                "line_no": line_no,
                "customer_id": self.customer_id,
                "ordered_at": self.at,
                "line_type": self.line_type,
                "sku": "CUP1",
                "product_name": "白瓷茶杯",
                "quantity": Decimal(1),
                "unit_price": Decimal(self.amount) / self.lines,
                "list_price": None,
                "amount": Decimal(self.amount) / self.lines,
                "refunded_amount": Decimal(self.refunded) / self.lines,
                "refunded_at": self.refunded_at,
                "is_clearance": None,
                "order_at": self.at,
                "week": week_of(self.at.date()),
                "refund_at": refund_at,
                "refund_week": None if refund_at is None else week_of(refund_at.date()),
                "is_product": True,
                "batch_id": 1,
            }


@dataclass(frozen=True)
class Assigned:
    """A customer of a sealed list."""

    customer_id: str
    week: date = FIRST_WEEK
    arm: str = "recall"
    churn_class: str = "A"


def orders_are(recall_home: RecallHome, orders: Sequence[Order]) -> None:
    rows = [row | {"row_no": number} for order in orders for number, row in enumerate(order.rows(), 1)]
    keyed = [row | {"batch_id": number} for number, row in enumerate(rows, 1)]
    types = {name: column.dtype.type for name, column in ORDER_LINES.schema.columns.items()}
    frame = pl.DataFrame(keyed, schema=types, orient="row")
    with recall_home.warehouse.transaction() as session, session.frames(literal_rows=frame):
        session.replace(ORDER_LINES, "select * from literal_rows")


def lists_are(recall_home: RecallHome, *assigned: Assigned, actions: pl.DataFrame = NO_ACTIONS) -> None:
    for day in sorted({row.week for row in assigned}):
        rows = [
            {
                "week": day,
                "customer_id": row.customer_id,
                "silent_since": LONG_AGO + timedelta(seconds=(day - week(0)).days),
                "churn_class": row.churn_class,
                "arm": row.arm,
                "priority": priority,
                "recency_days": 100,
                "frequency": 1,
                "monetary": "10.0000",
            }
            for priority, row in enumerate((row for row in assigned if row.week == day), 1)
        ]
        assert recall_home.ledger.seal(day, pl.DataFrame(rows, schema=ASSIGNMENT_SCHEMA), actions, "test")


def outcomes(recall_home: RecallHome, *weeks: date) -> list[dict[str, Any]]:
    write_recall_outcomes(recall_home.warehouse, recall_home.ledger, recall_home.shop, weeks)
    return recall_home.warehouse.read("select * from recall_outcomes order by all").to_dicts()


def outcome_row(recall_home: RecallHome, day: date) -> dict[str, Any]:
    """The only row of a week."""
    [row] = outcomes(recall_home, day)
    return row


# --- the definition, read in plain Python ---------------------------------------------------------


def plain_outcomes(
    orders: Sequence[Order], assigned: Sequence[Assigned], weeks: Sequence[date], response_days: int
) -> list[dict[str, Any]]:
    rows = []
    for day in weeks:
        as_of = datetime.combine(day + timedelta(days=7), time.min)
        arms = {(row.week, row.churn_class, row.arm) for row in assigned if row.week <= day}
        for campaign, churn_class, arm in sorted(arms):
            opens = datetime.combine(campaign + timedelta(days=7), time.min)
            closes = opens + timedelta(days=response_days)
            people = {
                row.customer_id
                for row in assigned
                if (row.week, row.churn_class, row.arm) == (campaign, churn_class, arm)
            }
            answers = [
                order
                for order in orders
                if order.customer_id in people
                and order.line_type == "sale"
                and order.amount > 0
                and opens <= order.at < closes
                and order.at < as_of
            ]
            fixed_at = datetime.combine(week_of((closes + timedelta(days=6)).date()), time.min)
            net_sales = dict.fromkeys((order.customer_id for order in answers), Decimal(0))
            for order in answers:
                net_sales[order.customer_id] += Decimal(order.amount)
                if (order.refunded_at or order.at) < min(as_of, fixed_at):
                    net_sales[order.customer_id] -= Decimal(order.refunded)
            returned = len(net_sales)
            rows.append(
                {
                    "week": day,
                    "campaign_week": campaign,
                    "churn_class": churn_class,
                    "arm": arm,
                    "assigned": len(people),
                    "reached": 0,
                    "returned": returned,
                    "response_rate": returned / len(people),
                    "orders": len(answers),
                    "net_sales": sum(net_sales.values(), Decimal(0)),
                    "net_sales_squares": pytest.approx(
                        sum(float(amount) ** 2 for amount in net_sales.values())
                    ),
                    "is_final": as_of >= closes,
                }
            )
    return rows


MOMENTS = [
    moment + shift
    for moment in (OPENS, OPENS + 7 * DAY, CLOSES, OPENS + 5 * 7 * DAY)
    for shift in (-SECOND, timedelta(0), 12 * timedelta(hours=1))
]
NAMES = ["a", "b", "c", "d"]


@st.composite
def some_orders(draw: st.DrawFn) -> list[Order]:
    orders = []
    for number in range(draw(st.integers(0, 8))):
        at = draw(st.sampled_from(MOMENTS))
        amount = draw(st.sampled_from([Decimal(0), Decimal("0.02"), Decimal("59.80")]))
        refunded = draw(st.sampled_from([Decimal(0), Decimal(0), amount, amount / 2]))
        refunded_at = draw(st.sampled_from([None, at, at + DAY, at + 20 * DAY])) if refunded else None
        orders.append(
            Order(
                f"o{number}",
                draw(st.sampled_from([*NAMES, "stranger", None])),
                at,
                amount,
                refunded,
                refunded_at,
                draw(st.sampled_from(["sale", "sale", "sale", "return"])) if not refunded else "sale",
                draw(st.sampled_from([1, 2])),
            )
        )
    return orders


@st.composite
def some_lists(draw: st.DrawFn) -> list[Assigned]:
    pairs = draw(
        st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([0, 1, 3])), min_size=1, unique=True)
    )
    return [
        Assigned(
            name, week(number), draw(st.sampled_from(["recall", "holdout"])), draw(st.sampled_from("AB"))
        )
        for name, number in pairs
    ]


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
@given(some_orders(), some_lists(), st.sampled_from([7, 30]))
def test_outcomes_are_what_the_definition_says(
    orders: list[Order], assigned: list[Assigned], response_days: int
) -> None:
    weeks = [week(number) for number in range(6)]
    with tempfile.TemporaryDirectory() as folder:
        recall_home = make_recall_home(Path(folder), review={"response_days": response_days})
        orders_are(recall_home, orders)
        lists_are(recall_home, *assigned)
        assert outcomes(recall_home, *weeks) == plain_outcomes(orders, assigned, weeks, response_days)


# --- the window -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "returned"), [(OPENS - SECOND, 0), (OPENS, 1), (CLOSES - SECOND, 1), (CLOSES, 0)]
)
def test_only_an_order_in_the_window_is_a_return(
    recall_home: RecallHome, at: datetime, returned: int
) -> None:
    orders_are(recall_home, [Order("o1", "a", at)])
    lists_are(recall_home, Assigned("a"))
    row = outcome_row(recall_home, week(10))
    assert (row["returned"], row["orders"], row["net_sales"]) == (returned, returned, 100 * returned)


@pytest.mark.parametrize(("at", "returned"), [(OPENS + 7 * DAY - SECOND, 1), (OPENS + 7 * DAY, 0)])
def test_a_week_knows_no_order_after_its_sunday(recall_home: RecallHome, at: datetime, returned: int) -> None:
    orders_are(recall_home, [Order("o1", "a", at)])
    lists_are(recall_home, Assigned("a"))
    assert outcome_row(recall_home, week(1))["returned"] == returned


def test_the_week_of_the_list_itself_knows_no_answer_yet(recall_home: RecallHome) -> None:
    orders_are(recall_home, [Order("o1", "a", OPENS)])
    lists_are(recall_home, Assigned("a"))
    row = outcome_row(recall_home, week(0))
    assert (row["assigned"], row["returned"], row["net_sales"], row["is_final"]) == (1, 0, 0, False)


@pytest.mark.parametrize(
    ("response_days", "final_from"),
    [(28, week(4)), (29, week(5)), (30, week(5))],
)
def test_a_campaign_is_final_from_the_first_week_that_knows_its_last_day(
    tmp_path: Path, response_days: int, final_from: date
) -> None:
    recall_home = make_recall_home(tmp_path, review={"response_days": response_days})
    orders_are(recall_home, [])
    lists_are(recall_home, Assigned("a"))
    final = {
        row["week"]: row["is_final"] for row in outcomes(recall_home, *(week(number) for number in range(8)))
    }
    assert final == {day: day >= final_from for day in final}


def test_answers_ripen_week_by_week_and_stay_as_they_are_when_the_window_has_closed(
    recall_home: RecallHome,
) -> None:
    orders_are(
        recall_home,
        [
            Order("o1", "a", OPENS + 3 * DAY),
            Order("o2", "b", OPENS + 9 * DAY),
            Order("o3", "a", OPENS + 16 * DAY),
            Order("o4", "c", CLOSES - SECOND),
            Order("o5", "d", CLOSES),
            Order("o6", "a", CLOSES + DAY),
        ],
    )
    lists_are(recall_home, *(Assigned(name) for name in NAMES))
    rows = outcomes(recall_home, *(week(number) for number in range(9)))
    assert [row["returned"] for row in rows] == [0, 1, 2, 2, 2, 3, 3, 3, 3]
    assert [row["orders"] for row in rows] == [0, 1, 2, 3, 3, 4, 4, 4, 4]
    assert [row["is_final"] for row in rows] == [False] * 5 + [True] * 4


# --- what counts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known_at", "net_sales"),
    [(OPENS + DAY, 0), (OPENS + 14 * DAY - SECOND, 0), (OPENS + 14 * DAY, 100), (None, 0)],
)
def test_a_refunded_order_is_a_return_without_the_money_refunded_by_then(
    recall_home: RecallHome, known_at: datetime | None, net_sales: int
) -> None:
    """As of week 2, whose as_of is two weeks after the window's opening."""
    orders_are(recall_home, [Order("o1", "a", OPENS + DAY, refunded=100, refunded_at=known_at)])
    lists_are(recall_home, Assigned("a"))
    row = outcome_row(recall_home, week(2))
    assert (row["returned"], row["orders"], row["net_sales"]) == (1, 1, net_sales)


@pytest.mark.parametrize(("known_at", "net_sales"), [(OPENS + 35 * DAY - SECOND, 0), (OPENS + 35 * DAY, 100)])
def test_a_refund_after_the_first_monday_with_a_closed_window_changes_nothing_any_more(
    recall_home: RecallHome, known_at: datetime, net_sales: int
) -> None:
    """The window of 30 days is over on a Wednesday; the week that ends on the next Monday fixes it."""
    orders_are(recall_home, [Order("o1", "a", OPENS + DAY, refunded=100, refunded_at=known_at)])
    lists_are(recall_home, Assigned("a"))
    assert {
        row["net_sales"] for row in outcomes(recall_home, *(week(number) for number in range(5, 12)))
    } == {net_sales}


def test_a_refund_of_an_older_order_does_not_lower_the_sales(recall_home: RecallHome) -> None:
    orders_are(
        recall_home,
        [
            Order("old", "a", OPENS - DAY, refunded=100, refunded_at=OPENS + DAY),
            Order("new", "a", OPENS + DAY, refunded=30, refunded_at=OPENS + 2 * DAY),
        ],
    )
    lists_are(recall_home, Assigned("a"))
    assert outcome_row(recall_home, week(9))["net_sales"] == 70


def test_an_order_without_money_is_no_return(recall_home: RecallHome) -> None:
    orders_are(
        recall_home, [Order("gift", "a", OPENS + DAY, amount=0), Order("cent", "b", OPENS, Decimal("0.01"))]
    )
    lists_are(recall_home, Assigned("a"), Assigned("b"))
    row = outcome_row(recall_home, week(9))
    assert (row["returned"], row["orders"], row["net_sales"]) == (1, 1, Decimal("0.01"))


def test_goods_sent_back_are_no_return_of_a_customer(recall_home: RecallHome) -> None:
    orders_are(recall_home, [Order("credit note", "a", OPENS + DAY, line_type="return")])
    lists_are(recall_home, Assigned("a"))
    row = outcome_row(recall_home, week(9))
    assert (row["returned"], row["net_sales"]) == (0, 0)


def test_an_order_of_several_lines_is_one_order(recall_home: RecallHome) -> None:
    orders_are(recall_home, [Order("o1", "a", OPENS, lines=4), Order("o2", "a", OPENS + DAY)])
    lists_are(recall_home, Assigned("a"), Assigned("b"))
    row = outcome_row(recall_home, week(9))
    assert (row["returned"], row["orders"], row["net_sales"], row["response_rate"]) == (1, 2, 200, 0.5)


def test_everybody_counts_in_the_arm_and_class_they_were_drawn_into(recall_home: RecallHome) -> None:
    orders_are(recall_home, [Order(f"o-{name}", name, OPENS + DAY) for name in ("a", "c", "d", "stranger")])
    lists_are(
        recall_home,
        Assigned("a"),
        Assigned("b"),
        Assigned("c", arm="holdout"),
        Assigned("d", churn_class="B"),
        Assigned("e", churn_class="B", arm="holdout"),
    )
    rows = outcomes(recall_home, week(9))
    found = [(row["churn_class"], row["arm"], row["assigned"], row["returned"]) for row in rows]
    assert found == [
        ("A", "holdout", 1, 1),
        ("A", "recall", 2, 1),
        ("B", "holdout", 1, 0),
        ("B", "recall", 1, 1),
    ]


def test_reached_is_who_was_tagged_for_this_list_in_either_arm(recall_home: RecallHome) -> None:
    orders_are(recall_home, [])
    actions = pl.DataFrame(
        [
            (name, "T", action, "A", "listed")
            for name, action in (("a", "add"), ("b", "add"), ("d", "add"), ("x", "remove"))
        ],
        schema=["customer_id", "tag", "action", "churn_class", "reason"],
        orient="row",
    )
    assigned = [Assigned("a"), Assigned("b"), Assigned("c"), Assigned("x"), Assigned("d", arm="holdout")]
    lists_are(recall_home, *assigned, actions=actions)
    outcome = [
        ("a", "T", "done", None),
        ("b", "T", "failed", "no"),
        ("d", "T", "done", None),
        ("x", "T", "done", None),
    ]
    recall_home.ledger.record(FIRST_WEEK, outcome)
    assert {row["arm"]: row["reached"] for row in outcomes(recall_home, week(0))} == {
        "recall": 1,
        "holdout": 1,
    }


def log_is(recall_home: RecallHome, *rows: tuple[str, str, datetime | None]) -> None:
    """The team's log of the list of week 0: (customer, outcome, reached_at)."""
    log = [
        {
            "week": FIRST_WEEK,
            "customer_id": customer,
            "arm": "recall",
            "channel": "phone",
            "outcome": outcome,
            "reached_at": at,
            "source_file": "outreach/calls.csv",
        }
        for customer, outcome, at in rows
    ]
    types = {name: column.dtype.type for name, column in OUTREACH_LOG.schema.columns.items()}
    frame = pl.DataFrame(log, schema=types, orient="row")
    with recall_home.warehouse.transaction() as session, session.frames(literal_rows=frame):
        session.replace(OUTREACH_LOG, "select * from literal_rows")


def test_of_whom_the_log_speaks_it_decides_who_was_reached_and_the_tag_of_the_others(
    recall_home: RecallHome,
) -> None:
    orders_are(recall_home, [])
    tags = [(name, "T", "add", "A", "listed") for name in ("tagged", "in vain", "called", "held out")]
    actions = pl.DataFrame(tags, schema=NO_ACTIONS.schema, orient="row")
    names = ("tagged", "in vain", "called", "refused", "twice", "nobody")
    held_out = Assigned("held out", arm="holdout")
    lists_are(recall_home, *map(Assigned, names), held_out, actions=actions)
    recall_home.ledger.record(FIRST_WEEK, [(name, "T", "done", None) for name, *_ in tags])
    log_is(
        recall_home,
        ("in vain", "not_reached", None),
        ("held out", "not_reached", None),
        ("called", "reached", OPENS),
        ("refused", "refused", None),
        ("twice", "not_reached", OPENS),
        ("twice", "reached", OPENS + DAY),
    )
    # tagged, called, refused, twice; a hold-out that was tagged is contaminated all the same
    assert {row["arm"]: row["reached"] for row in outcomes(recall_home, week(1))} == {
        "recall": 4,
        "holdout": 1,
    }


@pytest.mark.parametrize(
    ("at", "reached"),
    [
        (OPENS + 7 * DAY - SECOND, [0, 1, 1, 1]),
        (OPENS + 7 * DAY, [0, 0, 1, 1]),
        # the window of 30 days is over within the fifth week; the Monday after it fixes the outcome
        (OPENS + 35 * DAY - SECOND, [0, 0, 0, 1]),
        (OPENS + 35 * DAY, [0, 0, 0, 0]),
        (None, [1, 1, 1, 1]),
    ],
)
def test_a_week_knows_no_later_contact_and_none_after_the_window_has_closed(
    recall_home: RecallHome, at: datetime | None, reached: list[int]
) -> None:
    orders_are(recall_home, [])
    lists_are(recall_home, Assigned("a"))
    log_is(recall_home, ("a", "reached", at))
    rows = outcomes(recall_home, week(0), week(1), week(4), week(12))
    assert [row["reached"] for row in rows] == reached


def test_every_campaign_is_told_apart(recall_home: RecallHome) -> None:
    orders_are(recall_home, [Order("o1", "a", OPENS + 8 * DAY), Order("o2", "b", OPENS + 8 * DAY)])
    lists_are(recall_home, Assigned("a"), Assigned("b", week(1)), Assigned("c", week(3)))
    rows = outcomes(recall_home, week(2))
    assert [(row["campaign_week"], row["assigned"], row["returned"]) for row in rows] == [
        (week(0), 1, 1),
        (week(1), 1, 1),
    ]


def test_without_any_sealed_list_there_is_nothing_to_tell(recall_home: RecallHome) -> None:
    orders_are(recall_home, [Order("o1", "a", OPENS)])
    assert outcomes(recall_home, week(0), week(1)) == []

"""A known effect for a made-up shop: orders of recalled customers who would not have come back by themselves.

What the review finds can then be compared with what was simulated. Belongs here: drawing who answers a sealed
list, and the export with their orders. The shop itself is ``sample_shop``'s.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from rfm_pipeline.errors import RfmError
from rfm_pipeline.ingest.presets import STANDARD
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import WEEK, as_of, weeks_between

# SKU, name and price in cents of what those who answer buy
_GOODS = (
    ("SCE301", "白茶香薰蜡烛", 15_800),
    ("THR201", "针织流苏沙发毯", 23_900),
    ("BAT901", "埃及棉浴巾", 16_900),
)

_STAY_AWAY = """
select a.customer_id
from assignments a
where a.arm = 'recall' and not exists (
    select 1 from order_lines o
    where o.customer_id = a.customer_id and o.line_type = 'sale' and o.amount > 0
        and o.order_at >= $opens_at and o.order_at < $closes_at
)
order by a.customer_id
"""


@dataclass(frozen=True)
class SimulatedAnswers:
    """What was simulated for one list.

    Attributes:
        week: The list's week.
        recalled: Customers in the recall arm.
        answered: Of them, those given an order that they would not have placed.
        path: The export with their orders; None if nobody answered.
    """

    week: date
    recalled: int
    answered: int
    path: Path | None


def simulate_answers(
    warehouse: Warehouse, ledger: Ledger, shop: Shop, week: date, *, effect: float, seed: int
) -> SimulatedAnswers:
    """Raises the return of a sealed list's recall arm by a given amount, on average.

    Drawn among those who would have stayed away, so that the difference to what would have been is the
    effect and nothing else. The hold-out is left as it is. The same seed makes the same orders.

    Args:
        warehouse: Holds the shop's orders as they are without the effect.
        ledger: Holds the list.
        shop: The settings.
        week: The list's week.
        effect: By how much the share who return in the response window rises, between 0 and 1.
        seed: Of the draw.

    Raises:
        RfmError: If the list isn't sealed, or fewer would have stayed away than the effect needs.
    """
    if week not in ledger.sealed_weeks():
        raise RfmError(f"the list of week {week} isn't sealed: no answer can be simulated.")
    opens_at = datetime.combine(as_of(week), time.min)
    closes_at = opens_at + timedelta(days=shop.review.response_days)
    assignments = ledger.assignments([week], columns=("week", "customer_id", "arm"))
    recalled = assignments.filter(pl.col("arm") == "recall").height
    with warehouse.transaction() as session, session.frames(assignments=assignments):
        away = session.read(_STAY_AWAY, {"opens_at": opens_at, "closes_at": closes_at})["customer_id"]
    wanted = effect * recalled
    if wanted > len(away):
        raise RfmError(
            f"an effect of {effect:.1%} on week {week} needs {wanted:.0f} customers who would have stayed "
            f"away; there are {len(away)}."
        )
    rng = np.random.default_rng([seed, week.toordinal()])
    answers = away.filter(pl.Series(rng.random(len(away)) < wanted / max(len(away), 1)))
    if answers.is_empty():
        return SimulatedAnswers(week, recalled, 0, None)
    path = shop.orders_dir / f"answers_{as_of(week)}.csv"
    _write_orders(path, answers, rng, opens_at, shop.review.response_days)
    return SimulatedAnswers(week, recalled, len(answers), path)


def _write_orders(
    path: Path, customers: pl.Series, rng: np.random.Generator, opens_at: datetime, days: int
) -> None:
    """One order a customer, at a second of the response window."""
    size = len(customers)
    goods = pl.DataFrame(_GOODS, schema=["sku", "product_name", "cents"], orient="row")
    seconds = rng.integers(0, days * 86_400, size)
    ordered_at = pl.lit(opens_at) + pl.duration(seconds="seconds")
    yuan = pl.format("{}.{}", pl.col("cents") // 100, (pl.col("cents") % 100).cast(pl.String).str.zfill(2))
    bought = goods[rng.integers(0, goods.height, size)]
    frame = bought.with_columns(customers.alias("customer_id"), pl.Series("seconds", seconds)).sort("seconds")
    rows = frame.with_row_index("number", offset=1).select(
        pl.format(
            "ZH{}{}", pl.lit(f"{opens_at:%Y%m%d}"), pl.col("number").cast(pl.String).str.zfill(6)
        ).alias("order_id"),
        pl.lit("1").alias("line_no"),
        "customer_id",
        ordered_at.dt.strftime("%Y-%m-%d %H:%M:%S").alias("ordered_at"),
        pl.lit("sale").alias("line_type"),
        "sku",
        "product_name",
        pl.lit("1").alias("quantity"),
        yuan.alias("unit_price"),
        yuan.alias("list_price"),
        yuan.alias("amount"),
        pl.lit("paid").alias("order_status"),
    )
    missing = [pl.lit(None, pl.String).alias(name) for name in STANDARD if name not in rows.columns]
    rows.with_columns(missing).select(STANDARD).write_csv(path)


def simulate_campaigns(
    shop: Shop, *, effect: float, campaigns: int, seed: int, run: Callable[[Shop, date], object]
) -> list[SimulatedAnswers]:
    """Runs a shop week by week and simulates the answers to every list; at the end all windows are closed.

    Sets ``recall.allow_past_weeks`` in the shop's settings: lists of past weeks are sealed.

    Args:
        shop: A made-up shop with an end (``shop.last_week``).
        effect: See :func:`simulate_answers`.
        campaigns: How many weekly lists.
        seed: Of the draws.
        run: Takes one week of the shop through all stages.

    Raises:
        RfmError: If the shop has too few weeks.
    """
    weeks = campaign_weeks(shop, campaigns)
    settings = shop.home / "shop.yaml"
    text = re.sub(r"(?m)^(  allow_past_weeks:) false", r"\1 true", settings.read_text("utf-8"))
    settings.write_text(text, "utf-8")
    shop = load_shop(shop.home)
    ledger = Ledger(shop.ledger_url)
    # no lock is waited for: the runs take place in this process, one after the other
    warehouse = Warehouse(shop.warehouse_path, shop.warehouse.memory_limit, shop.warehouse.threads)
    simulated = []
    for week in weeks:
        run(shop, week)
        simulated.append(simulate_answers(warehouse, ledger, shop, week, effect=effect, seed=seed))
    return simulated


def campaign_weeks(shop: Shop, campaigns: int) -> Sequence[date]:
    """The last weeks whose response window is closed at the shop's end.

    Raises:
        RfmError: If the shop's grid has too few weeks, or no end.
    """
    last = shop.shop.last_week
    if last is None:
        raise RfmError("only a shop with an end (shop.last_week) can have a simulated effect.")
    newest = last - -(-shop.review.response_days // 7) * WEEK
    first = newest - (campaigns - 1) * WEEK
    if first < shop.shop.first_week:
        raise RfmError(
            f"{campaigns} lists with a closed window need a grid from {first} on; this one begins with "
            f"{shop.shop.first_week}. Make more weeks, or fewer campaigns."
        )
    return weeks_between(first, newest)

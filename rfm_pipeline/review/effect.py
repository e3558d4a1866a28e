"""What the recall changed: the arms compared, campaign by campaign and pooled, with a verdict in words.

By assignment (intention to treat): everybody counts in the arm they were drawn into, reached or not. A class
whose campaign drew no hold-out has nothing to be compared with and is left out, on both sides. Nothing here
knows Dagster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from rfm_pipeline.ledger import Ledger
from rfm_pipeline.review.inputs import PACKAGE, campaigns
from rfm_pipeline.review.schemas import RECALL_EFFECT, RECALL_OUTCOMES
from rfm_pipeline.review.statistics import (
    Floats,
    Interval,
    Sums,
    bootstrap_difference,
    newcombe,
    ratio_p,
    smallest_effect,
    welch,
    wilson,
)
from rfm_pipeline.shop import ALL_CLASSES, HOLDOUT, RECALL, Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.warehouse.sql import read_sql

RATIO_LIMIT = 0.001
"""Arms less likely than this under the share drawn for are reported: something else than the draw decided."""

ENOUGH_RETURNERS = 30
"""With fewer in an arm, an interval of what they spent holds the truth less often than it says: 83 times of
100 with 3 in the hold-out, 93 with 33 (benchmarks/results/recall_effect.md)."""

_ANSWERED = """
select week, campaign_week, churn_class, arm, list(cast(net_sales as double) order by customer_id) as amounts
from recall_answers
where net_sales <> 0
group by week, campaign_week, churn_class, arm
"""

_COUNTS = ("assigned", "reached", "returned")


@dataclass(frozen=True)
class Arm:
    """One arm of a comparison.

    Attributes:
        assigned: Customers drawn into it.
        reached: Of them, tagged or contacted.
        returned: Of them, back in the window.
        net_sales: Their money, exact.
        squares: Net sales of each customer squared, added up.
        amounts: Net sales of each customer who brought any.
    """

    assigned: int
    reached: int
    returned: int
    net_sales: Any
    squares: float
    amounts: Floats

    @property
    def sums(self) -> Sums:
        """Net sales of all its customers, those who brought nothing included."""
        return Sums(self.assigned, float(self.net_sales), self.squares)


def write_recall_effect(
    warehouse: Warehouse, ledger: Ledger, shop: Shop, weeks: Sequence[date]
) -> dict[date, int]:
    """Writes ``recall_effect`` for the weeks; returns each week's number of rows.

    The outcomes are those of ``recall_outcomes``, selected again: an effect never stands beside older ones.
    """
    with warehouse.transaction() as session, campaigns(session, ledger, shop, weeks):
        session.create(RECALL_OUTCOMES)
        outcomes = session.read(
            f"select * from ({read_sql(PACKAGE, RECALL_OUTCOMES.name)}) order by all",
            {"response_days": shop.review.response_days},
        )
        answered = session.read(_ANSWERED)
        effects = compute_effects(outcomes, answered, shop)
        with session.frames(effect_rows=effects):
            return session.replace_weeks(RECALL_EFFECT, weeks, "select * from effect_rows")


def compute_effects(outcomes: pl.DataFrame, answered: pl.DataFrame, shop: Shop) -> pl.DataFrame:
    """The rows of ``recall_effect``.

    Args:
        outcomes: Rows of ``recall_outcomes``.
        answered: week, campaign_week, churn_class, arm, amounts: net sales of each customer who brought any.
        shop: The settings.
    """
    known = outcomes.join(answered, on=["week", "campaign_week", "churn_class", "arm"], how="left")
    both = pl.col("arm").n_unique().over("week", "campaign_week", "churn_class") == 2
    known = known.with_columns(compared=both)
    every_class = known.with_columns(churn_class=pl.lit(ALL_CLASSES))
    of_class = pl.concat([known, every_class])
    rows: list[dict[str, Any]] = []
    made: dict[Any, dict[str, Any]] = {}
    for (week, campaign, churn_class), cells in of_class.group_by(
        "week", "campaign_week", "churn_class", maintain_order=True
    ):
        place = {"week": week, "scope": "campaign", "campaign_week": campaign, "churn_class": churn_class}
        rows.append(place | _compare(cells, shop, made))
    for week in outcomes["week"].unique(maintain_order=True):
        for churn_class in (ALL_CLASSES, *"ABC"):
            cells = of_class.filter(pl.col("is_final"), week=week, churn_class=churn_class)
            if churn_class == ALL_CLASSES or cells.height:
                place = {"week": week, "scope": "pooled", "campaign_week": None, "churn_class": churn_class}
                rows.append(place | _compare(cells, shop, made))
    return pl.DataFrame(rows, schema=_types(), orient="row")


def _types() -> dict[str, Any]:
    return {name: column.dtype.type for name, column in RECALL_EFFECT.schema.columns.items()}


def _compare(cells: pl.DataFrame, shop: Shop, made: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    """A comparison's figures; what was computed for the same arms at another week is not computed again."""
    compared = cells.filter("compared")
    recall, holdout = (_arm(compared.filter(arm=name)) for name in (RECALL, HOLDOUT))
    all_campaigns = cells["campaign_week"].unique().sort().to_list()
    is_final = bool(all_campaigns) and bool(cells["is_final"].all())
    key = (
        tuple(all_campaigns),
        is_final,
        cells["assigned"].sum(),
        *(
            (arm.assigned, arm.reached, arm.returned, arm.net_sales, arm.amounts.tobytes())
            for arm in (recall, holdout)
        ),
    )
    if key not in made:
        seed = all_campaigns[-1].toordinal() if all_campaigns else 0
        made[key] = {
            "campaigns": len(all_campaigns),
            "left_out": int(cells["assigned"].sum()) - recall.assigned - holdout.assigned,
            "is_final": is_final,
            **compare_arms(recall, holdout, shop, is_final=is_final, seed=seed),
        }
    return made[key]


def _arm(cells: pl.DataFrame) -> Arm:
    counts = {name: int(cells[name].sum()) for name in _COUNTS}
    amounts = cells["amounts"].explode().drop_nulls().cast(pl.Float64).to_numpy()
    net_sales = cells["net_sales"].sum() if cells.height else 0
    return Arm(
        **counts, net_sales=net_sales, squares=float(cells["net_sales_squares"].sum()), amounts=amounts
    )


def compare_arms(recall: Arm, holdout: Arm, shop: Shop, *, is_final: bool, seed: int) -> dict[str, Any]:
    """Everything that is said of two arms.

    Args:
        recall: Those drawn to be contacted.
        holdout: Those drawn to be left alone.
        shop: The settings.
        is_final: Whether the response window has closed.
        seed: Of the bootstrap.
    """
    found: dict[str, Any] = {
        "recall_assigned": recall.assigned,
        "recall_reached": recall.reached,
        "recall_returned": recall.returned,
        "recall_net_sales": recall.net_sales,
        "holdout_assigned": holdout.assigned,
        "holdout_contaminated": holdout.reached,
        "holdout_returned": holdout.returned,
        "holdout_net_sales": holdout.net_sales,
    }
    for name, arm in (("recall_rate", recall), ("holdout_rate", holdout)):
        found |= _columns(name, wilson(arm.returned, arm.assigned) if arm.assigned else None)
    lift = sales = None
    if recall.assigned and holdout.assigned:
        lift = newcombe(recall.returned, recall.assigned, holdout.returned, holdout.assigned)
        sales = welch(recall.sums, holdout.sums)
        low, high = bootstrap_difference(
            recall.amounts, recall.assigned, holdout.amounts, holdout.assigned, seed
        )
        share = float(shop.recall.holdout_share)
        found |= {"sales_lift_boot_low": low, "sales_lift_boot_high": high}
        found["sales_trusted"] = min(recall.returned, holdout.returned) >= ENOUGH_RETURNERS
        found["smallest_effect"] = smallest_effect(
            recall.assigned, holdout.assigned, holdout.returned / holdout.assigned
        )
        found["ratio_p"] = ratio_p(holdout.assigned, recall.assigned + holdout.assigned, share)
        found["ratio_ok"] = found["ratio_p"] >= RATIO_LIMIT
    found |= _columns("rate_lift", lift) | _columns("sales_lift", sales)
    found |= _columns("incremental_customers", lift and lift.times(recall.assigned))
    found |= _columns("incremental_sales", sales and sales.times(recall.assigned))
    verdict, reason = judge(
        lift, found.get("smallest_effect"), float(shop.review.harm_margin), is_final=is_final
    )
    return found | {"verdict": verdict, "reason": reason}


def _columns(name: str, interval: Interval | None) -> dict[str, float | None]:
    if interval is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


def judge(
    lift: Interval | None, smallest: float | None, harm_margin: float, *, is_final: bool
) -> tuple[str, str]:
    """The verdict on a difference in response rates, and why.

    Args:
        lift: The difference with its interval; None without a hold-out.
        smallest: The smallest difference that arms of this size would show.
        harm_margin: Harm from here on would matter.
        is_final: Whether the response window has closed. Before, nothing is judged: who looks every week
            until something shows will see something.

    Returns:
        One of ``VERDICTS``, and a sentence.
    """
    if not is_final:
        return "too_early", "no response window has closed yet"
    if lift is None:
        return "too_small", "no class has both arms: there is nothing to compare with"
    span = f"the difference lies between {lift.low:+.2%} and {lift.high:+.2%}"
    if lift.low > 0:
        return "works", f"{span}: above 0"
    if lift.high < 0:
        return "does_harm", f"{span}: below 0"
    if lift.low > -harm_margin:
        return "does_no_harm", f"{span}: harm of {harm_margin:.2%} (review.harm_margin) is ruled out"
    shown = "no difference at all" if smallest is None else f"only a difference from {smallest:.2%}"
    return "too_small", f"{span}; arms of this size show {shown} with a power of 80 %"

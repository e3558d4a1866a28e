"""Whether the review finds the truth: 500 campaigns with a planted effect, judged by the product's own code.

    uv run python -m benchmarks.recall_effect --campaigns 500

Every campaign is a sealed list of its own customers, drawn into arms as the product draws them (class by
class, the share rounded). Who returns and what they spend is drawn by known chances, so the truth is known.
The orders go through `recall_outcomes` and `recall_effect` like any shop's. Nothing here is a test of speed.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from benchmarks.report import machine, say, table, write
from rfm_pipeline.ingest.schemas import ORDER_LINES
from rfm_pipeline.ledger import ASSIGNMENT_SCHEMA, Ledger
from rfm_pipeline.review.effect import write_recall_effect
from rfm_pipeline.review.outcomes import write_recall_outcomes
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.warehouse.duckdb import Warehouse

FIRST = date(2010, 1, 4)
# class: share of the list, chance to return within the window without being asked
CLASSES = {"A": (0.55, 0.08), "B": (0.25, 0.04), "C": (0.20, 0.06)}
# net sales of a returner: lognormal, whole list alike
LOG_MEAN, LOG_SPREAD = 6.0, 0.9
HOLDOUT_SHARE = 0.1


@dataclass(frozen=True)
class Scenario:
    """What recall does: the rise of the chance to return, for everybody, and lists of what size."""

    name: str
    effect: float
    customers: int


SCENARIOS = (
    Scenario("no effect, 500 a list", 0.0, 500),
    Scenario("+3 points, 500 a list", 0.03, 500),
    Scenario("−3 points, 500 a list", -0.03, 500),
    Scenario("no effect, 5,000 a list", 0.0, 5000),
    Scenario("+3 points, 5,000 a list", 0.03, 5000),
)


def draw_lists(scenario: Scenario, campaigns: int, rng: np.random.Generator) -> pl.DataFrame:
    """One row a customer on a list: campaign, class, arm, whether they return, what they would spend."""
    shares = [share for share, _ in CLASSES.values()]
    size = scenario.customers
    parts = []
    for number in range(campaigns):
        sizes = rng.multinomial(size, shares)
        for name, count in zip(CLASSES, sizes, strict=True):
            holdout = int(Decimal(int(count)) * Decimal(str(HOLDOUT_SHARE)) + Decimal("0.5"))
            arm = np.full(count, "recall", dtype=object)
            arm[rng.permutation(count)[:holdout]] = "holdout"
            chance = CLASSES[name][1] + np.where(arm == "recall", scenario.effect, 0.0)
            returns = rng.random(count) < chance
            parts.append(
                pl.DataFrame(
                    {
                        "campaign": np.full(count, number),
                        "churn_class": [name] * count,
                        "arm": arm.tolist(),
                        "returns": returns,
                        "cents": np.round(np.exp(rng.normal(LOG_MEAN, LOG_SPREAD, count)) * 100).astype(
                            np.int64
                        ),
                    }
                )
            )
    return pl.concat(parts).with_row_index("number")


def write_shop(home: Path, lists: pl.DataFrame) -> tuple[Shop, Warehouse, Ledger, date]:
    """A home whose ledger holds the lists and whose warehouse the orders; returns the last week, too."""
    home.mkdir(parents=True)
    shop_section = {"name": "模拟", "first_week": FIRST}
    settings: dict[str, Any] = {"shop": shop_section, "recall": {"holdout_share": HOLDOUT_SHARE}}
    (home / "shop.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")
    shop = load_shop(home)
    warehouse, ledger = Warehouse(shop.warehouse_path), Ledger(shop.ledger_url)
    campaigns = lists["campaign"].n_unique()
    week = pl.lit(FIRST) + pl.duration(days=7 * pl.col("campaign").cast(pl.Int64))
    named = lists.with_columns(
        week=week.cast(pl.Date), customer_id=pl.format("M{}", pl.col("number").cast(pl.String).str.zfill(8))
    )
    no_actions = pl.DataFrame(
        schema=dict.fromkeys(("customer_id", "tag", "action", "churn_class", "reason"), pl.String)
    )
    for (day,), rows in named.group_by("week", maintain_order=True):
        assert isinstance(day, date)
        listed = rows.select("week", "customer_id", "churn_class", "arm").with_columns(
            silent_since=pl.lit(datetime(2009, 6, 1)),
            priority=pl.int_range(1, rows.height + 1),
            favourite_sku=pl.lit(None, pl.String),
            favourite_product=pl.lit(None, pl.String),
            recency_days=pl.lit(100),
            frequency=pl.lit(1),
            monetary=pl.lit("10.0000"),
            **{
                name: pl.lit(None, pl.String)
                for name in ("offer", "coupon_code", "sms", "email_subject", "email_body", "wecom_text")
            },
        )
        assert ledger.seal(day, listed.select(*ASSIGNMENT_SCHEMA), no_actions, "simulated")
    _write_orders(warehouse, named.filter("returns"))
    return shop, warehouse, ledger, FIRST + timedelta(weeks=campaigns + 5)


def _write_orders(warehouse: Warehouse, returners: pl.DataFrame) -> None:
    amount = (pl.col("cents").cast(pl.Decimal(18, 4)) / 100).cast(pl.Decimal(18, 4))
    # some days into the window, the same for everybody with the same number
    ordered_at = pl.col("week").cast(pl.Datetime("us")) + pl.duration(
        days=7 + pl.col("number").cast(pl.Int64) % 30, hours=10
    )
    types = {name: column.dtype.type for name, column in ORDER_LINES.schema.columns.items()}
    made = returners.with_columns(
        order_id=pl.format("O{}", "number"),
        line_no=pl.lit(1),
        ordered_at=ordered_at,
        order_at=ordered_at,
        line_type=pl.lit("sale"),
        sku=pl.lit("CUP1"),
        product_name=pl.lit("茶杯"),
        quantity=pl.lit(1),
        unit_price=amount,
        amount=amount,
        refunded_amount=pl.lit(0),
        week=ordered_at.dt.truncate("1w").cast(pl.Date),
        is_product=pl.lit(True),
        batch_id=pl.lit(1),
        row_no=pl.col("number").cast(pl.Int64) + 1,
    )
    nothing = [pl.lit(None).alias(name) for name in types if name not in made.columns]
    frame = made.with_columns(nothing).select(*types).cast(types)  # type: ignore[arg-type]
    with warehouse.transaction() as session, session.frames(simulated=frame):
        session.replace(ORDER_LINES, "select * from simulated")


def effects_of(scenario: Scenario, campaigns: int, seed: int) -> pl.DataFrame:
    """The rows of ``recall_effect`` over all classes, once every window has closed."""
    lists = draw_lists(scenario, campaigns, np.random.default_rng([seed, SCENARIOS.index(scenario)]))
    with tempfile.TemporaryDirectory() as folder:
        shop, warehouse, ledger, last = write_shop(Path(folder) / "home", lists)
        write_recall_outcomes(warehouse, ledger, shop, [last])
        write_recall_effect(warehouse, ledger, shop, [last])
        return warehouse.read("select * from recall_effect where churn_class = 'all'")


def judged(scenario: Scenario, effects: pl.DataFrame) -> list[str]:
    """One line of the result."""
    single = effects.filter(pl.col("scope") == "campaign")
    [pooled] = effects.filter(pl.col("scope") == "pooled").to_dicts()
    sales = scenario.effect * float(np.exp(LOG_MEAN + LOG_SPREAD**2 / 2))

    def covers(name: str, truth: float, low: str = "_low", high: str = "_high") -> float:
        held = (pl.col(f"{name}{low}") <= truth) & (truth <= pl.col(f"{name}{high}"))
        return float(single.select(held.mean()).item())

    def share(verdict: str) -> float:
        return float((single["verdict"] == verdict).mean() or 0)  # type: ignore[arg-type]

    naive = float(single["recall_rate"].mean())  # type: ignore[arg-type]
    return [
        scenario.name,
        f"{covers('rate_lift', scenario.effect):.1%}",
        f"{covers('sales_lift', sales):.1%}",
        f"{covers('sales_lift', sales, '_boot_low', '_boot_high'):.1%}",
        f"{share('works'):.1%}",
        f"{share('does_harm'):.1%}",
        f"{share('does_no_harm'):.1%}",
        f"{share('too_small'):.1%}",
        f"{naive:.1%}",
        f"{naive - scenario.effect:+.1%}",
        f"{pooled['rate_lift']:+.2%} ({pooled['rate_lift_low']:+.2%} to {pooled['rate_lift_high']:+.2%})",
        pooled["verdict"],
    ]


HEADER = (
    "",
    "rate interval holds the truth",
    "sales, Welch",
    "sales, bootstrap",
    "works",
    "does harm",
    "does no harm",
    "too small",
    "naive response rate",
    "overstates by",
    "pooled lift",
    "pooled verdict",
)


def simulate(campaigns: int, seed: int, scenarios: Sequence[Scenario] = SCENARIOS) -> list[list[str]]:
    """All scenarios, one after the other."""
    rows = []
    for scenario in scenarios:
        say(scenario.name)
        rows.append(judged(scenario, effects_of(scenario, campaigns, seed)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="the review's effect against planted truth")
    parser.add_argument("--campaigns", type=int, default=500, help="planted campaigns a scenario")
    parser.add_argument("--seed", type=int, default=20, help="of the draws")
    arguments = parser.parse_args()
    rows = simulate(arguments.campaigns, arguments.seed)
    chances = ", ".join(f"{name} {chance:.0%}" for name, (_, chance) in CLASSES.items())
    write(
        "recall_effect",
        f"# Does the review find the truth?\n\n{machine('duckdb', 'polars', 'scipy')}\n\n"
        f"{arguments.campaigns} planted campaigns a scenario (seed {arguments.seed}), each with its own "
        f"customers and a hold-out of {HOLDOUT_SHARE:.0%} a class. Who is left alone returns within 30 days "
        f"with a chance that depends on the class ({chances}); recall adds the effect to it. A returner "
        "spends a lognormal amount, the same whether recalled or not. Shares are of the campaigns; pooled is "
        "all of them together.\n\n"
        + table(HEADER, rows)
        + "\n\nThe naive response rate is what a shop without a hold-out would report: the share of the "
        "contacted who came back, as if none of them would have come back by themselves.",
    )


if __name__ == "__main__":
    main()

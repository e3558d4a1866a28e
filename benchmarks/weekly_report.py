"""The review's figures and the owner's page for a shop of a million customers, step by step.

    uv run python -m benchmarks.weekly_report --lines 7000000 --weeks 40

Makes a shop's order lines (the same at every run), diagnoses the weeks in one range run and seals a list in
each of the eight weeks before the newest. Then the newest week's review is made as a weekly run makes it, and
beside it the tables that it reads are read once, whole: what is left is the review's own work.
"""

import argparse
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import yaml

from benchmarks.report import machine, peak_memory, say, table, timed, write
from benchmarks.shops import FIRST_WEEK, WEEKS, make_tables, sized
from rfm_pipeline.contacts.reach import read_reach
from rfm_pipeline.diagnose.pipeline import (
    write_customer_rfm,
    write_customer_segments,
    write_new_silent_churners,
    write_silent_churners,
)
from rfm_pipeline.ingest.schemas import ORDER_BATCHES, REJECTED_ROWS
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.recall.listing import ledger_rows, write_recall_list
from rfm_pipeline.recall.tagging import write_tag_plan
from rfm_pipeline.review.effect import write_recall_effect
from rfm_pipeline.review.models.backtest import write_value_backtest
from rfm_pipeline.review.models.dormancy import write_dormancy_curve
from rfm_pipeline.review.models.returners import write_returner_value
from rfm_pipeline.review.models.sleeping import write_sleeping_value
from rfm_pipeline.review.outcomes import write_recall_outcomes
from rfm_pipeline.review.report.page import write_reports
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import WEEK, weeks_between

CAMPAIGNS = 8
READ = ("customer_activity", "customer_rfm", "customer_segments", "silent_churners", "new_silent_churners")


def diagnosed_shop(home: Path, lines: int, weeks: int) -> tuple[Shop, Warehouse, Ledger, date]:
    """A shop with its weeks diagnosed and eight lists sealed; the newest week is the last of them."""
    newest = FIRST_WEEK + (WEEKS - 1) * WEEK
    grid = weeks_between(newest - (weeks - 1) * WEEK, newest)
    settings = {
        "shop": {"name": "bench", "first_week": grid[0]},
        "recall": {"weekly_capacity": 5000, "max_changes": 10_000},
    }
    (home / "shop.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    shop = load_shop(home)
    warehouse, ledger = Warehouse(shop.warehouse_path), Ledger(shop.ledger_url)
    make_tables(warehouse, sized(lines))
    with warehouse.transaction() as session:
        # the lines come from no file; the page asks what was read
        session.create(ORDER_BATCHES)
        session.create(REJECTED_ROWS)
    for make in (
        write_customer_rfm,
        write_customer_segments,
        write_silent_churners,
        write_new_silent_churners,
    ):
        wall, _ = timed(lambda make=make: make(warehouse, shop, grid))
        say(f"{make.__name__}, {weeks} weeks: {wall:.1f} s")
    reach = read_reach(shop)
    for week in grid[-1 - CAMPAIGNS : -1]:
        write_recall_list(warehouse, ledger, shop, reach, [week])
        write_tag_plan(warehouse, ledger, shop, reach, [week])
        listed = warehouse.read("select * from recall_list where week = $week", {"week": week})
        plan = warehouse.read("select * from tag_plan where week = $week", {"week": week})
        ledger.seal(week, ledger_rows(listed), plan, "local")
    write_recall_list(warehouse, ledger, shop, reach, [newest])
    return shop, warehouse, ledger, newest


def read_all(warehouse: Warehouse) -> None:
    """Reads every row and column of the tables that the review is made from."""
    with warehouse.transaction() as session:
        for name in READ:
            session.execute(f"select bit_xor(hash(t)) from {name} t").fetchall()


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=int, default=7_000_000)
    parser.add_argument("--weeks", type=int, default=40)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shop, warehouse, ledger, newest = diagnosed_shop(Path(folder), asked.lines, asked.weeks)
        customers = warehouse.read(
            "select count(*) as n from customer_rfm where week = $week", {"week": newest}
        )["n"][0]
        steps: dict[str, Callable[[], object]] = {
            "recall_outcomes": lambda: write_recall_outcomes(warehouse, ledger, shop, [newest]),
            "recall_effect": lambda: write_recall_effect(warehouse, ledger, shop, [newest]),
            "returner_value": lambda: write_returner_value(warehouse, ledger, shop, [newest]),
            "sleeping_value": lambda: write_sleeping_value(warehouse, shop, [newest]),
            "value_backtest": lambda: write_value_backtest(warehouse, shop, [newest]),
            "dormancy_curve": lambda: write_dormancy_curve(warehouse, shop, [newest]),
            "weekly_report": lambda: write_reports(warehouse, shop, [newest]),
        }
        times = {}
        for name, step in steps.items():
            times[name] = timed(step)
            say(f"{name} {times[name][0]:.2f} s")
        reading = timed(lambda: read_all(warehouse))
        size = write_reports(warehouse, shop, [newest])[newest].stat().st_size
    total = sum(wall for wall, _ in times.values()), sum(cpu for _, cpu in times.values())
    beyond = total[0] - reading[0], total[1] - reading[1]
    rows = {**times, "all of it": total, "reading the tables alone": reading, "beyond reading": beyond}
    write(
        "weekly_report",
        f"# The review of a week, {customers:,} customers\n\n"
        f"{asked.lines:,} order lines, {asked.weeks} weeks of snapshots, {CAMPAIGNS} sealed lists; "
        f"`uv run python -m benchmarks.weekly_report --lines {asked.lines} --weeks {asked.weeks}`. "
        f"{machine('duckdb', 'polars', 'altair')}\n\n"
        + table(
            ["", "s", "processor s"],
            [[name, f"{wall:.2f}", f"{cpu:.2f}"] for name, (wall, cpu) in rows.items()],
        )
        + f"\n\nThe page: {size / 2**10:.0f} KiB. Peak memory of the process: {peak_memory():.2f} GiB.",
    )


if __name__ == "__main__":
    main()

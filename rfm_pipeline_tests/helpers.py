"""Small homes for tests: a shop's settings and exports on disk, and the chain run over them.

What belongs here drives the package the way a run does, without Dagster. What the numbers should be
is ``reference_model``'s.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from rfm_pipeline.diagnose.pipeline import (
    update_customer_activity,
    write_customer_rfm,
    write_customer_segments,
    write_new_silent_churners,
    write_silent_churners,
)
from rfm_pipeline.ingest.loading import LoadReport, load_new_files, update_order_lines
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline_tests.random_shops import FIRST_WEEK, to_standard_csv
from rfm_pipeline_tests.reference_model import Line, Rules

HEADER = "order_id,customer_id,ordered_at,sku,quantity,unit_price"
WEEKLY_TABLES = (
    "customer_rfm",
    "segment_thresholds",
    "customer_segments",
    "bestsellers",
    "low_prices",
    "silent_churners",
    "new_silent_churners",
)


def make_shop(home: Path, **sections: Mapping[str, Any]) -> Shop:
    """Writes a home's ``shop.yaml`` and reads it back; each section is merged into a plain one."""
    content: dict[str, dict[str, Any]] = {"shop": {"name": "茶铺", "first_week": FIRST_WEEK}}
    for name, section in sections.items():
        content[name] = content.get(name, {}) | dict(section)
    (home / "orders").mkdir(parents=True, exist_ok=True)
    (home / "shop.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), "utf-8")
    return load_shop(home)


def shop_of(home: Path, rules: Rules) -> Shop:
    """A home whose ``shop.yaml`` says what the rules of the plain reading say."""
    if rules.monetary_high is None:
        monetary_high = {"quantile": str(rules.monetary_high_quantile)}
    else:
        monetary_high = {"amount": str(rules.monetary_high)}
    codes = [*rules.not_products, *(f"{prefix}*" for prefix in rules.not_product_prefixes)]
    return make_shop(
        home,
        shop={"first_week": rules.first_week},
        orders={"not_products": codes},
        rules={
            "frequency_high": rules.frequency_high,
            "monetary_high": monetary_high,
            "dormant_after_days": rules.dormant_after_days,
            "lapsing_after_days": rules.lapsing_after_days,
            "bestsellers": {"top": rules.bestsellers_top},
            "product_window_days": rules.product_window_days,
            "low_price_quantile": str(rules.low_price_quantile),
            "clearance_share": str(rules.clearance_share),
            # random shops are looked at for weeks after their last order
            "max_order_gap_days": 10_000,
        },
    )


def small_warehouse(shop: Shop) -> Warehouse:
    """The home's warehouse, sized for a test."""
    return Warehouse(shop.warehouse_path, memory_limit="1GB", threads=1, lock_wait_seconds=5)


def write_export(shop: Shop, name: str, *rows: str, header: str = HEADER) -> Path:
    """An export in the landing folder, from its header and rows as text."""
    path = shop.orders_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in (header, *rows)), "utf-8")
    return path


def ingest(warehouse: Warehouse, shop: Shop) -> LoadReport:
    """Loads what is new and brings the order lines and the activity up to date."""
    report = load_new_files(warehouse, shop)
    update_order_lines(warehouse, shop)
    update_customer_activity(warehouse)
    return report


def diagnose(warehouse: Warehouse, shop: Shop, weeks: Sequence[date]) -> None:
    """Makes all weekly tables of the weeks in one range run."""
    write_customer_rfm(warehouse, shop, weeks)
    write_customer_segments(warehouse, shop, weeks)
    write_silent_churners(warehouse, shop, weeks)
    write_new_silent_churners(warehouse, shop, weeks)


def diagnosed(home: Path, lines: Sequence[Line], rules: Rules, weeks: Sequence[date]) -> Warehouse:
    """A home in which the lines were exported, loaded and diagnosed for the weeks in one range run."""
    shop = shop_of(home, rules)
    to_standard_csv(lines, shop.orders_dir / "orders.csv")
    warehouse = small_warehouse(shop)
    ingest(warehouse, shop)
    diagnose(warehouse, shop, weeks)
    return warehouse


def table_rows(warehouse: Warehouse, table: str) -> list[dict[str, Any]]:
    """A table's rows, in one and the same order every time."""
    return warehouse.read(f'select * from "{table}" order by all').to_dicts()


def all_weekly_rows(warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    """Every weekly table's rows, in one and the same order every time."""
    with warehouse.transaction() as session:
        return {name: session.read(f'select * from "{name}" order by all') for name in WEEKLY_TABLES}


def snapshots(warehouse: Warehouse, table: str) -> dict[date, int]:
    """The weeks a table holds, each with its number of rows as noted."""
    noted = warehouse.read("select week, row_count from snapshots where table_name = $name", {"name": table})
    return dict(noted.sort("week").iter_rows())

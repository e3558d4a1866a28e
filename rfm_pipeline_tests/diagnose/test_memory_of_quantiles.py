"""The quantile of many weeks at once needs no memory for each of their customers."""

from datetime import date
from pathlib import Path

import pytest

from rfm_pipeline.diagnose.pipeline import parameters, sql_of
from rfm_pipeline.diagnose.schemas import CUSTOMER_RFM, SEGMENT_THRESHOLDS
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import weeks_between
from rfm_pipeline_tests.helpers import make_shop

WEEKS = weeks_between(date(2024, 1, 1), date(2024, 6, 10))
CUSTOMERS = 400_000
# as many bytes for each customer's M at every week would be twice the limit
MEMORY_LIMIT = "80MB"
MANY = f"""
insert into customer_rfm by name
select
    week,
    as_of,
    'c' || i as customer_id,
    100 as recency_days,
    1 as frequency,
    cast(i % 5000 as decimal(18, 4)) as monetary,
    as_of - interval 200 day as first_order_at,
    as_of - interval 100 day as last_order_at,
    null as last_return_at,
from target_weeks, range({CUSTOMERS}) customers(i)
"""


# ten million rows: fewer would fit into the memory limit whatever the statement does
@pytest.mark.slow
def test_the_quantile_of_many_weeks_stays_within_the_memory_limit(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "home")
    filled = Warehouse(shop.warehouse_path)
    with filled.transaction() as session:
        session.create(CUSTOMER_RFM)
        session.target(WEEKS)
        session.execute(MANY)
    bounded = Warehouse(shop.warehouse_path, memory_limit=MEMORY_LIMIT, threads=2)
    with bounded.transaction() as session:
        session.replace_weeks(SEGMENT_THRESHOLDS, WEEKS, sql_of(SEGMENT_THRESHOLDS), parameters(shop))
        found = session.execute("select distinct customers, monetary_high from segment_thresholds").fetchall()
    [(customers, limit)] = found
    assert customers == CUSTOMERS
    # amounts 0 to 4999, 80 customers each: the place 299,999.25 lies between 3749 and 3750
    assert float(limit) == 3749.25

"""The quadrant picture, drawn by the viewer's browser."""

import base64
import random
import xml.etree.ElementTree as ET
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Page

from rfm_pipeline.charts.quadrants import BINS_SQL, quadrant_svg
from rfm_pipeline.diagnose.pipeline import write_customer_rfm, write_customer_segments
from rfm_pipeline.diagnose.schemas import SEGMENTS
from rfm_pipeline_tests.helpers import ingest, make_shop, small_warehouse, write_export
from rfm_pipeline_tests.random_shops import FIRST_WEEK

COLUMNS = ("segment", "f", "m_cell", "customers", "money")
QUADRANTS = ("高价值常客 · 照看", "新锐VIP · 培养", "熟客 · 预警", "静默流失 · 沉睡的金矿")
MOST_BYTES = 60_000
ONE = [("silent_churner", 1, -3, 1, 300.0)]


def draw(rows: list[tuple[str, int, int, int, float]], frequency_high: int = 3, high: float = 1000.0) -> str:
    cells = pl.DataFrame(rows, schema=COLUMNS, orient="row")
    return quadrant_svg(
        cells,
        frequency_high=frequency_high,
        monetary_high=high,
        currency="CNY",
        names=SEGMENTS,
        title="茶铺 · 2025-01-06 当周",
    )


def texts(svg: str) -> list[str]:
    return [text.strip() for text in ET.fromstring(svg).itertext() if text.strip()]


def every_cell() -> list[tuple[str, int, int, int, float]]:
    """As many bubbles as can be: each segment in each of its cells."""
    numbers = random.Random(1)
    low, high, poor, rich = range(3), range(3, 9), range(-16, 0), range(16)
    places = {
        "champion": (high, rich),
        "rising_vip": (low, rich),
        "lapsing_regular": (high, poor),
        "active_regular": (high, poor),
        "silent_churner": (low, poor),
        "vocal_churner": (low, poor),
        "developing": (low, poor),
    }
    return [
        (segment, f, m, numbers.randint(1, 100_000), 1e7 * numbers.random())
        for segment, (rows, columns) in places.items()
        for f in rows
        for m in columns
    ]


def test_names_the_four_quadrants_with_their_figures() -> None:
    said = texts(draw([("silent_churner", 1, -3, 227, 81_186.91), ("champion", 4, 2, 51, 129_222.27)]))
    assert set(QUADRANTS) < set(said)
    assert "227 位 · ¥81,187" in said
    assert "51 位 · ¥129,222" in said
    assert "227 位客户静默流失，他们一共花过 ¥81,187" in said


def test_the_legend_counts_every_segment() -> None:
    said = texts(draw(ONE))
    assert [f"{name} {int(key == 'silent_churner')}" for key, name in SEGMENTS.items()] == [
        text for text in said if text.rpartition(" ")[0] in SEGMENTS.values()
    ]


def test_both_thresholds_are_said() -> None:
    said = texts(draw(ONE, frequency_high=5, high=2000))
    assert {"M ≥ ¥2,000 为高", "F ≥ 5 为高"} < set(said)


def test_f_is_counted_in_whole_orders() -> None:
    said = texts(draw([("champion", 8, 2, 1, 300.0)]))
    assert [text for text in said if text in {*map(str, range(9)), "8+"}][:9] == [*map(str, range(8)), "8+"]


@pytest.mark.parametrize(
    ("rows", "frequency_high", "high"),
    [
        (ONE, 3, 1000.0),
        ([("champion", 3, 2, 10, 300.0), ("vocal_churner", 0, -16, 4, -300.0)], 3, -5.0),
        ([("champion", 1, 2, 10, 300.0), ("vocal_churner", 0, -16, 4, -300.0)], 1, 1000.0),
        ([("champion", 20, 2, 10, 300.0), ("developing", 12, -16, 4, 300.0)], 15, 0.5),
        (every_cell(), 3, 1000.0),
    ],
    ids=["one customer", "high M is negative", "one order is often", "few are often", "every cell is full"],
)
def test_any_shop_is_drawn_by_the_browser_and_small(
    page: Page, rows: list[tuple[str, int, int, int, float]], frequency_high: int, high: float
) -> None:
    encoded = base64.b64encode(draw(rows, frequency_high, high).encode()).decode()
    assert len(encoded) < MOST_BYTES
    page.set_content(f'<img src="data:image/svg+xml;base64,{encoded}">')
    width = page.locator("img").evaluate(
        "async image => { await image.decode(); return image.naturalWidth; }"
    )
    assert 700 < width < 850


def test_cells_begin_where_high_m_begins_and_end_two_tenfolds_away(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, rules={"monetary_high": 1000, "max_order_gap_days": 10_000})
    amounts = ("0.50", "9.99", "999.99", "1000", "1000.01", "99999", "5000000")
    rows = [f"o{n},c{n},{FIRST_WEEK} 10:00:00,S1,1,{amount}" for n, amount in enumerate(amounts)]
    write_export(shop, "orders.csv", *rows)
    warehouse = small_warehouse(shop)
    ingest(warehouse, shop)
    write_customer_rfm(warehouse, shop, [FIRST_WEEK])
    write_customer_segments(warehouse, shop, [FIRST_WEEK])
    cells = warehouse.read(BINS_SQL, {"week": FIRST_WEEK})
    assert sorted(cells.select("m_cell", "segment", "customers").rows()) == [
        (-16, "developing", 2),
        (-1, "developing", 1),
        (0, "rising_vip", 2),
        (15, "rising_vip", 2),
    ]

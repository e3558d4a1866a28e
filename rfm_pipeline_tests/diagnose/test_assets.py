"""What the diagnosis' assets say of the newest week in Dagster's UI."""

import base64
import xml.etree.ElementTree as ET
from datetime import date
from typing import Any

import dagster as dg
import pytest

from rfm_pipeline.diagnose.assets import build_assets
from rfm_pipeline.diagnose.schemas import SEGMENTS
from rfm_pipeline.shop import Shop
from rfm_pipeline.weeks import WEEK
from rfm_pipeline_tests.helpers import diagnose, ingest, make_shop, small_warehouse, write_export

EMPTY = date(2024, 1, 1)
FIRST = EMPTY + WEEK
NEWEST = FIRST + WEEK
ORDERS = [
    f"o1,poor,{FIRST} 10:00:00,CUP,1,10.25",
    f"o2,poor_too,{FIRST} 11:00:00,CUP,1,20.504",
    f"o3,fan,{FIRST} 11:00:00,POT,1,90",
    f"o4,rich,{FIRST} 12:00:00,POT,1,900",
    f"o5,rich,{NEWEST} 12:00:00,POT,1,100.128",
]
RULES = {
    "frequency_high": 2,
    "monetary_high": 1000,
    "dormant_after_days": 8,
    "lapsing_after_days": 4,
    "max_order_gap_days": 10,
    "bestsellers": {"top": 1},
    "low_price_quantile": "0.2",
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop whose three weeks were diagnosed; in the first of them it had no customers yet."""
    shop = make_shop(tmp_path_factory.mktemp("home"), shop={"first_week": EMPTY}, rules=RULES)
    write_export(shop, "orders.csv", *ORDERS)
    warehouse = small_warehouse(shop)
    ingest(warehouse, shop)
    diagnose(warehouse, shop, [EMPTY, FIRST, NEWEST])
    return shop


def reported(shop: Shop, week: date, *assets: str) -> list[dict[str, Any]]:
    """What each of the assets reports of the week after it was made again."""
    result = dg.materialize(
        build_assets(shop),
        selection=assets,
        partition_key=str(week),
        resources={"warehouse": small_warehouse(shop)},
        instance=dg.DagsterInstance.ephemeral(),
    )
    [*events] = (event for name in assets for event in result.asset_materializations_for_node(name))
    return [{name: entry.value for name, entry in event.metadata.items()} for event in events]


def test_the_newest_weeks_segments_are_a_picture_and_a_table_and_its_classes_are_counted(shop: Shop) -> None:
    segments, classes = reported(shop, NEWEST, "customer_segments", "silent_churners")
    assert (segments["monetary_high"], segments["frequency_high"]) == (1000, 2)
    before, svg = segments["quadrants"].removesuffix(")").split("base64,")
    assert before == "![客群象限图](data:image/svg+xml;"
    picture = base64.b64decode(svg).decode()
    assert "3 位客户静默流失，他们一共花过 ¥121" in picture
    assert {"F ≥ 2 为高", "M ≥ ¥1,000 为高"} <= {text.strip() for text in ET.fromstring(picture).itertext()}
    assert [(column.name, column.type) for column in segments["segments"].schema.columns] == [
        ("segment", "string"),
        ("客群", "string"),
        ("customers", "int"),
        ("money", "float"),
    ]
    figures = {"champion": (1, 1000.13), "silent_churner": (3, 120.75)}
    assert [tuple(record.data.values()) for record in segments["segments"].records] == [
        (name, label, *figures.get(name, (0, 0))) for name, label in SEGMENTS.items()
    ]
    assert {name: classes[f"class_{name}"] for name in "ABC"} == {"A": 1, "B": 1, "C": 1}


def test_a_week_without_customers_has_no_picture(shop: Shop) -> None:
    [segments, new] = reported(shop, EMPTY, "customer_segments", "new_silent_churners")
    assert segments["segments"] == "no customers yet"
    assert "quadrants" not in segments
    assert {name: new[f"class_{name}"] for name in "ABC"} == {"A": 0, "B": 0, "C": 0}

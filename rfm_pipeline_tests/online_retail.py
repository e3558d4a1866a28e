"""The UCI Online Retail data, a real shop's year, where it is at hand.

RFM_ONLINE_RETAIL names its folder; without it, it is looked for in ``shared/data/online_retail`` beside the
repository. It is too large for the repository, so tests that need it are skipped without it.
"""

import os
import shutil
from datetime import date
from pathlib import Path

import pytest

from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline_tests.helpers import ingest, make_shop

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("RFM_ONLINE_RETAIL", REPOSITORY.parent / "shared" / "data" / "online_retail"))
FIRST, LAST = date(2011, 3, 7), date(2011, 12, 5)

needs_online_retail = pytest.mark.skipif(not DATA.is_dir(), reason="the Online Retail data is not at hand")


def online_retail(home: Path) -> Shop:
    """A home with the year's exports; nothing is made of them yet."""
    shop = make_shop(
        home,
        shop={"timezone": "Europe/London", "currency": "GBP", "first_week": FIRST},
        orders={"preset": "online_retail"},
    )
    for file in DATA.glob("*.csv"):
        shutil.copy(file, shop.orders_dir)
    return shop


def make_loaded_online_retail(home: Path) -> None:
    """A home with the year's exports loaded; no week is diagnosed yet."""
    shop = online_retail(home)
    ingest(Warehouse(shop.warehouse_path, memory_limit="2GB"), shop)

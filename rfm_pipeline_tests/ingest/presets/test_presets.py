"""Presets: which header fits, and what is said of one that doesn't."""

import re
from importlib import resources
from pathlib import Path

import pytest

from rfm_pipeline.errors import OrderFileError, ShopFileError
from rfm_pipeline.ingest import presets
from rfm_pipeline.ingest.presets import load_preset, not_product_pattern, preset_names

FILE = Path("orders/june.csv")
STANDARD = ["order_id", "customer_id", "ordered_at", "sku", "quantity", "unit_price"]
RETAIL = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"]


def refusal(preset: str, header: list[str]) -> str:
    with pytest.raises(OrderFileError) as caught:
        load_preset(preset).map_header(FILE, header)
    return str(caught.value)


@pytest.mark.parametrize("name", preset_names())
def test_every_shipped_preset_loads_and_knows_its_required_columns(name: str) -> None:
    preset = load_preset(name)
    assert preset.name == name
    assert set(preset.required) <= set(preset.columns)
    assert preset.description


@pytest.mark.parametrize("name", ["amazon", "douyin", "pinduoduo"])
def test_a_platform_that_names_no_buyer_says_so_in_its_first_line(name: str) -> None:
    first = (resources.files(presets) / f"{name}.yaml").read_text("utf-8").splitlines()[0]
    assert first.startswith("# No buyer: ")
    assert load_preset(name).hides_buyers


def test_an_unknown_preset_is_answered_with_the_nearest_and_all_known() -> None:
    with pytest.raises(ShopFileError) as caught:
        load_preset("online-retail")
    assert "no preset 'online-retail'" in str(caught.value)
    assert "id you mean 'online_retail'?" in str(caught.value)
    assert "online_retail, pinduoduo, shopify, standard" in str(caught.value)


def test_a_header_is_matched_trimmed_in_any_order_with_columns_to_spare() -> None:
    header = ["note", " unit_price", "quantity", "sku", "ordered_at ", "customer_id", "order_id", "note"]
    mapping = load_preset("standard").map_header(FILE, header)
    assert mapping["unit_price"] == " unit_price"
    assert mapping["ordered_at"] == "ordered_at "
    assert set(mapping) == set(STANDARD)


def test_a_column_may_stand_under_either_of_its_names() -> None:
    header = ["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID"]
    mapping = load_preset("online_retail").map_header(FILE, header)
    assert (mapping["order_id"], mapping["unit_price"]) == ("Invoice", "Price")
    assert mapping["customer_id"] == "Customer ID"


def test_a_missing_column_names_the_file_the_column_and_the_near_miss() -> None:
    message = refusal("standard", [*STANDARD[:-1], "unit_prise"])
    assert message.startswith(f"{FILE}: the header lacks 'unit_price' (is 'unit_prise' meant?)")
    assert "which preset 'standard' needs" in message
    assert "it has: order_id, customer_id, ordered_at, sku, quantity, unit_prise" in message


@pytest.mark.parametrize(
    ("near", "lacks"),
    [
        ("Invoice Nr", "'InvoiceNo' or 'Invoice' (is 'Invoice Nr' meant?)"),
        ("Invoices", "'InvoiceNo' or 'Invoice' (is 'Invoices' meant?)"),
        ("Number", "'InvoiceNo' or 'Invoice', which"),
    ],
)
def test_the_near_miss_is_sought_for_each_name_a_column_may_have(near: str, lacks: str) -> None:
    assert f"the header lacks {lacks}" in refusal("online_retail", [near, *RETAIL[1:]])


def test_a_column_that_is_used_already_is_no_near_miss() -> None:
    assert "meant?" not in refusal("standard", ["order_id", *STANDARD[2:]])


def test_another_platforms_export_is_told_all_it_lacks_and_the_known_presets() -> None:
    message = refusal("standard", RETAIL)
    # Quantity, UnitPrice and CustomerID are columns of standard in another spelling
    assert message.startswith(f"{FILE}: the header lacks 'order_id', 'ordered_at', 'sku', which preset")
    assert f"Known presets: {', '.join(preset_names())}." in message


def test_a_needed_column_that_stands_twice_is_refused() -> None:
    message = refusal("standard", [*STANDARD, " sku "])
    assert message == f"{FILE}: the header has the column 'sku' more than once; keep one."


def test_two_names_of_one_column_are_refused_too() -> None:
    assert "more than once" in refusal("online_retail", [*RETAIL, "Price"])


@pytest.mark.parametrize(
    ("codes", "sku", "is_product"),
    [
        ((), "", False),
        ((), "A1", True),
        (("POST",), "POST", False),
        (("POST",), "POSTER", True),
        (("POST",), "A POST", True),
        ((" post ",), "POST", False),
        (("GIFT*",), "GIFT", False),
        (("GIFT*",), "GIFT_50", False),
        (("GIFT*",), "A GIFT", True),
        (("A.C",), "ABC", True),
        (("A.C",), "A.C", False),
        (("A+*",), "A+B", False),
        (("A+*",), "AAB", True),
        (("BANK CHARGES", "D"), "BANK CHARGES", False),
        (("运费*",), "运费补拍", False),
    ],
)
def test_codes_that_are_no_products(codes: tuple[str, ...], sku: str, is_product: bool) -> None:
    # as order_lines.sql asks it: an empty SKU is no product whatever the codes
    matches = re.search(not_product_pattern(codes), sku) is not None
    assert (sku != "" and not matches) is is_product

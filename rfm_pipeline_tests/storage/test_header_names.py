"""Column names are equal whatever their spelling."""

import pytest

from rfm_pipeline.storage.header_names import header_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Customer ID", "customer_id"),
        ("ORDER_ID", "OrderId"),
        ("商品总价（元）", "商品总价(元)"),
        ("ＳＫＵ", "sku"),
        ("订单 编号\u3000", "\ufeff订单编号"),
        ("Lineitem\tname", "lineitem name"),
    ],
)
def test_spellings_of_a_name_are_equal(one: str, other: str) -> None:
    assert header_key(one) == header_key(other)


@pytest.mark.parametrize(("one", "other"), [("order_id", "order_ids"), ("价格", "价格2"), ("a.b", "ab")])
def test_other_names_are_not(one: str, other: str) -> None:
    assert header_key(one) != header_key(other)

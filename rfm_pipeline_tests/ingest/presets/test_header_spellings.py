"""A header's names are known in any spelling."""

from pathlib import Path

import pytest

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.presets import guess_presets, load_preset


@pytest.mark.parametrize(
    ("preset", "header", "column", "found"),
    [
        ("standard", "ORDER_ID,Customer ID,OrderedAt,Sku,QUANTITY,unit price", "unit_price", "unit price"),
        (
            "online_retail",
            "invoice_no,stock code,quantity,INVOICE DATE,unit_price,customer id",
            "ordered_at",
            "INVOICE DATE",
        ),
        (
            "taobao_orders",
            "订单 编号,买家会员名,订单创建时间,订单状态,宝贝标题,买家实际_支付金额",
            "amount",
            "买家实际_支付金额",
        ),
        (
            "shopify",
            "name,email,created at,financial_status,LINEITEM NAME,lineitem_quantity,Lineitem Price",
            "product_name",
            "LINEITEM NAME",
        ),
        (
            "youzan",
            "订单号,买家手机号,订单状态,订单创建时间,全部商品名称,订单实付金额,收货人／提货人",
            "name",
            "收货人／提货人",
        ),
    ],
)
def test_a_header_is_known_in_any_spelling(preset: str, header: str, column: str, found: str) -> None:
    assert load_preset(preset).map_header(Path("a.csv"), header.split(","))[column] == found


def test_of_two_spellings_the_presets_own_counts() -> None:
    header = ["order_id", "Order ID", "customer_id", "ordered_at", "sku", "quantity", "unit_price"]
    assert load_preset("standard").map_header(Path("a.csv"), header)["order_id"] == "order_id"


def test_two_other_spellings_of_one_name_are_refused() -> None:
    header = ["Order ID", "OrderId", "customer_id", "ordered_at", "sku", "quantity", "unit_price"]
    with pytest.raises(OrderFileError, match="more than once"):
        load_preset("standard").map_header(Path("a.csv"), header)


def test_a_preset_is_guessed_from_other_spellings() -> None:
    header = [
        "invoice_no",
        "stock code",
        "description",
        "quantity",
        "INVOICE DATE",
        "unit_price",
        "customer id",
    ]
    assert guess_presets(header)[0].preset.name == "online_retail"

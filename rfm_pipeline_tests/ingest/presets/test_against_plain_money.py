"""Every platform's money and refunds, read a second time in plain Python from generated exports.

The plain reading goes order by order with ``Decimal`` and says what was paid for an order's goods and what of it
was given back. What the order lines add up to must be the same. Nothing of the package is used for it.
"""

# ruff: noqa: E501 (a header is a line)

import csv
import io
import tempfile
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from rfm_pipeline.ingest.loading import load_new_files, update_order_lines
from rfm_pipeline_tests.helpers import make_shop, small_warehouse
from rfm_pipeline_tests.hypothesis_profiles import examples
from rfm_pipeline_tests.ingest.shopify_exports import shopify_csv

CENT = Decimal("0.01")
ZERO = Decimal(0)
DAY = "2026-03-02 10:00:00"


class Order(NamedTuple):
    """An order as a buyer sees it: prices of its lines in cents, and what became of it.

    ``state`` is open (never paid), paid, part (paid in part), back (given back in part), closed (given back in
    full). ``share`` is the part that was paid or given back, in percent.
    """

    prices: tuple[int, ...]
    postage: int
    tax: int
    tax_is_outside: bool
    state: str
    share: int
    is_net: bool

    @property
    def goods(self) -> Decimal:
        return Decimal(sum(self.prices)) / 100


ORDERS = st.lists(
    st.builds(
        Order,
        prices=st.lists(st.integers(1, 50_000), min_size=1, max_size=3).map(tuple),
        postage=st.sampled_from((0, 0, 800, 1500)),
        tax=st.sampled_from((0, 0, 1, 725, 2000)),
        tax_is_outside=st.booleans(),
        state=st.sampled_from(("open", "paid", "part", "back", "back", "closed")),
        share=st.integers(1, 100),
        is_net=st.booleans(),
    ),
    min_size=10,
    max_size=40,
)

Money = dict[str, tuple[Decimal, Decimal]]
Case = tuple[str, Money]


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def table(header: str, rows: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(header.split(","))
    writer.writerows(rows)
    return out.getvalue()


def shopify(orders: Sequence[Order]) -> Case:
    words = {"open": "pending", "paid": "paid", "part": "partially_paid", "back": "partially_refunded"}
    rows: list[dict[str, str]] = []
    told: Money = {}
    for number, order in enumerate(orders):
        goods, tax, postage = order.goods, Decimal(order.tax) / 100, Decimal(order.postage) / 100
        is_outside = order.tax_is_outside and tax > 0
        total = goods + postage + (tax if is_outside else ZERO)
        share = cents(total * order.share / 100)
        head = {
            "Name": f"{number}",
            "Subtotal": f"{goods}",
            "Shipping": f"{postage}",
            "Taxes": f"{tax}",
            "Total": f"{total}",
            "Financial Status": words.get(order.state, "refunded"),
            "Outstanding Balance": f"{total - share}" if order.state == "part" else "0",
            "Refunded Amount": f"{share}" if order.state == "back" else "0",
        }
        rows += [
            (head if line == 0 else {})
            | {
                "Lineitem name": f"P{line}",
                "Lineitem sku": f"P{line}",
                "Lineitem price": f"{Decimal(price) / 100}",
            }
            for line, price in enumerate(order.prices)
        ]
        part = cents(share * goods / total) if is_outside else share
        if order.state == "closed":
            told[f"{number}"] = goods, goods
        elif order.state == "part":
            told[f"{number}"] = min(part, goods), ZERO
        elif order.state == "back":
            told[f"{number}"] = goods, ZERO if share == postage else min(part, goods)
        elif order.state == "paid":
            told[f"{number}"] = goods, ZERO
    return shopify_csv(*rows), told


def taobao_orders(orders: Sequence[Order]) -> Case:
    header = "订单编号,买家会员名,总金额,买家实际支付金额,订单状态,订单创建时间,订单付款时间,宝贝标题,宝贝种类,宝贝总数量,退款金额"
    rows, told = [], {}
    for number, order in enumerate(orders):
        total = order.goods + Decimal(order.postage) / 100
        back = cents(total * order.share / 100) if order.state == "back" else ZERO
        paid = total - back if order.is_net else total
        status, at = "交易成功", DAY
        if order.state == "open":
            status, at, paid = "等待买家付款", "", ZERO
        elif order.state == "closed":
            status, paid = "交易关闭", ZERO
        titles = "，".join(f"茶杯{line}" for line in range(len(order.prices)))
        count = len(order.prices)
        rows.append([f"T{number}", "b", total, paid, status, DAY, at, titles, count, count, back])
        if order.state != "open":
            told[f"T{number}"] = total, total if order.state == "closed" else back
    return table(header, rows), told


def youzan(orders: Sequence[Order]) -> Case:
    header = "订单号,订单状态,订单创建时间,买家付款时间,订单实付金额,全部商品名称,商品种类数,买家手机号,订单退款状态,订单已退款金额"
    rows, told = [], {}
    for number, order in enumerate(orders):
        total = order.goods
        back = cents(total * order.share / 100) if order.state == "back" else ZERO
        is_open, is_closed = order.state == "open", order.state == "closed"
        status = "待付款" if is_open else "交易关闭" if is_closed else "交易完成"
        titles = ";".join(f"茶杯{line}" for line in range(len(order.prices)))
        at = "" if is_open else DAY
        count = len(order.prices)
        rows.append([f"E{number}", status, DAY, at, total, titles, count, "13800000001", "", back])
        if not is_open:
            told[f"E{number}"] = total, total if is_closed else back
    return table(header, rows), told


def jd(orders: Sequence[Order]) -> Case:
    header = "订单号,商品ID,商品名称,订购数量,下单时间,京东价,结算金额,订单状态,下单帐号,付款确认时间"
    words = {"open": "等待付款", "closed": "已退款"}
    rows, told = [], {}
    for number, order in enumerate(orders):
        # a coupon of the share
        settled = cents(order.goods * order.share / 100)
        status = words.get(order.state, "完成")
        rows += [
            [f"{number}", f"5{line}", "茶杯", 1, DAY, Decimal(price) / 100, settled, status, "jd_b", DAY]
            for line, price in enumerate(order.prices)
        ]
        if order.state != "open":
            told[f"{number}"] = settled, settled if order.state == "closed" else ZERO
    return table(header, rows), told


def erp_cn(orders: Sequence[Order]) -> Case:
    header = "订单号,手机,下单时间,已付款,订单状态,商品编码,商品名称,数量,均摊金额,有无退单"
    words = {"open": "待付款", "closed": "已退货"}
    rows, told = [], {}
    for number, order in enumerate(orders):
        status = words.get(order.state, "已发货")
        # given back in part: its first line
        backs = ["有" if order.state == "back" and line == 0 else "无" for line in range(len(order.prices))]
        rows += [
            [
                f"S{number}",
                "13800000001",
                DAY,
                "是",
                status,
                f"C{line}",
                "茶杯",
                1,
                Decimal(price) / 100,
                back,
            ]
            for line, (price, back) in enumerate(zip(order.prices, backs, strict=True))
        ]
        first = Decimal(order.prices[0]) / 100
        back = order.goods if order.state == "closed" else first if order.state == "back" else ZERO
        if order.state != "open":
            told[f"S{number}"] = order.goods, back
    return table(header, rows), told


def standard(orders: Sequence[Order]) -> Case:
    header = "order_id,customer_id,ordered_at,sku,quantity,unit_price,refunded_amount,order_status"
    words = {"open": "unpaid", "closed": "closed"}
    rows, told = [], {}
    for number, order in enumerate(orders):
        prices = [Decimal(price) / 100 for price in order.prices]
        backs = [cents(price * order.share / 100) if order.state == "back" else ZERO for price in prices]
        status = words.get(order.state, "paid")
        rows += [
            [f"{number}", "c", DAY, f"C{line}", 1, price, back, status]
            for line, (price, back) in enumerate(zip(prices, backs, strict=True))
        ]
        if order.state != "open":
            told[f"{number}"] = order.goods, order.goods if order.state == "closed" else sum(backs, ZERO)
    return table(header, rows), told


@pytest.mark.parametrize("export", [shopify, taobao_orders, youzan, jd, erp_cn, standard])
@settings(max_examples=examples(3), deadline=None)
@given(orders=ORDERS)
def test_money_and_refunds_of_every_order(
    export: Callable[[Sequence[Order]], Case], orders: list[Order]
) -> None:
    text, told = export(orders)
    with tempfile.TemporaryDirectory() as home:
        shop = make_shop(Path(home), shop={"currency": "USD"}, orders={"preset": export.__name__})
        (shop.orders_dir / "orders.csv").write_text(text, "utf-8")
        warehouse = small_warehouse(shop)
        load_new_files(warehouse, shop)
        update_order_lines(warehouse, shop)
        found = warehouse.read(
            "select order_id, sum(amount), sum(refunded_amount) from order_lines group by 1"
        )
    assert {order: (amount, back) for order, amount, back in found.iter_rows()} == told

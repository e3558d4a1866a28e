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
from rfm_pipeline.ingest.presets import preset_names
from rfm_pipeline_tests.helpers import make_shop, small_warehouse
from rfm_pipeline_tests.hypothesis_profiles import examples
from rfm_pipeline_tests.ingest.shopify_exports import shopify_csv

CENT = Decimal("0.01")
ZERO = Decimal(0)
DAY = "2026-03-02 10:00:00"


class Order(NamedTuple):
    """An order as a buyer sees it: prices of its lines in cents, and what became of it.

    ``state`` is open (never paid), paid, part (paid in part), back (given back in part), closed (given back in
    full). ``share`` is the part that was paid or given back, in percent; ``is_net`` chooses between two ways in
    which a platform may write the same.
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
        return sum(self.amounts, ZERO)

    @property
    def amounts(self) -> tuple[Decimal, ...]:
        return tuple(Decimal(price) / 100 for price in self.prices)

    @property
    def freight(self) -> Decimal:
        return Decimal(self.postage) / 100

    @property
    def duty(self) -> Decimal:
        return Decimal(self.tax) / 100


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
    expected: Money = {}
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
            expected[f"{number}"] = goods, goods
        elif order.state == "part":
            expected[f"{number}"] = min(part, goods), ZERO
        elif order.state == "back":
            expected[f"{number}"] = goods, ZERO if share == postage else min(part, goods)
        elif order.state == "paid":
            expected[f"{number}"] = goods, ZERO
    return shopify_csv(*rows), expected


def taobao_orders(orders: Sequence[Order]) -> Case:
    header = "订单编号,买家会员名,总金额,买家实际支付金额,订单状态,订单创建时间,订单付款时间,宝贝标题,宝贝种类,宝贝总数量,退款金额"
    rows, expected = [], {}
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
            expected[f"T{number}"] = total, total if order.state == "closed" else back
    return table(header, rows), expected


def youzan(orders: Sequence[Order]) -> Case:
    header = "订单号,订单状态,订单创建时间,买家付款时间,订单实付金额,全部商品名称,商品种类数,买家手机号,订单退款状态,订单已退款金额"
    rows, expected = [], {}
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
            expected[f"E{number}"] = total, total if is_closed else back
    return table(header, rows), expected


def jd(orders: Sequence[Order]) -> Case:
    header = "订单号,商品ID,商品名称,订购数量,下单时间,京东价,结算金额,订单状态,下单帐号,付款确认时间"
    words = {"open": "等待付款", "closed": "已退款"}
    rows, expected = [], {}
    for number, order in enumerate(orders):
        # a coupon of the share
        settled = cents(order.goods * order.share / 100)
        status = words.get(order.state, "完成")
        rows += [
            [f"{number}", f"5{line}", "茶杯", 1, DAY, Decimal(price) / 100, settled, status, "jd_b", DAY]
            for line, price in enumerate(order.prices)
        ]
        if order.state != "open":
            expected[f"{number}"] = settled, settled if order.state == "closed" else ZERO
    return table(header, rows), expected


def erp_cn(orders: Sequence[Order]) -> Case:
    header = "订单号,手机,下单时间,已付款,订单状态,商品编码,商品名称,数量,均摊金额,有无退单"
    words = {"open": "待付款", "closed": "已退货"}
    rows, expected = [], {}
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
            expected[f"S{number}"] = order.goods, back
    return table(header, rows), expected


def standard(orders: Sequence[Order]) -> Case:
    header = "order_id,customer_id,ordered_at,sku,quantity,unit_price,refunded_amount,order_status"
    words = {"open": "unpaid", "closed": "closed"}
    rows, expected = [], {}
    for number, order in enumerate(orders):
        prices = [Decimal(price) / 100 for price in order.prices]
        backs = [cents(price * order.share / 100) if order.state == "back" else ZERO for price in prices]
        status = words.get(order.state, "paid")
        rows += [
            [f"{number}", "c", DAY, f"C{line}", 1, price, back, status]
            for line, (price, back) in enumerate(zip(prices, backs, strict=True))
        ]
        if order.state != "open":
            expected[f"{number}"] = order.goods, order.goods if order.state == "closed" else sum(backs, ZERO)
    return table(header, rows), expected


def taobao_items(orders: Sequence[Order]) -> Case:
    header = "主订单编号,子订单编号,标题,商家编码,价格,购买数量,订单状态,买家应付货款,买家实际支付金额,退款金额,订单创建时间,订单付款时间"
    words = {"open": "等待买家付款", "closed": "交易关闭"}
    rows, expected = [], {}
    for number, order in enumerate(orders):
        status, at = words.get(order.state, "交易成功"), "" if order.state == "open" else DAY
        backs = [back_of(order, price) for price in order.amounts]
        for line, (price, back) in enumerate(zip(order.amounts, backs, strict=True)):
            paid = price - back if order.is_net else price
            rows.append(
                [f"T{number}", line, "茶杯", f"C{line}", price, 1, status, price, paid, back, DAY, at]
            )
        if order.state != "open":
            expected[f"T{number}"] = order.goods, order.goods if order.state == "closed" else sum(backs, ZERO)
    return table(header, rows), expected


def youzan_items(orders: Sequence[Order]) -> Case:
    header = "订单号,订单状态,订单创建时间,买家付款时间,商品名称,商品编码,商品单价,商品数量,订单实付金额,商品已退款金额,订单已退款金额,买家手机号"
    words = {"open": "待付款", "closed": "交易关闭"}
    rows, expected = [], {}
    for number, order in enumerate(orders):
        status, at = words.get(order.state, "交易完成"), "" if order.state == "open" else DAY
        back = back_of(order, order.goods)
        for line, price in enumerate(order.amounts):
            # the export says of the first line what came back of it, and of the order the whole
            own = min(back, price) if line == 0 else ZERO
            rows.append(
                [
                    f"E{number}",
                    status,
                    DAY,
                    at,
                    "茶杯",
                    f"C{line}",
                    price,
                    1,
                    order.goods,
                    own,
                    back,
                    "13800000001",
                ]
            )
        if order.state != "open":
            expected[f"E{number}"] = order.goods, order.goods if order.state == "closed" else back
    return table(header, rows), expected


def online_retail(orders: Sequence[Order]) -> Case:
    header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID"
    rows, expected = [], {}
    for number, order in enumerate(orders):
        invoice = f"{536000 + number}"
        rows += [
            [invoice, f"P{line}", "CUP", 1, DAY, price, 17850] for line, price in enumerate(order.amounts)
        ]
        expected[invoice] = order.goods, ZERO
        if order.state in ("back", "closed"):
            # a credit note is an order of returns
            rows.append([f"C{invoice}", "P0", "CUP", -1, DAY, order.amounts[0], 17850])
            expected[f"C{invoice}"] = order.amounts[0], ZERO
    return table(header, rows), expected


def douyin(orders: Sequence[Order]) -> Case:
    header = "主订单编号,子订单编号,选购商品,商品数量,商家编码,订单应付金额,运费,收件人手机号,订单提交时间,订单状态,售后状态"
    words = {"open": "待支付", "closed": "已关闭"}
    rows, expected = [], {}
    for number, order in enumerate(orders):
        count = len(order.prices)
        is_flagged = order.state in ("back", "closed")
        after = [
            "退款成功" if order.state == "closed" or (is_flagged and i == 0) else "-" for i in range(count)
        ]
        postage = [order.freight if i == 0 else ZERO for i in range(count)]
        paid = [price + freight for price, freight in zip(order.amounts, postage, strict=True)]
        subs = [f"{number}{i}" for i in range(count)]
        skus, ones = [f"C{i}" for i in range(count)], [1] * count
        columns: list[list[object]] = [subs, ["茶杯"] * count, ones, skus, paid, postage, after]
        # is_net: a row packs the order's lines, with amounts of their own or with one for all
        is_packed, has_one_amount = order.is_net, order.is_net and order.tax_is_outside
        if is_packed:
            columns = [[packed(values)] for values in columns]
        if has_one_amount:
            columns[2], columns[4], columns[5] = [count], [order.goods + order.freight], [order.freight]
        status = words.get(order.state, "已完成")
        rows += [
            [f"\t{number}", f"\t{sub}", title, n, sku, money, freight, "##x==##", DAY, status, state]
            for sub, title, n, sku, money, freight, state in zip(*columns, strict=True)
        ]
        if order.state != "open":
            first = cents(order.goods / count) if has_one_amount else order.amounts[0]
            whole = order.goods if order.state == "closed" else first
            expected[f"{number}"] = order.goods, whole if is_flagged else ZERO
    return table(header, rows), expected


def packed(values: Sequence[object]) -> str:
    return ";".join(f"{value}" for value in values)


def pinduoduo(orders: Sequence[Order]) -> Case:
    header = "商品,订单号,订单状态,商品总价(元),邮费(元),用户实付金额(元),商家实收金额(元),商品数量(件),支付时间,商家编码-规格维度,售后状态,订单成交时间,用户购买手机号"
    words = {"open": "待支付", "closed": "已取消", "back": "已发货，退款成功"}
    rows, expected = [], {}
    for number, order in enumerate(orders):
        name = f"260517-{number:015}"
        is_open, is_back = order.state == "open", order.state in ("back", "closed")
        paid, subsidised = order.goods + order.freight, order.goods + order.freight + 5
        at = "" if is_open else DAY
        placed = "" if order.is_net else DAY
        rows.append(
            [
                "茶杯",
                name,
                words.get(order.state, "已收货"),
                order.goods + 9,
                order.freight,
                paid,
                subsidised,
                2,
                at,
                "C",
                "无售后或售后取消",
                placed,
                "\t",
            ]
        )
        if not is_open:
            expected[name] = order.goods, order.goods if is_back else ZERO
    return table(header, rows), expected


def tiktok_shop(orders: Sequence[Order]) -> Case:
    header = "Order ID,Order Status,Seller SKU,Product Name,Quantity,SKU Unit Original Price,SKU Subtotal After Discount,Shipping Fee After Discount,Taxes,Order Amount,Order Refund Amount,Created Time,Paid Time,Buyer Username"
    words = {"open": "Unpaid", "closed": "Cancelled"}
    rows, expected = [], {}
    for number, order in enumerate(orders):
        total = order.goods + order.freight + order.duty
        back = back_of(order, total)
        at = "" if order.state == "open" else "25/05/2026 10:00:00\t"
        for line, price in enumerate(order.amounts):
            status = words.get(order.state, "Completed")
            rows.append(
                [
                    f"{number}\t",
                    status,
                    f"C{line}",
                    "Cup",
                    1,
                    price + 1,
                    price,
                    order.freight,
                    order.duty,
                    total,
                    back,
                    "25/05/2026 10:00:00\t",
                    at,
                    "b",
                ]
            )
        if order.state != "open":
            expected[f"{number}"] = (
                order.goods,
                order.goods if order.state == "closed" else goods_back(order, back),
            )
    return table(header, rows), expected


def woocommerce(orders: Sequence[Order]) -> Case:
    header = "Order Number,Order Status,Order Date,Email (Billing),SKU,Name,Quantity,Item Cost,Order Line Total,Order Line Total Refunded,Order Shipping Amount,Order Refund Amount,Order Total Amount,Order Total Tax Amount"
    words = {"open": "On hold", "closed": "Refunded"}
    rows, expected = [], {}
    for number, order in enumerate(orders):
        total = order.goods + order.freight + order.duty
        # is_net: the lines say what came back of them, and the order's refund has postage in it, too
        backs = [back_of(order, price) if order.is_net else ZERO for price in order.amounts]
        back = sum(backs, order.freight) if any(backs) else back_of(order, total)
        for line, (price, own) in enumerate(zip(order.amounts, backs, strict=True)):
            status = words.get(order.state, "Completed")
            rows.append(
                [
                    number,
                    status,
                    DAY,
                    "b@example.com",
                    f"C{line}",
                    "Cup",
                    1,
                    price,
                    price,
                    own,
                    order.freight,
                    back,
                    total,
                    order.duty,
                ]
            )
        if order.state != "open":
            came = sum(backs, ZERO) if any(backs) else goods_back(order, back)
            expected[f"{number}"] = order.goods, order.goods if order.state == "closed" else came
    return table(header, rows), expected


def amazon(orders: Sequence[Order]) -> Case:
    header = "amazon-order-id,purchase-date,order-status,item-status,product-name,sku,quantity,currency,item-price,item-tax,shipping-price,item-promotion-discount"
    words = {"open": "Pending", "closed": "Shipped - Returned to Seller"}
    rows, expected = [], {}
    for number, order in enumerate(orders):
        discounts = [cents(price * order.share / 100) if order.is_net else ZERO for price in order.amounts]
        for line, (price, discount) in enumerate(zip(order.amounts, discounts, strict=True)):
            status = words.get(order.state, "Shipped")
            money = (
                ["", "", "", ""] if order.state == "open" else [price, order.duty, order.freight, discount]
            )
            rows.append(
                [
                    f"{number}",
                    "2026-03-02T02:00:00+00:00",
                    status,
                    "Shipped",
                    "Cup",
                    f"C{line}",
                    1,
                    "USD",
                    *money,
                ]
            )
        paid = order.goods - sum(discounts, ZERO)
        if order.state != "open":
            expected[f"{number}"] = paid, paid if order.state == "closed" else ZERO
    return table(header, rows), expected


def wangdiantong(orders: Sequence[Order]) -> Case:
    header = "订单编号,订单状态,订单明细退款状态,交易时间,付款时间,客户网名,商家编码,货品名称,下单数量,标价,成交价,分摊后总价,退款前支付金额,分摊邮费"
    words = {"open": "未付款", "closed": "已取消"}
    rows, expected = [], {}
    for number, order in enumerate(orders):
        status, at = words.get(order.state, "已发货"), "" if order.state == "open" else DAY
        for line, price in enumerate(order.amounts):
            is_back = order.state == "back" and line == 0
            left = ZERO if is_back and order.is_net else price
            refund = "退款成功" if is_back else "未退款"
            rows.append(
                [
                    f"JY{number}",
                    status,
                    refund,
                    DAY,
                    at,
                    "b",
                    f"C{line}",
                    "茶杯",
                    1,
                    price + 9,
                    price + 1,
                    left,
                    price,
                    order.freight,
                ]
            )
        if order.state != "open":
            back = (
                order.goods
                if order.state == "closed"
                else order.amounts[0]
                if order.state == "back"
                else ZERO
            )
            expected[f"JY{number}"] = order.goods, back
    return table(header, rows), expected


def superstore(orders: Sequence[Order]) -> Case:
    header = "Row ID,Order ID,Order Date,Ship Date,Customer ID,Customer Name,Product ID,Product Name,Sales,Quantity,Discount,Profit"
    rows: list[list[object]] = []
    for number, order in enumerate(orders):
        for line, price in enumerate(order.amounts):
            rows.append(
                [
                    len(rows) + 1,
                    f"CA-{number}",
                    "11/18/2026",
                    "11/20/2026",
                    "CG",
                    "Ann",
                    f"P{line}",
                    "Chair",
                    f"{price:.4f}",
                    3,
                    0.2,
                    1,
                ]
            )
    return table(header, rows), {f"CA-{number}": (order.goods, ZERO) for number, order in enumerate(orders)}


def back_of(order: Order, whole: Decimal) -> Decimal:
    """What of an amount was given back of an order that was given back in part."""
    return cents(whole * order.share / 100) if order.state == "back" else ZERO


def goods_back(order: Order, back: Decimal) -> Decimal:
    """What of a refund is of the order's goods: all of it at the total, nothing at the postage, no tax."""
    total = order.goods + order.freight + order.duty
    if back == total:
        return order.goods
    if back == order.freight:
        return ZERO
    return min(cents(back * order.goods / total) if order.duty else back, order.goods)


EXPORTS = [
    shopify,
    taobao_orders,
    taobao_items,
    youzan,
    youzan_items,
    jd,
    erp_cn,
    douyin,
    pinduoduo,
    tiktok_shop,
    woocommerce,
    amazon,
    wangdiantong,
    online_retail,
    superstore,
    standard,
]


def test_every_shipped_preset_is_read_a_second_time() -> None:
    assert sorted(export.__name__ for export in EXPORTS) == preset_names()


@pytest.mark.parametrize("export", EXPORTS)
@settings(max_examples=examples(3), deadline=None)
@given(orders=ORDERS)
def test_money_and_refunds_of_every_order(
    export: Callable[[Sequence[Order]], Case], orders: list[Order]
) -> None:
    text, expected = export(orders)
    with tempfile.TemporaryDirectory() as home:
        shop = make_shop(Path(home), shop={"currency": "USD"}, orders={"preset": export.__name__})
        (shop.orders_dir / "orders.csv").write_text(text, "utf-8")
        warehouse = small_warehouse(shop)
        load_new_files(warehouse, shop)
        update_order_lines(warehouse, shop)
        found = warehouse.read(
            "select order_id, sum(amount), sum(refunded_amount) from order_lines group by 1"
        )
    assert {order: (amount, back) for order, amount, back in found.iter_rows()} == expected

"""``rfm preset new`` on layouts that no shipped preset knows: what it asks, and whether the money agrees."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rfm_pipeline.cli.app import app
from rfm_pipeline.ingest.files.reading import AUTO, Rules
from rfm_pipeline.ingest.loading import load_new_files, update_order_lines
from rfm_pipeline.ingest.presets import guess_presets, load_preset
from rfm_pipeline.ingest.presets.preview import preview
from rfm_pipeline.review.report.page import has_products
from rfm_pipeline_tests.helpers import diagnose, ingest, make_shop, small_warehouse


@dataclass(frozen=True)
class Layout:
    """A made-up export: its text, the net total of a plain reading, and what is asked of a stranger.

    Attributes:
        text: The file.
        net: Paid less refunded, added up by hand from the rows.
        columns: The columns that have to be found.
        encoding: Of the file.
        asked: How many questions are asked.
        answers: What is typed.
    """

    text: str
    net: str
    columns: dict[str, str]
    encoding: str = "utf-8"
    asked: int = 0
    answers: str = ""


TEA = Layout(
    "会员号,消费时间,实收金额\n"
    'V001,2025-03-01 10:02,¥128.00\nV002,2025-03-01 11:30,59.9\nV001,2025-04-02 09:15,"1,200.50"\n'
    "V003,2025-04-05 18:40,35\n",
    "1423.40",
    {"customer_id": "会员号", "ordered_at": "消费时间", "amount": "实收金额"},
)
SHOES = Layout(
    "单据编号\t开单日期\t客户手机\t货号\t品名\t数量\t单价\t优惠金额\t备注\n"
    "XS01\t2025/3/1\t13800000001\tA1\t布鞋\t2\t99.50\t10\t\n"
    "XS01\t2025/3/1\t13800000001\tB2\t皮鞋\t1\t300\t0\t急\n"
    "XS02\t2025/3/9\t13800000002\tA1\t布鞋\t-1\t99.50\t0\t退\n"
    "XS03\t2025/4/9\t13800000003\tC3\t鞋垫\t10\t5\t\t\n",
    "439.50",  # 199 - 10 + 300 - 99.50 + 50
    {"order_id": "单据编号", "customer_id": "客户手机", "unit_price": "单价", "line_discount": "优惠金额"},
    encoding="gb18030",
)
SNACKS = Layout(
    "订单编号,买家昵称,下单时间,付款时间,交易状态,商品标题,购买数量,订单总价,运费,退款金额\n"
    "1001,小鱼,2025-03-01 08:00:00,2025-03-01 08:01:00,交易成功,核桃,1,60.00,0,0\n"
    "1002,大海,2025-03-02 08:00:00,,交易关闭,枣,2,50.00,0,0\n"
    "1003,小鱼,2025-03-05 08:00:00,2025-03-05 08:30:00,交易成功,枣,2,50.00,0,20.00\n"
    "1004,阿云,2025-04-05 08:00:00,2025-04-05 08:30:00,交易关闭,核桃,1,60.00,0,0\n"
    "1005,阿云,2025-04-06 08:00:00,,待付款,核桃,1,60.00,0,0\n",
    "90.00",  # 60 + (50 - 20) + (60 - 60)
    {
        "order_status": "交易状态",
        "paid_mark": "付款时间",
        "amount": "订单总价",
        "refunded_amount": "退款金额",
    },
)
FLOWERS = Layout(
    "订单号;用户ID;创建时间;状态;商品名称;件数;成交价;实付款\n"
    "a1;u1;2025-03-01 08:00;已完成;玫瑰;1;30;70\na1;u1;2025-03-01 08:00;已完成;百合;2;20;70\n"
    "a2;u2;2025-03-02 08:00;已取消;玫瑰;1;30;30\na3;u3;2025-03-03 08:00;已退款;百合;1;20;20\n"
    "a4;u1;2025-04-03 08:00;已发货;玫瑰;3;30;85\na4;u1;2025-04-03 08:00;已发货;百合;1;20;85\n",
    "155.00",  # 70 + 20 - 20 + 85
    {"order_id": "订单号", "customer_id": "用户ID", "order_amount": "实付款", "unit_price": "成交价"},
)
BOOKS = Layout(
    "日期,卡,数目\n2025-03-01,13800000001,30.5\n2025-03-01,13800000001,9.5\n2025-04-01,13800000002,100\n",
    "140.00",
    {"customer_id": "卡", "ordered_at": "日期", "amount": "数目"},
    asked=2,
    answers="\n\n",
)
CANDLES = Layout(
    "Order No.,Order Date,Email Address,Product,Qty,Unit Price,Total Paid,Status\n"
    'C-1,2025-03-01 10:00,ann@example.com,Candle,2,$9.50,"$19.00",Completed\n'
    'C-2,2025-03-02 10:00,bob@example.com,Lamp,1,"$1,250.00","$1,250.00",Refunded\n'
    "C-3,2025-04-02 10:00,Ann@example.com,Candle,1,$9.50,$9.50,Cancelled\n"
    "C-4,2025-04-03 10:00,cy@example.com,Candle,3,$9.50,$28.50,Shipped\n",
    "47.50",
    {
        "order_id": "Order No.",
        "customer_id": "Email Address",
        "amount": "Total Paid",
        "order_status": "Status",
    },
)
GYM = Layout(
    "member_id|date|amount\n7|03/25/2025|20.00\n8|03/26/2025|(5.00)\n7|04/01/2025|40.00\n9|04/02/2025|12.25\n",
    "67.25",
    {"customer_id": "member_id", "ordered_at": "date", "amount": "amount"},
)
WINE = Layout(
    "Invoice;Client;Sold on;Article;Pieces;Price each;Line total\n"
    "1;K1;01.03.2025;Riesling;6;9,90;59,40\n1;K1;01.03.2025;Glas;1;1.249,00;1.249,00\n"
    "2;K2;15.04.2025;Riesling;1;9,90;9,90\n",
    "1318.30",
    {"order_id": "Invoice", "customer_id": "Client", "ordered_at": "Sold on", "amount": "Line total"},
)
TOYS = Layout(
    "transaction_id,customer,purchased_at,sku,item,qty,order_total,refund_amount\n"
    "t1,c1,2025-03-01T10:00:00Z,S1,Kite,1,30,0\nt1,c1,2025-03-01T10:00:00Z,S2,Ball,1,30,0\n"
    "t2,c2,2025-03-05T10:00:00Z,S1,Kite,2,40,15\n"
    "t3,c1,2025-04-05T10:00:00Z,S2,Ball,1,12.5,0\nt3,c1,2025-04-05T10:00:00Z,S3,Top,1,12.5,0\n",
    "67.50",  # 30 + 40 - 15 + 12.50
    {"order_id": "transaction_id", "customer_id": "customer", "amount": "order_total"},
    asked=1,
    answers="order\n",
)
BIKES = Layout(
    "Receipt,When,Loyalty card,What,Paid,State\n"
    "1,4/5/2025,L1,Bell,10.00,wrapped\n2,5/6/2025,L2,Tyre,25.00,done\n3,7/8/2025,L1,Bell,10.00,void\n",
    "35.00",
    {"order_id": "Receipt", "customer_id": "Loyalty card", "ordered_at": "When", "amount": "Paid"},
    asked=2,
    answers="paid\nday_first\n",
)
GROCER = Layout(
    "单据号,会员卡号,业务日期,单据类型,实收金额\n"
    "X1,K1,2025-03-01,销售,128.00\nX2,K2,2025-03-02,零售,59.90\n"
    "X3,K1,2025-03-09,销售退货,28.00\nX4,K2,2025-04-01,退款,9.90\nX5,K3,2025-04-02,销售,50\n",
    "200.00",  # 128 + 59.90 + 50 - 28 - 9.90
    {"order_id": "单据号", "line_type": "单据类型", "amount": "实收金额"},
)
OUTLET = Layout(
    # a return bears the number of its order
    "订单号,手机号,交易时间,交易类型,商品名称,数量,单价,金额\n"
    "1,13800000001,2025-03-01 10:00,销售,帽子,1,100,100\n"
    "1,13800000001,2025-03-05 10:00,退货,帽子,1,100,100\n"
    "2,13800000002,2025-03-06 10:00,销售,围巾,2,40,80\n2,13800000002,2025-03-06 10:00,销售,手套,1,30,30\n"
    "2,13800000002,2025-03-08 10:00,退货,围巾,1,40,40\n",
    "70.00",  # 100 - 100 + 80 + 30 - 40
    {"order_id": "订单号", "line_type": "交易类型", "amount": "金额"},
)
GARDEN = Layout(
    "transaction no,member id,transaction date,transaction type,total\n"
    "1,m1,2025-03-01,Sale,20.00\n2,m2,2025-03-02,SALE,35.50\n3,m1,2025-03-05,Refund,5.25\n"
    "4,m2,2025-04-05,Refund,-10.00\n",
    "40.25",  # 20 + 35.50 - 5.25 - 10
    {"order_id": "transaction no", "line_type": "transaction type", "amount": "total"},
)
PAPER = Layout(
    "Document No;Doc Type;Date;Customer No;Article No;Description;Qty;Unit Price;Line Amount\n"
    "I1;Invoice;2025-03-01;C1;A;Pens;10;1.20;12.00\nI1;Invoice;2025-03-01;C1;B;Pads;2;3.00;6.00\n"
    "C1;Credit Note;2025-03-08;C1;A;Pens;5;1.20;6.00\nI2;Invoice;2025-04-01;C2;B;Pads;1;3.00;3.00\n",
    "15.00",  # 12 + 6 - 6 + 3
    {"customer_id": "Customer No", "line_type": "Doc Type", "amount": "Line Amount"},
)
CRAFTS = Layout(
    "customer,date,record type,amount\n"
    "a,2025-03-01,order,30\nb,2025-03-02,order,12.5\na,2025-03-09,refund,30\n",
    "12.50",
    {"line_type": "record type", "amount": "amount"},
)
LAMPS = Layout(
    # the total of the order on each of its rows, below zero for a return; prices are always above
    "order no,member,date,item,unit price,qty,order total\n"
    "1,a,2025-03-01,Lamp,30,1,45\n1,a,2025-03-01,Bulb,10,2,45\n"
    "2,a,2025-03-09,Lamp,30,1,-45\n2,a,2025-03-09,Bulb,10,2,-45\n"
    "3,b,2025-04-01,Lamp,30,1,30\n3,b,2025-04-01,Bulb,10,1,30\n",
    "30.00",  # 45 - 45 + 30
    {"order_amount": "order total", "unit_price": "unit price"},
)
SOAPS = Layout(
    # the same on an order's first row only
    "订单编号,买家昵称,下单时间,商品名称,数量,单价,订单金额\n"
    "1,甲,2025-03-01 10:00,皂,1,30,45\n1,,,盒,2,10,\n2,甲,2025-03-09 10:00,皂,1,30,-25\n2,,,盒,1,10,\n",
    "20.00",
    {"order_amount": "订单金额", "unit_price": "单价"},
)
LAYOUTS = {
    "tea": TEA,
    "shoes": SHOES,
    "snacks": SNACKS,
    "flowers": FLOWERS,
    "books": BOOKS,
    "candles": CANDLES,
    "gym": GYM,
    "wine": WINE,
    "toys": TOYS,
    "bikes": BIKES,
    "grocer": GROCER,
    "outlet": OUTLET,
    "garden": GARDEN,
    "paper": PAPER,
    "crafts": CRAFTS,
    "lamps": LAMPS,
    "soaps": SOAPS,
}


@pytest.fixture
def new(tmp_path: Path) -> Callable[..., Result]:
    """Calls the command for a home that isn't there yet."""

    def call(*arguments: object, typed: str = "") -> Result:
        texts = ["preset", "new", *map(str, arguments), "--home", str(tmp_path / "home")]
        return CliRunner().invoke(app, texts, input=typed)

    return call


def file_of(folder: Path, text: str, name: str = "export.csv", encoding: str = "utf-8") -> Path:
    """An export."""
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def net_of(home: Path, name: str, *paths: Path) -> Decimal:
    """The total of exports, read with a preset of the home."""
    read = preview(paths, load_preset(name, home), "Asia/Shanghai", Rules(AUTO))
    return Decimal(str(read.net))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_that_no_preset_knows_is_read_with_the_right_total(
    tmp_path: Path, new: Callable[..., Result], name: str
) -> None:
    layout = LAYOUTS[name]
    path = file_of(tmp_path, layout.text, f"{name}.csv", layout.encoding)
    header = layout.text.splitlines()[0]
    assert all(guess.lacks for guess in guess_presets(header.replace("\t", ",").split(",")))
    result = new(path, typed=layout.answers)
    assert result.exit_code == 0, (result.output, result.exception)
    assert result.output.count("number or name") == layout.asked
    assert f"total: {Decimal(layout.net):,.2f}" in result.output
    home = tmp_path / "home"
    preset = load_preset(name, home)
    assert {role: preset.columns.get(role) for role in layout.columns} == {
        role: (header,) for role, header in layout.columns.items()
    }
    assert net_of(home, name, path) == Decimal(layout.net)


# made of an order's amount, and of returns
@pytest.mark.parametrize("name", ["outlet", "lamps", "soaps"])
def test_the_loaded_order_lines_have_the_total_that_was_shown(
    tmp_path: Path, new: Callable[..., Result], name: str
) -> None:
    layout = LAYOUTS[name]
    path = file_of(tmp_path, layout.text, f"{name}.csv", layout.encoding)
    assert new(path, typed=layout.answers).exit_code == 0
    shop = make_shop(tmp_path / "home", orders={"preset": name})
    path.rename(shop.orders_dir / path.name)
    warehouse = small_warehouse(shop)
    load_new_files(warehouse, shop)
    update_order_lines(warehouse, shop)
    net = "sum(case line_type when 'sale' then amount - refunded_amount else -amount end)"
    assert warehouse.read(f"select {net} as net from order_lines").item() == Decimal(layout.net)


def test_what_is_said_is_not_asked(tmp_path: Path, new: Callable[..., Result]) -> None:
    path = file_of(tmp_path, BOOKS.text)
    result = new(path, "--set", "customer_id=卡", "--set", "amount=数目", "--name", "books")
    assert result.exit_code == 0
    assert "number or name" not in result.output
    assert net_of(tmp_path / "home", "books", path) == Decimal(BOOKS.net)


def test_yes_takes_what_is_likely_and_never_guesses_the_order_of_days(
    tmp_path: Path, new: Callable[..., Result]
) -> None:
    path = file_of(tmp_path, BIKES.text)
    refused = new(path, "--yes")
    assert refused.exit_code == 1
    assert "--set date_order=…" in str(refused.exception)
    assert not (tmp_path / "home").exists()
    taken = new(path, "--yes", "--set", "date_order=month_first", "--name", "bikes")
    assert taken.exit_code == 0
    assert "2025-04" in taken.output
    assert load_preset("bikes", tmp_path / "home").date_order == "month_first"


def test_a_preset_is_not_replaced_without_a_word(tmp_path: Path, new: Callable[..., Result]) -> None:
    path = file_of(tmp_path, TEA.text)
    assert new(path, "--name", "till").exit_code == 0
    assert "exists already" in str(new(path, "--name", "till").exception)
    assert new(path, "--name", "till", "--force").exit_code == 0


def test_files_of_two_layouts_and_unanswered_questions_are_refused(
    tmp_path: Path, new: Callable[..., Result]
) -> None:
    tea, gym = file_of(tmp_path, TEA.text, "tea.csv"), file_of(tmp_path, GYM.text, "gym.csv")
    assert "its header is another" in str(new(tea, gym).exception)
    assert "no answer; say --set customer_id=" in str(new(file_of(tmp_path, BOOKS.text)).exception)
    assert "there is no row below the header" in str(new(file_of(tmp_path, "会员号,日期,金额\n")).exception)


def test_check_names_the_command_for_a_file_that_fits_no_preset(tmp_path: Path) -> None:
    path = file_of(tmp_path, TEA.text)
    result = CliRunner().invoke(app, ["check", str(path)])
    assert result.exit_code == 1
    assert f"rfm preset new {path}" in result.output


WITHOUT_NAMES = {
    "till": "V001,2025-03-01 10:02,128.00\nV002,2025-03-01 11:30,59.90\n",
    "duplicates": "1001,1001,2025/3/1,5,5\n1002,1002,2025/3/2,6,6\n",
    "a usual name in a row": "7,paid,03/25/2025,20.00\n8,paid,03/26/2025,5.00\n",
    "addresses": "x@y.de;14,50;Tee\nz@y.de;3,00;Tasse\n",
    "one row": "X1\tK1\t20250301\t销售\t5\n",
}


@pytest.mark.parametrize("name", WITHOUT_NAMES)
def test_a_file_without_a_header_row_is_refused_for_that_and_no_value_is_shown(
    tmp_path: Path, new: Callable[..., Result], name: str
) -> None:
    path = file_of(tmp_path, WITHOUT_NAMES[name])
    checked = CliRunner().invoke(app, ["check", str(path)])
    of_a_preset = CliRunner().invoke(app, ["check", str(path), "--preset", "standard"])
    assert (checked.exit_code, of_a_preset.exit_code) == (1, 1)
    for message in (str(new(path, "--yes").exception), checked.output, of_a_preset.output):
        assert f"{path}: its first row holds values" in message
        assert "Add a row of names above it" in message
        assert not any(value in message for value in ("2025", "V001", "1001", "x@y.de", "K1"))
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(("more", "value", "is_known"), [("", "", False), (",货号", ",A-1", True)])
def test_summary_and_page_know_whether_the_orders_name_any_article(
    tmp_path: Path, new: Callable[..., Result], more: str, value: str, is_known: bool
) -> None:
    """What both ask before they explain class C; the slow test below makes them."""
    path = file_of(tmp_path, f"会员号,消费时间,实收金额{more}\nV1,2025-06-29 10:00,5{value}\n")
    assert new(path, "--name", "till").exit_code == 0
    week = date(2025, 6, 23)
    shop = make_shop(tmp_path / "home", shop={"first_week": week}, orders={"preset": "till"})
    path.rename(shop.orders_dir / path.name)
    warehouse = small_warehouse(shop)
    ingest(warehouse, shop)
    diagnose(warehouse, shop, [week])
    with warehouse.transaction() as session:
        assert has_products(session, week) is is_known


@pytest.mark.slow
def test_three_columns_run_and_the_report_says_why_all_are_of_class_c(
    tmp_path: Path, new: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a file to the page: as long as a run takes."""
    home = tmp_path / "home"
    monkeypatch.setenv("RFM_HOME", str(home))
    rows = [f"V{i},2025-01-0{1 + i % 5} 10:00,{10 + i}\n" for i in range(20)]
    text = "会员号,消费时间,实收金额\n" + "".join(rows) + "V99,2025-06-29 10:00,5\n"
    assert new(file_of(tmp_path, text), "--name", "till").exit_code == 0
    runner = CliRunner()
    made = runner.invoke(app, ["init", str(home), "--preset", "till", "--first-week", "2025-06-23"])
    assert made.exit_code == 0, made.exception
    file_of(home / "orders", text)
    ran = runner.invoke(app, ["run", "--home", str(home), "--week", "2025-06-23"])
    assert ran.exit_code == 0, (ran.output, ran.exception)
    assert "every silent customer is of class C: the orders of the past year name no article" in " ".join(
        ran.output.split()
    )
    page = (home / "out" / "reports" / "2025-06-23.html").read_text("utf-8")
    assert 'id="no-products"' in page

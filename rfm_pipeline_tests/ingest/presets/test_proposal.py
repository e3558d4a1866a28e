"""What a header and its values are proposed as: names, words of the status, amounts, open questions."""

from pathlib import Path

import pytest

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.files.texts import peek, text_rows
from rfm_pipeline.ingest.presets.columns import fold, known_names, look, require_names
from rfm_pipeline.ingest.presets.proposal import Proposal, meaning_of, propose

SHANGHAI = "Asia/Shanghai"


def proposed(folder: Path, text: str, **said: str) -> Proposal:
    """The proposal for a file, with what the shop says of it."""
    path = folder / "export.csv"
    path.write_text(text, "utf-8")
    layout = peek(path, known_names)
    rows = text_rows(path, layout, SHANGHAI, folder, known_names)
    sample = next(iter(rows.batches))
    return propose(look(sample, layout.header, SHANGHAI, False), sample, said)


def roles_of(proposal: Proposal) -> dict[str, str]:
    """Canonical column to the name of the column chosen for it."""
    return {role: choice.column.name for role, choice in proposal.chosen.items()}


@pytest.mark.parametrize(
    ("header", "row", "who", "when", "how_much"),
    [
        ("客户编号,成交日期,成交金额", "K1,2025-03-01,3.5", "客户编号", "成交日期", "成交金额"),
        ("买家昵称,收货人,付款时间,实付款", "小鱼,张三,2025-03-01 10:00,3", "买家昵称", "付款时间", "实付款"),
        (
            "手机号,会员等级,下单时间,应付,实付",
            "13800000001,金,2025-3-1 9:00,5,3",
            "手机号",
            "下单时间",
            "实付",
        ),
        ("顾客,日期,总价", "张三,20250301,3", "顾客", "日期", "总价"),
        (
            "买家邮箱,支付时间,发货时间,支付金额(元)",
            "a@b.cn,2025/3/1,2025/3/2,¥3",
            "买家邮箱",
            "支付时间",
            "支付金额(元)",
        ),
        (
            "Customer E-Mail;Order Date;Total Amount (EUR)",
            "a@b.de;2025-03-01;3",
            "Customer E-Mail",
            "Order Date",
            "Total Amount (EUR)",
        ),
        (
            "client_no|purchased_on|shipping|amount_paid",
            "7|2025-03-01|5|3",
            "client_no",
            "purchased_on",
            "amount_paid",
        ),
        (
            "User ID,Order Status Date,Created At,Grand Total",
            "7,2025-03-02,2025-03-01T10:00:00Z,3",
            "User ID",
            "Created At",
            "Grand Total",
        ),
        ("BUYER,SOLD AT,TAX,NET SALES", "Ann,2025-03-01 10:00,1,3", "BUYER", "SOLD AT", "NET SALES"),
        (
            "phone,ship date,order time,discount,revenue",
            "+44 20 1234 5678,2025-03-05,2025-03-01,1,$3",
            "phone",
            "order time",
            "revenue",
        ),
    ],
)
def test_who_when_and_how_much_are_known_by_usual_names(
    tmp_path: Path, header: str, row: str, who: str, when: str, how_much: str
) -> None:
    proposal = proposed(tmp_path, f"{header}\n{row}\n")
    roles = roles_of(proposal)
    assert (roles["customer_id"], roles["ordered_at"], roles["amount"]) == (who, when, how_much)
    assert proposal.questions == []


@pytest.mark.parametrize(
    ("header", "row", "role", "column"),
    [
        ("会员号,日期,金额,退款金额", "1,2025-03-01,5,1", "refunded_amount", "退款金额"),
        ("会员号,日期,单价,数量", "1,2025-03-01,5,2", "quantity", "数量"),
        ("member,date,price,qty,discount", "1,2025-03-01,5,2,1.5", "line_discount", "discount"),
        ("member,date,amount,SKU", "1,2025-03-01,5,A-1", "sku", "SKU"),
        ("member,date,amount,payment status", "1,2025-03-01,5,paid", "order_status", "payment status"),
        ("member,order date,paid at,total", "1,2025-03-01,2025-03-02,5", "paid_mark", "paid at"),
        ("member,order date,cancelled at,total", "1,2025-03-01,2025-03-02,5", "cancelled_at", "cancelled at"),
        ("快递单号,订单编号,会员号,日期,金额", "SF1,2,1,2025-03-01,5", "order_id", "订单编号"),
        ("会员号,日期,金额,是否退款", "1,2025-03-01,5,是", "refund_flag", "是否退款"),
        ("member,date,amount,currency", "1,2025-03-01,5,USD", "currency", "currency"),
    ],
)
def test_further_columns_are_known_too(tmp_path: Path, header: str, row: str, role: str, column: str) -> None:
    assert roles_of(proposed(tmp_path, f"{header}\n{row}\n"))[role] == column


@pytest.mark.parametrize(
    ("name", "words", "is_known"),
    [
        ("类型", ("销售", "退货"), True),
        ("单据类型", ("零售出库", "销售退货单"), True),
        ("订单类型", ("普通订单", "仅退款"), True),
        ("交易类型", ("消费", "退款"), True),
        ("type", ("Sale", "Credit Note"), True),
        ("Doc. Type", ("INVOICE", "CREDIT MEMO"), True),
        ("record_type", ("order", "refund"), True),
        ("类型", ("销售", ""), True),
        ("类型", ("女装", "男装"), False),
        ("类型", ("销售", "换货"), False),
        ("退款类型", ("仅退款", "退货退款"), False),
        ("type", ("refund", "return"), False),
        ("payment type", ("payment", "credit"), False),
        ("支付类型", ("支付", "退款"), False),
    ],
)
def test_a_column_of_sales_and_returns_is_known_by_its_name_and_all_its_words(
    tmp_path: Path, name: str, words: tuple[str, str], is_known: bool
) -> None:
    rows = "".join(f"{i},2025-03-0{i},5.5,{word}\n" for i, word in enumerate(words, start=1))
    proposal = proposed(tmp_path, f"会员号,日期,金额,{name}\n{rows}")
    assert (roles_of(proposal).get("line_type") == name) is is_known
    assert proposal.questions == []


def test_an_unknown_word_of_a_named_line_type_is_asked(tmp_path: Path) -> None:
    text = "会员号,日期,金额,类型\n1,2025-03-01,5,销售\n1,2025-03-02,5,反单\n"
    (question,) = proposed(tmp_path, text, line_type="类型").questions
    assert (question.key, question.choices) == ("line_type.反单", ("sale", "return"))
    said = {"line_type": "类型", "line_type.反单": "return"}
    proposal = proposed(tmp_path, text, **said)
    assert (proposal.line_types, proposal.questions) == ({"sale": ["销售"], "return": ["反单"]}, [])


def test_the_rows_of_a_return_say_nothing_of_the_amount_of_its_order(tmp_path: Path) -> None:
    rows = "1,a,2025-03-01,sale,50\n1,a,2025-03-02,refund,50\n"
    proposal = proposed(tmp_path, f"order no,member,date,type,total\n{rows}")
    assert (proposal.is_order_amount, proposal.questions) == (False, [])


@pytest.mark.parametrize(
    ("header", "row", "role", "column"),
    [
        ("会员号,日期,金额", "1,2025-03-01,很多", "amount", "金额"),
        ("会员号,日期,金额", "1,昨天,5", "ordered_at", "日期"),
        ("member,date,total", "1,2025-03-01,n/a", "amount", "total"),
        ("订单日期,日期,金额", "x,2025-03-01,5", "ordered_at", "订单日期"),
        ("买家,订单状态,日期,金额", "1,2025-03-02,2025-03-01,5", "order_status", "订单状态"),
    ],
)
def test_a_name_alone_is_not_believed(tmp_path: Path, header: str, row: str, role: str, column: str) -> None:
    assert roles_of(proposed(tmp_path, f"{header}\n{row}\n")).get(role) != column


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("交易成功", "paid"),
        ("待发货", "paid"),
        ("Shipped", "paid"),
        ("partially_refunded", "paid"),
        ("退款中", "paid"),
        ("待付款", "unpaid"),
        ("等待买家付款", "unpaid"),
        ("Pending Payment", "unpaid"),
        ("on-hold", "unpaid"),
        ("未支付", "unpaid"),
        ("已取消", "cancelled"),
        ("交易关闭", "cancelled"),
        ("Cancelled", "cancelled"),
        ("canceled by buyer", "cancelled"),
        ("VOID", "cancelled"),
        ("系统超时取消", "cancelled"),
        ("已退款", "closed"),
        ("退款成功", "closed"),
        ("Refunded", "closed"),
        ("chargeback", "closed"),
        ("Fully Refunded", "closed"),
        ("wrapped", None),
        ("甲", None),
        ("7", None),
        ("closed", None),
        ("排队", None),
    ],
)
def test_usual_words_of_a_status(word: str, meaning: str | None) -> None:
    assert meaning_of(word) == meaning


@pytest.mark.parametrize(
    ("rows", "is_order", "asked"),
    [
        ("1,a,2025-03-01,30,1,50\n1,a,2025-03-01,20,1,50\n", True, False),  # the sum of the lines
        ("1,a,2025-03-01,30,1,30\n1,a,2025-03-01,10,2,20\n", False, False),  # the line's own
        ("1,a,2025-03-01,30,1,30\n1,a,2025-03-01,30,1,30\n", False, False),  # two lines of one price
        ("1,a,2025-03-01,30,1,45\n1,a,2025-03-01,20,1,45\n", True, False),  # the sum less a discount
        ("1,a,2025-03-01,30,1,50\n1,,,20,1,\n", True, False),  # on the first row only
        ("1,a,2025-03-01,,,50\n1,a,2025-03-01,,,50\n", True, True),  # nothing shows it
        ("1,a,2025-03-01,30,1,30\n2,a,2025-03-01,20,1,20\n", False, False),  # one row an order
    ],
)
def test_the_amount_of_an_order_or_of_a_line(tmp_path: Path, rows: str, is_order: bool, asked: bool) -> None:
    proposal = proposed(tmp_path, f"order no,member,date,unit price,qty,total\n{rows}")
    assert proposal.is_order_amount is is_order
    assert [question.key for question in proposal.questions] == (["amount_is"] if asked else [])


@pytest.mark.parametrize(
    ("text", "said", "asked", "suggestion"),
    [
        ("甲,日期,金额\n13800000001,2025-03-01,5\n", {}, "customer_id", "甲"),
        ("a,date,amount\nx@y.de,2025-03-01,5\n", {}, "customer_id", "a"),
        ("member,b,amount\n1,2025-03-01 10:00,5\n", {}, "ordered_at", "b"),
        ("member,date,c\n1,2025-03-01,5.25\n", {}, "amount", "c"),
        ("member,date,c,d\n1,2025-03-01,5.25,6.5\n", {}, "amount", None),
        ("member,date,amount,status\n1,2025-03-01,5,wrapped\n", {}, "order_status.wrapped", "paid"),
        ("a,date,amount\n2025-03-01,2025-03-02,5\n", {}, "customer_id", None),
    ],
)
def test_what_the_file_leaves_open_is_asked(
    tmp_path: Path, text: str, said: dict[str, str], asked: str, suggestion: str | None
) -> None:
    (question,) = proposed(tmp_path, text, **said).questions
    assert (question.key, question.suggestion) == (asked, suggestion)


@pytest.mark.parametrize(
    ("said", "roles"),
    [
        ({"customer_id": "备注"}, {"customer_id": "备注"}),
        ({"amount": "应付"}, {"amount": "应付"}),
        ({"ordered_at": "发货时间"}, {"ordered_at": "发货时间"}),
        ({"sku": "备注"}, {"sku": "备注", "customer_id": "会员号"}),
        ({"amount": " 应付 "}, {"amount": "应付"}),
    ],
)
def test_what_the_shop_says_wins(tmp_path: Path, said: dict[str, str], roles: dict[str, str]) -> None:
    text = "会员号,日期,发货时间,实付,应付,备注\n1,2025-03-01,2025-03-02,5,6,x\n"
    found = roles_of(proposed(tmp_path, text, **said))
    assert {role: found[role] for role in roles} == roles


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"customer": "会员号"}, "there is no such column. Did you mean 'customer_id'?"),
        ({"customer_id": "客户"}, "--set customer_id=客户: must be one of none, 会员号, 日期, 金额."),
        ({"amount_is": "both"}, "must be one of line, order"),
        ({"date_order": "iso"}, "must be one of month_first, day_first"),
        ({"line_type.甲": "gift"}, "must be one of sale, return"),
        ({"order_status.甲": "gone"}, "must be one of paid, unpaid, cancelled, closed"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, said: dict[str, str], message: str) -> None:
    with pytest.raises(OrderFileError) as caught:
        proposed(tmp_path, "会员号,日期,金额\n1,2025-03-01,5\n", **said)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "header",
    [
        ["甲", "乙", "丙"],
        ["a", "b", "2024"],
        ["会员号", "1", "2"],
        ["date", "amount", "2024", "2025"],
        ["Customer", "1月", "2月"],
        ["", "", "x"],
    ],
)
def test_unusual_names_are_names(header: list[str]) -> None:
    require_names(Path("export.csv"), header)


def test_a_needed_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OrderFileError, match="'金额' more than once"):
        proposed(tmp_path, "会员号,日期,金额,金额\n1,2025-03-01,5,6\n")


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("Order No.", "orderno"),
        ("order_no", "orderno"),
        ("实付金额（元）", "实付金额"),
        ("Ｔｏｔａｌ [USD]", "total"),
        ('="E-Mail"', "email"),
        ("(%)", ""),
    ],
)
def test_names_have_one_spelling(name: str, spelling: str) -> None:
    assert fold(name) == spelling

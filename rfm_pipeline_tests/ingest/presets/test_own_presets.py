"""A shop's own presets: what is refused when one is read, and files with no more than who, when, how much."""

from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from textwrap import dedent

import polars as pl
import pytest

from rfm_pipeline.errors import OrderFileError, ShopFileError
from rfm_pipeline.ingest.files.reading import Rules, open_source, read_rows
from rfm_pipeline.ingest.presets import Preset, load_preset

THREE = """
columns: {customer_id: [会员号], ordered_at: [时间], amount: [金额]}
required: [customer_id, ordered_at, amount]
"""
FIVE = """
columns: {order_id: [number], customer_id: [who], ordered_at: [when], amount: [paid], refunded_amount: [back]}
required: [order_id, ordered_at, amount]
negative_amounts: returns
"""


def own(home: Path, text: str) -> Preset:
    """A preset of the home ``home`` that says ``text``."""
    (home / "presets").mkdir(exist_ok=True)
    (home / "presets" / "mine.yaml").write_text(dedent(text), "utf-8")
    return load_preset("mine", home)


def rows_of(home: Path, preset: Preset, text: str, name: str = "till.csv") -> pl.DataFrame:
    """What the rows of an export are read as."""
    path = home / name
    path.write_text(text, "utf-8")
    source = open_source(path, preset)
    return pl.concat(read_rows(source, "Asia/Shanghai", home / "staging", Rules()))


@pytest.mark.parametrize(
    ("columns", "more", "words"),
    [
        ("amount: [paid], line_discount: [less]", "", "'line_discount' would come off twice"),
        ("sku: [article]", "", "no column says how much"),
        ("amount: [paid], order_status: [state]", "", "'order_status' means nothing without words"),
        ("amount: [paid], refund_flag: [back]", "", "'refund_flag' means nothing without words"),
        (
            "amount: [total], order_amount: [total]",
            "",
            "'amount' and 'order_amount' both stand under 'total'",
        ),
        ("amount: []", "", "columns: amount names no header"),
        (
            "amount: [paid], order_status: [state]",
            "statuses: {paid: [done], cancelled: [done]}",
            "the status 'done' means paid and cancelled: keep one",
        ),
        (
            "amount: [paid], line_type: [kind]",
            "line_types: {sale: [out], return: [out]}",
            "the line type 'out' means sale and return: keep one",
        ),
        ("amount: [paid], ordered_at: [who]", "", "'customer_id' and 'ordered_at' both stand under 'who'"),
    ],
)
def test_a_preset_that_contradicts_itself_is_refused_when_it_is_read(
    tmp_path: Path, columns: str, more: str, words: str
) -> None:
    with pytest.raises(ShopFileError) as caught:
        own(
            tmp_path,
            f"columns: {{order_id: [number], customer_id: [who], {columns}}}\nrequired: []\n{more}\n",
        )
    assert str(tmp_path / "presets" / "mine.yaml") in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "columns: {ordered_at: [when], amount: [paid]}\nrequired: [amount]",
        "columns: {customer_id: [who], amount: [paid]}\nrequired: [amount]",
        "columns: {amount: [paid]}\nrequired: [amount]",
        "columns: {ordered_at: [when], amount: [paid], sku: [article]}\nrequired: [amount]",
        "columns: {customer_id: [who], order_amount: [paid]}\nrequired: [customer_id]",
    ],
)
def test_without_an_order_number_a_preset_names_customer_and_time(tmp_path: Path, text: str) -> None:
    with pytest.raises(ShopFileError, match="without 'order_id', an order is what one customer bought"):
        own(tmp_path, text)


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("会员,时间,金额", "(is '会员' meant?)"),
        ("买家,时间,金额", ""),
        ("member,时间,金额", ""),
        ("时间,金额,备注", ""),
        ("会员编号,时间,金额", "(is '会员编号' meant?)"),
    ],
)
def test_a_file_without_the_customers_column_is_refused_not_read_as_nobodys(
    tmp_path: Path, header: str, hint: str
) -> None:
    preset = own(tmp_path, THREE.replace("required: [customer_id, ", "required: ["))
    with pytest.raises(OrderFileError) as caught:
        rows_of(tmp_path, preset, f"{header}\nx,2025-01-02,3\n")
    message = str(caught.value)
    assert "looks for the customer under '会员号', and the header has no such column" in message
    assert hint in message
    assert "remove customer_id" in message


def test_a_fallback_is_a_customers_column_too(tmp_path: Path) -> None:
    preset = own(
        tmp_path,
        """
        columns: {order_id: [number], customer_id: [member], ordered_at: [when], amount: [paid]}
        fallback: {customer_id: [phone]}
        required: [order_id, amount]
        """,
    )
    rows = rows_of(tmp_path, preset, "number,phone,when,paid\n1,13800000001,2025-01-02,3\n")
    assert rows["customer_id"].to_list() == ["13800000001"]


def test_rows_of_one_customer_at_one_time_are_one_order(tmp_path: Path) -> None:
    text = (
        "会员号,时间,金额\n"
        "a,2025-01-02 10:00,1\n"
        "a,2025/1/2 10:00:00,2\n"
        "a,2025-01-02 10:01,4\n"
        "b,2025-01-02 10:00,8\n"
        "b,2025-01-03,16\n"
    )
    rows = rows_of(tmp_path, own(tmp_path, THREE), text)
    assert rows["disposition"].to_list() == ["accepted"] * 5
    numbers = rows["order_id"].to_list()
    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 4
    assert rows["amount"].to_list() == [Decimal(n) for n in (1, 2, 4, 8, 16)]
    assert rows["quantity"].to_list() == [Decimal(1)] * 5
    assert rows["sku"].null_count() == 5


def test_a_made_order_number_is_the_same_in_the_next_export_and_names_nobody(tmp_path: Path) -> None:
    preset = own(tmp_path, THREE)
    first = rows_of(tmp_path, preset, "会员号,时间,金额\n13800000001,2025-01-02 10:00,1\n")
    second = rows_of(
        tmp_path,
        preset,
        "备注,金额,时间,会员号\nx,9,2025-01-01,b\n,1,2025-01-02 10:00:00,13800000001\n",
        "2.csv",
    )
    said = "\x1f".join(["2025-01-02T10:00:00.000000", "13800000001", "", "", "", ""])
    expected = "20250102-" + sha256(said.encode()).hexdigest()[:20]
    assert second["order_id"][1] == first["order_id"][0] == expected
    assert "13800000001" not in first["order_id"][0]


def test_a_row_of_nobody_is_an_order_of_its_own(tmp_path: Path) -> None:
    preset = own(tmp_path, THREE.replace("[customer_id, ", "["))
    rows = rows_of(tmp_path, preset, "会员号,时间,金额\n,2025-01-02,1\n,2025-01-02,2\n***,2025-01-02,1\n")
    assert rows["customer_id"].null_count() == 3
    numbers = rows["order_id"].to_list()
    assert numbers[0] != numbers[1]
    assert numbers[0] == numbers[2]


def test_a_row_without_a_time_is_rejected_for_that(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, own(tmp_path, THREE), "会员号,时间,金额\na,,1\na,soon,2\na,2025-01-02,\n")
    assert rows["reason"].to_list() == [
        "ordered_at is missing",
        "ordered_at is no date and time",
        "neither an amount nor a price is given",
    ]


@pytest.mark.parametrize(
    ("paid", "back", "line_type", "amount", "refunded"),
    [
        ("12.50", "", "sale", "12.50", "0"),
        ("-12.50", "", "return", "12.50", "0"),
        ("(12.50)", "0", "return", "12.50", "0"),
        ("-¥1,200.00", "", "return", "1200", "0"),
        ("12.50", "-2.50", "sale", "12.50", "2.50"),
        ("0", "", "sale", "0", "0"),
    ],
)
def test_a_negative_amount_is_a_return_where_the_preset_says_so(
    tmp_path: Path, paid: str, back: str, line_type: str, amount: str, refunded: str
) -> None:
    rows = rows_of(
        tmp_path, own(tmp_path, FIVE), f'number,who,when,paid,back\n1,a,2025-01-02,"{paid}",{back}\n'
    )
    assert rows["disposition"].to_list() == ["accepted"]
    assert rows["line_type"][0] == line_type
    assert (rows["amount"][0], rows["refunded_amount"][0]) == (Decimal(amount), Decimal(refunded))
    assert rows["quantity"][0] == (-1 if line_type == "return" else 1)


def test_a_preset_may_say_which_words_are_sales_and_returns(tmp_path: Path) -> None:
    columns = "columns: {customer_id: [who], ordered_at: [when], amount: [paid], line_type: [kind]}"
    words = "line_types: {sale: [out], return: [in again]}"
    preset = own(tmp_path, f"{columns}\nrequired: [amount]\n{words}\n")
    rows = rows_of(
        tmp_path,
        preset,
        "who,when,paid,kind\na,2025-01-02,5,Out\na,2025-01-03,5,IN AGAIN\na,2025-01-04,5,sale\n",
    )
    assert rows["line_type"].head(2).to_list() == ["sale", "return"]
    assert rows["reason"].to_list() == [None, None, "line_type is no line type (sale or return)"]


def test_a_negative_amount_is_rejected_where_the_preset_is_silent(tmp_path: Path) -> None:
    preset = own(tmp_path, FIVE.replace("negative_amounts: returns", ""))
    rows = rows_of(tmp_path, preset, "number,who,when,paid,back\n1,a,2025-01-02,-5,\n")
    assert rows["reason"].to_list() == ["amount is negative; a return has a negative quantity"]

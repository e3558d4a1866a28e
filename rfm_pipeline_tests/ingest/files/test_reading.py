"""One export as typed rows: formats, encodings, times, money, and every reason to reject a row."""

import csv
import gzip
import io
import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.files.reading import open_source, read_rows
from rfm_pipeline.ingest.files.texts import is_order_file
from rfm_pipeline.ingest.presets import load_preset

ZONE = "Asia/Shanghai"
HEADER = "order_id,customer_id,ordered_at,sku,quantity,unit_price"
ALL_COLUMNS = (
    "order_id,line_no,customer_id,ordered_at,line_type,sku,product_name,quantity,unit_price,list_price,"
    "amount,refunded_amount,refunded_at,is_clearance,order_status"
)
GOOD: dict[str, str] = {
    "order_id": "o1",
    "line_no": "1",
    "customer_id": "anna",
    "ordered_at": "2024-01-03 10:00:00",
    "line_type": "sale",
    "sku": "TEA",
    "product_name": "茶",
    "quantity": "2",
    "unit_price": "10.50",
    "list_price": "12.00",
    "amount": "21.00",
    "refunded_amount": "",
    "refunded_at": "",
    "is_clearance": "false",
    "order_status": "paid",
}


def read(path: Path, preset: str = "standard", zone: str = ZONE) -> pl.DataFrame:
    with TemporaryDirectory() as folder:
        frames = list(read_rows(open_source(path, load_preset(preset)), zone, Path(folder)))
    return pl.concat(frames) if frames else pl.DataFrame()


def read_text(folder: Path, text: str | bytes, name: str = "orders.csv", **how: str) -> pl.DataFrame:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read(path, **how)


def read_row(folder: Path, **values: str) -> dict[str, Any]:
    """A single row: a good one, changed as said."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(GOOD)
    writer.writerow((GOOD | values).values())
    (row,) = read_text(folder, buffer.getvalue()).to_dicts()
    return row


# Formats


CSV_TEXT = f"""{HEADER},amount,is_clearance,product_name
o1,101,2024-01-03 10:00:00,TEA,2,10.5,21,true,茶
o2,102,2024-01-03 11:30:15,CUP,1,3.25,3.25,false,杯
o3,,2024-01-04 00:00:00,POT,-1,0.1,0.1,,壶
"""


def typed_frame(ordered_at: pl.Series) -> pl.DataFrame:
    """The rows of CSV_TEXT as a database would export them to Parquet."""
    return pl.DataFrame(
        {
            "order_id": ["o1", "o2", "o3"],
            # a nullable integer column that went through pandas
            "customer_id": pl.Series([101.0, 102.0, None], dtype=pl.Float64),
            "ordered_at": ordered_at,
            "sku": ["TEA", "CUP", "POT"],
            "quantity": pl.Series([2, 1, -1], dtype=pl.Int32),
            "unit_price": pl.Series([10.5, 3.25, 0.1], dtype=pl.Float64),
            "amount": pl.Series(["21.00", "3.25", "0.10"]).cast(pl.Decimal(10, 2)),
            "is_clearance": [True, False, None],
            "product_name": ["茶", "杯", "壶"],
        }
    )


LOCAL = [datetime(2024, 1, 3, 10), datetime(2024, 1, 3, 11, 30, 15), datetime(2024, 1, 4)]
LOCAL_TIMES = {
    "microseconds": pl.Series(LOCAL, dtype=pl.Datetime("us")),
    "nanoseconds": pl.Series(LOCAL, dtype=pl.Datetime("ns")),
    "milliseconds": pl.Series(LOCAL, dtype=pl.Datetime("ms")),
    "utc": pl.Series(LOCAL).dt.replace_time_zone(ZONE).dt.convert_time_zone("UTC"),
    "new york": pl.Series(LOCAL).dt.replace_time_zone(ZONE).dt.convert_time_zone("America/New_York"),
    "text": pl.Series([f"{moment}" for moment in LOCAL]),
}


@pytest.mark.parametrize("ordered_at", LOCAL_TIMES.values(), ids=LOCAL_TIMES.keys())
def test_parquet_gives_the_rows_that_csv_gives(tmp_path: Path, ordered_at: pl.Series) -> None:
    expected = read_text(tmp_path, CSV_TEXT)
    typed_frame(ordered_at).write_parquet(tmp_path / "orders.parquet")
    assert_frame_equal(read(tmp_path / "orders.parquet"), expected)


def test_dates_in_parquet_are_midnights(tmp_path: Path) -> None:
    typed_frame(pl.Series([date(2024, 1, 3)] * 3)).write_parquet(tmp_path / "orders.parquet")
    assert read(tmp_path / "orders.parquet")["ordered_at"].to_list() == [datetime(2024, 1, 3)] * 3


def test_floats_that_are_no_money_are_rejected(tmp_path: Path) -> None:
    frame = typed_frame(LOCAL_TIMES["text"]).with_columns(
        unit_price=pl.Series([float("nan"), float("inf"), 1e300])
    )
    frame.write_parquet(tmp_path / "orders.parquet")
    rows = read(tmp_path / "orders.parquet")
    assert rows["disposition"].to_list() == ["rejected"] * 3


def test_noise_of_floats_is_rounded_away(tmp_path: Path) -> None:
    prices = pl.Series([0.1 + 0.2, 2.675, 1e-9])
    typed_frame(LOCAL_TIMES["text"]).with_columns(unit_price=prices).write_parquet(tmp_path / "o.parquet")
    assert read(tmp_path / "o.parquet")["unit_price"].to_list() == [
        Decimal("0.3"),
        Decimal("2.675"),
        Decimal(0),
    ]


def test_reading_gives_the_same_rows_from_csv_gzip_and_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV_TEXT, "utf-8")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(CSV_TEXT.encode()))
    typed_frame(LOCAL_TIMES["utc"]).write_parquet(tmp_path / "c.parquet")
    frames = [read(tmp_path / name) for name in ("a.csv", "b.csv.gz", "c.parquet")]
    assert_frame_equal(frames[1], frames[0])
    assert_frame_equal(frames[2], frames[0])


@pytest.mark.parametrize("name", ["row_no", "line", "", "__more_fields_than_header__", "0", "note"])
def test_columns_to_spare_may_have_any_name_and_stand_twice(tmp_path: Path, name: str) -> None:
    text = f"{name},{HEADER},{name}\nx,o1,anna,2024-01-03,TEA,1,2.00,y\n"
    (row,) = read_text(tmp_path, text).to_dicts()
    assert (row["order_id"], row["disposition"]) == ("o1", "accepted")


def test_a_spare_parquet_column_may_be_called_row_no(tmp_path: Path) -> None:
    frame = typed_frame(LOCAL_TIMES["utc"]).with_columns(row_no=pl.lit(7))
    frame.write_parquet(tmp_path / "orders.parquet")
    assert read(tmp_path / "orders.parquet")["row_no"].to_list() == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "is_export"),
    [
        ("a.csv", True),
        ("a.csv.gz", True),
        ("a.parquet", True),
        ("a.xlsx", True),
        ("~$a.xlsx", False),
        ("A.CSV", True),
        ("a.gz", False),
        (".a.csv", False),
        ("a.csv.part", False),
    ],
)
def test_exports_are_known_by_their_names(tmp_path: Path, name: str, is_export: bool) -> None:
    (tmp_path / name).touch()
    assert is_order_file(tmp_path / name) is is_export
    assert not is_order_file(tmp_path)


# Text


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize("end", ["", "newline"])
def test_a_byte_order_mark_and_line_ends_make_no_difference(
    tmp_path: Path, mark: str, newline: str, end: str
) -> None:
    text = mark + CSV_TEXT.rstrip("\n").replace("\n", newline) + (newline if end else "")
    plain = read_text(tmp_path, CSV_TEXT, name="plain.csv")
    assert_frame_equal(read_text(tmp_path, text), plain)


def test_quoted_fields_hold_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    text = (
        '"order_id",customer_id,ordered_at,sku,quantity,unit_price,product_name,"a\nnote"\n'
        'o1,anna,2024-01-03,TEA,1,2.00,"tea, ""green""\n茶",x\n'
        "o2,bert,2024-01-04,CUP,1,3.00,cup,\n"
    )
    rows = read_text(tmp_path, text)
    assert rows["product_name"].to_list() == ['tea, "green"\n茶', "cup"]
    assert rows["row_no"].to_list() == [1, 2]
    assert set(rows["disposition"]) == {"accepted"}


def test_values_are_trimmed_and_empty_ones_are_none(tmp_path: Path) -> None:
    (row,) = read_text(tmp_path, f'{HEADER}\n o1 ,"  ", 2024-01-03 ," tea ", 1 , 2.00 \n').to_dicts()
    assert (row["order_id"], row["customer_id"], row["sku"]) == ("o1", None, "tea")
    assert (row["ordered_at"], row["quantity"]) == (datetime(2024, 1, 3), 1)


def test_a_header_alone_is_an_export_without_rows(tmp_path: Path) -> None:
    assert read_text(tmp_path, f"{HEADER}\n").height == 0
    assert read_text(tmp_path, HEADER).height == 0


def test_a_row_number_stands_for_a_missing_line_number(tmp_path: Path) -> None:
    row = "o1,anna,2024-01-03,TEA,1,2.00"
    assert read_text(tmp_path, f"{HEADER}\n{row}\n{row}\n")["line_no"].to_list() == [1, 2]
    assert read_row(tmp_path, line_no="17")["line_no"] == 17


# Files that can't be read


def refusal(path: Path) -> str:
    """The error of reading a file to its end."""
    with pytest.raises(OrderFileError) as caught:
        read(path)
    return str(caught.value)


MANY = HEADER + "\n" + "".join(f"o{n},c{n * 7919},2024-01-03,T{n},1,2.00\n" for n in range(20_000))
PACKED = gzip.compress(MANY.encode())


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"", "the file is empty, it has no header"),
        ("a.csv.gz", gzip.compress(b""), "the file is empty, it has no header"),
        ("a.csv.gz", PACKED[: len(PACKED) // 2], "the gzip file is damaged or cut off"),
        ("a.csv.gz", PACKED[:-4], "the gzip file is damaged or cut off"),
        ("a.csv.gz", PACKED[:12], "can't be opened as .csv.gz"),
        ("a.csv.gz", PACKED[:20] + bytes(40) + PACKED[60:], "can't be opened as .csv.gz"),
        ("a.csv.gz", PACKED[:-9000] + bytes(range(256)) * 4 + PACKED[-7976:], "the gzip file is damaged"),
        ("a.csv.gz", MANY.encode(), "can't be opened as .csv.gz"),
        ("a.parquet", MANY.encode(), "can't be opened as .parquet"),
        ("a.parquet", b"", "can't be opened as .parquet"),
    ],
    ids=[
        "empty",
        "empty gzip",
        "cut gzip",
        "gzip without its end",
        "hardly any gzip",
        "gzip damaged at its start",
        "gzip damaged later",
        "no gzip",
        "no parquet",
        "empty parquet",
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_cause(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert expected in message


def test_a_cut_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "orders.parquet"
    typed_frame(LOCAL_TIMES["utc"]).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert refusal(path).startswith(f"{path}: can't be opened as .parquet")


# Times


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("2024-01-03 10:00:00", datetime(2024, 1, 3, 10)),
        ("2024-01-03T10:00:00", datetime(2024, 1, 3, 10)),
        ("2024/01/03 10:00:00", datetime(2024, 1, 3, 10)),
        ("2024-01-03 10:00:00.25", datetime(2024, 1, 3, 10, 0, 0, 250_000)),
        ("2024-01-03 10:00", datetime(2024, 1, 3, 10)),
        ("2024/1/3 9:05", datetime(2024, 1, 3, 9, 5)),
        ("2024-01-03", datetime(2024, 1, 3)),
        ("2024-01-03T10:00:00Z", datetime(2024, 1, 3, 18)),
        ("2024-01-03T10:00:00+00:00", datetime(2024, 1, 3, 18)),
        ("2024-01-03 10:00:00+0800", datetime(2024, 1, 3, 10)),
        ("2024-01-03 10:00:00 +08:00", datetime(2024, 1, 3, 10)),
        ("2024-01-03 10:00:00.5-05:00", datetime(2024, 1, 3, 23, 0, 0, 500_000)),
        ("2024-01-07T17:00:00Z", datetime(2024, 1, 8, 1)),
        ("24-01-03", None),
        ("2024-02-30", None),
        ("2024-01-03 24:00:00", None),
        ("20240103", datetime(2024, 1, 3)),
        ("2024年1月3日 9:05", datetime(2024, 1, 3, 9, 5)),
        ("45294", None),
        ("yesterday", None),
    ],
)
def test_times_are_read_as_shop_local_and_offsets_are_converted(
    tmp_path: Path, text: str, local: datetime | None
) -> None:
    row = read_row(tmp_path, ordered_at=text)
    assert row["ordered_at"] == local
    assert row["reason"] == (None if local else "ordered_at is no date and time")


@pytest.mark.parametrize("text", ["03.01.2024", "12/1/2010 8:26", "1/3/24"])
def test_a_day_that_may_be_a_month_is_asked_for_and_never_guessed(tmp_path: Path, text: str) -> None:
    with pytest.raises(OrderFileError, match="may begin with the month or the day"):
        read_row(tmp_path, ordered_at=text)


@pytest.mark.parametrize(
    ("utc_hour", "local_hour"), [(0, 0), (1, 2)], ids=["before the clocks change", "after"]
)
def test_summer_time_is_kept(tmp_path: Path, utc_hour: int, local_hour: int) -> None:
    text = f"{HEADER}\no1,anna,2024-03-31T{utc_hour:02}:30:00Z,TEA,1,2.00\n"
    rows = read_text(tmp_path, text, zone="Europe/London")
    assert rows["ordered_at"].to_list() == [datetime(2024, 3, 31, local_hour, 30)]


# What follows from other columns


@pytest.mark.parametrize(
    ("values", "line_type", "amount"),
    [
        ({}, "sale", "21.00"),
        ({"amount": ""}, "sale", "21.00"),
        ({"amount": "", "quantity": "0.333", "unit_price": "0.1"}, "sale", "0.0333"),
        ({"amount": "20.99"}, "sale", "20.99"),
        ({"amount": "0"}, "sale", "0"),
        ({"line_type": ""}, "sale", "21.00"),
        ({"line_type": "Return"}, "return", "21.00"),
        ({"line_type": "销售"}, "sale", "21.00"),
        ({"line_type": "退货"}, "return", "21.00"),
        ({"line_type": "Credit Note"}, "return", "21.00"),
        ({"line_type": "return", "amount": "-21"}, "return", "21.00"),
        ({"line_type": "", "quantity": "-2"}, "return", "21.00"),
        ({"line_type": "sale", "quantity": "-2", "amount": ""}, "return", "21.00"),
    ],
)
def test_the_line_type_and_the_amount(
    tmp_path: Path, values: dict[str, str], line_type: str, amount: str
) -> None:
    row = read_row(tmp_path, **values)
    assert (row["line_type"], row["amount"]) == (line_type, Decimal(amount))
    assert row["disposition"] == "accepted"


def test_all_lines_of_a_credit_note_are_returns(tmp_path: Path) -> None:
    header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID"
    text = f"{header}\nC1,A,a,1,2011-01-04 10:00:00,2.5,1\n1C,A,a,1,2011-01-04 10:00:00,2.5,1\n"
    assert read_text(tmp_path, text, preset="online_retail")["line_type"].to_list() == ["return", "sale"]


@pytest.mark.parametrize(
    ("values", "refunded"),
    [
        ({"refunded_amount": ""}, "0"),
        ({"refunded_amount": "5"}, "5"),
        ({"order_status": "closed"}, "21.00"),
        ({"order_status": "closed", "refunded_amount": "5"}, "21.00"),
        ({"order_status": "closed", "amount": ""}, "21.00"),
        ({"order_status": ""}, "0"),
    ],
)
def test_an_order_closed_after_payment_is_fully_refunded(
    tmp_path: Path, values: dict[str, str], refunded: str
) -> None:
    row = read_row(tmp_path, **values)
    assert (row["disposition"], row["refunded_amount"]) == ("accepted", Decimal(refunded))


@pytest.mark.parametrize("status", ["unpaid", "cancelled"])
@pytest.mark.parametrize("values", [{}, {"unit_price": ""}, {"ordered_at": "never"}])
def test_orders_never_paid_are_no_lines_whatever_else_is_wrong(
    tmp_path: Path, status: str, values: dict[str, str]
) -> None:
    row = read_row(tmp_path, order_status=status, **values)
    assert (row["disposition"], row["reason"], row["row_text"]) == ("unpaid", None, None)


@pytest.mark.parametrize(
    ("text", "flag"),
    [("true", True), ("TRUE", True), ("1", True), ("yes", True), ("false", False), ("0", False), ("", None)],
)
def test_clearance_is_true_false_or_unknown(tmp_path: Path, text: str, flag: bool | None) -> None:
    assert read_row(tmp_path, is_clearance=text)["is_clearance"] is flag


# Rejected rows


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"order_id": " "}, "order_id is missing"),
        ({"ordered_at": ""}, "ordered_at is missing"),
        ({"ordered_at": "soon"}, "ordered_at is no date and time"),
        ({"line_no": "1a"}, "line_no is no whole number"),
        ({"line_no": "1.5"}, "line_no is no whole number"),
        ({"quantity": ""}, "quantity is missing"),
        ({"quantity": "two"}, "quantity is no number"),
        ({"quantity": "0"}, "quantity is 0"),
        ({"quantity": "0.000"}, "quantity is 0"),
        ({"unit_price": ""}, "unit_price is missing"),
        ({"unit_price": "1,23"}, "unit_price is no amount of money"),
        ({"unit_price": "1.2E+05"}, "unit_price is no amount of money"),
        ({"unit_price": "NaN"}, "unit_price is no amount of money"),
        ({"unit_price": "123456789012345678"}, "unit_price is no amount of money"),
        ({"list_price": "free"}, "list_price is no amount of money"),
        ({"amount": "x"}, "amount is no amount of money"),
        ({"refunded_amount": "x"}, "refunded_amount is no amount of money"),
        ({"unit_price": "-1"}, "unit_price is negative; a return has a negative quantity"),
        ({"list_price": "-1"}, "list_price is negative; a return has a negative quantity"),
        ({"amount": "-0.01"}, "amount is negative; a return has a negative quantity"),
        ({"refunded_amount": "-1"}, "refunded_amount is negative; a return has a negative quantity"),
        ({"amount": "", "quantity": "999999", "unit_price": "99999999999"}, "amount is too large"),
        ({"refunded_at": "later"}, "refunded_at is no date and time"),
        ({"line_type": "gift"}, "line_type is no line type (sale or return)"),
        ({"is_clearance": "maybe"}, "is_clearance is no yes or no (true or false)"),
        (
            {"order_status": "shipped"},
            "order_status is no known status (paid, unpaid, cancelled, closed)",
        ),
        ({"order_id": "", "quantity": "x"}, "order_id is missing"),
    ],
)
def test_each_rejected_row_has_its_reason_and_its_text(
    tmp_path: Path, values: dict[str, str], reason: str
) -> None:
    row = read_row(tmp_path, **values)
    assert (row["disposition"], row["reason"]) == ("rejected", reason)
    assert row["row_text"] == ",".join((GOOD | values).values())


def test_a_good_row_has_neither_reason_nor_text(tmp_path: Path) -> None:
    row = read_row(tmp_path)
    assert (row["disposition"], row["reason"], row["row_text"]) == ("accepted", None, None)


def test_rejected_rows_are_numbered_below_the_header(tmp_path: Path) -> None:
    good, bad = "o1,anna,2024-01-03,TEA,1,2.00", "o2,bert,2024-01-03,TEA,none,2.00"
    rows = read_text(tmp_path, f"{HEADER}\n{good}\n{bad}\n{good}\n{bad}\n")
    rejected = rows.filter(pl.col("disposition") == "rejected")
    assert rejected.select("row_no", "row_text").rows() == [(2, bad), (4, bad)]


def test_a_row_with_more_fields_than_the_header_is_rejected_with_them(tmp_path: Path) -> None:
    good = "o1,anna,2024-01-03,TEA,1,2.00"
    rows = read_text(tmp_path, f"{HEADER}\n{good}\n{good},\n{good},surplus\n")
    assert rows["disposition"].to_list() == ["accepted", "rejected", "rejected"]
    assert rows["reason"].to_list()[1:] == ["the row has more fields than the header"] * 2
    assert rows["row_text"].to_list()[1:] == [f"{good},", f"{good},surplus"]


def test_an_unpaid_row_with_more_fields_than_the_header_is_rejected_all_the_same(tmp_path: Path) -> None:
    # its fields may have slipped, so its status can't be trusted
    text = f"{HEADER},order_status\no1,anna,2024-01-03,TEA,1,2.00,unpaid,surplus\n"
    assert read_text(tmp_path, text)["disposition"].to_list() == ["rejected"]


def test_a_row_with_fewer_fields_than_the_header_is_rejected(tmp_path: Path) -> None:
    # what is cut off may have been the status that makes it no sale
    text = f"{HEADER},order_status\no1,anna,2024-01-03,TEA,1,2.00\no2,anna,2024-01-03,TEA,1,2.00,\n"
    cut, whole = read_text(tmp_path, text).to_dicts()
    assert (cut["reason"], cut["row_text"]) == (
        "the row has fewer fields than the header",
        "o1,anna,2024-01-03,TEA,1,2.00",
    )
    assert whole["disposition"] == "accepted"


def test_every_column_of_the_layout_is_known(tmp_path: Path) -> None:
    assert ",".join(GOOD) == ALL_COLUMNS
    beside = {"currency", "payment_method", "fulfilment", "updated_at"}
    assert set(load_preset("standard").columns) == set(GOOD) | beside
    row = read_row(tmp_path)
    assert row["list_price"] == 12
    assert row["product_name"] == "茶"


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A file twice as large takes hardly more memory; each is read in a process of its own.

    Both are large: up to some 600 MB more threads have a batch at hand.
    """
    script = """
import resource, sys
from pathlib import Path
from rfm_pipeline.ingest.presets import load_preset
from rfm_pipeline.ingest.files.reading import open_source, read_rows
for _ in read_rows(open_source(Path(sys.argv[1]), load_preset("standard")), "UTC", Path(sys.argv[2])):
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    line = "ORDER{0:010d},CUSTOMER{0:010d},2025-01-06 09:00:00,SKU{0:07d},1,9.99,{1},paid,sale,true\n"
    filler = "一件名字很长的商品" * 6
    peaks = []
    for rows in (2_000_000, 4_000_000):
        path = tmp_path / f"{rows}.csv"
        with path.open("w", encoding="utf-8") as file:
            file.write(f"{HEADER},product_name,order_status,line_type,is_clearance\n")
            for start in range(0, rows, 50_000):
                file.write("".join(line.format(number, filler) for number in range(start, start + 50_000)))
        done = subprocess.run(
            [sys.executable, "-c", script, str(path), str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout) * (1 if sys.platform == "darwin" else 1024))
    more_file = (tmp_path / "4000000.csv").stat().st_size - (tmp_path / "2000000.csv").stat().st_size
    assert more_file > 450_000_000
    assert peaks[1] - peaks[0] < more_file / 3

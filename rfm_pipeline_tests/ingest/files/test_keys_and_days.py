"""Keys that programs and platforms have changed, and days whose month and day may be swapped."""

# ruff: noqa: E501 (a row of a table is a line)

from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.files.reading import Rules, open_source, read_rows
from rfm_pipeline.ingest.presets import load_preset

ZONE = "Asia/Shanghai"
HEADER = "order_id,customer_id,ordered_at,sku,quantity,unit_price"
DOUYIN = """
description: 抖店
columns:
  order_id: [主订单编号]
  customer_id: [收件人手机号]
  ordered_at: [订单提交时间]
  sku: [商家编码]
  quantity: [商品数量]
  amount: [订单应付金额]
  phone: [收件人手机号]
  name: [收件人]
fallback:
  customer_id: [收件人]
required: [order_id, ordered_at, sku, quantity, amount]
"""


def read(path: Path, preset: str = "standard", home: Path | None = None, **rules: Any) -> pl.DataFrame:
    source = open_source(path, load_preset(preset, home))
    return pl.concat(read_rows(source, ZONE, path.parent / "staging", Rules(**rules)))


def days(tmp_path: Path, *texts: str, preset: str = "standard", **rules: Any) -> list[datetime | None]:
    """What times become; None where the row is rejected. ``|`` stands for a tab."""
    path = tmp_path / "orders.csv"
    rows = (f"o{n},c,{text},TEA,1,1.00" for n, text in enumerate(texts))
    path.write_text("\n".join((HEADER, *rows)).replace("|", "\t") + "\n", "utf-8")
    rows_read = read(path, preset, **rules)
    accepted = rows_read["disposition"] == "accepted"
    return [at if ok else None for at, ok in zip(rows_read["ordered_at"], accepted, strict=True)]


def on(month: int, day: int, hour: int = 0, minute: int = 0, year: int = 2010) -> datetime:
    return datetime(year, month, day, hour, minute)


# Days


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param(["12/1/2010 8:26", "12/25/2010 8:28"], [on(12, 1, 8, 26), on(12, 25, 8, 28)], id="month first"),
        pytest.param(["1/12/2010 8:26", "25/12/2010 8:28"], [on(12, 1, 8, 26), on(12, 25, 8, 28)], id="day first"),
        pytest.param(["01.12.2010 08:26", "25.12.2010 08:28"], [on(12, 1, 8, 26), on(12, 25, 8, 28)], id="dots"),
        pytest.param(["01-12-2010", "25-12-2010"], [on(12, 1), on(12, 25)], id="hyphens"),
        pytest.param(["12/1/2010 8:26:00 AM", "12/25/2010 08:28:05 pm"], [on(12, 1, 8, 26), datetime(2010, 12, 25, 20, 28, 5)], id="halves of the day"),
        pytest.param(["12/1/2010 12:05 AM", "12/25/2010 12:05 PM"], [on(12, 1, 0, 5), on(12, 25, 12, 5)], id="noon and midnight"),
        pytest.param(["12/1/10 8:26", "12/25/10 8:28"], [on(12, 1, 8, 26), on(12, 25, 8, 28)], id="two digits of the year"),
        pytest.param(["25/12/2010 8:26|", "1/12/2010 8:28|"], [on(12, 25, 8, 26), on(12, 1, 8, 28)], id="a tab behind"),
        pytest.param(["2010-12-01 8:26", "2010/12/25"], [on(12, 1, 8, 26), on(12, 25)], id="the year first"),
        pytest.param(["2010/12/1 下午 3:05", "2010-12-02 上午 9:05:00"], [on(12, 1, 15, 5), on(12, 2, 9, 5)], id="Chinese halves"),
        # both orders in one file: what can be nothing else is read, the rest is rejected row by row
        pytest.param(["12/25/2010", "25/12/2010", "1/2/2010"], [on(12, 25), on(12, 25), None], id="mixed"),
        pytest.param(["2010-12-01", "2010-12-02", "2010-12-03", "1/2/2010"], [on(12, 1), on(12, 2), on(12, 3), None], id="one among others"),
        pytest.param(["12/25/2010", "13/13/2010", "0/5/2010"], [on(12, 25), None, None], id="no days at all"),
    ],
)  # fmt: skip
def test_the_whole_file_shows_which_comes_first(
    tmp_path: Path, texts: list[str], expected: list[datetime | None]
) -> None:
    assert days(tmp_path, *texts) == expected


@pytest.mark.parametrize(
    "texts", [["1/2/2010"], ["1/2/2010", "3/4/2010 8:00"], ["12/12/2010"], ["25/12/10", "1/12/10"]]
)
def test_where_nothing_shows_it_the_shop_is_asked(tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(OrderFileError, match=r"orders\.date_order: month_first or day_first"):
        days(tmp_path, *texts)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("month_first", [on(1, 2), None, on(12, 25)]),
        ("day_first", [on(2, 1), on(12, 25), None]),
        ("iso", [None, None, None]),
    ],
)
def test_the_setting_says_it_and_other_rows_are_rejected(
    tmp_path: Path, order: str, expected: list[datetime | None]
) -> None:
    assert days(tmp_path, "1/2/2010", "25/12/2010", "12/25/2010", date_order=order) == expected


def test_a_sign_at_the_end_of_a_long_file_counts(tmp_path: Path) -> None:
    texts = ["1/2/2010"] * 150_000 + ["13/2/2010"]
    assert days(tmp_path, *texts)[0] == on(2, 1)


@pytest.mark.parametrize("place", ["head", "far"])
@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_a_western_export_may_be_latin(tmp_path: Path, place: str, encoding: str) -> None:
    header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
    plain = "536365,71053,LANTERN,6,2010-12-01 8:26:00,3.39,17850,United Kingdom"
    row = "540001,22633,HAND WARMER £1 caf\xe9,6,2010-12-02 8:28:00,1.85,17850,United Kingdom"
    between = [plain] * (1 if place == "head" else 5000)
    path = tmp_path / "data.csv"
    path.write_bytes("\n".join((header, *between, row, "")).encode(encoding))
    rows = read(path, "online_retail")
    assert rows["product_name"][-1] == "HAND WARMER £1 café"
    assert set(rows["disposition"]) == {"accepted"}


# Keys


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("17850.0", "17850"),
        ("17850.00", "17850"),
        ("17850", "17850"),
        ("17850.5", "17850.5"),
        ("v1.0", "v1.0"),
        ("a+b@example.com", "a+b@example.com"),
        ("ab@example.com", "ab@example.com"),
        ("0.0", "0"),
    ],
)
def test_a_key_that_became_a_number_is_itself_again(tmp_path: Path, text: str, key: str) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(f"{HEADER}\n536365.0,{text},2010-12-01,TEA,1,1.00\n", "utf-8")
    rows = read(path)
    assert (rows["order_id"][0], rows["customer_id"][0]) == ("536365", key)


@pytest.mark.parametrize(
    ("phone", "key", "state"),
    [
        ("$$c2Vjcm0x$$", None, "masked"),
        ("##Kd83hY==##", None, "masked"),
        ("##密文", None, "masked"),
        ("密文", None, "masked"),
        ("$Xy12ab==$AgAAAAHkx$1$$", None, "masked"),
        ("~AgAAAAHkx==~Xy12~1~~", None, "masked"),
        ("1**********", None, "masked"),
        ("bXlwaG9uZW51bWJlcjE=", None, "masked"),
        ("QWdBQUFBSGt4MTIzNDU2Nzg5MGFi", None, "masked"),
        ("13800000001", "13800000001", None),
        ("+8613800000001", "+8613800000001", None),
        ("buyer$1", "buyer$1", None),
        ("jd_qinglan#2", "jd_qinglan#2", None),
        ("~river~", "~river~", None),
    ],
)
def test_an_encrypted_value_is_nobody(tmp_path: Path, phone: str, key: str | None, state: str | None) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "mine.yaml").write_text(DOUYIN, "utf-8")
    path = tmp_path / "orders.csv"
    header = "主订单编号,收件人,收件人手机号,订单提交时间,商家编码,商品数量,订单应付金额"
    path.write_text(f"{header}\n6917,##aGk3kq8==##,{phone},2026-03-22 00:54:10,CUP,1,28.90\n", "utf-8")
    rows = read(path, "mine", tmp_path)
    assert (rows["customer_id"][0], rows["key_state"][0]) == (key, state)
    assert (rows["phone"][0] is None) == (state is not None)

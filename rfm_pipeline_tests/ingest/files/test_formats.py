"""The formats of exports: each gives the rows that the same orders give as CSV, or is refused by name."""

import gzip
import io
import random
import zipfile
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
import xlsxwriter
import xlwt

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.files.archives import DEFAULT_LIMITS, Limits
from rfm_pipeline.ingest.files.reading import open_source, read_rows
from rfm_pipeline.ingest.presets import load_family

ZONE = "Asia/Shanghai"
HEADER = ["order_id", "customer_id", "ordered_at", "sku", "quantity", "unit_price", "product_name"]
ROWS = [
    ["310000000000000101", "anna", "2024-01-03 10:00:00", "TEA", "2", "2.50", "茶杯"],
    ["310000000000000102", "bert", "2024-01-04 11:30:00", "CUP", "1", "19.90", "马克杯, 大"],
    ["310000000000000102", "bert", "2024-01-04 11:30:00", "TEA", "3", "2.50", "茶杯"],
]
COMPARED = ["row_no", "order_id", "customer_id", "ordered_at", "sku", "quantity", "amount", "product_name"]

Rows = Sequence[Sequence[str]]


def rows_of(path: Path, preset: str = "standard", limits: Limits = DEFAULT_LIMITS) -> pl.DataFrame:
    with TemporaryDirectory() as folder:
        source = open_source(path, load_family(preset), limits=limits)
        return pl.concat(read_rows(source, ZONE, Path(folder)))


def refusal(path: Path, preset: str = "standard", limits: Limits = DEFAULT_LIMITS) -> str:
    with pytest.raises(OrderFileError) as caught:
        rows_of(path, preset, limits)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def as_text(rows: Rows, delimiter: str = ",", quote: str = '"') -> str:
    def cell(text: str) -> str:
        return f"{quote}{text}{quote}" if delimiter in text else text

    return "".join(delimiter.join(cell(text) for text in row) + "\r\n" for row in rows)


def as_xlsx(sheets: dict[str, Rows]) -> bytes:
    content = io.BytesIO()
    with xlsxwriter.Workbook(content, {"strings_to_formulas": False}) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for i, row in enumerate(rows):
                sheet.write_row(i, 0, row)
    return content.getvalue()


def as_xls(sheets: dict[str, Rows], encoding: str = "utf-8") -> bytes:
    book = xlwt.Workbook(encoding=encoding)
    for name, rows in sheets.items():
        sheet = book.add_sheet(name)
        for i, row in enumerate(rows):
            for j, cell in enumerate(row):
                sheet.write(i, j, cell)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def as_zip(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, inner in members.items():
            archive.writestr(name, inner)
    return content.getvalue()


ALL = [HEADER, *ROWS]
CSV = as_text(ALL).encode()


@pytest.fixture
def plain(tmp_path: Path) -> pl.DataFrame:
    path = tmp_path / "plain.csv"
    path.write_bytes(CSV)
    rows = rows_of(path).select(COMPARED)
    assert rows["amount"].to_list() == [Decimal("5"), Decimal("19.9"), Decimal("7.5")]
    path.unlink()
    return rows


FILES: dict[str, bytes | Callable[[], bytes]] = {
    "tabs.tsv": as_text(ALL, "\t").encode(),
    "tabs in GBK.tsv": as_text(ALL, "\t").encode("gbk"),
    "commas.tsv": CSV,
    "TABS.TSV": as_text(ALL, "\t").encode("utf-8-sig"),
    "packed.tsv.gz": gzip.compress(as_text(ALL, "\t").encode()),
    "commas.txt": CSV,
    "tabs.txt": as_text(ALL, "\t").encode(),
    "Excel's Unicode text.txt": as_text(ALL, "\t").encode("utf-16"),
    "bars.txt": as_text(ALL, "|").encode("gb18030"),
    "packed.txt.gz": gzip.compress(CSV),
    "old.xls": lambda: as_xls({"orders": ALL}),
    "with a cover.xls": lambda: as_xls({"about": [["exported by", "me"]], "orders": ALL}),
    "remark.xls": lambda: as_xls({"orders": [["导出时间：2024-05-01"], *ALL]}),
    "really xlsx.xls": lambda: as_xlsx({"orders": ALL}),
    "really tabs.xls": as_text(ALL, "\t").encode("gb18030"),
    "really xls.xlsx": lambda: as_xls({"orders": ALL}),
    "really xlsx.csv": lambda: as_xlsx({"orders": ALL}),
    "really gzip.csv": gzip.compress(CSV),
    "csv.zip": as_zip({"orders.csv": CSV}),
    "tsv in GBK.zip": as_zip({"导出/orders.tsv": as_text(ALL, "\t").encode("gbk")}),
    "xlsx.zip": lambda: as_zip({"orders.xlsx": as_xlsx({"orders": ALL})}),
    "xls.zip": lambda: as_zip({"orders.xls": as_xls({"orders": ALL})}),
    "txt.zip": as_zip({"orders.txt": CSV}),
    "with a note.zip": as_zip({"orders.csv": CSV, "说明.txt": "密码见短信".encode("gbk"), "a.png": b"png"}),
    "from a Mac.zip": as_zip({"orders.csv": CSV, "__MACOSX/._orders.csv": b"\0\5", ".DS_Store": b"\0"}),
    "remark.csv": ("导出时间：2024-05-01,店铺：示例\r\n" + as_text(ALL)).encode(),
    "remark in GBK.csv": ("导出时间：2024-05-01\r\n\r\n" + as_text(ALL)).encode("gbk"),
    "remark of two lines.csv": ('"说明：\n一行一个商品"\r\n' + as_text(ALL)).encode(),
    "remark with other line breaks.csv": ("店铺\u2028示例\x0b一\r\n" + as_text(ALL)).encode(),
    "three remarks.tsv": ("店铺\t示例\r\n\r\n以下为订单\r\n" + as_text(ALL, "\t")).encode(),
    "remark.xlsx": lambda: as_xlsx({"orders": [["店铺：示例"], [], *ALL]}),
    "remark.csv.gz": gzip.compress(("以下为订单\r\n" + as_text(ALL)).encode()),
    "remark.zip": as_zip({"orders.csv": ("以下为订单\r\n" + as_text(ALL)).encode("gbk")}),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_rows_that_csv_gives(tmp_path: Path, plain: pl.DataFrame, name: str) -> None:
    content = FILES[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content())
    rows = rows_of(tmp_path / name)
    assert rows.select(COMPARED).equals(plain)
    assert set(rows["disposition"]) == {"accepted"}


def test_a_number_of_an_old_workbook_that_lost_digits_is_no_order(tmp_path: Path) -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("orders")
    for i, row in enumerate([HEADER, [310000000000000101, *ROWS[0][1:]]]):
        for j, cell in enumerate(row):
            sheet.write(i, j, cell)
    book.save(str(tmp_path / "a.xls"))
    (row,) = rows_of(tmp_path / "a.xls").to_dicts()
    assert row["reason"].startswith("order_id was damaged by a spreadsheet")


REFUSED: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "two.zip": (as_zip({"a.csv": CSV, "b.csv": CSV}), "holds 2 exports"),
    "none.zip": (as_zip({"a.png": b"png"}), "holds no export"),
    "empty.zip": (as_zip({}), "holds no export"),
    "nested.zip": (as_zip({"a.zip": as_zip({"a.csv": CSV})}), "holds another zip file"),
    "no zip.zip": (CSV, "can't be opened as .zip"),
    "cut.zip": (as_zip({"a.csv": CSV})[:-30], "can't be opened as .zip"),
    "page.xls": (b"<html><table><tr><td>order_id</td></tr></table></html>", "is a web page"),
    "cut.xls": (lambda: as_xls({"orders": ALL})[:600], "can't be opened as .xls"),
    "noise.xls": (random.Random(1).randbytes(4000), "can't be opened as .xls"),
    "noise.xlsx": (random.Random(2).randbytes(4000), "can't be opened as .xlsx"),
    "noise.csv.gz": (random.Random(3).randbytes(4000), "can't be opened as .csv.gz"),
    "a note.txt": ("明天发货\r\n".encode(), "the header lacks"),
    "empty.txt": (b"", "the file is empty"),
    "empty.tsv": (b"\r\n \r\n", "it has no header"),
    "empty.xls": (b"", "can't be opened as .xls"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_the_cause(tmp_path: Path, name: str) -> None:
    content, cause = REFUSED[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content())
    assert cause in refusal(tmp_path / name)


def test_a_locked_zip_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    content = bytearray(as_zip({"a.csv": CSV}))
    # the bit that says so, in the local header and in the directory
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    assert "locked with a password; unpack it yourself" in refusal(tmp_path / "a.zip")


# Limits

SMALL = Limits(unpacked=100_000, workbook=100_000)
LARGE = as_text([HEADER, *(ROWS * 1000)]).encode()


TOO_LARGE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a.csv.gz": (lambda: gzip.compress(LARGE), "orders.max_unpacked_gb"),
    "a.txt.gz": (lambda: gzip.compress(LARGE), "orders.max_unpacked_gb"),
    "a.zip": (lambda: as_zip({"a.csv": LARGE}), "orders.max_unpacked_gb"),
    "workbook.zip": (
        lambda: as_zip({"a.xlsx": as_xlsx({"a": [HEADER, *(ROWS * 1000)]})}),
        "orders.max_workbook_gb",
    ),
    "a.xlsx": (lambda: as_xlsx({"a": [HEADER, *(ROWS * 1000)]}), "orders.max_workbook_gb"),
    "a.xls": (lambda: as_xls({"a": [HEADER, *(ROWS * 1000)]}), "orders.max_workbook_gb"),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_unpacks_to_more_than_the_limit_is_refused(tmp_path: Path, name: str) -> None:
    path, (content, setting) = tmp_path / name, TOO_LARGE[name]
    path.write_bytes(content())
    message = refusal(path, limits=SMALL)
    assert "unpacks to more than 0.0001 GB" in message
    assert setting in message
    assert rows_of(path).height == 3000


def test_a_zip_file_that_lies_of_its_size_is_refused(tmp_path: Path) -> None:
    content = bytearray(as_zip({"a.csv": LARGE}))
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = (1000).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(content)
    assert "nothing of it was loaded" in refusal(tmp_path / "a.zip", limits=SMALL)


ZEROS = as_text([HEADER]).encode() + b"0\n" * 33_000_000


DENSE: dict[str, Callable[[], bytes]] = {
    "a.csv.gz": lambda: gzip.compress(ZEROS, 1),
    "a.zip": lambda: as_zip({"a.csv": ZEROS}),
    "a.xlsx": lambda: as_zip({"[Content_Types].xml": b"", "xl/workbook.xml": ZEROS}),
}


@pytest.mark.parametrize("name", DENSE)
def test_what_is_packed_denser_than_orders_can_be_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(DENSE[name]())
    assert "more than 200 times its size" in refusal(tmp_path / name)


def test_a_stray_cell_far_out_is_refused_before_a_grid_is_made_of_it(tmp_path: Path) -> None:
    with xlsxwriter.Workbook(tmp_path / "a.xlsx") as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, HEADER)
        sheet.write_row(1, 0, ROWS[0])
        sheet.write(1_048_575, 16_383, "x")
    message = refusal(tmp_path / "a.xlsx")
    assert "reaches to row 1,048,576 and column 16,384" in message


def test_cells_that_are_only_coloured_are_no_part_of_the_grid(tmp_path: Path) -> None:
    with xlsxwriter.Workbook(tmp_path / "a.xlsx") as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, HEADER)
        sheet.write_row(1, 0, ROWS[0])
        sheet.write_blank(1_048_575, 16_383, None, book.add_format({"bold": True}))
    assert rows_of(tmp_path / "a.xlsx").height == 1

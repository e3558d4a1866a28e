"""The work list: who stands on it with what, that it is safe to open, that what the team wrote stays."""

import re
import stat
import struct
import subprocess
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest

from rfm_pipeline.contacts.reach import Reach, read_reach
from rfm_pipeline.ledger import ASSIGNMENT_SCHEMA, Ledger
from rfm_pipeline.recall.tagging import touched_holdout
from rfm_pipeline.recall.worklist import (
    CLASS_SHEETS,
    COLUMNS,
    SUMMARY_SHEET,
    masked_name,
    send_from,
    worklist_path,
    write_worklist,
)
from rfm_pipeline.shop import Shop
from rfm_pipeline_tests.helpers import make_shop
from rfm_pipeline_tests.recall.libreoffice import saved_by_libreoffice

WEEK = date(2026, 3, 2)
FORMULA = '=HYPERLINK("http://x.example","y")'
NO_ACTIONS = pl.DataFrame(
    schema=dict.fromkeys(("customer_id", "tag", "action", "churn_class", "reason"), pl.String)
)
CONTACTS = """customer_id,name,phone,email,wecom_external_userid,wecom_userid
c1,张小伟,13800138000,zhang@example.com,wm1,suyan
c2,Li,13900139000,,,
c3,=1+1,,wang@example.com,,
c4,赵六,13700137000,,,
c5,钱七,13600136000,,,
"""


def assignment(
    customer: str, churn_class: str, priority: int, arm: str = "recall", **more: Any
) -> dict[str, Any]:
    """A row of a sealed list; a hold-out's has nothing that could be sent."""
    words = {
        "offer": "礼券",
        "coupon_code": f"X{customer}",
        "sms": f"【小店】{customer}好。拒收请回复R",
        "email_subject": "好",
        "email_body": f"{customer}\n退订",
        "wecom_text": f"您好{customer}",
    }
    return {
        "week": WEEK,
        "customer_id": customer,
        "silent_since": datetime(2025, 11, 1, 10),
        "churn_class": churn_class,
        "arm": arm,
        "priority": priority,
        "favourite_sku": "SKU",
        "favourite_product": "茶杯",
        "recency_days": 128,
        "frequency": 2,
        "monetary": "1299.50",
        **(words if arm == "recall" else dict.fromkeys(words)),
        **more,
    }


SEALED = [
    assignment("c1", "A", 1),
    assignment("c2", "B", 2, email_subject=None, email_body=None),
    assignment("c3", "A", 3, favourite_product=FORMULA, sms=None),
    assignment("c4", "A", 4, arm="holdout"),
    assignment("c5", "C", 5),
]


def seal(ledger: Ledger, rows: list[dict[str, Any]]) -> None:
    assert ledger.seal(WEEK, pl.DataFrame(rows, schema=ASSIGNMENT_SCHEMA), NO_ACTIONS, "local")


def home_with(home: Path, suppression: str = "", **recall: Any) -> tuple[Shop, Ledger]:
    shop = make_shop(home, recall=recall)
    shop.contacts_dir.mkdir()
    (shop.contacts_dir / "contacts.csv").write_text(CONTACTS, "utf-8")
    if suppression:
        shop.suppression_dir.mkdir()
        (shop.suppression_dir / "no.csv").write_text(suppression, "utf-8")
    ledger = Ledger(shop.ledger_url)
    seal(ledger, SEALED)
    return shop, ledger


def reach(shop: Shop) -> Reach:
    return read_reach(shop)


def rows_of(path: Path) -> dict[str, dict[str, Any]]:
    """Every customer's cells by header, from all class sheets."""
    book = openpyxl.load_workbook(path)
    found = {}
    for title in CLASS_SHEETS.values():
        header, *lines = book[title].iter_rows(values_only=True)
        assert list(header) == [column.title for column in COLUMNS]
        for line in lines:
            row = dict(zip(header, line, strict=True))
            found[str(row["客户号"])] = row | {"sheet": title}
    return found


def test_everybody_of_the_recall_arm_stands_on_the_sheet_of_their_class(tmp_path: Path) -> None:
    shop, ledger = home_with(tmp_path)
    made = write_worklist(shop, ledger, reach(shop), WEEK)
    rows = rows_of(made.workbook)
    assert {customer: row["sheet"][0] for customer, row in rows.items()} == {
        "c1": "A",
        "c2": "B",
        "c3": "A",
        "c5": "C",
    }
    assert made.customers == {"A": 2, "B": 1, "C": 1}
    assert (made.left_out, made.is_kept) == (0, False)
    first = rows["c1"]
    assert first["手机"] == "+8613800138000"
    assert first["姓名"] == "张**"
    assert (first["邮箱"], first["企微客户"], first["企微员工"]) == ("zhang@example.com", "wm1", "suyan")
    assert first["上次购买"] == datetime(2025, 11, 1)
    assert (first["沉默天数 R"], first["购买次数 F"], first["累计金额 M"]) == (128, 2, 1299.5)
    assert (first["优惠"], first["券码"]) == ("礼券", "Xc1")
    assert first["短信话术"] == "【小店】c1好。拒收请回复R"
    assert all(first[column.title] is None for column in COLUMNS if not column.name)
    assert rows["c2"]["邮件正文"] is None


def test_the_holdout_is_in_no_file(tmp_path: Path) -> None:
    shop, ledger = home_with(tmp_path)
    made = write_worklist(shop, ledger, reach(shop), WEEK)
    assert "c4" not in rows_of(made.workbook)
    for path in (made.sms_upload, made.coupon_import):
        text = path.read_text("utf-8-sig")
        assert "c4" not in text
        assert "13700137000" not in text
    summary = openpyxl.load_workbook(made.workbook)[SUMMARY_SHEET]
    words = [str(cell) for row in summary.iter_rows(values_only=True) for cell in row if cell]
    assert any(word.startswith("另有 1 位客户留作对照") for word in words)


def test_nothing_in_the_workbook_is_a_formula_and_a_phone_is_text(tmp_path: Path) -> None:
    shop, ledger = home_with(tmp_path, worklist_names="full")
    path = write_worklist(shop, ledger, reach(shop), WEEK).workbook
    cells = [cell for sheet in openpyxl.load_workbook(path) for row in sheet.iter_rows() for cell in row]
    assert {cell.data_type for cell in cells} <= {"s", "n", "d"}
    assert all(cell.hyperlink is None for cell in cells)
    row = rows_of(path)["c3"]
    assert (row["买过的商品"], row["姓名"]) == (FORMULA, "=1+1")
    [phone] = [cell for cell in cells if cell.value == "+8613800138000"]
    assert (phone.data_type, phone.number_format) == ("s", "@")


def test_sheets_are_ready_to_work_with(tmp_path: Path) -> None:
    shop, ledger = home_with(tmp_path)
    path = write_worklist(shop, ledger, reach(shop), WEEK).workbook
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == [SUMMARY_SHEET, *CLASS_SHEETS.values()]
    sheet = book[CLASS_SHEETS["A"]]
    assert sheet.freeze_panes == "D2"
    assert sheet.auto_filter.ref == f"A1:{openpyxl.utils.get_column_letter(len(COLUMNS))}3"
    choices = {str(rule.sqref): rule.formula1 for rule in sheet.data_validations.dataValidation}
    assert choices == {"S2:S3": '"短信,邮件,企业微信,电话"', "T2:T3": '"已触达,未接通,拒绝联系"'}
    assert sheet["B2"].font.name == "Microsoft YaHei"


@pytest.mark.libreoffice
@pytest.mark.program("poppler")
def test_libreoffice_shows_and_prints_it_whole(tmp_path: Path) -> None:
    """The words are legible on paper: two sheets of A4 side by side, each with the customer's name."""
    listed = [
        assignment(f"c{n}", "ABC"[n % 3], n, sms="【小店】" + "好" * 120 + "。拒收请回复R")
        for n in range(1, 61)
    ]
    shop = make_shop(tmp_path / "home")
    shop.contacts_dir.mkdir()
    contacts = [f"c{n},客户{n},138{n:08d},c{n}@example.com,wm{n},suyan" for n in range(1, 61)]
    (shop.contacts_dir / "contacts.csv").write_text("\n".join([CONTACTS.split()[0], *contacts]), "utf-8")
    ledger = Ledger(shop.ledger_url)
    seal(ledger, listed)
    path = write_worklist(shop, ledger, reach(shop), WEEK).workbook

    [pdf] = saved_by_libreoffice(path, "pdf", tmp_path / "office")
    subprocess.run(["pdftoppm", "-r", "60", "-png", pdf, tmp_path / "page"], check=True)
    pages = sorted(tmp_path.glob("page-*.png"))
    texts = subprocess.run(["pdftotext", "-layout", pdf, "-"], check=True, capture_output=True).stdout
    summary, *sheets = texts.decode().removesuffix("\f").split("\f")
    assert len(pages) == 1 + len(sheets)
    assert all(struct.unpack(">II", page.read_bytes()[16:24]) == (702, 497) for page in pages), (
        "A4, landscape"
    )
    assert "静默客户召回名单" in summary
    assert "合计" in summary
    left = [sheet for sheet in sheets if "手机" in sheet]
    right = [sheet for sheet in sheets if "触达结果（填）" in sheet]
    # no page has both, every page has the header row and the name, every customer is on one of either
    assert len(left) + len(right) == len(sheets)
    assert all("客户号" in sheet and "姓名" in sheet for sheet in sheets)
    for half in (left, right):
        assert {word for sheet in half for word in re.findall(r"\bc\d+\b", sheet)} == {
            f"c{n}" for n in range(1, 61)
        }
    assert "+8613800000001" in "".join(left)
    assert all(sum(sheet.count("拒收请回复R") for sheet in half) == n for half, n in ((left, 0), (right, 60)))


def test_files_are_for_their_owner_alone_and_the_same_list_gives_the_same_bytes(tmp_path: Path) -> None:
    shop, ledger = home_with(tmp_path)
    made = write_worklist(shop, ledger, reach(shop), WEEK)
    paths = (made.workbook, made.sms_upload, made.coupon_import)
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
    assert not write_worklist(shop, ledger, reach(shop), WEEK).is_kept
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths} == before
    made.workbook.unlink()
    write_worklist(shop, ledger, reach(shop), WEEK)
    assert made.workbook.read_bytes() == before[made.workbook][0]


@pytest.mark.parametrize("mark_is_lost", [False, True])
def test_a_workbook_that_the_team_wrote_into_stays(tmp_path: Path, mark_is_lost: bool) -> None:
    shop, ledger = home_with(tmp_path)
    path = write_worklist(shop, ledger, reach(shop), WEEK).workbook
    book = openpyxl.load_workbook(path)
    book[CLASS_SHEETS["A"]]["T2"] = "已触达"
    book.save(path)
    if mark_is_lost:
        path.with_name(f".{WEEK}.sha256").unlink()
    edited = path.read_bytes()
    assert write_worklist(shop, ledger, reach(shop), WEEK).is_kept
    assert path.read_bytes() == edited
    assert rows_of(path)["c1"]["触达结果（填）"] == "已触达"


def test_a_run_that_was_killed_before_the_workbook_was_replaced_is_made_good(tmp_path: Path) -> None:
    shop, ledger = home_with(tmp_path)
    path = write_worklist(shop, ledger, reach(shop), WEEK).workbook
    former = path.read_bytes()
    shop.suppression_dir.mkdir()
    (shop.suppression_dir / "no.csv").write_text("customer_id,channel\nc5,\n", "utf-8")
    write_worklist(shop, ledger, reach(shop), WEEK)
    # the mark was written, the workbook was not
    path.write_bytes(former)
    assert not write_worklist(shop, ledger, reach(shop), WEEK).is_kept
    assert "c5" not in rows_of(path)


def test_who_said_no_since_the_list_was_sealed_is_left_out(tmp_path: Path) -> None:
    shop, ledger = home_with(tmp_path, suppression="customer_id,channel\nc5,\nc1,sms\n")
    made = write_worklist(shop, ledger, reach(shop), WEEK)
    rows = rows_of(made.workbook)
    assert "c5" not in rows
    assert made.left_out == 1
    assert (rows["c1"]["短信话术"], rows["c1"]["手机"]) == (None, None)
    assert rows["c1"]["企微话术"] == "您好c1"
    assert "13800138000" not in made.sms_upload.read_text("utf-8-sig")


def test_a_forgotten_customer_is_left_out(tmp_path: Path) -> None:
    shop, ledger = home_with(tmp_path)
    ledger.forget("c1")
    made = write_worklist(shop, ledger, reach(shop), WEEK)
    assert set(rows_of(made.workbook)) == {"c2", "c3", "c5"}
    assert made.left_out == 1


def test_the_upload_files_hold_what_the_platforms_ask_for(tmp_path: Path) -> None:
    shop, ledger = home_with(tmp_path)
    made = write_worklist(shop, ledger, reach(shop), WEEK)
    sms = pl.read_csv(made.sms_upload, infer_schema=False)
    assert sms.columns == ["手机号", "内容", "定时发送时间"]
    # c3 has no phone and no words for one
    assert sms["手机号"].to_list() == ["13800138000", "13900139000", "13600136000"]
    begin = send_from(shop, ledger.sealed_at(WEEK))
    assert sms["定时发送时间"].unique().to_list() == [f"{begin:%Y-%m-%d %H:%M}"]
    coupons = pl.read_csv(made.coupon_import, infer_schema=False)
    assert coupons.rows()[0] == ("Xc1", "c1", "礼券", "2026-03-09", "2026-04-07")
    assert coupons.height == 4


@pytest.mark.parametrize(
    ("sealed_at", "expected"),
    [
        # Shanghai is eight hours ahead
        (datetime(2026, 3, 8, 22, 0), datetime(2026, 3, 9, 9, 0)),
        (datetime(2026, 3, 9, 0, 59, 59), datetime(2026, 3, 9, 9, 0)),
        (datetime(2026, 3, 9, 1, 0), datetime(2026, 3, 9, 9, 0)),
        (datetime(2026, 3, 9, 4, 30), datetime(2026, 3, 9, 12, 30)),
        (datetime(2026, 3, 9, 12, 59, 59), datetime(2026, 3, 9, 20, 59, 59)),
        (datetime(2026, 3, 9, 13, 0), datetime(2026, 3, 10, 9, 0)),
    ],
)
def test_nothing_is_sent_outside_the_hours(tmp_path: Path, sealed_at: datetime, expected: datetime) -> None:
    assert send_from(make_shop(tmp_path), sealed_at.replace(tzinfo=UTC).replace(tzinfo=None)) == expected


@pytest.mark.parametrize(("name", "shown"), [("张伟", "张*"), ("张", "张"), ("", ""), ("Li Wei", "L*****")])
def test_a_masked_name_shows_its_first_character(name: str, shown: str) -> None:
    assert masked_name(name) == shown


def test_names_may_be_left_out(tmp_path: Path) -> None:
    shop, ledger = home_with(tmp_path, worklist_names="none")
    write_worklist(shop, ledger, reach(shop), WEEK)
    assert {row["姓名"] for row in rows_of(worklist_path(shop, WEEK)).values()} == {None}


@pytest.mark.parametrize(
    ("holdout", "actions", "expected"),
    [
        ({}, [], {"tags_added": 0, "words_or_coupons": 0}),
        ({"sms": "【小店】好。拒收请回复R"}, [], {"tags_added": 0, "words_or_coupons": 1}),
        ({}, ["c4"], {"tags_added": 1, "words_or_coupons": 0}),
        ({}, ["c1"], {"tags_added": 0, "words_or_coupons": 0}),
    ],
)
def test_the_ledger_proves_that_the_holdout_was_left_alone(
    tmp_path: Path, holdout: Mapping[str, Any], actions: list[str], expected: dict[str, int]
) -> None:
    ledger = Ledger(make_shop(tmp_path).ledger_url)
    listed = [assignment("c1", "A", 1), assignment("c4", "A", 2, arm="holdout", **holdout)]
    plan = pl.DataFrame(
        [(customer, "tag", "add", "A", "listed") for customer in actions],
        schema=NO_ACTIONS.schema,
        orient="row",
    )
    assert ledger.seal(WEEK, pl.DataFrame(listed, schema=ASSIGNMENT_SCHEMA), plan, "local")
    assert touched_holdout(ledger) == expected

"""What the team wrote down comes back, by every road; what can't be read is named by row, a no is kept."""

import shutil
import stat
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest

from rfm_pipeline.contacts.outreach import OutreachReport, findings_path, write_outreach_log
from rfm_pipeline.contacts.reach import read_reach
from rfm_pipeline.contacts.refusals import refusals_path
from rfm_pipeline.errors import SuppressionError, ValidationError
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.recall.checks import OUTREACH_LOG_CHECKS
from rfm_pipeline.recall.worklist import CLASS_SHEETS, COLUMNS, worklist_path, write_worklist
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.warehouse.checks import run_checks
from rfm_pipeline_tests.helpers import small_warehouse
from rfm_pipeline_tests.recall.libreoffice import CSV_OF_EVERY_SHEET, saved_by_libreoffice
from rfm_pipeline_tests.recall.recall_home import (
    LONG_AGO,
    Churner,
    RecallHome,
    make_recall_home,
    silent,
    week,
)
from rfm_pipeline_tests.recall.test_worklist import WEEK, home_with, rows_of

OPENS = datetime(2026, 3, 9)
NOW = datetime(2026, 3, 20, 12)
SECOND = timedelta(seconds=1)
HEADER = "week,customer_id,channel,outcome,reached_at"
COLUMN = {column.title: number for number, column in enumerate(COLUMNS, 1)}
Contact = tuple[str, str, str, datetime | None]

FILLED_IN: dict[str, tuple[str | None, str | None, Any]] = {
    "c1": ("电话", "已触达", datetime(2026, 3, 10, 14, 30)),
    "c2": ("短信", "未接通", "2026/3/9 9:05"),
    "c3": ("邮件", "拒绝联系", date(2026, 3, 11)),
}
COMES_BACK: list[Contact] = [
    ("c1", "phone", "reached", datetime(2026, 3, 10, 14, 30)),
    ("c2", "sms", "not_reached", datetime(2026, 3, 9, 9, 5)),
    ("c3", "email", "refused", datetime(2026, 3, 11)),
]


@pytest.fixture
def home(tmp_path: Path) -> tuple[Shop, Ledger]:
    """A shop whose list was sent: c1 and c3 in class A, c2 in B, c5 in C; c4 is the hold-out."""
    return home_with(tmp_path / "home")


def hand_in(shop: Shop, name: str, *rows: str, header: str = HEADER, encoding: str = "utf-8") -> Path:
    shop.outreach_dir.mkdir(exist_ok=True)
    path = shop.outreach_dir / name
    path.write_bytes("".join(f"{row}\n" for row in (header, *rows)).encode(encoding))
    return path


def fill_in(path: Path, what: dict[str, tuple[str | None, str | None, Any]]) -> Path:
    """Writes into the yellow columns of a work list, as its team does."""
    book = openpyxl.load_workbook(path)
    for title in CLASS_SHEETS.values():
        for line in book[title].iter_rows(min_row=2):
            customer = str(line[COLUMN["客户号"] - 1].value)
            if customer not in what:
                continue
            names = ("触达渠道（填）", "触达结果（填）", "触达时间（填）")
            for name, value in zip(names, what[customer], strict=True):
                line[COLUMN[name] - 1].value = value
            line[COLUMN["备注（填）"] - 1].value = "客户说下月再买"
    book.save(path)
    return path


def work_list(home: tuple[Shop, Ledger]) -> Path:
    shop, ledger = home
    return write_worklist(shop, ledger, read_reach(shop), WEEK).workbook


def read_back(home: tuple[Shop, Ledger], now: datetime = NOW) -> OutreachReport:
    shop, ledger = home
    return write_outreach_log(small_warehouse(shop), ledger, shop, now)


def logged(shop: Shop) -> list[Contact]:
    columns = "customer_id, channel, outcome, reached_at"
    return small_warehouse(shop).read(f"select {columns} from outreach_log order by all").rows()


def findings(shop: Shop) -> list[tuple[str, int, str | None, str]]:
    columns = "source_file, row_no, column_name, reason"
    return small_warehouse(shop).read(f"select {columns} from outreach_findings order by all").rows()


def silenced(shop: Shop) -> set[str]:
    """Who has opted out of every channel."""
    return set(read_reach(shop).unreachable["customer_id"])


# --- the roads back -------------------------------------------------------------------------------


def as_it_was_saved(shop: Shop, filled: Path, folder: Path) -> None:
    shutil.copy(filled, shop.outreach_dir)
    filled.unlink()


def in_place(shop: Shop, filled: Path, folder: Path) -> None:
    pass


def in_both_places(shop: Shop, filled: Path, folder: Path) -> None:
    shutil.copy(filled, shop.outreach_dir / f"{WEEK} 已填.xlsx")


def saved_as_a_workbook(shop: Shop, filled: Path, folder: Path) -> None:
    [saved] = saved_by_libreoffice(filled, "xlsx", folder)
    shutil.copy(saved, shop.outreach_dir)
    filled.unlink()


def saved_in_place(shop: Shop, filled: Path, folder: Path) -> None:
    [saved] = saved_by_libreoffice(filled, "xlsx", folder)
    shutil.copy(saved, filled)


def saved_as_csv(shop: Shop, filled: Path, folder: Path) -> None:
    for saved in saved_by_libreoffice(filled, CSV_OF_EVERY_SHEET, folder):
        if not saved.stem.endswith("汇总"):
            shutil.copy(saved, shop.outreach_dir)
    filled.unlink()


@pytest.mark.parametrize(
    "road",
    [
        as_it_was_saved,
        in_place,
        in_both_places,
        *(
            pytest.param(road, marks=pytest.mark.libreoffice)
            for road in (saved_as_a_workbook, saved_in_place, saved_as_csv)
        ),
    ],
)
def test_a_filled_in_work_list_comes_back(home: tuple[Shop, Ledger], tmp_path: Path, road: Any) -> None:
    shop, _ = home
    shop.outreach_dir.mkdir()
    road(shop, fill_in(work_list(home), FILLED_IN), tmp_path / "office")
    report = read_back(home)
    assert logged(shop) == COMES_BACK
    assert report.customers == {"reached_phone": 1, "not_reached": 1, "refused": 1}
    assert (report.findings, report.findings_file, report.rows) == ({}, None, 3)
    assert silenced(shop) == {"c3"}


def test_nothing_but_what_was_asked_for_is_kept(home: tuple[Shop, Ledger]) -> None:
    shop, _ = home
    fill_in(work_list(home), FILLED_IN)
    read_back(home)
    with small_warehouse(shop).transaction() as session:
        for table in ("outreach_log", "outreach_findings"):
            assert "客户说下月再买" not in str(session.read(f"select * from {table}").rows())
    assert "客户说下月再买" not in refusals_path(shop).read_text("utf-8-sig")


def test_a_work_list_that_nobody_wrote_into_tells_nothing(home: tuple[Shop, Ledger]) -> None:
    work_list(home)
    report = read_back(home)
    assert (report.files, report.rows_read) == (0, 0)
    # nor does one whose mark is lost
    worklist_path(home[0], WEEK).with_name(f".{WEEK}.sha256").unlink()
    report = read_back(home)
    assert (report.files, report.rows_read, report.findings) == (1, 0, {})


def test_a_work_list_filled_in_in_place_stays_when_the_week_is_run_again(home: tuple[Shop, Ledger]) -> None:
    shop, ledger = home
    path = fill_in(work_list(home), FILLED_IN)
    read_back(home)
    assert write_worklist(shop, ledger, read_reach(shop), WEEK).is_kept
    assert rows_of(path)["c3"]["触达结果（填）"] == "拒绝联系"
    # the platforms' files are written again, without whom refused
    assert "Xc3" not in path.with_name(f"{WEEK}_coupons.csv").read_text("utf-8-sig")


def test_two_files_that_tell_different_things_are_both_kept(home: tuple[Shop, Ledger]) -> None:
    shop, _ = home
    fill_in(work_list(home), {"c1": ("电话", "未接通", None)})
    hand_in(shop, "later.csv", f"{WEEK},c1,电话,已触达,2026-03-12 10:00", f"{WEEK},c1,电话,未接通,")
    read_back(home)
    assert logged(shop) == [
        ("c1", "phone", "not_reached", None),
        ("c1", "phone", "reached", datetime(2026, 3, 12, 10)),
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_list_of_the_teams_own_may_have_chinese_headers(
    home: tuple[Shop, Ledger], encoding: str, delimiter: str
) -> None:
    shop, _ = home
    rows = (
        "名单周,客户号,渠道,结果,时间,备注",
        f"{WEEK},c1,企微,已联系,2026年3月10日 14:30,好",
        f"{WEEK},c2,电话,拒绝,,",
    )
    header, *lines = (row.replace(",", delimiter) for row in rows)
    hand_in(shop, "三月.csv", *lines, header=header, encoding=encoding)
    read_back(home)
    assert logged(shop) == [
        ("c1", "wecom", "reached", datetime(2026, 3, 10, 14, 30)),
        ("c2", "phone", "refused", None),
    ]


def test_a_text_message_platforms_report_names_phones(home: tuple[Shop, Ledger]) -> None:
    """Week and channel are in the file's name, as in that of the upload file."""
    shop, _ = home
    hand_in(
        shop,
        f"{WEEK}_sms_report.csv",
        "13800138000,DELIVRD,2026-03-09 10:00:01",
        "13900139000,UNDELIV,2026-03-09 10:00:02",
        "13600136000,R,2026-03-09 11:00:00",
        "13500135000,DELIVRD,2026-03-09 10:00:03",
        header="手机号,状态,发送时间",
    )
    report = read_back(home)
    assert logged(shop) == [
        ("c1", "sms", "reached", datetime(2026, 3, 9, 10, 0, 1)),
        ("c2", "sms", "not_reached", datetime(2026, 3, 9, 10, 0, 2)),
        ("c5", "sms", "refused", datetime(2026, 3, 9, 11)),
    ]
    assert report.findings == {"not_on_the_list": 1}
    assert silenced(shop) == {"c5"}


def test_a_phone_shared_with_the_holdout_was_called_for_the_other(home: tuple[Shop, Ledger]) -> None:
    shop, _ = home
    contacts = shop.contacts_dir / "contacts.csv"
    contacts.write_text(contacts.read_text("utf-8").replace("13700137000", "13800138000"), "utf-8")
    hand_in(shop, f"{WEEK}_sms.csv", "13800138000,DELIVRD", header="phone,status")
    assert read_back(home).findings == {}
    assert logged(shop) == [("c1", "sms", "reached", None)]


def test_the_coupon_tells_the_week_where_nothing_else_does(home: tuple[Shop, Ledger]) -> None:
    shop, _ = home
    hand_in(shop, "calls.csv", "c1,Xc1,电话,已触达", "c2,Xnone,电话,已触达", header="客户号,券码,渠道,结果")
    read_back(home)
    assert logged(shop) == [("c1", "phone", "reached", None)]
    assert findings(shop) == [("outreach/calls.csv", 2, "week", "unknown_week")]


# --- rows that aren't right -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"{WEEK},c1,sms,reached,", None),
        ("2026-03-09,c1,sms,reached,", "unknown_week"),
        ("2026-03-03,c1,sms,reached,", "unknown_week"),
        ("next week,c1,sms,reached,", "unknown_week"),
        (",c1,sms,reached,", "unknown_week"),
        (f"{WEEK},c9,sms,reached,", "not_on_the_list"),
        (f"{WEEK},,sms,reached,", "not_on_the_list"),
        (f"{WEEK},c4,sms,reached,", "holdout"),
        (f"{WEEK},c4,pigeon,not_reached,", "holdout"),
        (f"{WEEK},c1,sms,,", "outcome_not_understood"),
        (f"{WEEK},c1,sms,maybe,", "outcome_not_understood"),
        (f"{WEEK},c1,SMS,REACHED,", None),
        (f"{WEEK},c1,,reached,", "channel_not_understood"),
        (f"{WEEK},c1,pigeon,reached,", "channel_not_understood"),
        (f"{WEEK},c1,sms,reached,2026-02-30", "time_not_understood"),
        (f"{WEEK},c1,sms,reached,yesterday", "time_not_understood"),
        (f"{WEEK},c1,sms,reached,46091.5", "time_not_understood"),
        (f"{WEEK},c1,sms,reached,{OPENS - SECOND}", "before_the_list"),
        (f"{WEEK},c1,sms,reached,{OPENS}", None),
        (f"{WEEK},c1,sms,reached,{OPENS.date()}", None),
        (f"{WEEK},c1,sms,reached,{NOW}", None),
        (f"{WEEK},c1,sms,reached,{NOW + SECOND}", "in_the_future"),
        (f"{WEEK},c1,sms,reached,2026-03-10T10:00:00.999", None),
        (f"{WEEK},c1,sms,reached,2026.3.10 9:05", None),
    ],
)
def test_a_row_is_taken_or_told_with_the_column_that_is_wrong(
    home: tuple[Shop, Ledger], row: str, reason: str | None
) -> None:
    shop, _ = home
    hand_in(shop, "calls.csv", f"{WEEK},c5,phone,reached,", row)
    report = read_back(home)
    assert report.findings == ({} if reason is None else {reason: 1})
    taken = {customer for customer, *_ in logged(shop)}
    # a hold-out customer who was contacted is in the log, too: the review counts the contaminated
    assert taken - {"c4"} == ({"c1", "c5"} if reason is None else {"c5"})
    if reason is not None:
        [(name, number, _, found)] = findings(shop)
        assert (name, number, found) == ("outreach/calls.csv", 2, reason)


def test_rows_to_look_at_are_told_in_a_file_without_anybodys_data(home: tuple[Shop, Ledger]) -> None:
    shop, _ = home
    calls = hand_in(shop, "calls.csv", f"{WEEK},c1,sms,reached,soon", f"{WEEK},c4,sms,reached,")
    findings_file = read_back(home).findings_file
    assert findings_file == findings_path(shop)
    assert stat.S_IMODE(findings_file.stat().st_mode) == 0o600
    rows = pl.read_csv(findings_file, infer_schema=False)
    assert rows.select("source_file", "row_no", "column_name", "reason").rows() == [
        ("outreach/calls.csv", "1", "reached_at", "time_not_understood"),
        ("outreach/calls.csv", "2", "customer_id", "holdout"),
    ]
    assert "such as 2026-03-10 14:30" in rows["expected"][0]
    words = findings_file.read_text("utf-8-sig").split(",")
    assert not [name for name in ("c1", "c4", "soon") if name in words]
    calls.write_text(f"{HEADER}\n{WEEK},c1,sms,reached,2026-03-10\n", "utf-8")
    assert read_back(home).findings_file is None
    assert not findings_file.exists()


def blocked(shop: Shop) -> dict[str, bool]:
    known = {"holdout_contacts_known": shop.recall.holdout_contacts_known}
    with small_warehouse(shop).transaction() as session:
        verdicts = run_checks(session, OUTREACH_LOG_CHECKS, [], known)
    return {verdict.check.name: not verdict.passed for verdict in verdicts}


def test_a_contact_with_the_holdout_is_an_alarm_until_it_was_looked_into(home: tuple[Shop, Ledger]) -> None:
    shop, _ = home
    hand_in(shop, "calls.csv", f"{WEEK},c4,sms,reached,", f"{WEEK},c4,phone,reached,")
    read_back(home)
    assert blocked(shop)["holdout_is_left_alone"]
    settings = shop.home / "shop.yaml"
    settings.write_text(
        settings.read_text("utf-8").replace("recall: {}", "recall: {holdout_contacts_known: 1}"), "utf-8"
    )
    again = load_shop(shop.home)
    assert not blocked(again)["holdout_is_left_alone"]
    assert blocked(again)["every_row_is_taken"]
    arms = small_warehouse(again).read("select distinct arm from outreach_log").rows()
    assert arms == [("holdout",)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("calls.xlsx", b"PK\3\4"),
        ("calls.doc", b"customer_id,outcome\n"),
        ("calls.csv", b""),
        ("calls.csv", b"customer_id\nc5\n"),
        ("calls.csv", b"outcome\nreached\n"),
        ("calls.csv", b"customer_id,outcome,result\nc5,reached,reached\n"),
        ("calls.csv", b"customer_id,outcome\n\xff\xfe\x00c5,reached\n"),
        ("calls.csv", "customer_id,outcome\nc5,拒绝联系".encode()[:-4] + b"\n"),
    ],
)
def test_a_file_that_cannot_be_read_stops_the_recall_and_none_of_the_others(
    home: tuple[Shop, Ledger], name: str, content: bytes
) -> None:
    shop, _ = home
    hand_in(shop, "good.csv", f"{WEEK},c1,phone,reached,")
    (shop.outreach_dir / name).write_bytes(content)
    report = read_back(home)
    assert report.findings == {"stops_the_recall": 1}
    assert logged(shop) == [("c1", "phone", "reached", None)]
    assert report.findings_file is not None
    words = report.findings_file.read_text("utf-8-sig")
    assert name in words
    assert "nobody is recalled" in words
    with pytest.raises(SuppressionError, match=name):
        read_reach(shop)


def test_a_folder_that_leads_nowhere_stops_the_recall(home: tuple[Shop, Ledger]) -> None:
    """The share with the outcomes isn't mounted: that must not read as nobody having refused."""
    shop, _ = home
    shop.outreach_dir.symlink_to(shop.home / "share", target_is_directory=True)
    assert read_back(home).findings == {"stops_the_recall": 1}
    with pytest.raises(SuppressionError, match="outreach can't be read"):
        read_reach(shop)


def workbook(path: Path, **sheets: Sequence[Sequence[object]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    book = openpyxl.Workbook()
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(list(row))
    book.remove(book.worksheets[0])
    book.save(path)
    return path


def test_a_worksheet_of_another_kind_is_passed_over_unless_somebody_may_refuse_in_it(
    home: tuple[Shop, Ledger],
) -> None:
    shop, _ = home
    outcomes = [("客户号", "渠道", "结果"), ("c1", "电话", "已触达")]
    path = shop.outreach_dir / f"{WEEK}.xlsx"
    workbook(path, Calls=outcomes, Notes=[("谁", "什么"), ("小李", "下周休假")])
    assert read_back(home).findings == {}
    assert logged(shop) == [("c1", "phone", "reached", None)]
    workbook(path, Calls=outcomes, Notes=[("谁", "什么"), ("c5", "拒绝联系")])
    with pytest.raises(SuppressionError, match="worksheet 'Notes' lacks a column"):
        read_reach(shop)


# --- a no is a no ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        f"{WEEK},c5,phone,refused,",
        f"{WEEK},c5,phone,拒绝联系,2026-03-10",
        f"{WEEK},c5,phone, Refused ,2999-01-01",
        f"{WEEK},c5,pigeon,退订,soon",
        ",c5,,refused,",
        "2020-01-01,c5,sms,refused,",
        f"{WEEK},c5,拒绝联系,,",
        f"{WEEK},c5,phone,reached,拒绝联系",
    ],
)
def test_a_refusal_counts_whatever_else_is_wrong_with_its_row(home: tuple[Shop, Ledger], row: str) -> None:
    shop, _ = home
    hand_in(shop, "calls.csv", row)
    assert silenced(shop) == {"c5"}
    assert read_back(home).new_refusals == 1
    assert silenced(shop) == {"c5"}


def test_somebody_who_is_on_no_list_may_refuse_too(home: tuple[Shop, Ledger]) -> None:
    shop, _ = home
    hand_in(shop, "calls.csv", f"{WEEK},stranger,phone,refused,")
    read_back(home)
    assert silenced(shop) == {"stranger"}


def test_an_outcome_in_unknown_words_may_be_a_refusal_until_it_is_mended(home: tuple[Shop, Ledger]) -> None:
    shop, _ = home
    hand_in(shop, "calls.csv", f"{WEEK},c5,phone,don't call again,")
    report = read_back(home)
    assert (report.findings, report.new_refusals) == ({"outcome_not_understood": 1}, 0)
    assert silenced(shop) == {"c5"}
    hand_in(shop, "calls.csv", f"{WEEK},c5,phone,not_reached,")
    assert read_back(home).findings == {}
    assert silenced(shop) == set()


@pytest.mark.parametrize("customer", ["", "1.38E+10"])
@pytest.mark.parametrize("outcome", ["refused", "don't call again"])
def test_a_no_that_does_not_say_whose_it_is_stops_the_recall(
    home: tuple[Shop, Ledger], customer: str, outcome: str
) -> None:
    shop, _ = home
    hand_in(shop, "calls.csv", f"{WEEK},c1,phone,refused,", f"{WEEK},{customer},phone,{outcome},")
    with pytest.raises(SuppressionError, match=r"calls\.csv, row 2 below the header: it is unclear who"):
        read_reach(shop)
    report = read_back(home)
    assert report.findings["stops_the_recall"] == 1
    # a readable one is kept all the same
    assert report.new_refusals == 1


def test_an_outcome_that_does_not_say_whose_it_is_stops_nothing(home: tuple[Shop, Ledger]) -> None:
    shop, _ = home
    hand_in(shop, "calls.csv", f"{WEEK},,phone,reached,")
    assert silenced(shop) == set()


def test_who_refused_is_left_alone_when_work_list_and_warehouse_are_deleted(
    home: tuple[Shop, Ledger],
) -> None:
    shop, _ = home
    path = fill_in(work_list(home), FILLED_IN)
    read_back(home)
    shop.warehouse_path.unlink()
    path.unlink()
    assert silenced(shop) == {"c3"}


def test_a_refusal_is_kept_once_and_what_the_shop_wrote_beside_it_stays(home: tuple[Shop, Ledger]) -> None:
    shop, _ = home
    hand_in(shop, "calls.csv", f"{WEEK},c5,phone,refused,")
    assert read_back(home).new_refusals == 1
    kept = refusals_path(shop)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert read_back(home).new_refusals == 0
    # somebody saves it with Excel, in other columns
    kept.write_bytes("备注;客户号\r\n老客户;c5\r\n来电;c2\r\n".encode("gb18030"))
    kept.chmod(0o640)
    hand_in(shop, "calls.csv", f"{WEEK},c5,phone,refused,", f"{WEEK},c1,phone,refused,")
    assert read_back(home).new_refusals == 1
    assert kept.read_bytes().decode("gb18030") == "备注;客户号\r\n老客户;c5\r\n来电;c2\r\n;c1\r\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
    assert silenced(shop) == {"c1", "c2", "c5"}


def test_a_forgotten_customer_is_not_written_down_again(home: tuple[Shop, Ledger]) -> None:
    shop, ledger = home
    hand_in(shop, "calls.csv", f"{WEEK},c5,phone,refused,")
    ledger.forget("c5")
    assert read_back(home).new_refusals == 0
    assert not refusals_path(shop).exists()


def test_refusals_that_cannot_be_kept_are_reported(home: tuple[Shop, Ledger]) -> None:
    shop, _ = home
    hand_in(shop, "calls.csv", f"{WEEK},c5,phone,refused,")
    shop.suppression_dir.write_text("in the folder's place", "utf-8")
    assert read_back(home).findings == {"refusals_not_kept": 1}
    assert logged(shop) == [("c5", "phone", "refused", None)]


# --- again ----------------------------------------------------------------------------------------


def test_reading_again_changes_nothing_and_a_file_taken_away_is_gone(home: tuple[Shop, Ledger]) -> None:
    shop, _ = home
    fill_in(work_list(home), FILLED_IN)
    extra = hand_in(shop, "calls.csv", f"{WEEK},c5,phone,reached,", f"{WEEK},c9,phone,reached,")
    first = read_back(home)
    before = logged(shop), findings(shop), findings_path(shop).read_bytes()
    second = read_back(home)
    assert (logged(shop), findings(shop), findings_path(shop).read_bytes()) == before
    assert (first.rows, first.new_refusals, second.new_refusals) == (second.rows, 1, 0)
    extra.unlink()
    read_back(home)
    assert logged(shop) == COMES_BACK


def test_what_is_cut_off_in_the_middle_leaves_both_tables_as_they_were(
    home: tuple[Shop, Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, _ = home
    hand_in(shop, "calls.csv", f"{WEEK},c1,phone,reached,", f"{WEEK},c9,phone,reached,")
    read_back(home)
    before = logged(shop), findings(shop)
    hand_in(shop, "calls.csv", f"{WEEK},c2,phone,reached,")
    real = "rfm_pipeline.warehouse.duckdb.validate"
    calls = []

    def second_breaks(table: Any, batches: Any, what: str) -> int:
        calls.append(what)
        if len(calls) == 2:
            raise ValidationError("cut off")
        return sum(batch.height for batch in batches)

    with monkeypatch.context() as patch:
        patch.setattr(real, second_breaks)
        with pytest.raises(ValidationError, match="cut off"):
            read_back(home)
    assert (logged(shop), findings(shop)) == before
    read_back(home)
    assert logged(shop) == [("c2", "phone", "reached", None)]


def test_a_file_may_come_weeks_later(home: tuple[Shop, Ledger]) -> None:
    shop, _ = home
    hand_in(shop, "calls.csv", f"{WEEK},c1,phone,reached,2026-03-10 10:00")
    read_back(home, now=datetime(2027, 1, 1))
    assert logged(shop) == [("c1", "phone", "reached", datetime(2026, 3, 10, 10))]


def test_without_any_file_the_tables_are_empty_and_nothing_is_written(home: tuple[Shop, Ledger]) -> None:
    shop, _ = home
    report = read_back(home)
    assert (report.files, report.rows, report.customers, report.findings_file) == (0, 0, {}, None)
    assert logged(shop) == findings(shop) == []
    assert not shop.out_dir.exists()
    assert not shop.suppression_dir.exists()


# --- the cool-down --------------------------------------------------------------------------------


def logged_contact(
    recall_home: RecallHome, day: date, customer: str, outcome: str, at: datetime | None
) -> None:
    """What came of a sealed list, as a file says."""
    time = "" if at is None else str(at)
    hand_in(recall_home.shop, "calls.csv", f"{day},{customer},phone,{outcome},{time}")
    write_outreach_log(recall_home.warehouse, recall_home.ledger, recall_home.shop, datetime(2030, 1, 1))


@pytest.mark.parametrize(
    ("outcome", "days_before", "listed"),
    [
        ("reached", 60, []),
        ("reached", 61, ["a"]),
        ("not_reached", 60, ["a"]),
        ("reached", None, ["a"]),
    ],
)
def test_the_cool_down_counts_from_the_latest_contact(
    tmp_path: Path, outcome: str, days_before: int | None, listed: list[str]
) -> None:
    """The list of week 0 alone is more than 60 days before that of week 12."""
    recall_home = make_recall_home(tmp_path, cooldown_days=60)
    again = Churner(week(12), "a", silent_since=LONG_AGO + timedelta(days=1))
    recall_home.silent_are([*silent("a"), again])
    assert recall_home.list_and_seal(week(0)) == ["a"]
    as_of = datetime.combine(week(13), datetime.min.time())
    at = None if days_before is None else as_of - timedelta(days=days_before) + timedelta(hours=15)
    logged_contact(recall_home, week(0), "a", outcome, at)
    assert recall_home.list_and_seal(week(12)) == listed


def test_a_contact_with_somebody_else_cools_nobody_down(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path, cooldown_days=60)
    again = Churner(week(12), "a", silent_since=LONG_AGO + timedelta(days=1))
    recall_home.silent_are([*silent("a"), *silent("b"), again])
    assert recall_home.list_and_seal(week(0)) == ["a", "b"]
    logged_contact(recall_home, week(0), "b", "reached", datetime.combine(week(12), datetime.min.time()))
    assert recall_home.list_and_seal(week(12)) == ["a"]

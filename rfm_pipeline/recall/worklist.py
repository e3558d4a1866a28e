"""The operations team's work list of a sealed week: one workbook, and the files that two platforms take.

Made from the ledger's sealed list alone, so it can only ever name whom the list names: the recall arm, minus
who said no or was forgotten since. A workbook that the team has written into is never written over.

Belongs here: what the files hold. When they may be made is the asset's.
"""

import io
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import xlsxwriter

from rfm_pipeline.contacts.edit_detection import digests_file, is_edited, with_digest
from rfm_pipeline.contacts.messages import CHANNELS, valid_until
from rfm_pipeline.contacts.reach import Reach
from rfm_pipeline.contacts.vocabulary import (
    CHANNEL_CHOICES,
    CHANNEL_TITLE,
    OUTCOME_CHOICES,
    OUTCOME_TITLE,
    TIME_TITLE,
)
from rfm_pipeline.ledger import FORGOTTEN, Ledger
from rfm_pipeline.recall.listing import sealed_rows
from rfm_pipeline.shop import CHURN_CLASSES, RECALL, Shop
from rfm_pipeline.storage.atomic_files import replace_files
from rfm_pipeline.storage.spreadsheets import no_formula
from rfm_pipeline.weeks import as_of

CLASS_SHEETS = {"A": "A类 爆款客", "B": "B类 特惠客", "C": "C类 待唤醒"}
SUMMARY_SHEET = "汇总"
FONT = "Microsoft YaHei"


@dataclass(frozen=True)
class Column:
    """A column of the work list.

    Attributes:
        title: The text of its header.
        name: The value's name in :func:`worklist_rows`; empty for one that the team fills in.
        width: In characters.
        form: Which format its cells have.
        choices: What may be filled in, if that is a fixed list.
    """

    title: str
    name: str
    width: float
    form: str = "text"
    choices: Sequence[str] = ()


COLUMNS = (
    Column("优先级", "priority", 7, "count"),
    Column("客户号", "customer_id", 16),
    Column("姓名", "shown_name", 10),
    Column("手机", "phone", 16),
    Column("邮箱", "email", 24),
    Column("企微客户", "wecom", 22),
    Column("企微员工", "wecom_userid", 12),
    Column("买过的商品", "favourite_product", 24),
    Column("上次购买", "last_order", 12, "day"),
    Column("沉默天数 R", "recency_days", 10, "count"),
    Column("购买次数 F", "frequency", 10, "count"),
    Column("累计金额 M", "monetary", 12, "money"),
    Column("优惠", "offer", 22, "wrapped"),
    Column("券码", "coupon_code", 16),
    Column("短信话术", "sms", 44, "wrapped"),
    Column("邮件标题", "email_subject", 24, "wrapped"),
    Column("邮件正文", "email_body", 44, "wrapped"),
    Column("企微话术", "wecom_text", 44, "wrapped"),
    Column(CHANNEL_TITLE, "", 14, "filled", CHANNEL_CHOICES),
    Column(OUTCOME_TITLE, "", 14, "filled", OUTCOME_CHOICES),
    Column(TIME_TITLE, "", 14, "filled_day"),
    Column("备注（填）", "", 24, "filled"),
)
_NUMBERS = ("count", "money")
_LINE_HEIGHT, _MOST_LINES = 15, 12
_LINED = {"bottom": 1, "bottom_color": "#D8DEE9"}
_HEADER = {"bold": True, "bg_color": "#3B4252", "font_color": "#FFFFFF", "text_wrap": True, "border": 1}
_TO_FILL = {"bg_color": "#FFF8E1", "border": 1, "border_color": "#E0C97A", "text_wrap": True}
_FORMATS: dict[str, dict[str, Any]] = {
    "text": {"num_format": "@", **_LINED},
    # room between a number and the text in the next column
    "wrapped": {"num_format": "@", "text_wrap": True, "align": "left", "indent": 1, **_LINED},
    "count": {"num_format": "#,##0", "align": "right", "indent": 1, **_LINED},
    "money": {"num_format": "#,##0.00", "align": "right", "indent": 1, **_LINED},
    "day": {"num_format": "yyyy-mm-dd", "align": "left", **_LINED},
    "filled": {"num_format": "@", **_TO_FILL},
    "filled_day": {"num_format": "yyyy-mm-dd hh:mm", "align": "left", **_TO_FILL},
    "header": _HEADER,
    "number_header": _HEADER | {"align": "right", "indent": 1},
    "title": {"bold": True, "font_size": 16},
    "label": {"bold": True},
    "fact": {"num_format": "@"},
    "note": {"text_wrap": True, "font_color": "#555555"},
}


@dataclass(frozen=True)
class WorkList:
    """What :func:`write_worklist` made.

    Attributes:
        workbook: The Excel file.
        sms_upload: The text-message platform's upload file.
        coupon_import: The shop platform's coupon file.
        customers: Customers on it, by class.
        left_out: Listed customers who said no to every channel, or were forgotten, since the list was sealed.
        is_kept: Whether the workbook stands as the team left it.
    """

    workbook: Path
    sms_upload: Path
    coupon_import: Path
    customers: Mapping[str, int]
    left_out: int
    is_kept: bool


def worklist_path(shop: Shop, week: date) -> Path:
    """Where a week's workbook stands."""
    return shop.worklists_dir / f"{week}.xlsx"


def masked_name(name: str) -> str:
    """A name of which the first character is left: 张伟 becomes 张*, Li Wei becomes L*****."""
    return name[:1] + "*" * (len(name) - 1)


def send_from(shop: Shop, sealed_at: datetime) -> datetime:
    """The first moment from the sealing on that lies within the sending hours, on the shop's clock.

    Args:
        shop: The settings.
        sealed_at: When the list was sealed, in UTC without a zone, as the ledger keeps it.
    """
    begins, ends = shop.recall.sending_hours.begins, shop.recall.sending_hours.ends
    moment = sealed_at.replace(tzinfo=UTC).astimezone(shop.zone).replace(tzinfo=None, microsecond=0)
    if moment.time() < begins:
        return datetime.combine(moment.date(), begins)
    if moment.time() >= ends:
        return datetime.combine(moment.date() + timedelta(days=1), begins)
    return moment


def worklist_rows(shop: Shop, sealed: pl.DataFrame, reach: Reach) -> pl.DataFrame:
    """Whom the team is to contact, by priority, with addresses and messages on the channels that are open.

    Returns:
        The sealed list's columns and last_order, shown_name, phone, email, wecom, wecom_userid.
    """
    listed = sealed.filter(pl.col("arm") == RECALL, ~pl.col("customer_id").str.starts_with(FORGOTTEN))
    left = listed.join(reach.unreachable, on="customer_id", how="anti")
    addresses = reach.addresses.group_by("customer_id", "channel", maintain_order=True).first()
    rows = left.with_columns(last_order=pl.col("silent_since").dt.date())
    for channel, column in {"sms": "phone", "email": "email", "wecom": "wecom"}.items():
        mine = addresses.filter(pl.col("channel") == channel)
        found = mine.select("customer_id", pl.col("address").alias(column))
        if channel == "wecom":
            found = mine.select("customer_id", pl.col("address").alias(column), "wecom_userid")
        rows = rows.join(found, on="customer_id", how="left", maintain_order="left")
        said_no = reach.opted_out.filter(pl.col("channel") == channel)["customer_id"].unique().implode()
        is_closed = pl.col("customer_id").is_in(said_no)
        closed = pl.lit(None, pl.String)
        rows = rows.with_columns(
            pl.when(is_closed).then(closed).otherwise(pl.col(text)).alias(text)
            for text in (*CHANNELS[channel], column)
        )
    names = reach.people.select("customer_id", "name").drop_nulls().unique("customer_id", keep="first")
    shown = {"full": pl.col("name"), "none": pl.lit(None, pl.String)}.get(
        shop.recall.worklist_names,
        pl.col("name").map_elements(masked_name, return_dtype=pl.String),
    )
    return rows.join(names, on="customer_id", how="left", maintain_order="left").with_columns(
        shown_name=shown
    )


def write_worklist(shop: Shop, ledger: Ledger, reach: Reach, week: date) -> WorkList:
    """Writes the files of a sealed week, each at once or not at all, mode 0600.

    The same list gives the same bytes, so writing again changes nothing.
    """
    sealed = sealed_rows(ledger, [week])
    rows = worklist_rows(shop, sealed, reach)
    sealed_at = ledger.sealed_at(week)
    path = worklist_path(shop, week)
    sms, coupons = path.with_name(f"{week}_sms.csv"), path.with_name(f"{week}_coupons.csv")
    is_kept = is_edited(path)
    files: dict[Path, bytes] = {
        sms: _sms_upload(rows, send_from(shop, sealed_at)),
        coupons: _coupon_import(shop, rows, week),
    }
    if not is_kept:
        book = _workbook(shop, rows, sealed.filter(pl.col("arm") != RECALL).height, week, sealed_at)
        # the digest first: a workbook without one would pass for the team's
        files = {digests_file(path): with_digest(path, book), path: book} | files
    replace_files(shop.out_dir, files, mode=0o600)
    counts = dict(rows.group_by("churn_class").len().iter_rows())
    return WorkList(
        workbook=path,
        sms_upload=sms,
        coupon_import=coupons,
        customers={name: counts.get(name, 0) for name in CHURN_CLASSES},
        left_out=sealed.filter(pl.col("arm") == RECALL).height - rows.height,
        is_kept=is_kept,
    )


# --- files ------------------------------------------------------------------------------------------


def _csv(frame: pl.DataFrame) -> bytes:
    """A CSV file as Excel and the platforms read it: UTF-8 with a byte order mark, no formulas."""
    buffer = io.BytesIO()
    frame.with_columns(no_formula(pl.col(pl.String))).write_csv(buffer, include_bom=True)
    return buffer.getvalue()


def _sms_upload(rows: pl.DataFrame, moment: datetime) -> bytes:
    """手机号, 内容, 定时发送时间: one row a customer with a phone whose text-message channel is open."""
    due = rows.filter(pl.col("sms").is_not_null() & pl.col("phone").is_not_null())
    return _csv(
        due.select(
            # mainland numbers as the platforms want them: eleven digits
            pl.col("phone").str.replace(r"^\+86", "").str.replace(r"^\+", "00").alias("手机号"),
            pl.col("sms").alias("内容"),
            pl.lit(f"{moment:%Y-%m-%d %H:%M}").alias("定时发送时间"),
        )
    )


def _coupon_import(shop: Shop, rows: pl.DataFrame, week: date) -> bytes:
    """券码, 客户号, 优惠, 生效日期, 失效日期: one row a customer on the list."""
    return _csv(
        rows.select(
            pl.col("coupon_code").alias("券码"),
            pl.col("customer_id").alias("客户号"),
            pl.col("offer").alias("优惠"),
            pl.lit(f"{as_of(week)}").alias("生效日期"),
            pl.lit(f"{valid_until(shop, week)}").alias("失效日期"),
        )
    )


# --- the workbook -----------------------------------------------------------------------------------


def _workbook(shop: Shop, rows: pl.DataFrame, holdout: int, week: date, sealed_at: datetime) -> bytes:
    buffer = io.BytesIO()
    # texts are never taken for formulas, links or numbers, whatever they begin with
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    with xlsxwriter.Workbook(buffer, options) as book:
        # the same list gives the same file
        book.set_properties({"title": f"{shop.shop.name} {week}", "created": sealed_at})
        base = {"font_name": FONT, "font_size": 10, "valign": "top"}
        formats = {name: book.add_format(base | form) for name, form in _FORMATS.items()}
        _summary(book.add_worksheet(SUMMARY_SHEET), formats, shop, rows, holdout, week, sealed_at)
        for name, title in CLASS_SHEETS.items():
            _class_sheet(book.add_worksheet(title), formats, rows.filter(pl.col("churn_class") == name))
    return buffer.getvalue()


def _summary(
    sheet: Any,
    formats: Mapping[str, Any],
    shop: Shop,
    rows: pl.DataFrame,
    holdout: int,
    week: date,
    sealed_at: datetime,
) -> None:
    sheet.hide_gridlines(2)
    sheet.set_column(0, 0, 22)
    sheet.set_column(1, 6, 15)
    sheet.write_string(0, 0, f"{shop.shop.name} · 静默客户召回名单", formats["title"])
    facts = {
        "名单周": f"{week}（截止 {as_of(week)} 零点）",
        "优惠有效期至": f"{valid_until(shop, week)}",
        "最早发送时间": f"{send_from(shop, sealed_at):%Y-%m-%d %H:%M}",
        "可发送时段": f"{shop.recall.sending_hours.begins:%H:%M}–{shop.recall.sending_hours.ends:%H:%M}",
    }
    for number, (label, text) in enumerate(facts.items(), 2):
        sheet.write_string(number, 0, label, formats["label"])
        sheet.write_string(number, 1, text, formats["fact"])
    top = 3 + len(facts)
    header = ("类别", "客户数", "可发短信", "可发邮件", "可发企微", "累计金额", "优惠")
    for column, title in enumerate(header):
        is_number = 0 < column < len(header) - 1
        sheet.write_string(top, column, title, formats["number_header" if is_number else "header"])
    line = top
    for name, title in CLASS_SHEETS.items():
        line += 1
        mine = rows.filter(pl.col("churn_class") == name)
        sheet.write_string(line, 0, title, formats["text"])
        for column, count in enumerate(_counts(mine), 1):
            sheet.write_number(line, column, count, formats["count"])
        sheet.write_number(line, 5, float(mine["monetary"].sum()), formats["money"])
        sheet.write_string(line, 6, shop.recall.offers[name], formats["wrapped"])
    sheet.set_column(6, 6, 34)
    line += 1
    sheet.write_string(line, 0, "合计", formats["label"])
    for column, count in enumerate(_counts(rows), 1):
        sheet.write_number(line, column, count, formats["count"])
    sheet.write_number(line, 5, float(rows["monetary"].sum()), formats["money"])
    notes = (
        f"另有 {holdout} 位客户留作对照，不在本表，请勿联系：没有他们就说不清召回有没有用。",
        "话术为空的渠道不可使用（无联系方式、未同意或已退订）。",
        "黄色列由运营填写；填过的文件不会被程序覆盖，程序会从原处或 outreach/ 文件夹读回结果。",
        "客户拒绝联系时请选“拒绝联系”：此后任何渠道都不再联系该客户。",
        "本文件含个人信息，请勿外传，用完删除。",
    )
    for number, note in enumerate(notes, line + 2):
        sheet.merge_range(number, 0, number, 6, "", formats["note"])
        sheet.write_string(number, 0, note, formats["note"])
    _print_setup(sheet)
    sheet.fit_to_pages(1, 1)


def _counts(rows: pl.DataFrame) -> tuple[int, int, int, int]:
    """Customers, and how many of them can be reached by text message, by mail and in WeCom."""
    return (
        rows.height,
        rows.filter(pl.col("sms").is_not_null() & pl.col("phone").is_not_null()).height,
        rows.filter(pl.col("email_body").is_not_null() & pl.col("email").is_not_null()).height,
        rows.filter(pl.col("wecom_text").is_not_null() & pl.col("wecom").is_not_null()).height,
    )


def _class_sheet(sheet: Any, formats: Mapping[str, Any], rows: pl.DataFrame) -> None:
    last = max(rows.height, 1)
    for number, column in enumerate(COLUMNS):
        sheet.set_column(number, number, column.width)
        is_number = column.form in _NUMBERS
        sheet.write_string(0, number, column.title, formats["number_header" if is_number else "header"])
        cell = formats[column.form]
        values = rows[column.name].to_list() if column.name else [None] * rows.height
        for line, value in enumerate(values, 1):
            _write_cell(sheet, line, number, value, cell, column.form)
        if column.choices:
            choice = {"validate": "list", "source": list(column.choices), "ignore_blank": True}
            sheet.data_validation(1, number, last, number, choice)
    sheet.set_row(0, 32)
    for line, row in enumerate(rows.iter_rows(named=True), 1):
        sheet.set_row(line, _LINE_HEIGHT * _lines(row))
    sheet.freeze_panes(1, 3)
    sheet.autofilter(0, 0, last, len(COLUMNS) - 1)
    _print_setup(sheet)
    # side by side on two sheets of A4, each with the customer's name: on one nobody could read it
    sheet.fit_to_pages(2, 0)
    sheet.repeat_rows(0)
    sheet.repeat_columns(0, 2)


def _print_setup(sheet: Any) -> None:
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.set_margins(left=0.4, right=0.4, top=0.5, bottom=0.6)
    sheet.set_footer("&L&A&C第 &P / &N 页&R含个人信息，请勿外传")


def _lines(row: Mapping[str, Any]) -> int:
    """How many lines the longest text of a row takes in its column; a very long one is cut off."""
    taken = [
        sum(
            max(1, math.ceil(_shown_width(part) / (column.width - 2)))
            for part in row[column.name].split("\n")
        )
        for column in COLUMNS
        if column.form == "wrapped" and row[column.name] is not None
    ]
    return min(max([2, *taken]), _MOST_LINES)


def _shown_width(text: str) -> int:
    """In characters of a column's width: a Chinese character is as wide as two."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def _write_cell(sheet: Any, line: int, column: int, value: Any, cell: Any, form: str) -> None:
    if value is None:
        sheet.write_blank(line, column, None, cell)
    elif form == "day":
        sheet.write_datetime(line, column, datetime.combine(value, time.min), cell)
    elif form in _NUMBERS:
        sheet.write_number(line, column, float(value), cell)
    else:
        sheet.write_string(line, column, value, cell)

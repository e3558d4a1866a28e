"""Contacts and opt-outs: who may be reached where, and that doubt means nobody."""

import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rfm_pipeline.contacts.order_contacts import OrderContacts, read_order_contacts
from rfm_pipeline.contacts.reach import Reach, read_reach
from rfm_pipeline.diagnose.schemas import CUSTOMER_ACTIVITY
from rfm_pipeline.errors import SuppressionError
from rfm_pipeline.shop import Shop
from rfm_pipeline_tests.helpers import ingest, make_shop, small_warehouse, write_export
from rfm_pipeline_tests.hypothesis_profiles import examples

EVERYWHERE = {"sms", "email", "wecom"}
CONTACTS = "customer_id,phone,email,wecom_external_userid"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return make_shop(tmp_path)


def write(folder: Path, *rows: str, name: str = "list.csv") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("".join(f"{row}\n" for row in rows), "utf-8")
    return path


def channels(frame: pl.DataFrame, customer_id: str) -> set[str]:
    return set(frame.filter(pl.col("customer_id") == customer_id)["channel"])


def customers(frame: pl.DataFrame | None) -> set[str]:
    assert frame is not None
    return set(frame["customer_id"])


def opted_out(shop: Shop, *rows: str) -> Reach:
    write(shop.suppression_dir, *rows)
    return read_reach(shop)


# --- no files -------------------------------------------------------------------------------------


def test_without_any_file_nobody_is_closed_and_no_address_is_asked_for(shop: Shop) -> None:
    reach = read_reach(shop)
    assert reach.closed.is_empty()
    assert reach.opted_out.is_empty()
    assert reach.unreachable.is_empty()
    assert reach.reachable is None
    assert (reach.suppressed, reach.unmatched) == (0, 0)


def test_empty_folders_are_as_good_as_none(shop: Shop) -> None:
    shop.suppression_dir.mkdir()
    shop.contacts_dir.mkdir()
    (shop.suppression_dir / ".DS_Store").write_bytes(b"\0\1")
    reach = read_reach(shop)
    assert reach.reachable is None
    assert reach.opted_out.is_empty()


# --- doubt means nobody ---------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["suppression", "contacts"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("optouts.xlsx", b"PK\3\4", id="no workbook"),
        pytest.param("optouts.xls", b"customer_id\nc1\n", id="another kind"),
        pytest.param("optouts.CSV.bak", b"customer_id\nc1\n", id="a backup"),
        pytest.param("optouts.csv", "customer_id\n张三丰\nc1".encode()[:-4] + b"\n", id="cut UTF-8"),
        pytest.param("optouts.csv", "customer_id\nc1\n".encode("utf-16"), id="UTF-16"),
        pytest.param("optouts.csv", b"customer_id\n\xff\xfe\x00c1\n", id="bytes that are no text"),
        pytest.param("optouts.csv", b"", id="empty"),
        pytest.param("optouts.csv", b"customer,channel\nc1,sms\n", id="no customer_id"),
        pytest.param(
            "optouts.csv",
            b"customer_id,\xe5\xae\xa2\xe6\x88\xb7\xe7\xbc\x96\xe5\x8f\xb7\nc1,c1\n",
            id="two ids",
        ),
        pytest.param("optouts.csv", b"customer_id\nc1,sms,extra\n", id="more fields than columns"),
        pytest.param("optouts.csv", b"customer_id, customer_id\nc1,c2\n", id="a column twice"),
        pytest.param("optouts.csv", b'customer_id,channel\n"c1,sms\n', id="an open quote"),
    ],
)
def test_a_file_that_cannot_be_read_stops_the_recall(
    shop: Shop, folder: str, name: str, content: bytes
) -> None:
    path = shop.home / folder / name
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(SuppressionError) as caught:
        read_reach(shop)
    assert str(path) in str(caught.value)
    assert "nobody is recalled" in str(caught.value)
    assert "c1" not in str(caught.value)


def test_one_bad_file_among_good_ones_stops_the_recall(shop: Shop) -> None:
    write(shop.suppression_dir, "customer_id", "c1", name="a.csv")
    write(shop.suppression_dir, "name", "Anna", name="b.csv")
    with pytest.raises(
        SuppressionError, match=r"b\.csv lacks the column 'customer_id' or 'phone' or 'email'"
    ):
        read_reach(shop)


@pytest.mark.parametrize("folder", ["suppression", "contacts"])
def test_a_file_in_the_place_of_the_folder_stops_the_recall(shop: Shop, folder: str) -> None:
    (shop.home / folder).write_text("customer_id\nc1\n")
    with pytest.raises(SuppressionError, match=f"{folder} can't be read"):
        read_reach(shop)


@pytest.mark.parametrize("folder", ["suppression", "contacts"])
@pytest.mark.parametrize("target", ["not mounted", "itself"])
def test_a_link_that_leads_nowhere_stops_the_recall(shop: Shop, folder: str, target: str) -> None:
    """The share with the opt-outs isn't mounted: that must not read as nobody having opted out."""
    link = shop.home / folder
    link.symlink_to(folder if target == "itself" else shop.home / "share", target_is_directory=True)
    with pytest.raises(SuppressionError, match=f"{folder} can't be read"):
        read_reach(shop)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("folder", ["suppression", "contacts"])
def test_a_folder_that_may_not_be_read_stops_the_recall(shop: Shop, folder: str) -> None:
    (shop.home / folder).mkdir(mode=0)
    try:
        with pytest.raises(SuppressionError, match=f"{folder} can't be read"):
            read_reach(shop)
    finally:
        (shop.home / folder).chmod(0o700)


def test_a_folder_in_the_place_of_a_file_stops_the_recall(shop: Shop) -> None:
    (shop.suppression_dir / "2024.csv").mkdir(parents=True)
    with pytest.raises(SuppressionError, match=r"2024\.csv can't be read"):
        read_reach(shop)


# --- opt-outs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "closed"),
    [
        ("sms", {"sms"}),
        (" SMS ", {"sms"}),
        ("Email", {"email"}),
        ("wecom", {"wecom"}),
        ("all", EVERYWHERE),
        ("", EVERYWHERE),
        ("短信", {"sms"}),
        ("邮件", {"email"}),
        ("邮箱", {"email"}),
        ("微信", {"wecom"}),
        ("企业微信", {"wecom"}),
        ("电话", EVERYWHERE),
        ("sms;email", EVERYWHERE),
    ],
)
def test_a_channel_that_is_no_known_word_means_all(shop: Shop, word: str, closed: set[str]) -> None:
    reach = opted_out(shop, "customer_id,channel", f"c1,{word}")
    assert channels(reach.opted_out, "c1") == closed
    assert customers(reach.unreachable) == ({"c1"} if closed == EVERYWHERE else set())


def test_without_a_channel_column_all_channels_are_meant(shop: Shop) -> None:
    reach = opted_out(shop, "customer_id", "c1")
    assert channels(reach.opted_out, "c1") == EVERYWHERE
    assert reach.suppressed == 1


def test_three_single_opt_outs_leave_no_channel(shop: Shop) -> None:
    write(shop.suppression_dir, "customer_id,channel", "c1,sms", "c1,email", "c2,sms", name="a.csv")
    write(shop.suppression_dir, "channel,customer_id", "wecom,c1", "sms,c2", name="b.csv")
    reach = read_reach(shop)
    assert customers(reach.unreachable) == {"c1"}
    assert channels(reach.opted_out, "c2") == {"sms"}
    assert reach.suppressed == 2


def test_a_file_saved_by_excel_as_utf8_is_read(shop: Shop) -> None:
    shop.suppression_dir.mkdir()
    (shop.suppression_dir / "excel.csv").write_bytes(
        "\ufeffcustomer_id , channel\r\n 00017 ,sms\r\n".encode()
    )
    assert channels(read_reach(shop).opted_out, "00017") == {"sms"}


@pytest.mark.parametrize(
    ("phone", "email"),
    [
        ("13800000001", ""),
        ("", "anna@example.com"),
        ("+86 138-0000-0001", ""),
        ("008613800000001", ""),
        ("", " Anna@Example.COM "),
        ("13800000001", "unknown@example.com"),
    ],
)
def test_an_opt_out_by_phone_or_mail_finds_its_customer(shop: Shop, phone: str, email: str) -> None:
    write(
        shop.contacts_dir,
        CONTACTS,
        "c1,13800000001,anna@example.com,wm1",
        "c2,13800000002,bea@example.com,wm2",
    )
    reach = opted_out(shop, "customer_id,phone,email,channel", f",{phone},{email},sms")
    assert channels(reach.opted_out, "c1") == {"sms"}
    assert customers(reach.opted_out) == {"c1"}
    assert reach.unmatched == 0


def test_an_opt_out_by_phone_means_everybody_with_that_phone(shop: Shop) -> None:
    write(shop.contacts_dir, CONTACTS, "c1,13800000001,,", "c2,138 0000 0001,,", "c3,13800000003,,")
    reach = opted_out(shop, "customer_id,phone", ",13800000001")
    assert customers(reach.unreachable) == {"c1", "c2"}
    assert customers(reach.reachable) == {"c3"}


def test_opt_outs_that_fit_nobody_are_counted(shop: Shop) -> None:
    write(shop.contacts_dir, CONTACTS, "c1,13800000001,,")
    reach = opted_out(
        shop, "customer_id,phone,email", ",13900000009,", ",,nobody@example.com", ",13800000001,", "c7,,"
    )
    assert reach.unmatched == 2
    assert customers(reach.opted_out) == {"c1", "c7"}


def test_without_contacts_every_opt_out_by_phone_is_counted_as_unmatched(shop: Shop) -> None:
    reach = opted_out(shop, "customer_id,phone", ",13800000001", "c1,")
    assert reach.unmatched == 1
    assert customers(reach.opted_out) == {"c1"}


# --- contacts -------------------------------------------------------------------------------------


def test_who_has_an_address_on_some_channel_is_reachable(shop: Shop) -> None:
    write(shop.contacts_dir, CONTACTS, "c1,13800000001,,", "c2,,,wm2", "c3,,, ", ",13800000004,,")
    reach = read_reach(shop)
    assert customers(reach.reachable) == {"c1", "c2"}
    assert channels(reach.closed, "c1") == {"email", "wecom"}
    assert channels(reach.closed, "c2") == {"sms", "email"}


def test_who_opted_out_of_the_only_address_is_not_reachable(shop: Shop) -> None:
    write(shop.contacts_dir, CONTACTS, "c1,13800000001,,", "c2,13800000002,c2@example.com,")
    reach = opted_out(shop, "customer_id,channel", "c1,sms", "c2,sms")
    assert customers(reach.reachable) == {"c2"}
    assert channels(reach.closed, "c2") == {"sms", "wecom"}


def test_several_rows_of_a_customer_are_read_together(shop: Shop) -> None:
    write(shop.contacts_dir, CONTACTS, "c1,13800000001,,", name="shop.csv")
    write(shop.contacts_dir, CONTACTS, "c1,,c1@example.com,", name="crm.csv")
    assert channels(read_reach(shop).closed, "c1") == {"wecom"}


@pytest.mark.parametrize(
    ("consent", "is_open"),
    [
        ("true", True),
        ("TRUE", True),
        ("1", True),
        ("yes", True),
        ("Y", True),
        ("false", False),
        ("0", False),
        ("no", False),
        ("", False),
        ("maybe", False),
    ],
)
def test_where_consent_is_asked_for_only_a_yes_opens_the_channel(
    shop: Shop, consent: str, is_open: bool
) -> None:
    write(
        shop.contacts_dir, f"{CONTACTS},consent_sms", f"c1,13800000001,,,{consent}", "c2,13800000002,,,true"
    )
    reach = read_reach(shop)
    assert ("sms" not in channels(reach.closed, "c1")) == is_open
    assert customers(reach.reachable) == ({"c1", "c2"} if is_open else {"c2"})


def test_a_consent_column_that_nobody_filled_in_asks_for_nothing(shop: Shop) -> None:
    write(shop.contacts_dir, f"{CONTACTS},consent_sms", "c1,13800000001,,,", "c2,13800000002,,,")
    assert customers(read_reach(shop).reachable) == {"c1", "c2"}


def test_a_no_and_a_yes_of_the_same_customer_are_a_no(shop: Shop) -> None:
    write(shop.contacts_dir, f"{CONTACTS},consent_sms", "c1,13800000001,,,no", name="newer.csv")
    write(shop.contacts_dir, f"{CONTACTS},consent_sms", "c1,13800000001,,,yes", name="older.csv")
    assert "sms" in channels(read_reach(shop).closed, "c1")


# --- consent in words -----------------------------------------------------------------------------


@pytest.mark.parametrize("consent", ["是", "同意", "有", "yes", " Y ", "TRUE"])
def test_a_yes_in_either_language_opens_the_channel(shop: Shop, consent: str) -> None:
    write(shop.contacts_dir, f"{CONTACTS},consent_sms", f"c1,13800000001,,,{consent}")
    assert customers(read_reach(shop).reachable) == {"c1"}


@pytest.mark.parametrize("consent", ["否", "不同意", "没有", "无", "?"])
def test_anything_else_that_is_written_there_is_a_no(shop: Shop, consent: str) -> None:
    write(shop.contacts_dir, f"{CONTACTS},consent_sms", f"c1,13800000001,,,{consent}")
    reach = read_reach(shop)
    assert channels(reach.opted_out, "c1") == {"sms"}
    assert customers(reach.reachable) == set()


# --- how files are written ------------------------------------------------------------------------


def workbook(path: Path, *sheets: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with xlsxwriter.Workbook(path) as book:
        for rows in sheets:
            sheet = book.add_worksheet()
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_csv_file_is_read_however_it_was_saved(
    shop: Shop, encoding: str, delimiter: str, line_end: str
) -> None:
    shop.suppression_dir.mkdir()
    rows = [
        ["客户编号", "渠道", "来源"],
        ["张三", "短信", "门店"],
        ["李四", "", "电话"],
        ["00017", "邮件", ""],
    ]
    text = "".join(delimiter.join(row) + line_end for row in rows)
    (shop.suppression_dir / "退订.CSV").write_bytes(text.encode(encoding))
    reach = read_reach(shop)
    assert channels(reach.opted_out, "张三") == {"sms"}
    assert channels(reach.opted_out, "李四") == EVERYWHERE
    assert channels(reach.opted_out, "00017") == {"email"}
    assert reach.suppressed == 3


def test_a_workbook_is_read_with_all_its_sheets(shop: Shop) -> None:
    workbook(
        shop.suppression_dir / "optouts.xlsx",
        [["客户编号", "渠道", "时间"], ["c1", "短信", 45000], ["", "", ""], [17, "", ""]],
        [],
        [["手机号"], [13800000002]],
    )
    workbook(
        shop.contacts_dir / "crm.xlsx",
        [["会员名", "手机", "邮箱"], ["c2", 13800000002, ""], ["c3", "", "C3@Example.com"]],
    )
    reach = read_reach(shop)
    assert channels(reach.opted_out, "c1") == {"sms"}
    assert channels(reach.opted_out, "17") == EVERYWHERE
    assert channels(reach.opted_out, "c2") == EVERYWHERE
    assert reach.unmatched == 0
    assert customers(reach.reachable) == {"c3"}


def test_a_worksheet_without_a_column_that_names_anybody_stops_the_recall(shop: Shop) -> None:
    workbook(shop.suppression_dir / "optouts.xlsx", [["customer_id"], ["c1"]], [["remarks"], ["c2 too"]])
    with pytest.raises(SuppressionError, match=r"optouts\.xlsx, worksheet 'Sheet2' lacks the column"):
        read_reach(shop)


@pytest.mark.parametrize("rows", [[["phone", "phone"], ["1", "2"]], [["phone", "手机"], ["1", "2"]]])
def test_two_columns_of_one_meaning_stop_the_recall(shop: Shop, rows: list[list[str]]) -> None:
    write(shop.suppression_dir, *(",".join(row) for row in rows))
    with pytest.raises(SuppressionError, match="two columns for phone"):
        read_reach(shop)
    (shop.suppression_dir / "list.csv").unlink()
    workbook(shop.suppression_dir / "list.xlsx", rows)
    with pytest.raises(SuppressionError, match="two columns for phone"):
        read_reach(shop)


# --- opt-outs that name nobody --------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(",186******05,,sms", id="masked"),
        pytest.param(",186＊＊＊＊＊＊05,,sms", id="masked in full width"),
        pytest.param(",1.38E+10,,", id="damaged by a spreadsheet"),
        pytest.param("1.23457E+18,,,", id="an id damaged by a spreadsheet"),
        pytest.param(",none,,", id="no number"),
        pytest.param(",,a***@example.com,", id="masked e-mail"),
        pytest.param(",,anna,", id="no e-mail"),
        pytest.param(",,,sms", id="only a channel"),
    ],
)
def test_an_opt_out_that_does_not_say_whose_it_is_stops_the_recall(shop: Shop, row: str) -> None:
    write(shop.suppression_dir, "customer_id,phone,email,channel", "c1,,,sms", "", row, "c2,,,")
    with pytest.raises(SuppressionError, match=r"list\.csv, row 3 below the header: it is unclear") as caught:
        read_reach(shop)
    assert not any(
        part in str(caught.value) for part in row.split(",") if part not in ("", "sms", "1.38E+10")
    )


def test_a_field_of_a_column_that_is_none_of_ours_still_makes_it_a_row(shop: Shop) -> None:
    write(shop.suppression_dir, "customer_id,name", "c1,", ",Anna")
    with pytest.raises(SuppressionError, match="row 2 below the header"):
        read_reach(shop)


def test_such_rows_are_counted(shop: Shop) -> None:
    write(shop.suppression_dir, "phone", "186******05", "13800000001", "186******06", "1.4E+10")
    with pytest.raises(SuppressionError, match="row 1 below the header and 2 more"):
        read_reach(shop)


@pytest.mark.parametrize("row", ["c1,186******05,", ",186******05,anna@example.com", ",13800000001,anna"])
def test_one_readable_name_is_enough(shop: Shop, row: str) -> None:
    write(shop.contacts_dir, CONTACTS, "c1,13800000001,anna@example.com,")
    assert channels(opted_out(shop, "customer_id,phone,email", row).opted_out, "c1") == EVERYWHERE


def test_blank_rows_are_no_opt_outs(shop: Shop) -> None:
    reach = opted_out(shop, "customer_id,phone,email,channel", ",,,", "c1,,,", "", " , ,,")
    assert (customers(reach.opted_out), reach.unmatched) == ({"c1"}, 0)


@pytest.mark.parametrize("since", ["2024-01-01", "2999-12-31", "neulich", ""])
def test_when_it_was_said_does_not_matter(shop: Shop, since: str) -> None:
    assert customers(opted_out(shop, "customer_id,since", f"c1,{since}").unreachable) == {"c1"}


# --- contacts in the orders -----------------------------------------------------------------------


def bought(*rows: tuple[str | None, str | None, str | None]) -> OrderContacts:
    """Contacts as the warehouse tells them."""
    names = ("customer_id", "phone", "email")
    return OrderContacts(pl.DataFrame(list(rows), schema=dict.fromkeys(names, pl.String), orient="row"))


def orders_of(shop: Shop, *customer_ids: str) -> OrderContacts:
    """What the warehouse tells of customers of whom it has an id and nothing else."""
    warehouse = small_warehouse(shop)
    with warehouse.transaction() as session:
        session.create(CUSTOMER_ACTIVITY)
        for week in ("2024-01-01", "2024-01-08"):
            with session.frames(ids=pl.DataFrame({"customer_id": customer_ids})):
                session.execute(
                    f"insert into customer_activity select customer_id, date '{week}', 1, 0, 9, 0, "
                    "null, null, null from ids"
                )
    return read_order_contacts(warehouse)


def test_without_contacts_the_orders_make_nobody_unreachable(shop: Shop) -> None:
    reach = read_reach(shop, bought(("c1", "13800000001", None), ("c2", None, None)))
    assert reach.reachable is None
    assert reach.closed.is_empty()


def test_an_opt_out_finds_its_customer_by_the_phone_or_mail_of_an_order(shop: Shop) -> None:
    write(shop.suppression_dir, "phone,email,channel", "+86 138 0000 0001,,短信", ",C2@EXAMPLE.com,")
    reach = read_reach(
        shop,
        bought(("c1", "'13800000001", None), ("c2", None, " c2@example.com"), ("c3", "13800000003", None)),
    )
    assert channels(reach.opted_out, "c1") == {"sms"}
    assert channels(reach.opted_out, "c2") == EVERYWHERE
    assert (customers(reach.closed), reach.unmatched) == ({"c1", "c2"}, 0)


@pytest.mark.parametrize(
    ("customer_id", "optout"),
    [
        ("13800000001", "+8613800000001"),
        ("+86 138-0000-0001", "13800000001"),
        ("Anna@Example.com", "anna@example.COM "),
    ],
)
@pytest.mark.parametrize("place", ["contacts", "orders", "ids"])
def test_a_customer_may_be_named_by_phone_or_mail(
    shop: Shop, customer_id: str, optout: str, place: str
) -> None:
    column = "email" if "@" in optout else "phone"
    write(shop.suppression_dir, column, optout)
    orders = None
    if place == "contacts":
        write(shop.contacts_dir, CONTACTS, f"{customer_id},,,wm1", "c2,,,wm2")
    elif place == "orders":
        orders = bought((customer_id, None, None), ("c2", None, None))
    else:
        orders = orders_of(shop, customer_id, "c2", "13800000002", "bert@example.com")
    reach = read_reach(shop, orders)
    assert customers(reach.opted_out) == {customer_id}
    assert reach.unmatched == 0


def test_an_opt_out_whose_id_is_a_phone_number_finds_the_customer_with_that_phone(shop: Shop) -> None:
    write(shop.contacts_dir, CONTACTS, "c1,13800000001,,", "c2,13800000002,,")
    assert {"c1"} < customers(opted_out(shop, "customer_id", "+8613800000001").opted_out)


def test_a_row_with_id_and_phone_means_everybody_it_fits(shop: Shop) -> None:
    write(shop.contacts_dir, CONTACTS, "c1,13800000001,,", "c2,13800000002,,", "c3,13800000003,,")
    assert customers(opted_out(shop, "customer_id,phone", "c1,13800000002").opted_out) == {"c1", "c2"}


def test_the_orders_fill_gaps_and_leave_alone_what_contacts_say(shop: Shop) -> None:
    write(
        shop.contacts_dir,
        CONTACTS,
        "c1,13800000001,,",
        "c2,,,wm2",
        "c3,186******05,,",
        "c4,,,",
        "c4,13800000004,,",
    )
    orders = bought(
        ("c1", "13911111111", "c1@example.com"),
        ("c2", "13922222222", None),
        ("c3", "18600000005", None),
        ("c4", "13944444444", None),
        ("c5", "13955555555", None),
        ("c6", None, None),
        (None, "13977777777", None),
    )
    reach = read_reach(shop, orders)
    addresses = {(c, channel): a for c, channel, a, _ in reach.addresses.iter_rows()}
    assert addresses == {
        ("c1", "sms"): "+8613800000001",
        ("c1", "email"): "c1@example.com",
        ("c2", "sms"): "+8613922222222",
        ("c2", "wecom"): "wm2",
        ("c3", "sms"): "+8618600000005",
        ("c4", "sms"): "+8613800000004",
        ("c5", "sms"): "+8613955555555",
    }
    assert customers(reach.reachable) == {"c1", "c2", "c3", "c4", "c5"}
    assert channels(reach.closed, "c5") == {"email", "wecom"}


def test_an_opt_out_finds_a_customer_by_an_address_that_contacts_have_another_of(shop: Shop) -> None:
    write(shop.contacts_dir, CONTACTS, "c1,13800000001,,", "c2,13800000002,,")
    write(shop.suppression_dir, "phone", "13911111111")
    reach = read_reach(shop, bought(("c1", "13911111111", None)))
    assert customers(reach.opted_out) == {"c1"}
    assert customers(reach.reachable) == {"c2"}


def test_who_is_known_from_orders_only_gave_no_consent(shop: Shop) -> None:
    write(shop.contacts_dir, f"{CONTACTS},consent_sms", "c1,13800000001,,,true", "c2,,,,true", "c3,,,,")
    addresses = [(c, f"1380000000{c[1]}", f"{c}@example.com") for c in ("c2", "c3", "c4")]
    reach = read_reach(shop, bought(*addresses))
    # c2 said yes, though without a number; nobody was asked about e-mail
    closed = {c: channels(reach.closed, c) for c in ("c2", "c3", "c4")}
    assert closed == {"c2": {"wecom"}, "c3": {"sms", "wecom"}, "c4": {"sms", "wecom"}}


def test_who_declined_mails_at_the_checkout_gets_none_until_they_agree(shop: Shop) -> None:
    orders = OrderContacts(
        pl.DataFrame(
            {
                "customer_id": ["anna", "bert", "cleo"],
                "phone": [None, None, None],
                "email": ["anna@example.com", "bert@example.com", "cleo@example.com"],
                "accepts_marketing": [False, True, None],
            },
            schema_overrides={"phone": pl.String},
        )
    )
    assert [channels(read_reach(shop, orders).opted_out, name) for name in ("anna", "bert", "cleo")] == [
        {"email"},
        set(),
        set(),
    ]
    write(shop.contacts_dir, "customer_id,email,consent_email", "anna,anna@example.com,yes")
    assert channels(read_reach(shop, orders).opted_out, "anna") == set()


def test_a_masked_phone_is_no_address(shop: Shop) -> None:
    write(shop.contacts_dir, CONTACTS, "c1,186******05,,", "c2,13800000002,,")
    assert customers(read_reach(shop).reachable) == {"c2"}


def test_wecom_needs_the_contact_and_knows_who_holds_it(shop: Shop) -> None:
    write(
        shop.contacts_dir,
        "customer_id,wecom_userid,wecom_external_userid",
        "c1,suyan,wm1",
        "c2,suyan,",
        "c1,lin,wm1",
    )
    reach = read_reach(shop)
    assert customers(reach.reachable) == {"c1"}
    assert reach.addresses.rows() == [("c1", "wecom", "wm1", "suyan"), ("c1", "wecom", "wm1", "lin")]
    assert "wm1" not in repr(reach)


def test_the_warehouse_tells_the_contacts_of_orders_and_whose_id_may_be_asked_for(shop: Shop) -> None:
    warehouse = small_warehouse(shop)
    nothing = read_order_contacts(warehouse)
    asked = pl.Series(["+8613800000001", "+8613800000004", "a@example.com"])
    assert (nothing.given.is_empty(), nothing.named_like(asked).is_empty()) == (True, True)
    write_export(
        shop,
        "orders.csv",
        "o1,13800000001,2024-01-01 10:00,S,1,10",
        "o2,A@Example.com,2024-01-01 10:00,S,1,10",
        "o3,M000017,2024-01-01 10:00,S,1,10",
        "o4,+86 138-0000 0004,2024-01-01 10:00,S,1,10",
        "o5,,2024-01-01 10:00,S,1,10",
        "o6,13800000006,2024-01-01 10:00,S,1,10",
        "o7,13800000001,2024-01-08 10:00,S,1,10",
    )
    ingest(warehouse, shop)
    with warehouse.transaction() as session:
        session.execute(
            "create or replace table order_contacts (customer_id varchar, phone varchar, email varchar, "
            "name varchar, accepts_marketing boolean)"
        )
        session.execute("insert into order_contacts values ('M000017', '138 0000 0017', null, 'Anna', true)")
    order_contacts = read_order_contacts(warehouse)
    assert order_contacts.given.columns == ["customer_id", "phone", "email", "accepts_marketing"]
    assert order_contacts.given.rows() == [("M000017", "138 0000 0017", None, True)]
    named = order_contacts.named_like(asked)["customer_id"].to_list()
    assert sorted(named) == ["+86 138-0000 0004", "13800000001", "A@Example.com"]
    assert order_contacts.named_like(asked.clear()).is_empty()


def test_customers_whose_id_looks_like_a_number_are_not_among_those_with_an_address(shop: Shop) -> None:
    """A large shop may have millions; only whom an opt-out means is looked for."""
    write(shop.contacts_dir, CONTACTS, "c1,13800000001,,")
    write(shop.suppression_dir, "phone", "13800000009")
    reach = read_reach(shop, orders_of(shop, *(f"138000000{number:02}" for number in range(20))))
    assert customers(reach.people) == {"c1"}
    assert customers(reach.closed) == {"c1", "13800000009"}


SPELLINGS = ("{}", "+86{}", "86{}", "0086{}", "+86 {}", "'{}", '=""{}""', "（+86）{}")


@given(
    mobiles=st.lists(st.from_regex(r"\A1[3-9][0-9]{9}\Z"), min_size=2, max_size=8, unique=True),
    known=st.sampled_from(SPELLINGS),
    asked=st.sampled_from(SPELLINGS),
    gap=st.sampled_from(["", " ", "-"]),
    place=st.sampled_from(["contacts", "orders", "ids"]),
    silenced=st.integers(min_value=1, max_value=7),
)
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_phone_opt_out_silences_those_with_that_phone_and_nobody_else(
    tmp_path_factory: pytest.TempPathFactory,
    mobiles: list[str],
    known: str,
    asked: str,
    gap: str,
    place: str,
    silenced: int,
) -> None:
    """However the number is spelled on either side."""
    shop = make_shop(tmp_path_factory.mktemp("shop"))
    people = {f"c{number}": mobile for number, mobile in enumerate(mobiles)}
    gone = set(list(people)[:silenced])
    gapped = {c: gap.join((mobile[:3], mobile[3:7], mobile[7:])) for c, mobile in people.items()}
    write(shop.suppression_dir, "phone", *(f'"{asked.format(gapped[c])}"' for c in sorted(gone)))
    spelled = {c: known.format(mobile) for c, mobile in people.items()}
    if place == "contacts":
        write(shop.contacts_dir, CONTACTS, *(f'{c},"{text}",,' for c, text in spelled.items()))
        reach = read_reach(shop)
    elif place == "orders":
        reach = read_reach(shop, bought(*((c, text.replace('""', '"'), None) for c, text in spelled.items())))
    else:
        spelled = {c: text.replace('""', '"') for c, text in spelled.items()}
        reach = read_reach(shop, orders_of(shop, *spelled.values()))
        gone = {spelled[c] for c in gone}
    assert customers(reach.unreachable) == gone
    assert reach.unmatched == 0


@pytest.mark.parametrize("folder", ["suppression", "contacts"])
def test_a_file_with_a_header_only_names_nobody(shop: Shop, folder: str) -> None:
    write(shop.home / folder, "customer_id,phone")
    reach = read_reach(shop)
    assert reach.closed.is_empty()
    assert (reach.reachable is None) == (folder == "suppression")

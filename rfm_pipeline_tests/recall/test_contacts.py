"""Contacts and opt-outs: who may be reached where, and that doubt means nobody."""

import os
from pathlib import Path

import polars as pl
import pytest

from rfm_pipeline.errors import SuppressionError
from rfm_pipeline.recall.contacts import Reach, read_reach
from rfm_pipeline.shop import Shop
from rfm_pipeline_tests.helpers import make_shop

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
        pytest.param("optouts.xlsx", b"PK\3\4", id="no CSV"),
        pytest.param("optouts.CSV.bak", b"customer_id\nc1\n", id="a backup"),
        pytest.param("optouts.csv", "customer_id,channel\nc1,短信\n".encode("gb18030"), id="GB18030"),
        pytest.param("optouts.csv", b"customer_id\n\xff\xfe\x00c1\n", id="bytes that are no text"),
        pytest.param("optouts.csv", b"", id="empty"),
        pytest.param("optouts.csv", b"customer,channel\nc1,sms\n", id="no customer_id"),
        pytest.param("optouts.csv", b"customer_id;channel\nc1;sms\n", id="semicolons"),
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
    with pytest.raises(SuppressionError) as told:
        read_reach(shop)
    assert str(path) in str(told.value)
    assert "nobody is recalled" in str(told.value)
    assert "c1" not in str(told.value)


def test_one_bad_file_among_good_ones_stops_the_recall(shop: Shop) -> None:
    write(shop.suppression_dir, "customer_id", "c1", name="a.csv")
    write(shop.suppression_dir, "phone", "13800000000", name="b.csv")
    with pytest.raises(SuppressionError, match=r"b\.csv lacks the column 'customer_id'"):
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
        ("短信", EVERYWHERE),
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

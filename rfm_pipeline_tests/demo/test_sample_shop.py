"""The made-up shop: the same every time, the right size, with every trouble that it promises."""

import gzip
from datetime import date, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest

from rfm_pipeline.demo.sample_shop import BAD_ROWS, SHOP_NAME, make_sample
from rfm_pipeline.errors import ShopFileError
from rfm_pipeline.ingest.presets import STANDARD
from rfm_pipeline.shop import Shop

LAST_WEEK = date(2026, 6, 29)
LAST_DAY = date(2026, 7, 5)
FIRST_DAY = date(2025, 1, 6)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_sample(tmp_path_factory.mktemp("sample") / "home")


@pytest.fixture(scope="module")
def rows(shop: Shop) -> pl.DataFrame:
    """Every row of every export as text, with the file that holds it."""
    return all_rows(shop)


@pytest.fixture(scope="module")
def lines(rows: pl.DataFrame) -> pl.DataFrame:
    """The readable rows, typed, each order as its last export has it."""
    return current_lines(rows)


@pytest.fixture(scope="module")
def sales(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.filter(pl.col("line_type") == "sale")


@pytest.fixture(scope="module")
def contacts(shop: Shop) -> pl.DataFrame:
    return pl.read_csv(shop.contacts_dir / "contacts.csv", infer_schema=False)


@pytest.fixture(scope="module")
def optouts(shop: Shop) -> pl.DataFrame:
    return pl.read_csv(shop.suppression_dir / "optouts.csv", infer_schema=False)


def all_rows(shop: Shop) -> pl.DataFrame:
    return pl.concat(
        pl.read_csv(path, infer_schema=False).with_columns(file=pl.lit(path.name))
        for path in sorted(shop.orders_dir.iterdir())
    )


def is_bad() -> pl.Expr:
    """A row without an order, or keyed by hand."""
    return pl.col("order_id").is_null() | pl.col("order_id").str.starts_with("SG")


def current_lines(rows: pl.DataFrame) -> pl.DataFrame:
    money = pl.col("unit_price", "list_price", "amount", "refunded_amount")
    return (
        rows.filter(~is_bad())
        .filter(pl.col("file") == pl.col("file").max().over("order_id"))
        .with_columns(
            money.cast(pl.Decimal(12, 2)),
            pl.col("line_no", "quantity").cast(pl.Int64),
            pl.col("ordered_at", "refunded_at").str.to_datetime("%Y-%m-%d %H:%M:%S"),
        )
    )


def contents(home: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(home)): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()
    }


def share(frame: pl.DataFrame, condition: pl.Expr) -> float:
    return frame.filter(condition).height / frame.height


class TestFiles:
    def test_the_same_seed_makes_the_same_files_to_the_byte(self, shop: Shop, tmp_path: Path):
        make_sample(tmp_path / "again")
        assert contents(tmp_path / "again") == contents(shop.home)

    def test_another_seed_makes_other_orders_contacts_and_optouts(self, shop: Shop, tmp_path: Path):
        make_sample(tmp_path / "other", seed=8)
        ours, theirs = contents(shop.home), contents(tmp_path / "other")
        same = {name for name in ours if ours[name] == theirs[name]}
        assert ours.keys() == theirs.keys()
        assert same == {"shop.yaml", ".gitignore"}

    def test_there_is_one_export_a_month(self, shop: Shop):
        names = [path.name for path in sorted(shop.orders_dir.iterdir())]
        assert len(names) == 19
        assert names[0] == "orders_2025-01.csv.gz"
        assert names[1] == "orders_2025-02.csv"
        assert names[-1] == "orders_2026-07.csv"

    def test_all_of_it_stays_below_5_mb(self, shop: Shop):
        assert sum(map(len, contents(shop.home).values())) < 5_000_000

    def test_one_export_is_compressed_without_name_or_time(self, shop: Shop):
        packed = (shop.orders_dir / "orders_2025-01.csv.gz").read_bytes()
        assert packed[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
        assert gzip.decompress(packed).startswith(b"order_id,")

    def test_one_export_begins_with_a_byte_order_mark(self, shop: Shop):
        starts = [path.read_bytes()[:3] for path in sorted(shop.orders_dir.glob("*.csv"))]
        assert starts.count(b"\xef\xbb\xbf") == 1

    def test_every_export_has_the_standard_header_in_order(self, shop: Shop):
        for path in shop.orders_dir.iterdir():
            assert tuple(pl.read_csv(path, n_rows=0).columns) == STANDARD

    def test_a_home_is_never_overwritten(self, shop: Shop):
        with pytest.raises(ShopFileError, match="exists already"):
            make_sample(shop.home)


class TestSettings:
    def test_the_settings_are_those_of_a_chinese_shop(self, shop: Shop):
        assert shop.shop.name == SHOP_NAME
        assert 2 <= len(SHOP_NAME) <= 16
        assert (shop.shop.timezone, shop.shop.currency) == ("Asia/Shanghai", "CNY")
        assert shop.orders.preset == "standard"
        assert shop.orders.not_products == ("YF", "GIFT*")

    def test_the_last_52_of_78_weeks_are_on_the_grid(self, shop: Shop):
        assert shop.shop.last_week == LAST_WEEK
        assert shop.shop.first_week == LAST_WEEK - timedelta(weeks=51)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"customers": 0}, "at least one"),
            ({"weeks": 0}, "at least one"),
            ({"last_week": date(2026, 6, 30)}, "Monday"),
        ],
    )
    def test_what_can_not_be_made_is_refused_before_anything_is_written(
        self, tmp_path: Path, arguments: dict, message: str
    ):
        with pytest.raises(ValueError, match=message):
            make_sample(tmp_path / "home", **arguments)
        assert not (tmp_path / "home").exists()


class TestValues:
    def test_the_words_are_those_of_the_layout(self, lines: pl.DataFrame):
        assert set(lines["line_type"]) == {"sale", "return"}
        assert set(lines["order_status"]) == {"paid", "unpaid", "cancelled", "closed"}
        assert set(lines["is_clearance"]) == {"true", "false", None}

    def test_money_has_two_decimals_and_is_never_negative(self, rows: pl.DataFrame):
        for column in ("unit_price", "list_price", "amount", "refunded_amount"):
            given = rows.filter(~is_bad())[column].drop_nulls()
            assert given.str.contains(r"^\d+\.\d\d$").all()

    def test_an_amount_is_quantity_times_price(self, lines: pl.DataFrame):
        computed = pl.col("quantity").abs() * pl.col("unit_price")
        assert lines.filter(pl.col("amount") != computed).is_empty()

    def test_sales_are_of_positive_quantities_and_returns_of_negative_ones(self, lines: pl.DataFrame):
        is_sale = pl.col("line_type") == "sale"
        assert lines.filter(is_sale != (pl.col("quantity") > 0)).is_empty()

    def test_nothing_is_null_that_must_not_be(self, lines: pl.DataFrame):
        needed = ["order_id", "line_no", "ordered_at", "sku", "product_name", "order_status"]
        assert lines.select(needed).null_count().sum_horizontal().item() == 0

    def test_an_order_has_one_customer_one_time_and_lines_from_1_on(self, lines: pl.DataFrame):
        orders = lines.group_by("order_id").agg(
            pl.col("customer_id", "ordered_at", "line_type", "order_status").n_unique(),
            is_numbered=pl.col("line_no").sort().implode() == pl.int_range(1, pl.len() + 1).implode(),
        )
        assert orders.filter(~pl.col("is_numbered")).is_empty()
        for column in ("customer_id", "ordered_at", "line_type", "order_status"):
            assert orders[column].max() == 1

    def test_customers_are_numbered_from_the_first(self, lines: pl.DataFrame):
        customers = lines["customer_id"].drop_nulls().unique().sort()
        assert len(customers) == 6000
        assert (customers[0], customers[-1]) == ("M000001", "M006000")

    def test_paid_prices_stay_within_the_shop_s_range(self, sales: pl.DataFrame):
        products = sales.filter(pl.col("list_price").is_not_null())
        assert products["list_price"].min() == 39
        assert products["list_price"].max() == 2999
        assert products.filter(pl.col("unit_price") > pl.col("list_price")).is_empty()


class TestTime:
    def test_orders_run_from_the_first_monday_to_the_last_sunday(self, lines: pl.DataFrame):
        assert lines["ordered_at"].dt.date().min() == FIRST_DAY
        assert lines["ordered_at"].dt.date().max() == LAST_DAY

    def test_there_are_paid_orders_on_every_day(self, sales: pl.DataFrame):
        paid = sales.filter(pl.col("order_status") == "paid")
        assert paid["ordered_at"].dt.date().n_unique() == 78 * 7

    def test_people_sleep_at_night(self, sales: pl.DataFrame):
        hour = pl.col("ordered_at").dt.hour()
        assert share(sales, hour.is_between(1, 6)) < 0.03
        assert share(sales, hour.is_between(19, 22)) > 0.25

    def test_an_export_holds_its_own_month_and_late_refunds_only(self, rows: pl.DataFrame):
        month = pl.col("file").str.extract(r"orders_(\d{4}-\d\d)")
        foreign = rows.filter(~is_bad(), pl.col("ordered_at").str.slice(0, 7) != month)
        refunded_here = pl.col("refunded_at").str.slice(0, 7) == month
        assert foreign.filter(~refunded_here.any().over("order_id", "file")).is_empty()

    def test_no_export_knows_a_refund_of_a_later_month(self, rows: pl.DataFrame):
        month = pl.col("file").str.extract(r"orders_(\d{4}-\d\d)")
        assert rows.filter(pl.col("refunded_at").str.slice(0, 7) > month).is_empty()

    def test_refunds_come_after_the_order_and_by_the_last_sunday(self, lines: pl.DataFrame):
        end = datetime.combine(LAST_DAY, time.max)
        late = pl.col("refunded_at") > end
        assert lines.filter((pl.col("refunded_at") <= pl.col("ordered_at")) | late).is_empty()


class TestFeatures:
    @pytest.mark.parametrize(
        ("condition", "low", "high"),
        [
            (pl.col("customer_id").is_null(), 0.02, 0.06),
            (pl.col("refunded_amount").is_not_null(), 0.025, 0.055),
            (pl.col("line_type") == "return", 0.004, 0.015),
            (pl.col("order_status") == "unpaid", 0.015, 0.045),
            (pl.col("order_status") == "cancelled", 0.004, 0.02),
            (pl.col("order_status") == "closed", 0.002, 0.01),
            (pl.col("sku") == "YF", 0.01, 0.03),
            (pl.col("sku").str.starts_with("GIFT-"), 0.001, 0.01),
        ],
    )
    def test_each_trouble_has_its_share_of_lines(
        self, lines: pl.DataFrame, condition: pl.Expr, low: float, high: float
    ):
        assert low <= share(lines, condition) <= high

    def test_refunds_are_full_or_partial_and_a_few_carry_no_time(self, lines: pl.DataFrame):
        refunds = lines.filter(pl.col("refunded_amount").is_not_null())
        assert 0.5 < share(refunds, pl.col("refunded_amount") == pl.col("amount")) < 0.8
        assert refunds.filter(pl.col("refunded_amount") > pl.col("amount")).is_empty()
        assert 5 <= refunds["refunded_at"].null_count() <= 60

    def test_closed_orders_leave_the_refund_to_the_reader(self, lines: pl.DataFrame):
        closed = lines.filter(pl.col("order_status") == "closed")
        assert closed["refunded_amount"].is_null().all()

    def test_only_paid_orders_are_refunded(self, lines: pl.DataFrame):
        refunds = lines.filter(pl.col("refunded_amount").is_not_null())
        assert set(refunds["order_status"]) == {"paid"}

    def test_a_late_refund_repeats_the_whole_order_in_a_later_export(self, rows: pl.DataFrame):
        good = rows.filter(~is_bad())
        repeated = good.filter(pl.col("file").n_unique().over("order_id") > 1)
        first = repeated.filter(pl.col("file") == pl.col("file").min().over("order_id"))
        again = repeated.filter(pl.col("file") == pl.col("file").max().over("order_id"))
        assert 20 <= first["order_id"].n_unique() <= 500
        assert first["refunded_amount"].is_null().all()
        assert again.filter(pl.col("refunded_amount").is_not_null().any().over("order_id")).equals(again)
        unchanged = ["order_id", "line_no", "customer_id", "ordered_at", "sku", "amount"]
        assert first.select(unchanged).sort(unchanged).equals(again.select(unchanged).sort(unchanged))

    def test_returns_have_order_ids_of_their_own(self, lines: pl.DataFrame):
        returns = lines.filter(pl.col("line_type") == "return")
        assert returns["order_id"].str.starts_with("TH").all()
        assert returns["order_id"].is_unique().all()
        assert not lines.filter(pl.col("line_type") == "sale")["order_id"].str.starts_with("TH").any()

    def test_some_clearance_is_flagged_and_some_shows_by_its_list_price_only(self, sales: pl.DataFrame):
        flagged = pl.col("is_clearance") == "true"
        cheap = pl.col("unit_price") * 2 <= pl.col("list_price")
        assert sales.filter(flagged & ~cheap.fill_null(False)).is_empty()
        assert sales.filter(flagged).height > 300
        assert sales.filter(cheap & ~flagged.fill_null(False)).height > 300

    def test_clearance_events_stand_out(self, sales: pl.DataFrame):
        flagged = sales.filter(pl.col("is_clearance") == "true")
        busiest = flagged["ordered_at"].dt.date().value_counts(sort=True)[:10]
        months = {(day.month, day.day) for day in busiest.to_series(0)}
        assert months <= {(1, d) for d in range(9, 14)} | {(6, d) for d in range(23, 28)} | {
            (11, d) for d in range(22, 27)
        }

    def test_the_two_great_sales_are_the_busiest_days(self, sales: pl.DataFrame):
        by_day = dict(sales.group_by(pl.col("ordered_at").dt.date()).agg(pl.len()).iter_rows())
        usual = sorted(by_day.values())[len(by_day) // 2]
        for day in (date(2025, 6, 18), date(2025, 11, 11), date(2026, 6, 18)):
            assert by_day[day] > 1.8 * usual

    def test_live_streams_bring_bursts_of_new_customers_who_mostly_stay_away(self, sales: pl.DataFrame):
        first = (
            sales.filter(pl.col("customer_id").is_not_null())
            .group_by("customer_id")
            .agg(
                pl.col("ordered_at").min().dt.date().alias("day"),
                pl.col("order_id").n_unique().alias("orders"),
            )
        )
        by_day = first.group_by("day").agg(pl.len(), once=(pl.col("orders") == 1).mean())
        bursts = by_day.filter(pl.col("len") > 25)
        assert 25 <= bursts.height <= 50
        assert bursts["once"].mean() > 0.6 > first.select((pl.col("orders") == 1).mean()).item()

    def test_most_customers_buy_once_or_twice_and_a_few_every_month(self, sales: pl.DataFrame):
        orders = (
            sales.drop_nulls("customer_id").group_by("customer_id").agg(orders=pl.col("order_id").n_unique())
        )
        assert 0.7 < share(orders, pl.col("orders") <= 2) < 0.9
        assert 0.02 < share(orders, pl.col("orders") >= 8) < 0.08

    def test_a_few_products_are_bestsellers(self, sales: pl.DataFrame):
        products = sales.filter(pl.col("list_price").is_not_null())
        counts = products["sku"].value_counts(sort=True)["count"]
        assert 60 <= len(counts) <= 90
        assert 0.35 < counts[:20].sum() / counts.sum() < 0.55

    def test_bad_rows_are_few_and_of_several_kinds(self, rows: pl.DataFrame):
        bad = rows.filter(is_bad())
        assert bad.height == BAD_ROWS
        assert 10 <= BAD_ROWS <= 20
        assert bad["order_id"].null_count() > 0
        assert bad.filter(pl.col("quantity") == "0").height > 0
        for column in ("unit_price", "quantity", "amount"):
            assert bad.filter(~pl.col(column).str.contains(r"^\d+(\.\d\d)?$")).height > 0
        assert bad.filter(~pl.col("ordered_at").str.starts_with("20")).height > 0
        assert (bad["order_status"] == "paid").all()


class TestPeople:
    def test_the_headers_are_those_promised(self, contacts: pl.DataFrame, optouts: pl.DataFrame):
        assert ",".join(optouts.columns) == "customer_id,channel,since,source"
        assert ",".join(contacts.columns) == (
            "customer_id,phone,email,wecom_userid,wecom_external_userid,"
            "consent_sms,consent_email,consent_wecom"
        )

    def test_nobody_real_can_be_reached(self, contacts: pl.DataFrame):
        assert contacts["phone"].drop_nulls().str.contains(r"^1990000\d{4}$").all()
        assert contacts["email"].drop_nulls().str.contains(r"^m\d{6}@example\.com$").all()
        assert contacts["wecom_external_userid"].drop_nulls().str.starts_with("wmDEMO").all()

    def test_nobody_shares_an_address(self, contacts: pl.DataFrame):
        for column in ("customer_id", "phone", "email", "wecom_external_userid"):
            assert contacts[column].drop_nulls().is_unique().all()

    def test_some_customers_are_unknown_and_some_have_no_address(self, contacts: pl.DataFrame):
        assert 5500 < contacts.height < 6000
        addresses = ["phone", "email", "wecom_external_userid"]
        nowhere = contacts.filter(pl.all_horizontal(pl.col(addresses).is_null()))
        assert 50 < nowhere.height < 500

    @pytest.mark.parametrize(
        ("address", "consent"),
        [
            ("phone", "consent_sms"),
            ("email", "consent_email"),
            ("wecom_external_userid", "consent_wecom"),
        ],
    )
    def test_consent_is_given_or_not_where_there_is_an_address(
        self, contacts: pl.DataFrame, address: str, consent: str
    ):
        assert (contacts[address].is_null() == contacts[consent].is_null()).all()
        assert set(contacts[consent]) == {"true", "false", None}

    def test_optouts_are_of_customers_within_the_weeks(self, optouts: pl.DataFrame, lines: pl.DataFrame):
        assert 50 < optouts.height < 300
        assert set(optouts["channel"]) == {"sms", "email", "wecom", "all"}
        since = optouts["since"].str.to_date("%Y-%m-%d")
        assert since.is_between(FIRST_DAY, LAST_DAY).all()
        assert optouts.join(lines, on="customer_id", how="anti").is_empty()


class TestOtherSizes:
    def test_twenty_thousand_customers_make_three_times_the_orders(self, tmp_path: Path, sales: pl.DataFrame):
        big = current_lines(all_rows(make_sample(tmp_path / "home", customers=20_000)))
        assert big["customer_id"].n_unique() == 20_000 + 1
        assert 3.0 < big.height / sales.height < 3.7

    @pytest.mark.parametrize(("customers", "weeks"), [(1, 1), (3, 5), (40, 12), (500, 130)])
    def test_any_size_covers_every_day(self, tmp_path: Path, customers: int, weeks: int):
        shop = make_sample(tmp_path / "home", customers=customers, weeks=weeks, seed=0)
        lines = current_lines(all_rows(shop))
        days = lines.filter(pl.col("order_status") == "paid")["ordered_at"].dt.date()
        assert days.n_unique() == weeks * 7
        assert days.max() == LAST_DAY
        assert shop.shop.first_week <= LAST_WEEK

    def test_the_weeks_end_where_they_are_reported(self, tmp_path: Path):
        shop = make_sample(tmp_path / "home", customers=50, weeks=6, last_week=date(2024, 3, 4))
        days = current_lines(all_rows(shop))["ordered_at"].dt.date()
        assert (days.min(), days.max()) == (date(2024, 1, 29), date(2024, 3, 10))

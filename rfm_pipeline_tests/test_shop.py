"""``shop.yaml``: every default, and every mistake answered with file, line, key and what was expected."""

from datetime import date, time
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from rfm_pipeline.errors import ShopFileError
from rfm_pipeline.shop import (
    CHURN_CLASSES,
    Shop,
    Threshold,
    default_messages_text,
    home_from_environment,
    load_shop,
)
from rfm_pipeline_tests.helpers import make_shop

LEAST = "shop:\n  name: 茶铺\n  first_week: 2024-01-01\n"


def load(home: Path, text: str = LEAST) -> Shop:
    (home / "shop.yaml").write_text(text, "utf-8")
    return load_shop(home)


def refusal(home: Path, text: str) -> str:
    with pytest.raises(ShopFileError) as caught:
        load(home, text)
    return str(caught.value)


# Defaults


def test_every_default_is_the_documented_one(tmp_path: Path) -> None:
    settings = load(tmp_path).model_dump(exclude={"home", "recall"})
    assert settings == {
        "shop": {
            "name": "茶铺",
            "timezone": "Asia/Shanghai",
            "currency": "CNY",
            "first_week": date(2024, 1, 1),
            "last_week": None,
        },
        "orders": {
            "kind": "files",
            "preset": "standard",
            "encoding": None,
            "delimiter": None,
            "not_products": (),
            "currency": None,
            "date_order": "told",
            "paid_on_delivery": (),
            "max_unpacked_gb": 8.0,
            "max_workbook_gb": 1.0,
            "database": None,
            "dataset": None,
        },
        "warehouse": {
            "engine": "duckdb",
            "memory_limit": "4GB",
            "threads": None,
            "lock_wait_seconds": 60,
            "spark": {"master": "local[*]", "tables": None, "conf": {}},
        },
        "ledger": {"url_env": None},
        "rules": {
            "frequency_high": 3,
            "monetary_high": {"amount": None, "quantile": Decimal("0.75")},
            "dormant_after_days": 90,
            "lapsing_after_days": 60,
            "bestsellers": {"top": 20},
            "product_window_days": 365,
            "low_price_quantile": Decimal("0.25"),
            "clearance_share": Decimal("0.5"),
            "max_order_gap_days": 3,
        },
        "wecom": {
            "enabled": False,
            "confirmed": False,
            "corp_id_env": "RFM_WECOM_CORP_ID",
            "secret_env": "RFM_WECOM_SECRET",
            "robot_key_env": "RFM_WECOM_ROBOT_KEY",
            "tag_group": "静默召回",
            "staff": (),
            "requests_per_second": 5,
            "in_flight": 5,
            "timeout_seconds": 10,
            "base_url": "https://qyapi.weixin.qq.com/cgi-bin",
        },
        "review": {
            "response_days": 30,
            "harm_margin": Decimal("0.01"),
            "dormant_share": Decimal("0.5"),
        },
    }


def test_every_default_of_the_recall_is_the_documented_one(tmp_path: Path) -> None:
    recall = load(tmp_path).recall
    assert recall.model_dump(exclude={"offers", "tags", "words"}) == {
        "weekly_capacity": 500,
        "holdout_share": Decimal("0.1"),
        "cooldown_days": 60,
        "campaign_days": 30,
        "max_changes": 1000,
        "allow_past_weeks": False,
        "holdout_contacts_known": 0,
        "worklist_names": "masked",
        "sending_hours": {"begins": time(9), "ends": time(21)},
        "message_rules": "china",
    }
    assert set(recall.offers) == set(recall.tags) == set(recall.words) == set(CHURN_CLASSES)
    assert all(len(tag) <= 30 for tag in recall.tags.values())


def test_the_sink_of_an_older_home_is_passed_over_and_any_other_is_unknown(tmp_path: Path) -> None:
    assert "sink" not in load(tmp_path, f"{LEAST}recall: {{sink: local}}\n").recall.model_dump()
    assert "recall.sink" in refusal(tmp_path, f"{LEAST}recall: {{sink: wecom}}\n")


def test_the_shipped_words_are_words_for_every_class_and_channel(tmp_path: Path) -> None:
    words = load(tmp_path).recall.words
    for one in words.values():
        assert all(text.strip() for text in one.model_dump().values())
    assert default_messages_text().startswith(("A:", "#"))


@pytest.mark.parametrize(
    ("begins", "ends", "is_error"),
    [
        ("09:00", "21:00", False),
        ("09:00", "09:01", False),
        ("09:00", "09:00", True),
        ("21:00", "09:00", True),
    ],
)
def test_sending_hours_begin_before_they_end(tmp_path: Path, begins: str, ends: str, is_error: bool) -> None:
    hours = {"recall": {"sending_hours": {"begins": begins, "ends": ends}}}
    if is_error:
        with pytest.raises(ShopFileError, match=r"recall\.sending_hours: begins .* must lie before ends"):
            make_shop(tmp_path, **hours)
    else:
        assert make_shop(tmp_path, **hours).recall.sending_hours.begins == time.fromisoformat(begins)


@pytest.mark.parametrize(
    ("settings", "tables"),
    [
        ({}, "{home}/warehouse_spark/tables"),
        ({"tables": "elsewhere"}, "{home}/elsewhere"),
        ({"tables": "/mnt/rfm"}, "/mnt/rfm"),
        ({"tables": "s3a://bucket/rfm/"}, "s3a://bucket/rfm"),
    ],
)
def test_the_engine_spark_has_a_catalog_and_a_place_for_tables(
    tmp_path: Path, settings: dict[str, str], tables: str
) -> None:
    shop = make_shop(tmp_path, warehouse={"engine": "spark", "spark": settings})
    assert shop.warehouse_path == shop.home / "warehouse_spark" / "catalog.duckdb"
    assert shop.spark_tables == tables.format(home=shop.home)


def test_sparks_settings_are_texts_as_spark_spells_them(tmp_path: Path) -> None:
    conf = {"spark.executor.cores": 4, "spark.ui.enabled": True, "spark.executor.memory": "16g"}
    shop = make_shop(tmp_path, warehouse={"spark": {"conf": conf}})
    assert shop.warehouse.spark.conf == {
        "spark.executor.cores": "4",
        "spark.ui.enabled": "true",
        "spark.executor.memory": "16g",
    }


def test_the_folders_of_a_home(tmp_path: Path) -> None:
    shop = load(tmp_path)
    assert shop.home == tmp_path.resolve()
    assert shop.orders_dir == shop.home / "orders"
    assert shop.contacts_dir == shop.home / "contacts"
    assert shop.suppression_dir == shop.home / "suppression"
    assert shop.outreach_dir == shop.home / "outreach"
    assert shop.warehouse_path == shop.home / "warehouse.duckdb"
    assert shop.ledger_url == f"sqlite:///{shop.home / 'ledger.sqlite'}"
    assert shop.out_dir == shop.home / "out"
    assert shop.worklists_dir == shop.home / "out" / "worklists"
    assert shop.dagster_home == shop.home / ".dagster"
    assert shop.zone.key == "Asia/Shanghai"


def test_a_setting_cannot_be_changed_after_it_was_read(tmp_path: Path) -> None:
    shop = load(tmp_path)
    with pytest.raises(ValidationError):
        shop.rules.frequency_high = 5


def test_the_home_is_rfm_home_or_data_below_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RFM_HOME", raising=False)
    assert home_from_environment() == tmp_path.resolve() / "data"
    monkeypatch.setenv("RFM_HOME", "shops/tea")
    assert home_from_environment() == tmp_path.resolve() / "shops" / "tea"
    monkeypatch.setenv("RFM_HOME", "~/tea")
    assert home_from_environment() == Path.home().resolve() / "tea"


@pytest.mark.parametrize(
    ("text", "threshold"),
    [
        ("2000", Threshold(amount=Decimal(2000))),
        ("199.90", Threshold(amount=Decimal("199.9"))),
        ("{amount: 2000}", Threshold(amount=Decimal(2000))),
        ("{quantile: 0.9}", Threshold(quantile=Decimal("0.9"))),
    ],
)
def test_high_m_is_an_amount_or_a_quantile(tmp_path: Path, text: str, threshold: Threshold) -> None:
    shop = load(tmp_path, f"{LEAST}rules:\n  monetary_high: {text}\n")
    assert shop.rules.monetary_high == threshold


# Mistakes


@pytest.mark.parametrize(
    ("section", "line", "reason"),
    [
        ("rule:\n  frequency_high: 3", 4, "unknown key 'rule'; did you mean 'rules'?"),
        (
            "rules:\n  frequenzy_high: 3",
            5,
            "unknown key 'rules.frequenzy_high'; did you mean 'frequency_high'?",
        ),
        (
            "rules:\n  bestsellers: {topp: 3}",
            5,
            "unknown key 'rules.bestsellers.topp'; did you mean 'top'?",
        ),
        (
            "rules:\n  monetary_high:\n    quantil: 0.5",
            6,
            "unknown key 'rules.monetary_high.quantil'; did you mean 'quantile'?",
        ),
        (
            "review:\n  xyz: 3",
            5,
            "unknown key 'review.xyz'; known here: response_days",
        ),
        ("rules:\n  frequency_high: many", 5, "rules.frequency_high: Input should be a valid integer"),
        (
            "rules:\n  frequency_high: 0",
            5,
            "rules.frequency_high: Input should be greater than or equal to 1",
        ),
        ("rules:\n  frequency_high: 2.5", 5, "rules.frequency_high: Input should be a valid integer"),
        ("rules:\n\n  dormant_after_days: [90]", 6, "rules.dormant_after_days: Input should be a valid int"),
        ("rules:\n  low_price_quantile: 1.01", 5, "rules.low_price_quantile: Input should be less than"),
        ("rules:\n  clearance_share: 0", 5, "rules.clearance_share: Input should be greater than 0"),
        (
            "rules:\n  monetary_high: {amount: 1, quantile: 0.5}",
            5,
            "rules.monetary_high: write either {amount: 2000} or {quantile: 0.75}",
        ),
        ("rules:\n  monetary_high: {}", 5, "rules.monetary_high: write either"),
        ("warehouse:\n  memory_limit: lots", 5, "warehouse.memory_limit: String should match"),
        ("orders:\n  kind: carrier pigeon", 5, "orders.kind: Input should be 'files', 'database' or"),
        ("orders:\n  kind: database", 4, "orders: kind: database goes with a section database:"),
        ("orders:\n  database: {table: t}", 4, "orders: kind: database goes with a section database:"),
        ("orders:\n  kind: database\n  database: {}", 6, "orders.database: write either table: or query:"),
        (
            "orders:\n  kind: database\n  database: {table: t, query: select 1}",
            6,
            "orders.database: write either table: or query:",
        ),
        ("orders:\n  kind: parquet", 4, "orders: kind: parquet goes with a section dataset:"),
        ("warehouse:\n  engine: flink", 5, "warehouse.engine: Input should be 'duckdb' or 'spark'"),
        ("warehouse:\n  spark: {mastr: x}", 5, "unknown key 'warehouse.spark.mastr'; did you mean 'master'?"),
        ("warehouse:\n  spark: {conf: {memory: 1g}}", 5, "warehouse.spark.conf: 'memory' is no setting of"),
        (
            "warehouse:\n  spark: {conf: {spark.hadoop.fs.s3a.secret.key: x}}",
            5,
            "warehouse.spark.conf: spark.hadoop.fs.s3a.secret.key doesn't belong into this file",
        ),
        ("orders:\n  not_products: POST", 5, "orders.not_products: Input should be a valid"),
        ("wecom:\n  enabled: maybe", 5, "wecom.enabled: Input should be"),
        ("wecom:\n  in_flight: 6", 5, "wecom.in_flight: Input should be less than or equal to 5"),
        ("wecom:\n  base_url: http://example.com", 5, "wecom.base_url: the secret may only travel over"),
        ("wecom:\n  secret_env: my-secret", 5, "wecom.secret_env: String should match pattern"),
        ("recall:\n  tags: {A: a, B: a, C: c}", 5, "recall.tags: each class needs a tag of its own"),
        ("recall:\n  holdout_share: 1", 5, "recall.holdout_share: Input should be less than 1"),
        ("recall:\n  offers: {A: a, B: b}", 5, "recall.offers: write one entry for each of A, B and C"),
        ("recall:\n  tags: {A: a, B: b, C: c, D: d}", 5, "recall.tags: write one entry for each"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, section: str, line: int, reason: str) -> None:
    message = refusal(tmp_path, f"{LEAST}{section}\n")
    assert message.startswith(f"{tmp_path.resolve() / 'shop.yaml'}, line {line}: {reason}")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shop: {first_week: 2024-01-01}", "line 1: 'shop.name' is missing"),
        ("shop: {name: x}", "line 1: 'shop.first_week' is missing"),
        ("orders: {preset: standard}", "shop.yaml: 'shop' is missing"),
        ("shop: {name: '', first_week: 2024-01-01}", "line 1: shop.name: String should have at least 1"),
        (
            "shop:\n  name: x\n  first_week: 2024-01-02",
            "line 3: shop.first_week: 2024-01-02 is a Tuesday; a week is named by its Monday",
        ),
        (
            "shop:\n  name: x\n  first_week: 2024-01-01\n  last_week: 2024-02-04",
            "line 4: shop.last_week: 2024-02-04 is a Sunday; a week is named by its Monday",
        ),
        (
            "shop:\n  name: x\n  first_week: 2024-01-08\n  last_week: 2024-01-01",
            "line 1: shop: last_week 2024-01-01 lies before first_week 2024-01-08",
        ),
        ("shop:\n  name: x\n  first_week: soon", "line 3: shop.first_week: Input should be a valid date"),
        (
            f"{LEAST}  timezone: Asia/Beijing",
            "line 4: shop.timezone: 'Asia/Beijing' is no IANA time zone; "
            "write one such as Asia/Shanghai or Europe/London",
        ),
        (f"{LEAST}  timezone: ../etc/passwd", "is no IANA time zone"),
        (f"{LEAST}  timezone: ''", "is no IANA time zone"),
    ],
)
def test_a_mistake_about_the_shop_itself_is_reported(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text + "\n")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, f"{LEAST}rules:\n  frequency_high: many\nreviews: {{}}\nrecal: {{}}\n")
    assert [line.split(": ", 1)[0][-6:] for line in message.splitlines()] == ["line 5", "line 6", "line 7"]


def test_words_for_a_class_lack_nothing_and_have_nothing_more(tmp_path: Path) -> None:
    words = "{sms: s, email_subject: e, email_body: b, wecom: w}"
    text = f"{LEAST}recall:\n  words:\n    A: {words}\n    B: {words}\n    C: {{smss: s}}\n"
    message = refusal(tmp_path, text)
    assert "line 8: 'recall.words.C.sms' is missing" in message
    assert "line 8: unknown key 'recall.words.C.smss'; did you mean 'sms'?" in message


def test_a_key_that_stands_twice_is_an_error_with_its_line(tmp_path: Path) -> None:
    message = refusal(tmp_path, f"{LEAST}rules:\n  frequency_high: 2\n  frequency_high: 3\n")
    assert "the key 'frequency_high' stands twice" in message
    assert "line 6" in message


def test_a_section_that_stands_twice_is_an_error_too(tmp_path: Path) -> None:
    assert "the key 'shop' stands twice" in refusal(tmp_path, LEAST + LEAST)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shop: [", "is no valid YAML"),
        ("shop:\n\tname: x", "is no valid YAML"),
        ("? [a]\n: b", "is no valid YAML"),
        ("? {a: b}\n: c", "is no valid YAML"),
        ("", "must hold sections such as `shop:` and `orders:`"),
        ("- shop", "must hold sections"),
        ("just a word", "must hold sections"),
        ("!!python/object/apply:os.getcwd []", "is no valid YAML"),
    ],
)
def test_what_is_no_settings_file_is_reported(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)


def test_a_missing_file_is_told_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ShopFileError) as caught:
        load_shop(tmp_path / "nowhere")
    home = tmp_path.resolve() / "nowhere"
    assert str(caught.value).startswith(
        f"{home / 'shop.yaml'} is missing. Make a home with `rfm init {home}`"
    )


def test_a_file_that_is_no_utf_8_is_reported(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_bytes(LEAST.encode("gbk"))
    with pytest.raises(ShopFileError, match="can't be read as UTF-8 text"):
        load_shop(tmp_path)

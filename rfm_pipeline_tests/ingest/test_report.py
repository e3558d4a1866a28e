"""What was read is visible: `rfm check` of a file, the report of a run, and nothing personal in either."""

import stat
from datetime import datetime
from pathlib import Path

import pytest

from rfm_pipeline.cli.app import main
from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.loading import load_new_files
from rfm_pipeline.ingest.presets import guess_presets, load_family, load_preset, preset_names
from rfm_pipeline.ingest.report import check_file, guess, rejected_by_reason, write_report
from rfm_pipeline.shop import Shop
from rfm_pipeline_tests.helpers import make_shop, small_warehouse, write_export

NOW = datetime(2024, 2, 1, 6, 0)
ROWS = (
    "o1,anna,2024-01-03,TEA,1,2.00",
    "o2,186******05,2024-01-04,TEA,1,2.00",
    "o3,,2024-01-05,TEA,1,2.00",
    "o4,bert,soon,TEA,1,2.00",
    "o5,bert,later,TEA,1,2.00",
    "=HYPERLINK(1),bert,2024-01-05,TEA,0,2.00",
)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return make_shop(tmp_path)


def test_a_file_is_described_without_a_value_of_its_rows(shop: Shop) -> None:
    path = write_export(shop, "a.csv", *ROWS)
    check = check_file(path, load_preset("standard"), "Asia/Shanghai")
    assert dict(check.rows) == {"accepted": 3, "unpaid": 0, "rejected": 3}
    assert dict(check.rejected) == {"ordered_at is no date and time": 2, "quantity is 0": 1}
    assert check.first_rows == {"ordered_at is no date and time": [4, 5], "quantity is 0": [6]}
    assert (check.without_customer, check.keys_masked, check.keys_from_fallback) == (2, 1, 0)
    assert (check.first_ordered_at, check.last_ordered_at) == (datetime(2024, 1, 3), datetime(2024, 1, 5))
    assert check.layout == "CSV, utf-8, comma-separated"
    assert (check.guesses[0].preset.name, check.guesses[0].lacks) == ("standard", 0)
    assert "anna" not in repr(check)


def test_the_report_of_a_run_counts_by_file_and_reason(shop: Shop) -> None:
    write_export(shop, "a.csv", *ROWS)
    write_export(shop, "b.csv", ROWS[0].replace("o1", "o9"))
    warehouse = small_warehouse(shop)
    report = load_new_files(warehouse, shop)
    path = write_report(shop, warehouse, report, NOW)
    assert path == shop.out_dir / "ingest" / "2024-02-01_060000.md"
    text = path.read_text("utf-8")
    assert "7 rows read = 4 accepted + 0 unpaid + 3 rejected." in text
    assert "Rows without a customer: 2 (50.0%). Customer keys masked: 1" in text
    assert "| a.csv | ordered_at is no date and time | 2 | 4 |" in text
    assert "anna" not in text
    assert "bert" not in text
    reasons = rejected_by_reason(warehouse, report.loaded)
    assert [(r["file_name"], r["reason"], r["rows"], r["first_row"]) for r in reasons] == [
        ("a.csv", "ordered_at is no date and time", 2, 4),
        ("a.csv", "quantity is 0", 1, 6),
    ]


def test_rejected_rows_are_kept_with_their_text_for_their_owner_alone(shop: Shop) -> None:
    write_export(shop, "a.csv", *ROWS)
    warehouse = small_warehouse(shop)
    write_report(shop, warehouse, load_new_files(warehouse, shop), NOW)
    path = shop.out_dir / "ingest" / "rejected_rows.csv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = path.read_text("utf-8-sig").splitlines()
    assert lines[1] == '"a.csv",4,"ordered_at is no date and time","o4,bert,soon,TEA,1,2.00"'
    # a spreadsheet takes no text for a formula
    assert lines[3].endswith('"\'=HYPERLINK(1),bert,2024-01-05,TEA,0,2.00"')


def test_a_run_that_read_nothing_new_writes_nothing(shop: Shop) -> None:
    write_export(shop, "a.csv", *ROWS)
    warehouse = small_warehouse(shop)
    load_new_files(warehouse, shop)
    assert write_report(shop, warehouse, load_new_files(warehouse, shop), NOW) is None
    assert not (shop.out_dir / "ingest").exists()


# Which preset is it?


@pytest.mark.parametrize("name", preset_names())
def test_the_full_header_of_a_preset_is_known_as_it(name: str) -> None:
    preset = load_preset(name)
    best = guess_presets([names[0] for names in preset.columns.values()])[0]
    assert (best.preset.name, best.lacks) == (name, 0)
    assert best.confidence == "sure"


def test_a_header_of_nobody_fits_nothing() -> None:
    assert {found.confidence for found in guess_presets(["a", "b"])} == {"no fit"}


def test_a_preset_of_the_shops_own_is_guessed_too(shop: Shop) -> None:
    (shop.home / "presets").mkdir()
    (shop.home / "presets" / "till.yaml").write_text(
        "columns: {order_id: [Bon], customer_id: [Kunde], ordered_at: [Datum], sku: [Artikel], "
        "quantity: [Menge], unit_price: [Preis]}\n"
        "required: [order_id, customer_id, ordered_at, sku, quantity, unit_price]\n",
        "utf-8",
    )
    header = "Bon;Kunde;Datum;Artikel;Menge;Preis"
    path = write_export(shop, "a.csv", "b1;k1;2024-01-03 10:00;T;1;2.50", header=header)
    assert guess(path, shop.home)[0].preset.name == "till"
    check = check_file(path, load_family("till", shop.home), "Europe/Berlin", home=shop.home)
    assert (check.rows["accepted"], check.layout) == (1, "CSV, utf-8, semicolon-separated")
    own = make_shop(shop.home, orders={"preset": "till"})
    assert load_new_files(small_warehouse(own), own).loaded[0]["rows_accepted"] == 1


TAOBAO = "订单编号,买家会员名,订单状态,订单创建时间,订单付款时间,宝贝标题,宝贝总数量,买家实际支付金额"


def exit_code_of_check(path: Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["check", str(path)])
    return int(ended.value.code or 0)


def test_a_file_outside_a_home_is_read_as_what_it_looks_like(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RFM_HOME", raising=False)
    path = tmp_path / "ExportOrderList.csv"
    row = "1001,小明,交易成功,2024-01-05 10:00:00,2024-01-05 10:01:00,茶杯,1,10.00"
    path.write_bytes(f"{TAOBAO}\n{row}\n".encode("gbk"))
    assert exit_code_of_check(path) == 0
    printed = capsys.readouterr().out
    assert "taobao_orders (sure: 8 of 8 columns known)" in printed
    assert "gb18030" in printed


def test_a_file_of_nobody_says_what_the_nearest_preset_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RFM_HOME", raising=False)
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n", "utf-8")
    assert exit_code_of_check(path) == 1
    assert "fits no known preset" in capsys.readouterr().err


def test_a_shop_with_another_preset_is_told_which_one_it_looks_like(shop: Shop) -> None:
    write_export(shop, "a.csv", header=TAOBAO)
    with pytest.raises(OrderFileError, match=r"It looks like 'taobao_orders' \(sure\)"):
        load_new_files(small_warehouse(shop), shop)

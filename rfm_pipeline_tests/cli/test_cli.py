"""The `rfm` command: what it prints and makes, and one clear message for each thing that can be wrong."""

import os
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from rfm_pipeline.cli.app import main
from rfm_pipeline.demo.sample_shop import make_sample

HEADER = "order_id,customer_id,ordered_at,sku,quantity,unit_price"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`rfm run` names the shop in the environment; no test may see another's."""
    monkeypatch.delenv("RFM_HOME", raising=False)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def rfm(*arguments: object) -> int:
    """Calls the command in this process and returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def write_orders(home: Path, days: list[date], name: str = "orders.csv") -> None:
    """An export with one order a day, each of another customer."""
    rows = [f"o{i},c{i},{day} 10:00:00,S1,1,10" for i, day in enumerate(days)]
    (home / "orders" / name).write_text("\n".join([HEADER, *rows, ""]), "utf-8")


def message_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one error that was printed."""
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    assert rfm("init", folder, "--first-week", "2025-01-06") == 0
    return folder


def test_init_makes_a_home_that_can_be_read_and_refuses_to_overwrite_it(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (home / "orders").is_dir()
    lines = (home / "shop.yaml").read_text("utf-8").splitlines()
    templates = next(number for number, line in enumerate(lines) if line.startswith("  words:"))
    settings = [line for line in lines[:templates] if ":" in line and not line.startswith("#")]
    explained = [line for line in settings if "#" in line or not line.startswith(" ")]
    assert explained == settings
    assert rfm("init", home) == 1
    assert "exists already" in message_of(capsys)


@pytest.mark.parametrize(
    ("name", "can_sign"), [("茶", False), ("茶庄", True), ("x" * 16, True), ("x" * 17, False)]
)
def test_init_says_so_when_the_name_cannot_sign_messages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, can_sign: bool
) -> None:
    assert rfm("init", tmp_path / "shop", "--name", name) == 0
    assert ("can't sign text messages" in capsys.readouterr().out) is not can_sign


def test_an_unknown_preset_is_named_with_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rfm("init", tmp_path / "x", "--preset", "online_retial") == 1
    assert "Did you mean 'online_retail'?" in message_of(capsys)


NO_BUYER_FILES = {
    "douyin": "主订单编号,选购商品,商品数量,订单应付金额,收件人手机号,订单提交时间,订单状态\n"
    "1,豆腐,1,9.90,##x==##,2026-03-22 00:54:10,已完成\n",
    "pinduoduo": "商品,订单号,订单状态,用户实付金额(元),商品数量(件),用户购买手机号\n"
    "茶杯,260517-000000000000001,已收货,9.90,1,\n",
    "amazon": "amazon-order-id,purchase-date,order-status,product-name,sku,quantity,item-price\n"
    "111-01,2026-05-01T02:00:00+00:00,Shipped,Cup,CUP,1,9.90\n",
}


@pytest.mark.parametrize("preset", NO_BUYER_FILES)
def test_an_export_that_names_no_buyer_is_said_to_name_none(
    tmp_path: Path, preset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "shop"
    assert rfm("init", folder, "--preset", preset, "--first-week", "2025-01-06") == 0
    assert "name no buyer" in capsys.readouterr().out
    export = tmp_path / "orders.csv"
    export.write_text(NO_BUYER_FILES[preset], "utf-8")
    assert rfm("check", export) == 0
    shown = capsys.readouterr().out
    assert "name no buyer" in shown
    assert "1 (100.0%)" in shown
    # without an order there is nothing to run, but this is said first
    assert rfm("run", "--home", folder) == 1
    assert f"note: {preset}: this platform's exports name no buyer" in capsys.readouterr().err


def test_an_export_that_names_its_buyers_is_not_said_to_name_none(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_orders(home, [date(2025, 3, 3)])
    assert rfm("check", home / "orders" / "orders.csv") == 0
    assert "name no buyer" not in capsys.readouterr().out


def test_an_empty_folder_of_orders_is_one_clear_message(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rfm("run", "--home", home) == 1
    assert f"{home / 'orders'} holds no order export" in message_of(capsys)


def test_a_shop_of_one_order_is_one_clear_message(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_orders(home, [date(2025, 3, 3)])
    assert rfm("run", "--home", home) == 1
    assert "one order only" in message_of(capsys)


def test_a_wrong_preset_names_what_the_header_lacks(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_orders(home, [date(2025, 3, 3)])
    settings = home / "shop.yaml"
    settings.write_text(
        settings.read_text("utf-8").replace("preset: standard", "preset: online_retail"), "utf-8"
    )
    assert rfm("run", "--home", home) == 1
    message = message_of(capsys)
    assert "orders.csv: the header lacks 'InvoiceNo'" in message
    assert "Is orders.preset in shop.yaml the right one?" in message


def test_a_bad_shop_file_names_line_and_nearest_key(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = home / "shop.yaml"
    settings.write_text(settings.read_text("utf-8").replace("weekly_capacity", "weekly_capasity"), "utf-8")
    assert rfm("run", "--home", home) == 1
    assert "unknown key 'recall.weekly_capasity'; did you mean 'weekly_capacity'?" in message_of(capsys)


def test_orders_that_end_two_weeks_early_stop_the_diagnosis(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_orders(home, [date(2025, 1, 6) + timedelta(days=i) for i in range(28)])
    assert rfm("run", "--home", home, "--week", "2025-02-10") == 1
    message = message_of(capsys)
    assert (
        "week 2025-02-10 ends on 2025-02-16, but the newest order is of 2025-02-02, 14 days earlier"
        in message
    )
    with duckdb.connect(str(home / "warehouse.duckdb")) as connection:
        assert connection.execute("select count(*) from order_lines").fetchall() == [(28,)]
        assert not connection.execute(
            "select * from information_schema.tables where table_name = 'customer_rfm'"
        ).fetchall()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--week", "2025-01-07"], "is a Tuesday; a week is named by its Monday, here 2025-01-06"),
        (["--week", "2024-12-30"], "is not on the shop's grid"),
        (["--week", "January"], "is no date"),
        (["--weeks", "2025-01-06"], "is no range of weeks"),
        (["--weeks", "2025-01-13..2025-01-06"], "ends before it begins"),
        (["--week", "2025-01-06", "--weeks", "2025-01-06..2025-01-13"], "not both"),
    ],
)
def test_weeks_that_cannot_be_are_refused_before_any_work(
    home: Path, arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rfm("run", "--home", home, *arguments) == 1
    assert expected in message_of(capsys)
    assert not (home / "warehouse.duckdb").exists()


def test_check_shows_what_would_be_read_and_loads_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / "orders" / "orders.csv"
    path.write_text(
        f"{HEADER},extra\n1,secret-name,2025-01-06 10:00:00,S,1,10,x\n2,c,2025-01-06 10:00:00,S,none,10,x\n",
        "utf-8",
    )
    assert rfm("check", "--home", home, path) == 0
    shown = capsys.readouterr().out
    assert "extra" in shown
    assert "quantity is no number" in shown
    assert "secret-name" not in shown
    assert not (home / "warehouse.duckdb").exists()


def test_check_reads_a_file_as_the_shop_does_in_whose_home_it_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "uk"
    assert rfm("init", home, "--preset", "online_retail") == 0
    path = home / "orders" / "2011.csv"
    path.write_text(
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID\n"
        "C1,S,x,-1,2011-01-04 10:00:00,2,17850\n",
        "utf-8",
    )
    assert rfm("check", path) == 0
    assert "online_retail" in capsys.readouterr().out


def test_check_says_which_file_cannot_be_read_and_goes_on(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_orders(home, [date(2025, 1, 6)])
    assert rfm("check", "--home", home, home / "missing.csv", home / "orders" / "orders.csv") == 1
    captured = capsys.readouterr()
    assert "missing.csv: there is no such file" in captured.err
    assert "rows read" in captured.out


def test_a_run_ends_with_a_summary_and_the_files_it_names_exist(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "sample"
    make_sample(home, customers=150, weeks=20, seed=1)
    assert rfm("run", "--home", home) == 0
    captured = capsys.readouterr()
    for text in ("silent_churner", "静默流失", "new this week", "hold-out", "history filled in"):
        assert text in captured.out
    named = [
        line.split(": ", 1)[1].strip()
        for line in captured.out.splitlines()
        if line.startswith(("tables:", "ledger:", "tags:"))
    ]
    assert len(named) == 3
    assert all(Path(path).exists() for path in named)
    # progress goes to stderr, so that the summary can be piped
    assert "customer_rfm" in captured.err
    assert "customer_rfm" not in captured.out


def test_a_week_before_the_newest_is_filled_but_not_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "sample"
    make_sample(home, customers=150, weeks=8, seed=1, last_week=date(2026, 6, 29))
    assert rfm("run", "--home", home, "--week", "2026-06-22") == 0
    assert "nothing sent: week 2026-06-22 is not the newest closed week" in " ".join(
        capsys.readouterr().out.split()
    )
    assert not (home / "out" / "tags").exists()
    assert rfm("run", "--home", home, "--weeks", "2026-06-22..2026-06-29") == 0
    assert "only a single week is sent" in " ".join(capsys.readouterr().out.split())
    assert not (home / "out" / "tags").exists()

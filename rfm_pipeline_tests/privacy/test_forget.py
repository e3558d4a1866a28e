"""The right to be forgotten: a person is gone from everything the program keeps, and only that person."""

import io
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
import xlsxwriter

from rfm_pipeline.cli.app import main
from rfm_pipeline.contacts.edit_detection import digests_file, with_digest
from rfm_pipeline.contacts.schemas import OUTREACH_FINDINGS, OUTREACH_LOG
from rfm_pipeline.errors import RfmError, WarehouseBusyError
from rfm_pipeline.ledger import Ledger, tombstone_digest
from rfm_pipeline.privacy.forget import Traces, forget
from rfm_pipeline.privacy.person import Person
from rfm_pipeline.privacy.summaries import closing as closing_words
from rfm_pipeline.privacy.tables import BLANKED
from rfm_pipeline.shop import Shop, SparkSection, load_shop
from rfm_pipeline_tests.helpers import ingest, make_shop, small_warehouse, write_export
from rfm_pipeline_tests.orchestration.test_killed_runs import (
    finish,
    ledger_rows,
    rfm_run,
    tag_files,
    warehouse_rows,
)
from rfm_pipeline_tests.shared_homes import SharedHomes, copy_home

KILLS = 5
SOMEBODY_ELSE = "X-was-forgotten-before"


def forget_in(home: Path, customer_id: str) -> Traces:
    shop = load_shop(home)
    return forget(shop, small_warehouse(shop), Ledger(shop.ledger_url), customer_id)


def rfm(*arguments: object) -> int:
    """Calls the command in this process and returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("RFM_HOME", raising=False)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def contents(home: Path, *without: str) -> dict[str, bytes]:
    """Every file of a home but the folders that are left out and half-made files."""
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and ".staging" not in path.parts and path.relative_to(home).parts[0] not in without
    }


def texts(rows: dict[str, list[Any]]) -> str:
    """All text of some tables."""
    return "\n".join(
        value for table in rows.values() for row in table for value in row if isinstance(value, str)
    )


# --- the demo shop ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran(shared_homes: SharedHomes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose newest week went through all stages; somebody was forgotten before, so it has a salt."""
    home = copy_home(shared_homes.sample_that_was_run(), tmp_path_factory.mktemp("shops") / "ran")
    Ledger(load_shop(home).ledger_url).forget(SOMEBODY_ELSE)
    return home


@pytest.fixture
def home(ran: Path, tmp_path: Path) -> Path:
    shutil.copytree(ran, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture(scope="module")
def customer(ran: Path) -> str:
    """A customer with a tag and a phone number."""
    [tags] = (ran / "out" / "tags").glob("*.csv")
    tagged = pl.read_csv(tags, infer_schema=False).filter(action="add")
    contacts = pl.read_csv(ran / "contacts" / "contacts.csv", infer_schema=False).drop_nulls("phone")
    return str(tagged.join(contacts, on="customer_id", how="semi").sort("customer_id")["customer_id"][0])


def test_a_listed_customer_is_gone_from_everything_but_the_orders(home: Path, customer: str) -> None:
    tables, files = warehouse_rows(home), contents(home)
    contact = next(line for line in files["contacts/contacts.csv"].decode().splitlines() if customer in line)
    phone = contact.split(",")[1]
    assert customer in texts(tables)

    traces = forget_in(home, customer)

    after = warehouse_rows(home)
    assert customer not in texts(after)
    left = contents(home, "orders", "suppression")
    for needle in (customer, phone):
        assert not [name for name, content in left.items() if needle.encode() in content]
    # what the shop brought is as it was
    for name, content in files.items():
        if name.split("/")[0] in ("orders", "suppression", "shop.yaml"):
            assert (home / name).read_bytes() == content
    assert traces.warehouse.order_lines.keys() == {"raw_orders", "order_lines"}
    assert {
        "customer_activity",
        "customer_rfm",
        "recall_list",
        "customer_tags",
    } <= traces.warehouse.derived.keys()
    assert (traces.ledger.assignments, traces.ledger.tags_left) == (1, {"local": 1})


def test_everybody_else_stays_as_they_were(home: Path, customer: str) -> None:
    before, files = warehouse_rows(home), contents(home)
    forget_in(home, customer)
    after = warehouse_rows(home)
    assert after.keys() == before.keys()
    for name, rows in before.items():
        others = [row for row in rows if customer not in row]
        if name in ("raw_orders", "order_lines"):
            # the order stays, as a guest's
            assert len(after[name]) == len(rows)
            nameless = [tuple(None if value == customer else value for value in row) for row in rows]
            assert sorted(map(repr, after[name])) == sorted(map(repr, nameless))
        else:
            assert after[name] == others, name
    [tags] = (home / "out" / "tags").glob("*.csv")
    assert oct(tags.stat().st_mode & 0o777) == "0o600"
    for path in ("contacts/contacts.csv", tags.relative_to(home).as_posix()):
        lines = [line for line in files[path].splitlines(keepends=True) if customer.encode() not in line]
        assert (home / path).read_bytes() == b"".join(lines)


def ddl(home: Path) -> list[Any]:
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        return connection.execute("select sql from duckdb_tables() order by all").fetchall()


def test_the_tables_keep_their_columns_and_what_must_not_be_null(home: Path, customer: str) -> None:
    before = ddl(home)
    assert any("NOT NULL" in sql for (sql,) in before)
    forget_in(home, customer)
    assert ddl(home) == before


def former(rows: dict[str, list[Any]], newest: date) -> dict[str, list[Any]]:
    """The rows of the weekly tables' former weeks."""
    names = ("customer_rfm", "customer_segments", "silent_churners", "new_silent_churners")
    return {name: [row for row in rows[name] if row[0] != newest] for name in names}


def made_from(rows: dict[str, list[Any]]) -> list[tuple[Any, ...]]:
    """Which weeks of which table are made, from which state of the orders."""
    return sorted((table, week, version) for table, week, _, version in rows["snapshots"])


def test_a_later_run_neither_brings_them_back_nor_makes_history_again(home: Path, customer: str) -> None:
    newest = date(2026, 6, 29)
    forget_in(home, customer)
    before = warehouse_rows(home)
    finish(rfm_run(home))
    after = warehouse_rows(home)
    assert customer not in texts(after)
    # the newest week is made with every run
    assert former(after, newest) == former(before, newest)
    assert after["customer_activity"] == before["customer_activity"]
    assert made_from(after) == made_from(before)
    # as many were drawn as were drawn
    assert [row[:5] for row in after["recall_outcomes"]] == [row[:5] for row in before["recall_outcomes"]]
    assert after.get("input_changes") == before.get("input_changes")
    assert customer.encode() not in b"".join(contents(home, "orders", "suppression").values())
    # no sink is handed a name that it can't know
    assert not any(b"forgotten:" in content for content in tag_files(home).values())


def test_they_stay_out_when_their_orders_are_loaded_again(home: Path, customer: str) -> None:
    forget_in(home, customer)
    (home / "warehouse.duckdb").unlink()
    finish(rfm_run(home))
    after = warehouse_rows(home)
    assert customer not in texts(after)
    orders = "".join(path.read_text("utf-8-sig") for path in (home / "orders").glob("*.csv"))
    assert customer in orders
    salt, digests = Ledger(load_shop(home).ledger_url).tombstones()
    assert {tombstone_digest(salt, customer), tombstone_digest(salt, SOMEBODY_ELSE)} == digests
    assert customer.encode() not in b"".join(contents(home, "orders", "suppression").values())


def test_dagsters_storage_holds_nobody(ran: Path) -> None:
    """So there is nothing to forget there."""
    storage = b"".join(path.read_bytes() for path in (ran / ".dagster").rglob("*") if path.is_file())
    assert b"recall_list" in storage
    contacts = pl.read_csv(ran / "contacts" / "contacts.csv", infer_schema=False)
    columns = ("customer_id", "phone", "email", "wecom_external_userid")
    known = [value for name in columns for value in contacts[name].drop_nulls()]
    assert not [value for value in known if value.encode() in storage]


def test_forgetting_again_changes_nothing(home: Path, customer: str) -> None:
    forget_in(home, customer)
    databases = ("warehouse.duckdb", "ledger.sqlite")
    before = contents(home, *databases), warehouse_rows(home), ledger_rows(home)
    again = forget_in(home, customer)
    assert (contents(home, *databases), warehouse_rows(home), ledger_rows(home)) == before
    assert not again.warehouse.is_known
    # still to be said: the first call may have been killed before it could
    assert again.ledger.tags_left == {"local": 1}


def rfm_forget(home: Path, customer_id: str) -> "subprocess.Popen[bytes]":
    command = "from rfm_pipeline.cli.app import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", command, "forget", customer_id, "--home", str(home), "--yes"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(ran: Path, tmp_path: Path, customer: str) -> None:
    calm = tmp_path / "calm"
    shutil.copytree(ran, calm)
    begun = time.monotonic()
    finish(rfm_forget(calm, customer))
    whole = time.monotonic() - begun

    luck = random.Random(20260629)
    killed = 0
    for kill in range(KILLS):
        shaken = tmp_path / f"shaken{kill}"
        shutil.copytree(ran, shaken)
        process = rfm_forget(shaken, customer)
        try:
            # the first half of it is Python's own start
            process.wait(timeout=whole * luck.uniform(0.5, 1.0))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            killed += process.returncode == -signal.SIGKILL
        finish(rfm_forget(shaken, customer))
        assert warehouse_rows(shaken) == warehouse_rows(calm)
        assert ledger_rows_but_times(shaken) == ledger_rows_but_times(calm)
        assert tag_files(shaken) == tag_files(calm)
        kept = contents(calm, "warehouse.duckdb", "ledger.sqlite", ".dagster")
        assert contents(shaken, "warehouse.duckdb", "ledger.sqlite", ".dagster") == kept
        assert not list(shaken.rglob(".staging/*"))
        shutil.rmtree(shaken)
    assert killed >= KILLS // 2


def ledger_rows_but_times(home: Path) -> dict[str, list[Any]]:
    """The ledger's rows; of a tombstone only whose it is."""
    return ledger_rows(home) | {"tombstones": sorted(Ledger(load_shop(home).ledger_url).tombstones()[1])}


STEPS = ["ledger", "clear_outputs", "rewrite_without", "clear_contacts"]


@pytest.mark.parametrize("step", STEPS)
def test_what_is_cut_off_before_any_step_is_ended_by_calling_it_again(
    home: Path, ran: Path, tmp_path: Path, customer: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = tmp_path / "calm"
    shutil.copytree(ran, calm)
    forget_in(calm, customer)

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    where = {
        "ledger": "rfm_pipeline.ledger.Ledger.forget",
        "rewrite_without": "rfm_pipeline.privacy.tables.rewrite_without",
    }.get(step, f"rfm_pipeline.privacy.files.{step}")
    with monkeypatch.context() as patch:
        patch.setattr(where, cut_off)
        with pytest.raises(KeyboardInterrupt):
            forget_in(home, customer)
    salt, digests = Ledger(load_shop(home).ledger_url).tombstones()
    assert (tombstone_digest(salt, customer) in digests) == (step != "ledger")

    forget_in(home, customer)
    assert warehouse_rows(home) == warehouse_rows(calm)
    assert ledger_rows_but_times(home) == ledger_rows_but_times(calm)
    kept = contents(calm, "warehouse.duckdb", "ledger.sqlite")
    assert contents(home, "warehouse.duckdb", "ledger.sqlite") == kept


# --- the command ------------------------------------------------------------------------------------


def test_the_command_says_in_counts_what_goes_and_tells_nothing_of_the_person(
    home: Path, customer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    contacts = (home / "contacts" / "contacts.csv").read_text("utf-8").splitlines()
    own = next(line for line in contacts if customer in line).split(",")[1:]
    assert rfm("forget", f" {customer} ", "--home", home, "--yes") == 0
    printed = capsys.readouterr().out
    for words in (
        "order_lines become a guest's",
        "1 row of recall_list go",
        "1 row of contacts/contacts.csv go",
        "1 tag may still be set in the sink 'local': take them off by hand",
        "orders/ is the shop's own and was not touched",
        "suppression/ was not touched",
        f"customer {customer} is forgotten",
    ):
        assert words in printed
    assert not [value for value in own if len(value) > 5 and value in printed]


def test_without_yes_it_asks_and_only_a_yes_changes_anything(
    home: Path, customer: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(words: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(words))
        return rfm("forget", customer, "--home", home), capsys.readouterr().out

    before = contents(home)
    for words in ("n\n", ""):
        code, asked = answer(words)
        assert code == 1
        assert "1 row of recall_list go" in asked
        assert f"Forget customer {customer}" in asked
        assert contents(home) == before
    assert answer("y\n")[0] == 0
    assert customer not in texts(warehouse_rows(home))


@pytest.mark.parametrize("arguments", [[], ["--yes"]])
def test_whom_nobody_knows_is_an_error_and_nothing_is_written(
    home: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(home)
    assert rfm("forget", "M9999999", "--home", home, *arguments) == 1
    assert "nothing was changed" in capsys.readouterr().err
    assert contents(home) == before


def test_in_a_home_that_was_never_run_nothing_is_made(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "new")
    before = contents(shop.home)
    with pytest.raises(RfmError, match="nothing was changed"):
        forget_in(shop.home, "c1")
    assert contents(shop.home) == before


def test_while_a_run_holds_the_warehouse_it_refuses_and_writes_nothing(home: Path, customer: str) -> None:
    hold = (
        "import duckdb, sys\n"
        "connection = duckdb.connect(sys.argv[1])\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(home / "warehouse.duckdb")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as run:
        assert run.stdout is not None
        assert run.stdin is not None
        assert run.stdout.readline() == b"held\n"
        before = contents(home)
        with pytest.raises(WarehouseBusyError, match=f"in use by process {run.pid}"):
            forget_in(home, customer)
        assert contents(home) == before
        run.stdin.close()
    forget_in(home, customer)


# --- single places ----------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop with two customers whose ids begin alike, one of them in several places."""
    shop = make_shop(tmp_path / "shop", warehouse={"lock_wait_seconds": 5})
    write_export(
        shop,
        "orders.csv",
        "o1,c1,2024-01-01 10:00,S,1,10",
        "o2,c10,2024-01-02 10:00,S,1,10",
        "o3,,2024-01-03 10:00,S,1,10",
        "o4,c1,never,S,1,10",
        "o5, c1 ,never,S,1,10",
        "o6,c10,never,S,1,10",
        "o7,xc1,never,S,1,10",
        "o8,x,never,138 0000-0001,1,10",
        "o9,x,never,Anna@Example.com,1,10",
        "o10,x,never,13800000010,1,10",
    )
    shop.contacts_dir.mkdir()
    (shop.contacts_dir / "contacts.csv").write_text(
        "customer_id,phone,email\nc1,'13800000001,anna@example.com\nc10,13800000010,bea@example.com\n",
        "utf-8",
    )
    ingest(small_warehouse(shop), shop)
    return shop


def test_rejected_rows_that_name_the_person_lose_their_text(shop: Shop) -> None:
    traces = forget_in(shop.home, "c1")
    rows = small_warehouse(shop).read("select row_no, row_text from rejected_rows order by row_no")
    blanked = rows.filter(row_text=BLANKED)["row_no"].to_list()
    # by id, by phone, by e-mail; not who is named alike
    assert blanked == [4, 5, 8, 9]
    assert traces.warehouse.rejected == 4
    assert rows.height == 7


def test_contacts_in_the_warehouse_go_and_a_guests_order_loses_the_persons_address(shop: Shop) -> None:
    with small_warehouse(shop).transaction() as session:
        for statement in (
            "create or replace table order_contacts "
            "(customer_id varchar, phone varchar, email varchar, name varchar)",
            "insert into order_contacts values ('c1', '13800000001', null, 'Anna'), ('c10', '1', '2', 'Bea')",
            "create table orders_as_landed (order_id varchar not null, customer_id varchar, "
            "receiver_phone varchar, contact_email varchar, name varchar not null, product_name varchar)",
            "insert into orders_as_landed values ('o1', 'c1', '13800000009', 'a@example.com', 'Anna', 'cup')",
            "insert into orders_as_landed values ('o2', 'c10', '13800000001', null, 'Bea', 'cup')",
            "insert into orders_as_landed values ('o3', null, '+86 138 0000 0009', null, 'Anna', 'cup')",
            "insert into orders_as_landed values ('o4', null, null, ' ANNA@example.com', 'Anna', 'cup')",
            "insert into orders_as_landed values ('o5', null, '13800000002', 'x@example.com', 'Carl', 'cup')",
        ):
            session.execute(statement)
    traces = forget_in(shop.home, "c1")
    warehouse = small_warehouse(shop)
    assert traces.warehouse.derived["order_contacts"] == 1
    assert warehouse.read("select customer_id from order_contacts").rows() == [("c10",)]
    assert warehouse.read("select * from orders_as_landed order by order_id").rows() == [
        ("o1", None, None, None, "", "cup"),
        ("o2", "c10", "13800000001", None, "Bea", "cup"),
        ("o3", None, None, None, "", "cup"),
        ("o4", None, None, None, "", "cup"),
        ("o5", None, "13800000002", "x@example.com", "Carl", "cup"),
    ]


def test_a_customer_known_from_contacts_only_is_known(shop: Shop) -> None:
    shop.warehouse_path.unlink()
    traces = forget_in(shop.home, "c1")
    assert traces.contacts.rows == {shop.contacts_dir / "contacts.csv": 1}
    assert not shop.warehouse_path.exists()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_a_contact_file_keeps_its_encoding_separator_line_ends_and_rights(shop: Shop, encoding: str) -> None:
    path = shop.contacts_dir / "crm.csv"
    header, mine, other, nameless, strange = (
        "客户编号;备注;手机\r\n",
        " c1 ;老客户;1\r\n",
        'c10;"说""好""; 的";2\r\n',
        ";;+86 138 0000 0001\r\n",
        ";;13800000002\r\n",
    )
    path.write_bytes("".join((header, mine, other, nameless, strange)).encode(encoding))
    path.chmod(0o640)
    forget_in(shop.home, "c1")
    assert path.read_bytes() == "".join((header, other, strange)).encode(encoding)
    assert oct(path.stat().st_mode & 0o777) == "0o640"


def test_a_contact_file_behind_a_link_is_rewritten_where_it_lies(shop: Shop, tmp_path: Path) -> None:
    real = tmp_path / "crm.csv"
    real.write_text("customer_id\nc1\nc2\n")
    (shop.contacts_dir / "crm.csv").symlink_to(real)
    forget_in(shop.home, "c1")
    assert (shop.contacts_dir / "crm.csv").is_symlink()
    assert real.read_text() == "customer_id\nc2\n"


def workbook(path: Path, *rows: tuple[str, ...]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
    return path


def test_a_workbook_of_contacts_is_left_for_somebody_to_see_to(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    path = workbook(shop.contacts_dir / "crm.xlsx", ("customer_id",), ("c1",), ("c10",))
    before = path.read_bytes()
    assert rfm("forget", "c1", "--home", shop.home, "--yes") == 1
    printed = capsys.readouterr()
    assert "contacts/crm.xlsx holds 1 row of the customer: remove them by hand" in printed.err
    assert "is forgotten" not in printed.out
    assert path.read_bytes() == before
    # all the rest is done
    assert "c1" not in {row[1] for row in warehouse_rows(shop.home)["customer_activity"]}
    workbook(shop.contacts_dir / "crm.xlsx", ("customer_id",), ("c10",))
    assert rfm("forget", "c1", "--home", shop.home, "--yes") == 0


@pytest.mark.parametrize(("engine", "is_said"), [("duckdb", True), ("spark", False)])
def test_tables_that_spark_left_elsewhere_are_named_when_it_is_no_longer_in_use(
    shop: Shop, engine: str, is_said: bool
) -> None:
    traces = forget_in(shop.home, "c1")
    section = shop.warehouse.model_copy(
        update={"engine": engine, "spark": SparkSection(tables="s3a://bucket/rfm")}
    )
    lines = closing_words(shop.model_copy(update={"warehouse": section}), traces)
    assert any("s3a://bucket/rfm was not touched" in line for line in lines) is is_said


def test_a_contact_file_that_cannot_be_read_is_named(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    (shop.contacts_dir / "crm.pdf").write_bytes(b"c1")
    assert rfm("forget", "c1", "--home", shop.home, "--yes") == 1
    assert "contacts/crm.pdf can't be read" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_a_file_of_outcomes_loses_the_persons_rows_and_keeps_the_rest(shop: Shop, encoding: str) -> None:
    shop.outreach_dir.mkdir()
    path = shop.outreach_dir / "2024-01-01_sms.csv"
    header, *rows = (
        "客户号,手机号,结果\n",
        "c1,,已触达\n",
        "c10,13800000010,拒绝联系\n",
        ",13800000001,已触达\n",
        ",13800000002,已触达\n",
    )
    path.write_bytes("".join((header, *rows)).encode(encoding))
    assert forget_in(shop.home, "c1").contacts.rows[path] == 2
    assert path.read_bytes() == "".join((header, rows[1], rows[3])).encode(encoding)


def test_a_work_list_that_the_team_wrote_into_is_left_for_somebody_to_see_to(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be the only place where others' refusals stand."""
    rows = (("客户号", "触达结果（填）"), ("c1", "已触达"), ("c10", "拒绝联系"))
    written_into = workbook(shop.worklists_dir / "2024-01-01.xlsx", *rows)
    handed_in = workbook(shop.outreach_dir / "2024-01-08.xlsx", *rows)
    untouched = workbook(shop.worklists_dir / "2024-01-15.xlsx", rows[0], ("c1", ""))
    digests_file(untouched).write_bytes(with_digest(untouched, untouched.read_bytes()))
    before = written_into.read_bytes(), handed_in.read_bytes()
    assert rfm("forget", "c1", "--home", shop.home, "--yes") == 1
    printed = capsys.readouterr().err
    assert "out/worklists/2024-01-01.xlsx holds 1 row of the customer: remove them by hand" in printed
    assert "outreach/2024-01-08.xlsx holds 1 row of the customer" in printed
    assert (written_into.read_bytes(), handed_in.read_bytes()) == before
    # a run makes it again
    assert not untouched.exists()
    for path in (written_into, handed_in):
        workbook(path, rows[0], rows[2])
    assert rfm("forget", "c1", "--home", shop.home, "--yes") == 0


def test_what_the_log_says_of_the_person_goes(shop: Shop) -> None:
    with small_warehouse(shop).transaction() as session:
        for table in (OUTREACH_LOG, OUTREACH_FINDINGS):
            session.create(table)
        session.execute(
            "insert into outreach_log select '2024-01-01', unnest(['c1', 'c10']), 'recall', 'sms', "
            "'reached', null, 'outreach/calls.csv'"
        )
        session.execute(
            "insert into outreach_findings select 'outreach/calls.csv', '', 1, 'week', 'holdout', 'x', "
            "'2024-01-01', unnest(['c1', 'c10', null])"
        )
    forget_in(shop.home, "c1")
    warehouse = small_warehouse(shop)
    assert warehouse.read("select customer_id from outreach_log").rows() == [("c10",)]
    left = warehouse.read("select customer_id from outreach_findings order by all").rows()
    assert left == [("c10",), (None,)]


def test_outputs_of_other_kinds_that_name_the_person_go_as_a_whole(shop: Shop) -> None:
    out = shop.out_dir
    out.mkdir()
    mine = [
        workbook(out / "lists" / "week.xlsx", ("customer_id",), ("c1",)),
        workbook(out / "lists" / "phones.xlsx", ("phone",), ("138 0000 0001",)),
        out / "report.html",
        out / "mails.txt",
        out / "phones.csv",
        out / "end.md",
    ]
    (out / "report.html").write_text("<td>c1</td>")
    (out / "mails.txt").write_text("to: Anna@example.com")
    (out / "phones.csv").write_text("number\n+86 138-0000-0001\n")
    (out / "end.md").write_text("he is c1.")
    kept = [
        workbook(out / "lists" / "others.xlsx", ("customer_id",), ("c10",)),
        out / "others.html",
        out / "picture.png",
    ]
    (out / "others.html").write_text("<td>c10</td><td>xc1</td><td>a-c1</td><td>c1-b</td><td>13800000010</td>")
    (out / "picture.png").write_bytes(b"\x89PNG\0c1\0")
    traces = forget_in(shop.home, "c1")
    assert traces.outputs.whole == sorted(mine)
    assert [path for path in mine if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []
    assert zipfile.is_zipfile(kept[0])


def test_a_list_of_rejected_rows_loses_those_that_name_the_person(shop: Shop) -> None:
    path = shop.out_dir / "ingest" / "rejected_rows.csv"
    path.parent.mkdir(parents=True)
    rows = [
        "o4,c1,never",
        "o6,c10,never",
        "o8,x,138 0000-0001",
        "o9,x,Anna@Example.com",
        "o10,xc1,13800000010",
    ]
    lines = ["file_name,row_no,row_text", *(f'orders.csv,{n},"{row}"' for n, row in enumerate(rows, 1)), ""]
    path.write_text("\n".join(lines), "utf-8-sig")
    path.chmod(0o600)
    assert forget_in(shop.home, "c1").outputs.rows == {path: 3}
    assert path.read_text("utf-8-sig") == "\n".join((lines[0], lines[2], lines[5], ""))
    assert oct(path.stat().st_mode & 0o777) == "0o600"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("c1", True),
        ("(c1)", True),
        ("it is c1.", True),
        ("c1.\n", True),
        ("c1, c2", True),
        ("c1.5", False),
        ("c10", False),
        ("xc1", False),
        ("中c1", False),
        ("2024-c1", False),
        ("c1-2", False),
        ("1:c1", False),
        ("+86 138-0000-0001", True),
        ("13800000002", False),
        ("<ANNA@example.com>", True),
        ("anna@example.org", False),
        ("", False),
    ],
)
def test_a_text_names_a_person_or_not_one_by_one_and_by_the_column(text: str, named: bool) -> None:
    person = Person("c1", ("13800000001",), ("anna@example.com",))
    assert person.is_in(text) == named
    assert person.is_in_any(pl.Series([text, None, text])).to_list() == [named, False, named]


@pytest.mark.parametrize("name", ["c(1", "c.1", "张三", "a'b", 'a"b', "$1", "C:\\1", "a b"])
def test_an_id_may_hold_any_sign(tmp_path: Path, name: str) -> None:
    shop = make_shop(tmp_path / "shop")
    quoted = '"' + name.replace('"', '""') + '"'
    write_export(
        shop,
        "orders.csv",
        f"o1,{quoted},2024-01-01 10:00,S,1,10",
        f"o2,{quoted},never,S,1,10",
        "o3,cx1,2024-01-01 10:00,S,1,10",
        "o4,cx1,never,S,1,10",
    )
    ingest(small_warehouse(shop), shop)
    traces = forget_in(shop.home, name)
    assert traces.warehouse.order_lines == {"raw_orders": 1, "order_lines": 1}
    rows = warehouse_rows(shop.home)
    assert name not in texts(
        {"order_lines": rows["order_lines"], "customer_activity": rows["customer_activity"]}
    )
    assert {row[0] for row in rows["customer_activity"]} == {"cx1"}
    assert [row[1] for row in rows["rejected_rows"] if BLANKED in row] == [2]

"""From a file to PostgreSQL: every row, or none; never over a ledger that is in use."""

from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from rfm_pipeline.cli.app import app
from rfm_pipeline.errors import LedgerError
from rfm_pipeline.ledger import DONE, FAILED, Ledger, copy_ledger
from rfm_pipeline.ledger.tables import METADATA
from rfm_pipeline_tests.helpers import make_shop
from rfm_pipeline_tests.ingest.databases.servers import Server
from rfm_pipeline_tests.ledger.ledger_rows import (
    CUSTOMER,
    NEXT_WEEK,
    TAG,
    WEEK,
    actions,
    assignments,
    calls,
    fresh_schema,
    outcome,
    seal,
)

VARIABLE = "RFM_LEDGER_TEST_URL"


def rows(ledger: Ledger) -> dict[str, set[tuple[object, ...]]]:
    with ledger.reading() as connection:
        return {
            table.name: {tuple(row) for row in connection.execute(sa.select(table))}
            for table in METADATA.sorted_tables
        }


def fill(ledger: Ledger) -> None:
    """Something in every table, the awkward included."""
    words = "【茶铺】你好\n\t'\"\\ 👋"
    listed = assignments(*(f"c{number}" for number in range(2000)), sms=words, silent_since=datetime(1, 1, 1))
    ledger.seal(WEEK, listed, actions("c1", "c2", CUSTOMER), "local")
    seal(ledger, CUSTOMER, week=NEXT_WEEK)
    ledger.record(WEEK, [("c1", TAG, DONE, None), ("c2", TAG, FAILED, "40096")])
    ledger.note_landings([("h1", "订单.csv"), ("h2", "b.csv")])
    ledger.request_calls(WEEK, calls("c1", "c2"))
    ledger.finish_calls(WEEK, [outcome("c1", DONE)])
    ledger.claim_message("weekly", str(WEEK))
    ledger.confirm("wecom")
    ledger.forget(CUSTOMER)
    assert all(rows(ledger).values())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_shop(tmp_path)
    return tmp_path


def copy_by_command(home: Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["ledger", "copy", "--to-env", VARIABLE, "--home", str(home)])
    return done.exit_code, done.output if done.exception is None else str(done.exception)


def test_every_row_is_copied_and_the_next_run_goes_on_there(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Ledger(make_shop(home).ledger_url)
    fill(source)
    url = fresh_schema(server)
    monkeypatch.setenv(VARIABLE, url)
    code, printed = copy_by_command(home)
    assert code == 0
    assert "assignments: 2001 rows" in printed
    assert f"write `ledger: {{url_env: {VARIABLE}}}` into" in printed
    target = Ledger(make_shop(home, ledger={"url_env": VARIABLE}).ledger_url)
    assert rows(target) == rows(source)
    assert_frame_equal(target.assignments(), source.assignments())
    assert not seal(target, "late")
    assert not target.claim_message("weekly", str(WEEK))
    target.note_landings([("h3", "c.csv")])
    assert target.landing_positions()["h3"] == 3


def test_a_target_in_use_is_refused_and_left_alone(url: str, tmp_path: Path) -> None:
    source, target = Ledger(f"sqlite:///{tmp_path / 'source.sqlite'}"), Ledger(url)
    fill(source)
    target.claim_message("weekly", "w")
    before = rows(target)
    with pytest.raises(LedgerError, match=r"holds a ledger already \(rows in messages\)"):
        copy_ledger(source, target)
    assert rows(target) == before


def test_a_copy_that_reads_back_differently_is_none(url: str, tmp_path: Path) -> None:
    """Here a trigger writes something else; a server may have an encoding that loses characters."""
    source, target = Ledger(f"sqlite:///{tmp_path / 'source.sqlite'}"), Ledger(url)
    fill(source)
    target.sealed_weeks()
    with target.begin() as connection:
        for statement in _SPOIL[target.is_sqlite]:
            connection.exec_driver_sql(statement)
    with pytest.raises(LedgerError, match="landings reads back differently"):
        copy_ledger(source, target)
    assert not any(rows(target).values())


_SPOIL = {
    True: [
        "create trigger spoil after insert on landings begin "
        "update landings set file_name = '?' where position = new.position; end"
    ],
    False: [
        "create function spoil() returns trigger language plpgsql as "
        "$$ begin new.file_name := '?'; return new; end $$",
        "create trigger spoil before insert on landings for each row execute function spoil()",
    ],
}


def test_no_ledger_is_no_copy(home: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, fresh_schema(server))
    code, printed = copy_by_command(home)
    assert code != 0
    assert "there is no ledger to copy" in printed
    assert not (home / "ledger.sqlite").exists()

"""Versions of the ledger: the scripts make what ``tables`` says, and no older ledger loses anything."""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from rfm_pipeline.errors import LedgerError
from rfm_pipeline.ledger import DONE, PENDING, Ledger, migrations
from rfm_pipeline.ledger.tables import METADATA
from rfm_pipeline_tests.ledger.ledger_rows import (
    NEXT_WEEK,
    WEEK,
    calls,
    in_step,
    killed_in_round,
    outcome,
    seal,
    statuses,
)

OLD = Path(__file__).parent / "before_versions"
FIRST_TABLES = {"campaigns", "landings", "assignments", "tag_actions", "tombstones", "ledger_settings"}
ROWS_BEFORE = """
insert into campaigns values ('2024-03-04', 1, '2024-03-11 06:00:00.000001');
insert into landings values (1, 'hash', 'orders.csv');
insert into assignments (week, customer_id, silent_since, churn_class, arm, priority, recency_days, frequency,
    monetary) values ('2024-03-04', 'a', '2023-11-11 23:59:59.000000', 'A', 'recall', 1, 120, 1, '12.3400');
insert into tag_actions values ('2024-03-04', 'a', '静默召回', 'add', 'A', 'listed', 'done', 'local', null,
    '2024-03-11 06:00:00.000001', null);
insert into tombstones values ('digest', '2024-03-11 06:00:00.000001');
insert into ledger_settings values ('tombstone_salt', 'salt');
"""


def execute(url: str, script: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in script.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)


def make_old(url: str, *, but: str = "") -> None:
    """A ledger as a program before versions left it, with a row in each table."""
    made = (OLD / f"{sa.make_url(url).get_backend_name()}.sql").read_text("utf-8")
    execute(url, ";\n".join(part for part in made.split(";\n") if not but or f"EXISTS {but} " not in part))
    rows = ROWS_BEFORE.strip().split(";\n")
    execute(url, ";\n".join(row for row in rows if not but or f"into {but} " not in row).rstrip(";\n"))


def tables(url: str) -> set[str]:
    return set(sa.inspect(sa.create_engine(url, poolclass=sa.NullPool)).get_table_names())


def version(url: str) -> str | None:
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        return migrations.version_of(connection)


def differences(url: str) -> list[Any]:
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        options = {"version_table": migrations.VERSION_TABLE, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))


# --- new ledgers ----------------------------------------------------------------------------------


def test_the_scripts_make_the_tables_that_the_program_uses(url: str) -> None:
    Ledger(url).sealed_weeks()
    assert differences(url) == []
    assert tables(url) == {*METADATA.tables, migrations.VERSION_TABLE}
    assert version(url) == migrations.NEWEST


def test_a_difference_would_be_seen(url: str) -> None:
    Ledger(url).sealed_weeks()
    execute(url, "drop index ix_tag_calls_customer_id")
    assert [found[0] for found in differences(url)] == ["add_index"]


def test_the_newest_version_is_the_last_script() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [migrations.NEWEST]
    numbers = [script.revision for script in scripts.walk_revisions()]
    # compared as text, to tell an older version from a newer one
    assert numbers == sorted(numbers, reverse=True)
    assert {len(number) for number in numbers} == {4}


def test_version_1_are_the_tables_from_before_versions(url: str) -> None:
    """What a script did when it was shipped stays what it does."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    make_old(url)
    before = _described(url)
    for table in reversed(METADATA.sorted_tables):
        execute(url, f"drop table if exists {table.name}")
    from alembic import command

    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    assert _described(url) == before
    assert set(before) == FIRST_TABLES


def _described(url: str) -> dict[str, Any]:
    inspected = sa.inspect(sa.create_engine(url, poolclass=sa.NullPool))
    return {
        name: (
            [
                (column["name"], str(column["type"]), column["nullable"])
                for column in inspected.get_columns(name)
            ],
            inspected.get_pk_constraint(name)["constrained_columns"],
            sorted(str(key["column_names"]) for key in inspected.get_unique_constraints(name)),
            [(key["constrained_columns"], key["referred_table"]) for key in inspected.get_foreign_keys(name)],
        )
        for name in FIRST_TABLES
        if inspected.has_table(name)
    }


def test_a_file_that_was_taken_away_is_made_again(file_ledger: Ledger, tmp_path: Path) -> None:
    for _ in range(3):
        assert seal(file_ledger, "a")
        (tmp_path / "ledger.sqlite").unlink()
    assert file_ledger.sealed_weeks() == set()


def test_a_ledger_of_today_is_used_without_alembic(url: str) -> None:
    """It takes a while to import."""
    seal(Ledger(url), "a")
    code = (
        "import sys; from rfm_pipeline.ledger import Ledger; ledger = Ledger(sys.argv[1]); "
        "assert len(ledger.sealed_weeks()) == 1; ledger.claim_message('a', 'b'); "
        "assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, url], check=True)


# --- older ledgers --------------------------------------------------------------------------------


def test_a_ledger_from_before_versions_loses_nothing(url: str) -> None:
    make_old(url)
    ledger = Ledger(url)
    assert ledger.sealed_at(WEEK) == datetime(2024, 3, 11, 6, 0, 0, 1)
    assert ledger.landing_positions() == {"hash": 1}
    assert ledger.assignments().select("customer_id", "silent_since", "monetary").rows() == [
        ("a", datetime(2023, 11, 11, 23, 59, 59), "12.3400")
    ]
    assert statuses(ledger) == {"a": (DONE, None)}
    assert ledger.tombstones() == ("salt", {"digest"})
    assert differences(url) == []
    assert version(url) == migrations.NEWEST


def test_a_ledger_from_before_versions_is_used_like_any_other(url: str) -> None:
    make_old(url)
    ledger = Ledger(url)
    assert not seal(ledger, "b")
    assert seal(ledger, "b", week=NEXT_WEEK)
    ledger.request_calls(WEEK, calls("a"))
    ledger.finish_calls(WEEK, [outcome("a", DONE)])
    assert ledger.claim_message("weekly", str(WEEK))
    ledger.forget("a")
    assert ledger.holdings("a").forgotten
    assert ledger.tag_calls().is_empty()


@pytest.mark.parametrize("missing", ["landings", "tombstones", "ledger_settings", "tag_actions"])
def test_a_table_that_came_later_is_made_in_a_very_old_ledger(url: str, missing: str) -> None:
    make_old(url, but=missing)
    assert missing not in tables(url)
    assert Ledger(url).assignments()["customer_id"].to_list() == ["a"]
    assert differences(url) == []


def test_a_ledger_of_a_program_between_the_versions_loses_nothing(url: str) -> None:
    """Its table of calls was made without the index, and no version was kept."""
    make_old(url)
    ledger = Ledger(url)
    ledger.request_calls(WEEK, calls("a"))
    ledger.claim_message("weekly", "w")
    execute(url, f"drop table {migrations.VERSION_TABLE};\ndrop index ix_tag_calls_customer_id")
    again = Ledger(url)
    assert again.tag_calls()["status"].to_list() == [PENDING]
    assert again.messages()["name"].to_list() == ["w"]
    assert differences(url) == []


# --- ledgers that are none of ours ----------------------------------------------------------------


def test_a_ledger_of_a_newer_program_is_refused_and_left_alone(url: str) -> None:
    seal(Ledger(url), "a")
    execute(url, f"update {migrations.VERSION_TABLE} set version_num = '0003'")
    ledger = Ledger(url)
    for use in (ledger.sealed_weeks, lambda: seal(ledger, "b", week=NEXT_WEEK), lambda: ledger.forget("a")):
        with pytest.raises(LedgerError, match=r"of version 0003, and this program knows versions up to 0002"):
            use()
    execute(url, f"update {migrations.VERSION_TABLE} set version_num = '{migrations.NEWEST}'")
    assert Ledger(url).assignments().select("week", "customer_id").rows() == [(WEEK, "a")]


def test_another_programs_table_of_the_same_name_is_left_alone(url: str) -> None:
    execute(url, "create table messages (id integer primary key, text varchar)")
    before = tables(url)
    with pytest.raises(LedgerError, match=r"there is a table 'messages' that isn't the ledger's"):
        seal(Ledger(url), "a")
    assert tables(url) == before


def test_another_programs_versions_are_not_the_ledgers(url: str) -> None:
    """Dagster keeps its own in PostgreSQL."""
    execute(
        url, "create table alembic_version (version_num varchar);\ninsert into alembic_version values ('f')"
    )
    assert seal(Ledger(url), "a")
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        assert connection.exec_driver_sql("select version_num from alembic_version").scalar() == "f"


# --- two at once, and kill -9 ---------------------------------------------------------------------


def _use_in_step(url: str, name: str, barrier: Any, answers: Any) -> None:
    barrier.wait()
    answers.put(Ledger(url).assignments()["customer_id"].to_list())


@pytest.mark.parametrize("is_old", [True, False], ids=["old", "new"])
def test_four_processes_that_come_first_make_one_ledger(url: str, is_old: bool) -> None:
    if is_old:
        make_old(url)
    answers = in_step(_use_in_step, url, ("a", "b", "c", "d"), 4)
    assert answers == [["a"] if is_old else []] * 4
    assert differences(url) == []
    assert version(url) == migrations.NEWEST


def _upgrade_slowly(url: str, done: Callable[[], None]) -> None:
    """Each statement is a round."""
    ledger = Ledger(url)

    @sa.event.listens_for(ledger._engine, "after_cursor_execute")
    def slowly(*_: Any) -> None:
        done()
        time.sleep(0.01)

    done()
    ledger.sealed_weeks()
    while True:  # statements that nobody waits for any more
        done()
        time.sleep(0.01)


def test_killed_in_the_middle_an_upgrade_leaves_the_old_ledger_or_the_new(url: str) -> None:
    """Ten times, each eight statements later than the one before; in the end it is upgraded all the same."""
    old, new = FIRST_TABLES, {*METADATA.tables, migrations.VERSION_TABLE}
    make_old(url)
    seen = []
    for number in range(10):
        killed_in_round(_upgrade_slowly, url, number * 8)
        found = tables(url)
        assert found in (old, new)
        assert version(url) == (migrations.NEWEST if found == new else None)
        seen.append(found == new)
    # a kill came early, at least
    assert seen[0] is False
    assert Ledger(url).assignments()["week"].to_list() == [date(2024, 3, 4)]
    assert differences(url) == []

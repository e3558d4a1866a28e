"""A run that is killed at any moment and started again ends where an undisturbed run ends.

The quick tier kills at five named moments, the slow one at random ones.
"""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rfm_pipeline_tests.shared_homes import SharedHomes, copy_home

KILLS = 6
# where a run is killed, in the order in which it comes by: the call, whether before or after it, and
# at which call of its kind
MOMENTS = (
    ("rfm_pipeline.warehouse.duckdb:Warehouse._after_commit", "after", 1),
    # written, but not committed yet
    ("rfm_pipeline.warehouse.duckdb:Session.replace_weeks", "after", 1),
    ("rfm_pipeline.warehouse.duckdb:Warehouse._after_commit", "after", 6),
    # the list is sealed, but no tag is written
    ("rfm_pipeline.ledger:Ledger.seal", "after", 1),
    # the tags are written, but that is not noted
    ("rfm_pipeline.ledger:Ledger.record", "before", 2),
)
KILLED = """
import importlib, itertools, os, signal, sys
from rfm_pipeline.cli.app import main

home, call, when, number = sys.argv[1:]
module, _, path = call.partition(":")
owner = getattr(importlib.import_module(module), path.split(".")[0])
name = path.split(".")[1]
real, calls = getattr(owner, name), itertools.count(1)

def killed(*args, **kwargs):
    is_last = next(calls) == int(number)
    if is_last and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*args, **kwargs)
    if is_last:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, name, killed)
main(["run", "--home", home])
"""
TIMESTAMPS = {"sealed_at", "requested_at", "finished_at"}


def rfm_run(home: Path) -> "subprocess.Popen[bytes]":
    """Starts `rfm run` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", "from rfm_pipeline.cli.app import main; main()", "run", "--home", str(home)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "DO_NOT_TRACK": "1"},
    )


def finish(process: "subprocess.Popen[bytes]") -> bytes:
    """Waits for a run that must succeed; returns the lines in which it said how far it was."""
    _, output = process.communicate(timeout=300)
    assert process.returncode == 0, output.decode()
    return output


def kill_after(process: "subprocess.Popen[bytes]", lines: int, seconds: float) -> bool:
    """Kills a run a moment after it printed so many lines of progress; False if it ended before."""
    assert process.stderr is not None
    for _ in range(lines):
        if not process.stderr.readline():
            break
    time.sleep(seconds)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def warehouse_rows(home: Path) -> dict[str, list[Any]]:
    """Every table of the warehouse, its own bookkeeping included, in one order."""
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        tables = [name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()]
        return {
            name: connection.execute(f'select * from "{name}" order by all').fetchall()
            # what the file system said of the exports: inodes and times are each copy's own
            for name in sorted(set(tables) - {"landing_states"})
        }


def ledger_rows(home: Path) -> dict[str, list[Any]]:
    """Every table of the ledger without the moments at which things were done."""
    with sqlite3.connect(home / "ledger.sqlite") as connection:
        tables = [n for (n,) in connection.execute("select name from sqlite_master where type = 'table'")]
        rows = {}
        for name in sorted(tables):
            cursor = connection.execute(f'select * from "{name}"')
            columns = [column[0] for column in cursor.description]
            kept = [i for i, column in enumerate(columns) if column not in TIMESTAMPS]
            rows[name] = sorted(repr([row[i] for i in kept]) for row in cursor)
        return rows


def tag_files(home: Path) -> dict[str, bytes]:
    """What the local sink wrote."""
    return {path.name: path.read_bytes() for path in sorted((home / "out" / "tags").iterdir())}


@pytest.fixture
def untouched(shared_homes: SharedHomes) -> Path:
    """A shop that has not been run yet, with an unfinished earlier week so that history is filled in."""
    return shared_homes.sample()


@pytest.fixture
def calm(shared_homes: SharedHomes) -> Path:
    """The same shop after an undisturbed run."""
    return shared_homes.sample_that_was_run()


def test_kills_at_named_moments_change_nothing(untouched: Path, calm: Path, tmp_path: Path) -> None:
    shaken = copy_home(untouched, tmp_path / "shaken")
    for moment in MOMENTS:
        command = [sys.executable, "-c", KILLED, str(shaken), *map(str, moment)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == -signal.SIGKILL, (moment, done.stderr)
    finish(rfm_run(shaken))
    assert_same_homes(shaken, calm)


def assert_same_homes(shaken: Path, calm: Path) -> None:
    assert warehouse_rows(shaken) == warehouse_rows(calm)
    assert ledger_rows(shaken) == ledger_rows(calm)
    assert tag_files(shaken) == tag_files(calm)
    assert list((shaken / ".staging").iterdir()) == []


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(untouched: Path, tmp_path: Path) -> None:
    calm, shaken = tmp_path / "calm", tmp_path / "shaken"
    shutil.copytree(untouched, calm)
    shutil.copytree(untouched, shaken)
    steps = len(finish(rfm_run(calm)).splitlines())

    luck = random.Random(20260629)
    killed = 0
    for _ in range(4 * KILLS):
        if kill_after(rfm_run(shaken), luck.randrange(1, steps), luck.uniform(0, 0.3)):
            killed += 1
        else:
            # what was left to do had ended before: from the beginning
            shutil.rmtree(shaken)
            shutil.copytree(untouched, shaken)
        if killed == KILLS:
            break
    assert killed == KILLS
    finish(rfm_run(shaken))
    assert_same_homes(shaken, calm)


def test_a_second_run_changes_nothing(calm: Path, tmp_path: Path) -> None:
    # a copy has other inodes, so the second run can't see at a glance that nothing changed
    home = copy_home(calm, tmp_path / "home")
    before = warehouse_rows(home), ledger_rows(home), tag_files(home)
    finish(rfm_run(home))
    assert (warehouse_rows(home), ledger_rows(home), tag_files(home)) == before


def test_a_deleted_warehouse_comes_back_the_same(calm: Path, tmp_path: Path) -> None:
    home = copy_home(calm, tmp_path / "home")
    # a correction whose name sorts before the export it corrects
    export = sorted((home / "orders").glob("*.csv"))[-1]
    header, first, *_ = export.read_text("utf-8-sig").splitlines()
    columns = header.split(",")
    values = dict(zip(columns, first.split(","), strict=True))
    corrected = {**values, "amount": "1.00", "unit_price": "1.00"}
    (home / "orders" / "a_correction.csv").write_text(
        f"{header}\n{','.join(corrected[name] for name in columns)}\n", "utf-8"
    )
    finish(rfm_run(home))
    before = warehouse_rows(home)
    amounts = {row[0] for row in before["order_lines"] if row[0] == values["order_id"]}
    assert amounts == {values["order_id"]}
    (home / "warehouse.duckdb").unlink()
    finish(rfm_run(home))
    after = warehouse_rows(home)
    bookkeeping = {"order_batches", "input_changes", "snapshots", "rejected_rows", "raw_orders"}
    for name in before.keys() - bookkeeping:
        if name == "order_lines":
            # the numbers of the loads may differ, what they say may not
            assert sorted(repr(row[:-2]) for row in after[name]) == sorted(
                repr(row[:-2]) for row in before[name]
            )
        else:
            assert after[name] == before[name], name

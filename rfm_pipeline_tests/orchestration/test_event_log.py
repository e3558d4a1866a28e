"""Connections of Dagster's event log that stay open: the same events, and far fewer connections."""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite import sqlite_event_log

from rfm_pipeline.orchestration.event_log import connections_kept_open

WEEKS = dg.StaticPartitionsDefinition([f"week {number}" for number in range(10)])


@dg.asset(partitions_def=WEEKS, backfill_policy=dg.BackfillPolicy.single_run())
def table() -> None:
    """An asset of ten partitions, each with its events."""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """The connections to a database of the event log that are opened meanwhile."""
    connections: list[sqlite3.Connection] = []
    connect: Callable[..., sqlite3.Connection] = sqlite3.dbapi2.connect

    def counting(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        if Path(args[0]).parent.name == "runs":
            connections.append(connection)
        return connection

    monkeypatch.setattr(sqlite3.dbapi2, "connect", counting)
    return connections


def events(folder: Path, within: AbstractContextManager[None]) -> tuple[list[str], set[str]]:
    """What a run leaves in the event log of a new instance, as an instance opened later reads it."""
    folder.mkdir()
    with within, dg.DagsterInstance.local_temp(str(folder)) as instance:
        tags = {
            "dagster/asset_partition_range_start": "week 0",
            "dagster/asset_partition_range_end": "week 9",
        }
        job = dg.Definitions(assets=[table]).resolve_implicit_global_asset_job_def()
        run = job.execute_in_process(instance=instance, tags=tags)
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        entries = instance.all_logs(run.run_id)
        kinds = [entry.dagster_event.event_type_value for entry in entries if entry.dagster_event]
        return kinds, instance.get_materialized_partitions(dg.AssetKey("table"))


def test_the_same_events_are_stored_over_far_fewer_connections(
    tmp_path: Path, opened: list[sqlite3.Connection]
) -> None:
    usual = events(tmp_path / "usual", nullcontext())
    usual_number = len(opened)
    opened.clear()
    kept = events(tmp_path / "kept", connections_kept_open())
    assert kept == usual
    assert kept[1] == set(WEEKS.get_partition_keys())
    assert len(opened) < usual_number / 3


def use_and_fail(url: str, opened: list[sqlite3.Connection]) -> None:
    with connections_kept_open():
        engine = vars(sqlite_event_log)["create_engine"](url)
        for _ in range(3):
            with engine.connect():
                pass
            engine.dispose()
        assert len(opened) == 1
        raise LookupError("a run that fails")


def test_nothing_stays_open_and_dagster_makes_its_own_engines_again(
    tmp_path: Path, opened: list[sqlite3.Connection]
) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    own = vars(sqlite_event_log)["create_engine"]
    with pytest.raises(LookupError, match="a run that fails"):
        use_and_fail(f"sqlite:///{folder / 'index.db'}", opened)
    assert vars(sqlite_event_log)["create_engine"] is own
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("select 1")

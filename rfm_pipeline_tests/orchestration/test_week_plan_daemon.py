"""With `rfm ui` alone a home ends as its twin on which `rfm run` was typed: a real daemon, a late export.

The story, in weeks of the grid: 1 to 8 are made. 9 to 11 are missing, an order of week 3 is corrected, the
exports reach week 12, and week 13 has closed but its orders come later, while the daemon runs.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from rfm_pipeline.cli.terminal import print_summary
from rfm_pipeline.orchestration.runner import Runner
from rfm_pipeline.orchestration.week_plan import Reason
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.weeks import weeks_between
from rfm_pipeline_tests.helpers import make_shop, write_export
from rfm_pipeline_tests.ui.server import Server, serve, wait_until

pytestmark = [pytest.mark.daemon, pytest.mark.slow]

FIRST = date(2024, 1, 1)
GRID = weeks_between(FIRST, FIRST + timedelta(weeks=12))
MADE, COVERED, LATE = GRID[7], GRID[11], GRID[12]
# an idle machine needs some 30 s a phase; the bound is for one that is busy
SECONDS = 300
# moments at which things were done, and what the file system says of exports
CLOCKS = {"sealed_at", "requested_at", "finished_at", "noted_at"}
OF_THE_FILE_SYSTEM = {"landing_states"}

_RUNS = "{ runsOrError { ... on Runs { results { jobName status tags { key value } } } } }"
_SENSOR = """
{
    sensorsOrError(repositorySelector: {repositoryName: "%s", repositoryLocationName: "%s"}) {
        ... on Sensors { results { name sensorState { typeSpecificData {
            ... on SensorData { lastCursor } } ticks(limit: 1) { status skipReason } } } }
    }
}
"""
_REPOSITORY = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"


def orders(*weeks: date) -> list[str]:
    """Six orders a week, Monday to Sunday: three of customers seen once, three of those who come back."""
    rows = []
    for week in weeks:
        number = GRID.index(week)
        for place, day in enumerate((0, 1, 2, 3, 5, 6)):
            customer = f"once{number}x{place}" if place < 3 else f"often{(number + place) % 5}"
            day_of = week + timedelta(days=day)
            rows.append(
                f"o{number}x{place},{customer},{day_of} 10:00:00,S{place % 4},1,{10 + place + number}"
            )
    return rows


def first_exports(home: Path) -> Shop:
    shop = make_shop(
        home,
        shop={"first_week": FIRST, "last_week": MADE},
        rules={"monetary_high": 100, "dormant_after_days": 28, "lapsing_after_days": 14},
        recall={"message_rules": "none", "weekly_capacity": 5},
    )
    write_export(shop, "a.csv", *orders(*GRID[:8]))
    return shop


def some_weeks_later(home: Path) -> Shop:
    """Three weeks were missed, an old order is corrected, the newest week's export isn't there yet."""
    settings = home / "shop.yaml"
    content = yaml.safe_load(settings.read_text("utf-8"))
    content["shop"]["last_week"] = LATE
    settings.write_text(yaml.safe_dump(content, allow_unicode=True), "utf-8")
    shop = load_shop(home)
    write_export(shop, "b.csv", *orders(*GRID[8:12]))
    write_export(shop, "corrected.csv", f"o2x0,once2x0,{GRID[2]} 10:00:00,S0,3,70")
    return shop


def the_late_export(shop: Shop) -> None:
    write_export(shop, "c.csv", *orders(LATE))


def table_rows(home: Path) -> dict[str, list[str]]:
    """Every row of warehouse and ledger, without clocks."""
    with closing(duckdb.connect(str(home / "warehouse.duckdb"), read_only=True)) as warehouse:
        names = [name for (name,) in warehouse.execute("select table_name from duckdb_tables()").fetchall()]
        rows = {name: _rows(warehouse, name) for name in set(names) - OF_THE_FILE_SYSTEM}
    with closing(sqlite3.connect(home / "ledger.sqlite")) as ledger:
        names = [name for (name,) in ledger.execute("select name from sqlite_master where type = 'table'")]
        return rows | {f"ledger.{name}": _rows(ledger, name) for name in names}


def _rows(database: Any, table: str) -> list[str]:
    cursor = database.execute(f'select * from "{table}"')
    columns = [column[0] for column in cursor.description]
    kept = [place for place, name in enumerate(columns) if name not in CLOCKS]
    return sorted(repr([row[place] for place in kept]) for row in cursor.fetchall())


def runs_of(server: Server) -> list[tuple[str, str, dict[str, str]]]:
    """The runs, oldest first: job, status, tags."""
    found = server.ask(_RUNS)["runsOrError"]["results"]
    return [
        (run["jobName"], run["status"], {tag["key"]: tag["value"] for tag in run["tags"]})
        for run in reversed(found)
    ]


def says(server: Server) -> tuple[str, list[str]]:
    """Why the sensor's last look asked for nothing, and the plan in its cursor."""
    (repository,) = server.ask(_REPOSITORY)["repositoriesOrError"]["nodes"]
    asked = _SENSOR % (repository["name"], repository["location"]["name"])
    sensors = server.ask(asked)["sensorsOrError"]["results"]
    (state,) = [sensor["sensorState"] for sensor in sensors if sensor["name"] == "week_plan_sensor"]
    skipped = next((tick["skipReason"] or "" for tick in state["ticks"]), "")
    data = state["typeSpecificData"] or {}
    return skipped, json.loads(data.get("lastCursor") or '{"plan": []}')["plan"]


def settled(server: Server, last: date) -> bool:
    """Whether the week went through all stages and the sensor found nothing more to do."""
    runs = runs_of(server)
    failed = [run for run in runs if run[1] in ("FAILURE", "CANCELED")]
    assert not failed, server.log
    done = [
        job
        for job, status, tags in runs
        if tags.get("dagster/partition") == str(last) and status == "SUCCESS"
    ]
    return "weekly_job" in done and says(server)[0].startswith("all weeks that the orders cover are made")


@pytest.fixture
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A run names its home in the environment."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("_own_environment")
def test_the_daemon_alone_ends_in_the_tables_of_a_home_on_which_rfm_run_was_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed, served = tmp_path / "typed", tmp_path / "served"
    Runner(first_exports(typed)).run()
    shutil.copytree(typed, served, ignore=shutil.ignore_patterns(".dagster"))
    shop = some_weeks_later(served)

    with serve(shop, tmp_path / "log.txt", {"RFM_WEEK_PLAN_SECONDS": "1"}) as server:
        report = Runner(some_weeks_later(typed)).run()
        wait_until(lambda: settled(server, COVERED), SECONDS, "the missed weeks")
        assert table_rows(served) == table_rows(typed)
        held = f"hold {LATE}: the orders do not reach its end yet"
        assert says(server)[1] == [held]
        assert report.plan == [f"make again {GRID[2]}..{GRID[7]}: {Reason.CORRECTED.value}", held]
        print_summary(load_shop(typed), report)
        assert f"week plan: {held}" in capsys.readouterr().out

        the_late_export(shop)
        the_late_export(load_shop(typed))
        Runner(load_shop(typed)).run()
        wait_until(lambda: settled(server, LATE), SECONDS, "the late week")
        runs = runs_of(server)
    assert table_rows(served) == table_rows(typed)
    assert [(job, *weeks_of(tags)) for job, _, tags in runs] == [
        ("ingest_job",),
        ("history_job", str(GRID[2]), str(GRID[10])),
        ("weekly_job", str(COVERED)),
        ("ingest_job",),
        ("weekly_job", str(LATE)),
    ]
    assert [tags["rfm/reason"] for *_, tags in runs] == [
        "the exports in orders/ changed since they were read",
        f"make again {GRID[2]}..{GRID[7]}: orders of it or of an earlier week were corrected since it was "
        "made; "
        f"make {GRID[8]}..{GRID[10]}: it was not made yet",
        f"make {COVERED}: it was not made yet",
        "the exports in orders/ changed since they were read",
        f"make {LATE}: it was not made yet",
    ]


def weeks_of(tags: dict[str, str]) -> list[str]:
    names = ("dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    return [tags[name] for name in names if name in tags]

"""Backfills as the UI's dialogs launch them, carried out by the daemon: all of it is made, nothing is sent.

One fixture launches three at once and waits for all: the weekly job's ten oldest weeks from the job's page,
the same from the asset graph, and the history's ten newest weeks from the asset graph.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from rfm_pipeline.ledger import Ledger
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.weeks import weeks_between
from rfm_pipeline_tests.helpers import all_weekly_rows, small_warehouse
from rfm_pipeline_tests.shared_homes import SharedHomes, copy_home
from rfm_pipeline_tests.ui.server import Server, serve, wait_until

pytestmark = [pytest.mark.daemon, pytest.mark.slow]

DIAGNOSE = ("customer_rfm", "customer_segments", "silent_churners", "new_silent_churners")
WEEKS, SECONDS = 10, 300
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")

_ASSETS = """
{
    assetNodes { assetKey { path } isPartitioned jobNames }
}
"""
_REPOSITORY = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
_LAUNCH = """
mutation ($params: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $params) {
        __typename
        ... on LaunchBackfillSuccess { backfillId }
    }
}
"""
_BACKFILL = """
query ($id: String!) {
    partitionBackfillOrError(backfillId: $id) {
        ... on PartitionBackfill {
            status
            error { message }
            runs { status tags { key value } }
        }
    }
}
"""
_TAGS_OF_WEEK = """
query ($week: String!) {
    assetNodeOrError(assetKey: { path: ["customer_tags"] }) {
        ... on AssetNode {
            assetMaterializations(partitions: [$week], limit: 1) {
                metadataEntries {
                    label
                    ... on TextMetadataEntry { text }
                    ... on IntMetadataEntry { intValue }
                }
            }
        }
    }
}
"""


@dataclass
class Backfill:
    """A backfill that has ended.

    Attributes:
        status: What became of it.
        error: Why it failed, if it did.
        runs: Its runs: their status and their tags.
    """

    status: str
    error: str | None
    runs: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def ranges(self) -> list[tuple[str, str]]:
        """The first and last week of every run."""
        return sorted((tags[RANGE[0]], tags[RANGE[1]]) for _, tags in self.runs)


@dataclass
class World:
    """Everything that a backfill of past weeks must leave as it was."""

    tables: dict[str, Any]
    sealed: set[date]
    ledger: list[dict[str, Any]]
    files: dict[str, bytes]


def look_at(shop: Shop) -> World:
    ledger = Ledger(shop.ledger_url)
    return World(
        tables={name: rows.to_dicts() for name, rows in all_weekly_rows(small_warehouse(shop)).items()},
        sealed=ledger.sealed_weeks(),
        ledger=[*ledger.assignments().to_dicts(), *ledger.tag_actions().to_dicts()],
        files={
            str(path.relative_to(shop.out_dir)): path.read_bytes()
            for path in sorted((shop.out_dir / "tags").rglob("*"))
        },
    )


def launch(server: Server, assets: Sequence[str], weeks: Sequence[date], job: str | None = None) -> str:
    """Does what the dialog does: with a job, as on the job's page; without one, as in the asset graph."""
    params: dict[str, Any] = {
        "assetSelection": [{"path": [name]} for name in assets],
        "partitionNames": [str(week) for week in weeks],
        "fromFailure": False,
        "tags": [],
    }
    if job:
        (repository,) = server.ask(_REPOSITORY)["repositoriesOrError"]["nodes"]
        params["selector"] = {
            "partitionSetName": f"{job}_partition_set",
            "repositorySelector": {
                "repositoryName": repository["name"],
                "repositoryLocationName": repository["location"]["name"],
            },
        }
    answer = server.ask(_LAUNCH, params=params)["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    return str(answer["backfillId"])


def ended(server: Server, backfill: str) -> Backfill | None:
    found = server.ask(_BACKFILL, id=backfill)["partitionBackfillOrError"]
    if found["status"] in ("REQUESTED", "COMPLETING", "CANCELING", "FAILING"):
        return None
    runs = [(run["status"], {tag["key"]: tag["value"] for tag in run["tags"]}) for run in found["runs"]]
    return Backfill(found["status"], found["error"] and found["error"]["message"], runs)


def weekly_assets(server: Server) -> list[str]:
    """The assets that the dialog of ``weekly_job`` lists under its weeks."""
    nodes = server.ask(_ASSETS)["assetNodes"]
    return [
        node["assetKey"]["path"][0]
        for node in nodes
        if node["isPartitioned"] and "weekly_job" in node["jobNames"]
    ]


@pytest.fixture(scope="module")
def shop(shared_homes: SharedHomes, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop of this file's own, because backfills put other weeks on its pages."""
    home = tmp_path_factory.mktemp("backfill") / "home"
    return load_shop(copy_home(shared_homes.sample_that_was_run(), home))


@pytest.fixture(scope="module")
def server(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(shop, tmp_path_factory.mktemp("server") / "log.txt") as running:
        yield running


@pytest.fixture(scope="module")
def grid(shop: Shop) -> list[date]:
    assert shop.shop.last_week is not None
    return weeks_between(shop.shop.first_week, shop.shop.last_week)


@pytest.fixture(scope="module")
def before(shop: Shop) -> World:
    return look_at(shop)


@pytest.fixture(scope="module")
def backfills(server: Server, grid: list[date], before: World) -> dict[str, Backfill]:
    assets = weekly_assets(server)
    assert set(DIAGNOSE) < set(assets)
    launched = {
        "job": launch(server, assets, grid[:WEEKS], job="weekly_job"),
        "assets": launch(server, assets, grid[:WEEKS]),
        "history": launch(server, DIAGNOSE, grid[-WEEKS:]),
        "history_job": launch(server, DIAGNOSE, grid[:WEEKS], job="history_job"),
    }
    return {
        name: wait_until(
            lambda backfill=backfill: ended(server, backfill), SECONDS, f"the backfill of {name}"
        )
        for name, backfill in launched.items()
    }


@pytest.mark.parametrize("name", ["job", "assets", "history", "history_job"])
def test_a_backfill_succeeds(backfills: dict[str, Backfill], name: str) -> None:
    backfill = backfills[name]
    assert (backfill.status, backfill.error) == ("COMPLETED_SUCCESS", None)
    assert {status for status, _ in backfill.runs} == {"SUCCESS"}


@pytest.mark.parametrize("name", ["job", "history_job"])
def test_a_job_takes_ten_weeks_in_one_run(
    backfills: dict[str, Backfill], grid: list[date], name: str
) -> None:
    assert backfills[name].ranges() == [(str(grid[0]), str(grid[WEEKS - 1]))]


def test_the_newest_ten_weeks_of_the_history_are_one_run(
    backfills: dict[str, Backfill], grid: list[date]
) -> None:
    assert backfills["history"].ranges() == [(str(grid[-WEEKS]), str(grid[-1]))]


def test_assets_of_older_weeks_take_the_week_after_along(
    backfills: dict[str, Backfill], grid: list[date]
) -> None:
    # who is newly silent depends on the week before, so Dagster makes the week after the last one again
    ranges = backfills["assets"].ranges()
    assert set(ranges) == {(str(grid[0]), str(grid[WEEKS - 1])), (str(grid[0]), str(grid[WEEKS]))}
    assert len(ranges) <= 4


def test_backfills_leave_every_table_as_it_was(
    backfills: dict[str, Backfill], before: World, shop: Shop
) -> None:
    after = look_at(shop)
    assert {name for name, rows in before.tables.items() if after.tables[name] != rows} == set()


def test_backfills_send_nothing(backfills: dict[str, Backfill], before: World, shop: Shop) -> None:
    after = look_at(shop)
    assert before.sealed
    assert after.sealed == before.sealed
    assert after.ledger == before.ledger
    assert after.files == before.files


def test_the_tags_of_a_backfilled_week_say_why_nothing_was_sent(
    server: Server, backfills: dict[str, Backfill], grid: list[date]
) -> None:
    for week in (grid[0], grid[WEEKS - 1]):
        (made,) = server.ask(_TAGS_OF_WEEK, week=str(week))["assetNodeOrError"]["assetMaterializations"]
        said = {entry["label"]: entry for entry in made["metadataEntries"]}
        assert said["sent"]["intValue"] == 0
        assert said["refused"]["text"] == "this run belongs to a backfill; backfills never send"


def test_tags_are_written_for_the_newest_week_only(shop: Shop, grid: list[date]) -> None:
    assert [path.name for path in Path(shop.out_dir / "tags").iterdir()] == [f"{grid[-1]}.csv"]


def test_orders_are_looked_for_on_monday_at_six_and_what_is_left_open_daily_at_ten_in_the_shops_time_zone(
    server: Server, shop: Shop
) -> None:
    schedules = server.ask(
        """{ repositoriesOrError { ... on RepositoryConnection { nodes { schedules {
            name cronSchedule executionTimezone pipelineName scheduleState { status }
        } } } } }"""
    )["repositoriesOrError"]["nodes"][0]["schedules"]
    running = {"executionTimezone": shop.shop.timezone, "scheduleState": {"status": "RUNNING"}}
    weekly = {"name": "weekly_schedule", "cronSchedule": "0 6 * * 1", "pipelineName": "weekly_job"}
    catch_up = {"name": "catch_up_schedule", "cronSchedule": "0 10 * * *", "pipelineName": "send_job"}
    assert sorted(schedules, key=lambda schedule: schedule["name"]) == [catch_up | running, weekly | running]

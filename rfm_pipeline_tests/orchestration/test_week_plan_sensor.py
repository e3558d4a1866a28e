"""The sensor looks at a real warehouse: a decision is one run, failures are bounded, nothing goes twice."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from rfm_pipeline.definitions import build_defs
from rfm_pipeline.diagnose.pipeline import note_activity_checked
from rfm_pipeline.ingest.loading import note_checked
from rfm_pipeline.orchestration.run_tags import CAUSE_TAG, RANGE_END, RANGE_START, REASON_TAG
from rfm_pipeline.orchestration.week_plan_sensor import follow_plan
from rfm_pipeline.recall import guards
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.storage import fingerprints
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import weeks_between
from rfm_pipeline_tests.helpers import diagnose, ingest, make_shop, small_warehouse, write_export

SENDING = ("customer_tags", "ops_worklist", "team_message")

FIRST = date(2024, 1, 1)
GRID = weeks_between(FIRST, date(2024, 2, 5))
NOW = datetime(2024, 2, 13, 12)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
FAILURE, SUCCESS = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS
_LOCK = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


@pytest.fixture(autouse=True)
def _settled_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "FRESH_SECONDS", 0.0)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Six weeks, one order a day in all of them."""
    made = make_shop(tmp_path / "home", shop={"first_week": FIRST})
    days = (FIRST + timedelta(days=number) for number in range(7 * len(GRID)))
    rows = [f"o{number},c{number % 9},{day} 10:00:00,S1,1,10" for number, day in enumerate(days)]
    write_export(made, "orders.csv", *rows)
    return made


@pytest.fixture
def warehouse(shop: Shop) -> Warehouse:
    return small_warehouse(shop)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as storage:
        yield storage


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sequence[dg.AssetKey]]:
    defs = build_defs(make_shop(tmp_path_factory.mktemp("any"), shop={"first_week": FIRST}).home)
    return {
        name: list(defs.resolve_job_def(name).asset_layer.executable_asset_keys)
        for name in ("ingest_job", "history_job", "weekly_job")
    }


class Watch:
    """A sensor that looks again and again, with what it remembers."""

    def __init__(
        self,
        shop: Shop,
        warehouse: Warehouse,
        instance: dg.DagsterInstance,
        assets: Mapping[str, Sequence[dg.AssetKey]],
    ) -> None:
        self.shop, self.warehouse, self.instance, self.assets = shop, warehouse, instance, assets
        self.cursor: str | None = None
        self.skipped = ""

    def look(self, now: datetime = NOW) -> list[dg.RunRequest]:
        result = follow_plan(self.shop, self.warehouse, self.instance, self.cursor, now, self.assets)
        self.cursor = result.cursor
        skip = result.skip_reason
        self.skipped = (
            "" if skip is None else str(skip.skip_message if isinstance(skip, dg.SkipReason) else skip)
        )
        return list(result.run_requests or [])

    def record(self, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
        """Notes a run of a request, as the daemon and the run would."""

        @dg.op
        def nothing() -> None:
            """Stands for the job's steps."""

        job = dg.GraphDefinition(name=str(request.job_name), node_defs=[nothing]).to_job()
        week = {"dagster/partition": request.partition_key} if request.partition_key else {}
        self.instance.create_run_for_job(job, tags={**request.tags, **week}, status=status)


@pytest.fixture
def watch(
    shop: Shop,
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    assets: Mapping[str, Sequence[dg.AssetKey]],
) -> Watch:
    return Watch(shop, warehouse, instance, assets)


def ingested(watch: Watch) -> None:
    """Does what ``ingest_job`` does."""
    ingest(watch.warehouse, watch.shop)
    note_checked(watch.warehouse)
    note_activity_checked(watch.warehouse)


def diagnosed(watch: Watch, weeks: Sequence[date]) -> None:
    ingested(watch)
    diagnose(watch.warehouse, watch.shop, weeks)


def asked(requests: Sequence[dg.RunRequest]) -> list[tuple[str | None, str | None, str | None]]:
    """Job, first and last week of each request."""
    return [
        (
            request.job_name,
            request.partition_key or request.tags.get(RANGE_START),
            request.partition_key or request.tags.get(RANGE_END),
        )
        for request in requests
    ]


# The order of things


def test_a_new_home_is_ingested_then_filled_in_then_taken_through_all_stages(watch: Watch) -> None:
    (first,) = watch.look()
    assert asked([first]) == [("ingest_job", None, None)]
    assert first.tags[REASON_TAG] == "there is no warehouse yet"

    ingested(watch)
    watch.record(first, SUCCESS)
    (second,) = watch.look()
    assert asked([second]) == [("history_job", "2024-01-01", "2024-01-29")]
    assert second.tags[REASON_TAG] == "make 2024-01-01..2024-01-29: it was not made yet"

    diagnosed(watch, GRID[:5])
    watch.record(second, SUCCESS)
    (third,) = watch.look()
    assert asked([third]) == [("weekly_job", "2024-02-05", "2024-02-05")]


def test_each_unbroken_range_is_one_run(watch: Watch) -> None:
    diagnosed(watch, [GRID[0], GRID[2]][:1])
    diagnose(watch.warehouse, watch.shop, [GRID[1], GRID[2]])
    with watch.warehouse.transaction() as session:
        session.execute("delete from snapshots where week = $week", {"week": GRID[1]})
    assert asked(watch.look()) == [
        ("history_job", "2024-01-08", "2024-01-08"),
        ("history_job", "2024-01-22", "2024-01-29"),
    ]


def test_weeks_are_made_without_the_ingest_and_history_without_a_sink(watch: Watch) -> None:
    ingested(watch)
    (history,) = watch.look()
    diagnosed(watch, GRID[:5])
    (week,) = watch.look()
    ingest_assets = set(watch.assets["ingest_job"])
    for request in (history, week):
        assert request.asset_selection
        assert not ingest_assets & set(request.asset_selection)
    names = {key.to_user_string() for key in history.asset_selection or ()}
    assert not names & {*SENDING, "recall_list", "tag_plan"}
    assert set(SENDING) <= {key.to_user_string() for key in week.asset_selection or ()}


def test_a_correction_makes_the_weeks_from_it_on_again(watch: Watch) -> None:
    diagnosed(watch, GRID)
    write_export(watch.shop, "z_corrected.csv", f"o15,c6,{GRID[2]} 10:00:00,S1,1,99")
    (look_first,) = watch.look()
    assert look_first.tags[REASON_TAG] == "the exports in orders/ changed since they were read"
    ingested(watch)
    (request,) = watch.look()
    assert asked([request]) == [("history_job", "2024-01-15", "2024-01-29")]
    assert request.tags[REASON_TAG].startswith(
        "make again 2024-01-15..2024-01-29: orders of it or of an earlier"
    )


# A late export


def test_a_week_that_the_orders_do_not_cover_is_held_until_an_export_comes(watch: Watch) -> None:
    diagnosed(watch, GRID)
    with watch.warehouse.transaction() as session:
        session.execute("delete from snapshots where week = $week", {"week": GRID[-1]})
    later = NOW + timedelta(days=7)
    (newest_covered,) = watch.look(later)
    assert asked([newest_covered]) == [("weekly_job", "2024-02-05", "2024-02-05")]
    assert watch.cursor is not None
    assert "hold 2024-02-12: the orders do not reach its end yet" in watch.cursor

    watch.record(newest_covered, FAILURE)
    assert watch.look(later) == []
    assert "hold 2024-02-12: the orders do not reach its end yet" in watch.skipped

    write_export(watch.shop, "late.csv", "n1,c1,2024-02-18 10:00:00,S1,1,10")
    (look_first,) = watch.look(later)
    assert asked([look_first]) == [("ingest_job", None, None)]
    ingested(watch)
    assert asked(watch.look(later)) == [("history_job", "2024-02-05", "2024-02-05")]


def test_an_export_that_is_still_being_written_is_left_until_two_looks_find_it_the_same(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "FRESH_SECONDS", 3600.0)
    assert watch.look() == []
    assert "still being written" in watch.skipped
    with (watch.shop.orders_dir / "orders.csv").open("a") as export:
        export.write("o999,c1,2024-01-09 10:00:00,S1,1,10\n")
    assert watch.look() == []
    assert asked(watch.look()) == [("ingest_job", None, None)]


def test_an_empty_folder_of_orders_is_said_and_not_read(watch: Watch) -> None:
    (watch.shop.orders_dir / "orders.csv").unlink()
    assert watch.look() == []
    assert "holds no order export yet" in watch.skipped


# Once a cause and day


def test_two_looks_ask_for_the_same_run_under_the_same_key(watch: Watch) -> None:
    ingested(watch)
    (one,), (other,) = watch.look(), watch.look()
    assert one.run_key is not None
    assert (one.run_key, one.tags) == (other.run_key, other.tags)


@pytest.mark.parametrize("status", ["STARTING", "STARTED", "CANCELING"])
def test_while_a_run_is_going_nothing_is_asked_for(watch: Watch, status: str) -> None:
    ingested(watch)
    (request,) = watch.look()
    watch.record(request, dg.DagsterRunStatus[status])
    assert watch.look() == []
    assert watch.skipped.startswith("waiting for run ")


@pytest.mark.parametrize("stage", ["ingest_job", "history_job", "weekly_job"])
def test_a_run_that_failed_is_asked_for_again_once_a_day(watch: Watch, stage: str) -> None:
    if stage != "ingest_job":
        diagnosed(watch, GRID[:5] if stage == "weekly_job" else GRID[:2])
    for day in range(3):
        now = NOW + day * DAY
        (request,) = watch.look(now)
        assert request.job_name == stage
        watch.record(request, FAILURE)
        for later in (timedelta(0), HOUR, 11 * HOUR):
            assert watch.look(now + later) == []
            assert f"{stage}" in watch.skipped
            assert "ran today for the same cause" in watch.skipped


def test_after_a_failed_history_the_week_waits(watch: Watch) -> None:
    diagnosed(watch, GRID[:2])
    (request,) = watch.look()
    watch.record(request, FAILURE)
    assert watch.look() == []
    assert watch.skipped.startswith("history_job 2024-01-15..2024-01-29 ran today")


def test_newer_orders_and_mended_settings_are_another_cause(watch: Watch) -> None:
    diagnosed(watch, GRID[:2])
    (request,) = watch.look()
    watch.record(request, FAILURE)
    assert watch.look() == []

    settings = watch.shop.home / "shop.yaml"
    settings.write_text(settings.read_text("utf-8") + "rules: {dormant_after_days: 80}\n", "utf-8")
    watch.shop = load_shop(watch.shop.home)
    (again,) = watch.look()
    watch.record(again, FAILURE)
    assert watch.look() == []

    write_export(watch.shop, "z_more.csv", f"o15,c6,{GRID[2]} 10:00:00,S1,1,99")
    ingested(watch)
    (third,) = watch.look()
    assert len({run.tags[CAUSE_TAG] for run in (request, again, third)}) == 3


def test_a_warehouse_that_was_deleted_is_made_again_on_the_same_day(watch: Watch) -> None:
    (first,) = watch.look()
    ingested(watch)
    watch.record(first, SUCCESS)
    (history,) = watch.look()
    watch.record(history, SUCCESS)
    diagnosed(watch, GRID[:5])
    watch.warehouse.path.unlink()

    (again,) = watch.look(NOW + HOUR)
    assert again.job_name == "ingest_job"
    assert again.run_key != first.run_key
    watch.record(again, SUCCESS)
    ingested(watch)
    (filled,) = watch.look(NOW + HOUR)
    assert asked([filled]) == asked([history])
    assert filled.run_key != history.run_key


def test_no_week_is_made_after_an_ingest_that_did_not_get_to_its_end(watch: Watch) -> None:
    # the lines are read, but their checks did not pass
    ingest(watch.warehouse, watch.shop)
    (request,) = watch.look()
    assert asked([request]) == [("ingest_job", None, None)]
    assert request.tags[REASON_TAG] == "an earlier ingest did not get to its end"
    watch.record(request, FAILURE)
    assert watch.look() == []


# The warehouse


def test_a_look_writes_nothing(watch: Watch) -> None:
    diagnosed(watch, GRID[:2])
    before = fingerprints.state_of(watch.warehouse.path)
    watch.look()
    assert fingerprints.state_of(watch.warehouse.path) == before


def test_a_warehouse_in_use_is_left_alone_and_looked_at_the_next_time(watch: Watch) -> None:
    diagnosed(watch, GRID[:2])
    command = [sys.executable, "-c", _LOCK, str(watch.warehouse.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert watch.look() == []
        assert f"in use by process {holder.pid}" in watch.skipped
        holder.communicate()
    assert asked(watch.look()) == [("history_job", "2024-01-15", "2024-01-29")]


# What may be sent


def test_the_week_that_the_sensor_asks_for_may_be_sent_and_no_other(watch: Watch) -> None:
    diagnosed(watch, GRID[:5])
    (request,) = watch.look()
    tags = dict(request.tags)
    assert guards.BACKFILL_TAG not in tags
    assert guards.refuse_weeks(watch.shop, [GRID[-1]], tags, NOW) is None
    a_week_later = NOW + timedelta(days=7)
    refusal = guards.refuse_weeks(watch.shop, [GRID[-1]], tags, a_week_later)
    assert refusal is not None
    assert "is not the newest closed week (2024-02-12)" in refusal


def test_a_run_that_began_by_itself_sends_no_past_week_even_where_commands_may(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, shop={"first_week": FIRST}, recall={"allow_past_weeks": True})
    assert guards.refuse_weeks(shop, [GRID[0]], {}, NOW) is None
    refusal = guards.refuse_weeks(shop, [GRID[0]], {CAUSE_TAG: "0123456789abcdef"}, NOW)
    assert refusal is not None
    assert "no other is sent by a run that began by itself" in refusal


# Through Dagster


def test_dagster_evaluates_the_sensor_and_takes_what_it_asks_for(watch: Watch) -> None:
    diagnosed(watch, GRID[:5])
    defs = build_defs(watch.shop.home)
    sensor = defs.resolve_sensor_def("week_plan_sensor")
    assert sensor.minimum_interval_seconds == int(os.environ.get("RFM_WEEK_PLAN_SECONDS", 60))
    with dg.build_sensor_context(
        instance=watch.instance,
        repository_def=defs.get_repository_def(),
        resources={"warehouse": watch.warehouse},
    ) as context:
        tick = sensor.evaluate_tick(context)
    (request,) = tick.run_requests or ()
    # this grid has no end, so every week up to today's is held
    assert asked([request]) == [("weekly_job", "2024-02-05", "2024-02-05")]
    assert request.tags["dagster/partition"] == "2024-02-05"

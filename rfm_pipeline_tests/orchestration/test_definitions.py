"""What Dagster loads: assets, checks, jobs, schedules, sensor as a text, and that every tool can load them.

After an intended change, write the text again and read the difference:
``uv run python -m rfm_pipeline_tests.orchestration.test_definitions``
"""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
import pytest

from rfm_pipeline.definitions import build_defs
from rfm_pipeline.home.warehouse import open_warehouse
from rfm_pipeline.orchestration.week_plan import Facts, plan_weeks
from rfm_pipeline.orchestration.week_plan_sensor import RELEASE_AFTER
from rfm_pipeline.shop import Shop
from rfm_pipeline.weeks import WEEK
from rfm_pipeline_tests.helpers import diagnose, ingest, make_shop, write_export

SNAPSHOT = Path(__file__).with_name("definitions_snapshot.txt")
PROJECT = Path(__file__).parents[2]
RENEW = "uv run python -m rfm_pipeline_tests.orchestration.test_definitions"


def snapshot_shop(home: Path) -> Shop:
    return make_shop(home, shop={"first_week": date(2024, 1, 1), "last_week": date(2024, 12, 23)})


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return snapshot_shop(tmp_path / "home")


def describe(defs: dg.Definitions) -> str:
    """All that is loaded, a few short lines for each thing."""
    return "\n".join([*_assets(defs), *_jobs(defs), *_schedules(defs), *_sensors(defs)]) + "\n"


def _assets(defs: dg.Definitions) -> Iterator[str]:
    graph = defs.resolve_asset_graph()
    for key in graph.toposorted_asset_keys:
        node = graph.get(key)
        yield f"asset {key.to_user_string()}"
        yield from _wrapped(node.description or "")
        yield from _wrapped(f"{node.group_name} · {_list(node.kinds)} · {_list(node.owners)}")
        mappings = {
            parent.to_user_string(): node.partition_mappings.get(parent) for parent in node.parent_keys
        }
        yield from _wrapped(f"from {_list(_parent(name, mapping) for name, mapping in mappings.items())}")
        yield from _wrapped(_partitions(node.partitions_def, node.backfill_policy))
        if "dagster/column_schema" in node.metadata:
            yield from _wrapped(f"columns {', '.join(_columns(node.metadata))}")
        for check in sorted(graph.get_check_keys_for_assets({key})):
            spec = graph.get_check_spec(check)
            yield from _wrapped(
                f"check {check.name}{' (blocking)' if spec.blocking else ''}: {spec.description}"
            )
        yield ""


def _parent(name: str, mapping: dg.PartitionMapping | None) -> str:
    if isinstance(mapping, dg.TimeWindowPartitionMapping) and mapping.start_offset:
        return f"{name} (weeks {mapping.start_offset}..{mapping.end_offset})"
    return name


def _partitions(partitions: dg.PartitionsDefinition | None, policy: dg.BackfillPolicy | None) -> str:
    if partitions is None:
        return "no partitions"
    assert isinstance(partitions, dg.TimeWindowPartitionsDefinition)
    runs = "one run" if policy and policy.max_partitions_per_run is None else "a run a week"
    keys = partitions.get_partition_keys()
    return f"weeks {keys[0]}..{keys[-1]}, {partitions.timezone}, backfilled in {runs}"


def _columns(metadata: dict[str, object]) -> list[str]:
    schema = metadata["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema)
    return [f"{column.name} {column.type}" for column in schema.columns]


def _jobs(defs: dg.Definitions) -> Iterator[str]:
    for job in sorted(defs.resolve_all_job_defs(), key=lambda job: job.name):
        if job.name.startswith("__"):
            continue
        yield f"job {job.name}"
        yield from _wrapped(job.description or "")
        yield from _wrapped(_list(key.to_user_string() for key in job.asset_layer.executable_asset_keys))
        yield ""


def _schedules(defs: dg.Definitions) -> Iterator[str]:
    for schedule in defs.schedules or []:
        found = defs.resolve_schedule_def(schedule.name)
        yield f"schedule {found.name}"
        yield from _wrapped(found.description or "")
        when = f"{found.cron_schedule} {found.execution_timezone}"
        yield from _wrapped(f"{when} · {found.job.name} · {found.default_status.value}")


def _sensors(defs: dg.Definitions) -> Iterator[str]:
    for sensor in defs.sensors or []:
        found = defs.resolve_sensor_def(sensor.name)
        yield ""
        yield f"sensor {found.name}"
        yield from _wrapped(found.description or "")
        yield from _wrapped(f"{found.sensor_type.value} · {found.default_status.value}")


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 106, initial_indent="  ", subsequent_indent="    ")


def test_what_dagster_loads_is_what_the_snapshot_says(shop: Shop) -> None:
    now = describe(build_defs(shop.home))
    assert now == SNAPSHOT.read_text("utf-8"), f"the definitions changed; if that is meant: {RENEW}"


def test_the_shops_own_settings_reach_the_partitions_and_the_schedule(tmp_path: Path) -> None:
    london = make_shop(tmp_path, shop={"timezone": "Europe/London", "first_week": date(2024, 3, 4)})
    text = describe(build_defs(london.home))
    assert "weeks 2024-03-04.." in text
    assert "0 6 * * 1 Europe/London" in text


@pytest.mark.parametrize(
    ("now", "week"),
    [
        (datetime(2025, 3, 10, 6, 0), date(2025, 3, 3)),
        # the clocks went forward on Sunday the 30th in London, and back on Sunday 26 October
        (datetime(2025, 3, 31, 6, 0), date(2025, 3, 24)),
        (datetime(2025, 10, 27, 6, 0), date(2025, 10, 20)),
    ],
)
@pytest.mark.parametrize("timezone", ["Asia/Shanghai", "Europe/London", "America/New_York"])
def test_the_schedule_asks_for_the_week_just_closed(
    tmp_path: Path, now: datetime, week: date, timezone: str
) -> None:
    shop = make_shop(tmp_path, shop={"timezone": timezone, "first_week": date(2025, 1, 6), "last_week": None})
    assert [request.partition_key for request in monday_runs(shop, now)] == [str(week)]
    facts = Facts(now, newest_order_at=now)
    for after, begun in ((timedelta(minutes=9, seconds=59), week - WEEK), (timedelta(minutes=10), week)):
        plan = plan_weeks(shop, replace(facts, now=now + after), release_after=RELEASE_AFTER)
        assert plan.all_stages == (begun,)


def monday_runs(shop: Shop, now: datetime) -> list[dg.RunRequest]:
    """The runs that the Monday schedule asks for at a moment on the shop's clock."""
    schedule = build_defs(shop.home).resolve_schedule_def("weekly_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 6 * * 1", shop.shop.timezone)
    tick = dg.build_schedule_context(scheduled_execution_time=now.replace(tzinfo=shop.zone))
    return list(schedule.evaluate_tick(tick).run_requests or [])


def test_the_schedule_leaves_a_week_to_the_sensor_while_older_weeks_are_missing(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, shop={"first_week": date(2025, 1, 6), "last_week": None})
    write_export(shop, "orders.csv", *(f"{n},c{n},2025-01-{n:02},tea,1,5.00" for n in range(6, 27)))
    warehouse = open_warehouse(shop)
    ingest(warehouse, shop)
    monday = datetime(2025, 1, 20, 6)
    assert monday_runs(shop, monday) == []
    diagnose(warehouse, shop, [date(2025, 1, 6)])
    assert [request.partition_key for request in monday_runs(shop, monday)] == ["2025-01-13"]


def test_the_schedule_asks_for_nothing_once_the_grid_has_ended(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, shop={"first_week": date(2025, 1, 6), "last_week": date(2025, 3, 3)})
    assert len(monday_runs(shop, datetime(2025, 3, 10, 6))) == 1
    assert monday_runs(shop, datetime(2025, 3, 17, 6)) == []


def run_with_home(home: Path, *command: str, dagster_home: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command on the definitions of a home, in the project's folder."""
    dagster_home.mkdir(exist_ok=True)
    settings = PROJECT / "rfm_pipeline" / "orchestration" / "dagster.yaml"
    (dagster_home / "dagster.yaml").write_text(settings.read_text("utf-8"), "utf-8")
    environment = {
        **os.environ,
        "RFM_HOME": str(home),
        "DAGSTER_HOME": str(dagster_home),
        "VIRTUAL_ENV": sys.prefix,
    }
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=PROJECT, env=environment)


def test_the_code_location_loads_without_a_word(shop: Shop, tmp_path: Path) -> None:
    load = "from rfm_pipeline.definitions import defs; defs().resolve_asset_graph()"
    done = run_with_home(shop.home, sys.executable, "-c", load, dagster_home=tmp_path / "dagster")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_dg_finds_nothing_wrong(shop: Shop, tmp_path: Path) -> None:
    dg_command = str(Path(sys.executable).with_name("dg"))
    done = run_with_home(shop.home, dg_command, "check", "defs", dagster_home=tmp_path / "dagster")
    assert done.returncode == 0, done.stderr
    assert "All definitions loaded successfully" in done.stdout + done.stderr


def validate(home: Path, dagster_home: Path) -> subprocess.CompletedProcess[str]:
    module = "rfm_pipeline.definitions"
    command = (sys.executable, "-m", "dagster", "definitions", "validate", "-m", module)
    return run_with_home(home, *command, dagster_home=dagster_home)


def test_dagster_validates_the_definitions(shop: Shop, tmp_path: Path) -> None:
    done = validate(shop.home, tmp_path / "dagster")
    assert done.returncode == 0, done.stderr
    assert "All code locations passed validation" in done.stdout + done.stderr


def test_a_broken_shop_file_says_what_to_mend(shop: Shop, tmp_path: Path) -> None:
    path = shop.home / "shop.yaml"
    path.write_text(path.read_text("utf-8").replace("first_week", "frist_week"), "utf-8")
    done = validate(shop.home, tmp_path / "dagster")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert f"{path}, line 2: unknown key 'shop.frist_week'; did you mean 'first_week'?" in said


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        SNAPSHOT.write_text(describe(build_defs(snapshot_shop(Path(folder)).home)), "utf-8")

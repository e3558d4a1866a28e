"""`rfm run` on the demo shop beside Dagster running as many empty assets and checks.

All are whole processes, timed from start to exit in turn, both with a Dagster storage that has seen one run
before. The demo shop is copied first; its own folder is left as it is.
"""

import json
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from benchmarks.processes import RFM, Taken, measured
from benchmarks.report import say
from rfm_pipeline.definitions import build_defs
from rfm_pipeline.shop import load_shop

DEMO = Path(__file__).parents[1] / "data"
MADE = ("warehouse.duckdb*", "ledger.sqlite*", "out", ".dagster", ".staging")
INGEST, WEEKLY = "ingest_job", "weekly_job"
HELP, LOOK = "`rfm --help`", "`rfm run` on a home that is up to date"
AGAIN, TWIN = "`rfm run` with all to do", "the empty twin: Dagster alone"


def plan_of_twin(home: Path) -> dict[str, Any]:
    """What ``rfm run`` executes after the first time, as names and counts: assets, checks, runs.

    That is two runs: ingest, then the newest week of the grid through the assets that ingest left.
    """
    shop = load_shop(home)
    definitions = build_defs(home)
    jobs = {name: definitions.resolve_job_def(name).asset_layer for name in (INGEST, WEEKLY)}
    graph = jobs[WEEKLY].asset_graph
    ingested = sorted(key.to_user_string() for key in jobs[INGEST].executable_asset_keys)
    assets = []
    for key in jobs[WEEKLY].executable_asset_keys:
        node = graph.get(key)
        checks = [graph.get(check) for check in node.check_keys]
        assets.append(
            {
                "name": key.to_user_string(),
                "deps": [parent.to_user_string() for parent in node.parent_keys],
                "is_weekly": node.is_partitioned,
                "pool": "warehouse",
                "checks": [{"name": check.key.name, "is_blocking": check.blocking} for check in checks],
            }
        )
    later = sorted({str(asset["name"]) for asset in assets} - set(ingested))
    newest = definitions.resolve_job_def(WEEKLY).partitions_def
    assert newest is not None
    return {
        "assets": assets,
        "partitions": {
            "start_date": shop.shop.first_week.isoformat(),
            "timezone": shop.shop.timezone,
            "day_offset": 1,
        },
        "runs": [
            {"assets": ingested, "partition": None},
            {"assets": later, "partition": newest.get_last_partition_key()},
        ],
    }


def measure(rounds: int) -> tuple[dict[str, list[Taken]], dict[str, Any]]:
    """Times all ways in turn; returns what each took, and the twin's plan."""
    with tempfile.TemporaryDirectory() as folder:
        home, twin, plan_file = Path(folder) / "home", Path(folder) / "twin", Path(folder) / "plan.json"
        shutil.copytree(DEMO, home, ignore=shutil.ignore_patterns(*MADE))
        twin.mkdir()
        settings = resources.files("rfm_pipeline.orchestration").joinpath("dagster.yaml")
        (twin / "dagster.yaml").write_text(settings.read_text("utf-8"), "utf-8")
        plan = plan_of_twin(home)
        plan_file.write_text(json.dumps(plan), "utf-8")
        week = plan["runs"][-1]["partition"]
        ways: dict[str, list[str | Path]] = {
            HELP: [RFM, "--help"],
            # a named week is made again from the first asset to the last, whether or not anything changed
            AGAIN: [RFM, "run", "--home", home, "--week", week],
            TWIN: [sys.executable, "-m", "benchmarks.empty_twin", plan_file, twin],
            LOOK: [RFM, "run", "--home", home],
        }
        # the first load and the history are not what is measured
        for name in (LOOK, TWIN, HELP):
            measured(ways[name])
        found: dict[str, list[Taken]] = {name: [] for name in ways}
        for number in range(1, rounds + 1):
            for name in (HELP, AGAIN, TWIN):
                found[name].append(measured(ways[name]))
                say(f"round {number}: {name} {found[name][-1].cpu_seconds:.2f} s on all cores")
            # what was made again is looked at once before there is nothing to do
            measured(ways[LOOK])
            found[LOOK].append(measured(ways[LOOK]))
            if "nothing has changed" not in found[LOOK][-1].output:
                raise SystemExit("the second of two runs found something to do")
        return found, plan

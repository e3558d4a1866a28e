"""`rfm run` on the demo shop beside Dagster running as many empty assets and checks.

    uv run python -m benchmarks.rfm_run --rounds 7

Both are whole processes, timed from start to exit in turn, both with a Dagster storage that has seen one run
before. The demo shop is copied first; its own folder is left as it is.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from benchmarks.report import Timing, alternate, comparison, machine, write
from rfm_pipeline.definitions import build_defs
from rfm_pipeline.shop import load_shop

DEMO = Path(__file__).parents[1] / "data"
MADE = ("warehouse.duckdb*", "ledger.sqlite*", "out", ".dagster", ".staging")
INGEST, WEEKLY = "ingest_job", "weekly_job"


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


def run(*command: str | Path, bytecode: Path) -> None:
    """Runs a process to its end; its output is shown only if it fails.

    Python's compiled modules are kept, as in any installation, even where the environment forbids it:
    otherwise most of the time would go into compiling the libraries again.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [str(part) for part in command],
        env=environment | {"PYTHONPYCACHEPREFIX": str(bytecode)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout}\n{done.stderr}")


def measure(rounds: int) -> tuple[list[Timing], dict[str, Any]]:
    """Times both ways; returns the timings and the twin's plan."""
    with tempfile.TemporaryDirectory() as folder:
        home, twin, plan_file = Path(folder) / "home", Path(folder) / "twin", Path(folder) / "plan.json"
        shutil.copytree(DEMO, home, ignore=shutil.ignore_patterns(*MADE))
        bytecode = Path(folder) / "bytecode"
        twin.mkdir()
        settings = resources.files("rfm_pipeline").joinpath("dagster.yaml")
        (twin / "dagster.yaml").write_text(settings.read_text("utf-8"), "utf-8")
        plan = plan_of_twin(home)
        plan_file.write_text(json.dumps(plan), "utf-8")

        def real() -> None:
            run(Path(sys.executable).with_name("rfm"), "run", "--home", home, bytecode=bytecode)

        def empty() -> None:
            run(sys.executable, "-m", "benchmarks.empty_twin", plan_file, twin, bytecode=bytecode)

        # the first load and the history are not what is measured
        real()
        empty()
        return alternate({"`rfm run`": real, "the empty twin": empty}, rounds), plan


def main() -> None:
    parser = argparse.ArgumentParser(description="rfm run beside Dagster with empty assets")
    parser.add_argument("--rounds", type=int, default=7, help="times that each is run")
    rounds = parser.parse_args().rounds
    (real, empty), plan = measure(rounds)
    checks = sum(len(asset["checks"]) for asset in plan["assets"])
    write(
        "rfm_run",
        f"# rfm run\n\n{machine('dagster', 'duckdb', 'polars', 'pandera')}\n\n"
        f"A whole `rfm run` on the demo shop after the first, beside Dagster running {len(plan['assets'])} "
        f"empty assets with {checks} checks in {len(plan['runs'])} runs; {rounds} rounds in turn, whole "
        f"processes.\n\n" + comparison((real, empty), base=empty),
    )


if __name__ == "__main__":
    main()

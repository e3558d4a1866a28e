"""A whole run in a bound process: memory and threads hold for ingest, weeks, validation, list and report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.processes import bounded
from benchmarks.shops import Drawn, history_files, last_week_file, make_home
from rfm_pipeline.weeks import WEEK

# what Python, Dagster and the other libraries hold without any order is 0.35 GiB
MEMORY_LIMIT, PEAK, LIMIT = "250MB", 0.9, 3.5
RUN = """
import json, sys
from pathlib import Path
from rfm_pipeline.cli.app import main
try:
    main(["run", "--home", sys.argv[1]])
except SystemExit as ended:
    assert not ended.code, ended.code
import polars as pl
status = Path("/proc/self/status").read_text()
peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
print(json.dumps({"peak": peak / 2**20, "polars_threads": pl.thread_pool_size()}))
"""


def run(home: Path) -> dict[str, float]:
    """A whole run in a process of its own that can't hold more than the limit."""
    with bounded(LIMIT) as enter:
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(home)],
            env={name: value for name, value in os.environ.items() if name != "POLARS_MAX_THREADS"},
            preexec_fn=enter,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


BEFORE_POLARS = """
import sys
from typer.testing import CliRunner
from rfm_pipeline.cli import home_option

class Reached(Exception):
    pass

def bounded_shop(home):
    assert "polars" not in sys.modules
    raise Reached

# before the commands take the name from there
home_option.bounded_shop = bounded_shop
from rfm_pipeline.cli.app import app

for line in sys.stdin.read().splitlines():
    done = CliRunner().invoke(app, line.split())
    assert isinstance(done.exception, Reached), (line, done.exception, done.output)
    print(line)
"""


def test_every_command_that_works_with_tables_sets_the_bound_before_polars_is_there() -> None:
    commands = (
        "run report ui playbook forget=1 recall=preview recall=lint recall=announce recall=plan "
        "recall=apply recall=status"
    )
    lines = [command.replace("=", " ", 1) for command in commands.split()]
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_POLARS],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == lines


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_a_run_over_many_lines_stays_within_the_memory_and_threads_of_the_settings(tmp_path: Path) -> None:
    shop = Drawn(lines=250_000, customers=40_000)
    home = make_home(tmp_path / "home", shop.last_week - 3 * WEEK, MEMORY_LIMIT, threads=1)
    for _ in history_files(shop, home / "orders", "csv"):
        pass
    first = run(home)
    last_week_file(shop, home / "orders" / "week.csv")
    second = run(home)
    for measured in (first, second):
        assert measured["peak"] < PEAK, measured
        assert measured["polars_threads"] == 1
    assert (home / "out" / "reports" / f"{shop.last_week}.html").exists()

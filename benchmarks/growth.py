"""How cost grows: a week more against the length of history, a range run against its number of weeks.

The customers are the same at every length and buy as often, so what grows is the past alone: order lines,
activity and snapshots.
"""

import json
import math
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import RFM, measured
from benchmarks.report import say
from benchmarks.shops import Drawn, history_files, last_week_file, make_home
from benchmarks.steps import STARTING, WEEK_BEGINS

LINES_A_WEEK, CUSTOMERS = 30_000, 100_000
HISTORIES = (26, 52, 104)
RANGES = (13, 26, 52, 104)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The slope of the straight line through the logarithms: cost ~ size ** exponent."""
    logs = [[math.log(number) for number in numbers] for numbers in (sizes, costs)]
    return statistics.linear_regression(*logs).slope


def grow(folder: Path, rounds: int, histories: Sequence[int] = HISTORIES) -> dict[str, Any]:
    """A week more after histories of different lengths.

    Returns:
        By length: every round's processor seconds, whole and by step, and memory.
    """
    found: dict[str, Any] = {}
    for weeks in histories:
        shop = Drawn(LINES_A_WEEK * weeks, CUSTOMERS, weeks)
        home, copy = folder / f"history_{weeks}", folder / "copy"
        if not home.exists():
            make_home(home, shop.first_week)
            for _ in history_files(shop, home / "orders"):
                pass
            loaded = measured([RFM, "run", "--home", home])
            say(f"{weeks} weeks of history: first load {loaded.cpu_seconds:.0f} s on all cores")
        week = last_week_file(shop, folder / "week.parquet")
        taken = []
        for _ in range(rounds):
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(home, copy)
            # a copy is another file, and would be hashed again
            measured([RFM, "run", "--home", copy])
            shutil.copyfile(week, copy / "orders" / "week.parquet")
            taken.append(measured([sys.executable, "-m", "benchmarks.steps", copy]))
            say(f"{weeks} weeks of history: a week more {taken[-1].cpu_seconds:.1f} s on all cores")
        steps = [json.loads(each.output.splitlines()[-1]) for each in taken]
        found[str(weeks)] = {
            "cpu_seconds": [each.cpu_seconds for each in taken],
            "seconds": [each.seconds for each in taken],
            "peak": max(each.peak for each in taken),
            "steps": {
                name: statistics.median(each[name][1] for each in steps)
                for name in steps[0]
                if name not in (STARTING, WEEK_BEGINS)
            },
            "warehouse_bytes": (home / "warehouse.duckdb").stat().st_size,
        }
    return found


def ranges(folder: Path, rounds: int, lengths: Sequence[int] = RANGES) -> dict[str, list[float]]:
    """``customer_rfm`` for ranges of different lengths, on the home with the longest history.

    Returns:
        By number of weeks: every round's processor seconds of the work.
    """
    weeks = max(HISTORIES)
    week = Drawn(LINES_A_WEEK * weeks, CUSTOMERS, weeks).last_week
    (folder / "shop.json").write_text(json.dumps({"week": str(week)}), "utf-8")
    (folder / f"history_{weeks}").rename(folder / "home")
    found: dict[str, list[float]] = {str(length): [] for length in lengths}
    for _ in range(rounds):
        for length in lengths:
            taken = measured([sys.executable, "-m", "benchmarks.ways", "project_range", folder, str(length)])
            found[str(length)].append(json.loads(taken.output)["cpu_seconds"])
            say(f"a range of {length} weeks: {found[str(length)][-1]:.1f} s on all cores")
    return found

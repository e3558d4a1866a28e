"""The benchmarks: this project beside its alternatives, how cost grows, and the targets, as one report.

    uv run python -m benchmarks                    # 1 and 10 million lines
    uv run python -m benchmarks --huge             # 100 million as well: an hour more, 70 GB of disk
    uv run python -m benchmarks --only growth      # one part again; the others stay as they were measured

Writes ``results/report.md`` with its pictures, and ``results/figures.json`` with every round.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import growth, rfm_run
from benchmarks.comparison import Comparison
from benchmarks.page import write_report
from benchmarks.report import RESULTS, machine, say

FIGURES = RESULTS / "figures.json"
SIZES = (1_000_000, 10_000_000)
HUGE = 100_000_000
PARTS = ("run", "growth", *(f"lines_{size}" for size in (*SIZES, HUGE)))
Save = Callable[[dict[str, Any]], None]
Measure = Callable[[int, Save], None]
LIBRARIES = ("dagster", "duckdb", "polars", "pandera", "pandas")


def _run_part(rounds: int, save: Save) -> None:
    taken, plan = rfm_run.measure(rounds)
    found = {
        "ways": {name: [asdict(each) | {"output": ""} for each in all_] for name, all_ in taken.items()},
        "assets": len(plan["assets"]),
        "checks": sum(len(asset["checks"]) for asset in plan["assets"]),
    }
    save(found)


def _growth_part(rounds: int, save: Save) -> None:
    with tempfile.TemporaryDirectory() as folder:
        increments = growth.grow(Path(folder), rounds)
        save({"increments": increments, "ranges": growth.ranges(Path(folder), rounds)})


def _size_part(lines: int) -> Measure:
    def measure(rounds: int, save: Save) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Comparison(Path(folder) / "shop", lines, rounds, save).run()

    return measure


def _save_as(part: str, rounds: int) -> Save:
    def save(found: dict[str, Any]) -> None:
        # read again: another part may have been measured meanwhile
        figures = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
        figures[part] = found | {"rounds_asked": rounds, "machine": machine(*LIBRARIES)}
        FIGURES.write_text(json.dumps(figures, indent=1, ensure_ascii=False), "utf-8")

    return save


def main() -> None:
    """Measures the parts that are asked for and writes the report of all that have been."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="times that each way is run")
    parser.add_argument("--huge", action="store_true", help="also 100 million lines")
    parser.add_argument("--only", choices=PARTS, action="append", help="these parts alone")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the report again")
    asked = parser.parse_args()
    measures: dict[str, Measure] = {"run": _run_part, "growth": _growth_part}
    measures |= {f"lines_{size}": _size_part(size) for size in (*SIZES, HUGE)}
    usual = [part for part in PARTS if asked.huge or part != f"lines_{HUGE}"]
    for part in () if asked.report else asked.only or usual:
        say(f"--- {part}")
        measures[part](asked.rounds, _save_as(part, asked.rounds))
    print(write_report(json.loads(FIGURES.read_text("utf-8"))))


if __name__ == "__main__":
    main()

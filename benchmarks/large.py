"""A shop that is large for the machine, through all stages, with a bound on the memory of the process.

    uv run python -m benchmarks.large --lines 100000000 --customers 15000000 --weeks 26 --limit 8

Writes the shop's exports, then runs ``rfm run`` twice in a process that can't take more than so much from the
system: the first load with all weeks but the newest, then the newest week's file.
"""

import argparse
import tempfile
from contextlib import nullcontext
from datetime import date
from pathlib import Path

from benchmarks.processes import RFM, Taken, measured
from benchmarks.report import machine, say, table, write
from benchmarks.shops import WEEKS, Drawn, history_files, last_week_file, make_home
from rfm_pipeline.weeks import WEEK


def load_and_grow(
    home: Path, shop: Drawn, weeks: int, memory_limit: str, threads: int | None, limit: float | None
) -> dict[str, Taken]:
    """Makes a home, loads its history with snapshots of the last weeks, then takes in its last week."""
    first: date = shop.last_week - (weeks - 1) * WEEK
    make_home(home, first, memory_limit, threads)
    for path in history_files(shop, home / "orders"):
        say(f"wrote {path.name}")
    found = {}
    command = [RFM, "run", "--home", home]
    found["first load"] = measured(command, limit=limit)
    say(f"first load: {found['first load']}")
    last_week_file(shop, home / "orders" / "week.parquet")
    found["one more week"] = measured(command, limit=limit)
    return found


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=int, default=100_000_000)
    parser.add_argument("--customers", type=int, default=15_000_000)
    parser.add_argument("--weeks", type=int, default=26, help="snapshots")
    parser.add_argument("--limit", type=float, default=8, help="of the process, GiB")
    parser.add_argument("--memory-limit", default="4GB", help="warehouse.memory_limit")
    parser.add_argument("--threads", type=int, help="warehouse.threads")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="make the home here and leave it")
    asked = parser.parse_args()
    shop = Drawn(asked.lines, asked.customers, WEEKS)
    with nullcontext(asked.keep) if asked.keep else tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        found = load_and_grow(home, shop, asked.weeks, asked.memory_limit, asked.threads, asked.limit)
        size = (home / "warehouse.duckdb").stat().st_size / 2**30
    rows = [
        [name, f"{t.seconds:,.0f}", f"{t.cpu_seconds:,.0f}", f"{t.peak:.2f}"] for name, t in found.items()
    ]
    write(
        "large",
        f"# {asked.lines:,} lines, {asked.customers:,} customers, {asked.weeks} weeks\n\n"
        f"{machine('duckdb', 'polars', 'dagster')}\n\n`rfm run` in a process of at most {asked.limit:g} GiB, "
        f"`warehouse.memory_limit` {asked.memory_limit}. The warehouse: {size:.1f} GiB.\n\n"
        + table(["", "s", "processor s", "peak GiB"], rows),
    )


if __name__ == "__main__":
    main()

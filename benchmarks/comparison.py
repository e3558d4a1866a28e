"""This project beside what one would try instead, on the same data in the same run, in alternating rounds.

Belongs here: what is prepared, which way does which task, and that all agree. The work of the ways themselves
is in ``ways`` and ``foreign``.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from benchmarks import foreign
from benchmarks.processes import RFM, OutOfMemory, Taken, measured
from benchmarks.report import memory, say
from benchmarks.shops import Drawn, history_files, last_week_file, make_home, sized
from benchmarks.ways import MEMORY_LIMIT
from rfm_pipeline.weeks import WEEK

PROJECT, DUCKDB, POLARS, PANDAS = "this project", "hand-written DuckDB", "Polars", "pandas"
PYMC, LIFETIMES, DBT = "pymc-marketing `rfm_summary`", "lifetimes summary", "dbt-duckdb"
# weeks of the grid: fewer for a large shop, whose weeks are large themselves
SNAPSHOTS, FEWER_SNAPSHOTS, LARGE = 26, 13, 5_000_000
# of a huge one as few as the tasks need, and no way may take the machine down with it
FEWEST_SNAPSHOTS, HUGE, LEFT_FREE_GIB = 4, 50_000_000, 4
# so much slower than the others that of a large shop one round has to do
_SLOW = ("pymc", "lifetimes", "dbt")
# beyond so many, the time of all is computed from that of some
WEEKS, WEEKS_MEASURED = 104, {PROJECT: 104, DUCKDB: 13, POLARS: 13, PANDAS: 4}
RFM_COLUMNS = (
    "customer_id, recency_days, frequency, cast(round(monetary, 4) as decimal(18, 4)) as monetary, "
    "cast(first_order_at as timestamp) as first_order_at, cast(last_order_at as timestamp) as last_order_at, "
    "cast(last_return_at as timestamp) as last_return_at"
)


@dataclass(frozen=True)
class Round:
    """What a way took once.

    Attributes:
        seconds: The whole process.
        cpu_seconds: The whole process, all cores.
        work_seconds: Without starting Python and importing; None where that is unknown.
        work_cpu_seconds: The same on all cores.
        peak: Memory, GiB.
        rows: What it made.
    """

    seconds: float
    cpu_seconds: float
    work_seconds: float | None
    work_cpu_seconds: float | None
    peak: float
    rows: int | None


Way = Callable[[], Round]
Rounds = dict[str, dict[str, list[dict[str, Any]]]]
"""By task and way: every round."""


def _round(taken: Taken, times: float = 1) -> Round:
    """A process's figures; of a part of the work, those of all of it."""
    try:
        output = json.loads(taken.output.strip().splitlines()[-1])
    except (IndexError, ValueError):
        output = {}
    work, work_cpu = output.get("seconds"), output.get("cpu_seconds")
    peak = output.get("peak", taken.peak)
    around = (taken.seconds - (work or 0), taken.cpu_seconds - (work_cpu or 0))
    if times == 1 or work is None:
        return Round(taken.seconds, taken.cpu_seconds, work, work_cpu, peak, output.get("rows"))
    return Round(
        around[0] + work * times,
        around[1] + work_cpu * times,
        work * times,
        work_cpu * times,
        peak,
        output["rows"],
    )


class Comparison:
    """One size of shop.

    Args:
        folder: An empty folder with room for some twenty times the exports; of a huge shop for five times.
        lines: Order lines.
        rounds: How often every way does its work.
        save: Is given all that was found so far, after every task.
    """

    def __init__(self, folder: Path, lines: int, rounds: int, save: Callable[[dict[str, Any]], None]) -> None:
        self._folder = folder
        self._shop: Drawn = sized(lines)
        self._rounds = rounds
        self._save = save
        self._is_huge = lines > HUGE
        large = FEWEST_SNAPSHOTS if self._is_huge else FEWER_SNAPSHOTS
        self._snapshots = large if lines > LARGE else SNAPSHOTS
        # only a huge shop has ways that need more than there is
        self._limit = float(memory() - LEFT_FREE_GIB) if self._is_huge else None
        self._pythons: dict[str, Path] = {}
        self.missing: dict[str, str] = {}
        self.ended: dict[str, dict[str, str]] = {}

    def run(self) -> None:
        """All tasks; hands over ``rounds`` by task and way, and what else is to be reported."""
        self._prepare()
        rounds: Rounds = {}
        found: dict[str, Any] = {
            "lines": self._shop.lines,
            "snapshots": self._snapshots,
            "rounds": rounds,
            "missing": self.missing,
            "limit": self._limit,
            "ended": self.ended,
            "versions": self._versions(),
            "bytes": sum(path.stat().st_size for path in (self._folder / "data").iterdir()),
        }

        def note(task: str, ways: Mapping[str, Way], times: int = self._rounds) -> None:
            rounds[task] = self._alternate(task, ways, times)
            self._save(found)

        once = 1 if self._shop.lines > LARGE else self._rounds
        note("first load", self._loads(), once)
        self._keep_as("home", "base")
        self._prepare_lines()
        note("customer_rfm, one week", self._one_week())
        found["customers"] = self._require_equal()
        if not self._is_huge:
            # a thousand million rows for each way otherwise
            in_range = {
                "the statement and its commit": self._way("project_range_statement", WEEKS),
                PROJECT: self._way("project_range", WEEKS),
            }
            note(f"{WEEKS} weeks in one range run", in_range, min(2, self._rounds))
            note(f"{WEEKS} weeks, one run each", self._one_by_one(), 1)
            self._keep_as("base", "home")
        found["history"] = asdict(self._make_history()) | {"output": ""}
        note("a week more", self._increments(), once)
        lists = {
            PROJECT: self._way("project_list"),
            DUCKDB: self._way("duckdb_list"),
            POLARS: self._way("polars_list"),
            PANDAS: self._way("pandas_list"),
        }
        note("class and list", lists)
        self._require_same_classes()

    def _keep_as(self, name: str, other: str) -> None:
        """Puts one home, as it is, in the place of another; of a huge shop, whose week comes once, none."""
        if self._is_huge:
            return
        shutil.rmtree(self._folder / other, ignore_errors=True)
        shutil.copytree(self._folder / name, self._folder / other)

    def _prepare(self) -> None:
        (self._folder / "data").mkdir(parents=True)
        for path in history_files(self._shop, self._folder / "data", "csv"):
            say(f"wrote {path.name}")
        last_week_file(self._shop, self._folder / "week.csv")
        week = str(self._shop.last_week)
        (self._folder / "shop.json").write_text(json.dumps({"week": week}), "utf-8")
        for name in foreign.NEEDS:
            try:
                self._pythons[name] = foreign.environment(name, self._folder.parent)
            except (OSError, subprocess.CalledProcessError):
                self.missing[name] = "its environment could not be made"
        foreign.make_dbt_project(self._folder, week, MEMORY_LIMIT)

    def _alternate(self, task: str, ways: Mapping[str, Way], rounds: int) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
        for number in range(1, rounds + 1):
            for name, way in ways.items():
                if number > 1 and self._shop.lines > LARGE and name.startswith(_SLOW):
                    continue
                try:
                    taken = way()
                except OutOfMemory as error:
                    if name.startswith(PROJECT):
                        raise
                    self.ended.setdefault(task, {})[name] = str(error)
                    say(f"{self._shop.lines:,} round {number}: {name}: {error}")
                    continue
                found[name].append(asdict(taken))
                say(
                    f"{self._shop.lines:,} round {number}: {name} {taken.seconds:.1f} s, "
                    f"{taken.cpu_seconds:.1f} s on all cores, {taken.peak:.2f} GiB, {taken.rows} rows"
                )
        return found

    def _way(self, name: str, weeks: int | None = None, of: int | None = None) -> Way:
        arguments = [] if weeks is None else [weeks]
        command = [sys.executable, "-m", "benchmarks.ways", name, self._folder, *map(str, arguments)]
        times = 1 if weeks is None or of is None else of / weeks
        return lambda: _round(self._measured(command), times)

    def _measured(self, command: Sequence[str | Path]) -> Taken:
        return measured(command, limit=self._limit)

    def _fresh_home(self) -> Path:
        home = self._folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        make_home(home, self._shop.last_week - (self._snapshots - 1) * WEEK, MEMORY_LIMIT)
        for path in (self._folder / "data").iterdir():
            (home / "orders" / path.name).hardlink_to(path)
        return home

    def _loads(self) -> dict[str, Way]:
        project = self._way("project_load")

        def load() -> Round:
            self._fresh_home()
            return project()

        ways: dict[str, Way] = {
            PROJECT: load,
            DUCKDB: self._way("duckdb_load"),
            POLARS: self._way("polars_load"),
            PANDAS: self._way("pandas_load"),
        }
        return ways | self._dbt(lambda: self._run_dbt(f"{self._folder}/data/*.csv", "lines", is_full=True))

    def _dbt(self, way: Callable[[], Taken]) -> dict[str, Way]:
        return {DBT: lambda: _round(way())} if "dbt-duckdb" in self._pythons else {}

    def _run_dbt(self, files: str, *models: str, is_full: bool = False) -> Taken:
        python = self._pythons["dbt-duckdb"]
        return foreign.dbt(python, self._folder, files, *models, is_full=is_full, limit=self._limit)

    def _make_history(self) -> Taken:
        """Fills the weeks before the newest; what follows begins from this state."""
        taken = self._measured([RFM, "run", "--home", self._folder / "home"])
        say(f"{self._shop.lines:,}: {self._snapshots - 1} weeks of history in {taken.seconds:.0f} s")
        self._keep_as("home", "base")
        return taken

    def _increments(self) -> dict[str, Way]:
        def project() -> Round:
            run = [RFM, "run", "--home", self._folder / "home"]
            if not self._is_huge:
                self._keep_as("base", "home")
                # a copy is another file, and would be hashed again
                self._measured(run)
            shutil.copyfile(self._folder / "week.csv", self._folder / "home" / "orders" / "week.csv")
            return _round(self._measured(run))

        direct = self._way("duckdb_week")

        def by_hand() -> Round:
            shutil.copyfile(self._folder / "loaded.duckdb", self._folder / "grown.duckdb")
            return direct()

        def by_dbt() -> Taken:
            shutil.copyfile(self._folder / "dbt_base.duckdb", self._folder / "dbt.duckdb")
            return self._run_dbt(f"{self._folder}/week.csv", "+new_silent")

        ways = {
            f"{PROJECT}, all four stages": project,
            f"{DUCKDB}, RFM and the newly silent": by_hand,
            f"{POLARS}, the same": self._way("polars_week"),
            f"{PANDAS}, the same": self._way("pandas_week"),
        }
        return ways | {f"{name}, the same": way for name, way in self._dbt(by_dbt).items()}

    def _prepare_lines(self) -> None:
        # not in this process, which is to stay small
        measured([sys.executable, "-m", "benchmarks.ways", "export", self._folder])
        if (self._folder / "dbt.duckdb").exists():
            shutil.copyfile(self._folder / "dbt.duckdb", self._folder / "dbt_base.duckdb")

    def _one_week(self) -> dict[str, Way]:
        ways: dict[str, Way] = {
            PROJECT: self._way("project_rfm"),
            DUCKDB: self._way("duckdb_rfm"),
            POLARS: self._way("polars_rfm"),
            PANDAS: self._way("pandas_rfm"),
            f"{PANDAS}, lines in memory before": self._way("pandas_rfm_in_memory"),
        }
        for name, which, label in (("pymc-marketing", "pymc", PYMC), ("lifetimes", "lifetimes", LIFETIMES)):
            if name in self._pythons:
                ways[label] = self._summary(self._pythons[name], which)
        return ways | self._dbt(lambda: self._run_dbt("", "rfm_before"))

    def _summary(self, python: Path, which: str) -> Way:
        command = [
            python,
            foreign.SUMMARY,
            which,
            self._folder / "history.parquet",
            str(self._shop.last_week),
            self._folder / f"summary_{which}.parquet",
        ]
        return lambda: _round(self._measured(command))

    def _one_by_one(self) -> dict[str, Way]:
        names = {
            PROJECT: "project_one_by_one",
            DUCKDB: "duckdb_one_by_one",
            POLARS: "polars_one_by_one",
            PANDAS: "pandas_one_by_one",
        }
        return {
            way if WEEKS_MEASURED[way] == WEEKS else f"{way} (from {WEEKS_MEASURED[way]} weeks)": self._way(
                name, WEEKS_MEASURED[way], of=WEEKS
            )
            for way, name in names.items()
        }

    def _require_equal(self) -> int:
        """Stops unless all ways agree row by row, in every column; the summaries in what they share.

        Returns:
            The number of customers.
        """
        with closing(duckdb.connect()) as connection:
            base = f"select {RFM_COLUMNS} from '{self._folder}/rfm_project.parquet'"
            for other in self._made("rfm_{}.parquet"):
                same = f"select {RFM_COLUMNS} from '{self._folder}/rfm_{other}.parquet'"
                _require_same(connection, base, same, other)
            if "dbt-duckdb" in self._pythons:
                connection.execute(f"attach '{self._folder}/dbt.duckdb' as dbt (read_only)")
                _require_same(connection, base, f"select {RFM_COLUMNS} from dbt.rfm_before", "dbt")
            # both leave out who bought for nothing; a day counts from the last day of the week
            shared = (
                "select customer_id, date_diff('day', cast(first_order_at as date), cast(last_order_at as "
                "date)) as recency, date_diff('day', cast(first_order_at as date), date "
                f"'{self._shop.last_week}') - 1 as age from '{self._folder}/rfm_project.parquet'"
            )
            for path in self._folder.glob("summary_*.parquet"):
                theirs = (
                    f"select customer_id, cast(recency as bigint) as recency, cast(T as bigint) as age "
                    f"from '{path}'"
                )
                _require_same(connection, shared, theirs, path.stem)
            return int(connection.sql(f"select count(*) from ({base})").fetchall()[0][0])

    def _require_same_classes(self) -> None:
        """Stops unless all ways gave every silent churner the same class."""
        with closing(duckdb.connect()) as connection:
            query = "select customer_id, churn_class from '{}/classes_{}.parquet'"
            base = query.format(self._folder, "project")
            for other in self._made("classes_{}.parquet"):
                _require_same(connection, base, query.format(self._folder, other), f"classes: {other}")

    def _made(self, name: str) -> list[str]:
        """The ways whose result is there; what was ended for want of memory left none."""
        return [way for way in ("duckdb", "polars", "pandas") if (self._folder / name.format(way)).exists()]

    def _versions(self) -> dict[str, str]:
        found = {}
        for name, python in self._pythons.items():
            script = f"from importlib.metadata import version; print(version('{name}'))"
            done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
            found[name] = done.stdout.strip()
        return found


def _require_same(connection: duckdb.DuckDBPyConnection, left: str, right: str, what: str) -> None:
    counted = connection.execute(
        f"select count(*) from (({left} except all {right}) union all ({right} except all {left}))"
    ).fetchall()
    if counted != [(0,)]:
        raise SystemExit(f"{what} differs from this project in {counted[0][0]} rows")

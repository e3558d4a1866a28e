"""What the benchmarks share: describing the machine, alternating rounds, and writing a Markdown table."""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Timing:
    """What one way of doing something took: a wall and a processor time a round, in seconds.

    Processor time, of this process and those it waited for, hardly moves when the machine is busy otherwise.
    """

    name: str
    seconds: Sequence[float]
    cpu_seconds: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def cpu_median(self) -> float:
        return statistics.median(self.cpu_seconds)

    @property
    def spread(self) -> str:
        return f"{min(self.seconds):.2f} to {max(self.seconds):.2f}"


def memory() -> float:
    """The machine's memory in GiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def machine(*libraries: str) -> str:
    """One sentence on the machine: cores, memory, versions. Never a host name or a path."""
    cores = len(os.sched_getaffinity(0))
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    return (
        f"{cores} cores ({platform.machine()}), {memory():.0f} GiB memory, {platform.system()}, "
        f"Python {platform.python_version()}, {versions}."
    )


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    start, cpu_start = time.perf_counter(), _cpu_seconds()
    work()
    return time.perf_counter() - start, _cpu_seconds() - cpu_start


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def alternate(ways: Mapping[str, Callable[[], object]], rounds: int) -> list[Timing]:
    """Times every way once a round, so that a slow minute of the machine falls on all of them."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(1, rounds + 1):
        for name, work in ways.items():
            found[name].append(timed(work))
            say(f"round {number}: {name} {found[name][-1][0]:.2f} s")
    return [timing(name, times) for name, times in found.items()]


def timing(name: str, times: Sequence[tuple[float, float]]) -> Timing:
    """The rounds of one way, from what :func:`timed` gave for each."""
    return Timing(name, [wall for wall, _ in times], [cpu for _, cpu in times])


def peak_memory() -> float:
    """The most memory that this process has held, in GiB.

    Read from /proc: what ``getrusage`` says begins with the memory of the process that started this one.
    """
    status = Path("/proc/self/status").read_text("ascii")
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes) / 2**20


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def comparison(timings: Sequence[Timing], base: Timing) -> str:
    """The ways as a table, with the wall and processor time of each as a multiple of the base's."""
    return table(
        ["", "median s", "spread s", "×", "processor s", "×"],
        [
            [
                t.name,
                f"{t.median:.2f}",
                t.spread,
                f"{t.median / base.median:.1f}",
                f"{t.cpu_median:.2f}",
                f"{t.cpu_median / base.cpu_median:.1f}",
            ]
            for t in timings
        ],
    )


def write(name: str, text: str) -> None:
    """Prints a result and keeps it in ``benchmarks/results/``."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text + "\n", "utf-8")
    print(text)


def say(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)

"""Running a program and telling what it took: wall and processor time of it and its children, peak memory."""

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

RFM = str(Path(sys.executable).with_name("rfm"))
_PATIENCE_SECONDS = 10
# as Python, Arrow, DuckDB and Polars say it
_NO_MEMORY = re.compile(r"MemoryError|Out of Memory Error|memory allocation of \d+ bytes failed")
_GROUPS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max"),
)


@dataclass(frozen=True)
class Taken:
    """What a process took.

    Attributes:
        seconds: From its start to its exit.
        cpu_seconds: Of all cores, the kernel's work included.
        peak: The most memory that it, or one of its children, held, in GiB. Not less than what this process
            holds when it starts it, so the measuring process keeps small.
        output: What it printed.
    """

    seconds: float
    cpu_seconds: float
    peak: float
    output: str


def measured(
    command: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    limit: float | None = None,
    cwd: Path | None = None,
) -> Taken:
    """Runs a program to its end.

    Args:
        command: The program and its arguments.
        environment: Variables beside those of this process.
        limit: The most memory that the process may hold, in GiB.
        cwd: Where it runs.

    Raises:
        OutOfMemory: If the kernel ended it under the limit, or it says that it got no more memory.
        SystemExit: If it fails; its output is shown.
    """
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as printed,
        nullcontext() if limit is None else bounded(limit) as enter,
    ):
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            env=_environment() | dict(environment or {}),
            stdout=printed,
            stderr=subprocess.STDOUT,
            preexec_fn=enter,
            cwd=cwd,
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        # Popen would wait for it again
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        output = printed.read()
    if limit is not None and process.returncode == -signal.SIGKILL:
        raise OutOfMemory(f"more than {limit:.3g} GiB")
    if process.returncode and _NO_MEMORY.search(output):
        raise OutOfMemory("no memory left within its own limit")
    if process.returncode:
        raise SystemExit(f"{command[0]} failed with {process.returncode}:\n{output[-4000:]}")
    return Taken(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20, output)


class OutOfMemory(SystemExit):
    """A program was ended because it needed more memory than it may have; the message says how much."""


@contextmanager
def bounded(gibibytes: float) -> Iterator[Callable[[], None]]:
    """A bound on memory, as what a process to be calls before it starts its program.

    A control group where this user may make one: the kernel ends a process with more. Otherwise RLIMIT_DATA,
    under which an allocation fails; that counts address space, of which Polars takes 2 GiB in advance.
    """
    size = int(gibibytes * 2**30)
    for root, bound in _GROUPS:
        group = root / f"rfm_{os.getpid()}"
        try:
            group.mkdir()
            (group / bound).write_text(str(size), "ascii")
        except OSError:
            with suppress(OSError):
                group.rmdir()
            continue
        try:
            yield lambda group=group: (group / "cgroup.procs").write_text(str(os.getpid()), "ascii")
        finally:
            _remove(group)
        return
    yield lambda: resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _remove(group: Path) -> None:
    """Removes a control group; for a moment after its last process ended the kernel calls it busy."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            group.rmdir()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@cache
def _compiled() -> str:
    return tempfile.mkdtemp(prefix="rfm_bench_compiled_")


def _environment() -> dict[str, str]:
    """This process's variables, with Python's compiled modules kept as in any installation.

    Where the environment forbids them, most of the time would go into compiling the libraries again.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": _compiled()}

"""A real ``rfm ui``: web server, daemon and code location of one shop, started and ended as a user would.

Belongs here: starting, waiting, asking over GraphQL, ending. What should come of it is the tests'.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rfm_pipeline.shop import Shop

RFM = [sys.executable, "-c", "from rfm_pipeline.cli.app import main; main()"]
START_SECONDS, STOP_SECONDS = 300, 30

_READY = """
{
    workspaceOrError {
        ... on Workspace { locationEntries { loadStatus locationOrLoadError { __typename } } }
    }
    instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } }
}
"""


def wait_until(ready: Callable[[], Any], seconds: float, what: str) -> Any:
    """Polls until something true comes back, and returns it.

    Raises:
        TimeoutError: If nothing did in time.
    """
    end = time.monotonic() + seconds
    while not (found := ready()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} seconds for {what}")
        time.sleep(0.3)
    return found


def rfm(*arguments: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
    """Runs the ``rfm`` command in a process of its own."""
    return subprocess.run([*RFM, *arguments], capture_output=True, text=True, timeout=timeout)


@dataclass
class Server:
    """A running ``rfm ui``.

    Attributes:
        shop: Whose UI it is.
        url: Where it listens.
        process: The command; its process group holds everything it started.
        log_path: What it has printed.
    """

    shop: Shop
    url: str
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text("utf-8")

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The answer to a GraphQL query."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = json.load(answer)
        assert "errors" not in content, content["errors"]
        found: dict[str, Any] = content["data"]
        return found

    def is_ready(self) -> bool:
        """Whether the definitions are loaded and every daemon has reported."""
        assert self.process.poll() is None, self.log
        try:
            state = self.ask(_READY)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        entries = state["workspaceOrError"]["locationEntries"]
        daemons = state["instance"]["daemonHealth"]["allDaemonStatuses"]
        return (
            bool(entries)
            and all(entry["loadStatus"] == "LOADED" for entry in entries)
            and all(daemon["healthy"] for daemon in daemons if daemon["required"])
        )

    def processes(self) -> list[int]:
        """The ids of the processes in its group that still run."""
        group = self.process.pid
        return [process for process in _processes() if _group_of(process) == group]

    def stop(self, how: signal.Signals) -> list[int]:
        """Signals the command alone, and returns the ids of processes that outlived it."""
        self.process.send_signal(how)
        self.process.wait(STOP_SECONDS)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: not self.processes(), STOP_SECONDS, "the children to end")
        return self.processes()


def _processes() -> Sequence[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _group_of(process: int) -> int | None:
    try:
        after_name = Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2]
    except OSError:
        return None
    state, _, group = after_name.split()[:3]
    return None if state == "Z" else int(group)


@contextmanager
def serve(shop: Shop, log_path: Path, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Runs ``rfm ui`` on a free port until the block ends; nothing of it survives."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*RFM, "ui", "--home", str(shop.home), "--port", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    server = Server(shop, f"http://127.0.0.1:{port}", process, log_path)
    try:
        wait_until(server.is_ready, START_SECONDS, "rfm ui to be ready")
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

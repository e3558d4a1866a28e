"""Starting, watching and killing the processes of the Spark tests."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_SECONDS = 180


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Waits until something is true, for as long as a busy machine may need."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)


def wait_for_line(log: Path, words: str) -> None:
    """Waits until a process has written the words to its log."""
    wait_until(lambda: log.exists() and words in log.read_text("utf-8", "replace"), f"{words} in {log.name}")


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Kills a process that leads a group, and all it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

"""Homes that take long to make: made once a session, whatever number of workers ask, then copied.

Belongs here: making once, and copying. Doesn't belong here: what is in the homes, but for the sample shop
that several folders use.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from filelock import FileLock

from rfm_pipeline.demo.sample_shop import make_sample

LAST_WEEK = date(2026, 6, 29)


@dataclass(frozen=True)
class SharedHomes:
    """A folder of the test session in which homes lie that no test may change.

    Attributes:
        folder: Shared by all workers.
    """

    folder: Path

    @classmethod
    def of_session(cls, tmp_path_factory: pytest.TempPathFactory) -> "SharedHomes":
        own = tmp_path_factory.getbasetemp()
        # a worker's folder lies in that of the session
        session = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
        folder = session / "shared_homes"
        folder.mkdir(exist_ok=True)
        return cls(folder)

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """The home of that name; the first caller makes it while the others wait.

        Args:
            name: One for each way to make a home.
            make: Fills a folder that is not there yet. What fails leaves nothing behind.

        Returns:
            The home, for reading only.
        """
        home, unfinished = self.folder / name / "home", self.folder / f"{name}.unfinished"
        with FileLock(self.folder / f"{name}.lock"):
            if not home.exists():
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                make(unfinished / "home")
                unfinished.rename(home.parent)
        return home

    def copy(self, name: str, make: Callable[[Path], object], target: Path) -> Path:
        """A copy of the home of that name, for a test to change."""
        return copy_home(self.made(name, make), target)

    def sample(self) -> Path:
        """The small sample shop of 32 weeks, before its first run."""
        return self.made("sample", make_small_sample)

    def sample_that_was_run(self) -> Path:
        """The small sample shop after ``rfm run``: its newest week went through all stages."""
        return self.made("sample_that_was_run", self._run_sample)

    def _run_sample(self, home: Path) -> None:
        copy_home(self.sample(), home)
        run_home(home)


def make_small_sample(home: Path) -> None:
    """Writes exports and settings of 200 customers and 32 weeks that end with :data:`LAST_WEEK`."""
    make_sample(home, customers=200, weeks=32, seed=3, last_week=LAST_WEEK)


def copy_home(home: Path, target: Path) -> Path:
    """Copies a home to a folder that is not there yet."""
    shutil.copytree(home, target)
    return target


def run_home(home: Path, *arguments: str) -> None:
    """Runs ``rfm run`` in a process of its own, which must succeed."""
    command = [sys.executable, "-c", "from rfm_pipeline.cli.app import main; main()"]
    environment = {name: value for name, value in os.environ.items() if name != "RFM_HOME"}
    done = subprocess.run(
        [*command, "run", "--home", str(home), *arguments],
        env={**environment, "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr

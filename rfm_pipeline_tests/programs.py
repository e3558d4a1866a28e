"""The programs that some tests need and Python's packages don't bring: what they are, and how to get them.

Belongs here: finding a program, and what happens to a test without it. Doesn't belong here: starting one.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Program:
    """A program that is installed beside Python.

    Attributes:
        name: What people call it.
        commands: What it must bring, each by any of its paths; a bare name is looked up in ``PATH``.
        package: The Debian packages that bring it.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    package: str

    def is_installed(self) -> bool:
        return all(any(_is_there(path) for path in paths) for paths in self.commands)

    @property
    def how_to_get_it(self) -> str:
        return f"apt-get install {self.package}"


def _is_there(path: str) -> bool:
    if "/" in path:
        return any(Path("/").glob(path.removeprefix("/")))
    return shutil.which(path) is not None


def _of_postgresql(command: str) -> tuple[str, ...]:
    return (f"/usr/lib/postgresql/*/bin/{command}", command)


def _of_mariadb(command: str) -> tuple[str, ...]:
    return (f"/usr/sbin/{command}", f"/usr/bin/{command}", f"/usr/local/bin/{command}", command)


def _of_java() -> tuple[str, ...]:
    home = os.environ.get("JAVA_HOME")
    return (*([f"{home}/bin/java"] if home else []), "java")


PROGRAMS = {
    "postgresql": Program("PostgreSQL", (_of_postgresql("initdb"), _of_postgresql("postgres")), "postgresql"),
    "mariadb": Program(
        "MariaDB", (_of_mariadb("mariadb-install-db"), _of_mariadb("mariadbd")), "mariadb-server"
    ),
    "java": Program("Java", (_of_java(),), "default-jre-headless"),
    "chromium": Program("Chromium", (("/usr/bin/chromium",),), "chromium fonts-noto-cjk"),
    "libreoffice": Program("LibreOffice", (("soffice",),), "libreoffice-calc"),
    "poppler": Program("poppler", (("pdftotext",),), "poppler-utils"),
    "sqlite3": Program("the command sqlite3", (("sqlite3",),), "sqlite3"),
    "pg_dump": Program("the command pg_dump", (("pg_dump",),), "postgresql"),
}
# what the markers stand for; `database` and `program` name theirs
OF_MARKER = {"spark": ("java",), "browser": ("chromium",), "libreoffice": ("libreoffice",)}
WITH_NAMES = ("database", "program")


def needed_by(item: pytest.Item) -> Iterator[str]:
    """The programs that a test's markers name."""
    for mark in item.iter_markers():
        yield from OF_MARKER.get(mark.name, ())
        if mark.name in WITH_NAMES:
            yield from mark.args


def skips_fail(config: pytest.Config) -> bool:
    """Whether a test whose program is missing fails: with ``--no-skips``, or where ``CI`` is set."""
    return bool(config.getoption("no_skips") or os.environ.get("CI"))


def require(name: str, *, or_fail: bool) -> None:
    """Skips the test that runs, or fails it, if a program is missing."""
    program = PROGRAMS[name]
    if program.is_installed():
        return
    message = f"{program.name} is not installed. Get it: {program.how_to_get_it}"
    if or_fail:
        pytest.fail(message, pytrace=False)
    pytest.skip(message)

"""The plugin that decides which tests run, together with which others, and says which did not run and why.

Belongs here: tiers, skips, and the groups that share a worker. Doesn't belong here: fixtures.
"""

import os
import sys
from collections import Counter
from typing import Any

import pytest

from rfm_pipeline_tests.programs import PROGRAMS, needed_by, require, skips_fail

RUN_SLOW = "uv run pytest -m slow"
OUR_FIXTURES = "rfm_pipeline_tests."
_MISSING = "missing program"
_SLOW_LEFT_OUT = "slow_left_out"
_slow_left_out = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips",
        action="store_true",
        help="fail a test whose program is not installed instead of skipping it; so does CI=1",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_slow_left_out] = 0
    _keep_bytecode(config)
    if not hasattr(config, "workerinput") and config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(_WorkersCounts())


def _keep_bytecode(config: pytest.Config) -> None:
    """Compiles each module once a checkout, not once a process.

    The tests start many Python processes, and each of them would spend most of its life on compiling
    the libraries where ``PYTHONDONTWRITEBYTECODE`` is set. Nothing is written beside the sources.
    """
    if not os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        return
    folder = str(config.rootpath / ".pytest_cache" / "bytecode")
    os.environ["PYTHONPYCACHEPREFIX"] = folder
    sys.dont_write_bytecode = False
    sys.pycache_prefix = folder


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what a test's fixtures say of it, and groups tests that share a fixture."""
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        if "browser" in names:
            item.add_marker("browser")
        for server in names & {"postgresql", "mariadb"}:
            item.add_marker(pytest.mark.database(server))
        group = _group_of(item)
        if group and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group))


def _group_of(item: pytest.Item) -> str | None:
    """The folder or file whose fixture a test shares with others: one worker runs all of them."""
    if not isinstance(item, pytest.Function):
        return None
    scopes = {
        definitions[-1].scope
        for definitions in item._fixtureinfo.name2fixturedefs.values()
        if definitions[-1].func.__module__.startswith(OUR_FIXTURES)
    }
    if "package" in scopes:
        return str(item.path.parent.relative_to(item.config.rootpath))
    if scopes & {"class", "module"}:
        return item.nodeid.partition("::")[0]
    return None


def pytest_deselected(items: list[pytest.Item]) -> None:
    if items:
        config = items[0].config
        config.stash[_slow_left_out] += sum(1 for item in items if item.get_closest_marker("slow"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in needed_by(item):
        if not PROGRAMS[name].is_installed():
            item.user_properties.append((_MISSING, name))
        require(name, or_fail=skips_fail(item.config))


def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_SLOW_LEFT_OUT] = session.config.stash[_slow_left_out]


class _WorkersCounts:
    """Takes over what the workers of xdist have counted: every one of them collects every test."""

    def pytest_testnodedown(self, node: Any) -> None:
        counted = getattr(node, "workeroutput", {}).get(_SLOW_LEFT_OUT, 0)
        node.config.stash[_slow_left_out] = max(node.config.stash[_slow_left_out], counted)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    reports = terminalreporter.stats.get("skipped", [])
    missing = Counter(name for report in reports for key, name in report.user_properties if key == _MISSING)
    for name, tests in sorted(missing.items()):
        program = PROGRAMS[name]
        terminalreporter.write_line(
            f"skipped {_tests(tests)}: no {program.name}. Get it: {program.how_to_get_it}", yellow=True
        )
    slow = config.stash[_slow_left_out]
    if slow:
        terminalreporter.write_line(f"left out {_tests(slow)} of the slow tier. Run them: {RUN_SLOW}")


def _tests(number: int) -> str:
    return f"{number} test{'' if number == 1 else 's'}"

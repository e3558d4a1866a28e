"""What the test command says of the tests that it does not run."""

from pathlib import Path

import pytest

from rfm_pipeline_tests import programs
from rfm_pipeline_tests.hypothesis_profiles import FACTORS, examples

pytest_plugins = ["pytester"]

TESTS = """
import pytest

def test_usual():
    pass

@pytest.mark.slow
def test_slow():
    pass

@pytest.mark.database("mariadb")
def test_of_a_server():
    pass

@pytest.mark.program("mariadb", "sqlite3")
def test_of_two_programs():
    pass
"""


@pytest.fixture
def shell(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with tests of both tiers, and a machine without any program."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(programs.Program, "is_installed", lambda program: False)
    pytester.makepyfile(TESTS)
    markers = "\n".join(f"    {name}" for name in ("slow", "database", "program", "browser"))
    pytester.makeini(f"[pytest]\naddopts = -m 'not slow' -p no:cacheprovider\nmarkers =\n{markers}")
    return pytester


def run(shell: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return shell.runpytest_inprocess("-p", "rfm_pipeline_tests.tiers", *arguments)


def test_a_missing_program_is_one_line_that_says_how_to_get_it(shell: pytest.Pytester) -> None:
    done = run(shell)
    done.assert_outcomes(passed=1, skipped=2, deselected=1)
    skipped = [line for line in done.outlines if line.startswith("skipped ")]
    assert skipped == ["skipped 2 tests: no MariaDB. Get it: apt-get install mariadb-server"]


@pytest.mark.parametrize("how", ["--no-skips", "CI"])
def test_where_nothing_may_be_skipped_a_missing_program_fails(
    shell: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "CI":
        monkeypatch.setenv("CI", "true")
        done = run(shell)
    else:
        done = run(shell, how)
    done.assert_outcomes(passed=1, errors=2, deselected=1)
    done.stdout.fnmatch_lines(["*MariaDB is not installed. Get it: apt-get install mariadb-server*"])


def test_slow_tests_are_counted_and_their_command_is_given(shell: pytest.Pytester) -> None:
    expected = "left out 1 test of the slow tier. Run them: uv run pytest -m slow"
    assert expected in run(shell).outlines
    slow = run(shell, "-m", "slow")
    slow.assert_outcomes(passed=1, deselected=3)
    assert expected not in slow.outlines


def test_workers_count_each_test_that_is_left_out_once(shell: pytest.Pytester) -> None:
    done = run(shell, "-n", "2", "-p", "xdist")
    assert "left out 1 test of the slow tier. Run them: uv run pytest -m slow" in done.outlines


def test_every_program_names_its_package() -> None:
    for program in programs.PROGRAMS.values():
        assert program.how_to_get_it.startswith("apt-get install ")
    assert not programs.Program("x", (("/usr/bin/no-such-program", "no-such-program"),), "x").is_installed()
    assert programs.Program("x", (("no-such-program", "sh"),), "x").is_installed()


def test_a_profile_of_hypothesis_scales_every_number_of_examples() -> None:
    assert examples(1) >= 1
    assert FACTORS["quick"] <= FACTORS["ci"] < FACTORS["thorough"]


def test_no_test_writes_its_number_of_examples_past_the_profiles() -> None:
    tests = Path(__file__).parent
    own = ("max_examples=" + "examples(", "max_examples=_scaled(")
    for path in tests.rglob("*.py"):
        for line in path.read_text("utf-8").splitlines():
            if "max_examples" + "=" in line:
                assert any(way in line for way in own), f"{path.name}: {line.strip()}"


def test_tests_of_one_group_run_on_one_worker(pytester: pytest.Pytester) -> None:
    # with some versions of pytest, xdist ignores the groups and says nothing
    pytester.makepyfile(
        """
        import os, pathlib, pytest

        @pytest.mark.xdist_group("shared")
        @pytest.mark.parametrize("number", range(8))
        def test_one_of_many(number):
            with open(pathlib.Path(__file__).with_name("workers"), "a") as log:
                log.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
        """
    )
    pytester.runpytest_inprocess("-p", "xdist", "-n", "2", "--dist", "loadgroup").assert_outcomes(passed=8)
    workers = (pytester.path / "workers").read_text("utf-8").split()
    assert (len(workers), len(set(workers))) == (8, 1)

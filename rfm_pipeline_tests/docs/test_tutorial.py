"""The tutorial's commands print what the tutorial says."""

import subprocess
from pathlib import Path

import pytest

from docs.run_tutorial import PAGES, Step, run, steps_of, with_outputs


@pytest.mark.slow
def test_the_commands_print_what_the_page_says(tmp_path: Path) -> None:
    said = steps_of(PAGES[0].read_text("utf-8"))
    printed = run([step.command for step in said], tmp_path.resolve())
    assert len(said) > 10
    for expected, found in zip(said, printed, strict=True):
        assert found == expected, "if the output is right, run python -m docs.run_tutorial"


def test_both_languages_have_the_same_commands_and_outputs() -> None:
    english, chinese = (steps_of(page.read_text("utf-8")) for page in PAGES)
    assert english == chinese


def test_every_command_that_reports_has_its_output() -> None:
    silent = ("cp ",)
    for step in steps_of(PAGES[0].read_text("utf-8")):
        assert step.output or step.command.startswith(silent), step.command


PAGE = "Text.\n\n```console\n$ echo one\nold\n$ true\n```\n\nMore.\n\n```sh\n$ not run\n```\n"


def test_steps_are_commands_with_what_stands_below_them() -> None:
    assert steps_of(PAGE) == [Step("echo one", "old"), Step("true", "")]


def test_a_command_that_prints_something_else_is_found_out(tmp_path: Path) -> None:
    printed = run([step.command for step in steps_of(PAGE)], tmp_path)
    assert printed == [Step("echo one", "one"), Step("true", "")]
    assert with_outputs(PAGE, printed) == PAGE.replace("old", "one")


def test_the_folder_and_progress_are_left_out(tmp_path: Path) -> None:
    (step,) = run(["pwd; echo '   6.4 s  raw_orders' >&2; echo done"], tmp_path)
    assert step.output == "/home/lin/rfm_pipeline\ndone"


def test_a_command_that_fails_stops(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError, match="non-zero exit status 3"):
        run(["exit 3"], tmp_path)

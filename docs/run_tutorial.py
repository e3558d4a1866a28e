"""Runs the tutorial's commands and compares the page with what they print.

Run ``uv run python -m docs.run_tutorial`` to write what they print now into the tutorial, in both languages.

A block ``console`` holds commands, each on a line that begins with ``$ ``, and below each what it prints.
Both pages have the same commands in the same order. What differs between runs and machines is not compared:
the folder is replaced, and the lines of progress with their seconds are left out.

Belongs here: reading, running and writing the blocks. What the page says is the page's.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parent
PAGES = (DOCS / "tutorial" / "first-monday.md", DOCS / "zh" / "tutorial.md")
SHOWN_FOLDER = "/home/lin/rfm_pipeline"
SECONDS = 540

_BLOCK = re.compile(r"(?<=^```console\n)(?P<text>.*?)(?=^```$)", re.DOTALL | re.MULTILINE)
_OWN = ("RFM_", "DAGSTER_", "FORCE_COLOR", "TTY_", "GITHUB_ACTIONS")
_PROGRESS = re.compile(r"^ *\d+\.\d s  ")


@dataclass(frozen=True)
class Step:
    """A command of the page and what it prints."""

    command: str
    output: str


def steps_of(page: str) -> list[Step]:
    """The commands of a page's blocks, in order."""
    found = []
    for block in _BLOCK.finditer(page):
        for part in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append(Step(command, output.rstrip("\n")))
    return found


def run(commands: Sequence[str], folder: Path) -> list[Step]:
    """Runs commands in a folder, as a reader does who has installed ``rfm``.

    Raises:
        subprocess.CalledProcessError: If a command fails.
        subprocess.TimeoutExpired: If a command takes longer than ``SECONDS``.
    """
    bash = shutil.which("bash")
    assert bash is not None, "the tutorial's commands are for bash"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "80",
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",  # the order of `ls`
    }
    done = []
    for command in commands:
        result = subprocess.run(
            [bash, "-c", command.replace("uv run rfm", "rfm")],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=SECONDS,
            check=True,
        )
        done.append(Step(command, _same_everywhere(result.stdout, folder)))
    return done


def _same_everywhere(output: str, folder: Path) -> str:
    """Output without what differs between two runs."""
    lines = [line.rstrip() for line in output.splitlines() if not _PROGRESS.match(line)]
    return "\n".join(lines).replace(str(folder), SHOWN_FOLDER).strip("\n")


def with_outputs(page: str, steps: Sequence[Step]) -> str:
    """The page with the outputs of these steps, which must be those of the page in its order."""
    left = list(steps)

    def block(found: re.Match[str]) -> str:
        commands = re.findall(r"^\$ .*$", found["text"], re.MULTILINE)
        texts = []
        for _ in commands:
            step = left.pop(0)
            texts.append("\n".join(part for part in (f"$ {step.command}", step.output) if part))
        return "\n".join(texts) + "\n"

    return _BLOCK.sub(block, page)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = run([step.command for step in steps_of(PAGES[0].read_text("utf-8"))], Path(folder).resolve())
    for path in PAGES:
        path.write_text(with_outputs(path.read_text("utf-8"), made), "utf-8")

"""That the package stays in order: where modules are, that each says what belongs in it, and its words."""

import ast
import re
from pathlib import Path

import pytest

import rfm_pipeline

PACKAGE = Path(rfm_pipeline.__file__).parent
PROJECT = PACKAGE.parent
ROOM_FOR_ALL = {"__init__.py", "definitions.py", "errors.py", "shop.py", "weeks.py"}
MODULES = sorted(PACKAGE.rglob("*.py"))
# each with the word to write in its place
UNWANTED = {
    r"told": "said, known, reported",
    r"reckon\w*": "compute",
    r"anew": "again",
    r"whoever": "the caller, the process, the person",
    r"stands? in": "is in",
}


def test_the_root_holds_only_what_everybody_needs() -> None:
    assert {path.name for path in PACKAGE.iterdir() if path.is_file()} == ROOM_FOR_ALL


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in MODULES}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_belongs_in_it(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert said, f"{path.relative_to(PROJECT)} has no docstring"
    assert len(said.split()) >= 4, f"{path.relative_to(PROJECT)}: {said!r} says too little"


@pytest.mark.parametrize("word", UNWANTED)
def test_texts_are_written_in_plain_english(word: str) -> None:
    found = re.compile(rf"\b{word}\b", re.IGNORECASE)
    texts = [path for ending in ("py", "sql", "j2", "yaml", "md") for path in PACKAGE.rglob(f"*.{ending}")]
    places = [
        f"{path.relative_to(PROJECT)}:{number}"
        for path in texts
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        # a value of this setting is the word itself
        if found.search(line) and "date_order" not in line
    ]
    assert not places, f"write {UNWANTED[word]} instead of {word!r}: {', '.join(places)}"

"""The READMEs and the pages of ``docs/``: short enough, and every link leads somewhere."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "benchmarks" / "README.md"])
CODE = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
COMMANDS = "```sh\npip install uv && uv run rfm run\n```", "```sh\npip install uv && uv run pytest\n```"


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def links(page: Path) -> list[str]:
    """The targets of a page's links that lie in this repository."""
    text = CODE.sub("", page.read_text("utf-8"))
    targets = [found["target"].strip("<>") for found in LINK.finditer(text)]
    return [target for target in targets if not urlsplit(target).scheme]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs both spell them for plain headings."""
    headings = re.findall(r"^#+ +(.*)$", CODE.sub("", page.read_text("utf-8")), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).strip() for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for target in links(page):
        path, _, anchor = unquote(target).partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (anchor and anchor not in anchors(place)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_and_a_missing_anchor_are_found_out(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One\n[a](page.md#one) [b](page.md#two) [c](gone.md) [d](https://a.example)\n")
    assert broken(page) == ["page.md#two", "gone.md"]


@pytest.mark.parametrize("page", READMES, ids=name)
def test_a_readme_is_read_in_one_go(page: Path) -> None:
    assert len(page.read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", READMES, ids=name)
def test_a_readme_begins_with_the_two_commands(page: Path) -> None:
    beginning = "\n".join(page.read_text("utf-8").splitlines()[:20])
    first, second = (beginning.find(command) for command in COMMANDS)
    assert 0 < first < second


def test_the_site_leads_to_every_page() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    in_navigation = set(re.findall(r"[\w/-]+\.md", str(site["nav"])))
    assert in_navigation == {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}

"""The reference says what the code says: settings, commands, tables, folders."""

import re
from pathlib import Path

import pytest

from docs import generate
from rfm_pipeline.shop import ShopFile

DOCS = Path(__file__).parents[2] / "docs"


def page(name: str) -> str:
    return (DOCS / "reference" / f"{name}.md").read_text("utf-8")


@pytest.mark.parametrize(
    "path", ["reference/settings", "reference/commands", "reference/tables", "explanation/architecture"]
)
def test_the_page_is_up_to_date(path: str) -> None:
    text = (DOCS / f"{path}.md").read_text("utf-8")
    assert "<!-- end of " in text
    assert text == generate.up_to_date(text), "run python -m docs.generate"


def test_a_stale_page_is_found_out() -> None:
    stale = page("commands").replace("## rfm forget", "## rfm remember")
    assert stale != page("commands")
    assert generate.up_to_date(stale) == page("commands")


def settings() -> list[tuple[str, str]]:
    """The sections of ``shop.yaml`` and their direct settings, read from the model in another way."""
    schema = ShopFile.model_json_schema()
    return [
        (section, key)
        for section, place in schema["properties"].items()
        for key in schema["$defs"][place["$ref"].rpartition("/")[2]]["properties"]
    ]


@pytest.mark.parametrize(("section", "key"), settings())
def test_every_setting_is_in_its_section(section: str, key: str) -> None:
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", page("settings"), re.DOTALL | re.MULTILINE)
    assert re.search(rf"^\| `{key}[.`]", text, re.MULTILINE)


def test_every_setting_has_a_type_and_a_meaning() -> None:
    rows = re.findall(r"^\| `[\w.]+` \|.*$", page("settings"), re.MULTILINE)
    assert len(rows) >= len(settings())
    for row in rows:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        assert len(cells) == 4, row
        assert all(cells), row


def test_every_table_has_its_line_in_the_overview() -> None:
    overview = page("tables").partition("<!-- tables -->")[0]
    cells = re.findall(r"^\| (`.*?) \|", overview, re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", " ".join(cells)))
    assert named == {table.name for tables in generate.all_tables().values() for table in tables}


def test_every_column_of_a_table_is_explained() -> None:
    for tables in generate.all_tables().values():
        for table in tables:
            for name, column in table.schema.columns.items():
                assert column.description, f"{table.name}.{name}"


def test_every_command_of_the_help_is_on_the_page() -> None:
    headings = re.findall(r"^## rfm (.*)$", page("commands"), re.MULTILINE)
    assert {heading.split()[0] for heading in headings} == set(generate.COMMANDS.commands)

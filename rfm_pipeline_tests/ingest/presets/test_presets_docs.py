"""``docs/reference/presets.md`` says what the presets say: its tables come from the YAML files.

``python -m docs.generate`` writes them again, in place, between their markers.
"""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from docs.generate import preset_tables, up_to_date
from rfm_pipeline.ingest.files.archives import SUFFIXES
from rfm_pipeline.ingest.files.reading import _value_rules, _whole_row_rules
from rfm_pipeline.ingest.presets import ALL_COLUMNS, Preset, load_preset, preset_names
from rfm_pipeline.shop import DatabaseSection

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "presets.md"
BLOCK = re.compile(r"(<!-- preset (?P<name>\w+) -->\n).*?(<!-- end of \w+ -->)", re.DOTALL)


def test_the_tables_are_those_of_the_presets() -> None:
    text = PAGE.read_text("utf-8")
    assert text == up_to_date(text), "run python -m docs.generate"


def test_every_shipped_preset_is_on_the_page_once() -> None:
    named = [block["name"] for block in BLOCK.finditer(PAGE.read_text("utf-8"))]
    assert sorted(named) == preset_names()


def test_a_changed_preset_makes_the_page_stale() -> None:
    preset = load_preset("jd")
    other = preset.model_copy(update={"columns": {**preset.columns, "sku": ("货号",)}})
    assert preset_tables(other) != preset_tables(preset)


@pytest.mark.parametrize("key", [key for key in Preset.model_fields if key != "name"])
def test_every_key_of_a_preset_is_explained(key: str) -> None:
    assert f"| `{key}` |" in PAGE.read_text("utf-8")


@pytest.mark.parametrize("column", ALL_COLUMNS)
def test_every_column_is_explained(column: str) -> None:
    assert f"| `{column}` |" in PAGE.read_text("utf-8")


@pytest.mark.parametrize("key", DatabaseSection.model_fields)
def test_every_key_of_a_database_is_explained(key: str) -> None:
    assert f"| `{key}` |" in PAGE.read_text("utf-8")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_is_named(suffix: str) -> None:
    assert f"`{suffix}`" in PAGE.read_text("utf-8")


def test_every_reason_to_reject_a_row_is_explained() -> None:
    """Words in brackets left out; `quantity is no number` may be said as `… is no number`."""
    text = PAGE.read_text("utf-8")
    rules = [*_whole_row_rules(), *_value_rules(load_preset("taobao_orders"), defaultdict(lambda: True))]
    rules += _value_rules(load_preset("standard"), defaultdict(lambda: True))
    columns = "|".join(ALL_COLUMNS)
    for _, reason in rules:
        short = reason.split(" (")[0].split(";")[0]
        of_any = re.sub(rf"^({columns}) ", "… ", short)
        assert not short or f"`{short}`" in text or f"`{of_any}`" in text, reason


def test_own_presets_on_the_page_can_be_loaded(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(# presets/\w+\.yaml\n.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "mine.yaml").write_text(example, "utf-8")
    preset = load_preset("mine", tmp_path)
    assert set(preset.required) <= set(preset.columns)

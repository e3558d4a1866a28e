"""The pages on the ledger say what it is, and their commands do what they say."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from rfm_pipeline.ledger import DONE, FAILED, PENDING, REJECTED, UNMATCHED, Ledger, migrations
from rfm_pipeline.ledger.tables import METADATA
from rfm_pipeline.shop import LedgerSection
from rfm_pipeline_tests.ingest.databases.servers import ADMIN, Server
from rfm_pipeline_tests.ledger.ledger_rows import WEEK, seal
from rfm_pipeline_tests.ledger.test_copying import fill, rows

ROOT = Path(__file__).parents[2]
PAGES = ("docs/reference/ledger.md", "docs/how-to/ledger.md")
PAGE = "\n".join((ROOT / page).read_text("utf-8") for page in PAGES)
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##)", PAGE, re.DOTALL | re.MULTILINE))


def test_every_table_has_its_section_and_no_other_has() -> None:
    assert set(SECTIONS) == {*METADATA.tables, migrations.VERSION_TABLE}


@pytest.mark.parametrize("name", METADATA.tables)
def test_every_column_is_explained_in_its_order(name: str) -> None:
    explained = re.findall(r"^\| `(\w+)` \|", SECTIONS[name], re.MULTILINE)
    assert explained == METADATA.tables[name].columns.keys()


@pytest.mark.parametrize("name", METADATA.tables)
def test_every_key_is_named(name: str) -> None:
    named = re.search(r"Keys?: (.*)", SECTIONS[name])
    assert named is not None
    for column in METADATA.tables[name].primary_key.columns:
        assert f"`{column.name}`" in named[1]


@pytest.mark.parametrize("status", [PENDING, DONE, FAILED, REJECTED, UNMATCHED])
def test_every_state_is_explained(status: str) -> None:
    assert f"| `{status}` |" in PAGE


def test_every_version_is_named() -> None:
    versions = re.findall(r"^\| `(\d{4})` \|", PAGE, re.MULTILINE)
    assert versions == [f"{number:04}" for number in range(1, int(migrations.NEWEST) + 1)]


@pytest.mark.parametrize("key", LedgerSection.model_fields)
def test_every_setting_is_named(key: str) -> None:
    assert f"`ledger.{key}`" in PAGE


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_linked(page: str) -> None:
    assert f"({page})" in (ROOT / "README.md").read_text("utf-8")


def test_the_chinese_readme_links_the_reference() -> None:
    assert f"({PAGES[0]})" in (ROOT / "README.zh-CN.md").read_text("utf-8")


def commands(start: str) -> list[str]:
    """The lines of the page's shell blocks that begin so."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith(start)]


@pytest.mark.program("sqlite3")
def test_the_backup_of_a_file_is_the_ledger(tmp_path: Path) -> None:
    (tmp_path / "myshop").mkdir()
    ledger = Ledger(f"sqlite:///{tmp_path / 'myshop' / 'ledger.sqlite'}")
    fill(ledger)
    (command,) = commands("sqlite3")
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    assert rows(Ledger(f"sqlite:///{tmp_path / 'ledger-backup.sqlite'}")) == rows(ledger)


@pytest.mark.program("pg_dump")
def test_the_backup_of_a_database_is_the_ledger(server: Server, tmp_path: Path) -> None:
    server.execute("create database ledger_kept", "create database ledger_restored")
    ledgers = []
    for database, start in (("ledger_kept", "pg_dump"), ("ledger_restored", "pg_restore")):
        url = server.url(user=ADMIN, database=database)
        ledger = Ledger(url.replace("postgresql:", "postgresql+psycopg:"))
        if start == "pg_dump":
            fill(ledger)
        (command,) = commands(start)
        environment = os.environ | {"RFM_LEDGER_URL": url}
        subprocess.run(command, shell=True, cwd=tmp_path, check=True, env=environment)
        ledgers.append(ledger)
    kept, restored = ledgers
    assert rows(restored) == rows(kept)
    assert not seal(restored, "late", week=WEEK)

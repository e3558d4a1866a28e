"""A ledger for a test: once in an SQLite file, once in a real PostgreSQL, empty each time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rfm_pipeline.ledger import Ledger
from rfm_pipeline_tests.ingest.databases.servers import Server, server_or_skip
from rfm_pipeline_tests.ledger.ledger_rows import fresh_schema


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with server_or_skip("postgresql") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    return fresh_schema(request.getfixturevalue("server"))


@pytest.fixture
def ledger(url: str) -> Ledger:
    return Ledger(url)


@pytest.fixture
def file_ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")

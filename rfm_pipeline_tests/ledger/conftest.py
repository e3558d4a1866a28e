"""A ledger for a test: once in an SQLite file, once in a real PostgreSQL, empty each time."""

from pathlib import Path

import pytest

from rfm_pipeline.ledger import Ledger
from rfm_pipeline_tests.ingest.databases.servers import Server
from rfm_pipeline_tests.ledger.ledger_rows import fresh_schema


@pytest.fixture
def server(postgresql: Server) -> Server:
    return postgresql


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.database("postgresql"))])
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

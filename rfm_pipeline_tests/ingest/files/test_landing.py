"""The landing folder: a file's bytes are read again exactly when they may have changed."""

import os
import time
from pathlib import Path

import pytest

from rfm_pipeline.ingest.files.landing import Landing, known_hashes, landed_files, note_hashes
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline_tests.helpers import make_shop

OLD = time.time() - 3600


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return make_shop(tmp_path)


def write(shop: Shop, name: str, text: str, modified: float = OLD) -> Path:
    path = shop.orders_dir / name
    path.write_text(text, "utf-8")
    os.utime(path, (modified, modified))
    return path


def settled(shop: Shop) -> dict[str, Landing]:
    """The files, after their last change has become a moment ago."""
    time.sleep(2.1)
    return {file.name: file for file in landed_files(shop)[0]}


def test_a_known_state_is_not_read_again(shop: Shop) -> None:
    write(shop, "a.csv", "1")
    file = settled(shop)["a.csv"]
    # a hash that the bytes do not have shows whether they were read
    again, _ = landed_files(shop, {("a.csv", file.state): "noted before"})
    assert [found.content_hash for found in again] == ["noted before"]


def test_other_bytes_of_equal_size_and_time_are_seen(shop: Shop) -> None:
    write(shop, "a.csv", "1")
    before = settled(shop)["a.csv"]
    write(shop, "a.csv", "2")
    again, _ = landed_files(shop, {("a.csv", before.state): before.content_hash})
    assert again[0].state.modified_ns == before.state.modified_ns
    assert again[0].content_hash != before.content_hash


def test_a_replaced_file_is_seen(shop: Shop) -> None:
    write(shop, "a.csv", "1")
    other = write(shop, "b.csv", "2")
    before = settled(shop)
    other.replace(shop.orders_dir / "a.csv")
    known = {(name, file.state): file.content_hash for name, file in before.items()}
    [found], _ = landed_files(shop, known)
    assert found.content_hash == before["b.csv"].content_hash


def test_what_was_just_written_is_not_noted(shop: Shop, tmp_path: Path) -> None:
    write(shop, "old.csv", "1")
    settled(shop)
    write(shop, "new.csv", "2")
    landed, _ = landed_files(shop)
    with Warehouse(tmp_path / "warehouse.duckdb").transaction() as session:
        note_hashes(session, landed)
        assert {name for name, _ in known_hashes(session)} == {"old.csv"}


def test_files_that_are_gone_are_no_longer_noted(shop: Shop, tmp_path: Path) -> None:
    path = write(shop, "a.csv", "1")
    write(shop, "b.csv", "2")
    files = settled(shop)
    with Warehouse(tmp_path / "warehouse.duckdb").transaction() as session:
        note_hashes(session, list(files.values()))
        path.unlink()
        note_hashes(session, landed_files(shop, known_hashes(session))[0])
        assert known_hashes(session) == {("b.csv", files["b.csv"].state): files["b.csv"].content_hash}

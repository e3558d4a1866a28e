"""The versions by which Dagster sees that code, settings or data of an asset changed.

The code version of a table is a digest of the files that make it, its columns, and the sections of
``shop.yaml`` that decide what it holds: a changed threshold shows like changed SQL. From it and the versions
of what the asset is made from, Dagster derives the data version. That is honest where Dagster sees all that
goes in: ``raw_orders`` itself says which exports it holds, and an asset that reads the ledger or the team's
files has a new version with every run.

A run of several weeks gives all of them one data version; Dagster has no way to give each its own. What
belongs to one week (``inputs_version``, ``made_again_because``) is in the week's metadata.
"""

import sys
from collections.abc import Callable, Sequence
from hashlib import sha256
from inspect import getsource
from typing import Any

import dagster as dg

from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Session
from rfm_pipeline.warehouse.schema import Table
from rfm_pipeline.warehouse.sql import read_sql


def code_version(
    shop: Shop,
    stage: str,
    made_by: Sequence[str | Callable[..., Any]],
    table: Table,
    sections: Sequence[str],
) -> str:
    """The version of what makes a table.

    Args:
        shop: The settings.
        stage: The stage whose folder holds its SQL files.
        made_by: The SQL files, by name, and functions whose modules make it.
        table: Its columns.
        sections: The sections of ``shop.yaml`` that decide what it holds.

    Raises:
        FileNotFoundError: If the stage has no such SQL file.
    """
    digest = sha256(table.ddl.encode())
    for maker in made_by:
        digest.update(_text_of(stage, maker))
    for section in sections:
        digest.update(getattr(shop, section).model_dump_json().encode())
    return digest.hexdigest()[:12]


def _text_of(stage: str, maker: str | Callable[..., Any]) -> bytes:
    if isinstance(maker, str):
        return read_sql(f"rfm_pipeline.{stage}", maker.removesuffix(".sql")).encode()
    return getsource(sys.modules[maker.__module__]).encode()


def exports_version(session: Session) -> dg.DataVersion:
    """The version of the orders as landed: which exports are in force, read how, in which order."""
    digest = session.value(
        "select md5(string_agg(content_hash || ' ' || read_as, ',' order by batch_id)) from order_batches"
    )
    return dg.DataVersion(digest or "no orders")


def version_of_run(context: dg.AssetExecutionContext) -> dg.DataVersion:
    """A version of its own for every run: for assets made from what Dagster does not see."""
    return dg.DataVersion(context.run.run_id)

"""The warehouse that a shop's settings ask for."""

from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse


def warehouse_of(shop: Shop) -> Warehouse:
    """The shop's warehouse with the limits of its settings."""
    return Warehouse(
        path=shop.warehouse_path,
        memory_limit=shop.warehouse.memory_limit,
        threads=shop.warehouse.threads,
        lock_wait_seconds=shop.warehouse.lock_wait_seconds,
    )

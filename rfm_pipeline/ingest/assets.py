"""The ingest stage's assets: ``raw_orders`` and ``order_lines``."""

from typing import Any

import dagster as dg

from rfm_pipeline.asset_kit import answer_checks, asset_arguments, one_connection, permanent_failures
from rfm_pipeline.ingest.checks import ORDER_LINES_CHECKS, RAW_ORDERS_CHECKS
from rfm_pipeline.ingest.loading import LoadReport, load_new_files, update_order_lines
from rfm_pipeline.ingest.schemas import ORDER_LINES, RAW_ORDERS
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse

STAGE = "ingest"


def build_assets(shop: Shop) -> list[dg.AssetsDefinition]:
    """The assets of the stage for one shop."""

    @dg.asset(
        **asset_arguments(
            shop,
            RAW_ORDERS,
            STAGE,
            "Order lines as landed, typed, with batch, file row and reason of what was rejected "
            "(order_batches, rejected_rows). A file is read once; a changed file replaces its rows.",
            RAW_ORDERS_CHECKS,
            kinds=frozenset({"duckdb", "polars", "csv"}),
        )
    )
    def raw_orders(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        ledger: dg.ResourceParam[Ledger],
    ) -> dg.MaterializeResult:
        # not on one connection: typing a large file takes long, and the warehouse isn't needed meanwhile
        with permanent_failures():
            report = load_new_files(warehouse, shop, context.log.info, ledger)
        rows = warehouse.read("select count(*) as n from raw_orders")["n"][0]
        return dg.MaterializeResult(
            metadata={"dagster/row_count": rows, **_load_metadata(report)},
            check_results=answer_checks(warehouse, shop, RAW_ORDERS_CHECKS),
        )

    @dg.asset(
        deps=[raw_orders],
        **asset_arguments(
            shop,
            ORDER_LINES,
            STAGE,
            "The lines of the current truth: of every order, the lines of the latest export that holds it.",
            ORDER_LINES_CHECKS,
        ),
    )
    @one_connection
    def order_lines(warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult:
        done = update_order_lines(warehouse, shop)
        rows = warehouse.read("select count(*) as n from order_lines")["n"][0]
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": rows,
                "orders_touched": done["orders"],
                "lines_written": done["lines"],
                "weeks_changed": done["weeks"],
            },
            check_results=answer_checks(warehouse, shop, ORDER_LINES_CHECKS),
        )

    return [raw_orders, order_lines]


def _load_metadata(report: LoadReport) -> dict[str, Any]:
    """Counts of the run, and the loaded files as a table."""
    shown = ("file_name", "rows_read", "rows_accepted", "rows_unpaid", "rows_rejected", "rows_identical")
    metadata: dict[str, Any] = {
        "files_loaded": len(report.loaded),
        "files_unchanged": report.unchanged,
        "files_ignored": len(report.ignored),
    }
    if report.loaded:
        metadata["files"] = dg.MetadataValue.table(
            [dg.TableRecord({name: batch[name] for name in shown}) for batch in report.loaded[:200]],
            schema=dg.TableSchema(
                [dg.TableColumn(name, "string" if name == "file_name" else "int") for name in shown]
            ),
        )
    return metadata

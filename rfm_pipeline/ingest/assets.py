"""The ingest stage's assets: ``raw_orders`` and ``order_lines``, with the tables beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from rfm_pipeline.ingest.batches import insert_batch
from rfm_pipeline.ingest.checks import ORDER_LINES_CHECKS, RAW_ORDERS_CHECKS
from rfm_pipeline.ingest.files.reading import read_rows
from rfm_pipeline.ingest.loading import LoadReport, load_new_orders, note_checked, update_order_lines
from rfm_pipeline.ingest.report import FILE_COLUMNS, files_in_force, rejected_by_reason, write_report
from rfm_pipeline.ingest.schemas import (
    ORDER_BATCHES,
    ORDER_CONTACTS,
    ORDER_LINES,
    RAW_ORDERS,
    REJECTED_ROWS,
    SET_BACK_ORDERS,
    UNPAID_ORDERS,
)
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.orchestration.asset_arguments import (
    SQL_KINDS,
    Results,
    Stage,
    TableAsset,
    all_blocking_passed,
    answer_checks,
    one_connection,
    permanent_failures,
    plain_results,
    selected,
    table_step,
)
from rfm_pipeline.orchestration.versions import exports_version
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import shop_now

STAGE = Stage("ingest", settings=("shop", "orders"))
_ROWS_SHOWN = 200


def build_assets(shop: Shop) -> list[dg.AssetsDefinition]:
    """The assets of the stage for one shop."""
    landed = _landed_kinds(shop)

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                RAW_ORDERS,
                "Order lines as landed, typed, with batch and file row. A file is read once; a changed file "
                "replaces its rows. Of a database, the orders that changed since the last read.",
                made_by=(insert_batch, read_rows),
                kinds=landed,
            ),
            TableAsset(
                REJECTED_ROWS,
                "The rows that could not be read: file, row number, reason, and the row's text.",
                made_by=(insert_batch, read_rows),
                kinds=landed,
            ),
            TableAsset(
                UNPAID_ORDERS,
                "The orders that an export holds as unpaid or cancelled before payment.",
                made_by=(insert_batch, read_rows),
                kinds=landed,
            ),
            TableAsset(
                ORDER_BATCHES,
                "The exports that were read: content, preset, and what became of their rows.",
                deps=["raw_orders"],
                made_by=(insert_batch, read_rows),
                kinds=landed,
            ),
            TableAsset(
                SET_BACK_ORDERS,
                "The orders of which a later export says less than an earlier one: a refund or a payment is "
                "gone. Mostly an old export that was dropped in again.",
                deps=["raw_orders", "unpaid_orders", "order_batches"],
            ),
            checks=RAW_ORDERS_CHECKS,
        )
    )
    def raw_orders(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        ledger: dg.ResourceParam[Ledger],
    ) -> Results:
        # not on one connection: typing a large file takes long, and the warehouse isn't needed meanwhile
        with permanent_failures():
            report = load_new_orders(warehouse, shop, context.log.info, ledger)
        written = write_report(shop, warehouse, report, shop_now(shop))
        in_force = files_in_force(warehouse, _ROWS_SHOWN)
        reasons = rejected_by_reason(warehouse, in_force)
        with warehouse.transaction() as session:
            version = exports_version(session)
        results = plain_results(
            warehouse,
            RAW_ORDERS,
            after=(REJECTED_ROWS, UNPAID_ORDERS, ORDER_BATCHES, SET_BACK_ORDERS),
            metadata={
                **_load_metadata(report, in_force, reasons),
                **({} if written is None else {"report": dg.MetadataValue.path(str(written))}),
            },
            answers=answer_checks(warehouse, shop, RAW_ORDERS_CHECKS),
            data_version=version,
        )
        yield from selected(results)

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                ORDER_LINES,
                "The lines of the current truth: of every order, the lines of the latest export that holds "
                "it.",
                deps=["raw_orders", "unpaid_orders"],
                made_by=("current_rows.sql", "assembled_lines.sql", "order_lines.sql"),
                kinds=SQL_KINDS if shop.orders.dataset is None else frozenset({"spark", "sql"}),
            ),
            TableAsset(
                ORDER_CONTACTS,
                "How the buyers of the orders can be reached, where the exports say.",
                deps=["raw_orders"],
            ),
            checks=ORDER_LINES_CHECKS,
        )
    )
    @one_connection
    def order_lines(warehouse: dg.ResourceParam[Warehouse]) -> Results:
        done = update_order_lines(warehouse, shop)
        answers = answer_checks(warehouse, shop, ORDER_LINES_CHECKS)
        if all_blocking_passed(answers):
            note_checked(warehouse)
        yield from plain_results(
            warehouse,
            ORDER_LINES,
            after=(ORDER_CONTACTS,),
            metadata={
                "orders_touched": done["orders"],
                "lines_written": done["lines"],
                "weeks_changed": done["weeks"],
            },
            answers=answers,
        )

    return [raw_orders, order_lines]


def _landed_kinds(shop: Shop) -> frozenset[str]:
    """Where the orders come from, and what types them."""
    sources = {
        "files": {"csv", "polars"},
        "database": {"database", "polars"},
        "parquet": {"parquet", "spark"},
    }
    return frozenset({"duckdb", *sources[shop.orders.kind]})


def _load_metadata(
    report: LoadReport, in_force: Sequence[Mapping[str, Any]], reasons: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Counts of the run; the files in force and their reasons of rejection as tables. No value of a row."""
    metadata: dict[str, Any] = {
        "files_loaded": len(report.loaded),
        "files_unchanged": report.unchanged,
        "files_ignored": len(report.ignored),
        "files_still_being_written": len(report.growing),
        "orders_set_back": len(report.set_back),
    }
    if report.loaded:
        for name in ("rows_read", "rows_accepted", "rows_unpaid", "rows_rejected", "rows_without_customer"):
            metadata[name] = sum(batch[name] for batch in report.loaded)
    if in_force:
        metadata["files"] = _table(in_force, FILE_COLUMNS)
    if reasons:
        metadata["rejected"] = _table(reasons, ("file_name", "reason", "rows", "first_row"))
    return metadata


def _table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dg.TableMetadataValue:
    """The first rows of a list as a table of the UI."""
    records = [{name: _shown(row[name]) for name in names} for row in rows[:_ROWS_SHOWN]]
    kinds = {name: "int" if isinstance(records[0][name], int) else "string" for name in names}
    return dg.MetadataValue.table(
        [dg.TableRecord(record) for record in records],
        schema=dg.TableSchema([dg.TableColumn(name, kind) for name, kind in kinds.items()]),
    )


def _shown(value: Any) -> int | str:
    return value if isinstance(value, int) else "" if value is None else str(value)

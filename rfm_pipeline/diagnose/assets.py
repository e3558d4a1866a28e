"""The diagnose stage's assets, from ``customer_activity`` to ``new_silent_churners``."""

import base64
from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from rfm_pipeline.diagnose import checks, pipeline
from rfm_pipeline.diagnose.schemas import (
    CUSTOMER_ACTIVITY,
    CUSTOMER_RFM,
    CUSTOMER_SEGMENTS,
    NEW_SILENT_CHURNERS,
    SEGMENTS,
    SILENT_CHURNERS,
)
from rfm_pipeline.orchestration.asset_arguments import (
    all_blocking_passed,
    answer_checks,
    asked_weeks,
    asset_arguments,
    one_connection,
    weekly_result,
)
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse

STAGE = "diagnose"

_RFM_LINEAGE = {
    "customer_id": [("customer_activity", "customer_id")],
    "recency_days": [("customer_activity", "last_order_at")],
    "frequency": [("customer_activity", "orders"), ("customer_activity", "refunded_orders")],
    "monetary": [("customer_activity", "sales"), ("customer_activity", "refunds")],
    "first_order_at": [("customer_activity", "first_order_at")],
    "last_order_at": [("customer_activity", "last_order_at")],
    "last_return_at": [("customer_activity", "last_return_at")],
}
_ACTIVITY_LINEAGE = {
    "customer_id": [("order_lines", "customer_id")],
    "orders": [("order_lines", "order_id"), ("order_lines", "amount")],
    "refunded_orders": [("order_lines", "refunded_amount"), ("order_lines", "amount")],
    "sales": [("order_lines", "amount")],
    "refunds": [("order_lines", "refunded_amount"), ("order_lines", "amount")],
    "first_order_at": [("order_lines", "order_at")],
    "last_order_at": [("order_lines", "order_at")],
    "last_return_at": [("order_lines", "refund_at"), ("order_lines", "order_at")],
}
_SEGMENT_LINEAGE = {
    "segment": [
        ("customer_rfm", name) for name in ("frequency", "monetary", "recency_days", "last_return_at")
    ],
    "rfm_class": [("customer_rfm", name) for name in ("frequency", "monetary", "recency_days")],
}
_CHURNER_LINEAGE = {
    "churn_class": [("order_lines", name) for name in ("sku", "unit_price", "list_price", "is_clearance")],
    "favourite_sku": [("order_lines", "sku"), ("order_lines", "amount")],
    "favourite_product": [("order_lines", "product_name")],
    "silent_since": [("customer_segments", "last_order_at")],
}


def build_assets(shop: Shop) -> list[dg.AssetsDefinition]:
    """The assets of the stage for one shop."""

    @dg.asset(
        deps=["order_lines"],
        **asset_arguments(
            shop,
            CUSTOMER_ACTIVITY,
            STAGE,
            "A customer in a week with any order, refund or return. The past added up, so that later steps "
            "never read the lines again; beside it `customer_totals`, what its older weeks add up to.",
            checks.CUSTOMER_ACTIVITY_CHECKS,
            lineage=_ACTIVITY_LINEAGE,
        ),
    )
    @one_connection
    def customer_activity(warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult:
        weeks = pipeline.update_customer_activity(warehouse)
        rows = warehouse.read("select count(*) as n from customer_activity")["n"][0]
        answers = answer_checks(warehouse, shop, checks.CUSTOMER_ACTIVITY_CHECKS)
        if all_blocking_passed(answers):
            pipeline.note_activity_checked(warehouse)
        return dg.MaterializeResult(
            metadata={"dagster/row_count": rows, "weeks_added_up": len(weeks)},
            check_results=answers,
        )

    @dg.asset(
        deps=[customer_activity],
        **asset_arguments(
            shop,
            CUSTOMER_RFM,
            STAGE,
            "Recency, frequency and monetary value of every customer, as known at the end of the week.",
            checks.CUSTOMER_RFM_CHECKS,
            lineage=_RFM_LINEAGE,
        ),
    )
    @one_connection
    def customer_rfm(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.MaterializeResult:
        weeks = asked_weeks(context)
        rows = pipeline.write_customer_rfm(warehouse, shop, weeks)
        return weekly_result(
            context,
            warehouse,
            shop,
            CUSTOMER_RFM,
            rows,
            checks.CUSTOMER_RFM_CHECKS,
            params={"max_order_gap_days": shop.rules.max_order_gap_days},
        )

    @dg.asset(
        deps=[customer_rfm],
        **asset_arguments(
            shop,
            CUSTOMER_SEGMENTS,
            STAGE,
            "Every customer in exactly one of seven segments (and eight retail classes), with the "
            "thresholds in force beside it (segment_thresholds). The week as a picture: *quadrants* in the "
            "metadata, *Show Markdown*.",
            checks.CUSTOMER_SEGMENTS_CHECKS,
            lineage=_SEGMENT_LINEAGE,
        ),
    )
    @one_connection
    def customer_segments(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.MaterializeResult:
        weeks = asked_weeks(context)
        rows = pipeline.write_customer_segments(warehouse, shop, weeks)
        return weekly_result(
            context,
            warehouse,
            shop,
            CUSTOMER_SEGMENTS,
            rows,
            checks.CUSTOMER_SEGMENTS_CHECKS,
            metadata=_segment_metadata(warehouse, shop, weeks[-1]),
        )

    @dg.asset(
        deps=[customer_segments, "order_lines"],
        **asset_arguments(
            shop,
            SILENT_CHURNERS,
            STAGE,
            "Bought once or twice, never complained, never came back: class A bought a bestseller, B only "
            "clearance or cheap goods, C neither (bestsellers and low_prices beside it).",
            checks.SILENT_CHURNERS_CHECKS,
            lineage=_CHURNER_LINEAGE,
        ),
    )
    @one_connection
    def silent_churners(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.MaterializeResult:
        weeks = asked_weeks(context)
        rows = pipeline.write_silent_churners(warehouse, shop, weeks)
        return weekly_result(
            context,
            warehouse,
            shop,
            SILENT_CHURNERS,
            rows,
            checks.SILENT_CHURNERS_CHECKS,
            metadata=_class_metadata(warehouse, SILENT_CHURNERS.name, weeks[-1]),
        )

    @dg.asset(
        deps=[
            dg.AssetDep(
                silent_churners,
                # this week and the one before it
                partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=0),
            )
        ],
        **asset_arguments(
            shop,
            NEW_SILENT_CHURNERS,
            STAGE,
            "Silent churners of the week who were none the week before.",
            checks.NEW_SILENT_CHURNERS_CHECKS,
        ),
    )
    @one_connection
    def new_silent_churners(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.MaterializeResult:
        weeks = asked_weeks(context)
        rows = pipeline.write_new_silent_churners(warehouse, shop, weeks)
        return weekly_result(
            context,
            warehouse,
            shop,
            NEW_SILENT_CHURNERS,
            rows,
            checks.NEW_SILENT_CHURNERS_CHECKS,
            metadata=_class_metadata(warehouse, NEW_SILENT_CHURNERS.name, weeks[-1]),
        )

    return [customer_activity, customer_rfm, customer_segments, silent_churners, new_silent_churners]


def _segment_metadata(warehouse: Warehouse, shop: Shop, week: date) -> dict[str, Any]:
    """The newest week's segments as a table and as the quadrant picture."""
    # drawing libraries are slow to load, and only this asset draws
    from rfm_pipeline.charts.quadrants import BINS_SQL, quadrant_svg

    asked = {"week": week}
    with warehouse.transaction() as session:
        cells = session.read(BINS_SQL, asked)
        limits = session.read("select * from segment_thresholds where week = $week", asked).row(0, named=True)
    if cells.is_empty():
        return {"segments": "no customers yet"}
    totals = cells.group_by("segment").agg(pl.sum("customers"), pl.sum("money"))
    picture = quadrant_svg(
        cells,
        frequency_high=limits["frequency_high"],
        monetary_high=float(limits["monetary_high"]),
        currency=shop.shop.currency,
        names=SEGMENTS,
    )
    return {
        "quadrants": dg.MetadataValue.md(
            f"![客群象限图](data:image/svg+xml;base64,{base64.b64encode(picture.encode()).decode()})"
        ),
        "segments": _segment_table(totals),
        "monetary_high": float(limits["monetary_high"]),
        "frequency_high": limits["frequency_high"],
    }


def _segment_table(totals: pl.DataFrame) -> dg.TableMetadataValue:
    found = {row["segment"]: row for row in totals.iter_rows(named=True)}
    columns = ("segment", "客群", "customers", "money")
    kinds = ("string", "string", "int", "float")
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "segment": segment,
                    "客群": label,
                    "customers": found.get(segment, {"customers": 0})["customers"],
                    "money": round(found.get(segment, {"money": 0.0})["money"], 2),
                }
            )
            for segment, label in SEGMENTS.items()
        ],
        schema=dg.TableSchema(
            [dg.TableColumn(name, kind) for name, kind in zip(columns, kinds, strict=True)]
        ),
    )


def _class_metadata(warehouse: Warehouse, table: str, week: date) -> dict[str, int]:
    """How many of the week are in each class."""
    counts = warehouse.read(
        f"select churn_class, count(*) as n from {table} where week = $week group by churn_class",
        {"week": week},
    )
    found: dict[str, int] = dict(counts.iter_rows())
    classes: Sequence[str] = "ABC"
    return {f"class_{name}": found.get(name, 0) for name in classes}

"""The diagnose stage's assets, from ``customer_activity`` to ``new_silent_churners``."""

import base64
from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from rfm_pipeline.diagnose import checks, pipeline
from rfm_pipeline.diagnose.schemas import (
    BESTSELLERS,
    CUSTOMER_ACTIVITY,
    CUSTOMER_RFM,
    CUSTOMER_SEGMENTS,
    CUSTOMER_TOTALS,
    LOW_PRICES,
    NEW_SILENT_CHURNERS,
    SEGMENT_THRESHOLDS,
    SEGMENTS,
    SILENT_CHURNERS,
)
from rfm_pipeline.orchestration.asset_arguments import (
    Results,
    Stage,
    TableAsset,
    WeeklyStep,
    all_blocking_passed,
    answer_checks,
    one_connection,
    plain_results,
    table_step,
)
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse

STAGE = Stage("diagnose", settings=("shop", "rules"), follows_engine=True)

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
_TOTALS_LINEAGE = {
    name: [("customer_activity", source) for source in sources]
    for name, sources in {
        "customer_id": ["customer_id"],
        "frequency": ["orders", "refunded_orders"],
        "monetary": ["sales", "refunds"],
        "first_order_at": ["first_order_at"],
        "last_order_at": ["last_order_at"],
        "last_return_at": ["last_return_at"],
    }.items()
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

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                CUSTOMER_ACTIVITY,
                "A customer in a week with any order, refund or return. The past added up, so that later "
                "steps never read the lines again.",
                deps=["order_lines"],
                lineage=_ACTIVITY_LINEAGE,
            ),
            TableAsset(
                CUSTOMER_TOTALS,
                "What a customer's older weeks of customer_activity add up to; made again when one of those "
                "weeks changes, or when it holds too little of the past.",
                deps=["customer_activity"],
                made_by=("customer_totals.sql", pipeline.update_customer_activity),
                lineage=_TOTALS_LINEAGE,
            ),
            checks=checks.CUSTOMER_ACTIVITY_CHECKS,
        )
    )
    @one_connection
    def customer_activity(warehouse: dg.ResourceParam[Warehouse]) -> Results:
        weeks = pipeline.update_customer_activity(warehouse)
        answers = answer_checks(warehouse, shop, checks.CUSTOMER_ACTIVITY_CHECKS)
        if all_blocking_passed(answers):
            pipeline.note_activity_checked(warehouse)
        yield from plain_results(
            warehouse,
            CUSTOMER_ACTIVITY,
            after=(CUSTOMER_TOTALS,),
            metadata={"weeks_added_up": len(weeks)},
            answers=answers,
        )

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                CUSTOMER_RFM,
                "Recency, frequency and monetary value of every customer, as known at the end of the week.",
                deps=["customer_activity", "customer_totals"],
                lineage=_RFM_LINEAGE,
            ),
            checks=checks.CUSTOMER_RFM_CHECKS,
        )
    )
    @one_connection
    def customer_rfm(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> Results:
        step = WeeklyStep(context, warehouse, shop, CUSTOMER_RFM)
        pipeline.write_customer_rfm(warehouse, shop, step.weeks)
        yield from step.results(
            checks.CUSTOMER_RFM_CHECKS, params={"max_order_gap_days": shop.rules.max_order_gap_days}
        )

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                SEGMENT_THRESHOLDS,
                "The thresholds in force in the week, and how many customers it had.",
                deps=["customer_rfm"],
            ),
            TableAsset(
                CUSTOMER_SEGMENTS,
                "Every customer in exactly one of seven segments (and eight retail classes), by the week's "
                "segment_thresholds. The week as a picture: *quadrants* in the metadata, *Show Markdown*.",
                deps=["customer_rfm", "segment_thresholds"],
                lineage=_SEGMENT_LINEAGE,
            ),
            checks=checks.CUSTOMER_SEGMENTS_CHECKS,
        )
    )
    @one_connection
    def customer_segments(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Results:
        step = WeeklyStep(context, warehouse, shop, CUSTOMER_SEGMENTS, before=(SEGMENT_THRESHOLDS,))
        pipeline.write_customer_segments(warehouse, shop, step.weeks)
        yield from step.results(
            checks.CUSTOMER_SEGMENTS_CHECKS, metadata=_segment_metadata(warehouse, shop, step.weeks[-1])
        )

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                BESTSELLERS,
                "The products in most orders of the year before, by rank; clearance left out.",
                deps=["order_lines"],
            ),
            TableAsset(
                LOW_PRICES,
                "The price up to which a product counts as low-priced in the week.",
                deps=["order_lines"],
            ),
            TableAsset(
                SILENT_CHURNERS,
                "Bought once or twice, never complained, never came back: class A bought one of the "
                "bestsellers, B only clearance or goods up to low_prices, C neither.",
                deps=["customer_segments", "order_lines", "bestsellers", "low_prices"],
                lineage=_CHURNER_LINEAGE,
            ),
            checks=checks.SILENT_CHURNERS_CHECKS,
        )
    )
    @one_connection
    def silent_churners(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> Results:
        step = WeeklyStep(context, warehouse, shop, SILENT_CHURNERS, before=(BESTSELLERS, LOW_PRICES))
        pipeline.write_silent_churners(warehouse, shop, step.weeks)
        yield from step.results(
            checks.SILENT_CHURNERS_CHECKS,
            metadata=_class_metadata(warehouse, SILENT_CHURNERS.name, step.weeks[-1]),
        )

    @dg.multi_asset(
        **table_step(
            shop,
            STAGE,
            TableAsset(
                NEW_SILENT_CHURNERS,
                "Silent churners of the week who were none the week before.",
                deps=[
                    dg.AssetDep(
                        "silent_churners",
                        # this week and the one before it
                        partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=0),
                    )
                ],
            ),
            checks=checks.NEW_SILENT_CHURNERS_CHECKS,
        )
    )
    @one_connection
    def new_silent_churners(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Results:
        step = WeeklyStep(context, warehouse, shop, NEW_SILENT_CHURNERS)
        pipeline.write_new_silent_churners(warehouse, shop, step.weeks)
        yield from step.results(
            checks.NEW_SILENT_CHURNERS_CHECKS,
            metadata=_class_metadata(warehouse, NEW_SILENT_CHURNERS.name, step.weeks[-1]),
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

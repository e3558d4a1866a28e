"""What all stages' assets share: specs from schemas, checks as part of the step, errors without a traceback.

The only module between a stage's plain functions and Dagster; a stage's ``assets.py`` stays thin by it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from functools import lru_cache, wraps
from typing import Any

import dagster as dg

from rfm_pipeline.errors import RfmError
from rfm_pipeline.orchestration.failures import ERROR_KIND
from rfm_pipeline.orchestration.partitions import weekly_partitions
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.checks import TableCheck, Verdict, run_checks
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.warehouse.schema import Table
from rfm_pipeline.weeks import shop_now

POOL = "warehouse"
OWNER = "team:data"
Lineage = Mapping[str, Sequence[tuple[str, str]]]
"""Column to the (table, column) it comes from."""


@contextmanager
def permanent_failures() -> Iterator[None]:
    """Turns an error the user must mend into a failure that no retry repeats."""
    try:
        yield
    except RfmError as error:
        kind = {ERROR_KIND: type(error).__name__}
        raise dg.Failure(description=str(error), metadata=kind, allow_retries=False) from None


def one_connection(step: Callable[..., Any]) -> Callable[..., Any]:
    """An asset's function with the warehouse kept open while it runs."""

    @wraps(step)
    def held(*arguments: Any, **resources: Any) -> Any:
        with permanent_failures(), resources["warehouse"].kept_open():
            return step(*arguments, **resources)

    return held


def table_metadata(table: Table, lineage: Lineage | None = None) -> dict[str, Any]:
    """What the UI shows of a table whether it was made or not: name, columns, where columns come from."""
    columns = [
        dg.TableColumn(
            name,
            type=table.column_types[name],
            description=column.description,
            constraints=dg.TableColumnConstraints(
                nullable=bool(column.nullable), unique=table.key == (name,)
            ),
        )
        for name, column in table.schema.columns.items()
    ]
    metadata: dict[str, Any] = {
        "dagster/table_name": table.name,
        "dagster/column_schema": dg.TableSchema(columns=columns),
    }
    if lineage:
        metadata["dagster/column_lineage"] = dg.TableColumnLineage(
            {
                column: [dg.TableColumnDep(dg.AssetKey(source), name) for source, name in sources]
                for column, sources in lineage.items()
            }
        )
    return metadata


def asset_arguments(
    shop: Shop,
    table: Table,
    stage: str,
    description: str,
    checks: Sequence[TableCheck],
    *,
    kinds: frozenset[str] = frozenset({"duckdb", "sql"}),
    lineage: Lineage | None = None,
) -> dict[str, Any]:
    """The arguments that every asset of the project hands to ``@dg.asset``."""
    partitions = weekly_partitions(shop) if table.weekly else None
    arguments: dict[str, Any] = {
        "name": table.name,
        "group_name": stage,
        "description": description,
        "kinds": set(kinds),
        "owners": [OWNER],
        "pool": POOL,
        "metadata": table_metadata(table, lineage),
        # a range of weeks is one run; on all assets, or `dg launch --partition-range` refuses the job
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "check_specs": [
            dg.AssetCheckSpec(
                check.name,
                asset=table.name,
                description=check.description,
                blocking=check.blocking,
                # no partitions: a run of many weeks answers once, and Dagster would go on to show each week's
                # check as skipped; the verdict of every week is in the warehouse
            )
            for check in checks
        ],
    }
    if partitions is not None:
        arguments["partitions_def"] = partitions
        arguments["freshness_policy"] = _fresh_on_monday(shop.shop.timezone)
    return arguments


# Dagster walks through the schedule's times each time that a policy is made
@lru_cache(maxsize=1)
def _fresh_on_monday(timezone: str) -> dg.FreshnessPolicy:
    return dg.FreshnessPolicy.cron(
        # the schedule runs Monday 06:00; two hours later the week should be there
        deadline_cron="0 8 * * 1",
        lower_bound_delta=timedelta(hours=8),
        timezone=timezone,
    )


def handout_arguments(
    shop: Shop, name: str, stage: str, description: str, kinds: frozenset[str], *, is_weekly: bool = True
) -> dict[str, Any]:
    """The arguments of an asset that makes no table: a file for people, or a message."""
    arguments: dict[str, Any] = {
        "name": name,
        "group_name": stage,
        "description": description,
        "kinds": set(kinds),
        "owners": [OWNER],
        "pool": POOL,
        "backfill_policy": dg.BackfillPolicy.single_run(),
    }
    return arguments | ({"partitions_def": weekly_partitions(shop)} if is_weekly else {})


def asked_weeks(context: dg.AssetExecutionContext) -> list[date]:
    """The weeks that the run is asked for, in order."""
    return sorted(date.fromisoformat(key) for key in context.partition_keys)


def week_rows(context: dg.AssetExecutionContext, table: Table, rows: Mapping[date, int]) -> None:
    """Reports every week's number of rows, so that the UI draws them over time."""
    for week, count in rows.items():
        context.add_asset_metadata(
            {"dagster/partition_row_count": count}, asset_key=table.name, partition_key=str(week)
        )


def answer_checks(
    warehouse: Warehouse,
    shop: Shop,
    checks: Sequence[TableCheck],
    weeks: Sequence[date] = (),
    params: Mapping[str, Any] | None = None,
) -> list[dg.AssetCheckResult]:
    """Runs a table's checks, stores their verdicts, and hands them to Dagster."""
    values = {"now": shop_now(shop), **(params or {})}
    with warehouse.transaction() as session:
        verdicts = run_checks(session, checks, weeks, values)
    return [_result(verdict) for verdict in verdicts]


def all_blocking_passed(answers: Sequence[dg.AssetCheckResult]) -> bool:
    """Whether none of the checks that stop what is downstream has failed."""
    return all(answer.passed for answer in answers if answer.severity == dg.AssetCheckSeverity.ERROR)


def _result(verdict: Verdict) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.ERROR if verdict.check.blocking else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        check_name=verdict.check.name,
        passed=verdict.passed,
        severity=severity,
        metadata={name: _shown(value) for name, value in verdict.figures.items()}
        | {"limit": verdict.check.limit},
    )


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def weekly_result(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    shop: Shop,
    table: Table,
    rows: Mapping[date, int],
    checks: Sequence[TableCheck],
    *,
    params: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dg.MaterializeResult:
    """The result of a weekly asset: rows of each week, the newest week's count, the checks' verdicts."""
    week_rows(context, table, rows)
    newest = max(rows)
    return dg.MaterializeResult(
        metadata={"dagster/row_count": sum(rows.values()), "newest_week": str(newest), **(metadata or {})},
        check_results=answer_checks(warehouse, shop, checks, sorted(rows), params),
    )

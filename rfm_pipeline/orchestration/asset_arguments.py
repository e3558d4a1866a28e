"""What all stages' assets share: specs from schemas, checks as part of the step, errors without a traceback.

The only module between a stage's plain functions and Dagster; a stage's ``assets.py`` stays thin by it. The
tables that one step writes in one transaction are the assets of one ``multi_asset``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache, wraps
from inspect import isgeneratorfunction
from typing import Any

import dagster as dg

from rfm_pipeline.errors import RfmError
from rfm_pipeline.orchestration.failures import ERROR_KIND
from rfm_pipeline.orchestration.partitions import weekly_partitions
from rfm_pipeline.orchestration.run_tags import REASON_TAG
from rfm_pipeline.orchestration.versions import code_version
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.checks import TableCheck, Verdict, run_checks
from rfm_pipeline.warehouse.duckdb import Snapshot, Warehouse
from rfm_pipeline.warehouse.schema import Table
from rfm_pipeline.weeks import shop_now

POOL = "warehouse"
DATA, OPERATIONS = "team:data", "team:operations"
PERSONAL_DATA = "personal_data"
TOUCHES_CUSTOMERS = "touches_customers"
TOUCHES_TEAM = "touches_team"
Lineage = Mapping[str, Sequence[tuple[str, str]]]
"""Column to the (table, column) it comes from."""
SQL_KINDS = frozenset({"duckdb", "sql"})
Results = Iterator[dg.MaterializeResult]
"""What a step yields: one result a table, each after those that it is made from."""


@dataclass(frozen=True)
class Stage:
    """What the assets of a stage share.

    Attributes:
        name: The stage, which is the assets' group.
        settings: The sections of ``shop.yaml`` that decide what its tables hold.
        follows_engine: Whether ``warehouse.engine`` makes and keeps its tables; else DuckDB does.
    """

    name: str
    settings: tuple[str, ...]
    follows_engine: bool = False


@dataclass(frozen=True)
class TableAsset:
    """A table as an asset.

    Attributes:
        table: The table.
        description: What it holds, in a sentence or two.
        deps: The assets it is made from.
        made_by: The stage's SQL files that make it, by name, and the functions whose modules do; by default
            the SQL file that is called like the table.
        kinds: What makes and stores it, with DuckDB as the engine and SQLite as the ledger.
        lineage: Where its columns come from.
        owner: The team that looks after it.
        tags: Tags beside ``personal_data``.
    """

    table: Table
    description: str
    deps: Sequence[str | dg.AssetDep] = ()
    made_by: Sequence[str | Callable[..., Any]] | None = None
    kinds: frozenset[str] = SQL_KINDS
    lineage: Lineage | None = None
    owner: str = DATA
    tags: Mapping[str, str] | None = None


@contextmanager
def permanent_failures() -> Iterator[None]:
    """Turns an error the user must mend into a failure that no retry repeats."""
    try:
        yield
    except RfmError as error:
        kind = {ERROR_KIND: type(error).__name__}
        raise dg.Failure(description=str(error), metadata=kind, allow_retries=False) from None


def one_connection(step: Callable[..., Any]) -> Callable[..., Any]:
    """An asset's function, or that of several tables, with the warehouse kept open while it runs."""
    if isgeneratorfunction(step):
        return _one_connection_for_tables(step)

    @wraps(step)
    def held(*arguments: Any, **resources: Any) -> Any:
        with permanent_failures(), resources["warehouse"].kept_open():
            return step(*arguments, **resources)

    return held


def _one_connection_for_tables(step: Callable[..., Results]) -> Callable[..., Results]:
    @wraps(step)
    def held(*arguments: Any, **resources: Any) -> Results:
        with permanent_failures(), resources["warehouse"].kept_open():
            results = [*selected(step(*arguments, **resources))]
        # Dagster stores them as they come: the warehouse isn't needed meanwhile
        yield from results

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


def table_step(shop: Shop, stage: Stage, *assets: TableAsset, checks: Sequence[TableCheck]) -> dict[str, Any]:
    """The arguments of ``@dg.multi_asset`` for the tables that one step writes in one transaction.

    Args:
        shop: The settings.
        stage: The stage.
        assets: The tables, each after those that it is made from.
        checks: The step's checks; each names the asset it belongs to.
    """
    return {
        "specs": [_spec(shop, stage, asset) for asset in assets],
        # a run may ask for one of them: the step writes all, and reports those that were asked for
        "can_subset": True,
        "pool": POOL,
        # a range of weeks is one run; on all assets, or `dg launch --partition-range` refuses the job
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "check_specs": [
            dg.AssetCheckSpec(
                check.name,
                asset=check.table,
                description=check.description,
                blocking=check.blocking,
                # no partitions: a run of many weeks answers once, and Dagster would go on to show each week's
                # check as skipped; the verdict of every week is in the warehouse
            )
            for check in checks
        ],
    }


def _spec(shop: Shop, stage: Stage, asset: TableAsset) -> dg.AssetSpec:
    table = asset.table
    is_weekly = table.weekly
    made_by = (f"{table.name}.sql",) if asset.made_by is None else asset.made_by
    return dg.AssetSpec(
        table.name,
        deps=asset.deps,
        group_name=stage.name,
        description=asset.description,
        kinds=set(stored_kinds(shop, asset.kinds, follows_engine=stage.follows_engine)),
        owners=[asset.owner],
        tags={PERSONAL_DATA: _yes(table.has_personal_data), **(asset.tags or {})},
        metadata=table_metadata(table, asset.lineage),
        code_version=code_version(shop, stage.name, made_by, table, stage.settings),
        skippable=True,
        partitions_def=weekly_partitions(shop) if is_weekly else None,
        freshness_policy=_fresh_on_monday(shop.shop.timezone) if is_weekly else None,
    )


def _yes(answer: bool) -> str:
    return "true" if answer else "false"


def stored_kinds(shop: Shop, kinds: frozenset[str], *, follows_engine: bool = False) -> frozenset[str]:
    """The kinds with the shop's own engine and ledger in the place of the usual ones."""
    instead: dict[str, str] = {}
    if follows_engine:
        instead["duckdb"] = shop.warehouse.engine
    if shop.ledger.url_env is not None:
        instead["sqlite"] = "postgresql"
    return frozenset(instead.get(kind, kind) for kind in kinds)


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
    shop: Shop,
    name: str,
    stage: Stage,
    description: str,
    kinds: frozenset[str],
    *,
    is_weekly: bool = True,
    owner: str = DATA,
    has_personal_data: bool = False,
    tags: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The arguments of an asset that makes no table: a file for people, or a message."""
    arguments: dict[str, Any] = {
        "name": name,
        "group_name": stage.name,
        "description": description,
        "kinds": set(stored_kinds(shop, kinds)),
        "owners": [owner],
        "tags": {PERSONAL_DATA: _yes(has_personal_data), **(tags or {})},
        "pool": POOL,
        "backfill_policy": dg.BackfillPolicy.single_run(),
    }
    return arguments | ({"partitions_def": weekly_partitions(shop)} if is_weekly else {})


def asked_weeks(context: dg.AssetExecutionContext) -> list[date]:
    """The weeks that the run is asked for, in order."""
    return sorted(date.fromisoformat(key) for key in context.partition_keys)


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


def plain_results(
    warehouse: Warehouse,
    main: Table,
    *,
    before: Sequence[Table] = (),
    after: Sequence[Table] = (),
    metadata: Mapping[str, Any] | None = None,
    answers: Sequence[dg.AssetCheckResult] = (),
    data_version: dg.DataVersion | None = None,
) -> Results:
    """The results of a step whose tables are not weekly: how many rows each of them has.

    Args:
        warehouse: Holds the tables.
        main: The table that the step is named after.
        before: The tables that it writes beside it, and makes it from.
        after: The tables that it writes beside it, and makes from it.
        metadata: Metadata of the main table.
        answers: What the step's checks found.
        data_version: See :mod:`rfm_pipeline.orchestration.versions`; None leaves it to Dagster.
    """
    tables = (*before, main, *after)
    with warehouse.transaction() as session:
        rows = {
            # a warehouse of an older version may not have all of them yet
            table.name: session.value(f"select count(*) from {table.name}") if session.has(table.name) else 0
            for table in tables
        }
        version = session.inputs_version()
    for table in tables:
        yield dg.MaterializeResult(
            asset_key=table.name,
            metadata={
                "dagster/row_count": rows[table.name],
                "inputs_version": version,
                **((metadata or {}) if table is main else {}),
            },
            check_results=list(answers) if table is main else [],
            data_version=data_version,
        )


def selected(results: Results) -> Iterator[Any]:
    """Of a step's results those that the run asked for: it may have selected some of the step's tables.

    Inside a step only.
    """
    context = dg.AssetExecutionContext.get()
    tables, checks = context.selected_asset_keys, context.selected_asset_check_keys
    for result in results:
        assert result.asset_key is not None
        key = result.asset_key
        answers = [
            answer._replace(asset_key=key)
            for answer in result.check_results or ()
            if dg.AssetCheckKey(key, answer.check_name or "") in checks
        ]
        if key in tables:
            yield dg.MaterializeResult(
                asset_key=key,
                metadata=result.metadata,
                check_results=answers,
                data_version=result.data_version,
            )
        else:
            yield from answers


class WeeklyStep:
    """A step's weekly tables, on their way from what was there to what Dagster shows of them.

    Make one before the tables are written: it remembers which weeks are there and whether their orders have
    changed since, and so can say why a week was made again.

    Args:
        context: Names the weeks.
        warehouse: Holds the tables.
        shop: The settings.
        main: The table that the step is named after.
        before: The tables that it writes beside it, and makes it from.
        after: The tables that it writes beside it, and makes from it.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        warehouse: Warehouse,
        shop: Shop,
        main: Table,
        *,
        before: Sequence[Table] = (),
        after: Sequence[Table] = (),
    ) -> None:
        self.weeks = asked_weeks(context)
        self._context = context
        self._warehouse = warehouse
        self._shop = shop
        self._main = main
        self._tables = (*before, main, *after)
        with warehouse.transaction() as session:
            self._before = {table.name: session.snapshots(table.name) for table in self._tables}
            self._stale = {table.name: session.stale_weeks(table.name) for table in self._tables}

    def results(
        self,
        checks: Sequence[TableCheck],
        *,
        params: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        data_version: dg.DataVersion | None = None,
    ) -> Results:
        """One result a table, with each week's rows and origin; the main table's has the rest.

        Args:
            checks: The step's checks, answered here.
            params: Values for the checks' ``$names``.
            metadata: Metadata of the main table.
            data_version: See :mod:`rfm_pipeline.orchestration.versions`; None leaves it to Dagster.
        """
        with self._warehouse.transaction() as session:
            made = {table.name: session.snapshots(table.name) for table in self._tables}
        answers = answer_checks(self._warehouse, self._shop, checks, self.weeks, params)
        for table in self._tables:
            yield dg.MaterializeResult(
                asset_key=table.name,
                metadata={
                    "dagster/row_count": self._report_weeks(table, made[table.name]),
                    "newest_week": str(self.weeks[-1]),
                    **((metadata or {}) if table is self._main else {}),
                },
                check_results=answers if table is self._main else [],
                data_version=data_version,
            )

    def _report_weeks(self, table: Table, made: Mapping[date, Snapshot]) -> int:
        """Reports every week of a table, so that the UI draws them over time; returns all their rows."""
        is_asked_for = dg.AssetKey(table.name) in self._context.selected_asset_keys
        for week in self.weeks if is_asked_for else ():
            self._context.add_asset_metadata(
                {
                    "dagster/partition_row_count": made[week].rows,
                    "inputs_version": made[week].inputs_version,
                    **self._reason(table, week),
                },
                asset_key=table.name,
                partition_key=str(week),
            )
        return sum(made[week].rows for week in self.weeks)

    def _reason(self, table: Table, week: date) -> dict[str, str]:
        """Why a week that was there was made again; nothing for a week that wasn't."""
        before = self._before[table.name].get(week)
        if before is None:
            return {}
        if week in self._stale[table.name]:
            since = f"orders up to this week changed since inputs version {before.inputs_version}"
            return {"made_again_because": since}
        asked = self._context.run.tags.get(REASON_TAG, "the run asked for it; its orders are as before")
        return {"made_again_because": asked}

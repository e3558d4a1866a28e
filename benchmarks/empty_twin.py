"""Runs as many empty assets and checks as the pipeline has; started by ``benchmarks.rfm_run``.

    python -m benchmarks.empty_twin plan.json DAGSTER_HOME

Imports Dagster and nothing else that costs time: this is what Dagster itself takes.
"""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import dagster as dg


def empty_asset(plan: dict[str, Any], asset: dict[str, Any]) -> dg.AssetsDefinition:
    """An asset with the same name, dependencies, partitions and checks that does nothing."""
    partitions = dg.WeeklyPartitionsDefinition(**plan["partitions"]) if asset["is_weekly"] else None

    @dg.asset(
        name=asset["name"],
        deps=asset["deps"],
        partitions_def=partitions,
        pool=asset["pool"],
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            dg.AssetCheckSpec(check["name"], asset=asset["name"], blocking=check["is_blocking"])
            for check in asset["checks"]
        ],
    )
    def nothing() -> dg.MaterializeResult:
        return dg.MaterializeResult(
            check_results=[dg.AssetCheckResult(passed=True, check_name=c["name"]) for c in asset["checks"]]
        )

    return nothing


@dg.logger
def quiet(_: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger("quiet")
    logger.addHandler(logging.NullHandler())
    return logger


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    os.environ["DAGSTER_HOME"] = sys.argv[2]
    definitions = dg.Definitions(
        assets=[empty_asset(plan, asset) for asset in plan["assets"]],
        jobs=[dg.define_asset_job("everything", selection="*")],
        loggers={"quiet": quiet},
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.get() as instance:
        for run in plan["runs"]:
            result = definitions.resolve_job_def("everything").execute_in_process(
                instance=instance,
                run_config={"loggers": {"quiet": {}}},
                asset_selection=[dg.AssetKey(name) for name in run["assets"]],
                partition_key=run["partition"],
            )
            if not result.success:
                raise SystemExit("the empty twin failed")


if __name__ == "__main__":
    main()

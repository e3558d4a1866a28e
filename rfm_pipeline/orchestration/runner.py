"""Running the jobs in this process for the ``rfm`` command: which weeks, in which order, with which words.

Runs are recorded in the shop's own Dagster storage, so they show in the UI like any other.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from importlib import resources
from typing import Any

import dagster as dg

from rfm_pipeline.definitions import build_defs
from rfm_pipeline.diagnose.pipeline import require_coverage
from rfm_pipeline.errors import CoverageError, RfmError
from rfm_pipeline.home.warehouse import open_warehouse
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.notifications import alerts
from rfm_pipeline.orchestration.event_log import connections_kept_open
from rfm_pipeline.orchestration.failures import CHECKS_FAILED, StepFailure, failed_steps
from rfm_pipeline.orchestration.last_run import RunReport, forget_last_run, inputs_of, note_last_run
from rfm_pipeline.orchestration.run_tags import REASON_TAG, range_tags
from rfm_pipeline.orchestration.week_facts import read_facts
from rfm_pipeline.orchestration.week_plan import WeekPlan, plan_summary, plan_weeks
from rfm_pipeline.recall.resources import robot_key_of
from rfm_pipeline.recall.sinks.connection import CONFIRMED_TAG
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import name_range, shop_now

Say = Callable[[str], None]
ALWAYS = "the newest covered week, whose contacts, opt-outs or outcomes may have changed"
"""Why a command takes a week through all stages that the plan would keep."""


def prepare_instance(shop: Shop) -> None:
    """Makes the shop's Dagster storage and names it in the environment of this process."""
    home = shop.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    settings = resources.files("rfm_pipeline.orchestration").joinpath("dagster.yaml")
    with resources.as_file(settings) as path:
        shutil.copyfile(path, home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["RFM_HOME"] = str(shop.home)


class _StepProgress(logging.Handler):
    """Says which step begins; Dagster hands its events to loggers as they happen."""

    def __init__(self, say: Say) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        meta: Mapping[str, Any] = getattr(record, "dagster_meta", {})
        event = meta.get("dagster_event")
        if event is None:
            # a line that an asset logs: the file it reads, why it sends nothing
            if record.levelno < logging.ERROR:
                self._say(str(meta.get("orig_message", record.getMessage())))
        elif event.event_type_value == "STEP_START":
            self._say(str(event.step_key))


class Runner:
    """Runs a shop's jobs one after the other.

    Args:
        shop: The shop.
        say: Gets what is being done, a short line at a time.
    """

    def __init__(self, shop: Shop, say: Say = lambda _: None) -> None:
        self._shop = shop
        self._say = say
        self._report = RunReport()
        self._warehouse: Warehouse = open_warehouse(shop)

    def run(self, asked: Sequence[date] | None = None) -> RunReport:
        """Ingests what is new, fills in missing weeks, and takes the asked weeks through all stages.

        Args:
            asked: The weeks; None for the newest week that the orders cover.

        Raises:
            RfmError: If anything failed; the message is the whole story.
        """
        # before anything is read: what changes meanwhile is for the next run
        inputs = inputs_of(self._shop)
        forget_last_run(self._shop)
        try:
            self._run(asked)
        except _RunFailedError:
            raise
        except Exception as error:
            # somebody who asks for weeks sits in front of it; a run that starts by itself has nobody
            if asked is None:
                self._alert([alerts.of_error(error)])
            raise
        if not asked:
            note_last_run(self._shop, inputs, self._report)
        return self._report

    def send(self, week: date, *, is_confirmed: bool = False) -> RunReport:
        """Carries out what is left of a week's tags, then makes the work list and tells the team.

        Args:
            week: The week; its list and plan must be there.
            is_confirmed: Whether somebody has looked at the first plan that goes to WeCom.

        Raises:
            RfmError: If it failed; a refusal is no failure.
        """
        forget_last_run(self._shop)
        prepare_instance(self._shop)
        defs = build_defs(self._shop.home)
        with connections_kept_open(), dg.DagsterInstance.get() as instance, self._logger() as logger:
            execute = _Executor(defs, instance, logger, self._report, self._alert)
            execute("send_job", [week], tags={CONFIRMED_TAG: "true"} if is_confirmed else {})
        self._report.weeks = [week]
        return self._report

    def _run(self, asked: Sequence[date] | None) -> None:
        prepare_instance(self._shop)
        defs = build_defs(self._shop.home)
        with connections_kept_open(), dg.DagsterInstance.get() as instance, self._logger() as logger:
            execute = _Executor(defs, instance, logger, self._report, self._alert)
            ingest = execute("ingest_job")
            plan = self._plan(asked or ())
            self._report.plan = plan_summary(plan)
            later = [key for key in execute.asset_keys("weekly_job") if key not in ingest]
            history = [key for key in execute.asset_keys("history_job") if key not in ingest]
            for part in plan.history:
                self._say(f"history {name_range(part.weeks)}")
                execute("history_job", part.weeks, history, {REASON_TAG: part.reason})
                self._report.history.append((part.weeks[0], part.weeks[-1]))
            self._say(f"week {name_range(plan.all_stages)}")
            why = plan.due.reason if plan.due else ALWAYS
            execute("weekly_job", plan.all_stages, later, {REASON_TAG: why})
        self._report.weeks = list(plan.all_stages)

    def _alert(self, failed: Sequence[alerts.Alert]) -> None:
        """Tells the team's group; an alert that can't be sent is said here, and nothing more."""
        # a ledger that isn't reachable is a reason not to tell, not another error
        ledger = Ledger(lambda: self._shop.ledger_url)
        for problem in alerts.send_alerts(self._shop, ledger, robot_key_of(self._shop), failed):
            self._say(problem)

    @contextmanager
    def _logger(self) -> Iterator[dg.LoggerDefinition]:
        handler = _StepProgress(self._say)

        @dg.logger
        def progress(_: dg.InitLoggerContext) -> logging.Logger:
            logger = logging.Logger("rfm", level=logging.DEBUG)
            logger.addHandler(handler)
            return logger

        yield progress

    def _plan(self, asked: Sequence[date]) -> WeekPlan:
        """The week plan after the ingest; refused before any more work if the orders don't do.

        Raises:
            CoverageError: If a week that is asked for is held, or there is none that is not.
        """
        with self._warehouse.transaction() as session:
            facts = read_facts(session, self._shop, shop_now(self._shop))
        plan = plan_weeks(self._shop, facts, asked)
        if facts.is_single_order:
            raise CoverageError(
                f"{self._shop.orders_dir} holds one order only: that is too little to tell who fell silent. "
                "Load the shop's whole order history."
            )
        if asked:
            require_coverage(self._shop, facts.newest_order_at, asked)
        elif not plan.all_stages:
            newest = facts.newest_order_at
            reach = "there is no order yet" if newest is None else f"the newest order is of {newest.date()}"
            raise CoverageError(
                f"no closed week of the shop's grid is covered by the orders: {reach}, the grid begins with "
                f"{self._shop.shop.first_week} (shop.first_week in shop.yaml). Load newer orders or set an "
                "earlier first week."
            )
        return plan


class _RunFailedError(RfmError):
    """A run failed, and the team's group got an alert."""


class _Executor:
    """Executes jobs in process and turns what went wrong into one message."""

    def __init__(
        self,
        defs: dg.Definitions,
        instance: dg.DagsterInstance,
        logger: dg.LoggerDefinition,
        report: RunReport,
        alert: Callable[[Sequence[alerts.Alert]], None],
    ) -> None:
        self._defs = dg.Definitions.merge(defs, dg.Definitions(loggers={"rfm": logger}))
        self._instance = instance
        self._report = report
        self._alert = alert

    def asset_keys(self, job: str) -> list[dg.AssetKey]:
        """The assets of a job."""
        layer = self._defs.resolve_job_def(job).asset_layer
        return list(layer.executable_asset_keys)

    def __call__(
        self,
        job: str,
        weeks: Sequence[date] = (),
        selection: Sequence[dg.AssetKey] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> list[dg.AssetKey]:
        """Runs a job, or some of its assets, for the weeks.

        Returns:
            The job's assets.

        Raises:
            RfmError: If it failed.
        """
        partition: dict[str, Any] = {"tags": dict(tags or {})}
        if len(weeks) == 1:
            partition["partition_key"] = str(weeks[0])
        elif weeks:
            partition["tags"] |= range_tags(weeks)
        result = self._defs.resolve_job_def(job).execute_in_process(
            instance=self._instance,
            raise_on_error=False,
            run_config={"loggers": {"rfm": {}}},
            asset_selection=selection,
            **partition,
        )
        self._take_events(result)
        if not result.success:
            run = self._instance.get_run_by_id(result.run_id)
            if run is not None and run.status == dg.DagsterRunStatus.FAILURE:
                self._alert(alerts.of_run(self._instance, run))
            raise _RunFailedError(_what_failed(result))
        return self.asset_keys(job)

    def _take_events(self, result: dg.ExecuteInProcessResult) -> None:
        for event in result.all_events:
            if event.event_type_value == "ASSET_MATERIALIZATION":
                found = event.materialization
                entries = {name: value.value for name, value in found.metadata.items()}
                self._report.metadata.setdefault(found.asset_key.to_user_string(), {}).update(entries)
            elif event.event_type_value == "ASSET_CHECK_EVALUATION":
                check: Any = event.event_specific_data
                if not check.passed and check.severity == dg.AssetCheckSeverity.WARN:
                    figures = ", ".join(f"{name} {value.value}" for name, value in check.metadata.items())
                    self._report.warnings.append(
                        (check.asset_key.to_user_string(), check.check_name, figures)
                    )


def _what_failed(result: dg.ExecuteInProcessResult) -> str:
    """The first failed step and why, in words a user can act on."""
    for failure in failed_steps(result.all_events):
        if failure.words:
            return failure.words
        if failure.kind == CHECKS_FAILED:
            return f"{failure.step}: {_failed_checks(failure)}"
        return (
            f"{failure.step} failed with {failure.kind}; the whole story is in the run "
            f"{result.run_id[:8]} of the Dagster UI (`rfm ui`)."
        )
    return f"run {result.run_id[:8]} failed; see the Dagster UI (`rfm ui`)."


def _failed_checks(failure: StepFailure) -> str:
    parts = []
    for name, values in failure.checks.items():
        figures = ", ".join(f"{figure} {value}" for figure, value in values.items())
        parts.append(f"the data check {name} did not pass ({figures})")
    return "; ".join(parts) or "a data check did not pass"

"""The sensor that follows the week plan: with ``rfm ui`` alone, a home ends as with ``rfm run``.

What one look does, the first that applies:

1. While a run is queued or going, it waits.
2. Orders are looked for (``ingest_job``) when the exports in ``orders/`` are others than those last read, by
   name, size, time and inode, and none of them is still being written. That costs a ``stat`` of each file,
   so it is done at each look; a late export is noticed within a minute, and none is read in vain. What a
   database or a dataset holds can't be looked at so cheaply: it is read every hour while a week waits for
   its orders, once a day otherwise, and always before a new week begins.
3. Ranges of weeks that are missing, or whose orders were corrected, are made (``history_job``, one run a
   range, no sinks).
4. When no such range is left, the newest week that the orders cover goes through all stages
   (``weekly_job``), unless it was already. A week that has just closed is ``weekly_schedule``'s on Monday at
   06:00, and this sensor's from ten minutes later on. Weeks that the orders don't cover are held and tried
   again after each later ingest.

Each decision is carried out once a cause and day: a run bears its cause as a tag, and where today's run for
the same cause failed, the sensor waits until tomorrow, until newer orders or settings make it another cause,
or until somebody runs it by hand. Like ``rfm run``, it takes no week through all stages after a failed ingest
or history.

Nobody is contacted twice or late: history has no sinks, the recall's guards send the newest closed week only,
and for runs that begin by themselves ``recall.allow_past_weeks`` changes nothing.

Contacts, opt-outs and outcomes of the team lead to no run of their own: the week's run reads them, and
``rfm run`` at any time.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg

from rfm_pipeline.errors import WarehouseBusyError
from rfm_pipeline.ingest.files.landing import landing_states
from rfm_pipeline.orchestration.jobs import Job
from rfm_pipeline.orchestration.run_tags import CAUSE_TAG, REASON_TAG, WEEK_TAG, range_tags
from rfm_pipeline.orchestration.schedules import HOUR, MINUTE
from rfm_pipeline.orchestration.week_facts import are_read, is_ingest_unfinished, read_facts
from rfm_pipeline.orchestration.week_plan import (
    Facts,
    IngestReason,
    OrderFacts,
    WeekPlan,
    cause_of,
    plan_ingest,
    plan_weeks,
    release_time,
)
from rfm_pipeline.shop import Shop
from rfm_pipeline.storage.fingerprints import FileState
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import name_range, shop_now

RELEASE_AFTER = timedelta(hours=HOUR, minutes=MINUTE + 10)
"""A week that has just closed is the Monday schedule's at first, so that both don't ask for it at once."""
SECONDS_VARIABLE = "RFM_WEEK_PLAN_SECONDS"
"""Names how many seconds lie between two looks at least, for homes and tests that can't wait for a minute."""
_SECONDS = 60
_GOING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_FAILED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dataclass(frozen=True)
class Cursor:
    """What a look remembers for the next one; shown in the UI.

    Attributes:
        exports: A digest of the exports' states: those that two looks find the same are complete.
        is_missing: Whether there was no warehouse.
        since: When the warehouse was last found missing, so that one made again is no old cause.
        plan: The plan in words.
    """

    exports: str = ""
    is_missing: bool = False
    since: str = ""
    plan: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """The cursor of the last look; an empty one for the first."""
        return cls(**json.loads(text)) if text else cls()

    @property
    def text(self) -> str:
        """How Dagster keeps it."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True)
class Step:
    """A run to ask for.

    Attributes:
        job: The job.
        weeks: Its weeks; none for an ingest.
        reason: Why, in words.
        cause: Names the decision.
    """

    job: str
    weeks: tuple[date, ...]
    reason: str
    cause: str

    @property
    def name(self) -> str:
        """The step for messages."""
        return f"{self.job} {name_range(self.weeks)}" if self.weeks else self.job


@dataclass(frozen=True)
class Look:
    """What a look saw.

    Attributes:
        facts: What is known of the weeks.
        orders: What is known of where the orders come from.
    """

    facts: Facts
    orders: OrderFacts


def build_week_plan_sensor(shop: Shop, jobs: Mapping[str, Job]) -> dg.SensorDefinition:
    """The sensor over ``ingest_job``, ``history_job`` and ``weekly_job``."""
    targets = [jobs[name] for name in ("ingest_job", "history_job", "weekly_job")]

    @dg.sensor(
        name="week_plan_sensor",
        jobs=targets,
        minimum_interval_seconds=int(os.environ.get(SECONDS_VARIABLE, _SECONDS)),
        description="Notices new exports, fills in missing weeks, makes weeks again whose orders were "
        "corrected, and takes the newest covered week through all stages, as `rfm run` does. Its cursor "
        "holds the week plan in words.",
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def week_plan_sensor(
        context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.SensorResult:
        assert context.repository_def is not None
        assets = {job.name: _assets_of(context.repository_def.get_job(job.name)) for job in targets}
        return follow_plan(shop, warehouse, context.instance, context.cursor, shop_now(shop), assets)

    return week_plan_sensor


def follow_plan(
    shop: Shop,
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    cursor: str | None,
    now: datetime,
    assets: Mapping[str, Sequence[dg.AssetKey]],
) -> dg.SensorResult:
    """One look: the runs to ask for now, or why there are none.

    Args:
        shop: The settings.
        warehouse: Is opened for a moment, to read.
        instance: Knows which runs are going, and what became of earlier ones.
        cursor: What the last look left.
        now: The moment, on the shop's clock.
        assets: The assets of each job; the weeks' jobs are asked for without those of the ingest.
    """
    before = Cursor.read(cursor)
    if going := instance.get_runs(dg.RunsFilter(statuses=_GOING), limit=1):
        return _skip(before, f"waiting for run {going[0].run_id[:8]} of {going[0].job_name}")
    exports = landing_states(shop.orders_dir) if shop.orders.kind == "files" else {}
    after = _next_cursor(before, exports, warehouse, now)
    if any(state.is_fresh for state in exports.values()) and after.exports != before.exports:
        return _skip(after, "an export in orders/ is still being written; the next look takes it")
    try:
        look = _look(shop, warehouse, instance, exports, now)
    except WarehouseBusyError as error:
        return _skip(after, str(error))
    plan = _plan(shop, instance, look.facts)
    after = replace(after, plan=tuple(plan.words()))
    requests, otherwise = _next_runs(shop, instance, look, plan, after)
    if not requests:
        return _skip(after, otherwise)
    return dg.SensorResult(run_requests=[_request(step, now, assets) for step in requests], cursor=after.text)


def _assets_of(job: dg.JobDefinition) -> list[dg.AssetKey]:
    return list(job.asset_layer.executable_asset_keys)


def _skip(cursor: Cursor, words: str) -> dg.SensorResult:
    held = [line for line in cursor.plan if line.startswith("hold ")]
    return dg.SensorResult(skip_reason="; ".join([words, *held]), cursor=cursor.text)


def _next_cursor(
    before: Cursor, exports: Mapping[str, FileState], warehouse: Warehouse, now: datetime
) -> Cursor:
    is_missing = not warehouse.path.exists()
    is_lost = is_missing and not before.is_missing
    digest = cause_of("exports", (), sorted(exports.items()))
    return replace(
        before, exports=digest, is_missing=is_missing, since=now.isoformat() if is_lost else before.since
    )


def _look(
    shop: Shop,
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    exports: dict[str, FileState],
    now: datetime,
) -> Look:
    """Reads what is known.

    Raises:
        WarehouseBusyError: If another process writes at the moment.
    """
    orders = OrderFacts(
        is_read_from_files=shop.orders.kind == "files",
        has_exports=bool(exports),
        has_warehouse=False,
        **_last_ingest(shop, instance),
    )
    try:
        with warehouse.glance() as session:
            facts = read_facts(session, shop, now)
            changed = orders.is_read_from_files and not are_read(session, exports)
            unfinished = is_ingest_unfinished(session)
    except FileNotFoundError:
        return Look(Facts(now), orders)
    return Look(facts, replace(orders, has_warehouse=True, is_changed=changed, is_unfinished=unfinished))


def _last_ingest(shop: Shop, instance: dg.DagsterInstance) -> dict[str, Any]:
    records = instance.get_run_records(dg.RunsFilter(job_name="ingest_job"), limit=1)
    if not records:
        return {}
    began = records[0].create_timestamp.astimezone(shop.zone).replace(tzinfo=None)
    return {"has_failed": records[0].dagster_run.status in _FAILED, "looked_at": began}


def _plan(shop: Shop, instance: dg.DagsterInstance, facts: Facts) -> WeekPlan:
    plan = plan_weeks(shop, facts, release_after=RELEASE_AFTER)
    failed = frozenset(week for week in plan.all_stages if _has_failed(instance, week))
    return plan_weeks(shop, replace(facts, failed=failed), release_after=RELEASE_AFTER) if failed else plan


def _has_failed(instance: dg.DagsterInstance, week: date) -> bool:
    last = instance.get_runs(dg.RunsFilter(job_name="weekly_job", tags={WEEK_TAG: str(week)}), limit=1)
    return bool(last) and last[0].status in _FAILED


def _next_runs(
    shop: Shop, instance: dg.DagsterInstance, look: Look, plan: WeekPlan, cursor: Cursor
) -> tuple[list[Step], str]:
    """The runs to ask for now; if none, why."""
    ingest = _ingest_step(shop, look, plan, cursor)
    run = ingest and _tried(instance, ingest)
    if ingest and run is None:
        return [ingest], ""
    if ingest and run and run.status in _FAILED:
        return [], _waits(ingest, run)
    if look.orders.has_failed or look.orders.is_unfinished:
        return [], "the last ingest did not succeed, so no week is made until the next one does"
    steps = _week_steps(shop, look, plan, cursor)
    for step in steps:
        if run := _tried(instance, step):
            return [], _waits(step, run)
    if steps:
        return steps, ""
    if look.orders.is_read_from_files and not look.orders.has_exports:
        return [], f"{shop.orders_dir} holds no order export yet"
    return [], "all weeks that the orders cover are made from the orders as they are"


def _ingest_step(shop: Shop, look: Look, plan: WeekPlan, cursor: Cursor) -> Step | None:
    now = look.facts.now
    reason = plan_ingest(look.orders, plan, now, release_time(shop, now, RELEASE_AFTER))
    if reason is None:
        return None
    # intervals bound themselves
    moment = now if reason is IngestReason.INTERVAL else cursor.exports
    return Step(
        "ingest_job", (), reason.value, cause_of("ingest_job", (), moment, *_today(shop, now, cursor))
    )


def _week_steps(shop: Shop, look: Look, plan: WeekPlan, cursor: Cursor) -> list[Step]:
    """The runs that make weeks: all ranges of the history, or, when none is left, the week's own."""
    parts = [("history_job", part) for part in plan.history]
    if not parts and plan.due:
        parts = [("weekly_job", plan.due)]
    causes = (look.facts.inputs_version, *_today(shop, look.facts.now, cursor))
    return [Step(job, part.weeks, part.reason, cause_of(job, part.weeks, *causes)) for job, part in parts]


def _today(shop: Shop, now: datetime, cursor: Cursor) -> tuple[object, ...]:
    """What makes it another decision: the day, a warehouse made again, a mended shop.yaml."""
    return (now.date(), cursor.since, shop.model_dump_json())


def _tried(instance: dg.DagsterInstance, step: Step) -> dg.DagsterRun | None:
    """The run that the same cause has led to, if any."""
    runs = instance.get_runs(dg.RunsFilter(tags={CAUSE_TAG: step.cause}), limit=1)
    return runs[0] if runs else None


def _waits(step: Step, run: dg.DagsterRun) -> str:
    return (
        f"{step.name} ran today for the same cause ({step.reason}) and did not get there: see run "
        f"{run.run_id[:8]} ({run.status.value.lower()}). It runs again tomorrow, when orders or settings "
        "change, or by `rfm run`"
    )


def _request(step: Step, now: datetime, assets: Mapping[str, Sequence[dg.AssetKey]]) -> dg.RunRequest:
    tags = {REASON_TAG: step.reason, CAUSE_TAG: step.cause}
    key = f"{step.name} {now.date()} {step.cause}"
    if not step.weeks:
        return dg.RunRequest(run_key=key, job_name=step.job, tags=tags)
    ingest = set(assets["ingest_job"])
    selection = [asset for asset in assets[step.job] if asset not in ingest]
    week = str(step.weeks[0]) if len(step.weeks) == 1 else None
    return dg.RunRequest(
        run_key=key,
        job_name=step.job,
        asset_selection=selection,
        partition_key=week,
        tags=tags if week else {**tags, **range_tags(step.weeks)},
    )

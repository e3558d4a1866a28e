"""Alerts to the team's group: a run failed, or a check stopped it. One a cause and day, whatever sees it.

Both the runner of ``rfm run`` and the sensor under ``rfm ui`` come here, and the ledger knows which cause was
reported today. Belongs here: what an alert says, and that no alert ever turns an error into another one.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from rfm_pipeline.errors import RfmError
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.notifications.delivery import DeliveryStatus, Message, deliver_once, plain, robot_settings
from rfm_pipeline.orchestration.failures import StepFailure, failed_steps
from rfm_pipeline.shop import Shop
from rfm_pipeline.wecom.robot import shortened
from rfm_pipeline.weeks import shop_now

KIND = "alert"
WHOLE_RUN = "run"
_EVENTS = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.ASSET_CHECK_EVALUATION}
_PARTITION, _FIRST, _LAST = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)
_NAME_LENGTH, _WORDS_LENGTH = 40, 300
_NO_ALERT = "the group got no alert that"


@dataclass(frozen=True)
class Alert:
    """A failure to report.

    Attributes:
        failure: What failed.
        weeks: The weeks that the run was asked for; empty if it had none.
        run_id: The run; None if it failed before there was one.
    """

    failure: StepFailure
    weeks: str = ""
    run_id: str | None = None

    @property
    def cause(self) -> str:
        """What makes two failures the same: step, error and checks; never a week, a figure or a word."""
        return "|".join([self.failure.step, self.failure.kind, *sorted(self.failure.checks)])


def of_run(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[Alert]:
    """The alerts of a failed run: each step that failed, or that it ended without saying why."""
    logged = instance.all_logs(run.run_id, of_type=_EVENTS)
    failures = failed_steps(entry.dagster_event for entry in logged if entry.dagster_event is not None)
    weeks = _weeks(run)
    return [
        Alert(failure, weeks, run.run_id)
        for failure in failures or [StepFailure(WHOLE_RUN, "ended without saying why")]
    ]


def of_error(error: BaseException) -> Alert:
    """The alert of an error outside of any run."""
    words = str(error) if isinstance(error, RfmError) else None
    return Alert(StepFailure("rfm run", type(error).__name__, words))


def send_alerts(shop: Shop, ledger: Ledger, robot_key: str | None, alerts: Sequence[Alert]) -> list[str]:
    """Sends each alert unless its cause was reported today.

    Never raises: where an alert can't be sent, the error that it reports stays the one that counts.

    Args:
        shop: The settings.
        ledger: Knows what was reported.
        robot_key: The group robot's key; without it nothing is sent.
        alerts: What to report.

    Returns:
        A line for each alert that was not sent, and why; it may be tried again the same day, by the next run
        that fails so.
    """
    if not shop.wecom.enabled or not robot_key:
        return []
    problems = []
    for alert in alerts:
        try:
            [one] = deliver_once(ledger, robot_settings(shop, robot_key), [_message(shop, alert)])
            if one.status is DeliveryStatus.NOT_SENT:
                problems.append(f"{_NO_ALERT} {alert.failure.step} failed: {one.reason}")
        except RfmError as error:
            problems.append(f"{_NO_ALERT} {alert.failure.step} failed: {error}")
        except Exception as error:
            # whatever it is, the run's own error is the one to be seen
            problems.append(f"{_NO_ALERT} {alert.failure.step} failed: {type(error).__name__}")
    return problems


def _message(shop: Shop, alert: Alert) -> Message:
    digest = hashlib.sha256(alert.cause.encode()).hexdigest()[:16]
    said = alert_text(shop, alert)
    return Message(KIND, f"{shop_now(shop).date()} {digest}", lambda robot: robot.markdown(said))


def alert_text(shop: Shop, alert: Alert) -> str:
    """The alert in WeCom's Markdown; no customer's data is in it."""
    failure = alert.failure
    title = "数据检查未通过，已停止" if failure.checks else "运行失败"
    what = [
        f'## <font color="warning">{title}</font> · {plain(shop.shop.name, _NAME_LENGTH)}',
        *([f"> 周：**{alert.weeks}**"] if alert.weeks else []),
        *([f"> 步骤：**{plain(failure.step, _NAME_LENGTH)}**"] if failure.step != WHOLE_RUN else []),
        *_why(failure),
    ]
    to_do = [
        f"**怎么办**：{_look(alert)}处理好后重新执行 rfm run，已经发出的不会重复发送。",
        '<font color="comment">同一原因一天只提醒一次</font>',
    ]
    return shortened("\n".join([*what, "", *to_do]))


def _why(failure: StepFailure) -> list[str]:
    if failure.checks:
        return [f"> 检查 **{name}** 未通过{_figures(figures)}" for name, figures in failure.checks.items()]
    if failure.words:
        return [f"> 原因：{plain(failure.words, _WORDS_LENGTH)}"]
    if failure.step == WHOLE_RUN:
        return ["> 原因：运行进程意外结束，没有留下说明（例如被强制终止、内存不足、断电）"]
    return [f"> 原因：程序错误 {plain(failure.kind, _NAME_LENGTH)}"]


def _figures(figures: Mapping[str, Any]) -> str:
    """A check's counts; a figure that is no number is left out, whatever it may be."""
    counts = [
        f"{name} {value:,}"
        for name, value in figures.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return f"（{'，'.join(counts)}）" if counts else ""


def _look(alert: Alert) -> str:
    if alert.run_id is None:
        return ""
    return f"执行 rfm ui，打开运行 **{alert.run_id[:8]}** 查看详情；"


def _weeks(run: dg.DagsterRun) -> str:
    if week := run.tags.get(_PARTITION):
        return week
    first, last = run.tags.get(_FIRST), run.tags.get(_LAST)
    return f"{first} 至 {last}" if first and last else ""

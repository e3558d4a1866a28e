"""The Monday message to the team's group: who is to be contacted this week, and the work list as a file.

Counts only, never a customer's data; the file is the work list in ``out/worklists/``. Belongs
here: what is said, and in which parts. That each part is said once is ``team_chat``'s, when it may be said
the guards'.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import polars as pl

from rfm_pipeline.contacts.messages import valid_until
from rfm_pipeline.contacts.reach import Reach
from rfm_pipeline.errors import RfmError
from rfm_pipeline.ledger import DONE, PENDING, REJECTED, UNMATCHED, Ledger
from rfm_pipeline.notifications.delivery import (
    DeliveryStatus,
    Message,
    deliver_once,
    known,
    plain,
    release,
    robot_settings,
)
from rfm_pipeline.recall import guards
from rfm_pipeline.recall.listing import queue_length, sealed_rows
from rfm_pipeline.recall.schemas import ADD, REMOVE
from rfm_pipeline.recall.tagging import SAID_NO
from rfm_pipeline.recall.worklist import CLASS_SHEETS, send_from, worklist_path, worklist_rows
from rfm_pipeline.shop import CHURN_CLASSES, HOLDOUT, Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.wecom.robot import shortened
from rfm_pipeline.weeks import as_of, shop_now

KIND = "weekly"
WORDS, FILE = "message", "file"
PARTS = (WORDS, FILE)
_NAME_LENGTH, _OFFER_LENGTH = 40, 60
_REASONS = {"returned": "已回购", "suppressed": "已退订", "campaign over": "活动到期"}
_LOCAL = "local"
_IN_WECOM = ("企业微信标签", "已打上", "已取下")
_IN_A_FILE = ("标签（只写在 out/tags/ 的文件里，请手工处理）", "待打上", "待取下")


@dataclass(frozen=True)
class WeeklySummary:
    """What the message says of a week; counts of customers.

    Attributes:
        week: The week.
        to_contact: By class, as the work list has them.
        holdout: Left alone to measure against.
        queued: Waiting for a later week's capacity.
        added: Tags that are on.
        removed: Tags that were taken off, by the plan's reason.
        said_no: Tags that were not put on, because the customer said no after the list was sealed.
        unmatched: Customers for whom WeCom has no clear contact.
        refused: Tag changes that WeCom refused for good.
        failed: Tag changes that failed and are tried again.
        left_open: Tag changes that the next run has still to make.
        is_local: Whether tags went to a file instead of WeCom.
        send_from: The first moment at which messages may be sent, on the shop's clock.
        valid_until: The coupons' last day.
    """

    week: date
    to_contact: Mapping[str, int]
    holdout: int
    queued: int
    added: int
    removed: Mapping[str, int]
    said_no: int
    unmatched: int
    refused: int
    failed: int
    left_open: int
    is_local: bool
    send_from: datetime
    valid_until: date


def read_weekly_summary(
    shop: Shop, warehouse: Warehouse, ledger: Ledger, reach: Reach, week: date
) -> WeeklySummary:
    """What is to be said of a sealed week, as it is now.

    Raises:
        RfmError: If the week isn't sealed.
    """
    sealed_at = ledger.sealed_at(week)
    sealed = sealed_rows(ledger, [week])
    listed = dict(worklist_rows(shop, sealed, reach).group_by("churn_class").len().iter_rows())
    actions = ledger.tag_actions([week])
    done = actions.filter(pl.col("status") == DONE)
    removed = done.filter(pl.col("action") == REMOVE).group_by("reason").len().iter_rows()
    is_no = pl.col("error").eq_missing(SAID_NO)
    not_done = actions.filter((pl.col("status") != DONE) & ~is_no)
    counts = dict(not_done.group_by("status").len().iter_rows())
    return WeeklySummary(
        week=week,
        to_contact={name: listed.get(name, 0) for name in CHURN_CLASSES},
        holdout=sealed.filter(pl.col("arm") == HOLDOUT).height,
        queued=queue_length(warehouse, ledger, shop, reach, week),
        added=done.filter(pl.col("action") == ADD).height,
        removed=dict(removed),
        said_no=actions.filter((pl.col("status") != DONE) & is_no).height,
        unmatched=counts.pop(UNMATCHED, 0),
        refused=counts.pop(REJECTED, 0),
        left_open=counts.pop(PENDING, 0),
        failed=sum(counts.values()),
        is_local=bool(actions.height) and actions["sink"].unique().to_list() == [_LOCAL],
        send_from=send_from(shop, sealed_at),
        valid_until=valid_until(shop, week),
    )


def words(shop: Shop, summary: WeeklySummary) -> str:
    """The message in WeCom's Markdown: at most 4,096 bytes whatever the settings say."""
    last = as_of(summary.week) - timedelta(days=1)
    blocks = [
        [
            f"## {plain(shop.shop.name, _NAME_LENGTH)} · 静默客户召回",
            f"名单周 **{summary.week} 至 {last:%m-%d}**",
        ],
        _to_contact(shop, summary),
        _tags(summary),
        [
            "**别忘了**",
            f"> 另有 **{summary.holdout:,}** 位客户留作对照：没有打标签、不在名单里，请勿联系",
            f"> 还有 {summary.queued:,} 位在排队，轮到时会出现在以后的名单里",
        ],
    ]
    return shortened("\n\n".join("\n".join(block) for block in blocks if block))


def _to_contact(shop: Shop, summary: WeeklySummary) -> list[str]:
    total = sum(summary.to_contact.values())
    if not total:
        return ["**本周没有需要联系的客户**"]
    hours = shop.recall.sending_hours
    lines = [f'**本周请联系 <font color="info">{total:,}</font> 位客户**']
    for name, title in CLASS_SHEETS.items():
        offer = plain(shop.recall.offers[name], _OFFER_LENGTH)
        lines.append(f"> {title}：**{summary.to_contact[name]:,}** 位 · {offer}")
    return [
        *lines,
        f"> 最早 **{summary.send_from:%m-%d %H:%M}** 起发送，每天 {hours.begins:%H:%M}–{hours.ends:%H:%M}",
        f"> 优惠券有效期至 **{summary.valid_until}**",
        f"> 联系方式、券码和话术都在 {summary.week}.xlsx 里，填好黄色列；含个人信息，请勿外传",
    ]


def _tags(summary: WeeklySummary) -> list[str]:
    """What became of the tags; lines of which there is nothing to say are left out."""
    where, put_on, taken_off = _IN_A_FILE if summary.is_local else _IN_WECOM
    lines = [f"**{where}**", f"> {put_on} **{summary.added:,}** 个"]
    if removed := sum(summary.removed.values()):
        why = "，".join(
            f"{_REASONS.get(reason, reason)} {count:,}" for reason, count in sorted(summary.removed.items())
        )
        lines.append(f"> {taken_off} **{removed:,}** 个：{why}")
    if summary.removed.get("returned"):
        lines.append("> 已回购的客户请不要再发召回话术")
    if summary.said_no:
        lines.append(f"> {summary.said_no:,} 位在名单确定后退订，没有打标签")
    if summary.unmatched:
        lines.append(
            f'> <font color="warning">{summary.unmatched:,}</font> 位在企业微信里找不到，请用其他渠道'
        )
    if summary.refused:
        lines.append(
            f'> <font color="warning">{summary.refused:,}</font> 个被企业微信拒绝，'
            f"明细见 out/tags/{summary.week}_problems.csv"
        )
    if summary.failed:
        lines.append(f'> <font color="warning">{summary.failed:,}</font> 个失败，下次运行会再试')
    if summary.left_open:
        lines.append(f'> <font color="warning">{summary.left_open:,}</font> 个还没做完，下次运行会接着做')
    return lines


# --- one the group ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Announcement:
    """What came of one the group of a week.

    Attributes:
        sent: How many messages this run sent.
        refused: Why nothing may be sent; None if it may.
        parts: Whether the group has the message and the file.
        reasons: Why it doesn't have a part, or why that isn't known.
        words: The message.
    """

    sent: int = 0
    refused: str | None = None
    parts: Mapping[str, DeliveryStatus] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    words: str = ""

    @property
    def unknown(self) -> list[str]:
        """The parts of which nobody knows whether the group has them."""
        return [part for part, status in self.parts.items() if status is DeliveryStatus.UNKNOWN]


def refuse(
    shop: Shop, ledger: Ledger, robot_key: str | None, weeks: Sequence[date], tags: Mapping[str, str]
) -> str | None:
    """Why the group may get no message of these weeks, None if it may: the first guard that objects."""
    now = shop_now(shop)
    if reason := guards.refuse_weeks(shop, weeks, tags, now):
        return reason
    if reason := guards.refuse_worklist(shop, weeks, ledger.sealed_weeks(), now):
        return reason
    if not worklist_path(shop, weeks[0]).exists():
        return f"there is no work list of week {weeks[0]}; materialize ops_worklist"
    if not shop.wecom.enabled:
        return "wecom.enabled is false in shop.yaml"
    if not robot_key:
        return f"the environment variable {shop.wecom.robot_key_env} (the group robot's key) is not set"
    return None


def announce(
    shop: Shop,
    warehouse: Warehouse,
    ledger: Ledger,
    reach: Reach,
    robot_key: str,
    week: date,
) -> Announcement:
    """Sends the message and the file, each unless the group has it or may have it.

    The caller has asked the guards.

    Raises:
        RfmError: If a part certainly was not sent.
    """
    said = words(shop, read_weekly_summary(shop, warehouse, ledger, reach, week))
    path = worklist_path(shop, week)
    messages = [
        Message(KIND, _name(week, WORDS), lambda robot: robot.markdown(said)),
        Message(KIND, _name(week, FILE), lambda robot: robot.file(path.name, path.read_bytes())),
    ]
    deliveries = dict(
        zip(PARTS, deliver_once(ledger, robot_settings(shop, robot_key), messages), strict=False)
    )
    for part, one in deliveries.items():
        if one.status is DeliveryStatus.NOT_SENT:
            raise RfmError(
                f"the group got no message of week {week}: the {part} certainly was not sent "
                f"({one.reason}). Run again, and what is missing is sent."
            )
    return Announcement(
        sent=sum(one.status is DeliveryStatus.SENT for one in deliveries.values()),
        parts={part: one.status for part, one in deliveries.items()},
        reasons={part: one.reason for part, one in deliveries.items() if one.reason},
        words=said,
    )


def deliveries_of(ledger: Ledger, week: date) -> dict[str, DeliveryStatus]:
    """Whether the group has the message and the file of a week, by the ledger."""
    return {part: known(ledger, KIND, _name(week, part)).status for part in PARTS}


def send_again(ledger: Ledger, week: date) -> None:
    """Lets the parts be sent again of which nobody knows whether the group has them: somebody looked."""
    for part in PARTS:
        release(ledger, KIND, _name(week, part))


def _name(week: date, part: str) -> str:
    return f"{week} {part}"

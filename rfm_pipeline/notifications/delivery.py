"""Messages into the team's group, each at most once whatever is re-run.

The ledger has a message as pending before the robot is called, and what came of it after. A message whose
outcome nobody learnt stays pending and is nobody's to send again: the group can't be asked what it has seen.

Belongs here: one_delivery once, and how fast. What is said is ``recall.monday``'s and ``alerts``'.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import polars as pl

from rfm_pipeline.errors import RfmError
from rfm_pipeline.ledger import DONE, FAILED, PENDING, Ledger
from rfm_pipeline.shop import Shop
from rfm_pipeline.wecom.errors import WecomRefused
from rfm_pipeline.wecom.robot import Robot, RobotSettings, SendStatus, Sent

_LOOKALIKES = str.maketrans(
    {"<": "＜", ">": "＞", "[": "［", "]": "］", "`": "'", "*": "＊", "\r": " ", "\n": " "}
)


class DeliveryStatus(StrEnum):
    """Whether the group has a message."""

    SENT = "sent"
    SENT_BEFORE = "sent before"
    NOT_SENT = "not sent"
    """Certainly: a later run may try again."""
    UNKNOWN = "nobody knows whether it was sent"


@dataclass(frozen=True)
class Message:
    """A message that is to be sent once.

    Attributes:
        kind: What kind of message, such as ``weekly``.
        name: Which one of its kind.
        send: Sends it.
    """

    kind: str
    name: str
    send: Callable[[Robot], Awaitable[Sent]]


@dataclass(frozen=True)
class Delivery:
    """What came of a message.

    Attributes:
        status: Whether the group has it.
        reason: Why not, or why that isn't known.
    """

    status: DeliveryStatus
    reason: str | None = None


def robot_settings(shop: Shop, robot_key: str) -> RobotSettings:
    """How the shop's robot is reached."""
    return RobotSettings(robot_key, base_url=shop.wecom.base_url, timeout_seconds=shop.wecom.timeout_seconds)


def deliver_once(ledger: Ledger, settings: RobotSettings, messages: Sequence[Message]) -> list[Delivery]:
    """Sends what the group doesn't have yet, in order; ends with the first that certainly was not sent.

    Killed at any moment and called again, nothing is sent twice.

    Returns:
        What came of the messages, as far as they were tried.

    Raises:
        WecomRefused: If the robot is gone or its key is wrong: nothing helps but a change of the settings.
    """
    return asyncio.run(_deliver_all(ledger, settings, messages))


def plain(text: str, longest: int) -> str:
    """Somebody else's text on one line of a message: no markup, no mention, no link, not too long."""
    line = " ".join(text.translate(_LOOKALIKES).split()).replace("://", "：//")
    return line if len(line) <= longest else line[: longest - 1] + "…"


async def _deliver_all(
    ledger: Ledger, settings: RobotSettings, messages: Sequence[Message]
) -> list[Delivery]:
    deliveries = []
    async with Robot(settings) as robot:
        for message in messages:
            deliveries.append(await _deliver_one(ledger, settings, robot, message))
            if deliveries[-1].status is DeliveryStatus.NOT_SENT:
                break
    return deliveries


async def _deliver_one(ledger: Ledger, settings: RobotSettings, robot: Robot, message: Message) -> Delivery:
    if not ledger.claim_message(message.kind, message.name):
        return known(ledger, message.kind, message.name)
    await _wait_for_a_gap(ledger, settings)
    try:
        sent = await message.send(robot)
    except RfmError as error:
        # the robot raises these only where the message certainly didn't leave
        ledger.finish_message(message.kind, message.name, FAILED, str(error))
        if isinstance(error, WecomRefused):
            raise
        return Delivery(DeliveryStatus.NOT_SENT, str(error))
    if sent.status is SendStatus.SENT:
        ledger.finish_message(message.kind, message.name, DONE)
        return Delivery(DeliveryStatus.SENT)
    if sent.status is SendStatus.NOT_SENT:
        ledger.finish_message(message.kind, message.name, FAILED, sent.reason)
        return Delivery(DeliveryStatus.NOT_SENT, sent.reason)
    ledger.finish_message(message.kind, message.name, PENDING, sent.reason)
    return Delivery(DeliveryStatus.UNKNOWN, sent.reason)


def known(ledger: Ledger, kind: str, name: str) -> Delivery:
    """What the ledger says of a message."""
    found = ledger.messages(kind).filter(pl.col("name") == name)
    if found.is_empty():
        return Delivery(DeliveryStatus.NOT_SENT)
    status, error = found.select("status", "error").row(0)
    if status == DONE:
        return Delivery(DeliveryStatus.SENT_BEFORE)
    if status == FAILED:
        return Delivery(DeliveryStatus.NOT_SENT, error)
    return Delivery(DeliveryStatus.UNKNOWN, error or "the run that sent it was killed, or is still at it")


def release(ledger: Ledger, kind: str, name: str) -> None:
    """Lets a message of unknown outcome be sent again: somebody looked, and the group doesn't have it."""
    if known(ledger, kind, name).status is DeliveryStatus.UNKNOWN:
        ledger.finish_message(kind, name, FAILED, "somebody looked: the group does not have it")


async def _wait_for_a_gap(ledger: Ledger, settings: RobotSettings) -> None:
    """Keeps the robot's rate among processes, of which each counts its own messages only.

    The caller has claimed its message, so it counts itself too. A clock that was set back can't make this
    longer than one window; if it is too short for once, WeCom says so, and the message is sent later.
    """
    window = timedelta(seconds=settings.window_seconds)
    messages = ledger.messages()
    moment = datetime.now(UTC).replace(tzinfo=None)
    # WeCom counts a message when it arrives, which is at the latest when it was over
    over = messages.select(pl.coalesce("finished_at", "requested_at"))["finished_at"]
    recent = over.filter(over > moment - window).sort()
    if recent.len() <= settings.messages:
        return
    gap = recent[-settings.messages - 1] + window - moment
    await asyncio.sleep(min(gap.total_seconds(), settings.window_seconds))

"""The group robot: messages and files into one group, and for each whether it was sent.

A message can't be taken back, and WeCom does not tell the same one twice from two. So a send of which it is
not known whether it arrived is never repeated here, and must not be by the caller. What is said, and
whether it was said already, is the caller's.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from rfm_pipeline.errors import RfmError
from rfm_pipeline.wecom.errors import RETRIES, Remedy, WecomStopped, WecomUnavailable, refused
from rfm_pipeline.wecom.pacing import Window, pause
from rfm_pipeline.wecom.wire import BASE_URL, Connected, NoAnswer, Result, Wire

TEXT_BYTES = 2048
MARKDOWN_BYTES = 4096
FILE_BYTES = 20 * 1024 * 1024
SMALLEST_FILE_BYTES = 6
_LEFT_OUT = "……（超出长度，以下省略）"


@dataclass(frozen=True)
class RobotSettings:
    """How to reach a group's robot.

    Attributes:
        key: What stands behind ``key=`` in the robot's webhook address.
        base_url: Where the API is.
        messages: How many messages WeCom takes in a window.
        window_seconds: The window.
        timeout_seconds: How long one call may take.
        backoff_seconds: The pause before the first retry of what certainly was not sent.
    """

    key: str = field(repr=False)
    base_url: str = BASE_URL
    messages: int = 20
    window_seconds: float = 60
    timeout_seconds: float = 30
    backoff_seconds: float = 0.5

    def __post_init__(self) -> None:
        if not self.key:
            raise RfmError("The group robot needs its key; it is empty.")


class SendStatus(StrEnum):
    """Whether a message is in the group."""

    SENT = "sent"
    NOT_SENT = "not sent"
    """Certainly: WeCom said no, or the request never left."""
    UNKNOWN = "unknown"
    """The answer was lost: never send it again."""


@dataclass(frozen=True)
class Sent:
    """What came of one message.

    Attributes:
        status: Whether it is in the group.
        reason: Why it is not, or why that is not known: ``timeout``, ``http 502``, ``errcode 40058: …``.
        errcode: The last answer's code; None if there was none.
    """

    status: SendStatus
    reason: str | None
    errcode: int | None


@dataclass(frozen=True)
class _Media:
    media_id: Annotated[str, Field(min_length=1)] = field(repr=False)


_READS_MEDIA = TypeAdapter(_Media)


class Robot(Connected):
    """One group's robot; use it as ``async with Robot(settings) as robot``.

    Its methods raise :class:`WecomRefused` where the robot is gone, disabled or the key is wrong, and
    :class:`WecomStopped` where WeCom finds the messages too many; the message was certainly not sent then.
    """

    def __init__(self, settings: RobotSettings) -> None:
        """Makes no call yet.

        Raises:
            RfmError: If the base URL is none.
        """
        super().__init__(Wire(settings.base_url, settings.timeout_seconds, keep_alive=False))
        self._settings = settings
        self._window = Window(settings.messages, settings.window_seconds)
        self._turn = asyncio.Lock()

    async def markdown(self, content: str) -> Sent:
        """Sends Markdown, as far as WeCom knows it.

        Raises:
            ValueError: If it is longer than 4,096 bytes; :func:`shortened` cuts it.
        """
        _check_length(content, MARKDOWN_BYTES)
        return await self._send("markdown", {"content": content})

    async def text(
        self, content: str, *, mentioned: Sequence[str] = (), mentioned_mobiles: Sequence[str] = ()
    ) -> Sent:
        """Sends plain text.

        Args:
            content: At most 2,048 bytes.
            mentioned: Userids of members to notify, or ``@all``.
            mentioned_mobiles: The same by phone number.

        Raises:
            ValueError: If it is too long.
        """
        _check_length(content, TEXT_BYTES)
        body: dict[str, Any] = {"content": content}
        if mentioned:
            body["mentioned_list"] = list(mentioned)
        if mentioned_mobiles:
            body["mentioned_mobile_list"] = list(mentioned_mobiles)
        return await self._send("text", body)

    async def file(self, name: str, content: bytes) -> Sent:
        """Uploads a file and sends it; an upload that fails is a message that was not sent.

        Raises:
            RfmError: If it is larger than 20 MB or smaller than 6 bytes, which WeCom doesn't take.
        """
        try:
            media_id = await self.upload(name, content)
        except WecomUnavailable as error:
            return Sent(SendStatus.NOT_SENT, str(error), None)
        return await self.send_media(media_id)

    async def upload(self, name: str, content: bytes) -> str:
        """Uploads a file; that may be repeated at will.

        Returns:
            Its media id, good for three days and for this robot only.

        Raises:
            RfmError: If it is larger than 20 MB or smaller than 6 bytes, which WeCom doesn't take.
            WecomUnavailable: If there is no usable answer after all retries.
        """
        if not SMALLEST_FILE_BYTES <= len(content) <= FILE_BYTES:
            raise RfmError(
                f"{name} has {len(content)} bytes; WeCom's group robot takes files of {SMALLEST_FILE_BYTES}"
                f" to {FILE_BYTES} bytes."
            )
        for retries in range(RETRIES[Remedy.BACK_OFF] + 1):
            if retries:
                await pause(self._settings.backoff_seconds, retries - 1)
            result = await self._wire.call(
                "POST",
                "webhook/upload_media",
                {"key": self._settings.key, "type": "file"},
                reader=_READS_MEDIA,
                files={"media": (name, content, "application/octet-stream")},
            )
            _raise_if_asked(result)
            if result.remedy is not Remedy.BACK_OFF:
                break
        if isinstance(result, NoAnswer) or result.errcode != 0:
            raise WecomUnavailable(f"the upload failed: {result.reason}")
        media: _Media = result.content
        return media.media_id

    async def send_media(self, media_id: str) -> Sent:
        """Sends a file that was uploaded."""
        return await self._send("file", {"media_id": media_id})

    async def _send(self, kind: str, content: dict[str, Any]) -> Sent:
        async with self._turn:
            for retries in range(RETRIES[Remedy.BACK_OFF] + 1):
                if retries:
                    await pause(self._settings.backoff_seconds, retries - 1)
                await self._window.wait()
                result = await self._wire.call(
                    "POST",
                    "webhook/send",
                    {"key": self._settings.key},
                    json={"msgtype": kind, kind: content},
                )
                self._window.note()
                _raise_if_asked(result)
                if result.remedy is not Remedy.BACK_OFF or result.may_have_happened:
                    break
        return _sent(result)


def shortened(markdown: str, limit: int = MARKDOWN_BYTES) -> str:
    """Markdown that fits into a robot's message.

    Args:
        markdown: Any length.
        limit: Bytes in UTF-8.

    Returns:
        The same if it fits. Otherwise as many whole lines as fit, and a last line that says that some are
        left out; if not even the first line fits, as many of its characters as do.
    """
    if len(markdown.encode()) <= limit:
        return markdown
    room = limit - len(f"\n{_LEFT_OUT}".encode())
    beginning = markdown.encode()[: max(room, 0) + 1].decode(errors="ignore")
    lines = beginning.rpartition("\n")[0]
    if not lines.strip():
        lines = beginning.encode()[: max(room, 0)].decode(errors="ignore")
    return f"{lines.rstrip()}\n{_LEFT_OUT}"


def _check_length(content: str, limit: int) -> None:
    length = len(content.encode())
    if not 1 <= length <= limit:
        raise ValueError(f"a message of this kind has 1 to {limit} bytes, not {length}")


def _raise_if_asked(result: Result) -> None:
    if result.remedy is Remedy.STOP_FOR_NOW:
        raise WecomStopped
    if result.remedy is Remedy.STOP_RUN and result.errcode is not None:
        raise refused(result.errcode)


def _sent(result: Result) -> Sent:
    if result.errcode == 0:
        return Sent(SendStatus.SENT, None, 0)
    status = SendStatus.UNKNOWN if result.may_have_happened else SendStatus.NOT_SENT
    return Sent(status, result.reason, result.errcode)

"""The group robot: what it says arrives once or not at all, and it says which."""

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from rfm_pipeline.demo.wecom_server.control import WecomServer
from rfm_pipeline.demo.wecom_server.corporation import ROBOT, UPLOAD
from rfm_pipeline.errors import RfmError
from rfm_pipeline.wecom.errors import WecomRefused, WecomStopped, WecomUnavailable
from rfm_pipeline.wecom.robot import Robot, RobotSettings, SendStatus, Sent, shortened
from rfm_pipeline_tests.wecom.client_calls import no_rule_was_broken

T = TypeVar("T")
SENT = Sent(SendStatus.SENT, None, 0)


def with_robot(server: WecomServer, work: Callable[[Robot], Awaitable[T]], **other: Any) -> T:
    quick: dict[str, Any] = {"base_url": server.base_url, "timeout_seconds": 5, "backoff_seconds": 0.02}

    async def run() -> T:
        async with Robot(RobotSettings(server.robot_key, **(quick | other))) as robot:
            return await work(robot)

    return asyncio.run(run())


def said(server: WecomServer) -> list[str]:
    return [message["content"] for message in server.state().messages]


def test_markdown_arrives_as_it_is(server: WecomServer) -> None:
    content = '# 本周召回\n> 新静默 **12** 人 <font color="warning">A类 3</font>'
    assert with_robot(server, lambda robot: robot.markdown(content)) == SENT
    assert server.state().messages == [{"msgtype": "markdown", "content": content}]


def test_text_may_notify_people(server: WecomServer) -> None:
    async def work(robot: Robot) -> Sent:
        return await robot.text("运行失败", mentioned=["@all"], mentioned_mobiles=["13800000001"])

    assert with_robot(server, work) == SENT
    [message] = server.state().messages
    assert (message["mentioned_list"], message["mentioned_mobile_list"]) == (["@all"], ["13800000001"])


def test_a_file_arrives_with_its_chinese_name_and_every_byte(server: WecomServer) -> None:
    content = bytes(range(256)) * 400 + b"\r\n--boundary\r\n"
    assert with_robot(server, lambda robot: robot.file("召回名单 2026-06-29.xlsx", content)) == SENT
    [message] = server.state().messages
    assert server.media(message["media_id"]) == ("召回名单 2026-06-29.xlsx", content)


@pytest.mark.parametrize(("method", "limit"), [("text", 2048), ("markdown", 4096)])
def test_a_message_is_measured_in_bytes(server: WecomServer, method: str, limit: int) -> None:
    fits = "静" * (limit // 3) + "a" * (limit % 3)
    assert with_robot(server, lambda robot: getattr(robot, method)(fits)) == SENT
    for wrong in ("", fits + "a"):
        with pytest.raises(ValueError, match=f"1 to {limit} bytes"):
            with_robot(server, lambda robot, wrong=wrong: getattr(robot, method)(wrong))
    assert said(server) == [fits]


@pytest.mark.parametrize(("size", "fits"), [(5, False), (6, True), (20 << 20, True), ((20 << 20) + 1, False)])
def test_a_file_has_6_bytes_to_20_megabytes(server: WecomServer, size: int, fits: bool) -> None:
    if fits:
        assert with_robot(server, lambda robot: robot.file("a.xlsx", b"x" * size)) == SENT
    else:
        with pytest.raises(RfmError, match=rf"a.xlsx has {size} bytes"):
            with_robot(server, lambda robot: robot.file("a.xlsx", b"x" * size))
        assert server.calls() == []


@pytest.mark.parametrize(
    ("fault", "reason", "arrives"),
    [
        ("silence:before", "timeout", 0),
        ("silence:after", "timeout", 1),
        ("reset:before", "connection broken", 0),
        ("reset:after", "connection broken", 1),
        ("http_502:before", "http 502", 0),
        ("http_502:after", "http 502", 1),
        ("malformed:before", "malformed reply", 0),
        ("malformed:after", "malformed reply", 1),
    ],
)
def test_a_lost_answer_is_never_a_reason_to_say_it_again(
    server: WecomServer, fault: str, reason: str, arrives: int
) -> None:
    server.script(ROBOT, fault)
    sent = with_robot(server, lambda robot: robot.markdown("周一"), timeout_seconds=0.5)
    assert sent == Sent(SendStatus.UNKNOWN, reason, None)
    assert len(server.calls(ROBOT)) == 1
    assert len(said(server)) == arrives


def test_a_no_is_certain(server: WecomServer) -> None:
    server.script(ROBOT, "errcode:40058")
    sent = with_robot(server, lambda robot: robot.markdown("周一"))
    assert sent == Sent(SendStatus.NOT_SENT, "errcode 40058: a parameter is not valid", 40058)
    assert said(server) == []


@pytest.mark.parametrize("code", [-1, 6000])
def test_a_busy_system_is_asked_again_because_it_said_no(server: WecomServer, code: int) -> None:
    server.script(ROBOT, *[f"errcode:{code}"] * 3)
    assert with_robot(server, lambda robot: robot.markdown("周一")) == SENT
    assert said(server) == ["周一"]
    server.script(ROBOT, *[f"errcode:{code}"] * 4)
    sent = with_robot(server, lambda robot: robot.markdown("周二"))
    assert sent == Sent(SendStatus.NOT_SENT, f"errcode {code}", code)


def test_a_server_that_is_not_there_heard_nothing(server: WecomServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    nowhere = f"http://127.0.0.1:{port}/cgi-bin"
    sent = with_robot(server, lambda robot: robot.markdown("周一"), base_url=nowhere)
    assert sent == Sent(SendStatus.NOT_SENT, "no connection", None)
    filed = with_robot(server, lambda robot: robot.file("a.xlsx", b"123456"), base_url=nowhere)
    assert filed == Sent(SendStatus.NOT_SENT, "the upload failed: no connection", None)


@pytest.mark.parametrize("code", [93000, 93004, 93008])
def test_a_robot_that_is_gone_says_what_to_do(server: WecomServer, code: int) -> None:
    for api in (ROBOT, UPLOAD):
        server.script(api, f"errcode:{code}")
        with pytest.raises(WecomRefused, match=rf"errcode {code}.*群机器人"):
            with_robot(server, lambda robot: robot.file("a.xlsx", b"123456"))
    assert server.state().messages == []


def test_a_wrong_key_says_what_to_do(server: WecomServer) -> None:
    async def run() -> Sent:
        async with Robot(RobotSettings("wrong", server.base_url)) as robot:
            return await robot.markdown("周一")

    with pytest.raises(WecomRefused, match="key"):
        asyncio.run(run())


def test_twenty_messages_a_minute_are_what_wecom_takes() -> None:
    settings = RobotSettings("key")
    assert (settings.messages, settings.window_seconds) == (20, 60)


def test_the_window_is_kept_by_waiting(server: WecomServer) -> None:
    """Twenty in a second and a half instead of a minute, here and there."""
    server.limits(messages=20, robot_window_seconds=1.5)

    async def work(robot: Robot) -> list[Sent]:
        return await asyncio.gather(*(robot.markdown(f"第{number}条") for number in range(45)))

    assert set(with_robot(server, work, window_seconds=1.5)) == {SENT}
    assert said(server) == [f"第{number}条" for number in range(45)]
    assert no_rule_was_broken(server)
    starts = [call.started for call in server.calls(ROBOT)]
    assert starts[19] - starts[0] < 1.5 <= starts[20] - starts[0]
    assert all(later > earlier for earlier, later in itertools.pairwise(starts))


def test_a_window_that_others_have_filled_is_certainly_not_sent(server: WecomServer) -> None:
    server.limits(messages=1)
    assert with_robot(server, lambda robot: robot.markdown("周一")) == SENT
    with pytest.raises(WecomStopped):
        with_robot(server, lambda robot: robot.markdown("周二"))
    assert said(server) == ["周一"]


def test_an_upload_may_be_repeated(server: WecomServer) -> None:
    server.script(UPLOAD, "reset:after", "http_500:before", "malformed:after")
    assert with_robot(server, lambda robot: robot.file("a.xlsx", b"123456")) == SENT
    assert len(server.state().messages) == 1


def test_an_upload_that_fails_is_a_message_that_was_not_sent(server: WecomServer) -> None:
    server.script(UPLOAD, *["http_500:before"] * 8)
    with pytest.raises(WecomUnavailable, match="http 500"):
        with_robot(server, lambda robot: robot.upload("a.xlsx", b"123456"))
    sent = with_robot(server, lambda robot: robot.file("a.xlsx", b"123456"))
    assert sent == Sent(SendStatus.NOT_SENT, "the upload failed: http 500", None)
    assert server.calls(ROBOT) == []


# --- cutting --------------------------------------------------------------------------------------


def test_what_fits_is_not_cut() -> None:
    text = "静" * 1365 + "a"
    assert len(text.encode()) == 4096
    assert shortened(text) == text


@pytest.mark.parametrize("line", ["静默流失客户：12 人", "a" * 40, "静"])
@pytest.mark.parametrize("limit", [100, 101, 102, 103, 4096])
def test_whole_lines_are_kept_and_the_cut_is_said(line: str, limit: int) -> None:
    cut = shortened("\n".join([line] * 5000), limit)
    *kept, last = cut.split("\n")
    assert kept
    assert set(kept) == {line}
    assert "省略" in last
    room = limit - len(cut.encode())
    assert 0 <= room <= len(line.encode()), "another line would have fitted"


@pytest.mark.parametrize("limit", range(60, 70))
def test_a_line_that_is_too_long_is_cut_between_characters(limit: int) -> None:
    cut = shortened("静" * 5000, limit)
    assert len(cut.encode()) <= limit
    assert cut.startswith("静")
    assert cut.count("静") == (limit - len("\n……（超出长度，以下省略）".encode())) // 3

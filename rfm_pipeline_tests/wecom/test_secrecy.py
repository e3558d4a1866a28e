"""Nothing that is secret or personal comes out: not in a log, not in an exception, not in a repr."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from rfm_pipeline.demo.wecom_server.control import WecomServer
from rfm_pipeline.demo.wecom_server.corporation import MARK_TAG, ROBOT, UPLOAD, Contact
from rfm_pipeline.wecom.client import WecomClient, WecomSettings
from rfm_pipeline.wecom.model import Contact as Read
from rfm_pipeline.wecom.model import ContactPage, Token
from rfm_pipeline.wecom.robot import Robot, RobotSettings
from rfm_pipeline_tests.wecom.client_calls import GROUP

PHONE = "13800009999"
CUSTOMER = "wm-customer-nobody-may-see"
UNIONID = "union-nobody-may-see"
STAFF = "staff-nobody-may-see"
FAULTS = [
    *("errcode:-1", "errcode:40014", "errcode:45033", "errcode:40068", "errcode:84061", "errcode:99999"),
    *("reset:before", "reset:after", "silence:after", "http_502:after", "malformed:after"),
    *("errcode:45009", "errcode:60020", "http_404:before"),
]


async def count(staff: Awaitable[Sequence[str]]) -> int:
    """The staff's own names are what is asked for, so only their number is kept."""
    return len(await staff)


async def run_everything(server: WecomServer, seen: list[object]) -> None:
    """Everything a run does, with what comes of it."""

    async def keep(work: Callable[[], Awaitable[object]]) -> None:
        try:
            seen.append(await work())
        except Exception as error:
            seen.append("".join(traceback.format_exception(error)))
            seen.append(repr(error))

    settings = WecomSettings(
        server.corp_id, server.secret, server.base_url, None, timeout_seconds=0.3, backoff_seconds=0.001
    )
    seen.append(settings)
    async with WecomClient(settings) as wecom:
        await keep(lambda: count(wecom.follow_users()))
        await keep(wecom.tags)
        await keep(lambda: wecom.add_tags(GROUP, ["A类"]))
        await keep(lambda: anext(wecom.contacts([STAFF])))
        tag = server.state().groups[GROUP]
        await keep(lambda: wecom.mark_tag(STAFF, CUSTOMER, add=list(tag.tags)))
        await keep(lambda: wecom.mark_tag(STAFF, CUSTOMER, remove=list(tag.tags)))
        seen += [wecom, vars(wecom)]
    robot_settings = RobotSettings(
        server.robot_key, server.base_url, timeout_seconds=0.3, backoff_seconds=0.001
    )
    seen.append(robot_settings)
    async with Robot(robot_settings) as robot:
        await keep(lambda: robot.text("失败", mentioned_mobiles=[PHONE]))
        await keep(lambda: robot.file("a.xlsx", b"123456"))
        seen += [robot, vars(robot)]


def tokens_of(server: WecomServer) -> list[str]:
    return [f"token-{number}-" for number in range(1, server.state().tokens + 1)]


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_nothing_comes_out_whatever_goes_wrong(
    server: WecomServer,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    fault: str | None,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    server.befriend([Contact(STAFF, CUSTOMER, UNIONID, [PHONE], name="名字")])
    if fault is not None:
        apis = (
            MARK_TAG, ROBOT, UPLOAD, "externalcontact/batch/get_by_user",
            "externalcontact/get_corp_tag_list", "externalcontact/get_follow_user_list",
        )  # fmt: skip
        for api in apis:
            server.script(api, fault, fault)
    server.make_tags(GROUP, "A类")
    seen: list[Any] = []
    asyncio.run(run_everything(server, seen), debug=True)
    printed = capfd.readouterr()
    logged = [record.getMessage() + repr(record.__dict__) for record in caplog.records]
    everything = "\n".join([*map(repr, seen), *map(str, seen), *logged, printed.out, printed.err])
    assert "httpx" in {record.name for record in caplog.records}, "the logs were not looked at"
    assert any(record.name.startswith("httpcore") for record in caplog.records)
    assert tokens_of(server)
    hidden = [
        *(server.secret, server.robot_key, PHONE, CUSTOMER, UNIONID, STAFF, "203.0.113.9"),
        *tokens_of(server),
    ]
    assert [value for value in hidden if value in everything] == []


def test_a_wrong_secret_is_not_quoted(server: WecomServer) -> None:
    async def ask() -> None:
        async with WecomClient(WecomSettings(server.corp_id, "a-wrong-secret", server.base_url)) as wecom:
            await wecom.tags()

    with pytest.raises(Exception, match="40001") as caught:
        asyncio.run(ask())
    assert "a-wrong-secret" not in "".join(traceback.format_exception(caught.value))


def test_personal_values_are_in_no_repr() -> None:
    contact = Read(STAFF, CUSTOMER, UNIONID, (PHONE,), ("t1",))
    shown = repr([contact, ContactPage((contact,), {STAFF: 60111}), Token("the-token", 7200)])
    assert not any(value in shown for value in (STAFF, CUSTOMER, UNIONID, PHONE, "the-token"))

"""What the tests of the client share: a client for the server, customers to mark, one call a step."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from rfm_pipeline.demo.wecom_server.control import WecomServer
from rfm_pipeline.demo.wecom_server.corporation import Contact
from rfm_pipeline.wecom.client import WecomClient, WecomSettings
from rfm_pipeline.wecom.model import Outcome

T = TypeVar("T")

GROUP = "静默流失"
FOLLOW_USERS = "externalcontact/get_follow_user_list"
BY_USER = "externalcontact/batch/get_by_user"
TAG_LIST = "externalcontact/get_corp_tag_list"
ADD_TAGS = "externalcontact/add_corp_tag"


def settings_for(server: WecomServer, **other: Any) -> WecomSettings:
    quick: dict[str, Any] = {"requests_per_second": None, "timeout_seconds": 5, "backoff_seconds": 0.02}
    return WecomSettings(server.corp_id, server.secret, server.base_url, **(quick | other))


def use(server: WecomServer, work: Callable[[WecomClient], Awaitable[T]], **other: Any) -> T:
    """What the work gives with a new client, as a new run has it."""

    async def run() -> T:
        async with WecomClient(settings_for(server, **other)) as wecom:
            return await work(wecom)

    return asyncio.run(run())


def mark_all(
    server: WecomServer, customers: Sequence[str], tag: str, userid: str = "an", **other: Any
) -> list[Outcome]:
    """The outcomes in order; raises what ended the run, after all that was under way is over."""

    async def work(wecom: WecomClient) -> list[Outcome | BaseException]:
        marks = (wecom.mark_tag(userid, name, add=[tag]) for name in customers)
        return await asyncio.gather(*marks, return_exceptions=True)

    outcomes = []
    for outcome in use(server, work, **other):
        if isinstance(outcome, BaseException):
            raise outcome
        outcomes.append(outcome)
    return outcomes


def mark(server: WecomServer, tag: str, customer: str = "c0", **other: Any) -> Outcome:
    [outcome] = mark_all(server, [customer], tag, **other)
    return outcome


def customers(count: int) -> list[str]:
    return [f"c{number}" for number in range(count)]


def befriended(server: WecomServer, count: int = 1) -> str:
    """Customers c0, c1, … of one staff member, and the id of a tag of ours."""
    server.befriend([Contact("an", name) for name in customers(count)])
    return server.make_tags(GROUP, "A类")["A类"]


def no_rule_was_broken(server: WecomServer) -> bool:
    return +server.state().violations == Counter()

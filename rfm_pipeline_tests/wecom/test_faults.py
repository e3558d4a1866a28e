"""Many customers under many faults: in the end the server has what was asked for, and nothing else."""

import asyncio
from collections import Counter

from rfm_pipeline.demo.wecom_server.control import WecomServer
from rfm_pipeline.demo.wecom_server.server import FaultPlan
from rfm_pipeline.wecom.client import WecomClient
from rfm_pipeline.wecom.errors import WecomError
from rfm_pipeline.wecom.model import Outcome, Status
from rfm_pipeline_tests.wecom.client_calls import GROUP, befriended, customers, settings_for

EVERY_FAULT = {
    "errcode:-1": 0.02,
    "errcode:6000": 0.02,
    "errcode:42001": 0.02,
    "errcode:45033": 0.02,
    "reset:before": 0.02,
    "reset:after": 0.03,
    "silence:before": 0.005,
    "silence:after": 0.005,
    "http_502:before": 0.01,
    "http_503:after": 0.01,
    "malformed:before": 0.01,
    "malformed:after": 0.01,
    "slow": 0.02,
}


async def one_run(server: WecomServer, names: list[str], tag: str) -> dict[str, Outcome]:
    """What a run learns of each customer; those it knows nothing of are left out."""
    settings = settings_for(server, timeout_seconds=0.4, backoff_seconds=0.01)
    async with WecomClient(settings) as wecom:
        marks = (wecom.mark_tag("an", name, add=[tag]) for name in names)
        answers = await asyncio.gather(*marks, return_exceptions=True)
    known = {}
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, Outcome):
            known[name] = answer
        else:
            assert isinstance(answer, WecomError), repr(answer)
    return known


def test_every_customer_is_marked_under_twenty_percent_faults_and_tokens_that_end(
    server: WecomServer,
) -> None:
    tag = befriended(server, 800)
    server.limits(token_seconds=1, latency_seconds=0.002)
    server.faults(FaultPlan(seed=4, rates=EVERY_FAULT, slow_seconds=0.1))
    waiting = customers(800)
    for _ in range(5):
        known = asyncio.run(one_run(server, waiting, tag))
        assert all(outcome.status is not Status.REJECTED for outcome in known.values())
        on = {name for _, name in server.state().tags()}
        done = {name for name, outcome in known.items() if outcome.status is Status.DONE}
        assert done <= on, "done is never said of what did not happen"
        may_be = {name for name, outcome in known.items() if outcome.may_have_happened}
        assert on & set(known) <= may_be, "what may have happened is always said"
        waiting = [name for name in waiting if name not in done]
        if not waiting:
            break
    state = server.state()
    assert state.tags() == {("an", name): {"A类"} for name in customers(800)}
    assert state.groups[GROUP].ours
    assert +state.violations == Counter()
    assert state.peak_in_flight <= 5
    faults = Counter(call.fault for call in server.marks())
    assert set(EVERY_FAULT) <= set(faults), "not every fault was met"


def test_no_call_follows_a_known_success(server: WecomServer) -> None:
    tag = befriended(server, 150)
    server.faults(FaultPlan(seed=5, rates=EVERY_FAULT, slow_seconds=0.05))
    known = asyncio.run(one_run(server, customers(150), tag))
    calls = server.marks()
    assert len(calls) == sum(outcome.attempts for outcome in known.values())
    used: set[str] = set()
    for call in calls:
        name = call.body["external_userid"]
        assert name not in used
        if call.effect and call.fault in (None, "slow"):
            used.add(name)

"""The loopback server keeps the contract and does what a fault says: what the other tests stand on."""

import itertools
import json
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from rfm_pipeline.demo.wecom_server.control import WecomServer, wecom_server
from rfm_pipeline.demo.wecom_server.corporation import MARK_TAG, ROBOT
from rfm_pipeline.demo.wecom_server.server import FaultPlan
from rfm_pipeline_tests.wecom.client_calls import GROUP, befriended, customers

BY_USER = "externalcontact/batch/get_by_user"


class PlainCaller:
    """Calls without any care, as a program with mistakes would."""

    def __init__(self, server: WecomServer) -> None:
        self.server = server
        self.http = httpx.Client(trust_env=False, timeout=5)
        self.token = self.new_token()

    def new_token(self, corp_id: str = "", secret: str = "") -> str:
        query = {"corpid": corp_id or self.server.corp_id, "corpsecret": secret or self.server.secret}
        answer = self.http.get(f"{self.server.base_url}/gettoken", params=query).json()
        return str(answer.get("access_token", answer["errcode"]))

    def post(self, api: str, body: dict[str, Any], **query: str) -> dict[str, Any]:
        query = query or {"access_token": self.token}
        answer: dict[str, Any] = self.http.post(
            f"{self.server.base_url}/{api}", params=query, json=body
        ).json()
        return answer

    def errcode(self, api: str, body: dict[str, Any], **query: str) -> int:
        return int(self.post(api, body, **query)["errcode"])

    def mark(self, customer: str, *add: str, remove: tuple[str, ...] = (), userid: str = "an") -> int:
        body = {"userid": userid, "external_userid": customer, "add_tag": add, "remove_tag": remove}
        return self.errcode(MARK_TAG, body)


@pytest.fixture
def caller(server: WecomServer) -> PlainCaller:
    return PlainCaller(server)


def test_a_token_is_the_same_until_it_ends(server: WecomServer, caller: PlainCaller) -> None:
    befriended(server)
    assert caller.new_token() == caller.token
    assert caller.errcode(BY_USER, {"userid_list": ["an"]}) == 0
    server.expire_token()
    assert caller.errcode(BY_USER, {"userid_list": ["an"]}) == 42001
    assert caller.new_token() != caller.token
    assert caller.errcode(BY_USER, {}, access_token="never given out") == 40014
    assert caller.errcode(BY_USER, {}, other="no token") == 41001


def test_wrong_credentials_are_distinguished(server: WecomServer, caller: PlainCaller) -> None:
    assert caller.new_token(corp_id="wrong") == "40013"
    assert caller.new_token(secret="wrong") == "40001"
    assert server.state().violations["wrong_secret"] == 1


def at_once(caller: PlainCaller, names: list[str], tag: str) -> Counter[int]:
    with ThreadPoolExecutor(len(names)) as pool:
        return Counter(pool.map(lambda name: caller.mark(name, tag), names))


def test_the_sixth_at_once_is_turned_away(server: WecomServer, caller: PlainCaller) -> None:
    tag = befriended(server, 6)
    server.limits(latency_seconds=0.5)
    assert at_once(caller, customers(6), tag) == {0: 5, 45033: 1}
    assert server.state().violations == {"in_flight": 1}
    assert len(server.state().tags()) == 5


def test_two_at_once_for_one_customer_are_one_too_many(server: WecomServer, caller: PlainCaller) -> None:
    tag = befriended(server)
    server.limits(latency_seconds=0.5)
    assert at_once(caller, ["c0", "c0"], tag) == {0: 1, 45033: 1}
    assert server.state().violations == {"same_customer": 1}


def test_a_window_of_calls_is_kept_for_each_api(server: WecomServer, caller: PlainCaller) -> None:
    tag = befriended(server)
    server.limits(calls=3, window_seconds=0.5)
    assert [caller.mark("c0", tag) for _ in range(4)] == [0, 0, 0, 45009]
    assert caller.errcode(BY_USER, {"userid_list": ["an"]}) == 0
    time.sleep(0.5)
    assert caller.mark("c0", tag) == 0


def test_marking_is_checked(server: WecomServer, caller: PlainCaller) -> None:
    tag = befriended(server)
    assert caller.mark("c0") == 40058
    assert caller.mark("c0", "no such tag") == 40068
    assert caller.mark("nobody", tag) == 84061
    assert caller.mark("c0", tag, userid="nobody") == 60111
    assert caller.mark("", tag) == 40096
    assert server.state().tags() == {}


def test_a_foreign_tag_is_remembered_against_its_user(server: WecomServer, caller: PlainCaller) -> None:
    befriended(server)
    foreign = server.make_tags("别人的", "VIP", ours=False)["VIP"]
    assert caller.mark("c0", foreign) == 0
    assert caller.mark("c0", remove=(foreign,)) == 0
    assert server.state().violations == {"foreign_tag": 2}


def test_only_own_tags_may_be_changed(server: WecomServer, caller: PlainCaller) -> None:
    ours = server.make_tags(GROUP, "A类")["A类"]
    foreign = server.make_tags("别人的", "VIP", ours=False)["VIP"]
    for api, key in (("externalcontact/edit_corp_tag", "id"), ("externalcontact/del_corp_tag", "tag_id")):
        wanted = [foreign] if key == "tag_id" else foreign
        assert caller.errcode(api, {key: wanted, "name": "新"}) == 81011
        own = [ours] if key == "tag_id" else ours
        assert caller.errcode(api, {key: own, "name": "新"}) == 0
    assert list(server.state().groups) == ["别人的"]


@pytest.mark.parametrize(
    ("names", "errcode"),
    [
        ([], 40058),
        (["静" * 31], 40058),
        ([""], 40058),
        (["A类"], 40071),
        (["B类", "B类"], 40071),
        (["B类"], 0),
    ],
)
def test_new_tags_are_checked(
    server: WecomServer, caller: PlainCaller, names: list[str], errcode: int
) -> None:
    server.make_tags(GROUP, "A类")
    body = {"group_name": GROUP, "tag": [{"name": name} for name in names]}
    assert caller.errcode("externalcontact/add_corp_tag", body) == errcode


def test_three_thousand_tags_are_enough(server: WecomServer, caller: PlainCaller) -> None:
    server.make_tags(GROUP, *(f"t{number}" for number in range(2999)))
    body = {"group_name": GROUP, "tag": [{"name": "A类"}]}
    assert caller.errcode("externalcontact/add_corp_tag", body) == 0
    assert caller.errcode("externalcontact/add_corp_tag", body | {"tag": [{"name": "B类"}]}) == 40126


def test_pages_follow_each_other_by_cursor(server: WecomServer, caller: PlainCaller) -> None:
    befriended(server, 25)
    cursor, sizes = "", []
    while cursor or not sizes:
        page = caller.post(BY_USER, {"userid_list": ["an"], "cursor": cursor, "limit": 10})
        sizes.append(len(page["external_contact_list"]))
        cursor = page["next_cursor"]
    assert sizes == [10, 10, 5]
    for wrong in ({"limit": 101}, {"userid_list": []}, {"userid_list": ["an"] * 101}, {"cursor": "made up"}):
        assert caller.errcode(BY_USER, {"userid_list": ["an"], "limit": 10} | wrong) == 40058


def test_the_robot_is_checked(server: WecomServer, caller: PlainCaller) -> None:
    def say(kind: str, content: dict[str, str], key: str = server.robot_key) -> int:
        return caller.errcode(ROBOT, {"msgtype": kind, kind: content}, key=key)

    assert say("text", {"content": "a" * 2049}) == 40058
    assert say("markdown", {"content": "静" * 1366}) == 40058
    assert say("file", {"media_id": "made up"}) == 40007
    assert say("text", {"content": "a"}, key="wrong") == 93000
    server.limits(messages=5)
    assert [say("text", {"content": "a"}) for _ in range(3)] == [0, 0, 45009]


def test_a_call_that_wecom_does_not_have_is_remembered(server: WecomServer, caller: PlainCaller) -> None:
    for api in ("externalcontact/remark", "nothing"):
        assert caller.http.post(f"{server.base_url}/{api}", json={}).status_code == 404
    assert server.state().violations == {"unknown_api": 2}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("reset", httpx.ReadError),
        ("silence", httpx.ReadTimeout),
        ("malformed", ValueError),
        ("http_503", None),
    ],
)
def test_a_fault_is_what_it_says(
    server: WecomServer, caller: PlainCaller, fault: str, error: type[Exception] | None, when: str
) -> None:
    tag = befriended(server)
    caller.http.timeout = httpx.Timeout(0.3)
    server.script(MARK_TAG, f"{fault}:{when}")
    with pytest.raises(error or ValueError):
        caller.mark("c0", tag)
    [call] = server.marks()
    assert (call.effect, call.fault) == (when == "after", f"{fault}:{when}")
    assert bool(server.state().tags()) == (when == "after")


def test_faults_by_chance_come_at_their_rates_and_are_the_same_for_a_seed(
    server: WecomServer, caller: PlainCaller
) -> None:
    tag = befriended(server)
    plan = FaultPlan(seed=7, rates={"errcode:-1": 0.1, "errcode:6000": 0.1}, apis=[MARK_TAG])
    drawn = []
    for _ in range(2):
        server.faults(plan)
        drawn.append([caller.mark("c0", tag) for _ in range(300)])
    assert drawn[0] == drawn[1]
    counts = Counter(drawn[0])
    assert 15 <= counts[-1] <= 45
    assert 15 <= counts[6000] <= 45


def test_the_log_keeps_every_call_with_its_times(server: WecomServer, caller: PlainCaller) -> None:
    tag = befriended(server, 3)
    server.limits(latency_seconds=0.05)
    before = time.monotonic()
    for name in customers(3):
        caller.mark(name, tag)
    calls = server.marks()
    assert [call.number for call in calls] == [2, 3, 4]  # the token was the first
    assert all(call.ended is not None and call.ended - call.started >= 0.05 for call in calls)
    assert before <= calls[0].started
    assert all(later.started >= (earlier.ended or 0) for earlier, later in itertools.pairwise(calls))


def test_a_call_of_a_program_that_was_killed_is_carried_out_all_the_same(
    server: WecomServer, caller: PlainCaller
) -> None:
    tag = befriended(server)
    server.limits(latency_seconds=0.3)
    body = json.dumps({"userid": "an", "external_userid": "c0", "add_tag": [tag]})
    address = httpx.URL(server.base_url)
    with socket.create_connection((address.host, address.port or 0)) as connection:
        head = f"POST /cgi-bin/{MARK_TAG}?access_token={caller.token} HTTP/1.1\r\nHost: wecom"
        connection.sendall(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        time.sleep(0.1)
    assert server.state().tags() == {}
    time.sleep(0.4)
    assert server.state().tags() == {("an", "c0"): {"A类"}}
    assert server.marks()[0].effect


def test_half_a_call_is_no_call(server: WecomServer) -> None:
    address = httpx.URL(server.base_url)
    with socket.create_connection((address.host, address.port or 0)) as connection:
        connection.sendall(
            f"POST /cgi-bin/{MARK_TAG} HTTP/1.1\r\nHost: wecom\r\nContent-Length: 9\r\n\r\n{{".encode()
        )
        time.sleep(0.1)
    time.sleep(0.1)
    assert server.marks() == []


def test_an_empty_company_is_left_to_the_next_test(server: WecomServer) -> None:
    befriended(server)
    server.limits(latency_seconds=3)
    server.reset()
    state = server.state()
    assert (state.contacts, state.groups, state.messages) == ({}, {}, [])
    assert server.calls() == []


def test_a_killed_server_refuses_connections() -> None:
    with wecom_server() as server:
        server.reset()
        server.kill()
        with pytest.raises(httpx.ConnectError):
            server.reset()


def test_the_server_runs_from_the_command_line_with_a_shops_contacts(tmp_path: Any) -> None:
    contacts = tmp_path / "contacts.csv"
    contacts.write_text(
        "customer_id,phone,wecom_external_userid,wecom_userid\nk1,13800000001,wm1,an\nk2,13800000002,,\n",
        "utf-8",
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "rfm_pipeline.demo.wecom_server.server", "--port", str(port)]
    process = subprocess.Popen([*command, "--contacts", str(contacts)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        shown = [process.stdout.readline().split(maxsplit=2)[-1] for _ in range(6)]
        assert f"http://127.0.0.1:{port}/cgi-bin" in shown[0]
        server_again = WecomServer(port, process)  # type: ignore[arg-type]
        server_again.limits(latency_seconds=0)
        assert list(server_again.state().contacts) == [("an", "wm1")]
        assert PlainCaller(server_again).errcode(BY_USER, {"userid_list": ["an"]}) == 0
    finally:
        process.kill()
        process.wait()

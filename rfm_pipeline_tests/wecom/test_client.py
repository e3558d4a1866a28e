"""The client against a server that keeps WeCom's contract: what it asks, and what it makes of each answer."""

import asyncio
import itertools
import time

import pytest

from rfm_pipeline.demo.wecom_server.control import WecomServer
from rfm_pipeline.demo.wecom_server.corporation import MARK_TAG, Contact
from rfm_pipeline.errors import RfmError
from rfm_pipeline.wecom.client import WecomClient, WecomSettings
from rfm_pipeline.wecom.errors import REFUSALS, REJECTIONS, WecomRefused, WecomStopped, WecomUnavailable
from rfm_pipeline.wecom.model import Contact as Read
from rfm_pipeline.wecom.model import Outcome, Status, Tag, TagGroup, TagLibrary
from rfm_pipeline_tests.wecom.client_calls import (
    ADD_TAGS,
    BY_USER,
    GROUP,
    TAG_LIST,
    befriended,
    customers,
    mark,
    mark_all,
    no_rule_was_broken,
    settings_for,
    use,
)

ROBOT_CODES = (93000, 93004, 93008)
APP_REFUSALS = [code for code in REFUSALS if code not in ROBOT_CODES]


async def read_all(wecom: WecomClient, staff: list[str]) -> tuple[list[Read], dict[str, int]]:
    contacts: list[Read] = []
    rejected: dict[str, int] = {}
    async for page in wecom.contacts(staff):
        contacts += page.contacts
        rejected |= page.rejected
    return contacts, rejected


def tags_on(server: WecomServer) -> dict[str, set[str]]:
    """Names of tags by customer."""
    return {customer: tags for (_, customer), tags in server.state().tags().items()}


# --- reading --------------------------------------------------------------------------------------


def test_the_staff_are_those_who_may_have_customers(server: WecomServer) -> None:
    server.employ("an", "bo")
    assert use(server, lambda wecom: wecom.follow_users()) == ("an", "bo")


def test_contacts_are_read_to_the_last_page(server: WecomServer) -> None:
    everybody = [Contact(f"s{number % 3}", f"c{number}") for number in range(250)]
    server.befriend(everybody)
    contacts, rejected = use(server, lambda wecom: read_all(wecom, ["s0", "s1", "s2"]))
    assert [(read.userid, read.external_userid) for read in contacts] == [
        (contact.userid, contact.external_userid) for contact in everybody
    ]
    assert rejected == {}
    assert [call.body["limit"] for call in server.calls(BY_USER)] == [100, 100, 100]


@pytest.mark.parametrize("count", [1, 99, 100, 101, 200])
def test_no_contact_is_lost_or_doubled_at_the_edge_of_a_page(server: WecomServer, count: int) -> None:
    befriended(server, count)
    contacts, _ = use(server, lambda wecom: read_all(wecom, ["an"]))
    assert [read.external_userid for read in contacts] == customers(count)


def test_staff_are_asked_for_in_fifties_and_each_once(server: WecomServer) -> None:
    staff = [f"s{number}" for number in range(101)]
    server.befriend([Contact(userid, f"of-{userid}") for userid in staff])
    contacts, _ = use(server, lambda wecom: read_all(wecom, [*staff, "s0"]))
    assert len(contacts) == 101
    asked = [len(call.body["userid_list"]) for call in server.calls(BY_USER)]
    assert asked == [50, 50, 1]


def test_a_contact_tells_what_a_customer_is_matched_by(server: WecomServer) -> None:
    server.befriend(
        [
            Contact("an", "c0", unionid="u0", remark_mobiles=["13800000001", "13800000002"], tag_ids=["t"]),
            Contact("bo", "c0"),
        ]
    )
    [known, unknown], _ = use(server, lambda wecom: read_all(wecom, ["an", "bo"]))
    assert known == Read("an", "c0", "u0", ("13800000001", "13800000002"), ("t",))
    assert unknown == Read("bo", "c0", None, (), ())


def test_nobody_is_asked_for_nothing(server: WecomServer) -> None:
    assert use(server, lambda wecom: read_all(wecom, [])) == ([], {})
    assert server.calls() == []


def test_a_staff_member_who_cannot_be_read_is_named_and_the_others_are_read(server: WecomServer) -> None:
    staff = [f"s{number}" for number in range(40)]
    server.befriend([Contact(userid, f"of-{userid}") for userid in staff if userid != "s17"])
    contacts, rejected = use(server, lambda wecom: read_all(wecom, staff))
    assert rejected == {"s17": 60111}
    assert sorted(read.userid for read in contacts) == sorted(set(staff) - {"s17"})


def test_an_unknown_code_is_not_taken_for_a_company_without_contacts(server: WecomServer) -> None:
    befriended(server)
    server.script(BY_USER, "errcode:99999")
    with pytest.raises(WecomUnavailable, match=f"{BY_USER}: errcode 99999"):
        use(server, lambda wecom: read_all(wecom, ["an"]))


def test_a_page_that_never_comes_fails_instead_of_giving_half_the_contacts(server: WecomServer) -> None:
    befriended(server, 150)
    server.script(BY_USER, "malformed:after", *["malformed:before"] * 3)
    with pytest.raises(WecomUnavailable, match="malformed reply, after 4 attempts"):
        use(server, lambda wecom: read_all(wecom, ["an"]))


# --- the tag library ------------------------------------------------------------------------------


def test_group_and_tags_are_made_on_first_use_and_only_then(server: WecomServer) -> None:
    first = use(server, lambda wecom: wecom.add_tags(GROUP, ["A类", "B类"]))
    assert use(server, lambda wecom: wecom.add_tags(GROUP, ["A类", "B类"])) == first
    group = server.state().groups[GROUP]
    assert {name: tag_id for tag_id, name in group.tags.items()} == first
    assert group.ours
    assert len(server.calls(ADD_TAGS)) == 1


def test_a_tag_that_is_missing_is_added_to_the_group_that_is_there(server: WecomServer) -> None:
    there = server.make_tags(GROUP, "A类")
    ids = use(server, lambda wecom: wecom.add_tags(GROUP, ["A类", "B类"]))
    assert ids["A类"] == there["A类"]
    assert sorted(server.state().groups[GROUP].tags.values()) == ["A类", "B类"]
    [call] = server.calls(ADD_TAGS)
    assert call.body == {"group_name": GROUP, "tag": [{"name": "B类"}]}


def test_a_tag_that_somebody_made_meanwhile_is_found_by_reading_again(server: WecomServer) -> None:
    """The first reply is lost after the effect, so the retry meets a name that exists (40071)."""
    server.script(ADD_TAGS, "reset:after")
    ids = use(server, lambda wecom: wecom.add_tags(GROUP, ["A类"]))
    assert list(server.state().groups[GROUP].tags) == [ids["A类"]]
    assert [call.errcode for call in server.calls(ADD_TAGS)] == [0, 40071]


def test_a_group_that_somebody_else_made_stops_the_run(server: WecomServer) -> None:
    server.make_tags(GROUP, "A类", ours=False)
    with pytest.raises(WecomRefused, match=r"81011.*another name"):
        use(server, lambda wecom: wecom.add_tags(GROUP, ["A类", "B类"]))


def test_a_full_library_stops_the_run(server: WecomServer) -> None:
    server.limits(tags=2)
    with pytest.raises(WecomRefused, match=r"40126.*delete tags"):
        use(server, lambda wecom: wecom.add_tags(GROUP, ["A类", "B类", "C类"]))
    assert server.state().groups == {}


@pytest.mark.parametrize(("length", "fits"), [(0, False), (1, True), (30, True), (31, False)])
def test_a_name_has_1_to_30_characters(server: WecomServer, length: int, fits: bool) -> None:
    name = "静" * length
    if fits:
        assert list(use(server, lambda wecom: wecom.add_tags(GROUP, [name]))) == [name]
    else:
        with pytest.raises(RfmError, match=f"{length} characters"):
            use(server, lambda wecom: wecom.add_tags(GROUP, [name]))
        assert server.calls() == []


def test_the_library_knows_the_tags_of_one_group_by_name(server: WecomServer) -> None:
    ours = server.make_tags(GROUP, "A类")
    server.make_tags("别的", "A类", ours=False)
    library: TagLibrary = use(server, lambda wecom: wecom.tags())
    assert library.ids(GROUP) == ours
    assert library.ids("没有") == {}


# --- marking --------------------------------------------------------------------------------------


def test_a_customer_is_marked_and_unmarked(server: WecomServer) -> None:
    server.befriend([Contact("an", "c0")])
    ids = server.make_tags(GROUP, "A类", "B类")

    async def work(wecom: WecomClient) -> list[Outcome]:
        return [
            await wecom.mark_tag("an", "c0", add=[ids["A类"]]),
            await wecom.mark_tag("an", "c0", add=[ids["B类"]], remove=[ids["A类"]]),
        ]

    assert use(server, work) == [Outcome(Status.DONE, None, 0, 1, may_have_happened=True)] * 2
    assert tags_on(server) == {"c0": {"B类"}}
    assert [call.body["remove_tag"] for call in server.marks()] == [[], [ids["A类"]]]


def test_marking_with_nothing_is_a_mistake_of_the_program(server: WecomServer) -> None:
    with pytest.raises(ValueError, match="at least one tag"):
        use(server, lambda wecom: wecom.mark_tag("an", "c0"))
    assert server.calls() == []


def test_no_more_than_five_are_under_way_and_never_two_for_one_customer(server: WecomServer) -> None:
    """Every customer belongs to three staff members, and all are asked for at once."""
    pairs = [(f"s{number % 3}", f"c{number // 3}") for number in range(60)]
    server.befriend([Contact(*pair) for pair in pairs])
    tag = server.make_tags(GROUP, "A类")["A类"]
    server.limits(latency_seconds=0.02)

    async def work(wecom: WecomClient) -> list[Outcome]:
        return await asyncio.gather(*(wecom.mark_tag(*pair, add=[tag]) for pair in pairs))

    assert all(outcome.status is Status.DONE for outcome in use(server, work))
    assert set(server.state().tags()) == set(pairs)
    assert no_rule_was_broken(server)
    assert server.state().peak_in_flight == 5


def test_fewer_in_flight_may_be_asked_for(server: WecomServer) -> None:
    tag = befriended(server, 12)
    server.limits(latency_seconds=0.02)
    mark_all(server, customers(12), tag, in_flight=2)
    assert server.state().peak_in_flight == 2


@pytest.mark.parametrize("code", REJECTIONS)
def test_a_row_that_is_rejected_does_not_stop_the_others(server: WecomServer, code: int) -> None:
    tag = befriended(server, 3)
    server.script(MARK_TAG, f"errcode:{code}")
    outcomes = mark_all(server, customers(3), tag)
    [rejected] = [outcome for outcome in outcomes if outcome.status is not Status.DONE]
    assert (rejected.status, rejected.errcode, rejected.attempts) == (Status.REJECTED, code, 1)
    assert rejected.reason == f"errcode {code}: {REJECTIONS[code]}"
    assert not rejected.may_have_happened
    assert len(tags_on(server)) == 2
    assert len(server.marks()) == 3


def test_a_customer_of_nobody_is_rejected(server: WecomServer) -> None:
    tag = befriended(server)
    server.unfriend("an", "c0")
    assert mark(server, tag).errcode == 84061


def test_an_unknown_code_rejects_its_row_and_is_kept(server: WecomServer) -> None:
    tag = befriended(server)
    server.script(MARK_TAG, "errcode:99999")
    assert mark(server, tag) == Outcome(Status.REJECTED, "errcode 99999", 99999, 1, may_have_happened=False)


@pytest.mark.parametrize("fault", ["errcode:-1", "errcode:6000", "reset:before", "http_500:before"])
def test_what_passes_is_tried_again_three_times(server: WecomServer, fault: str) -> None:
    tag = befriended(server)
    server.script(MARK_TAG, *[fault] * 3)
    outcome = mark(server, tag)
    assert (outcome.status, outcome.attempts) == (Status.DONE, 4)
    assert tags_on(server) == {"c0": {"A类"}}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("errcode:-1", "errcode -1"),
        ("errcode:6000", "errcode 6000"),
        ("reset:before", "connection broken"),
        ("reset:after", "connection broken"),
        ("silence:before", "timeout"),
        ("silence:after", "timeout"),
        ("http_500:before", "http 500"),
        ("http_502:after", "http 502"),
        ("http_503:before", "http 503"),
        ("malformed:before", "malformed reply"),
        ("malformed:after", "malformed reply"),
    ],
)
def test_what_stays_fails_its_row_after_three_retries(server: WecomServer, fault: str, reason: str) -> None:
    tag = befriended(server, 2)
    server.script(MARK_TAG, *[fault] * 4)
    outcome = mark(server, tag, timeout_seconds=0.3)
    assert (outcome.status, outcome.reason, outcome.attempts) == (Status.FAILED, reason, 4)
    assert outcome.may_have_happened == (not fault.startswith("errcode"))
    assert mark(server, tag, "c1").status is Status.DONE


def test_retries_wait_longer_each_time(server: WecomServer) -> None:
    tag = befriended(server)
    server.script(MARK_TAG, *["errcode:-1"] * 4)
    mark(server, tag, backoff_seconds=0.2)
    starts = [call.started for call in server.marks()]
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    for longest, pause in zip((0.2, 0.4, 0.8), pauses, strict=True):
        assert longest / 2 <= pause


def test_a_slow_answer_is_waited_for(server: WecomServer) -> None:
    tag = befriended(server)
    server.script(MARK_TAG, "slow")
    assert mark(server, tag).attempts == 1


@pytest.mark.parametrize("retag_errcode", [0, 99999])
def test_a_retry_after_a_lost_answer_takes_either_answer(server: WecomServer, retag_errcode: int) -> None:
    """Whether a tag that is on already is an error is not known, so an unknown code is no verdict then."""
    tag = befriended(server)
    server.limits(retag_errcode=retag_errcode)
    server.script(MARK_TAG, "reset:after")
    outcome = mark(server, tag)
    assert outcome.status is (Status.FAILED if retag_errcode else Status.DONE)
    assert outcome.may_have_happened
    assert outcome.attempts == 2
    assert tags_on(server) == {"c0": {"A类"}}


def test_a_customer_whom_another_program_is_marking_is_waited_for(server: WecomServer) -> None:
    tag = befriended(server)
    server.limits(latency_seconds=0.2)

    async def work(wecom: WecomClient) -> list[Outcome]:
        async with WecomClient(settings_for(server, backoff_seconds=0.1)) as another:
            return await asyncio.gather(
                wecom.mark_tag("an", "c0", add=[tag]), another.mark_tag("an", "c0", add=[tag])
            )

    outcomes = use(server, work, backoff_seconds=0.1)
    assert [outcome.status for outcome in outcomes] == [Status.DONE, Status.DONE]
    assert server.state().violations["same_customer"] >= 1


def test_a_customer_who_stays_busy_fails_in_the_end(server: WecomServer) -> None:
    tag = befriended(server)
    server.script(MARK_TAG, *["errcode:45033"] * 20)
    outcome = mark(server, tag, backoff_seconds=0.001)
    assert (outcome.status, outcome.errcode) == (Status.FAILED, 45033)
    assert outcome.attempts < 10


# --- tags that are gone ---------------------------------------------------------------------------


def test_a_tag_that_was_deleted_and_made_again_is_found_by_reloading_once(server: WecomServer) -> None:
    server.befriend([Contact("an", name) for name in customers(20)])

    async def work(wecom: WecomClient) -> list[Outcome]:
        ids = await wecom.add_tags(GROUP, ["A类", "B类"])
        server.delete_tag(ids["A类"])
        server.make_tags(GROUP, "A类")
        marks = (wecom.mark_tag("an", name, add=[ids["A类"]], remove=[ids["B类"]]) for name in customers(20))
        return await asyncio.gather(*marks)

    assert all(outcome.status is Status.DONE for outcome in use(server, work))
    assert tags_on(server) == {name: {"A类"} for name in customers(20)}
    assert len(server.calls(TAG_LIST)) == 3  # twice to make the tags, once to find the new one


def test_a_tag_that_is_gone_rejects_its_rows_after_one_reload(server: WecomServer) -> None:
    tag = befriended(server, 20)
    server.make_tags(GROUP, "B类")
    server.delete_tag(tag)
    outcomes = mark_all(server, customers(20), tag)
    assert {(outcome.status, outcome.errcode) for outcome in outcomes} == {(Status.REJECTED, 40068)}
    assert len(server.calls(TAG_LIST)) == 1
    assert tags_on(server) == {}


def test_a_tag_that_is_gone_is_off_everybody(server: WecomServer) -> None:
    tag = befriended(server)
    server.delete_tag(tag)
    outcome = use(server, lambda wecom: wecom.mark_tag("an", "c0", remove=[tag]))
    assert outcome.status is Status.DONE


def test_a_tag_of_the_same_name_in_somebody_elses_group_is_never_used_instead(server: WecomServer) -> None:
    server.befriend([Contact("an", "c0")])

    async def work(wecom: WecomClient) -> Outcome:
        ids = await wecom.add_tags(GROUP, ["A类"])
        server.delete_tag(ids["A类"])
        server.make_tags(GROUP, "A类", ours=False)
        return await wecom.mark_tag("an", "c0", add=[ids["A类"]])

    assert use(server, work).status is Status.REJECTED
    assert no_rule_was_broken(server)


def test_a_tag_id_that_is_refused_though_it_is_there_is_tried_once_more(server: WecomServer) -> None:
    tag = befriended(server)
    server.script(MARK_TAG, "errcode:40068")
    assert mark(server, tag).status is Status.DONE
    server.script(MARK_TAG, "errcode:40068", "errcode:40068")
    assert mark(server, tag).status is Status.REJECTED


# --- the token ------------------------------------------------------------------------------------


def test_one_token_does_for_the_whole_run(server: WecomServer) -> None:
    tag = befriended(server, 30)
    mark_all(server, customers(30), tag)
    assert len(server.calls("gettoken")) == 1


@pytest.mark.parametrize("code", [40014, 42001])
def test_a_token_that_is_over_is_refreshed_once(server: WecomServer, code: int) -> None:
    tag = befriended(server)
    server.script(MARK_TAG, f"errcode:{code}")
    assert mark(server, tag).attempts == 2
    server.script(MARK_TAG, f"errcode:{code}", f"errcode:{code}")
    outcome = mark(server, tag)
    assert (outcome.status, outcome.reason) == (Status.FAILED, f"errcode {code}")


def test_a_token_that_ends_early_is_refreshed_once_for_all_who_meet_it(server: WecomServer) -> None:
    tag = befriended(server, 60)
    server.limits(latency_seconds=0.01)

    async def work(wecom: WecomClient) -> list[Outcome]:
        marking = asyncio.gather(*(wecom.mark_tag("an", name, add=[tag]) for name in customers(60)))
        for _ in range(3):
            await asyncio.sleep(0.05)
            await asyncio.to_thread(server.expire_token)
        return await marking

    assert all(outcome.status is Status.DONE for outcome in use(server, work))
    assert len(tags_on(server)) == 60
    state = server.state()
    assert 2 <= state.tokens <= 4
    assert len(server.calls("gettoken")) == state.tokens


def test_tokens_that_live_for_a_moment_are_lived_with(server: WecomServer) -> None:
    tag = befriended(server, 60)
    server.limits(token_seconds=0.1, latency_seconds=0.01)
    outcomes = mark_all(server, customers(60), tag)
    done = sum(outcome.status is Status.DONE for outcome in outcomes)
    assert done == len(tags_on(server)) >= 50
    assert {outcome.reason for outcome in outcomes} <= {None, "errcode 42001"}


def test_a_token_is_asked_for_again_when_it_does_not_come(server: WecomServer) -> None:
    tag = befriended(server)
    server.script("gettoken", "http_502:before", "malformed:after", "reset:after")
    assert mark(server, tag).status is Status.DONE


def test_without_a_token_the_run_ends_and_says_so(server: WecomServer) -> None:
    tag = befriended(server, 30)
    server.script("gettoken", *["http_502:before"] * 4)
    with pytest.raises(WecomUnavailable, match="gettoken: http 502, after 4 attempts"):
        mark_all(server, customers(30), tag)
    assert server.marks() == []


# --- what ends the run ----------------------------------------------------------------------------


@pytest.mark.parametrize("code", APP_REFUSALS)
def test_a_refusal_ends_the_run_with_its_message(server: WecomServer, code: int) -> None:
    tag = befriended(server, 40)
    server.limits(latency_seconds=0.01)
    server.script(MARK_TAG, f"errcode:{code}")
    with pytest.raises(WecomRefused, match=f"errcode {code}") as caught:
        mark_all(server, customers(40), tag)
    assert caught.value.errcode == code
    assert len(server.marks()) <= 5


@pytest.mark.parametrize(
    ("wrong", "code"), [({"secret": "not this one"}, 40001), ({"corp_id": "nor this"}, 40013)]
)
def test_wrong_credentials_are_tried_once(server: WecomServer, wrong: dict[str, str], code: int) -> None:
    """Repeated wrong secrets block the machine's IP for an hour."""
    right = {"corp_id": server.corp_id, "secret": server.secret, "base_url": server.base_url}

    async def ask_often() -> list[object]:
        async with WecomClient(WecomSettings(**(right | wrong))) as wecom:
            return await asyncio.gather(*(wecom.tags() for _ in range(10)), return_exceptions=True)

    answers = asyncio.run(ask_often())
    assert all(isinstance(answer, WecomRefused) and answer.errcode == code for answer in answers)
    assert len(server.calls()) == 1


def test_a_limit_that_is_reached_pauses_until_the_next_run(server: WecomServer) -> None:
    tag = befriended(server, 50)
    server.limits(calls=20, window_seconds=1, latency_seconds=0.01)
    with pytest.raises(WecomStopped, match=r"45009.*next run"):
        mark_all(server, customers(50), tag)
    assert len(tags_on(server)) == 20
    assert server.state().violations["rate"] <= 5
    time.sleep(1)
    server.limits(calls=100)
    assert all(outcome.status is Status.DONE for outcome in mark_all(server, customers(50), tag))
    assert len(tags_on(server)) == 50


def test_after_a_pause_nothing_is_sent_and_what_was_under_way_keeps_its_outcome(server: WecomServer) -> None:
    tag = befriended(server, 50)
    server.limits(calls=20, latency_seconds=0.05)

    async def work(wecom: WecomClient) -> list[Outcome | BaseException]:
        marks = (wecom.mark_tag("an", name, add=[tag]) for name in customers(50))
        answers = await asyncio.gather(*marks, return_exceptions=True)
        with pytest.raises(WecomStopped):
            await wecom.tags()
        return answers

    answers = use(server, work)
    done = {
        name
        for name, answer in zip(customers(50), answers, strict=True)
        if isinstance(answer, Outcome) and answer.status is Status.DONE
    }
    assert done == set(tags_on(server))
    assert sum(isinstance(answer, WecomStopped) for answer in answers) == 30
    assert len(server.marks()) <= 25
    assert server.calls(TAG_LIST) == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("http_503:before", "http 503"),
        ("http_429:before", "http 429"),
        ("errcode:-1", "errcode -1"),
        ("errcode:42001", "errcode 42001"),
    ],
)
def test_a_dead_server_ends_the_run_before_every_customer_is_tried(
    server: WecomServer, fault: str, reason: str
) -> None:
    tag = befriended(server, 200)
    server.script(MARK_TAG, *[fault] * 800)
    with pytest.raises(WecomUnavailable, match=f"40 calls in a row, the last time: {reason}"):
        mark_all(server, customers(200), tag, backoff_seconds=0.001)
    assert len(server.marks()) < 50


def test_an_address_that_is_not_wecoms_says_so(server: WecomServer) -> None:
    with pytest.raises(WecomRefused, match=r"HTTP 404.*base URL"):
        asyncio.run(_tags_at(server, server.base_url.replace("cgi-bin", "elsewhere")))


async def _tags_at(server: WecomServer, base_url: str) -> TagLibrary:
    async with WecomClient(WecomSettings(server.corp_id, server.secret, base_url)) as wecom:
        return await wecom.tags()


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "qyapi.weixin.qq.com",
        "ftp://qyapi.weixin.qq.com",
        "https://host/cgi-bin?key=1",
        "https://a:b@host/cgi-bin",
    ],
)
def test_a_base_url_that_is_none_is_refused_at_once(base_url: str) -> None:
    with pytest.raises(RfmError, match="base URL has to look like"):
        WecomClient(WecomSettings("corp", "secret", base_url))


def test_a_group_name_that_two_groups_have_is_not_guessed() -> None:
    library = TagLibrary((TagGroup("g1", GROUP, (Tag("t1", "A类"),)), TagGroup("g2", GROUP)))
    with pytest.raises(WecomRefused, match=f"2 tag groups in WeCom are named '{GROUP}'"):
        library.ids(GROUP)


@pytest.mark.parametrize(
    "wrong", [{"corp_id": ""}, {"secret": ""}, {"in_flight": 0}, {"in_flight": 6}, {"requests_per_second": 0}]
)
def test_settings_that_cannot_be_are_refused_at_once(wrong: dict[str, object]) -> None:
    right: dict[str, object] = {"corp_id": "corp", "secret": "secret"}
    with pytest.raises(RfmError):
        WecomSettings(**(right | wrong))  # type: ignore[arg-type]

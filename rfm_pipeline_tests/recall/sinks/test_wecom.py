"""Tags in WeCom: the right one on the right contact, off again in time, and no call more than that takes."""

from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from rfm_pipeline.demo.wecom_server.control import WecomServer
from rfm_pipeline.demo.wecom_server.corporation import Contact
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.recall.problems import problems_file, write_problems
from rfm_pipeline.recall.sinks.connection import preview
from rfm_pipeline.recall.sinks.wecom_plan import AMBIGUOUS, NO_CONTACT
from rfm_pipeline.wecom.errors import WecomRefused
from rfm_pipeline_tests.recall.recall_home import LONG_AGO, NotingSink, RecallHome, reach_of, silent, week
from rfm_pipeline_tests.recall.wecom_home import (
    ACCESS,
    TAGS,
    campaign,
    changes,
    contacts_of,
    customers_are,
    make_wecom_home,
    mapped,
    send,
    statuses,
    worn,
)

WEEKS = [week(number) for number in range(8)]
OVER = week(5)  # the first week in which a campaign of week 0 is over


@pytest.fixture
def recall_home(tmp_path: Path, wecom: WecomServer) -> RecallHome:
    """Three customers, one of each class, who fell silent in the first week and are WeCom contacts of li."""
    recall_home = make_wecom_home(tmp_path, wecom)
    everybody = [silent("a", WEEKS, churn_class="A"), silent("b", WEEKS, churn_class="B"), silent("c", WEEKS)]
    recall_home.silent_are([churner for one in everybody for churner in one])
    recall_home.last_orders_are(WEEKS, dict.fromkeys("abc", LONG_AGO))
    customers_are(recall_home, mapped("a", "b", "c"))
    wecom.befriend(contacts_of("a", "b", "c"))
    return recall_home


def errors(recall_home: RecallHome, day: date) -> dict[str, str | None]:
    return dict(recall_home.ledger.tag_actions([day]).select("customer_id", "error").iter_rows())


# --- the right tag on the right contact -----------------------------------------------------------


def test_everybody_on_the_list_gets_the_tag_of_their_class(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    report = campaign(recall_home, week(0))
    assert worn(wecom) == {f"wm-{name}": {TAGS[name.upper()]} for name in "abc"}
    assert (report.sent, report.done, report.pending, report.paused) == (3, 3, 0, None)
    assert set(recall_home.ledger.tag_calls()["status"]) == {"done"}
    assert wecom.state().violations == {}


def test_group_and_tags_are_made_on_first_use_and_once(recall_home: RecallHome, wecom: WecomServer) -> None:
    campaign(recall_home, week(0))
    group = wecom.state().groups["静默召回"]
    assert group.ours
    assert sorted(group.tags.values()) == sorted(TAGS.values())
    recall_home.silent_are([*silent("d", [week(1)])], [week(1)])
    recall_home.last_orders_are([week(1)], dict.fromkeys("abcd", LONG_AGO))
    campaign(recall_home, week(1))
    assert len(wecom.calls("externalcontact/add_corp_tag")) == 1


def test_each_member_of_staff_who_knows_the_customer_gets_to_see_the_tag(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    wecom.befriend(contacts_of("a", userid="wang"))
    campaign(recall_home, week(0))
    tagged = {pair for pair in wecom.state().tags() if pair[1] == "wm-a"}
    assert tagged == {("li", "wm-a"), ("wang", "wm-a")}


def test_who_is_no_contact_or_no_clear_one_is_counted_and_listed_for_a_human(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    customers_are(
        recall_home,
        [
            *mapped("a"),
            {"customer_id": "b", "wecom_external_userid": "wm-a"},
            {"customer_id": "c", "phone": "13800000001"},
        ],
    )
    report = campaign(recall_home, week(0))
    assert report.unmatched == 3
    assert errors(recall_home, week(0)) == {"a": AMBIGUOUS, "b": AMBIGUOUS, "c": NO_CONTACT}
    assert wecom.marks() == []
    path = write_problems(recall_home.shop, recall_home.ledger, week(0))
    assert path == problems_file(recall_home.shop, week(0))
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o600
    assert pl.read_csv(path)["customer_id"].to_list() == ["a", "b", "c"]


def test_the_hold_out_and_who_said_no_are_never_called(tmp_path: Path, wecom: WecomServer) -> None:
    recall_home = make_wecom_home(tmp_path, wecom, holdout_share="0.5")
    names = [f"n{number}" for number in range(20)]
    recall_home.silent_are([churner for name in names for churner in silent(name)])
    recall_home.last_orders_are([week(0)], dict.fromkeys(names, LONG_AGO))
    customers_are(recall_home, mapped(*names))
    wecom.befriend(contacts_of(*names))
    campaign(recall_home, week(0))
    recalled = {name for name, arm in recall_home.arms(week(0)).items() if arm == "recall"}
    assert len(recalled) == 10
    assert {contact for contact, _, _ in changes(wecom)} == {f"wm-{name}" for name in recalled}


def test_tags_of_other_groups_are_left_alone(recall_home: RecallHome, wecom: WecomServer) -> None:
    theirs = wecom.make_tags("客户等级", "重要", TAGS["A"], ours=False)
    wecom.befriend([Contact("li", f"wm-{name}", tag_ids=list(theirs.values())) for name in "abc"])
    campaign(recall_home, week(0))
    recall_home.make_list(OVER)
    recall_home.make_plan(OVER)
    send(recall_home, OVER)
    assert all(set(contact.tag_ids) == set(theirs.values()) for contact in wecom.state().contacts.values())
    assert wecom.state().violations == {}


# --- off again ------------------------------------------------------------------------------------


def test_a_customer_who_came_back_loses_the_tag(recall_home: RecallHome, wecom: WecomServer) -> None:
    campaign(recall_home, week(0))
    recall_home.last_orders_are([week(1)], {"a": datetime(2024, 1, 9), "b": LONG_AGO, "c": LONG_AGO})
    recall_home.silent_are(
        [*silent("b", [week(1)], new_in=()), *silent("c", [week(1)], new_in=())], [week(1)]
    )
    campaign(recall_home, week(1))
    assert recall_home.plan(week(1)) == {("a", "remove", "returned")}
    assert set(worn(wecom)) == {"wm-b", "wm-c"}


def test_a_campaign_that_is_over_takes_its_tags_off(recall_home: RecallHome, wecom: WecomServer) -> None:
    campaign(recall_home, week(0))
    campaign(recall_home, week(4))
    assert set(worn(wecom)) == {"wm-a", "wm-b", "wm-c"}
    campaign(recall_home, OVER)
    assert worn(wecom) == {}


def test_a_tag_comes_off_a_contact_that_no_longer_matches(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    campaign(recall_home, week(0))
    customers_are(recall_home, [{"customer_id": name} for name in "abc"])
    campaign(recall_home, OVER)
    assert worn(wecom) == {}


def test_a_tag_stays_on_a_contact_that_is_another_customers_by_now(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    # c's contact turns out to be d's, of the same class, whose own recall begins as c's ends
    campaign(recall_home, week(0))
    recall_home.silent_are(silent("d", [OVER]), [OVER])
    recall_home.last_orders_are([OVER], dict.fromkeys("abcd", LONG_AGO))
    customers_are(
        recall_home,
        [*mapped("a", "b"), {"customer_id": "c"}, {"customer_id": "d", "wecom_external_userid": "wm-c"}],
    )
    campaign(recall_home, OVER)
    assert worn(wecom) == {"wm-c": {TAGS["C"]}}


# --- no call more than it takes -------------------------------------------------------------------


def test_doing_it_again_calls_nobody(recall_home: RecallHome, wecom: WecomServer) -> None:
    campaign(recall_home, week(0))
    made = len(wecom.marks())
    report = send(recall_home, week(0))
    assert (report.sent, len(wecom.marks())) == (0, made)


def test_a_tag_that_is_on_already_needs_no_call(recall_home: RecallHome, wecom: WecomServer) -> None:
    ours = wecom.make_tags("静默召回", TAGS["A"])
    wecom.befriend([Contact("li", "wm-a", tag_ids=list(ours.values()))])
    report = campaign(recall_home, week(0))
    assert report.done == 3
    assert sorted(contact for contact, _, _ in changes(wecom)) == ["wm-b", "wm-c"]


def test_a_change_of_class_is_one_call(recall_home: RecallHome, wecom: WecomServer) -> None:
    campaign(recall_home, week(0))
    again = datetime(2023, 7, 1)
    recall_home.silent_are(silent("a", [OVER], churn_class="C", silent_since=again), [OVER])
    recall_home.last_orders_are([OVER], {"a": again, "b": LONG_AGO, "c": LONG_AGO})
    before = len(changes(wecom))
    campaign(recall_home, OVER)
    assert ("wm-a", 1, 1) in changes(wecom)[before:]
    assert worn(wecom) == {"wm-a": {TAGS["C"]}}


def test_a_tag_that_staff_took_off_is_not_put_on_again(recall_home: RecallHome, wecom: WecomServer) -> None:
    campaign(recall_home, week(0))
    wecom.befriend(contacts_of("a"))
    send(recall_home, week(0))
    campaign(recall_home, week(1))
    assert "wm-a" not in worn(wecom)


# --- after a failure ------------------------------------------------------------------------------


def test_a_failed_row_is_done_by_the_next_run(recall_home: RecallHome, wecom: WecomServer) -> None:
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    wecom.script("externalcontact/mark_tag", *["errcode:-1"] * 12)
    first = send(recall_home, week(0))
    assert first.failed == 3
    second = send(recall_home, week(0))
    assert (second.sent, second.done) == (3, 3)


def test_what_failed_is_done_by_next_weeks_run_while_the_recall_is_open(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    wecom.script("externalcontact/mark_tag", *["errcode:-1"] * 12)
    campaign(recall_home, week(0))
    campaign(recall_home, week(1))
    assert recall_home.plan(week(1)) == {(name, "add", "not done yet") for name in "abc"}
    assert set(worn(wecom)) == {"wm-a", "wm-b", "wm-c"}
    campaign(recall_home, OVER)
    assert worn(wecom) == {}


def test_who_becomes_a_contact_later_is_tagged_then(recall_home: RecallHome, wecom: WecomServer) -> None:
    wecom.unfriend("li", "wm-a")
    campaign(recall_home, week(0))
    assert statuses(recall_home, week(0))["a"] == "unmatched"
    wecom.befriend(contacts_of("a"))
    campaign(recall_home, week(1))
    assert worn(wecom)["wm-a"] == {TAGS["A"]}


def test_an_answer_that_was_lost_is_looked_up_instead_of_asked_for_again(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    wecom.script("externalcontact/mark_tag", *["reset:after"] * 12)
    assert send(recall_home, week(0)).pending == 3
    made = len(wecom.marks())
    assert send(recall_home, week(0)).done == 3
    assert len(wecom.marks()) == made


def test_a_lost_answer_is_taken_off_in_time(recall_home: RecallHome, wecom: WecomServer) -> None:
    wecom.script("externalcontact/mark_tag", *["reset:after"] * 12)
    campaign(recall_home, week(0))
    campaign(recall_home, OVER)
    assert worn(wecom) == {}


def test_who_says_no_while_an_answer_is_lost_loses_the_tag(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    wecom.script("externalcontact/mark_tag", *["reset:after"] * 12)
    send(recall_home, week(0))
    people = recall_home.reach.people
    recall_home.reach = reach_of([("a", "wecom")])
    object.__setattr__(recall_home.reach, "people", people)
    send(recall_home, week(0))
    campaign(recall_home, week(1))
    assert set(worn(wecom)) == {"wm-b", "wm-c"}


def test_a_refused_row_stops_no_other_and_is_not_tried_again(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    wecom.script("externalcontact/mark_tag", "errcode:84061")
    report = send(recall_home, week(0))
    assert (report.done, report.rejected) == (2, 1)
    made = len(wecom.marks())
    send(recall_home, week(0))
    campaign(recall_home, week(1))
    assert len(wecom.marks()) == made
    assert [error for error in errors(recall_home, week(0)).values() if error] == [
        "errcode 84061: not a contact of that staff member"
    ]


def test_a_limit_of_calls_pauses_and_the_next_run_does_the_rest(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    wecom.script("externalcontact/mark_tag", "errcode:45009", "errcode:45009", "errcode:45009")
    report = send(recall_home, week(0))
    assert report.paused is not None
    assert "45009" in report.paused
    assert report.done + report.pending == 3
    assert report.pending
    assert send(recall_home, week(0)).done == 3


def test_a_permanent_refusal_is_told_and_what_was_done_stays_known(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    wecom.script("externalcontact/mark_tag", "errcode:60020", "errcode:60020", "errcode:60020")
    with pytest.raises(WecomRefused, match="企业可信IP"):
        send(recall_home, week(0))
    assert send(recall_home, week(0)).done == 3


def test_a_library_full_of_tags_stops_before_anybody_is_tagged(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    wecom.limits(tags=1)
    wecom.make_tags("客户等级", "重要", ours=False)
    with pytest.raises(WecomRefused, match="40126"):
        campaign(recall_home, week(0))
    assert wecom.marks() == []


def test_a_token_that_expires_on_the_way_costs_nobody_the_tag(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    wecom.limits(latency_seconds=0.05)
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    wecom.script("externalcontact/mark_tag", "errcode:42001", "errcode:40014")
    assert send(recall_home, week(0)).done == 3


# --- the books ------------------------------------------------------------------------------------


def test_every_call_stands_in_the_ledger_before_it_is_made(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    campaign(recall_home, week(0))
    booked = {
        (row["userid"], row["external_userid"])
        for row in recall_home.ledger.tag_calls().iter_rows(named=True)
    }
    assert booked == {(call.body["userid"], call.body["external_userid"]) for call in wecom.marks()}
    assert recall_home.ledger.tag_calls()["attempts"].to_list() == [1, 1, 1]


def test_a_preview_reads_and_changes_nothing(recall_home: RecallHome, wecom: WecomServer) -> None:
    wecom.unfriend("li", "wm-c")
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    figures = preview(
        recall_home.warehouse, recall_home.ledger, recall_home.shop, recall_home.reach, ACCESS, week(0)
    )
    assert figures == {
        "wecom_matched": 2,
        "wecom_ambiguous": 0,
        "wecom_unmatched": 1,
        "wecom_contacts": 2,
        "wecom_staff_unreadable": 0,
        "wecom_calls": 2,
        "wecom_tags_to_make": 2,
    }
    assert wecom.state().groups == {}
    assert wecom.marks() == []
    assert Ledger(recall_home.shop.ledger_url).tag_actions().is_empty()


def test_another_sinks_list_is_not_sent_again(recall_home: RecallHome, wecom: WecomServer) -> None:
    recall_home.campaign(week(0), NotingSink())
    send(recall_home, week(0))
    assert wecom.marks() == []

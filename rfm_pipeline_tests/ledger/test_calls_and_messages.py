"""Calls to WeCom and messages to the team: pending before, outcome after, no success repeated."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from rfm_pipeline.errors import RfmError
from rfm_pipeline.ledger import DONE, FAILED, PENDING, REJECTED, Ledger
from rfm_pipeline_tests.ledger.ledger_rows import (
    NEXT_WEEK,
    TAG,
    WEEK,
    actions,
    assignments,
    call_statuses,
    calls,
    in_step,
    outcome,
    seal,
)

ROUNDS = 25


# --- calls ----------------------------------------------------------------------------------------


def test_a_call_is_pending_before_and_has_its_outcome_after(ledger: Ledger) -> None:
    seal(ledger, "a", "b", "c")
    ledger.request_calls(WEEK, calls("a", "b", "c"))
    assert set(call_statuses(ledger).values()) == {(PENDING, 0, None)}
    ledger.finish_calls(WEEK, [outcome("b", REJECTED, "84061"), outcome("a", DONE, attempts=3)])
    assert call_statuses(ledger) == {
        "a": (DONE, 3, None),
        "b": (REJECTED, 1, "84061"),
        "c": (PENDING, 0, None),
    }


def test_what_failed_is_asked_for_again_and_its_attempts_add_up(ledger: Ledger) -> None:
    seal(ledger, "a")
    ledger.request_calls(WEEK, calls("a"))
    ledger.finish_calls(WEEK, [outcome("a", FAILED, "45033", attempts=2)])
    ledger.request_calls(WEEK, calls("a"))
    assert call_statuses(ledger) == {"a": (PENDING, 2, None)}
    ledger.finish_calls(WEEK, [outcome("a", DONE)])
    assert call_statuses(ledger) == {"a": (DONE, 3, None)}


def test_a_call_that_is_done_stays_done(ledger: Ledger) -> None:
    seal(ledger, "a")
    ledger.request_calls(WEEK, calls("a"))
    ledger.finish_calls(WEEK, [outcome("a", DONE)])
    ledger.request_calls(WEEK, calls("a"))
    ledger.finish_calls(WEEK, [outcome("a", FAILED, "late")])
    assert call_statuses(ledger) == {"a": (DONE, 1, None)}


def test_a_call_is_one_tag_of_one_contact_of_one_member_of_staff(ledger: Ledger) -> None:
    seal(ledger, "a")
    seal(ledger, week=NEXT_WEEK)
    for week in (WEEK, NEXT_WEEK):
        ledger.request_calls(week, calls("a"))
    ledger.request_calls(WEEK, calls("a", userid="another"))
    ledger.request_calls(WEEK, calls("a", action="remove"))
    ledger.finish_calls(WEEK, [outcome("a", DONE)])
    assert ledger.tag_calls().height == 4
    done = ledger.tag_calls().filter(status=DONE)
    assert done.select("week", "userid", "action").rows() == [(WEEK, "staff", "add")]
    assert ledger.tag_calls([NEXT_WEEK]).height == 1


def test_no_calls_and_no_outcomes_change_nothing(ledger: Ledger) -> None:
    ledger.request_calls(WEEK, calls())
    ledger.finish_calls(WEEK, [])
    assert ledger.tag_calls().is_empty()


def test_a_call_belongs_to_a_sealed_week(ledger: Ledger) -> None:
    with pytest.raises(sa.exc.IntegrityError) as caught:
        ledger.request_calls(WEEK, calls("a"))
    assert "wm-a" not in str(caught.value)
    assert ledger.tag_calls().is_empty()


# --- messages -------------------------------------------------------------------------------------


def test_a_message_is_claimed_once(ledger: Ledger) -> None:
    assert ledger.claim_message("weekly", str(WEEK))
    assert not ledger.claim_message("weekly", str(WEEK))
    assert ledger.claim_message("weekly", str(NEXT_WEEK))
    assert ledger.claim_message("alert", str(WEEK))


@pytest.mark.parametrize(
    ("status", "may_again"),
    [
        pytest.param(FAILED, True, id="known not to have left"),
        pytest.param(DONE, False, id="sent"),
        pytest.param(None, False, id="nobody knows"),
    ],
)
def test_only_a_message_that_certainly_did_not_leave_is_sent_again(
    ledger: Ledger, status: str | None, may_again: bool
) -> None:
    ledger.claim_message("weekly", "w")
    if status:
        ledger.finish_message("weekly", "w", status, "45009" if status == FAILED else None)
    assert ledger.claim_message("weekly", "w") is may_again
    assert not ledger.claim_message("weekly", "w")
    ((found, error),) = ledger.messages("weekly").select("status", "error").rows()
    assert (found, error) == (DONE if status == DONE else PENDING, None)


def test_messages_are_read_by_kind(ledger: Ledger) -> None:
    for kind, name in (("weekly", "b"), ("alert", "c"), ("weekly", "a")):
        ledger.claim_message(kind, name)
    assert ledger.messages("weekly")["name"].to_list() == ["a", "b"]
    assert ledger.messages()["name"].to_list() == ["c", "a", "b"]


def test_a_sink_is_confirmed_once_and_for_all(ledger: Ledger) -> None:
    assert ledger.confirmed_at("wecom") is None
    ledger.confirm("wecom")
    first = ledger.confirmed_at("wecom")
    ledger.confirm("wecom")
    assert ledger.confirmed_at("wecom") == first is not None
    assert ledger.confirmed_at("local") is None


# --- two at once ----------------------------------------------------------------------------------


def _claim_in_step(url: str, name: str, barrier: Any, answers: Any) -> None:
    ledger = Ledger(url)
    ledger.sealed_weeks()
    for number in range(ROUNDS):
        barrier.wait()
        first = ledger.claim_message("weekly", str(number))
        barrier.wait()
        # the second round: nobody got it out
        if first:
            ledger.finish_message("weekly", str(number), FAILED, "45009")
        barrier.wait()
        again = ledger.claim_message("weekly", str(number))
        answers.put((number, first, again))


def test_of_two_processes_that_claim_a_message_one_gets_it(url: str) -> None:
    answers = in_step(_claim_in_step, url, ("x", "y"), 2 * ROUNDS)
    for number in range(ROUNDS):
        claims = [(first, again) for found, first, again in answers if found == number]
        assert [sum(firsts) for firsts in zip(*claims, strict=True)] == [1, 1]


CONTACTS = [f"c{number:03}" for number in range(200)]


def _call_in_step(url: str, name: str, barrier: Any, answers: Any) -> None:
    ledger = Ledger(url)
    ledger.sealed_weeks()
    # one from the front, one from the back: rows locked in two orders would wait for each other
    order = CONTACTS if name == "x" else CONTACTS[::-1]
    for number in range(5):
        week = WEEK + timedelta(weeks=number)
        barrier.wait()
        ledger.request_calls(week, calls(*order))
        ledger.finish_calls(week, [outcome(one, DONE) for one in order if (one < "c100") == (name == "x")])
    answers.put(name)


def test_two_processes_that_ask_for_the_same_calls_write_them_once_and_lose_no_success(url: str) -> None:
    ledger = Ledger(url)
    for number in range(5):
        seal(ledger, week=WEEK + timedelta(weeks=number))
    in_step(_call_in_step, url, ("x", "y"), 2)
    found = ledger.tag_calls()
    assert found.height == 5 * len(CONTACTS)
    assert found.select("status", "attempts").unique().rows() == [(DONE, 1)]


def _record_in_step(url: str, name: str, barrier: Any, answers: Any) -> None:
    ledger = Ledger(url)
    ledger.sealed_weeks()
    order = CONTACTS if name == "x" else CONTACTS[::-1]
    for _ in range(5):
        barrier.wait()
        ledger.record(WEEK, [(one, TAG, DONE if name == "x" else FAILED, None) for one in order])
    answers.put(name)


def test_two_processes_that_record_the_same_changes_do_not_wait_for_each_other(url: str) -> None:
    seal(Ledger(url), *CONTACTS)
    in_step(_record_in_step, url, ("x", "y"), 2)
    assert Ledger(url).tag_actions()["status"].unique().to_list() == [DONE]


def _list_in_step(url: str, name: str, barrier: Any, answers: Any) -> None:
    ledger = Ledger(url)
    ledger.sealed_weeks()
    order = CONTACTS if name == "x" else CONTACTS[::-1]
    week = WEEK if name == "x" else NEXT_WEEK
    barrier.wait()
    try:
        answers.put(ledger.seal(week, assignments(*order, week=week), actions(), "local"))
    except RfmError as error:
        answers.put(str(error))


def test_of_two_weeks_that_list_the_same_silences_at_once_one_is_sealed(url: str) -> None:
    answers = in_step(_list_in_step, url, ("x", "y"), 2)
    assert answers.count(True) == 1
    (refused,) = (answer for answer in answers if answer is not True)
    assert "200 of its 200 customers were listed in the same silence by another week" in refused
    assert Ledger(url).assignments().height == len(CONTACTS)

"""Clocks that jump by years, and many processes at once: neither changes what the ledger says."""

import functools
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any

import polars as pl
import pytest

from rfm_pipeline.ledger import DONE, FAILED, Ledger, store
from rfm_pipeline_tests.ledger.ledger_rows import (
    SILENT_SINCE,
    TAG,
    WEEK,
    actions,
    assignments,
    call_statuses,
    calls,
    in_step,
    outcome,
    seal,
    statuses,
)

JUMPS = [datetime(2031, 5, 1), datetime(1999, 1, 1), datetime(2024, 3, 11), datetime(2001, 9, 9, 1, 46, 40)]
CROWD = [f"p{number}" for number in range(8)]


# --- clocks ---------------------------------------------------------------------------------------


@pytest.fixture(params=range(len(JUMPS)), ids=lambda first: f"from {JUMPS[first]:%Y}")
def jumping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock shows another year, some of them long before the last."""
    times = cycle(JUMPS[request.param :] + JUMPS[: request.param])
    monkeypatch.setattr(store, "now", lambda: next(times))


@pytest.fixture
def jumped(jumping: None, ledger: Ledger) -> Ledger:
    return ledger


def test_exports_keep_their_order_of_arrival(jumped: Ledger) -> None:
    for number in range(6):
        jumped.note_landings([(f"h{earlier}", "f.csv") for earlier in range(number + 1)])
    assert jumped.landing_positions() == {f"h{number}": number + 1 for number in range(6)}


def test_weeks_are_sealed_once_whatever_the_time(jumped: Ledger) -> None:
    for number in range(4):
        week = WEEK + timedelta(weeks=number)
        assert seal(jumped, f"c{number}", week=week)
        assert not seal(jumped, "late", week=week)
    assert jumped.assignments()["customer_id"].to_list() == ["c0", "c1", "c2", "c3"]


def test_a_claim_is_a_claim_whatever_the_time(jumped: Ledger) -> None:
    for name in ("a", "b", "c", "d"):
        assert jumped.claim_message("weekly", name)
        assert not jumped.claim_message("weekly", name)
        jumped.finish_message("weekly", name, FAILED)
        assert jumped.claim_message("weekly", name)
        jumped.finish_message("weekly", name, DONE)
        assert not jumped.claim_message("weekly", name)
    assert jumped.messages()["name"].to_list() == ["a", "b", "c", "d"]


def test_the_latest_state_of_a_tag_is_that_of_the_latest_week(jumped: Ledger) -> None:
    for number, action in enumerate(["add", "remove", "add", "remove"]):
        week = WEEK + timedelta(weeks=number)
        listed = assignments("a", week=week, silent_since=SILENT_SINCE + timedelta(number))
        jumped.seal(week, listed, actions("a").with_columns(action=pl.lit(action)), "local")
        jumped.record(week, [("a", TAG, DONE, None)])
        assert jumped.holdings("a").tags_left == ({"local": 1} if action == "add" else {})


def test_a_success_outlives_every_later_outcome(jumped: Ledger) -> None:
    seal(jumped, "a")
    for _ in range(3):
        jumped.request_calls(WEEK, calls("a"))
        jumped.finish_calls(WEEK, [outcome("a", DONE)])
        jumped.record(WEEK, [("a", TAG, DONE, None)])
        jumped.record(WEEK, [("a", TAG, FAILED, "late")])
        jumped.finish_calls(WEEK, [outcome("a", FAILED, "late")])
    assert statuses(jumped) == {"a": (DONE, None)}
    assert call_statuses(jumped) == {"a": (DONE, 1, None)}


def test_who_is_forgotten_and_what_is_confirmed_stays_so(jumped: Ledger) -> None:
    seal(jumped, "a")
    for _ in range(3):
        jumped.confirm("wecom")
        jumped.forget("a")
        assert jumped.confirmed_at("wecom") in JUMPS
        assert jumped.holdings("a").forgotten
    assert len(jumped.tombstones()[1]) == 1


# --- crowds ---------------------------------------------------------------------------------------


def _do_everything(rounds: int, url: str, name: str, barrier: Any, answers: Any) -> None:
    ledger = Ledger(url)
    mine = CROWD.index(name)
    barrier.wait()
    got = []
    for number in range(rounds):
        week = WEEK + timedelta(weeks=number * len(CROWD) + mine)
        who = f"{name}-{number}"
        ledger.note_landings([(who, "f.csv")])
        assert seal(ledger, who, week=week)
        ledger.request_calls(week, calls(who))
        got.append(ledger.claim_message("weekly", str(number)))
        ledger.finish_calls(week, [outcome(who, DONE)])
        ledger.record(week, [(who, TAG, DONE, None)])
        assert ledger.tag_actions([week])["status"].to_list() == [DONE]
    answers.put(got)


@pytest.mark.parametrize("rounds", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_eight_processes_at_once_get_all_their_work_done(url: str, rounds: int) -> None:
    """From the first use on: no "database is locked", no deadlock, nothing lost, nothing twice."""
    answers = in_step(functools.partial(_do_everything, rounds), url, CROWD, len(CROWD))
    ledger = Ledger(url)
    work = len(CROWD) * rounds
    assert len(ledger.sealed_weeks()) == ledger.assignments().height == work
    assert ledger.tag_actions()["status"].to_list() == [DONE] * work
    assert ledger.tag_calls().select("status", "attempts").unique().rows() == [(DONE, 1)]
    assert sorted(ledger.landing_positions().values()) == list(range(1, work + 1))
    # each message was one process's
    assert [sum(claims) for claims in zip(*answers, strict=True)] == [1] * rounds

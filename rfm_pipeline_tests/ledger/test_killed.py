"""kill -9 at random moments: what a call writes is there in full or not at all, and work goes on at once."""

import random
from collections.abc import Callable
from datetime import timedelta

from rfm_pipeline.ledger import DONE, FAILED, PENDING, Ledger
from rfm_pipeline_tests.ledger.ledger_rows import TAG, WEEK, calls, killed_after, outcome, seal

KILLS = 8
CUSTOMERS = [f"c{number:03}" for number in range(150)]


def moments(seed: int) -> list[float]:
    """How long after the work began it is killed: at once, soon, or later."""
    drawn = random.Random(seed)
    return [0.0, *(drawn.uniform(0.0, 0.6) for _ in range(KILLS - 1))]


def _seal_week_after_week(url: str, ready: Callable[[], None]) -> None:
    ledger = Ledger(url)
    number = len(ledger.sealed_weeks())
    ready()
    while True:
        week = WEEK + timedelta(weeks=number)
        # a silence of its own for each week, or it would be refused
        seal(ledger, *(f"{one}-{number}" for one in CUSTOMERS), week=week)
        number += 1


def test_a_list_is_sealed_in_full_or_not_at_all(url: str) -> None:
    ledger = Ledger(url)
    for seconds in moments(1):
        killed_after(_seal_week_after_week, url, seconds)
        weeks = ledger.sealed_weeks()
        listed, asked = ledger.assignments(columns=["week"]), ledger.tag_actions().select("week")
        for rows in (listed, asked):
            counts = dict(rows.group_by("week").len().iter_rows())
            assert counts == dict.fromkeys(weeks, len(CUSTOMERS))
        assert sorted(weeks) == [WEEK + timedelta(weeks=number) for number in range(len(weeks))]
    assert len(ledger.sealed_weeks()) >= KILLS


def _record_again_and_again(url: str, ready: Callable[[], None]) -> None:
    ledger = Ledger(url)
    known = ledger.tag_actions()["error"][0]
    number = int(known or 0)
    ready()
    while True:
        number += 1
        ledger.record(WEEK, [(one, TAG, FAILED, str(number)) for one in CUSTOMERS])


def test_outcomes_are_recorded_together_or_not_at_all(url: str) -> None:
    ledger = Ledger(url)
    seal(ledger, *CUSTOMERS)
    last = 0
    for seconds in moments(2):
        killed_after(_record_again_and_again, url, seconds)
        (told,) = ledger.tag_actions()["error"].unique().to_list()
        assert int(told or 0) >= last
        last = int(told or 0)
    assert last >= KILLS


def _call_again_and_again(url: str, ready: Callable[[], None]) -> None:
    ledger = Ledger(url)
    number = ledger.tag_calls()["userid"].n_unique()
    ready()
    while True:
        who = f"staff{number:05}"
        ledger.request_calls(WEEK, calls(*CUSTOMERS, userid=who))
        ledger.finish_calls(WEEK, [outcome(one, DONE, userid=who) for one in CUSTOMERS])
        number += 1


def test_calls_are_asked_for_and_answered_together_or_not_at_all(url: str) -> None:
    ledger = Ledger(url)
    seal(ledger, *CUSTOMERS)
    for seconds in moments(3):
        killed_after(_call_again_and_again, url, seconds)
        found = ledger.tag_calls().group_by("userid", "status").len().sort("userid")
        assert set(found["len"]) <= {len(CUSTOMERS)}
        # whoever is asked for anew after a kill is another, so no more than one a kill is left pending
        assert found["userid"].n_unique() == found.height
    pending = found.filter(status=PENDING).height
    assert pending <= KILLS
    assert found.filter(status=DONE).height >= KILLS - pending


def _claim_again_and_again(url: str, ready: Callable[[], None]) -> None:
    ledger = Ledger(url)
    number = ledger.messages().height
    ready()
    while True:
        assert ledger.claim_message("alert", f"{number:05}")
        ledger.finish_message("alert", f"{number:05}", DONE)
        number += 1


def test_a_claim_of_a_killed_process_stays_nobody_elses(url: str) -> None:
    ledger = Ledger(url)
    for seconds in moments(4):
        killed_after(_claim_again_and_again, url, seconds)
        found = ledger.messages()
        assert found["name"].to_list() == [f"{number:05}" for number in range(found.height)]
        for name in found.filter(status=PENDING)["name"]:
            assert not ledger.claim_message("alert", name)
    assert found.filter(status=DONE).height >= 1


def _land_again_and_again(url: str, ready: Callable[[], None]) -> None:
    ledger = Ledger(url)
    number = len(ledger.landing_positions())
    ready()
    while True:
        ledger.note_landings([(f"export{number + extra}", "f.csv") for extra in range(3)])
        number += 3


def test_arrivals_are_noted_together_or_not_at_all(url: str) -> None:
    ledger = Ledger(url)
    for seconds in moments(5):
        killed_after(_land_again_and_again, url, seconds)
        places = sorted(ledger.landing_positions().values())
        assert places == list(range(1, len(places) + 1))
        assert len(places) % 3 == 0

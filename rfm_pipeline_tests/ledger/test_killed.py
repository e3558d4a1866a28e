"""kill -9 in the middle of the work: a call is written in full or not at all, and work goes on at once."""

import random
from collections.abc import Callable
from datetime import timedelta

import pytest

from rfm_pipeline.ledger import DONE, FAILED, PENDING, Ledger
from rfm_pipeline_tests.ledger.ledger_rows import TAG, WEEK, calls, killed_in_round, outcome, seal

CUSTOMERS = [f"c{number:03}" for number in range(150)]


@pytest.fixture(params=[3, pytest.param(20, marks=pytest.mark.slow)])
def kills(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


def moments(seed: int, kills: int) -> list[tuple[int, float]]:
    """After how many rounds, and how far into the next, the work is killed: at once, soon, or later."""
    drawn = random.Random(seed)
    return [(0, 0.0), *((drawn.randint(1, 3), drawn.random()) for _ in range(kills - 1))]


def ended_rounds(seed: int, kills: int) -> int:
    """How many rounds had ended in all when their processes were killed: nothing of them may be lost."""
    return sum(rounds for rounds, _ in moments(seed, kills))


def _seal_week_after_week(url: str, done: Callable[[], None]) -> None:
    ledger = Ledger(url)
    number = len(ledger.sealed_weeks())
    done()
    while True:
        week = WEEK + timedelta(weeks=number)
        # a silence of its own for each week, or it would be refused
        seal(ledger, *(f"{one}-{number}" for one in CUSTOMERS), week=week)
        number += 1
        done()


def test_a_list_is_sealed_in_full_or_not_at_all(url: str, kills: int) -> None:
    ledger = Ledger(url)
    for rounds, share in moments(1, kills):
        killed_in_round(_seal_week_after_week, url, rounds, share)
        weeks = ledger.sealed_weeks()
        listed, asked = ledger.assignments(columns=["week"]), ledger.tag_actions().select("week")
        for rows in (listed, asked):
            counts = dict(rows.group_by("week").len().iter_rows())
            assert counts == dict.fromkeys(weeks, len(CUSTOMERS))
        assert sorted(weeks) == [WEEK + timedelta(weeks=number) for number in range(len(weeks))]
    assert len(ledger.sealed_weeks()) >= ended_rounds(1, kills)


def _record_again_and_again(url: str, done: Callable[[], None]) -> None:
    ledger = Ledger(url)
    known = ledger.tag_actions()["error"][0]
    number = int(known or 0)
    done()
    while True:
        number += 1
        ledger.record(WEEK, [(one, TAG, FAILED, str(number)) for one in CUSTOMERS])
        done()


def test_outcomes_are_recorded_together_or_not_at_all(url: str, kills: int) -> None:
    ledger = Ledger(url)
    seal(ledger, *CUSTOMERS)
    last = 0
    for rounds, share in moments(2, kills):
        killed_in_round(_record_again_and_again, url, rounds, share)
        (error,) = ledger.tag_actions()["error"].unique().to_list()
        assert int(error or 0) >= last
        last = int(error or 0)
    assert last >= ended_rounds(2, kills)


def _call_again_and_again(url: str, done: Callable[[], None]) -> None:
    ledger = Ledger(url)
    number = ledger.tag_calls()["userid"].n_unique()
    done()
    while True:
        who = f"staff{number:05}"
        ledger.request_calls(WEEK, calls(*CUSTOMERS, userid=who))
        ledger.finish_calls(WEEK, [outcome(one, DONE, userid=who) for one in CUSTOMERS])
        number += 1
        done()


def test_calls_are_asked_for_and_answered_together_or_not_at_all(url: str, kills: int) -> None:
    ledger = Ledger(url)
    seal(ledger, *CUSTOMERS)
    for rounds, share in moments(3, kills):
        killed_in_round(_call_again_and_again, url, rounds, share)
        found = ledger.tag_calls().group_by("userid", "status").len().sort("userid")
        assert set(found["len"]) <= {len(CUSTOMERS)}
        # the one asked for again after a kill is another, so no more than one a kill is left pending
        assert found["userid"].n_unique() == found.height
    pending = found.filter(status=PENDING).height
    assert pending <= kills
    assert found.filter(status=DONE).height >= ended_rounds(3, kills)


def _claim_again_and_again(url: str, done: Callable[[], None]) -> None:
    ledger = Ledger(url)
    number = ledger.messages().height
    done()
    while True:
        assert ledger.claim_message("alert", f"{number:05}")
        ledger.finish_message("alert", f"{number:05}", DONE)
        number += 1
        done()


def test_a_claim_of_a_killed_process_stays_nobody_elses(url: str, kills: int) -> None:
    ledger = Ledger(url)
    for rounds, share in moments(4, kills):
        killed_in_round(_claim_again_and_again, url, rounds, share)
        found = ledger.messages()
        assert found["name"].to_list() == [f"{number:05}" for number in range(found.height)]
        for name in found.filter(status=PENDING)["name"]:
            assert not ledger.claim_message("alert", name)
    assert found.filter(status=DONE).height >= ended_rounds(4, kills)


def _land_again_and_again(url: str, done: Callable[[], None]) -> None:
    ledger = Ledger(url)
    number = len(ledger.landing_positions())
    done()
    while True:
        ledger.note_landings([(f"export{number + extra}", "f.csv") for extra in range(3)])
        number += 3
        done()


def test_arrivals_are_noted_together_or_not_at_all(url: str, kills: int) -> None:
    ledger = Ledger(url)
    for rounds, share in moments(5, kills):
        killed_in_round(_land_again_and_again, url, rounds, share)
        places = sorted(ledger.landing_positions().values())
        assert places == list(range(1, len(places) + 1))
        assert len(places) % 3 == 0
    assert len(places) >= 3 * ended_rounds(5, kills)

"""The ledger: facts are only added, double work is impossible, and no error tells a customer's name."""

import traceback
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
import sqlalchemy as sa
from polars.testing import assert_frame_equal

from rfm_pipeline.errors import RfmError
from rfm_pipeline.ledger import (
    ASSIGNMENT_SCHEMA,
    DONE,
    FAILED,
    LEFT_OPEN,
    PENDING,
    Ledger,
    tombstone_digest,
)
from rfm_pipeline_tests.ledger.ledger_rows import (
    CUSTOMER,
    NEXT_WEEK,
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

ROUNDS = 4


# --- what is written comes back -------------------------------------------------------------------


def test_a_new_ledger_is_empty(ledger: Ledger) -> None:
    assert ledger.sealed_weeks() == set()
    assert ledger.assignments().is_empty()
    assert ledger.tag_actions().is_empty()
    assert dict(ledger.assignments().schema) == ASSIGNMENT_SCHEMA


def test_a_sealed_list_comes_back_to_the_letter(ledger: Ledger) -> None:
    listed = assignments("a", "b", sms="【茶铺】你好\n拒收请回复R", favourite_product=None)
    assert ledger.seal(WEEK, listed, actions("a", "b"), "local")
    assert ledger.sealed_weeks() == {WEEK}
    assert_frame_equal(ledger.assignments(), listed)
    assert statuses(ledger) == {"a": (PENDING, None), "b": (PENDING, None)}


def test_an_empty_week_can_be_sealed(ledger: Ledger) -> None:
    assert seal(ledger)
    assert ledger.sealed_weeks() == {WEEK}
    assert ledger.assignments([WEEK]).is_empty()


def test_weeks_are_read_one_by_one_or_all_together(ledger: Ledger) -> None:
    seal(ledger, "a")
    seal(ledger, "b", week=NEXT_WEEK)
    assert ledger.assignments([NEXT_WEEK])["customer_id"].to_list() == ["b"]
    assert ledger.tag_actions([WEEK])["customer_id"].to_list() == ["a"]
    assert ledger.assignments([])["customer_id"].to_list() == []
    assert ledger.assignments()["customer_id"].to_list() == ["a", "b"]


# --- sealing --------------------------------------------------------------------------------------


def test_a_week_is_sealed_once(ledger: Ledger) -> None:
    assert seal(ledger, "a")
    assert not seal(ledger, "b", "c")
    assert ledger.assignments()["customer_id"].to_list() == ["a"]
    assert ledger.tag_actions()["customer_id"].to_list() == ["a"]


def test_a_silence_is_listed_once_in_the_ledgers_life(ledger: Ledger) -> None:
    seal(ledger, "a")
    with pytest.raises(RfmError, match=f"week {NEXT_WEEK} can't be sealed: 1 of its 2 customers"):
        seal(ledger, "a", "b", week=NEXT_WEEK)
    # all or nothing
    assert ledger.sealed_weeks() == {WEEK}
    assert ledger.assignments()["customer_id"].to_list() == ["a"]
    assert ledger.tag_actions()["customer_id"].to_list() == ["a"]


def test_another_silence_of_the_same_customer_is_listed_again(ledger: Ledger) -> None:
    seal(ledger, "a")
    later = assignments("a", week=NEXT_WEEK, silent_since=SILENT_SINCE + timedelta(seconds=1))
    assert ledger.seal(NEXT_WEEK, later, actions("a"), "local")


def _seal_in_step(url: str, name: str, barrier: Any, answers: Any) -> None:
    ledger = Ledger(url)
    for number in range(ROUNDS):
        day = WEEK + timedelta(weeks=number)
        barrier.wait()
        sealed = ledger.seal(day, assignments(f"{name}{number}", week=day), actions(f"{name}{number}"), name)
        answers.put((day, name, sealed))


def test_two_processes_that_seal_the_same_week_seal_it_once(url: str) -> None:
    """From the very first use on, when neither finds a table."""
    answers = in_step(_seal_in_step, url, ("x", "y"), 2 * ROUNDS)
    listed = Ledger(url).assignments()
    winners = {day: name for day, name, sealed in answers if sealed}
    assert len(winners) == ROUNDS == listed.height == sum(sealed for _, _, sealed in answers)
    for day, customer_id in listed.select("week", "customer_id").iter_rows():
        assert customer_id.startswith(winners[day])


# --- outcomes -------------------------------------------------------------------------------------


def test_an_outcome_replaces_what_is_pending(ledger: Ledger) -> None:
    seal(ledger, "a", "b", "c")
    ledger.record(WEEK, [("a", TAG, DONE, None), ("b", TAG, FAILED, "no such user")])
    assert statuses(ledger) == {"a": (DONE, None), "b": (FAILED, "no such user"), "c": (PENDING, None)}


def test_a_failure_may_become_a_success(ledger: Ledger) -> None:
    seal(ledger, "a")
    ledger.record(WEEK, [("a", TAG, FAILED, "no such user")])
    ledger.record(WEEK, [("a", TAG, DONE, None)])
    assert statuses(ledger) == {"a": (DONE, None)}


@pytest.mark.parametrize("status", [FAILED, PENDING])
def test_a_success_is_never_overwritten(ledger: Ledger, status: str) -> None:
    seal(ledger, "a")
    ledger.record(WEEK, [("a", TAG, DONE, None)])
    ledger.record(WEEK, [("a", TAG, status, "too late")])
    assert statuses(ledger) == {"a": (DONE, None)}


def test_an_outcome_nobody_asked_for_adds_nothing(ledger: Ledger) -> None:
    seal(ledger, "a")
    ledger.record(WEEK, [("b", TAG, DONE, None), ("a", "another tag", DONE, None)])
    ledger.record(NEXT_WEEK, [("a", TAG, DONE, None)])
    ledger.record(WEEK, [])
    assert statuses(ledger) == {"a": (PENDING, None)}


# --- what it doesn't tell -------------------------------------------------------------------------


def _list_a_silence_twice(ledger: Ledger) -> None:
    seal(ledger, CUSTOMER)
    seal(ledger, CUSTOMER, week=NEXT_WEEK)


def _give_a_code_twice(ledger: Ledger) -> None:
    ledger.seal(WEEK, assignments(CUSTOMER, "b", coupon_code=CUSTOMER), actions(), "local")


def _list_a_customer_twice(ledger: Ledger) -> None:
    seal(ledger, CUSTOMER, CUSTOMER)


def _leave_out_what_must_be_there(ledger: Ledger) -> None:
    ledger.seal(WEEK, assignments(CUSTOMER, churn_class=None), actions(), "local")


@pytest.mark.parametrize(
    "break_it",
    [_list_a_silence_twice, _give_a_code_twice, _list_a_customer_twice, _leave_out_what_must_be_there],
)
def test_a_refused_write_tells_no_customer(ledger: Ledger, break_it: Callable[[Ledger], None]) -> None:
    with pytest.raises(RfmError) as caught:
        break_it(ledger)
    # the whole printed story, not only the last sentence
    story = "".join(traceback.format_exception(caught.value))
    assert CUSTOMER not in story
    assert "UNIQUE" not in story


def test_a_broken_statement_tells_no_values(ledger: Ledger) -> None:
    seal(ledger, "a")
    with pytest.raises(sa.exc.SQLAlchemyError) as caught:
        ledger.record(WEEK, [(CUSTOMER, TAG, DONE, {"not": CUSTOMER})])  # type: ignore[list-item]
    assert CUSTOMER not in str(caught.value)


def test_the_ledgers_name_hides_its_password() -> None:
    assert repr(Ledger("postgresql://rfm:secret@db/ledger")) == "Ledger(postgresql://rfm:***@db/ledger)"
    assert "secret" not in str(Ledger("postgresql://rfm:secret@db/ledger"))


# --- the right to be forgotten --------------------------------------------------------------------


def test_a_new_ledger_has_no_tombstones_and_no_salt(ledger: Ledger) -> None:
    assert ledger.tombstones() == ("", set())
    seal(ledger, "a")
    assert ledger.tombstones() == ("", set())


def test_a_tombstone_tells_the_same_customer_again_and_nobody_else(ledger: Ledger) -> None:
    ledger.forget("a")
    ledger.forget("b")
    salt, digests = ledger.tombstones()
    assert digests == {tombstone_digest(salt, "a"), tombstone_digest(salt, "b")}
    assert tombstone_digest(salt, "c") not in digests
    # what the ingest says in SQL
    hashed = duckdb.sql("select sha256($salt || ':' || 'a')", params={"salt": salt}).fetchall()
    assert hashed == [(tombstone_digest(salt, "a"),)]


def test_two_ledgers_have_different_salts(ledger: Ledger, tmp_path: Path) -> None:
    other = Ledger(f"sqlite:///{tmp_path / 'other.sqlite'}")
    ledger.forget("a")
    other.forget("a")
    assert ledger.tombstones()[1].isdisjoint(other.tombstones()[1])


def listed_with_words(*customers: str, week: date = WEEK, **other: Any) -> pl.DataFrame:
    words = dict.fromkeys(("favourite_sku", "favourite_product", "offer", "sms", "email_subject"), CUSTOMER)
    words |= dict.fromkeys(("email_body", "wecom_text"), CUSTOMER)
    return assignments(*customers, week=week, **words, **other)


def test_a_forgotten_customers_rows_stay_without_the_customer(ledger: Ledger) -> None:
    both = assignments("other")
    first = pl.concat([listed_with_words(CUSTOMER).with_columns(priority=pl.lit(2, pl.Int64)), both])
    ledger.seal(WEEK, first, actions(CUSTOMER, "other"), "local")
    again = listed_with_words(CUSTOMER, week=NEXT_WEEK, silent_since=datetime(2024, 3, 1), churn_class="B")
    ledger.seal(NEXT_WEEK, again, actions(CUSTOMER), "local")
    ledger.record(WEEK, [(CUSTOMER, TAG, FAILED, f"no such user {CUSTOMER}")])
    ledger.forget(CUSTOMER)

    rows = ledger.assignments().filter(pl.col("customer_id") != "other")
    assert rows["customer_id"].unique().to_list() == [f"forgotten:{next(iter(ledger.tombstones()[1]))[:16]}"]
    assert rows.select("week", "churn_class", "arm", "priority").rows() == [
        (WEEK, "A", "recall", 2),
        (NEXT_WEEK, "B", "recall", 1),
    ]
    assert rows["silent_since"].to_list() == [datetime(2024, 3, 4), datetime(2024, 3, 11)]
    assert rows.select("recency_days", "frequency", "monetary").unique().rows() == [(1, 0, "0")]
    words = rows.select(list(ASSIGNMENT_SCHEMA)[6:8] + list(ASSIGNMENT_SCHEMA)[11:])
    assert words.select(pl.all().is_null().all()).row(0) == (True,) * words.width
    assert ledger.assignments().filter(customer_id="other").rows() == both.rows()
    gone = ledger.tag_actions().filter(pl.col("customer_id") != "other")
    assert gone.select("week", "status", "error").rows() == [
        (WEEK, FAILED, None),
        (NEXT_WEEK, FAILED, LEFT_OPEN),
    ]
    assert statuses(ledger)["other"] == (PENDING, None)


def test_nothing_of_a_forgotten_customer_stays_in_the_file(file_ledger: Ledger, tmp_path: Path) -> None:
    ledger = file_ledger
    others = [f"other{number}" for number in range(300)]
    ledger.seal(WEEK, listed_with_words(CUSTOMER), actions(CUSTOMER, *others), "local")
    ledger.request_calls(WEEK, calls(CUSTOMER, *others))
    file = tmp_path / "ledger.sqlite"
    assert CUSTOMER.encode() in file.read_bytes()
    ledger.forget(CUSTOMER)
    assert CUSTOMER.encode() not in file.read_bytes()
    assert list(tmp_path.iterdir()) == [file]


def test_forgetting_again_changes_nothing(ledger: Ledger) -> None:
    seal(ledger, CUSTOMER, "other")
    ledger.forget(CUSTOMER)
    before = ledger.assignments(), ledger.tag_actions(), ledger.tombstones(), ledger.holdings(CUSTOMER)
    ledger.forget(CUSTOMER)
    after = ledger.assignments(), ledger.tag_actions(), ledger.tombstones(), ledger.holdings(CUSTOMER)
    for was, now in zip(before[:2], after[:2], strict=True):
        assert_frame_equal(was, now)
    assert before[2:] == after[2:]


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        pytest.param([("add", DONE)], 1, id="set"),
        pytest.param([("add", PENDING)], 1, id="perhaps set"),
        pytest.param([("add", FAILED)], 0, id="never set"),
        pytest.param([("add", DONE), ("remove", DONE)], 0, id="taken off"),
        pytest.param([("add", DONE), ("remove", PENDING)], 1, id="perhaps taken off"),
        pytest.param([("add", DONE), ("remove", FAILED)], 1, id="not taken off"),
        pytest.param([("add", DONE), ("remove", DONE), ("add", PENDING)], 1, id="perhaps set again"),
    ],
)
def test_tags_that_may_still_be_on_are_told_before_and_after(
    ledger: Ledger, changes: list[tuple[str, str]], left: int
) -> None:
    for number, (action, status) in enumerate(changes):
        week = WEEK + timedelta(weeks=number)
        asked = actions("a").with_columns(action=pl.lit(action))
        ledger.seal(
            week, assignments("a", week=week, silent_since=SILENT_SINCE + timedelta(number)), asked, "local"
        )
        ledger.record(week, [("a", TAG, status, None)] if status != PENDING else [])
    expected = {"local": 1} if left else {}
    assert ledger.holdings("a").tags_left == expected
    ledger.forget("a")
    assert ledger.holdings("a").tags_left == expected
    ledger.forget("a")
    held = ledger.holdings("a")
    assert (held.assignments, held.tag_actions, held.tags_left) == (len(changes), len(changes), expected)
    assert held.forgotten


def test_to_look_into_a_ledger_that_is_not_there_makes_none(ledger: Ledger, tmp_path: Path) -> None:
    assert not ledger.holdings("a").forgotten
    assert not ledger.is_there
    assert list(tmp_path.iterdir()) == []
    ledger.sealed_weeks()
    assert ledger.is_there


def test_a_forgotten_customers_calls_go_and_the_others_stay(ledger: Ledger) -> None:
    """They name the person's WeCom contact; what the review counts are the tag changes."""
    seal(ledger, CUSTOMER, "other")
    seal(ledger, week=NEXT_WEEK)
    ledger.request_calls(WEEK, calls(CUSTOMER, "other"))
    ledger.request_calls(NEXT_WEEK, calls(CUSTOMER))
    ledger.finish_calls(WEEK, [outcome(CUSTOMER, DONE), outcome("other", FAILED, "40096")])
    ledger.forget(CUSTOMER)
    assert call_statuses(ledger) == {"other": (FAILED, 1, "40096")}
    # an outcome that comes late brings nobody back
    ledger.finish_calls(NEXT_WEEK, [outcome(CUSTOMER, DONE)])
    assert call_statuses(ledger) == {"other": (FAILED, 1, "40096")}


def _forget_in_step(url: str, name: str, barrier: Any, answers: Any) -> None:
    ledger = Ledger(url)
    barrier.wait()
    ledger.forget(name)
    ledger.forget("both")
    answers.put(name)


def test_two_processes_that_forget_first_use_one_salt(url: str) -> None:
    seal(Ledger(url), "x", "y", "both")
    in_step(_forget_in_step, url, ("x", "y"), 2)
    salt, digests = Ledger(url).tombstones()
    assert digests == {tombstone_digest(salt, name) for name in ("x", "y", "both")}
    assert all(name.startswith("forgotten:") for name in Ledger(url).assignments()["customer_id"])

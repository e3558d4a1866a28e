"""The recall list against a plain reading of its definition, and at every border of it."""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from rfm_pipeline.recall.listing import queue_length
from rfm_pipeline_tests.hypothesis_profiles import examples
from rfm_pipeline_tests.recall.recall_home import (
    CHANNELS,
    LONG_AGO,
    Churner,
    RecallHome,
    make_recall_home,
    reach_of,
    silent,
    week,
)

SHARES = (Decimal(0), Decimal("0.1"), Decimal("0.25"), Decimal("0.5"))


@pytest.fixture
def recall_home(tmp_path: Path) -> RecallHome:
    return make_recall_home(tmp_path)


# --- the definition, read in plain Python ---------------------------------------------------------


@dataclass(frozen=True)
class Sealed:
    """A customer of a list that is final."""

    week: date
    customer_id: str
    silent_since: datetime
    arm: str


@dataclass(frozen=True)
class Settings:
    """The shop's decisions and what it knows of its customers."""

    capacity: int
    share: Decimal
    cooldown_days: int
    opted_out: frozenset[tuple[str, str]]
    reachable: frozenset[str] | None


def contactable(
    churners: Sequence[Churner], day: date, sealed: Sequence[Sealed], asked: Settings
) -> list[Churner]:
    as_of = day + timedelta(days=7)
    cool_from = as_of - timedelta(days=asked.cooldown_days)
    elsewhere = [row for row in sealed if row.week != day]
    fell_silent = {(row.customer_id, row.silent_since) for row in churners if row.is_new and row.week <= day}
    had_a_list = {(row.customer_id, row.silent_since) for row in elsewhere}
    cooling = {
        row.customer_id
        for row in elsewhere
        if row.arm == "recall" and row.week + timedelta(days=7) >= cool_from
    }
    found = []
    for row in churners:
        silence = (row.customer_id, row.silent_since)
        if row.week != day or silence not in fell_silent or silence in had_a_list:
            continue
        if all((row.customer_id, channel) in asked.opted_out for channel in CHANNELS):
            continue
        if asked.reachable is not None and row.customer_id not in asked.reachable:
            continue
        if row.customer_id not in cooling:
            found.append(row)
    return found


def by_priority(churners: Sequence[Churner]) -> list[Churner]:
    return sorted(churners, key=lambda row: (-row.monetary, row.recency_days, row.customer_id))


def holdout_size(listed: int, share: Decimal) -> int:
    return int((listed * share).quantize(Decimal(1), ROUND_HALF_UP))


def holdout_of(shop_name: str, listed: Sequence[Churner], share: Decimal) -> set[str]:
    """Anyone can repeat the draw with an MD5: per class, the first in the order of the hash."""
    found: set[str] = set()
    for churn_class in "ABC":
        drawn = sorted(
            (row.customer_id for row in listed if row.churn_class == churn_class),
            key=lambda name: hashlib.md5(f"{shop_name}|{name}|{listed[0].week}".encode()).hexdigest(),
        )
        found.update(drawn[: holdout_size(len(drawn), share)])
    return found


# --- random silences ------------------------------------------------------------------------------

WEEKS = [week(number) for number in range(4)]
NAMES = [f"c{number}" for number in range(7)]


@st.composite
def histories(draw: st.DrawFn) -> list[Churner]:
    """Customers who are silent, awake, and silent again, in four weeks; ties in money are common."""
    churners = []
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=7, unique=True)):
        silent_since = LONG_AGO + timedelta(days=draw(st.integers(0, 2)))
        was_silent = False
        for day in WEEKS:
            state = draw(st.sampled_from(["silent", "silent", "awake", "silent again"]))
            if state == "silent again":
                silent_since += timedelta(hours=13)
            if state != "awake":
                churners.append(
                    Churner(
                        day,
                        name,
                        monetary=draw(st.sampled_from([Decimal("-1"), Decimal("9.99"), Decimal(10)])),
                        silent_since=silent_since,
                        churn_class=draw(st.sampled_from("AABC")),
                        is_new=not was_silent,
                    )
                )
            was_silent = state != "awake"
    return churners


def all_settings() -> st.SearchStrategy[Settings]:
    pairs = st.tuples(st.sampled_from(NAMES[:4]), st.sampled_from(CHANNELS))
    everywhere = st.sampled_from(NAMES).map(lambda name: frozenset((name, channel) for channel in CHANNELS))
    return st.builds(
        Settings,
        capacity=st.sampled_from([0, 1, 3, 100]),
        share=st.sampled_from(SHARES),
        cooldown_days=st.sampled_from([0, 6, 7, 8, 14, 60]),
        opted_out=st.one_of(st.frozensets(pairs, max_size=5), everywhere),
        reachable=st.one_of(st.none(), st.none(), st.frozensets(st.sampled_from(NAMES), min_size=3)),
    )


def check_list(
    recall_home: RecallHome, day: date, listed: list[Churner], share: Decimal
) -> list[dict[str, Any]]:
    rows = recall_home.listed(day)
    assert [row["customer_id"] for row in rows] == [churner.customer_id for churner in listed]
    assert [row["priority"] for row in rows] == list(range(1, len(listed) + 1))
    for row, churner in zip(rows, listed, strict=True):
        assert {name: row[name] for name in churner.row()} == churner.row()
    holdout = holdout_of(recall_home.shop.shop.name, listed, share)
    assert {row["customer_id"] for row in rows if row["arm"] == "holdout"} == holdout
    for row in rows:
        sent = [
            row[name] for name in ("offer", "coupon_code", "sms", "email_subject", "email_body", "wecom_text")
        ]
        if row["arm"] == "holdout":
            assert sent == [None] * len(sent)
        else:
            assert row["offer"] is not None
            assert row["coupon_code"] is not None
    codes = [row["coupon_code"] for row in rows if row["arm"] == "recall"]
    assert len(codes) == len(set(codes))
    return rows


@settings(max_examples=examples(8), suppress_health_check=[HealthCheck.too_slow])
@given(
    histories(),
    all_settings(),
    st.lists(st.sampled_from([True, True, True, False]), min_size=len(WEEKS), max_size=len(WEEKS)),
)
def test_the_list_is_what_the_definition_says(
    churners: list[Churner], asked: Settings, is_sealed: list[bool]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        recall_home = make_recall_home(
            Path(folder),
            weekly_capacity=asked.capacity,
            holdout_share=str(asked.share),
            cooldown_days=asked.cooldown_days,
        )
        recall_home.reach = reach_of(sorted(asked.opted_out), asked.reachable)
        recall_home.silent_are(churners, WEEKS)
        sealed: list[Sealed] = []
        sealed_rows = {}
        for day, seal in zip(WEEKS, is_sealed, strict=True):
            queue = contactable(churners, day, sealed, asked)
            report = recall_home.make_list(day)
            rows = check_list(recall_home, day, by_priority(queue)[: asked.capacity], asked.share)
            assert report.queued.get(day, 0) == max(0, len(queue) - asked.capacity)
            assert report.rows == {day: min(len(queue), asked.capacity)}
            if seal:
                recall_home.seal(day)
                sealed_rows[day] = rows
                sealed += [Sealed(day, row["customer_id"], row["silent_since"], row["arm"]) for row in rows]
        assert recall_home.make_list(*WEEKS).sealed == list(sealed_rows)
        for day in WEEKS:
            if day in sealed_rows:
                assert recall_home.listed(day) == sealed_rows[day]
            else:
                open_now = by_priority(contactable(churners, day, sealed, asked))[: asked.capacity]
                check_list(recall_home, day, open_now, asked.share)


# --- who is listed --------------------------------------------------------------------------------


@pytest.mark.parametrize(("capacity", "listed", "queued"), [(3, 3, 0), (2, 2, 1), (0, 0, 3)])
def test_a_list_holds_as_many_as_the_week_can_take_and_the_rest_stays_queued(
    tmp_path: Path, capacity: int, listed: int, queued: int
) -> None:
    recall_home = make_recall_home(tmp_path, weekly_capacity=capacity)
    recall_home.silent_are([*silent("a"), *silent("b"), *silent("c")])
    report = recall_home.make_list(week(0))
    assert report.rows == {week(0): listed}
    assert report.queued.get(week(0), 0) == queued


def queued(recall_home: RecallHome, day: date) -> int:
    return queue_length(recall_home.warehouse, recall_home.ledger, recall_home.shop, recall_home.reach, day)


def test_the_queue_of_a_sealed_week_holds_who_could_be_listed_by_now_and_is_not(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path, weekly_capacity=1)
    recall_home.silent_are([*silent("rich", monetary=50), *silent("b"), *silent("c")])
    assert recall_home.list_and_seal(week(0)) == ["rich"]
    assert queued(recall_home, week(0)) == 2
    recall_home.reach = reach_of([("b", channel) for channel in CHANNELS])
    assert queued(recall_home, week(0)) == 1
    recall_home.reach = reach_of(reachable=["rich"])
    assert queued(recall_home, week(0)) == 0


def test_who_was_held_out_of_an_earlier_list_may_be_in_the_queue_of_a_later_one(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path, weekly_capacity=1, holdout_share="0.5")
    again = Churner(week(1), "a", silent_since=LONG_AGO + timedelta(days=1))
    recall_home.silent_are([*silent("a"), again, Churner(week(1), "rich", monetary=50)])
    assert recall_home.list_and_seal(week(0)) == ["a"]
    assert recall_home.arms(week(0)) == {"a": "holdout"}
    assert recall_home.list_and_seal(week(1)) == ["rich"]
    assert queued(recall_home, week(1)) == 1


def test_who_found_no_place_is_listed_the_week_after(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path, weekly_capacity=1)
    weeks = [week(0), week(1), week(2)]
    recall_home.silent_are([*silent("poor", weeks, monetary=5), *silent("rich", weeks, monetary=50)])
    assert [recall_home.list_and_seal(day) for day in weeks] == [["rich"], ["poor"], []]


def test_most_money_comes_first_then_the_shorter_silence_then_the_smaller_name(
    recall_home: RecallHome,
) -> None:
    later = LONG_AGO + timedelta(days=1)
    recall_home.silent_are(
        [
            *silent("z-rich", monetary=Decimal("10.01")),
            *silent("y-recent", monetary=10, silent_since=later),
            *silent("b-tie", monetary=10),
            *silent("a-tie", monetary=10),
            *silent("indebted", monetary=-3, silent_since=later),
        ]
    )
    recall_home.make_list(week(0))
    assert recall_home.names(week(0)) == ["z-rich", "y-recent", "a-tie", "b-tie", "indebted"]


def test_who_is_no_longer_silent_is_not_listed(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path, weekly_capacity=1)
    recall_home.silent_are(
        [*silent("a", [week(0)], monetary=1), *silent("b", [week(0), week(1)], monetary=2)]
    )
    recall_home.silent_are([], [week(2)])
    assert [recall_home.list_and_seal(week(number)) for number in range(3)] == [["b"], [], []]


def test_who_fell_silent_before_the_tables_begin_is_not_listed(recall_home: RecallHome) -> None:
    recall_home.silent_are(silent("a", [week(3)], new_in=[]))
    recall_home.make_list(week(3))
    assert recall_home.names(week(3)) == []


def test_a_silence_that_flaps_with_the_thresholds_is_listed_once(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path, cooldown_days=0)
    silent_weeks = [week(0), week(2)]
    recall_home.silent_are(silent("a", silent_weeks, new_in=silent_weeks))
    assert [recall_home.list_and_seal(day) for day in silent_weeks] == [["a"], []]


def test_who_buys_and_falls_silent_again_is_new_again(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path, cooldown_days=0)
    second = Churner(week(20), "a", silent_since=LONG_AGO + timedelta(days=100))
    recall_home.silent_are([*silent("a"), second])
    assert [recall_home.list_and_seal(day) for day in (week(0), week(20))] == [["a"], ["a"]]


@pytest.mark.parametrize(("cooldown_days", "listed"), [(62, ["a"]), (63, []), (64, [])])
def test_nobody_is_contacted_again_up_to_the_last_day_of_the_cool_down(
    tmp_path: Path, cooldown_days: int, listed: list[str]
) -> None:
    """Nine weeks lie between the two lists: 63 days."""
    recall_home = make_recall_home(tmp_path, cooldown_days=cooldown_days)
    again = Churner(week(9), "a", silent_since=LONG_AGO + timedelta(days=1))
    recall_home.silent_are([*silent("a"), again])
    assert recall_home.list_and_seal(week(0)) == ["a"]
    assert recall_home.list_and_seal(week(9)) == listed


@pytest.mark.parametrize(("weeks_later", "listed"), [(8, []), (9, ["a"])])
def test_the_default_cool_down_of_60_days_covers_eight_weeks(
    recall_home: RecallHome, weeks_later: int, listed: list[str]
) -> None:
    day = week(weeks_later)
    recall_home.silent_are([*silent("a"), Churner(day, "a", silent_since=LONG_AGO + timedelta(days=1))])
    assert recall_home.list_and_seal(week(0)) == ["a"]
    assert recall_home.list_and_seal(day) == listed


def test_the_hold_out_needs_no_cool_down(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path, holdout_share="0.5")
    recall_home.silent_are([*silent("a"), Churner(week(1), "a", silent_since=LONG_AGO + timedelta(days=1))])
    assert recall_home.list_and_seal(week(0)) == ["a"]
    assert recall_home.arms(week(0)) == {"a": "holdout"}
    assert recall_home.list_and_seal(week(1)) == ["a"]


def test_a_list_that_was_never_sealed_counts_for_nothing(recall_home: RecallHome) -> None:
    recall_home.silent_are(silent("a", [week(0), week(1)]))
    recall_home.make_list(week(0))
    recall_home.make_list(week(1))
    assert recall_home.names(week(1)) == ["a"]


# --- who may not be contacted ---------------------------------------------------------------------


def test_who_opted_out_of_every_channel_is_not_listed(recall_home: RecallHome) -> None:
    recall_home.silent_are([*silent("gone"), *silent("half"), *silent("here")])
    recall_home.reach = reach_of(
        [*(("gone", channel) for channel in CHANNELS), ("half", "sms"), ("half", "email")]
    )
    recall_home.make_list(week(0))
    assert recall_home.names(week(0)) == ["half", "here"]


def test_where_contacts_are_given_only_the_reachable_are_listed(recall_home: RecallHome) -> None:
    recall_home.silent_are([*silent("known"), *silent("unknown")])
    recall_home.reach = reach_of(reachable=["known"])
    recall_home.make_list(week(0))
    assert recall_home.names(week(0)) == ["known"]
    recall_home.reach = reach_of(reachable=[])
    recall_home.make_list(week(0))
    assert recall_home.names(week(0)) == []


# --- arms and coupons -----------------------------------------------------------------------------


@pytest.mark.parametrize(("listed", "holdout"), [(4, 0), (5, 1), (14, 1), (15, 2)])
def test_a_tenth_of_each_class_is_held_out_rounded_half_up(tmp_path: Path, listed: int, holdout: int) -> None:
    recall_home = make_recall_home(tmp_path, holdout_share=0.1)
    recall_home.silent_are(
        [
            churner
            for number in range(listed)
            for churn_class in "AB"
            for churner in silent(f"{churn_class}{number}", churn_class=churn_class)
        ]
    )
    recall_home.make_list(week(0))
    arms = Counter((row["churn_class"], row["arm"]) for row in recall_home.listed(week(0)))
    assert (arms["A", "holdout"], arms["B", "holdout"]) == (holdout, holdout)
    assert arms["A", "recall"] == listed - holdout


def test_the_draw_depends_on_who_is_listed_not_on_what_they_are_worth(tmp_path: Path) -> None:
    arms = []
    for name, worth in (("upward", 1), ("downward", -1)):
        recall_home = make_recall_home(tmp_path / name, holdout_share=0.5)
        recall_home.silent_are(
            [Churner(week(0), f"c{number}", monetary=worth * number) for number in range(12)]
        )
        recall_home.make_list(week(0))
        arms.append(recall_home.arms(week(0)))
    assert arms[0] == arms[1]
    assert Counter(arms[0].values()) == {"holdout": 6, "recall": 6}


def test_another_shop_and_another_week_draw_again(tmp_path: Path) -> None:
    churners = [churner for number in range(12) for churner in silent(f"c{number}", [week(0), week(1)])]
    tea = make_recall_home(tmp_path / "tea", holdout_share=0.5)
    silk = make_recall_home(tmp_path / "silk", name="绸庄", holdout_share=0.5)
    for recall_home in (tea, silk):
        recall_home.silent_are(churners)
        recall_home.make_list(week(0), week(1))
    assert tea.arms(week(0)) != silk.arms(week(0))
    assert tea.arms(week(0)) != tea.arms(week(1))


def test_a_list_made_again_is_the_same_to_the_letter(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path, holdout_share=0.25)
    recall_home.silent_are([churner for number in range(8) for churner in silent(f"c{number}")])
    recall_home.make_list(week(0))
    first = recall_home.listed(week(0))
    recall_home.make_list(week(0))
    assert recall_home.listed(week(0)) == first


def test_every_customer_and_every_campaign_has_a_code_of_its_own(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path, cooldown_days=0)
    again = LONG_AGO + timedelta(days=1)
    recall_home.silent_are([*silent("a"), *silent("b"), Churner(week(1), "a", silent_since=again)])
    recall_home.list_and_seal(week(0))
    recall_home.list_and_seal(week(1))
    codes = [row["coupon_code"] for day in (week(0), week(1)) for row in recall_home.listed(day)]
    assert len(set(codes)) == 3
    assert all(len(code) == 13 and code[0] == "C" for code in codes)


# --- sealed weeks ---------------------------------------------------------------------------------


def test_a_sealed_week_stays_as_it_was_whatever_the_tables_say_later(recall_home: RecallHome) -> None:
    recall_home.silent_are([*silent("a"), *silent("b", monetary=5)])
    assert recall_home.list_and_seal(week(0)) == ["a", "b"]
    before = recall_home.listed(week(0))
    recall_home.silent_are([*silent("c", monetary=999), *silent("a", monetary=1, churn_class="A")])
    recall_home.reach = reach_of([("a", channel) for channel in CHANNELS])
    report = recall_home.make_list(week(0))
    assert report.sealed == [week(0)]
    assert recall_home.listed(week(0)) == before


def test_a_lost_warehouse_gets_its_sealed_lists_back_from_the_ledger(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path, holdout_share=0.5)
    recall_home.silent_are(
        [*silent("a", monetary=Decimal("12.3400")), *silent("b", product=None), *silent("c")]
    )
    recall_home.list_and_seal(week(0))
    before = recall_home.listed(week(0))
    recall_home.shop.warehouse_path.unlink()
    recall_home.silent_are([], [week(0)])
    recall_home.make_list(week(0))
    assert recall_home.listed(week(0)) == before


def test_a_list_that_was_sealed_empty_stays_empty(recall_home: RecallHome) -> None:
    recall_home.silent_are([], [week(0)])
    recall_home.list_and_seal(week(0))
    recall_home.silent_are(silent("late"))
    assert recall_home.make_list(week(0)).sealed == [week(0)]
    assert recall_home.names(week(0)) == []


def test_open_weeks_beside_sealed_ones_are_made_from_the_tables(recall_home: RecallHome) -> None:
    recall_home.silent_are([*silent("a", [week(0), week(1)]), *silent("b", [week(1)])])
    recall_home.list_and_seal(week(0))
    recall_home.silent_are(
        [*silent("x", [week(0)]), *silent("a", [week(1)], new_in=[]), *silent("b", [week(1)])]
    )
    report = recall_home.make_list(week(0), week(1))
    assert report.sealed == [week(0)]
    assert report.rows == {week(0): 1, week(1): 1}
    assert (recall_home.names(week(0)), recall_home.names(week(1))) == (["a"], ["b"])


def test_who_was_contacted_later_is_not_listed_for_an_earlier_week(recall_home: RecallHome) -> None:
    """An earlier week that is sent late would reach them now, right after the later one."""
    first, second = Churner(week(0), "a"), Churner(week(1), "a", silent_since=LONG_AGO + timedelta(days=1))
    recall_home.silent_are([first, second])
    assert recall_home.list_and_seal(week(1)) == ["a"]
    recall_home.make_list(week(0))
    assert recall_home.names(week(0)) == []


def test_the_class_of_the_week_decides_the_offer(recall_home: RecallHome) -> None:
    churner = Churner(week(0), "a", churn_class="C")
    recall_home.silent_are([churner, replace(churner, week=week(1), churn_class="A", is_new=False)])
    recall_home.make_list(week(1))
    [row] = recall_home.listed(week(1))
    assert row["churn_class"] == "A"
    assert row["offer"] == recall_home.shop.recall.offers["A"]
    assert row["coupon_code"].startswith("A")

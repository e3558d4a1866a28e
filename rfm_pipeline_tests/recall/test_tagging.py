"""The tag plan and its carrying out: sealed before the first call, finished once, off again in time."""

import stat
import tempfile
from datetime import date, datetime, timedelta
from pathlib import Path

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from rfm_pipeline.errors import RfmError
from rfm_pipeline.recall.listing import ledger_rows
from rfm_pipeline.recall.sinks.base import LocalSink, tags_file
from rfm_pipeline.recall.tagging import tags_on, write_customer_tags
from rfm_pipeline_tests.helpers import make_shop
from rfm_pipeline_tests.hypothesis_profiles import examples
from rfm_pipeline_tests.recall.recall_home import (
    LONG_AGO,
    Churner,
    NotingSink,
    RecallHome,
    make_recall_home,
    reach_of,
    silent,
    week,
)

TAGS = {"A": "静默召回-A类爆款客", "B": "静默召回-B类特惠客", "C": "静默召回-C类待唤醒"}
EIGHT_WEEKS = [week(number) for number in range(8)]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> RecallHome:
    recall_home = make_recall_home(tmp_path_factory.mktemp("scene"))
    recall_home.silent_are(
        [*silent("a", churn_class="A"), *silent("b", churn_class="B"), *silent("c")], EIGHT_WEEKS
    )
    recall_home.last_orders_are(EIGHT_WEEKS, dict.fromkeys("abc", LONG_AGO))
    return recall_home


@pytest.fixture
def recall_home(scene: RecallHome, tmp_path: Path) -> RecallHome:
    """Three customers who fell silent in the first week, and nobody since."""
    return scene.copy_to(tmp_path)


def statuses(recall_home: RecallHome, day: date) -> dict[str, str]:
    rows = recall_home.ledger.tag_actions([day]).select("customer_id", "status").iter_rows()
    return dict(rows)


def csv_lines(recall_home: RecallHome, day: date) -> list[str]:
    return (recall_home.shop.out_dir / "tags" / f"{day}.csv").read_text("utf-8-sig").splitlines()


# --- what is planned ------------------------------------------------------------------------------


def test_everybody_on_the_list_gets_the_tag_of_their_class(recall_home: RecallHome) -> None:
    recall_home.make_list(week(0))
    assert recall_home.make_plan(week(0)) == {week(0): 3}
    plan = recall_home.warehouse.read(
        "select customer_id, tag, action, reason from tag_plan order by customer_id"
    )
    assert plan.rows() == [(name, TAGS[name.upper()], "add", "listed") for name in "abc"]


def test_the_hold_out_is_not_planned(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path, holdout_share="0.5")
    recall_home.silent_are([*silent("a"), *silent("b"), *silent("c"), *silent("d")])
    recall_home.last_orders_are([week(0)], {})
    recall_home.campaign(week(0))
    arms = recall_home.arms(week(0))
    assert sorted(arms.values()) == ["holdout", "holdout", "recall", "recall"]
    assert {name for name, _, _ in recall_home.plan(week(0))} == {
        name for name, arm in arms.items() if arm == "recall"
    }


def test_who_opted_out_of_wecom_is_listed_but_not_tagged(recall_home: RecallHome) -> None:
    recall_home.reach = reach_of([("a", "wecom"), ("b", "sms")])
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    assert recall_home.names(week(0)) == ["a", "b", "c"]
    assert {name for name, _, _ in recall_home.plan(week(0))} == {"b", "c"}


def test_who_has_no_known_wecom_contact_gets_no_words_there_but_is_left_for_the_sink_to_find(
    recall_home: RecallHome,
) -> None:
    reach = reach_of(reachable=["a", "b", "c"])
    no_address = pl.DataFrame({"customer_id": ["a"], "channel": ["wecom"]})
    recall_home.reach = type(reach)(no_address, reach.opted_out, reach.reachable, 0, 0)
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    assert recall_home.listed(week(0))[0]["wecom_text"] is None
    assert {name for name, _, _ in recall_home.plan(week(0))} == {"a", "b", "c"}


def test_who_said_no_after_the_list_was_sealed_is_left_out_of_what_is_still_open(
    recall_home: RecallHome,
) -> None:
    with pytest.raises(ConnectionError):
        recall_home.campaign(week(0), NotingSink(breaks_after=0))
    recall_home.reach = reach_of([("a", "wecom")])
    report = recall_home.send(week(0))
    assert (report.done, report.failed) == (2, 1)
    written = (recall_home.shop.out_dir / "tags" / f"{week(0)}.csv").read_text("utf-8-sig")
    assert [line.split(",")[0] for line in written.splitlines()[1:]] == ["b", "c"]
    # and it stays so
    assert recall_home.send(week(0)).done == 2


def test_a_tag_whose_outcome_was_never_learnt_counts_as_on(recall_home: RecallHome) -> None:
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    plan = recall_home.warehouse.read("select * from tag_plan")
    listed = recall_home.warehouse.read("select * from recall_list")
    assert recall_home.ledger.seal(week(0), ledger_rows(listed), plan, "local")
    assert sorted(tags_on(recall_home.ledger)["customer_id"]) == ["a", "b", "c"]


# --- when a tag comes off -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("campaign_days", "weeks_later", "removed"),
    [(30, 4, False), (30, 5, True), (28, 4, True), (29, 4, False)],
)
def test_a_tag_comes_off_when_the_campaign_is_over(
    tmp_path: Path, campaign_days: int, weeks_later: int, removed: bool
) -> None:
    """Counted from the list's as_of to the plan's: four weeks are 28 days."""
    recall_home = make_recall_home(tmp_path, campaign_days=campaign_days)
    day = week(weeks_later)
    recall_home.silent_are(silent("a", [week(0), day]))
    recall_home.last_orders_are([week(0), day], {"a": LONG_AGO})
    recall_home.campaign(week(0))
    recall_home.campaign(day)
    assert recall_home.plan(day) == ({("a", "remove", "campaign over")} if removed else set())


@pytest.mark.parametrize(("seconds", "removed"), [(0, False), (1, True)])
def test_a_tag_comes_off_when_the_customer_ordered_again(
    recall_home: RecallHome, seconds: int, removed: bool
) -> None:
    recall_home.campaign(week(0))
    recall_home.last_orders_are([week(1)], {"a": LONG_AGO + timedelta(seconds=seconds), "b": LONG_AGO})
    recall_home.campaign(week(1))
    assert recall_home.plan(week(1)) == ({("a", "remove", "returned")} if removed else set())


def test_a_tag_comes_off_when_the_customer_opts_out_of_wecom(recall_home: RecallHome) -> None:
    recall_home.campaign(week(0))
    recall_home.reach = reach_of([("a", "wecom"), ("b", "sms"), ("b", "email"), ("stranger", "wecom")])
    recall_home.campaign(week(1))
    assert recall_home.plan(week(1)) == {("a", "remove", "suppressed")}


def test_a_tag_is_taken_off_once(recall_home: RecallHome) -> None:
    recall_home.campaign(week(0))
    counts = [recall_home.make_plan(day)[day] for day in (week(4), week(5), week(6))]
    assert counts == [0, 3, 3]
    recall_home.campaign(week(5))
    assert recall_home.make_plan(week(6)) == {week(6): 0}
    assert tags_on(recall_home.ledger).is_empty()


def test_a_tag_that_could_not_be_taken_off_is_planned_again(recall_home: RecallHome) -> None:
    recall_home.campaign(week(0))
    recall_home.make_list(week(5))
    recall_home.make_plan(week(5))
    with pytest.raises(ConnectionError):
        recall_home.send(week(5), NotingSink(breaks_after=1))
    recall_home.make_list(week(6))
    recall_home.make_plan(week(6))
    assert recall_home.plan(week(6)) == {("b", "remove", "campaign over"), ("c", "remove", "campaign over")}


def test_a_tag_is_taken_off_unless_it_is_known_that_it_was_never_put_on(recall_home: RecallHome) -> None:
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    with pytest.raises(ConnectionError):
        recall_home.send(week(0), NotingSink(breaks_after=1))
    recall_home.ledger.record(week(0), [("b", TAGS["B"], "failed", "refused")])
    recall_home.make_list(week(5))
    recall_home.make_plan(week(5))
    assert {name for name, _, _ in recall_home.plan(week(5))} == {"a", "c"}


def test_a_tag_left_on_from_an_earlier_silence_is_the_new_lists_from_then_on(tmp_path: Path) -> None:
    """The shop did not run for months: listed, back again, silent again, and the tag still on."""
    recall_home = make_recall_home(tmp_path)
    again = LONG_AGO + timedelta(days=30)
    days = [week(20), week(21), week(24), week(25)]
    recall_home.silent_are([*silent("a"), *silent("a", days, silent_since=again)])
    recall_home.last_orders_are(days, {"a": again})
    recall_home.last_orders_are([week(0)], {"a": LONG_AGO})
    for day in (week(0), *days):
        recall_home.campaign(day)
    assert recall_home.names(week(20)) == ["a"]
    assert recall_home.plan(week(20)) == {("a", "add", "listed")}
    assert recall_home.plan(week(21)) == set()
    assert recall_home.plan(week(24)) == set()
    assert recall_home.plan(week(25)) == {("a", "remove", "campaign over")}


def test_another_class_in_another_silence_changes_the_tag(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path)
    again = LONG_AGO + timedelta(days=30)
    recall_home.silent_are(
        [*silent("a", churn_class="A"), Churner(week(20), "a", silent_since=again, churn_class="B")]
    )
    recall_home.last_orders_are([week(0)], {"a": LONG_AGO})
    recall_home.last_orders_are([week(20)], {"a": again})
    recall_home.campaign(week(0))
    recall_home.campaign(week(20))
    assert tags_on(recall_home.ledger)["tag"].to_list() == [TAGS["B"]]


# --- carrying it out ------------------------------------------------------------------------------


def test_list_and_plan_are_sealed_before_the_first_call(recall_home: RecallHome) -> None:
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    with pytest.raises(ConnectionError):
        recall_home.send(week(0), NotingSink(breaks_after=0))
    assert recall_home.ledger.sealed_weeks() == {week(0)}
    assert recall_home.ledger.assignments()["customer_id"].to_list() == ["a", "b", "c"]
    assert statuses(recall_home, week(0)) == {"a": "pending", "b": "pending", "c": "pending"}


def test_a_sink_that_breaks_half_way_is_finished_exactly_once(recall_home: RecallHome) -> None:
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    broken, mended = NotingSink(breaks_after=2), NotingSink()
    with pytest.raises(ConnectionError):
        recall_home.send(week(0), broken)
    assert statuses(recall_home, week(0)) == {"a": "done", "b": "done", "c": "pending"}
    report = recall_home.send(week(0), mended)
    assert (report.sent, report.done, report.failed, report.newly_sealed) == (1, 3, 0, False)
    assert broken.carried_out + mended.carried_out == [(name, TAGS[name.upper()]) for name in "abc"]
    assert recall_home.send(week(0), NotingSink()).sent == 0


def test_a_plan_larger_than_one_batch_is_finished_exactly_once(tmp_path: Path) -> None:
    recall_home = make_recall_home(tmp_path, weekly_capacity=2000)
    recall_home.silent_are([Churner(week(0), f"c{number}") for number in range(1103)])
    recall_home.last_orders_are([week(0)], {})
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    sinks = [NotingSink(breaks_after=750), NotingSink(breaks_after=250), NotingSink()]
    for sink in sinks[:2]:
        with pytest.raises(ConnectionError):
            recall_home.send(week(0), sink)
    assert recall_home.send(week(0), sinks[2]).sent == 103
    carried_out = [change for sink in sinks for change in sink.carried_out]
    assert len(carried_out) == len(set(carried_out)) == 1103


def test_a_sealed_plan_is_finished_as_it_was_whatever_the_tables_say(recall_home: RecallHome) -> None:
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    with pytest.raises(ConnectionError):
        recall_home.send(week(0), NotingSink(breaks_after=1))
    recall_home.silent_are(silent("x"))
    recall_home.make_list(week(0))
    assert recall_home.make_plan(week(0)) == {week(0): 3}
    sink = NotingSink()
    recall_home.send(week(0), sink)
    assert [name for name, _ in sink.carried_out] == ["b", "c"]


def test_a_forgotten_customers_open_change_is_handed_to_no_sink(recall_home: RecallHome) -> None:
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    sink = NotingSink(breaks_after=0)
    with pytest.raises(ConnectionError):
        recall_home.send(week(0), sink)
    recall_home.ledger.forget("b")
    whole = NotingSink()
    report = recall_home.send(week(0), whole)
    assert {name for name, _ in whole.carried_out} == {"a", "c"}
    assert (report.sent, report.done, report.failed) == (2, 2, 1)
    recall_home.send(week(0))
    assert [line.split(",")[0] for line in csv_lines(recall_home, week(0))] == ["customer_id", "a", "c"]


def test_a_forgotten_customers_tag_is_not_planned_to_come_off(recall_home: RecallHome) -> None:
    """Nobody knows any more whose it is."""
    recall_home.campaign(week(0))
    recall_home.ledger.forget("b")
    assert set(tags_on(recall_home.ledger)["customer_id"]) == {"a", "c"}
    over = week(0) + timedelta(weeks=7)
    recall_home.make_list(over)
    recall_home.make_plan(over)
    assert recall_home.plan(over) == {("a", "remove", "campaign over"), ("c", "remove", "campaign over")}


def test_a_lost_warehouse_gets_plan_and_outcomes_back_from_the_ledger(recall_home: RecallHome) -> None:
    recall_home.campaign(week(0))
    plan = recall_home.plan(week(0))
    recall_home.shop.warehouse_path.unlink()
    recall_home.silent_are([], [week(0)])
    recall_home.last_orders_are([week(0)], {})
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    assert recall_home.plan(week(0)) == plan
    assert write_customer_tags(recall_home.warehouse, recall_home.ledger, [week(0)]) == {week(0): 3}
    mirrored = recall_home.warehouse.read(
        "select customer_id, status, sink from customer_tags order by customer_id"
    )
    assert mirrored.rows() == [(name, "done", "local") for name in "abc"]
    assert recall_home.send(week(0)).sent == 0


def test_a_silence_that_another_week_has_listed_is_refused_and_nothing_is_sent(
    recall_home: RecallHome,
) -> None:
    """Both lists were made before either was sealed, as a range run makes them."""
    recall_home.silent_are(silent("a", [week(0), week(1)]))
    recall_home.make_list(week(0), week(1))
    recall_home.make_plan(week(0), week(1))
    recall_home.send(week(0))
    sink = NotingSink()
    with pytest.raises(RfmError, match="1 of its 1 customers were listed in the same silence"):
        recall_home.send(week(1), sink)
    assert sink.carried_out == []
    assert recall_home.ledger.sealed_weeks() == {week(0)}
    recall_home.make_list(week(1))
    recall_home.make_plan(week(1))
    assert recall_home.send(week(1), sink).done == 0


# --- the local file -------------------------------------------------------------------------------


def test_the_file_holds_the_whole_week_and_opens_in_excel(recall_home: RecallHome) -> None:
    recall_home.campaign(week(0))
    path = recall_home.shop.out_dir / "tags" / f"{week(0)}.csv"
    assert path == tags_file(recall_home.shop, week(0))
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert csv_lines(recall_home, week(0)) == [
        "customer_id,action,tag,churn_class,reason",
        f"a,add,{TAGS['A']},A,listed",
        f"b,add,{TAGS['B']},B,listed",
        f"c,add,{TAGS['C']},C,listed",
    ]


def test_only_its_owner_may_read_the_file(recall_home: RecallHome) -> None:
    recall_home.campaign(week(0))
    [path] = (recall_home.shop.out_dir / "tags").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_doing_it_again_writes_the_same_bytes(recall_home: RecallHome) -> None:
    recall_home.campaign(week(0))
    path = recall_home.shop.out_dir / "tags" / f"{week(0)}.csv"
    before = path.read_bytes()
    report = recall_home.send(week(0))
    assert (report.sent, report.done) == (0, 3)
    assert path.read_bytes() == before


def test_a_lost_file_is_written_whole_though_everything_is_done(recall_home: RecallHome) -> None:
    recall_home.campaign(week(0))
    path = recall_home.shop.out_dir / "tags" / f"{week(0)}.csv"
    before = path.read_bytes()
    path.unlink()
    recall_home.send(week(0))
    assert path.read_bytes() == before


def test_a_reader_of_the_old_file_keeps_the_old_file(recall_home: RecallHome) -> None:
    """It is replaced in one step, not written over."""
    folder = recall_home.shop.out_dir / "tags"
    folder.mkdir(parents=True)
    path = folder / f"{week(0)}.csv"
    path.write_text("an older file\n")
    path.chmod(0o644)
    with path.open() as reader:
        recall_home.campaign(week(0))
        assert reader.read() == "an older file\n"
    assert len(csv_lines(recall_home, week(0))) == 4
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in folder.iterdir()] == [path.name]


def test_a_week_with_nothing_to_do_has_a_file_that_says_so(recall_home: RecallHome) -> None:
    recall_home.silent_are([], [week(0)])
    recall_home.campaign(week(0))
    assert csv_lines(recall_home, week(0)) == ["customer_id,action,tag,churn_class,reason"]


def test_a_file_that_cannot_be_written_leaves_everything_pending(recall_home: RecallHome) -> None:
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))
    recall_home.shop.out_dir.mkdir()
    (recall_home.shop.out_dir / "tags").write_text("no folder")
    with pytest.raises(OSError, match="tags"):
        recall_home.send(week(0))
    assert set(statuses(recall_home, week(0)).values()) == {"pending"}
    (recall_home.shop.out_dir / "tags").unlink()
    assert recall_home.send(week(0)).sent == 3


# --- the hold-out, over several campaigns ---------------------------------------------------------

CAMPAIGNS = [week(0), week(10), week(20)]


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[Churner], dict[date, dict[str, datetime]]]:
    """Customers who fall silent now and then, and their last orders at each campaign."""
    churners = []
    last_orders: dict[date, dict[str, datetime]] = {day: {} for day in CAMPAIGNS}
    for name in [f"c{number}" for number in range(draw(st.integers(2, 9)))]:
        silent_since = LONG_AGO
        for day in CAMPAIGNS:
            if draw(st.booleans()):
                silent_since += timedelta(days=10)
            last_orders[day][name] = silent_since
            if draw(st.sampled_from([True, True, False])):
                churners.append(
                    Churner(day, name, silent_since=silent_since, churn_class=draw(st.sampled_from("AB")))
                )
    return churners, last_orders


@settings(max_examples=examples(6), suppress_health_check=[HealthCheck.too_slow])
@given(lives(), st.sampled_from(["0.1", "0.5", "0.9"]), st.sampled_from([2, 100]))
def test_nobody_of_the_hold_out_is_ever_tagged_in_their_campaign(
    life: tuple[list[Churner], dict[date, dict[str, datetime]]], share: str, capacity: int
) -> None:
    churners, last_orders = life
    with tempfile.TemporaryDirectory() as folder:
        recall_home = make_recall_home(Path(folder), holdout_share=share, weekly_capacity=capacity)
        recall_home.silent_are(churners, CAMPAIGNS)
        tagged: set[str] = set()
        for day in CAMPAIGNS:
            recall_home.last_orders_are([day], last_orders[day])
            recall_home.campaign(day)
            arms = recall_home.arms(day)
            holdout = {name for name, arm in arms.items() if arm == "holdout"}
            changes = [
                recall_home.plan(day),
                set(
                    recall_home.ledger.tag_actions([day])
                    .select("customer_id", "action", "reason")
                    .iter_rows()
                ),
                {(f[0], f[1], f[4]) for f in (line.split(",") for line in csv_lines(recall_home, day)[1:])},
            ]
            assert changes[0] == changes[1] == changes[2]
            added = {name for name, action, _ in changes[0] if action == "add"}
            removed = {name for name, action, _ in changes[0] if action == "remove"}
            assert added == {name for name, arm in arms.items() if arm == "recall"}
            assert not added & holdout
            # a tag comes off a hold-out customer only if an earlier campaign had put it on
            assert removed <= tagged
            tagged |= added


def test_the_local_sink_never_forgets_what_is_done_already(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    sink = LocalSink(shop)
    columns = ("customer_id", "action", "tag", "churn_class", "reason")
    rows = [("a", "add", "T", "A", "listed"), ("b", "remove", "T", "A", "returned")]
    everything = pl.DataFrame(rows, schema=columns, orient="row")
    outcomes = list(sink.apply(week(0), everything.filter(pl.col("customer_id") == "b"), everything))
    assert outcomes == [("b", "T", "done", None)]
    path = tags_file(shop, week(0))
    assert path is not None
    assert len(path.read_text("utf-8").splitlines()) == 3

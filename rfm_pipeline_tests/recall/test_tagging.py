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
from rfm_pipeline.recall.sinks import LocalSink, tags_file
from rfm_pipeline.recall.tagging import tags_on, write_customer_tags
from rfm_pipeline_tests.helpers import make_shop
from rfm_pipeline_tests.recall.desk import (
    LONG_AGO,
    Churner,
    Desk,
    NotingSink,
    make_desk,
    reach_of,
    silent,
    week,
)

TAGS = {"A": "静默召回-A类爆款客", "B": "静默召回-B类特惠客", "C": "静默召回-C类待唤醒"}
EIGHT_WEEKS = [week(number) for number in range(8)]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = make_desk(tmp_path_factory.mktemp("scene"))
    desk.silent_are([*silent("a", churn_class="A"), *silent("b", churn_class="B"), *silent("c")], EIGHT_WEEKS)
    desk.last_orders_are(EIGHT_WEEKS, dict.fromkeys("abc", LONG_AGO))
    return desk


@pytest.fixture
def desk(scene: Desk, tmp_path: Path) -> Desk:
    """Three customers who fell silent in the first week, and nobody since."""
    return scene.copy_to(tmp_path)


def statuses(desk: Desk, day: date) -> dict[str, str]:
    rows = desk.ledger.tag_actions([day]).select("customer_id", "status").iter_rows()
    return dict(rows)


def csv_lines(desk: Desk, day: date) -> list[str]:
    return (desk.shop.out_dir / "tags" / f"{day}.csv").read_text("utf-8-sig").splitlines()


# --- what is planned ------------------------------------------------------------------------------


def test_everybody_on_the_list_gets_the_tag_of_their_class(desk: Desk) -> None:
    desk.make_list(week(0))
    assert desk.make_plan(week(0)) == {week(0): 3}
    plan = desk.warehouse.read("select customer_id, tag, action, reason from tag_plan order by customer_id")
    assert plan.rows() == [(name, TAGS[name.upper()], "add", "listed") for name in "abc"]


def test_the_hold_out_is_not_planned(tmp_path: Path) -> None:
    desk = make_desk(tmp_path, holdout_share="0.5")
    desk.silent_are([*silent("a"), *silent("b"), *silent("c"), *silent("d")])
    desk.last_orders_are([week(0)], {})
    desk.campaign(week(0))
    arms = desk.arms(week(0))
    assert sorted(arms.values()) == ["holdout", "holdout", "recall", "recall"]
    assert {name for name, _, _ in desk.plan(week(0))} == {
        name for name, arm in arms.items() if arm == "recall"
    }


def test_who_opted_out_of_wecom_is_listed_but_not_tagged(desk: Desk) -> None:
    desk.reach = reach_of([("a", "wecom"), ("b", "sms")])
    desk.make_list(week(0))
    desk.make_plan(week(0))
    assert desk.names(week(0)) == ["a", "b", "c"]
    assert {name for name, _, _ in desk.plan(week(0))} == {"b", "c"}


def test_who_has_no_known_wecom_contact_gets_no_words_there_but_is_left_for_the_sink_to_find(
    desk: Desk,
) -> None:
    reach = reach_of(reachable=["a", "b", "c"])
    no_address = pl.DataFrame({"customer_id": ["a"], "channel": ["wecom"]})
    desk.reach = type(reach)(no_address, reach.opted_out, reach.reachable, 0, 0)
    desk.make_list(week(0))
    desk.make_plan(week(0))
    assert desk.listed(week(0))[0]["wecom_text"] is None
    assert {name for name, _, _ in desk.plan(week(0))} == {"a", "b", "c"}


def test_who_said_no_after_the_list_was_sealed_is_left_out_of_what_is_still_open(desk: Desk) -> None:
    with pytest.raises(ConnectionError):
        desk.campaign(week(0), NotingSink(breaks_after=0))
    desk.reach = reach_of([("a", "wecom")])
    report = desk.send(week(0))
    assert (report.done, report.failed) == (2, 1)
    written = (desk.shop.out_dir / "tags" / f"{week(0)}.csv").read_text("utf-8-sig")
    assert [line.split(",")[0] for line in written.splitlines()[1:]] == ["b", "c"]
    # and it stays so
    assert desk.send(week(0)).done == 2


def test_a_tag_whose_outcome_was_never_learnt_counts_as_on(desk: Desk) -> None:
    desk.make_list(week(0))
    desk.make_plan(week(0))
    plan = desk.warehouse.read("select * from tag_plan")
    listed = desk.warehouse.read("select * from recall_list")
    assert desk.ledger.seal(week(0), ledger_rows(listed), plan, "local")
    assert sorted(tags_on(desk.ledger)["customer_id"]) == ["a", "b", "c"]


# --- when a tag comes off -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("campaign_days", "weeks_later", "removed"),
    [(30, 4, False), (30, 5, True), (28, 4, True), (29, 4, False)],
)
def test_a_tag_comes_off_when_the_campaign_is_over(
    tmp_path: Path, campaign_days: int, weeks_later: int, removed: bool
) -> None:
    """Counted from the list's as_of to the plan's: four weeks are 28 days."""
    desk = make_desk(tmp_path, campaign_days=campaign_days)
    day = week(weeks_later)
    desk.silent_are(silent("a", [week(0), day]))
    desk.last_orders_are([week(0), day], {"a": LONG_AGO})
    desk.campaign(week(0))
    desk.campaign(day)
    assert desk.plan(day) == ({("a", "remove", "campaign over")} if removed else set())


@pytest.mark.parametrize(("seconds", "removed"), [(0, False), (1, True)])
def test_a_tag_comes_off_when_the_customer_ordered_again(desk: Desk, seconds: int, removed: bool) -> None:
    desk.campaign(week(0))
    desk.last_orders_are([week(1)], {"a": LONG_AGO + timedelta(seconds=seconds), "b": LONG_AGO})
    desk.campaign(week(1))
    assert desk.plan(week(1)) == ({("a", "remove", "returned")} if removed else set())


def test_a_tag_comes_off_when_the_customer_opts_out_of_wecom(desk: Desk) -> None:
    desk.campaign(week(0))
    desk.reach = reach_of([("a", "wecom"), ("b", "sms"), ("b", "email"), ("stranger", "wecom")])
    desk.campaign(week(1))
    assert desk.plan(week(1)) == {("a", "remove", "suppressed")}


def test_a_tag_is_taken_off_once(desk: Desk) -> None:
    desk.campaign(week(0))
    counts = [desk.make_plan(day)[day] for day in (week(4), week(5), week(6))]
    assert counts == [0, 3, 3]
    desk.campaign(week(5))
    assert desk.make_plan(week(6)) == {week(6): 0}
    assert tags_on(desk.ledger).is_empty()


def test_a_tag_that_could_not_be_taken_off_is_planned_again(desk: Desk) -> None:
    desk.campaign(week(0))
    desk.make_list(week(5))
    desk.make_plan(week(5))
    with pytest.raises(ConnectionError):
        desk.send(week(5), NotingSink(breaks_after=1))
    desk.make_list(week(6))
    desk.make_plan(week(6))
    assert desk.plan(week(6)) == {("b", "remove", "campaign over"), ("c", "remove", "campaign over")}


def test_a_tag_is_taken_off_unless_it_is_known_that_it_was_never_put_on(desk: Desk) -> None:
    desk.make_list(week(0))
    desk.make_plan(week(0))
    with pytest.raises(ConnectionError):
        desk.send(week(0), NotingSink(breaks_after=1))
    desk.ledger.record(week(0), [("b", TAGS["B"], "failed", "refused")])
    desk.make_list(week(5))
    desk.make_plan(week(5))
    assert {name for name, _, _ in desk.plan(week(5))} == {"a", "c"}


def test_a_tag_left_on_from_an_earlier_silence_is_the_new_lists_from_then_on(tmp_path: Path) -> None:
    """The shop did not run for months: listed, back again, silent again, and the tag still on."""
    desk = make_desk(tmp_path)
    again = LONG_AGO + timedelta(days=30)
    days = [week(20), week(21), week(24), week(25)]
    desk.silent_are([*silent("a"), *silent("a", days, silent_since=again)])
    desk.last_orders_are(days, {"a": again})
    desk.last_orders_are([week(0)], {"a": LONG_AGO})
    for day in (week(0), *days):
        desk.campaign(day)
    assert desk.names(week(20)) == ["a"]
    assert desk.plan(week(20)) == {("a", "add", "listed")}
    assert desk.plan(week(21)) == set()
    assert desk.plan(week(24)) == set()
    assert desk.plan(week(25)) == {("a", "remove", "campaign over")}


def test_another_class_in_another_silence_changes_the_tag(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    again = LONG_AGO + timedelta(days=30)
    desk.silent_are(
        [*silent("a", churn_class="A"), Churner(week(20), "a", silent_since=again, churn_class="B")]
    )
    desk.last_orders_are([week(0)], {"a": LONG_AGO})
    desk.last_orders_are([week(20)], {"a": again})
    desk.campaign(week(0))
    desk.campaign(week(20))
    assert tags_on(desk.ledger)["tag"].to_list() == [TAGS["B"]]


# --- carrying it out ------------------------------------------------------------------------------


def test_list_and_plan_are_sealed_before_the_first_call(desk: Desk) -> None:
    desk.make_list(week(0))
    desk.make_plan(week(0))
    with pytest.raises(ConnectionError):
        desk.send(week(0), NotingSink(breaks_after=0))
    assert desk.ledger.sealed_weeks() == {week(0)}
    assert desk.ledger.assignments()["customer_id"].to_list() == ["a", "b", "c"]
    assert statuses(desk, week(0)) == {"a": "pending", "b": "pending", "c": "pending"}


def test_a_sink_that_breaks_half_way_is_finished_exactly_once(desk: Desk) -> None:
    desk.make_list(week(0))
    desk.make_plan(week(0))
    broken, mended = NotingSink(breaks_after=2), NotingSink()
    with pytest.raises(ConnectionError):
        desk.send(week(0), broken)
    assert statuses(desk, week(0)) == {"a": "done", "b": "done", "c": "pending"}
    report = desk.send(week(0), mended)
    assert (report.sent, report.done, report.failed, report.newly_sealed) == (1, 3, 0, False)
    assert broken.carried_out + mended.carried_out == [(name, TAGS[name.upper()]) for name in "abc"]
    assert desk.send(week(0), NotingSink()).sent == 0


def test_a_plan_larger_than_one_batch_is_finished_exactly_once(tmp_path: Path) -> None:
    desk = make_desk(tmp_path, weekly_capacity=2000)
    desk.silent_are([Churner(week(0), f"c{number}") for number in range(1103)])
    desk.last_orders_are([week(0)], {})
    desk.make_list(week(0))
    desk.make_plan(week(0))
    sinks = [NotingSink(breaks_after=750), NotingSink(breaks_after=250), NotingSink()]
    for sink in sinks[:2]:
        with pytest.raises(ConnectionError):
            desk.send(week(0), sink)
    assert desk.send(week(0), sinks[2]).sent == 103
    carried_out = [change for sink in sinks for change in sink.carried_out]
    assert len(carried_out) == len(set(carried_out)) == 1103


def test_a_sealed_plan_is_finished_as_it_was_whatever_the_tables_say(desk: Desk) -> None:
    desk.make_list(week(0))
    desk.make_plan(week(0))
    with pytest.raises(ConnectionError):
        desk.send(week(0), NotingSink(breaks_after=1))
    desk.silent_are(silent("x"))
    desk.make_list(week(0))
    assert desk.make_plan(week(0)) == {week(0): 3}
    sink = NotingSink()
    desk.send(week(0), sink)
    assert [name for name, _ in sink.carried_out] == ["b", "c"]


def test_a_forgotten_customers_open_change_is_handed_to_no_sink(desk: Desk) -> None:
    desk.make_list(week(0))
    desk.make_plan(week(0))
    sink = NotingSink(breaks_after=0)
    with pytest.raises(ConnectionError):
        desk.send(week(0), sink)
    desk.ledger.forget("b")
    whole = NotingSink()
    report = desk.send(week(0), whole)
    assert {name for name, _ in whole.carried_out} == {"a", "c"}
    assert (report.sent, report.done, report.failed) == (2, 2, 1)
    desk.send(week(0))
    assert [line.split(",")[0] for line in csv_lines(desk, week(0))] == ["customer_id", "a", "c"]


def test_a_forgotten_customers_tag_is_not_planned_to_come_off(desk: Desk) -> None:
    """Nobody knows any more whose it is."""
    desk.campaign(week(0))
    desk.ledger.forget("b")
    assert set(tags_on(desk.ledger)["customer_id"]) == {"a", "c"}
    over = week(0) + timedelta(weeks=7)
    desk.make_list(over)
    desk.make_plan(over)
    assert desk.plan(over) == {("a", "remove", "campaign over"), ("c", "remove", "campaign over")}


def test_a_lost_warehouse_gets_plan_and_outcomes_back_from_the_ledger(desk: Desk) -> None:
    desk.campaign(week(0))
    plan = desk.plan(week(0))
    desk.shop.warehouse_path.unlink()
    desk.silent_are([], [week(0)])
    desk.last_orders_are([week(0)], {})
    desk.make_list(week(0))
    desk.make_plan(week(0))
    assert desk.plan(week(0)) == plan
    assert write_customer_tags(desk.warehouse, desk.ledger, [week(0)]) == {week(0): 3}
    mirrored = desk.warehouse.read("select customer_id, status, sink from customer_tags order by customer_id")
    assert mirrored.rows() == [(name, "done", "local") for name in "abc"]
    assert desk.send(week(0)).sent == 0


def test_a_silence_that_another_week_has_listed_is_refused_and_nothing_is_sent(desk: Desk) -> None:
    """Both lists were made before either was sealed, as a range run makes them."""
    desk.silent_are(silent("a", [week(0), week(1)]))
    desk.make_list(week(0), week(1))
    desk.make_plan(week(0), week(1))
    desk.send(week(0))
    sink = NotingSink()
    with pytest.raises(RfmError, match="1 of its 1 customers were listed in the same silence"):
        desk.send(week(1), sink)
    assert sink.carried_out == []
    assert desk.ledger.sealed_weeks() == {week(0)}
    desk.make_list(week(1))
    desk.make_plan(week(1))
    assert desk.send(week(1), sink).done == 0


# --- the local file -------------------------------------------------------------------------------


def test_the_file_holds_the_whole_week_and_opens_in_excel(desk: Desk) -> None:
    desk.campaign(week(0))
    path = desk.shop.out_dir / "tags" / f"{week(0)}.csv"
    assert path == tags_file(desk.shop, week(0))
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert csv_lines(desk, week(0)) == [
        "customer_id,action,tag,churn_class,reason",
        f"a,add,{TAGS['A']},A,listed",
        f"b,add,{TAGS['B']},B,listed",
        f"c,add,{TAGS['C']},C,listed",
    ]


def test_only_its_owner_may_read_the_file(desk: Desk) -> None:
    desk.campaign(week(0))
    [path] = (desk.shop.out_dir / "tags").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_doing_it_again_writes_the_same_bytes(desk: Desk) -> None:
    desk.campaign(week(0))
    path = desk.shop.out_dir / "tags" / f"{week(0)}.csv"
    before = path.read_bytes()
    report = desk.send(week(0))
    assert (report.sent, report.done) == (0, 3)
    assert path.read_bytes() == before


def test_a_lost_file_is_written_whole_though_everything_is_done(desk: Desk) -> None:
    desk.campaign(week(0))
    path = desk.shop.out_dir / "tags" / f"{week(0)}.csv"
    before = path.read_bytes()
    path.unlink()
    desk.send(week(0))
    assert path.read_bytes() == before


def test_a_reader_of_the_old_file_keeps_the_old_file(desk: Desk) -> None:
    """It is replaced in one step, not written over."""
    folder = desk.shop.out_dir / "tags"
    folder.mkdir(parents=True)
    path = folder / f"{week(0)}.csv"
    path.write_text("an older file\n")
    path.chmod(0o644)
    with path.open() as reader:
        desk.campaign(week(0))
        assert reader.read() == "an older file\n"
    assert len(csv_lines(desk, week(0))) == 4
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in folder.iterdir()] == [path.name]


def test_a_week_with_nothing_to_do_has_a_file_that_says_so(desk: Desk) -> None:
    desk.silent_are([], [week(0)])
    desk.campaign(week(0))
    assert csv_lines(desk, week(0)) == ["customer_id,action,tag,churn_class,reason"]


def test_a_file_that_cannot_be_written_leaves_everything_pending(desk: Desk) -> None:
    desk.make_list(week(0))
    desk.make_plan(week(0))
    desk.shop.out_dir.mkdir()
    (desk.shop.out_dir / "tags").write_text("no folder")
    with pytest.raises(OSError, match="tags"):
        desk.send(week(0))
    assert set(statuses(desk, week(0)).values()) == {"pending"}
    (desk.shop.out_dir / "tags").unlink()
    assert desk.send(week(0)).sent == 3


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


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(lives(), st.sampled_from(["0.1", "0.5", "0.9"]), st.sampled_from([2, 100]))
def test_nobody_of_the_hold_out_is_ever_tagged_in_their_campaign(
    life: tuple[list[Churner], dict[date, dict[str, datetime]]], share: str, capacity: int
) -> None:
    churners, last_orders = life
    with tempfile.TemporaryDirectory() as folder:
        desk = make_desk(Path(folder), holdout_share=share, weekly_capacity=capacity)
        desk.silent_are(churners, CAMPAIGNS)
        tagged: set[str] = set()
        for day in CAMPAIGNS:
            desk.last_orders_are([day], last_orders[day])
            desk.campaign(day)
            arms = desk.arms(day)
            holdout = {name for name, arm in arms.items() if arm == "holdout"}
            told = [
                desk.plan(day),
                set(desk.ledger.tag_actions([day]).select("customer_id", "action", "reason").iter_rows()),
                {(f[0], f[1], f[4]) for f in (line.split(",") for line in csv_lines(desk, day)[1:])},
            ]
            assert told[0] == told[1] == told[2]
            added = {name for name, action, _ in told[0] if action == "add"}
            removed = {name for name, action, _ in told[0] if action == "remove"}
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

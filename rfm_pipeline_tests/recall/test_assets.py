"""The whole week as Dagster runs it: what sends, what refuses to, and that doing it again changes nothing."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from rfm_pipeline.contacts.reach import Reach, read_reach
from rfm_pipeline.definitions import build_defs
from rfm_pipeline.demo.sample_shop import make_sample
from rfm_pipeline.errors import ShopFileError
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.recall.listing import ledger_rows
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import newest_closed_week, shop_now
from rfm_pipeline_tests.helpers import small_warehouse, snapshots, table_rows
from rfm_pipeline_tests.recall.recall_home import NO_ACTIONS
from rfm_pipeline_tests.shared_homes import SharedHomes, copy_home

WEEK = timedelta(days=7)
RECALL = ("recall_list", "tag_plan", "customer_tags")
DIAGNOSIS = ("customer_rfm", "customer_segments", "silent_churners", "new_silent_churners")


@dataclass(frozen=True)
class Home:
    """A sample shop's home and how to run jobs on it."""

    path: Path

    @property
    def shop(self) -> Shop:
        return load_shop(self.path)

    @property
    def newest(self) -> date:
        return newest_closed_week(self.shop, shop_now(self.shop))

    @property
    def warehouse(self) -> Warehouse:
        return small_warehouse(self.shop)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.shop.ledger_url)

    def run(
        self,
        *weeks: date,
        only: Sequence[str] | None = None,
        without: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Runs ``weekly_job``, or some of its assets, for a week or a range of weeks."""
        job = build_defs(self.path).resolve_job_def("weekly_job")
        keys = [
            key
            for key in job.asset_layer.executable_asset_keys
            if (only is None or key.to_user_string() in only) and key.to_user_string() not in without
        ]
        ends = {"start": weeks[0], "end": weeks[-1]}
        ranges = {f"dagster/asset_partition_range_{end}": str(day) for end, day in ends.items()}
        return job.execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            asset_selection=keys,
            partition_key=str(weeks[0]) if len(weeks) == 1 else None,
            tags=(ranges if len(weeks) > 1 else {}) | dict(tags or {}),
            raise_on_error=False,
        )

    def set(self, setting: str, value: object) -> None:
        """Changes one line of ``shop.yaml``."""
        path = self.path / "shop.yaml"
        text, times = re.subn(rf"(?m)^(  {setting}:) \S+", rf"\1 {value}", path.read_text("utf-8"))
        assert times == 1
        path.write_text(text, "utf-8")

    def everything(self) -> dict[str, Any]:
        """All rows of the warehouse, the ledger, and the tag files.

        Not what was noted of the exports' files: one that is too fresh is noted by a later run.
        """
        query = (
            "select table_name from information_schema.tables "
            "where table_name <> 'landing_states' order by table_name"
        )
        tables = self.warehouse.read(query)["table_name"].to_list()
        return {
            **{name: table_rows(self.warehouse, name) for name in tables},
            "ledger.assignments": self.ledger.assignments().rows(),
            "ledger.tag_actions": self.ledger.tag_actions().rows(),
            **{path.name: path.read_bytes() for path in sorted(self.shop.out_dir.rglob("*.csv"))},
        }

    def nothing_was_sent(self) -> bool:
        return (
            not self.ledger.sealed_weeks()
            and self.ledger.tag_actions().is_empty()
            and not (self.shop.out_dir / "tags").exists()
        )


def metadata_of(result: dg.ExecuteInProcessResult, asset: str = "customer_tags") -> dict[str, Any]:
    """What an asset reported of its run as a whole."""
    assert result.success
    for event in result.asset_materializations_for_node(asset):
        if "newest_week" in event.metadata:
            return {name: entry.value for name, entry in event.metadata.items()}
    raise AssertionError(f"{asset} has no metadata")


def failure(result: dg.ExecuteInProcessResult, asset: str) -> str:
    """The words of the failure of the only asset that failed."""
    assert not result.success
    [failed] = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_key == asset
    found = failed.step_failure_data.user_failure_data
    assert found is not None, "no dg.Failure"
    assert found.description is not None
    return found.description


def make_diagnosed(path: Path) -> None:
    home = Home(path)
    make_sample(path, customers=300, weeks=40)
    assert home.run(
        home.shop.shop.first_week, home.newest - WEEK, without=(*RECALL, "recall_outcomes", "weekly_report")
    ).success


@pytest.fixture(scope="session")
def diagnosed(shared_homes: SharedHomes) -> Home:
    """A sample shop with all weeks but the newest diagnosed; for reading only."""
    return Home(shared_homes.made("diagnosed_sample", make_diagnosed))


@pytest.fixture(scope="session")
def planned(diagnosed: Home, shared_homes: SharedHomes) -> Home:
    """The same with the newest week's list and plan made, and nothing sent; for reading only."""

    def make_planned(path: Path) -> None:
        home = Home(copy_home(diagnosed.path, path))
        assert home.run(home.newest, without=("customer_tags", "recall_outcomes")).success

    return Home(shared_homes.made("planned_sample", make_planned))


@pytest.fixture
def home(planned: Home, tmp_path: Path) -> Home:
    """A copy of the planned home to send from."""
    shutil.copytree(planned.path, tmp_path / "home")
    return Home(tmp_path / "home")


def send(home: Home, *weeks: date, tags: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Runs the asset that touches the world, and nothing else."""
    return metadata_of(home.run(*(weeks or (home.newest,)), only=["customer_tags"], tags=tags))


# --- the week as it should be ---------------------------------------------------------------------


def test_the_newest_week_is_sent_and_a_second_run_sends_and_changes_nothing(
    diagnosed: Home, tmp_path: Path
) -> None:
    shutil.copytree(diagnosed.path, tmp_path / "home")
    home = Home(tmp_path / "home")
    first = metadata_of(home.run(home.newest))
    assert first["sent"] == first["done"] > 10
    assert (first["failed"], first["newly_sealed"]) == (0, True)
    before = home.everything()
    assert f"{home.newest}.csv" in before

    second = metadata_of(home.run(home.newest))
    assert (second["sent"], second["done"], second["newly_sealed"]) == (0, first["done"], False)
    after = home.everything()
    assert after.keys() == before.keys()
    assert [name for name in before if after[name] != before[name]] == []


def test_a_plan_made_by_one_run_is_sent_by_another(home: Home) -> None:
    assert home.nothing_was_sent()
    sent = send(home)
    assert sent["sent"] > 10
    assert home.ledger.sealed_weeks() == {home.newest}
    assert send(home)["sent"] == 0


def test_nobody_is_tagged_twice_when_the_ledger_is_all_that_is_left(home: Home) -> None:
    send(home)
    before = home.everything()
    home.shop.warehouse_path.unlink()
    assert home.run(home.shop.shop.first_week, home.newest, without=(*RECALL, "recall_outcomes")).success
    assert metadata_of(home.run(home.newest, only=RECALL))["sent"] == 0
    after = home.everything()
    for name in ("recall_list", "tag_plan", "customer_tags", "ledger.assignments", "ledger.tag_actions"):
        assert after[name] == before[name]


# --- what the team wrote down ---------------------------------------------------------------------


def outcomes(home: Home, *rows: str) -> None:
    home.shop.outreach_dir.mkdir(exist_ok=True)
    text = "".join(f"{row}\n" for row in ("week,customer_id,channel,outcome", *rows))
    (home.shop.outreach_dir / "calls.csv").write_text(text, "utf-8")


def test_what_the_team_wrote_down_reaches_log_plan_and_review_as_counts(home: Home) -> None:
    sent = send(home)["sent"]
    sealed = home.ledger.assignments([home.newest])
    reached, in_vain, refused = sealed.filter(arm="recall")["customer_id"].head(3).to_list()
    outcomes(
        home,
        f"{home.newest},{reached},电话,已触达",
        f"{home.newest},{in_vain},电话,未接通",
        f"{home.newest},{refused},电话,拒绝联系",
        f"{home.newest},nobody,电话,已触达",
    )
    result = home.run(home.newest)
    assert result.success
    [event, _] = result.asset_materializations_for_node("outreach_log")
    counts = {name: entry.value for name, entry in event.metadata.items()}
    counts.pop("inputs_version")
    path = home.shop.out_dir / "outreach" / "to_look_at.csv"
    assert counts == {
        "dagster/row_count": 3,
        "files": 1,
        "rows_read": 4,
        "rows_taken": 3,
        "new_refusals": 1,
        "customers_reached_phone": 1,
        "customers_not_reached": 1,
        "customers_refused": 1,
        "to_look_at: not_on_the_list": 1,
        "file_to_look_at": str(path),
    }
    events = " ".join(str(event.event_specific_data) for event in result.all_events)
    assert not [name for name in (reached, in_vain, refused) if name in events]
    arms = home.warehouse.read(
        "select sum(reached)::bigint as n from recall_outcomes where week = $week and arm = 'recall'",
        {"week": home.newest},
    )
    # all were tagged, of one the log knows better
    assert arms["n"][0] == sent - 1
    no = read_reach(home.shop).unreachable["customer_id"].to_list()
    assert refused in no


def test_a_contact_with_the_holdout_stops_the_sending(home: Home) -> None:
    send(home)
    held_out = home.ledger.assignments([home.newest]).filter(arm="holdout")["customer_id"][0]
    outcomes(home, f"{home.newest},{held_out},电话,已触达")
    result = home.run(home.newest)
    [failed] = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_key == "outreach_log"
    home.set("holdout_contacts_known", "1")
    assert home.run(home.newest).success


def test_a_contact_with_the_holdout_is_read_from_its_stored_verdict(home: Home) -> None:
    with home.warehouse.transaction() as session:
        session.execute(
            "update data_checks set passed = false "
            "where table_name = 'outreach_log' and check_name = 'holdout_is_left_alone'"
        )
    assert send(home)["refused"] == "data checks failed: outreach_log.holdout_is_left_alone"
    assert home.nothing_was_sent()


def test_an_unreadable_file_of_outcomes_stops_the_recall_and_not_the_diagnosis(home: Home) -> None:
    home.shop.outreach_dir.mkdir()
    (home.shop.outreach_dir / "calls.xlsx").write_bytes(b"PK")
    result = home.run(home.newest)
    assert "calls.xlsx can't be read" in failure(result, "recall_list")
    assert result.asset_materializations_for_node("outreach_log")
    assert result.asset_materializations_for_node("new_silent_churners")
    assert home.nothing_was_sent()


# --- what refuses ---------------------------------------------------------------------------------


def test_a_backfill_sends_nothing_and_says_why(home: Home) -> None:
    result = home.run(home.newest, only=RECALL, tags={"dagster/backfill": "abcdefgh"})
    refused = metadata_of(result)
    assert refused["sent"] == 0
    assert refused["refused"] == "this run belongs to a backfill; backfills never send"
    assert len(table_rows(home.warehouse, "recall_list")) > 10
    assert home.nothing_was_sent()


def test_a_range_of_weeks_sends_nothing(home: Home) -> None:
    refused = metadata_of(home.run(home.newest - WEEK, home.newest, only=RECALL))
    assert refused["sent"] == 0
    assert "only a single week is sent" in refused["refused"]
    assert home.nothing_was_sent()


def test_a_past_week_is_sent_only_if_the_shop_allows_it(home: Home) -> None:
    past = home.newest - WEEK
    assert metadata_of(home.run(past, only=(*DIAGNOSIS, *RECALL)))["sent"] == 0
    assert home.nothing_was_sent()
    home.set("allow_past_weeks", "true")
    assert send(home, past)["sent"] > 0
    assert home.ledger.sealed_weeks() == {past}


def test_a_blocking_check_that_did_not_pass_is_read_from_its_stored_verdict(home: Home) -> None:
    with home.warehouse.transaction() as session:
        session.execute(
            "update data_checks set passed = false "
            "where table_name = 'raw_orders' and check_name = 'nothing_lost'"
        )
    assert send(home)["refused"] == "data checks failed: raw_orders.nothing_lost"
    assert home.nothing_was_sent()


def test_a_blocking_check_of_another_week_does_not_count(home: Home) -> None:
    with home.warehouse.transaction() as session:
        session.execute("update data_checks set passed = false where week < $week", {"week": home.newest})
    assert send(home)["sent"] > 0


def test_a_check_that_blocks_nothing_does_not_stop_the_sending(home: Home) -> None:
    with home.warehouse.transaction() as session:
        session.execute("update data_checks set passed = false where not blocking")
    assert send(home)["sent"] > 0


def test_a_check_that_never_ran_counts_as_not_passed(home: Home) -> None:
    with home.warehouse.transaction() as session:
        session.execute(
            "delete from data_checks where table_name = 'tag_plan' and check_name = 'holdout_is_left_alone'"
        )
    reason = send(home)["refused"]
    assert reason == "data checks have no verdict for this week: tag_plan.holdout_is_left_alone"
    assert home.nothing_was_sent()


def test_a_plan_larger_than_the_shop_allows_is_refused_and_one_of_just_that_size_is_not(home: Home) -> None:
    planned = len({row["customer_id"] for row in table_rows(home.warehouse, "tag_plan")})
    home.set("max_changes", planned - 1)
    reason = send(home)["refused"]
    assert f"the plan changes {planned} customers" in reason
    assert home.nothing_was_sent()
    home.set("max_changes", planned)
    assert send(home)["sent"] == planned


def test_orders_that_changed_since_the_list_was_made_are_noticed(home: Home) -> None:
    with home.warehouse.transaction() as session:
        session.note_input_changes(f"select date '{home.newest}' as week")
    assert "changed since the list was made" in send(home)["refused"]
    assert home.nothing_was_sent()


def test_who_opted_out_since_the_list_was_made_stops_the_sending_until_it_is_made_again(home: Home) -> None:
    late = table_rows(home.warehouse, "tag_plan")[0]["customer_id"]
    (home.shop.suppression_dir / "late.csv").write_text(f"customer_id\n{late}\n", "utf-8")
    assert send(home)["refused"].startswith("1 listed customers opted out")
    assert home.nothing_was_sent()
    assert metadata_of(home.run(home.newest, only=RECALL))["sent"] > 0
    assert late not in home.ledger.assignments()["customer_id"].to_list()


def test_guard_and_sending_go_by_one_reading_of_the_opt_outs(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def counted(*arguments: Any) -> Reach:
        read.append(arguments)
        return read_reach(*arguments)

    monkeypatch.setattr("rfm_pipeline.recall.assets.read_reach", counted)
    assert send(home)["sent"] > 0
    assert len(read) == 1


def test_the_contacts_of_orders_find_who_opted_out(home: Home) -> None:
    """The asset takes them from the warehouse."""
    late = table_rows(home.warehouse, "tag_plan")[0]["customer_id"]
    with home.warehouse.transaction() as session:
        session.execute("delete from order_contacts where customer_id = $customer_id", {"customer_id": late})
        session.execute(
            "insert into order_contacts (customer_id, phone) values ($customer_id, '138 1111 2222')",
            {"customer_id": late},
        )
    (home.shop.suppression_dir / "late.csv").write_text("手机号\n+8613811112222\n", "utf-8")
    assert send(home)["refused"].startswith("1 listed customers opted out")
    assert home.nothing_was_sent()


def test_a_plan_that_is_older_than_its_list_is_refused(home: Home) -> None:
    home.set("weekly_capacity", 3)
    assert home.run(home.newest, only=["recall_list"]).success
    assert "the plan and the list differ" in send(home)["refused"]
    assert home.nothing_was_sent()
    assert metadata_of(home.run(home.newest, only=["tag_plan", "customer_tags"]))["sent"] <= 3


# --- what fails -----------------------------------------------------------------------------------


def test_opt_outs_that_cannot_be_read_stop_the_recall_and_leave_the_diagnosis(
    diagnosed: Home, tmp_path: Path
) -> None:
    shutil.copytree(diagnosed.path, tmp_path / "home")
    home = Home(tmp_path / "home")
    (home.shop.suppression_dir / "optouts.csv").write_bytes(b"customer_id\n\xff\xfe\n")
    result = home.run(home.newest)
    words = failure(result, "recall_list")
    assert "optouts.csv can't be read as a .csv file (UTF-8 or GBK" in words
    assert "nobody is recalled" in words
    events = result.get_asset_materialization_events()
    made = {event.asset_key.to_user_string() for event in events if event.asset_key is not None}
    assert made.isdisjoint({*RECALL, "recall_outcomes"})
    for table in DIAGNOSIS:
        assert snapshots(home.warehouse, table)[home.newest] > 0
    assert home.nothing_was_sent()


def test_opt_outs_that_break_after_the_list_was_made_stop_the_sending(home: Home) -> None:
    (home.shop.suppression_dir / "optouts.xlsx").write_bytes(b"PK")
    words = failure(home.run(home.newest, only=["customer_tags"]), "customer_tags")
    assert "optouts.xlsx can't be read" in words
    assert home.nothing_was_sent()


def test_a_silence_that_another_week_listed_meanwhile_fails_in_clear_words(home: Home) -> None:
    """The list of the newest week was made before an earlier week was sealed with the same customers."""
    listed = home.warehouse.read("select * from recall_list where week = $week", {"week": home.newest})
    first = listed.head(1)
    earlier = home.newest - 20 * WEEK
    moved = ledger_rows(first).with_columns(week=earlier)
    assert home.ledger.seal(earlier, moved, NO_ACTIONS, "test")
    words = failure(home.run(home.newest, only=["customer_tags"]), "customer_tags")
    assert f"1 of its {listed.height} customers were listed in the same silence" in words
    assert "materialize recall_list and tag_plan" in words
    assert first["customer_id"][0] not in words
    assert home.ledger.sealed_weeks() == {earlier}
    assert not (home.shop.out_dir / "tags").exists()


def test_a_template_that_cannot_be_used_is_told_before_anything_runs(home: Home) -> None:
    path = home.path / "shop.yaml"
    path.write_text(path.read_text("utf-8").replace("礼券{{ coupon }}", "礼券{{ cupon }}"), "utf-8")
    line = next(
        n for n, text in enumerate(path.read_text("utf-8").splitlines(), 1) if text == "      sms: >-"
    )
    expected = rf"line {line}: recall\.words\.A\.sms: unknown placeholder 'cupon'; did you mean 'coupon'\?"
    with pytest.raises(ShopFileError, match=expected):
        build_defs(home.path)


def test_words_that_break_a_rule_keep_the_list_from_being_sent(home: Home) -> None:
    path = home.path / "shop.yaml"
    text = path.read_text("utf-8")
    path.write_text(text.replace("期待您回家看看。拒收请回复R", "期待您回家看看。"), "utf-8")
    result = home.run(home.newest)
    [failed] = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_key == "recall_list"
    broken = [
        answer.check_name
        for answer in result.get_asset_check_evaluations()
        if not answer.passed and answer.severity == dg.AssetCheckSeverity.ERROR
    ]
    assert broken == ["words_may_be_sent"]
    assert home.nothing_was_sent()

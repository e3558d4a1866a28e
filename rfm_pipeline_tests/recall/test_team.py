"""What the team's group hears: the week once, failures once a cause and day, and never anything personal."""

import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from rfm_pipeline.definitions import build_defs
from rfm_pipeline.demo.wecom_server.control import WecomServer
from rfm_pipeline.demo.wecom_server.corporation import CORP_ID, ROBOT_KEY, SECRET, Contact
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.notifications import alerts, delivery
from rfm_pipeline.notifications.alerts import Alert, send_alerts
from rfm_pipeline.notifications.delivery import DeliveryStatus, Message
from rfm_pipeline.orchestration.failures import StepFailure
from rfm_pipeline.recall import weekly_summary
from rfm_pipeline.recall.resources import WecomAccess
from rfm_pipeline.recall.worklist import worklist_path, write_worklist
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.wecom.robot import MARKDOWN_BYTES, RobotSettings
from rfm_pipeline.weeks import newest_closed_week, shop_now
from rfm_pipeline_tests.helpers import make_shop, write_export
from rfm_pipeline_tests.recall.recall_home import LONG_AGO, Churner, RecallHome, recall_home_in
from rfm_pipeline_tests.recall.wecom_home import campaign, contacts_of, customers_are, mapped
from rfm_pipeline_tests.shared_homes import SharedHomes, copy_home
from rfm_pipeline_tests.ui.server import RFM, rfm, wait_until

SEND, UPLOAD = "webhook/send", "webhook/upload_media"
NAMES = [f"c{number}" for number in range(20)]


@pytest.fixture(autouse=True)
def access(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


SECRETS = {"RFM_WECOM_CORP_ID": CORP_ID, "RFM_WECOM_SECRET": SECRET, "RFM_WECOM_ROBOT_KEY": ROBOT_KEY}


def newest(shop: Shop) -> date:
    return newest_closed_week(shop, shop_now(shop))


def connected(home: Path, server: WecomServer, **sections: Any) -> RecallHome:
    recall = {"weekly_capacity": 12, "holdout_share": 0.25} | sections.pop("recall", {})
    wecom = {"enabled": True, "confirmed": True, "base_url": server.base_url, "timeout_seconds": 2}
    wecom |= sections.pop("wecom", {})
    return recall_home_in(make_shop(home, recall=recall, wecom=wecom, **sections))


@pytest.fixture(scope="session")
def tagged(tmp_path_factory: pytest.TempPathFactory, running_wecom: WecomServer) -> RecallHome:
    """The newest week is tagged and its work list made: 12 of 20 listed, 3 of them held out."""
    running_wecom.reset()
    made = connected(tmp_path_factory.mktemp("tagged") / "home", running_wecom)
    week = newest(made.shop)
    made.silent_are(
        [
            Churner(week, name, monetary=100 - number, churn_class="ABC"[number % 3])
            for number, name in enumerate(NAMES)
        ]
    )
    made.last_orders_are([week], dict.fromkeys(NAMES, LONG_AGO))
    customers_are(made, mapped(*NAMES))
    running_wecom.befriend(contacts_of(*NAMES[1:]))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NO_PROXY", "127.0.0.1")
        campaign(made, week)
    write_worklist(made.shop, made.ledger, made.reach, week)
    return made


@pytest.fixture
def recall_home(tagged: RecallHome, tmp_path: Path, wecom: WecomServer) -> RecallHome:
    """A copy of the tagged home, of which the group has heard nothing yet."""
    copy = tagged.copy_to(tmp_path / "home")
    copy.reach = tagged.reach
    return copy


def run(
    recall_home: RecallHome,
    *weeks: date,
    tags: Mapping[str, str] | None = None,
    instance: dg.DagsterInstance | None = None,
) -> dg.ExecuteInProcessResult:
    """Runs the asset as a run of the weekly job does."""
    asked = weeks or (newest(recall_home.shop),)
    ends = {"start": asked[0], "end": asked[-1]}
    ranges = {f"dagster/asset_partition_range_{end}": str(day) for end, day in ends.items()}
    return (
        build_defs(recall_home.shop.home)
        .resolve_job_def("weekly_job")
        .execute_in_process(
            instance=instance or dg.DagsterInstance.ephemeral(),
            asset_selection=[dg.AssetKey("team_message")],
            partition_key=str(asked[0]) if len(asked) == 1 else None,
            tags=(ranges if len(asked) > 1 else {}) | dict(tags or {}),
            raise_on_error=False,
        )
    )


def metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """What the asset reported."""
    assert result.success
    event = result.asset_materializations_for_node("team_message")[0]
    return {name: entry.value for name, entry in event.metadata.items()}


def failure(result: dg.ExecuteInProcessResult) -> str:
    [failed] = [event for event in result.all_events if event.is_step_failure]
    found = failed.step_failure_data.user_failure_data
    assert found is not None
    return str(found.description)


def outcome_is_known(result: dg.ExecuteInProcessResult) -> bool:
    [answer] = result.get_asset_check_evaluations()
    assert answer.severity == dg.AssetCheckSeverity.WARN or answer.passed
    return answer.passed


def kinds(server: WecomServer) -> list[str]:
    """What kinds of messages the group has, in order."""
    return [message["msgtype"] for message in server.state().messages]


def markdown(server: WecomServer) -> list[str]:
    return [message["content"] for message in server.state().messages if message["msgtype"] == "markdown"]


def rfm_announce(recall_home: RecallHome, *options: str) -> subprocess.CompletedProcess[str]:
    return rfm("recall", "announce", "--home", str(recall_home.shop.home), *options)


# --- the Monday message ---------------------------------------------------------------------------


def test_the_group_gets_the_message_and_the_work_list_once_whatever_is_run_again(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    first = metadata_of(run(recall_home))
    assert (first["sent"], first["message"], first["file"]) == (2, "sent", "sent")
    again = metadata_of(run(recall_home))
    assert (again["sent"], again["message"], again["file"]) == (0, "sent before", "sent before")
    assert kinds(wecom) == ["markdown", "file"]
    name, content = wecom.media(wecom.state().messages[1]["media_id"])
    path = worklist_path(recall_home.shop, newest(recall_home.shop))
    assert (name, content) == (path.name, path.read_bytes())
    assert len(wecom.calls(UPLOAD)) == 1


def test_the_message_says_what_the_week_brought(recall_home: RecallHome, wecom: WecomServer) -> None:
    run(recall_home)
    [words] = markdown(wecom)
    week = newest(recall_home.shop)
    arms = [row["arm"] for row in recall_home.listed(week)]
    assert f"名单周 **{week} 至" in words
    assert f'本周请联系 <font color="info">{arms.count("recall")}</font> 位客户' in words
    for name, offer in recall_home.shop.recall.offers.items():
        mine = [r for r in recall_home.listed(week) if r["churn_class"] == name and r["arm"] == "recall"]
        assert f"> {name}类" in words
        assert f"：**{len(mine)}** 位 · {offer}" in words
    assert f"另有 **{arms.count('holdout')}** 位客户留作对照" in words
    assert "还有 8 位在排队" in words
    statuses = recall_home.ledger.tag_actions([week])["status"].to_list()
    assert f"已打上 **{statuses.count('done')}** 个" in words
    unmatched = statuses.count("unmatched")
    assert ("找不到" in words) == (unmatched > 0)
    assert "http" not in words
    assert "](" not in words


def test_the_message_names_no_customer(recall_home: RecallHome, wecom: WecomServer) -> None:
    run(recall_home)
    [words] = markdown(wecom)
    for row in recall_home.listed(newest(recall_home.shop)):
        for value in (row["customer_id"], row["coupon_code"], row["sms"]):
            assert value is None or value not in words


def test_tags_taken_off_are_told_with_their_reasons(recall_home: RecallHome) -> None:
    week = newest(recall_home.shop)
    found = weekly_summary.read_weekly_summary(
        recall_home.shop, recall_home.warehouse, recall_home.ledger, recall_home.reach, week
    )
    words = weekly_summary.words(
        recall_home.shop,
        replace(
            found,
            removed={"returned": 18, "campaign over": 40, "suppressed": 1},
            failed=3,
            left_open=1,
            refused=2,
        ),
    )
    assert "已取下 **59** 个：活动到期 40，已回购 18，已退订 1" in words
    assert '<font color="warning">3</font> 个失败' in words
    assert '<font color="warning">1</font> 个还没做完' in words
    assert f'<font color="warning">2</font> 个被企业微信拒绝，明细见 out/tags/{week}_problems.csv' in words


def test_a_week_in_which_nobody_is_to_be_contacted_says_so(recall_home: RecallHome) -> None:
    found = weekly_summary.read_weekly_summary(
        recall_home.shop,
        recall_home.warehouse,
        recall_home.ledger,
        recall_home.reach,
        newest(recall_home.shop),
    )
    words = weekly_summary.words(recall_home.shop, replace(found, to_contact={"A": 0, "B": 0, "C": 0}))
    assert "本周没有需要联系的客户" in words
    assert "xlsx" not in words


@pytest.mark.parametrize("sign", ["礼", "a", "😀", "\n- [x](http://x.example) <@all> **"])
def test_huge_settings_never_make_the_message_too_long(
    recall_home: RecallHome, tmp_path: Path, sign: str
) -> None:
    huge = make_shop(
        tmp_path / "huge",
        shop={"name": sign * 3000},
        recall={"offers": dict.fromkeys("ABC", sign * 3000)},
    )
    found = weekly_summary.read_weekly_summary(
        recall_home.shop,
        recall_home.warehouse,
        recall_home.ledger,
        recall_home.reach,
        newest(recall_home.shop),
    )
    words = weekly_summary.words(huge, found)
    assert len(words.encode()) <= MARKDOWN_BYTES
    assert "还有 8 位在排队" in words
    assert "<@" not in words
    assert "://" not in words
    assert "](" not in words


# --- what goes wrong on the way -------------------------------------------------------------------


def test_a_pair_of_which_only_the_message_went_out_is_finished_by_the_next_run(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    wecom.script(UPLOAD, "errcode:40058")
    words = failure(run(recall_home))
    assert "the file certainly was not sent" in words
    assert "Run again" in words
    assert kinds(wecom) == ["markdown"]
    assert metadata_of(run(recall_home))["sent"] == 1
    assert kinds(wecom) == ["markdown", "file"]


def test_a_message_that_was_not_sent_holds_the_file_back_so_that_both_come_in_order(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    wecom.script(SEND, "errcode:40058")
    assert "the message certainly was not sent" in failure(run(recall_home))
    assert kinds(wecom) == []
    assert metadata_of(run(recall_home))["sent"] == 2
    assert kinds(wecom) == ["markdown", "file"]


@pytest.mark.parametrize("fault", ["silence:after", "silence:before", "reset:after", "http_502:after"])
def test_an_outcome_that_nobody_learnt_is_told_and_never_tried_again_by_itself(
    recall_home: RecallHome, wecom: WecomServer, fault: str
) -> None:
    wecom.script(SEND, fault)
    first = run(recall_home)
    assert metadata_of(first)["message"] == "nobody knows whether it was sent"
    assert metadata_of(first)["file"] == "sent"
    assert not outcome_is_known(first)
    second = run(recall_home)
    assert metadata_of(second)["sent"] == 0
    assert not outcome_is_known(second)
    assert kinds(wecom).count("markdown") == fault.endswith(":after")
    assert kinds(wecom).count("file") == 1


def test_somebody_who_has_looked_may_send_again_what_is_in_doubt_and_only_that(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    wecom.script(SEND, "silence:before")
    run(recall_home)
    waiting = rfm_announce(recall_home)
    assert (waiting.returncode, kinds(wecom)) == (1, ["file"])
    assert "--again" in waiting.stderr
    done = rfm_announce(recall_home, "--again", "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["message: sent", "file: sent before"]
    assert kinds(wecom) == ["file", "markdown"]
    assert outcome_is_known(run(recall_home))
    assert rfm_announce(recall_home, "--again", "--yes").returncode == 0
    assert kinds(wecom) == ["file", "markdown"]


def test_a_run_killed_between_asking_and_answer_leaves_a_message_that_nobody_sends_again(
    recall_home: RecallHome, wecom: WecomServer
) -> None:
    path = recall_home.shop.home / "shop.yaml"
    path.write_text(path.read_text("utf-8").replace("timeout_seconds: 2", "timeout_seconds: 60"), "utf-8")
    wecom.script(SEND, "silence:after")
    process = subprocess.Popen(
        [*RFM, "recall", "announce", "--home", str(recall_home.shop.home)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: any(call.effect for call in wecom.calls(SEND)), 60, "the message to arrive")
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    result = run(recall_home)
    assert metadata_of(result)["message"] == "nobody knows whether it was sent"
    assert not outcome_is_known(result)
    assert kinds(wecom) == ["markdown", "file"]


def test_a_wrong_key_is_one_call_and_clear_words_and_is_mended_by_the_right_one(
    recall_home: RecallHome, wecom: WecomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RFM_WECOM_ROBOT_KEY", "not-the-key")
    words = failure(run(recall_home))
    assert "errcode 93000" in words
    assert "not-the-key" not in words
    assert len(wecom.calls(SEND)) == 1
    monkeypatch.setenv("RFM_WECOM_ROBOT_KEY", ROBOT_KEY)
    assert metadata_of(run(recall_home))["sent"] == 2


# --- what refuses ---------------------------------------------------------------------------------


def refused(
    recall_home: RecallHome, wecom: WecomServer, *weeks: date, tags: Mapping[str, str] | None = None
) -> str:
    result = run(recall_home, *weeks, tags=tags)
    said = metadata_of(result)
    assert said["sent"] == 0
    assert outcome_is_known(result)
    assert wecom.calls(SEND) == wecom.calls(UPLOAD) == []
    assert recall_home.ledger.messages().is_empty()
    return str(said["refused"])


def test_a_backfill_tells_nobody(recall_home: RecallHome, wecom: WecomServer) -> None:
    assert "backfills never send" in refused(recall_home, wecom, tags={"dagster/backfill": "abcdefgh"})


def test_a_range_of_weeks_tells_nobody(recall_home: RecallHome, wecom: WecomServer) -> None:
    week = newest(recall_home.shop)
    assert "only a single week is sent" in refused(recall_home, wecom, week - timedelta(days=7), week)


def test_a_past_week_tells_nobody(recall_home: RecallHome, wecom: WecomServer) -> None:
    reason = refused(recall_home, wecom, newest(recall_home.shop) - timedelta(days=7))
    assert "is not the newest closed week" in reason


def test_a_list_that_was_not_sent_is_not_announced(tmp_path: Path, wecom: WecomServer) -> None:
    recall_home = connected(tmp_path / "home", wecom)
    assert "was not sent, so nobody on it may be contacted" in refused(recall_home, wecom)


def test_a_week_without_a_work_list_is_not_announced(recall_home: RecallHome, wecom: WecomServer) -> None:
    worklist_path(recall_home.shop, newest(recall_home.shop)).unlink()
    assert "materialize ops_worklist" in refused(recall_home, wecom)


def test_a_shop_that_is_not_connected_tells_nobody(recall_home: RecallHome, wecom: WecomServer) -> None:
    path = recall_home.shop.home / "shop.yaml"
    path.write_text(path.read_text("utf-8").replace("enabled: true", "enabled: false"), "utf-8")
    assert refused(recall_home, wecom) == "wecom.enabled is false in shop.yaml"


def test_a_shop_without_a_robot_tells_nobody(
    recall_home: RecallHome, wecom: WecomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RFM_WECOM_ROBOT_KEY")
    assert "RFM_WECOM_ROBOT_KEY (the group robot's key) is not set" in refused(recall_home, wecom)
    done = rfm_announce(recall_home)
    assert done.returncode == 1
    assert "RFM_WECOM_ROBOT_KEY" in done.stderr


# --- alerts ---------------------------------------------------------------------------------------

FAILED = Alert(
    StepFailure("raw_orders", "OrderFileError", "orders/a.csv can't be read. Mend it."), "2026-06-22"
)
CHECKED = Alert(
    StepFailure(
        "customer_rfm",
        "DagsterAssetCheckFailedError",
        checks={"unique_key": {"doubled_keys": 3, "limit": 0, "example": "13800138000"}},
    ),
    "2026-06-22",
    "1a2b3c4d-5e6f",
)


def alert(recall_home: RecallHome, *failed: Alert) -> list[str]:
    return send_alerts(recall_home.shop, recall_home.ledger, ROBOT_KEY, failed)


@pytest.fixture
def quiet(tmp_path: Path, wecom: WecomServer) -> RecallHome:
    """A connected shop of which nothing was said yet."""
    return connected(tmp_path / "quiet", wecom)


def test_a_cause_is_told_once_a_day_and_again_on_the_next(
    quiet: RecallHome, wecom: WecomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert alert(quiet, FAILED) == alert(quiet, FAILED) == []
    assert alert(quiet, replace(FAILED, weeks="2026-06-29", run_id="other")) == []
    assert len(markdown(wecom)) == 1
    # of the shop's own clock: the machine's may still be on the day before
    now = alerts.shop_now
    monkeypatch.setattr(alerts, "shop_now", lambda zone: now(zone) + timedelta(days=1))
    alert(quiet, FAILED)
    assert len(markdown(wecom)) == 2


def test_another_step_error_or_check_is_another_cause(quiet: RecallHome, wecom: WecomServer) -> None:
    other_check = replace(CHECKED.failure, checks={"all_there": {"missing": 1}})
    alert(quiet, FAILED, CHECKED, Alert(other_check), Alert(replace(FAILED.failure, kind="CoverageError")))
    assert len(markdown(wecom)) == 4


def test_an_alert_says_shop_week_step_reason_and_what_to_do(quiet: RecallHome, wecom: WecomServer) -> None:
    alert(quiet, CHECKED, FAILED)
    checked, failed = markdown(wecom)
    for part in ("茶铺", "2026-06-22", "customer_rfm", "unique_key", "doubled_keys 3", "1a2b3c4d", "rfm ui"):
        assert part in checked
    assert "orders/a.csv can't be read." in failed
    assert "13800138000" not in checked


def test_of_an_error_that_was_not_written_for_users_only_its_class_is_reported(
    quiet: RecallHome, wecom: WecomServer
) -> None:
    alert(quiet, alerts.of_error(ValueError("13800138000")))
    [words] = markdown(wecom)
    assert "ValueError" in words
    assert "13800138000" not in words


def test_a_long_error_does_not_make_an_alert_too_long(quiet: RecallHome, wecom: WecomServer) -> None:
    checks = {f"check_{number}" * 20: {"rows": number} for number in range(100)}
    alert(
        quiet,
        Alert(replace(CHECKED.failure, checks=checks)),
        Alert(replace(FAILED.failure, words="长" * 9999)),
    )
    assert len(markdown(wecom)) == 2
    assert all(len(words.encode()) <= MARKDOWN_BYTES for words in markdown(wecom))


def test_an_alert_that_was_not_sent_is_tried_again_and_one_in_doubt_is_not(
    quiet: RecallHome, wecom: WecomServer
) -> None:
    wecom.script(SEND, "errcode:45009", "silence:before")
    [problem] = alert(quiet, FAILED)
    assert "the group got no alert that raw_orders failed" in problem
    assert alert(quiet, CHECKED) == []
    assert markdown(wecom) == []
    alert(quiet, FAILED, CHECKED)
    [words] = markdown(wecom)
    assert "raw_orders" in words


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:9/cgi-bin", "https://nowhere.invalid/cgi-bin"])
def test_a_dead_network_never_makes_an_alert_raise(tmp_path: Path, wecom: WecomServer, base_url: str) -> None:
    recall_home = connected(tmp_path, wecom, wecom={"base_url": base_url})
    [problem] = alert(recall_home, FAILED)
    assert "the group got no alert" in problem
    assert ROBOT_KEY not in problem


def test_a_ledger_that_cannot_be_used_never_makes_an_alert_raise(
    quiet: RecallHome, wecom: WecomServer
) -> None:
    broken = Ledger(f"sqlite:///{quiet.shop.home}/no/such/folder/ledger.sqlite")
    [problem] = send_alerts(quiet.shop, broken, ROBOT_KEY, [FAILED])
    assert "the group got no alert" in problem
    assert wecom.calls(SEND) == []


def test_a_ledger_whose_address_is_not_set_leaves_the_runs_own_error_alone(
    tmp_path: Path, wecom: WecomServer
) -> None:
    recall_home = connected(tmp_path / "home", wecom)
    with (recall_home.shop.home / "shop.yaml").open("a", encoding="utf-8") as file:
        file.write("ledger: {url_env: RFM_NO_SUCH_VARIABLE}\n")
    done = rfm("run", "--home", str(recall_home.shop.home))
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr
    assert markdown(wecom) == []


def test_more_messages_than_the_robot_takes_wait_for_the_window_of_all_processes(
    quiet: RecallHome, wecom: WecomServer
) -> None:
    settings = RobotSettings(ROBOT_KEY, base_url=wecom.base_url, messages=3, window_seconds=2)
    wecom.limits(messages=3, robot_window_seconds=2)
    begun = time.monotonic()
    for number in range(4):
        # each of them a robot of its own, like another process
        message = Message("alert", f"{number}", lambda robot: robot.markdown("x"))
        assert [one.status for one in delivery.deliver_once(quiet.ledger, settings, [message])] == [
            DeliveryStatus.SENT
        ]
    assert 1.5 < time.monotonic() - begun < 10
    assert wecom.state().violations["robot_rate"] == 0


# --- by both roads, in real runs ------------------------------------------------------------------


@pytest.fixture
def home(shared_homes: SharedHomes, tmp_path: Path, wecom: WecomServer) -> Path:
    """A sample shop that was run without WeCom and is now connected; nothing of its newest week is sealed."""
    copy = copy_home(shared_homes.sample_that_was_run(), tmp_path / "home")
    (copy / "ledger.sqlite").unlink()
    path = copy / "shop.yaml"
    text = path.read_text("utf-8")
    for line, new in {
        "  enabled: false": "  enabled: true",
        "  confirmed: false": "  confirmed: true",
        "  base_url: https://qyapi.weixin.qq.com/cgi-bin": f"  base_url: {wecom.base_url}",
        "  requests_per_second: 5": "  requests_per_second: 100",
    }.items():
        assert text.count(line) == 1
        text = text.replace(line, new)
    path.write_text(text, "utf-8")
    return copy


def break_opt_outs(home: Path) -> None:
    (home / "suppression" / "broken.csv").write_bytes(b"customer_id\n\xff\xfe\n")


def failed_runs(home: Path) -> list[dg.DagsterRun]:
    with dg.DagsterInstance.from_config(str(home / ".dagster")) as instance:
        return list(instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])))


def sensor_tick(home: Path, cursor: str | None) -> str:
    """One look of the sensor at the home's real Dagster storage, as the daemon takes it."""
    defs = build_defs(home)
    with dg.DagsterInstance.from_config(str(home / ".dagster")) as instance:
        context = dg.build_sensor_context(
            instance=instance, cursor=cursor, definitions=defs, resources=dict(defs.resources or {})
        )
        defs.resolve_sensor_def("failure_alert").evaluate_tick(context)
        assert context.cursor is not None
        return context.cursor


def test_the_runner_alerts_and_the_sensor_that_sees_the_same_run_does_not_repeat_it(
    home: Path, wecom: WecomServer
) -> None:
    before = sensor_tick(home, None)
    break_opt_outs(home)
    done = rfm("run", "--home", str(home))
    assert done.returncode == 1
    assert "broken.csv can't be read" in done.stderr
    [words] = markdown(wecom)
    assert "recall_list" in words
    assert "broken.csv can't be read" in words
    [run] = failed_runs(home)
    assert run.run_id[:8] in words
    assert sensor_tick(home, before) != before
    assert rfm("run", "--home", str(home)).returncode == 1
    assert len(markdown(wecom)) == 1


def test_the_sensor_alerts_where_the_runner_could_not(
    home: Path, wecom: WecomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sensor_tick(home, None)
    break_opt_outs(home)
    monkeypatch.setenv("RFM_WECOM_ROBOT_KEY", "not-the-key")
    done = rfm("run", "--home", str(home))
    assert done.returncode == 1
    assert "broken.csv can't be read" in done.stderr
    assert "the group got no alert that recall_list failed" in done.stderr
    assert markdown(wecom) == []
    monkeypatch.setenv("RFM_WECOM_ROBOT_KEY", ROBOT_KEY)
    after = sensor_tick(home, before)
    [words] = markdown(wecom)
    assert "recall_list" in words
    sensor_tick(home, after)
    assert len(markdown(wecom)) == 1


def test_orders_that_do_not_reach_any_week_are_an_alert_only_where_nobody_asked_for_a_week(
    tmp_path: Path, wecom: WecomServer
) -> None:
    recall_home = connected(tmp_path / "home", wecom)
    week = newest(recall_home.shop)
    write_export(
        recall_home.shop,
        "old.csv",
        "1,a,2020-01-02 10:00:00,CUP1,1,10.00",
        "2,b,2020-01-03 10:00:00,CUP1,1,10.00",
    )
    assert rfm("run", "--home", str(recall_home.shop.home), "--week", str(week)).returncode == 1
    assert markdown(wecom) == []
    done = rfm("run", "--home", str(recall_home.shop.home))
    assert done.returncode == 1
    assert "no closed week of the shop's grid is covered" in done.stderr
    [words] = markdown(wecom)
    assert "no closed week of the shop's grid is covered" in words
    assert rfm("run", "--home", str(recall_home.shop.home)).returncode == 1
    assert len(markdown(wecom)) == 1


def test_a_robot_that_refuses_takes_nothing_of_the_week_down_and_no_secret_or_address_is_left_anywhere(
    home: Path, wecom: WecomServer
) -> None:
    """Tags are set, the message is refused for good: the run fails, and everything else of it is made."""
    contacts = pl.read_csv(home / "contacts" / "contacts.csv", infer_schema=False)
    known = contacts.filter(pl.col("wecom_external_userid").is_not_null())
    wecom.befriend(
        [
            Contact(staff or "li", contact)
            for staff, contact in known.select("wecom_userid", "wecom_external_userid").iter_rows()
        ]
    )
    wecom.script(SEND, *["errcode:93004"] * 4)
    done = rfm("run", "--home", str(home))
    assert done.returncode == 1
    assert "errcode 93004" in done.stderr
    assert "team_message" in done.stderr
    shop = load_shop(home)
    week = newest(shop)
    assert worklist_path(shop, week).exists()
    assert stat.S_IMODE(worklist_path(shop, week).stat().st_mode) == 0o600
    assert (home / "out" / "reports" / f"{week}.html").stat().st_mtime > (home / "shop.yaml").stat().st_mtime
    assert len(wecom.marks()) > 0
    [run] = failed_runs(home)

    secrets = [ROBOT_KEY, SECRET, CORP_ID, "token-1-"]
    phones = contacts["phone"].drop_nulls().to_list()
    mails = contacts["email"].drop_nulls().to_list()
    people = known["wecom_external_userid"].to_list()
    assert min(len(phones), len(mails), len(people)) > 20
    kept = [path for path in (home / ".dagster").rglob("*") if path.is_file()]
    assert any(run.run_id in str(path) for path in kept)
    everything = b"".join(path.read_bytes() for path in kept) + (done.stdout + done.stderr).encode()
    assert [text for text in (*secrets, *phones, *mails, *people) if text.encode() in everything] == []


def test_the_access_to_wecom_shows_none_of_its_secrets() -> None:
    access = WecomAccess(corp_id=CORP_ID, secret=SECRET, robot_key=ROBOT_KEY)
    settings = RobotSettings(ROBOT_KEY)
    for shown in (repr(access), str(access), repr(settings), str(settings)):
        assert not any(secret in shown for secret in (CORP_ID, SECRET, ROBOT_KEY))

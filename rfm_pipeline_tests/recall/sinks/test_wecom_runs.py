"""The whole week with WeCom connected, as Dagster and the command line run it, and two runs at once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml

from rfm_pipeline.contacts.reach import read_reach
from rfm_pipeline.definitions import build_defs
from rfm_pipeline.demo.wecom_server.control import WecomServer
from rfm_pipeline.demo.wecom_server.corporation import CORP_ID, ROBOT_KEY, SECRET, Contact
from rfm_pipeline.recall.sinks.connection import CONFIRMED_TAG
from rfm_pipeline.shop import load_shop
from rfm_pipeline_tests.ledger.ledger_rows import fresh_schema
from rfm_pipeline_tests.recall.recall_home import LONG_AGO, recall_home_in, silent, week
from rfm_pipeline_tests.recall.test_assets import Home, diagnosed, metadata_of
from rfm_pipeline_tests.recall.wecom_home import (
    contacts_of,
    customers_are,
    make_wecom_home,
    mapped,
    start_run,
    worn,
)

__all__ = ["diagnosed"]
SENDING = ("recall_list", "tag_plan", "customer_tags", "ops_worklist", "team_message")


def connect(home: Home, server: WecomServer, **wecom: object) -> None:
    """Writes the connection into ``shop.yaml`` and the shop's contacts into WeCom."""
    path = home.path / "shop.yaml"
    content = yaml.safe_load(path.read_text("utf-8"))
    settings = {"enabled": True, "base_url": server.base_url, "requests_per_second": None} | wecom
    content["wecom"] |= settings
    path.write_text(yaml.safe_dump(content, allow_unicode=True), "utf-8")
    rows = pl.read_csv(home.path / "contacts" / "contacts.csv", infer_schema=False)
    known = rows.drop_nulls(["wecom_userid", "wecom_external_userid"])
    pairs = known.select("wecom_userid", "wecom_external_userid").iter_rows()
    server.befriend([Contact(userid, external) for userid, external in pairs])


@pytest.fixture
def home(diagnosed: Home, tmp_path: Path, wecom: WecomServer, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A sample shop that is connected, with all weeks but the newest diagnosed and nothing sent yet."""
    for name, value in {"CORP_ID": CORP_ID, "SECRET": SECRET, "ROBOT_KEY": ROBOT_KEY}.items():
        monkeypatch.setenv(f"RFM_WECOM_{name}", value)
    shutil.copytree(diagnosed.path, tmp_path / "home")
    home = Home(tmp_path / "home")
    connect(home, wecom)
    return home


def expected(home: Home) -> dict[str, set[str]]:
    """The tags on every contact, by the work list's own rows and the contacts file."""
    listed = home.ledger.assignments([home.newest]).filter(pl.col("arm") == "recall")
    people = pl.read_csv(home.path / "contacts" / "contacts.csv", infer_schema=False)
    said_no = set(people.filter(pl.col("consent_wecom") == "false")["customer_id"])
    rows = listed.join(people, on="customer_id").drop_nulls("wecom_external_userid")
    return {
        external: {home.shop.recall.tags[name]}
        for customer, name, external in rows.select(
            "customer_id", "churn_class", "wecom_external_userid"
        ).iter_rows()
        if customer not in said_no
    }


def test_the_first_plan_waits_for_somebody_and_the_next_weeks_does_not(
    home: Home, wecom: WecomServer
) -> None:
    first = metadata_of(home.run(home.newest))
    assert "rfm recall plan" in first["refused"]
    assert home.nothing_was_sent()
    assert wecom.marks() == []

    sent = metadata_of(home.run(home.newest, only=SENDING, tags={CONFIRMED_TAG: "true"}))
    assert sent["sent"] > 10
    assert worn(wecom) == expected(home)
    assert home.ledger.confirmed_at("wecom") is not None

    again = metadata_of(home.run(home.newest, only=SENDING))
    assert (again["sent"], again["done"]) == (0, sent["done"])
    assert wecom.state().violations == {}
    kinds = [message["msgtype"] for message in wecom.state().messages]
    assert kinds == ["markdown", "file"]


def test_without_secrets_nothing_is_sent_anywhere(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RFM_WECOM_SECRET")
    sent = metadata_of(home.run(home.newest, tags={CONFIRMED_TAG: "true"}))
    assert sent["refused"] == "wecom.enabled is true, but RFM_WECOM_SECRET is not set in the environment"
    assert home.nothing_was_sent()


def test_a_plan_that_is_too_large_is_refused_for_good(home: Home, wecom: WecomServer) -> None:
    home.set("max_changes", 3)
    sent = metadata_of(home.run(home.newest, tags={CONFIRMED_TAG: "true"}))
    assert "recall.max_changes" in sent["refused"]
    assert wecom.marks() == []


def test_the_plan_tells_what_it_takes_before_anything_is_called(home: Home, wecom: WecomServer) -> None:
    plan = metadata_of(home.run(home.newest), "tag_plan")
    assert plan["wecom_matched"] == plan["wecom_calls"] > 10
    assert plan["wecom_contacts"] == len(wecom.state().contacts)
    assert wecom.state().groups == {}


def test_a_backfill_does_not_even_look(home: Home, wecom: WecomServer) -> None:
    assert home.run(home.newest, tags={"dagster/backfill": "abc"}).success
    assert wecom.calls() == []


def test_what_a_run_leaves_open_is_asked_for_again_every_day(home: Home, wecom: WecomServer) -> None:
    def asked_for() -> list[dg.RunRequest]:
        repository = build_defs(home.path).get_repository_def()
        schedule = repository.get_schedule_def("catch_up_schedule")
        context = dg.build_schedule_context(resources={"ledger": home.ledger}, repository_def=repository)
        return list(schedule.evaluate_tick(context).run_requests)

    assert asked_for() == []
    wecom.script("externalcontact/mark_tag", "errcode:45009")
    sent = metadata_of(home.run(home.newest, tags={CONFIRMED_TAG: "true"}))
    assert "45009" in sent["paused"]
    [request] = asked_for()
    assert request.partition_key == str(home.newest)
    rest = (
        build_defs(home.path)
        .resolve_job_def("send_job")
        .execute_in_process(instance=dg.DagsterInstance.ephemeral(), partition_key=str(home.newest))
    )
    assert rest.success
    assert worn(wecom) == expected(home)
    assert asked_for() == []


def test_the_command_line_shows_the_plan_applies_it_and_says_what_came_of_it(
    home: Home, wecom: WecomServer
) -> None:
    def rfm(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", "from rfm_pipeline.cli.app import main; main()", *words]
        return subprocess.run(
            [*command, "--home", str(home.path)],
            env=os.environ | {"COLUMNS": "120", "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            check=False,
        )

    assert rfm("recall", "status").stdout == "no list was sent yet\n"
    assert "there is no plan" in rfm("recall", "plan").stderr
    home.run(home.newest)
    plan = rfm("recall", "plan")
    assert "customers matched with a contact" in plan.stdout
    assert "not carried out as it is" in plan.stdout
    assert wecom.marks() == []
    refused = rfm("recall", "apply")
    assert refused.returncode == 1
    assert "rfm recall apply --yes" in " ".join(refused.stderr.split())
    applied = rfm("recall", "apply", "--yes")
    assert applied.returncode == 0, applied.stderr
    assert worn(wecom) == expected(home)
    assert str(home.newest) in rfm("recall", "status").stdout
    for told_here in (plan, refused, applied):
        assert SECRET not in told_here.stdout + told_here.stderr


# --- two at once ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.database("postgresql"))]
)
def test_two_runs_at_once_tag_each_customer_once(
    tmp_path: Path,
    wecom: WecomServer,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    kind: str,
) -> None:
    names = [f"n{number:03}" for number in range(150)]
    recall_home = make_wecom_home(tmp_path / "one", wecom)
    recall_home.silent_are([churner for name in names for churner in silent(name)])
    recall_home.last_orders_are([week(0)], dict.fromkeys(names, LONG_AGO))
    customers_are(recall_home, mapped(*names))
    wecom.befriend(contacts_of(*names))
    wecom.limits(latency_seconds=0.05)
    if kind == "sqlite":
        prepare(tmp_path / "one")
        sent = run_in(tmp_path / "one", tmp_path / "one")
    else:
        server = request.getfixturevalue("postgresql")
        monkeypatch.setenv("RFM_LEDGER_URL", fresh_schema(server).replace("+psycopg", ""))
        path = tmp_path / "one" / "shop.yaml"
        path.write_text(path.read_text("utf-8") + "ledger: {url_env: RFM_LEDGER_URL}\n", "utf-8")
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        prepare(tmp_path / "one")
        prepare(tmp_path / "two")
        sent = run_in(tmp_path / "one", tmp_path / "two")
    assert sorted(sent) == [0, 150]
    contacts = [call.body["external_userid"] for call in wecom.marks()]
    assert len(contacts) == len(set(contacts)) == len(worn(wecom)) == 150
    assert wecom.state().violations == {}


def prepare(home: Path) -> None:
    """Makes list and plan."""
    recall_home = recall_home_in(load_shop(home))
    recall_home.reach = read_reach(recall_home.shop)
    recall_home.make_list(week(0))
    recall_home.make_plan(week(0))


def run_in(*homes: Path) -> list[int]:
    """Starts a run in each home, waits for all, and tells how many changes each carried out."""
    sent = []
    for run in [start_run(home, week(0)) for home in homes]:
        out, err = run.communicate(timeout=300)
        assert run.returncode == 0, err
        sent.append(int(out))
    return sent

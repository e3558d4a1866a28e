"""A recall recall_home whose tags go to the loopback WeCom server, in this process or in one that is killed.

Run as a program, it carries out a week's tags of a home as a run does: ``python -m
rfm_pipeline_tests.recall.wecom_home HOME WEEK``.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from rfm_pipeline.contacts.reach import read_reach
from rfm_pipeline.demo.wecom_server.control import WecomServer
from rfm_pipeline.demo.wecom_server.corporation import CORP_ID, SECRET, Contact
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.recall.resources import WecomAccess
from rfm_pipeline.recall.sinks.connection import sink_for
from rfm_pipeline.recall.tagging import TagReport, apply_tags
from rfm_pipeline.shop import load_shop
from rfm_pipeline_tests.helpers import make_shop, small_warehouse
from rfm_pipeline_tests.recall.recall_home import RecallHome, recall_home_in

ACCESS = WecomAccess(corp_id=CORP_ID, secret=SECRET)
TAGS = {"A": "静默召回-A类爆款客", "B": "静默召回-B类特惠客", "C": "静默召回-C类待唤醒"}


def make_wecom_home(
    home: Path,
    server: WecomServer,
    *,
    rate: float | None = None,
    timeout_seconds: float = 1.5,
    **recall: Any,
) -> RecallHome:
    """A home that is connected, without a hold-out and without a limit on calls unless asked for."""
    shop = make_shop(
        home,
        recall={"holdout_share": 0, "cooldown_days": 0} | recall,
        wecom={
            "enabled": True,
            "confirmed": True,
            "base_url": server.base_url,
            "requests_per_second": rate,
            "timeout_seconds": timeout_seconds,
        },
    )
    return recall_home_in(shop)


def customers_are(recall_home: RecallHome, rows: Iterable[Mapping[str, str | None]]) -> None:
    """Writes ``contacts/`` and lets the recall_home read it."""
    columns = ("customer_id", "phone", "wecom_external_userid", "wecom_userid", "consent_wecom")
    frame = pl.DataFrame(list(rows), schema=dict.fromkeys(columns, pl.String))
    recall_home.shop.contacts_dir.mkdir(exist_ok=True)
    frame.write_csv(recall_home.shop.contacts_dir / "contacts.csv")
    recall_home.reach = read_reach(recall_home.shop)


def mapped(*names: str) -> list[dict[str, str]]:
    """Customers whose WeCom contact the shop names: a's is wm-a."""
    return [{"customer_id": name, "wecom_external_userid": f"wm-{name}"} for name in names]


def contacts_of(*names: str, userid: str = "li") -> list[Contact]:
    """A member of staff's contacts of :func:`mapped` customers."""
    return [Contact(userid, f"wm-{name}") for name in names]


def send(recall_home: RecallHome, day: date) -> TagReport:
    """Carries out a week's plan in WeCom."""
    return apply_tags(
        recall_home.warehouse,
        recall_home.ledger,
        sink_for(recall_home.shop, recall_home.ledger, recall_home.reach, ACCESS),
        recall_home.reach,
        day,
    )


def campaign(recall_home: RecallHome, day: date) -> TagReport:
    """List, plan and tags of a week."""
    recall_home.make_list(day)
    recall_home.make_plan(day)
    return send(recall_home, day)


def worn(server: WecomServer) -> dict[str, set[str]]:
    """The tags on every contact that has any, by the contact's id."""
    return {external: tags for (_, external), tags in server.state().tags().items()}


def changes(server: WecomServer) -> list[tuple[str, int, int]]:
    """Every mark_tag call as (contact, tags added, tags removed), in order."""
    return [
        (
            call.body["external_userid"],
            len(call.body.get("add_tag") or ()),
            len(call.body.get("remove_tag") or ()),
        )
        for call in server.marks()
    ]


def statuses(recall_home: RecallHome, day: date) -> dict[str, str]:
    """What came of each customer's change."""
    return dict(recall_home.ledger.tag_actions([day]).select("customer_id", "status").iter_rows())


def start_run(home: Path, day: date) -> "subprocess.Popen[str]":
    """A run of its own that carries out a week's tags, to be killed or waited for."""
    return subprocess.Popen(
        [sys.executable, "-m", "rfm_pipeline_tests.recall.wecom_home", str(home), str(day)],
        env=os.environ | {"NO_PROXY": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def main(home: str, day: str) -> None:
    shop = load_shop(Path(home))
    reach = read_reach(shop)
    ledger = Ledger(shop.ledger_url)
    warehouse = replace(small_warehouse(shop), lock_wait_seconds=120)
    sink = sink_for(shop, ledger, reach, ACCESS)
    report = apply_tags(warehouse, ledger, sink, reach, date.fromisoformat(day))
    sys.stdout.write(f"{report.sent}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What a run made, and whether the next one would find anything to do.

A run that left nothing to be done notes the state of everything it was made from and of everything it made:
names, sizes, times and inodes, never contents. As long as none of it changes, ``rfm run`` looks, says so and
ends. In doubt it works: on another day (the guards of the recall ask for the date), after any change of
settings, exports, contacts, opt-outs, tables, ledger, outputs or the program itself, while a tag change is
open, and always where orders or tags live in another system, which can't be looked at from here.

Belongs here: nothing that needs Dagster, the warehouse or another library that is slow to load.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from rfm_pipeline.shop import Shop
from rfm_pipeline.storage.fingerprints import FileState, state_of
from rfm_pipeline.weeks import newest_closed_week, shop_now

_NOTE = "last_run.json"
# `rfm report` and `rfm playbook` write these again from the same tables: that they are there is enough
_REWRITTEN = ("reports", "playbook")
# what reaches people, and what else of a run's report the summary shows
_SENDING = ("customer_tags", "ops_worklist")
_SHOWN = ("customer_tags", "outreach_log", "team_message")
# an order that is dated later comes true without any change, and an open tag change may succeed this time
_STAYS_OPEN = {"no_order_in_the_future", "nothing_left_open"}


@dataclass
class RunReport:
    """What a run made.

    Attributes:
        history: The weeks that were filled in or made again, as ranges.
        weeks: The weeks that went through all four stages.
        plan: Which other weeks were made again, are held, or were made with other thresholds, and why.
        metadata: What each asset reported, by asset and entry, of the last job.
        warnings: Checks that did not pass but block nothing, as (table, check, description).
    """

    history: list[tuple[date, date]] = field(default_factory=list)
    weeks: list[date] = field(default_factory=list)
    plan: list[str] = field(default_factory=list)
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Inputs:
    """What a run is made from, as it was before the run.

    Attributes:
        digest: Of all of it; another one means that something changed.
        is_settled: Whether no file was written to a moment ago: it could change again without a trace.
    """

    digest: str
    is_settled: bool


def inputs_of(shop: Shop) -> Inputs:
    """What the next run of a shop would be made from, as it is now."""
    shop_file = shop.home / "shop.yaml"
    folders = (
        shop.orders_dir,
        shop.contacts_dir,
        shop.suppression_dir,
        shop.outreach_dir,
        shop.home / "presets",
    )
    states = _states([shop_file, *(path for folder in folders for path in _files(folder))])
    facts = {
        "today": str(shop_now(shop).date()),
        "program": _states(path for path in _files(Path(__file__).parents[1]) if path.suffix != ".pyc"),
        "python": sys.version,
        "files": states,
    }
    return Inputs(_digest(facts), not any(state.is_fresh for _, state in states))


def forget_last_run(shop: Shop) -> None:
    """Says that something is being done: the next run works, whatever becomes of this one."""
    _note_path(shop).unlink(missing_ok=True)


def note_last_run(shop: Shop, inputs: Inputs, report: RunReport) -> None:
    """Notes a run that left nothing to be done; any other is not noted.

    Args:
        shop: The settings.
        inputs: What the run was made from, looked at before it began.
        report: What it made.
    """
    if not inputs.is_settled or not _can_be_looked_at(shop) or _left_open(shop, report):
        return
    metadata = {name: _shown(report.metadata.get(name, {})) for name in _SHOWN}
    note = {
        "inputs": inputs.digest,
        "made": _made(shop),
        "weeks": [str(week) for week in report.weeks],
        "plan": report.plan,
        # the other counts are the week's, not the run's
        "metadata": metadata | {"customer_tags": metadata["customer_tags"] | {"sent": 0}},
        "warnings": report.warnings,
    }
    path = _note_path(shop)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_text(json.dumps(note, ensure_ascii=False), "utf-8")
    half.replace(path)


def report_if_up_to_date(shop: Shop) -> RunReport | None:
    """What a run would report that finds nothing to do; None if there may be something."""
    if not _can_be_looked_at(shop):
        return None
    try:
        note = json.loads(_note_path(shop).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    inputs = inputs_of(shop)
    if not inputs.is_settled or note["inputs"] != inputs.digest or note["made"] != _made(shop):
        return None
    return RunReport(
        weeks=[date.fromisoformat(week) for week in note["weeks"]],
        # a note of an older version has none
        plan=note.get("plan", []),
        metadata=note["metadata"],
        warnings=[(table, check, figures) for table, check, figures in note["warnings"]],
    )


def _can_be_looked_at(shop: Shop) -> bool:
    """Whether all that decides lies in the home."""
    is_here = shop.orders.kind == "files" and not shop.wecom.enabled and shop.ledger.url_env is None
    return is_here and shop.warehouse.engine == "duckdb"


def _left_open(shop: Shop, report: RunReport) -> bool:
    """Whether the next run could do better without any change, or once more orders have come true."""
    if not report.metadata.keys() >= {"raw_orders", "customer_tags"}:
        return True
    is_past = report.weeks[-1] != newest_closed_week(shop, shop_now(shop))
    refused_by_date = is_past and not shop.recall.allow_past_weeks
    sending = [report.metadata.get(name, {}) for name in _SENDING]
    return bool(
        report.metadata["raw_orders"]["files_still_being_written"]
        or any(entries.get("failed") or entries.get("pending") for entries in sending)
        or (any("refused" in entries for entries in sending) and not refused_by_date)
        or _STAYS_OPEN & {check for _, check, _ in report.warnings}
    )


def _shown(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The counts and words of an asset's report."""
    return {name: value for name, value in entries.items() if isinstance(value, int | str)}


def _made(shop: Shop) -> str:
    """A digest of what runs have made, as it is now."""
    beside = ("warehouse.duckdb", "warehouse.duckdb.wal", "ledger.sqlite", "ledger.sqlite-journal")
    kept: list[Path] = []
    rewritten: list[Path] = []
    for path in _files(shop.out_dir):
        is_rewritten = path.relative_to(shop.out_dir).parts[0] in _REWRITTEN
        (rewritten if is_rewritten else kept).append(path)
    states = _states([*(shop.home / name for name in beside), *kept])
    return _digest({"states": states, "there": [str(path) for path in rewritten]})


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def _states(paths: Iterable[Path]) -> list[tuple[str, FileState]]:
    return [(str(path), state_of(path)) for path in paths]


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _note_path(shop: Shop) -> Path:
    return shop.dagster_home / _NOTE

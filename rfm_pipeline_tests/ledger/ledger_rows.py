"""Lists, tag changes and calls as a ledger's tests write them, and the processes that write them.

Belongs here: what several test files of this folder need. Which databases they run on is ``conftest``'s.
"""

import functools
import multiprocessing
import signal
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from rfm_pipeline.ledger import ASSIGNMENT_SCHEMA, Ledger
from rfm_pipeline_tests.ingest.databases.servers import ADMIN, Server

WEEK = date(2024, 3, 4)
NEXT_WEEK = WEEK + timedelta(days=7)
SILENT_SINCE = datetime(2023, 11, 11, 23, 59, 59)
TAG = "静默召回"
CUSTOMER = "customer-no-4711"
PROCESSES = multiprocessing.get_context("forkserver")
# imported once for all of them; nothing of a database is open by then
PROCESSES.set_forkserver_preload([__name__, "alembic.command", "duckdb", "pytest"])
_PATIENCE = 120


def fresh_schema(server: Server) -> str:
    """The URL of a new, empty schema, as the ledger takes it."""
    name = f"ledger_{uuid.uuid4().hex[:12]}"
    server.execute(f"create schema {name}")
    url = server.url(user=ADMIN).replace("postgresql:", "postgresql+psycopg:")
    return f"{url}?options=-csearch_path%3D{name}"


def assignments(*customers: str, week: date = WEEK, **other: Any) -> pl.DataFrame:
    rows = [
        {
            "week": week,
            "customer_id": customer_id,
            "silent_since": SILENT_SINCE,
            "churn_class": "A",
            "arm": "recall",
            "priority": priority,
            "recency_days": 120,
            "frequency": 1,
            "monetary": "12.3400",
            "coupon_code": f"{customer_id}@{week}",
        }
        | other
        for priority, customer_id in enumerate(customers, 1)
    ]
    return pl.DataFrame(rows, schema=ASSIGNMENT_SCHEMA)


def actions(*customers: str) -> pl.DataFrame:
    columns = ("customer_id", "tag", "action", "churn_class", "reason")
    rows = [(customer_id, TAG, "add", "A", "listed") for customer_id in customers]
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def seal(ledger: Ledger, *customers: str, week: date = WEEK) -> bool:
    return ledger.seal(week, assignments(*customers, week=week), actions(*customers), "local")


def statuses(ledger: Ledger) -> dict[str, tuple[str, str | None]]:
    rows = ledger.tag_actions().select("customer_id", "status", "error").iter_rows()
    return {customer_id: (status, error) for customer_id, status, error in rows}


def calls(*customers: str, userid: str = "staff", action: str = "add") -> pl.DataFrame:
    columns = ("customer_id", "userid", "external_userid", "tag", "action")
    rows = [(customer_id, userid, f"wm-{customer_id}", TAG, action) for customer_id in customers]
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def outcome(
    customer_id: str, status: str, error: str | None = None, attempts: int = 1, **other: Any
) -> dict[str, Any]:
    (call,) = calls(customer_id).drop("customer_id").to_dicts()
    return call | {"status": status, "error": error, "attempts": attempts} | other


def call_statuses(ledger: Ledger) -> dict[str, tuple[str, int, str | None]]:
    rows = ledger.tag_calls().select("customer_id", "status", "attempts", "error").iter_rows()
    return {customer_id: tuple(rest) for customer_id, *rest in rows}  # type: ignore[misc]


def in_step(work: Callable[..., None], url: str, names: Sequence[str], answers: int) -> list[Any]:
    """Runs ``work(url, name, barrier, queue)`` in a process a name; returns what they put into the queue."""
    barrier, queue = PROCESSES.Barrier(len(names), timeout=_PATIENCE), PROCESSES.Queue()
    workers = [PROCESSES.Process(target=work, args=(url, name, barrier, queue)) for name in names]
    for worker in workers:
        worker.start()
    found = [queue.get(timeout=_PATIENCE) for _ in range(answers)]
    for worker in workers:
        worker.join(_PATIENCE)
    assert [worker.exitcode for worker in workers] == [0] * len(names)
    return found


def start(work: Callable[[str, Any], None], url: str) -> Any:
    """A process that runs ``work(url, ready)`` and has called ``ready()``."""
    here, there = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=work, args=(url, functools.partial(there.send, None)))
    process.start()
    there.close()
    assert here.poll(_PATIENCE)
    here.recv()
    return process


def killed_in_round(work: Callable[[str, Any], None], url: str, rounds: int, share: float = 0.0) -> None:
    """Runs ``work(url, done)`` and kills it in the middle of a round.

    Args:
        work: Calls ``done()`` once it is ready and then after each round of its work; doesn't end by itself.
        url: The ledger's.
        rounds: How many rounds it does before it is killed.
        share: How far into the next round it is killed, in lengths of the last round.
    """
    here, there = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=work, args=(url, functools.partial(there.send, None)))
    process.start()
    there.close()
    begun = ended = time.monotonic()
    for _ in range(1 + rounds):
        begun = ended
        assert here.poll(_PATIENCE), f"{work.__name__} did not end a round in {_PATIENCE} seconds"
        here.recv()
        ended = time.monotonic()
    # right after it is ready, the length of a round is not known yet
    time.sleep(share * (ended - begun) if rounds else 0.0)
    process.kill()
    process.join(_PATIENCE)
    assert process.exitcode == -signal.SIGKILL

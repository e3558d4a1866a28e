"""Tagging in WeCom: calls a second through the whole chain, beside what is possible and what was asked for.

The server is the tests' loopback server with 50 ms a call; customers are listed, planned, matched, and tagged
by ``apply_tags`` with the books in an SQLite ledger. Rates are read off the server's own log.
"""

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks.report import machine, say, table, write
from rfm_pipeline.demo.wecom_server.control import WecomServer, wecom_server
from rfm_pipeline.demo.wecom_server.corporation import Call
from rfm_pipeline_tests.recall.recall_home import LONG_AGO, RecallHome, silent, week
from rfm_pipeline_tests.recall.wecom_home import campaign, contacts_of, customers_are, make_wecom_home, mapped

LATENCY = 0.05
IN_FLIGHT = 5
LIFTED = f"lifted ({IN_FLIGHT} in flight, {LATENCY * 1000:.0f} ms each)"


def tagged(server: WecomServer, customers: int, rate: float | None) -> list[Call]:
    """Tags so many customers in a new home and gives the calls that arrived."""
    server.reset()
    server.limits(latency_seconds=LATENCY)
    names = [f"n{number:05}" for number in range(customers)]
    server.befriend(contacts_of(*names))
    with tempfile.TemporaryDirectory() as folder:
        recall_home: RecallHome = make_wecom_home(Path(folder), server, rate=rate, weekly_capacity=customers)
        recall_home.silent_are([churner for name in names for churner in silent(name)])
        recall_home.last_orders_are([week(0)], dict.fromkeys(names, LONG_AGO))
        customers_are(recall_home, mapped(*names))
        report = campaign(recall_home, week(0))
    assert report.done == customers
    return server.marks()


def calls_a_second(calls: list[Call]) -> float:
    starts = sorted(call.started for call in calls)
    return (len(starts) - 1) / (starts[-1] - starts[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20, help="how long each configured rate is kept up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lifted-only", action="store_true", help="leave out the configured rates")
    arguments = parser.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1"
    rows = []
    with wecom_server() as server:
        possible = IN_FLIGHT / LATENCY
        for asked in (None,) if arguments.lifted_only else (None, 5.0, 20.0, 50.0):
            found = []
            for number in range(1, arguments.rounds + 1):
                count = arguments.customers if asked is None else int(asked * arguments.seconds)
                found.append(calls_a_second(tagged(server, count, asked)))
                say(f"round {number}: asked for {asked or 'all'}: {found[-1]:.2f} calls a second")
            found.sort()
            reference = possible if asked is None else asked
            middle = found[len(found) // 2]
            rows.append(
                [
                    f"lifted ({IN_FLIGHT} in flight, {LATENCY * 1000:.0f} ms each)"
                    if asked is None
                    else f"{asked:g}",
                    f"{reference:g}",
                    f"{middle:.2f}",
                    f"{found[0]:.2f} to {found[-1]:.2f}",
                    f"{middle / reference:.1%}",
                ]
            )
    header = ["`wecom.requests_per_second`", "possible or asked for", "median", "spread", "share"]
    write(
        "wecom_tags",
        "# Tagging in WeCom, calls a second\n\n"
        f"{machine('httpx')} {arguments.customers} customers, {arguments.rounds} rounds; the server runs "
        f"beside it on the same cores.\n\n{table(header, rows)}\n\n"
        "A call here includes matching, planning, and the ledger's row before and after it.",
    )


if __name__ == "__main__":
    main()

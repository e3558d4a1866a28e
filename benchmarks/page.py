"""The report of the benchmarks: tables, pictures and targets, from the figures of every round."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.growth import CUSTOMERS, LINES_A_WEEK, exponent
from benchmarks.report import RESULTS, table
from benchmarks.rfm_run import AGAIN, HELP, LOOK, TWIN

NOTES = Path(__file__).with_name("notes.md")
_HEAD = """# Benchmarks

{machine}

Made by `uv run python -m benchmarks`. Every way is a process of its own, in alternating rounds. *s*
is the whole process from start to exit, *processor s* the same on all cores, *of it work* the processor time
without starting Python and importing (dbt can't tell it), *×* the work, or else the processor time, as a
multiple of this project's. *Peak* is memory in GiB; in these figures it is never less than what the process
that measured held itself (0.4 with 1 million lines and with 100 million, 1.2 with 10 million).
"""


def _median(rounds: Sequence[Mapping[str, Any]], name: str) -> float | None:
    found = [each[name] for each in rounds if each.get(name) is not None]
    return statistics.median(found) if found else None


def _cost(rounds: Sequence[Mapping[str, Any]]) -> float:
    """What is compared: processor seconds, of the work alone where they are known."""
    work = _median(rounds, "work_cpu_seconds")
    whole = _median(rounds, "cpu_seconds")
    assert whole is not None
    return whole if work is None else work


def _clock(rounds: Sequence[Mapping[str, Any]]) -> float:
    """Seconds of the work, from its start to its end."""
    work = _median(rounds, "work_seconds")
    assert work is not None
    return work


def _base(ways: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    return next(name for name in ways if name.startswith("this project"))


def _task(ways: Mapping[str, Sequence[Mapping[str, Any]]], ended: Mapping[str, str]) -> str:
    own = ways[_base(ways)]
    rows = []
    for name, rounds in ways.items():
        if not rounds:
            rows.append([name, "0", *[""] * 5, ended[name]])
            continue
        seconds = [each["seconds"] for each in rounds]
        work = _median(rounds, "work_cpu_seconds")
        compared = "cpu_seconds" if work is None else "work_cpu_seconds"
        base = _median(own, compared) or _cost(own)
        rows.append(
            [
                name,
                str(len(rounds)),
                f"{statistics.median(seconds):.1f}",
                f"{min(seconds):.1f} to {max(seconds):.1f}",
                f"{_median(rounds, 'cpu_seconds'):.1f}",
                "" if work is None else f"{work:.2f}",
                f"{_cost(rounds) / base:.2f}",
                f"{max(each['peak'] for each in rounds):.2f}",
            ]
        )
    return table(["", "rounds", "s", "spread s", "processor s", "of it work", "×", "peak"], rows)


def _size(figures: Mapping[str, Any]) -> str:
    missing = "".join(f" {name}: {why}." for name, why in figures["missing"].items())
    versions = ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
    rest = ""
    if history := figures.get("history"):
        rest = (
            f" Filling {figures['snapshots'] - 1} weeks of history through all tables: "
            f"{history['cpu_seconds']:.0f} processor s, peak {history['peak']:.2f} GiB."
        )
    if limit := figures.get("limit"):
        rest += (
            f" No way may hold more than {limit:.3g} GiB; one that needs more is ended by the kernel, and "
            "what it would have given is not compared."
        )
    parts = [
        f"## {figures['lines']:,} lines",
        f"{figures.get('customers', 0):,} customers in the newest week, 156 weeks of orders "
        f"({figures['bytes'] / 1e6:,.0f} MB of CSV), a grid of {figures['snapshots']} weeks. All ways give "
        "the same RFM, every customer and column; the summaries of pymc-marketing and lifetimes the same "
        f"customers and days of first and last purchase (they know neither refunds nor returns). {versions}."
        f"{missing}{rest}",
    ]
    for name, ways in figures["rounds"].items():
        parts += [f"### {name[0].upper()}{name[1:]}", _task(ways, figures.get("ended", {}).get(name, {}))]
    return "\n\n".join(parts)


def _run(figures: Mapping[str, Any]) -> str:
    ways = figures["ways"]
    base = _median(ways[TWIN], "cpu_seconds")
    assert base is not None
    rows = [
        [
            name,
            str(len(rounds)),
            f"{_median(rounds, 'seconds'):.2f}",
            f"{min(each['seconds'] for each in rounds):.2f} to {max(each['seconds'] for each in rounds):.2f}",
            f"{_median(rounds, 'cpu_seconds'):.2f}",
            f"{_median(rounds, 'cpu_seconds') / base:.2f}",  # type: ignore[operator]
            f"{max(each['peak'] for each in rounds):.2f}",
        ]
        for name, rounds in ways.items()
    ]
    return (
        "## A whole run on the demo shop, and Dagster's share of it\n\n"
        f"The empty twin is Dagster running as many empty assets ({figures['assets']}) and checks "
        f"({figures['checks']}) in as many runs: × is against it.\n\n"
        + table(["", "rounds", "s", "spread s", "processor s", "×", "peak"], rows)
    )


def _own(increments: Mapping[str, Any], run: Mapping[str, Any] | None) -> dict[int, float]:
    """Processor seconds of a week more beyond what Dagster itself takes, by length of history."""
    dagster = _median(run["ways"][TWIN], "cpu_seconds") if run else 0.0
    assert dagster is not None
    return {
        int(weeks): statistics.median(found["cpu_seconds"]) - dagster for weeks, found in increments.items()
    }


def _growth(figures: Mapping[str, Any], run: Mapping[str, Any] | None) -> str:
    increments, ranges = figures["increments"], figures["ranges"]
    own = _own(increments, run)
    lengths = list(own)
    names = list(next(iter(increments.values()))["steps"])
    steps = {name: [increments[str(weeks)]["steps"][name] for weeks in lengths] for name in names}
    rows = [
        ["all, less Dagster's own", *(f"{own[weeks]:.1f}" for weeks in lengths), f"{_exponent(own):.2f}"],
        *(
            [name, *(f"{cost:.2f}" for cost in costs), f"{exponent(lengths, costs):.2f}"]
            for name, costs in sorted(steps.items(), key=lambda item: -item[1][-1])
        ),
    ]
    range_costs = {int(weeks): statistics.median(costs) for weeks, costs in ranges.items()}
    return "\n\n".join(
        [
            "## How cost grows",
            f"The same {CUSTOMERS:,} customers buy {LINES_A_WEEK:,} lines a week; what grows is the past: "
            f"order lines ({LINES_A_WEEK * lengths[0]:,} to {LINES_A_WEEK * lengths[-1]:,}), activity and "
            "snapshots. Processor seconds of `rfm run` with one new week's file, whole and from the "
            "beginning of each step to that of the next (Dagster's part of the step included).",
            "![A week more](growth.svg)",
            table(["weeks of history", *map(str, lengths), "exponent"], rows),
            "`customer_rfm` for a range of weeks, validated, at the longest history:",
            table(
                ["weeks in the range", *map(str, range_costs), "exponent"],
                [
                    [
                        "processor s",
                        *(f"{cost:.2f}" for cost in range_costs.values()),
                        f"{_exponent(range_costs):.2f}",
                    ]
                ],
            ),
        ]
    )


def _exponent(costs: Mapping[int, float]) -> float:
    return exponent(list(costs), list(costs.values()))


def _ratio(
    size: Mapping[str, Any] | None,
    task: str,
    way: str,
    other: str | None = None,
    cost: Callable[[Sequence[Mapping[str, Any]]], float] = _cost,
) -> float | None:
    """How many times another way's cost, this project's by default, a way has."""
    if size is None or task not in size["rounds"]:
        return None
    ways = size["rounds"][task]
    return cost(ways[way]) / cost(ways[other or _base(ways)])


def _targets(figures: Mapping[str, Any]) -> str:
    run, growth = figures.get("run"), figures.get("growth")
    large = figures.get("lines_10000000")
    one_week, in_range = "customer_rfm, one week", "104 weeks in one range run"
    rows: list[tuple[str, str, float | None, float, bool]] = []
    if run is not None:
        ways = run["ways"]
        twin = _median(ways[TWIN], "cpu_seconds")
        rows += [
            (
                "`rfm --help`, s on all cores (in quiet: 0.14 s from start to exit)",
                "≤ 0.3",
                _median(ways[HELP], "cpu_seconds"),
                0.3,
                False,
            ),
            (
                "`rfm run` with all to do / Dagster with empty assets",
                "≤ 1.5",
                (_median(ways[AGAIN], "cpu_seconds") or 0) / (twin or 1),
                1.5,
                False,
            ),
            (
                "`rfm run` on a home that is up to date / the same",
                "≤ 1.5",
                (_median(ways[LOOK], "cpu_seconds") or 0) / (twin or 1),
                1.5,
                False,
            ),
        ]
    if growth is not None:
        exponents = _exponent(_own(growth["increments"], run))
        rows.append(("a week more against history, exponent", "≤ 0.3", exponents, 0.3, False))
    rows += [
        (
            "direct DuckDB query / `customer_rfm`, one week, 10 million lines, by the clock",
            "≥ 3",
            _ratio(large, one_week, "hand-written DuckDB", cost=_clock),
            3,
            True,
        ),
        ("the same by processor time", "≥ 3", _ratio(large, one_week, "hand-written DuckDB"), 3, True),
        (
            "pandas / `customer_rfm`, the same, read from Parquet, by the clock",
            "≥ 20",
            _ratio(large, one_week, "pandas", cost=_clock),
            20,
            True,
        ),
        ("the same by processor time", "≥ 20", _ratio(large, one_week, "pandas"), 20, True),
        (
            "104 weeks with validation / the statement alone",
            "≤ 2",
            _ratio(large, in_range, "this project", "the statement and its commit"),
            2,
            False,
        ),
    ]
    return "## Targets\n\n" + table(
        ["", "target", "measured", ""],
        [
            [
                name,
                target,
                "not measured" if found is None else f"{found:.2f}",
                "" if found is None else _verdict(found, limit, is_least),
            ]
            for name, target, found, limit, is_least in rows
        ],
    )


def _verdict(found: float, limit: float, is_least: bool) -> str:
    if found >= limit if is_least else found <= limit:
        return "met"
    off = limit / found if is_least else found / limit
    return f"missed by a factor of {off:.2f}"


def _pictures(figures: Mapping[str, Any]) -> None:
    import altair as alt

    sizes = [figures[part] for part in sorted(figures, key=len) if part.startswith("lines_")]
    bars = [
        {
            "task": f"{task} · {size['lines'] // 1_000_000} M lines",
            "way": name.split(",")[0].split(" (")[0]
            + ("" if _median(rounds, "work_cpu_seconds") else " (whole process)"),
            "seconds": _cost(rounds),
        }
        for size in sizes
        for task, ways in size["rounds"].items()
        for name, rounds in ways.items()
        if rounds and "memory before" not in name
    ]
    if bars:
        chart = (
            alt.Chart(alt.Data(values=bars))
            .mark_bar()
            .encode(
                x=alt.X("seconds:Q").title("processor seconds"),
                y=alt.Y("way:N").sort("x").title(None).axis(labelLimit=260),
                color=alt.condition(
                    "indexof(datum.way, 'this project') == 0", alt.value("#1a7f4b"), alt.value("#a9a9a9")
                ),
            )
            .properties(width=300, height=alt.Step(16))
            .facet(facet=alt.Facet("task:N").title(None), columns=2)
            # the labels of an axis of its own stand outside of what a facet counts on
            .properties(
                padding={"left": 60, "right": 20, "top": 5, "bottom": 5}, spacing={"column": 60, "row": 20}
            )
            .resolve_scale(y="independent", x="independent")
        )
        _write_picture("comparison", chart)
    if "growth" in figures:
        _growth_picture(figures)


def _growth_picture(figures: Mapping[str, Any]) -> None:
    import altair as alt

    found = figures["growth"]
    curves = {
        "a week more against weeks of history (less Dagster's own)": _own(
            found["increments"], figures.get("run")
        ),
        "customer_rfm against weeks in the range": {
            int(weeks): statistics.median(costs) for weeks, costs in found["ranges"].items()
        },
    }
    points = [
        {"weeks": weeks, "seconds": cost, "curve": f"{name}: exponent {_exponent(costs):.2f}"}
        for name, costs in curves.items()
        for weeks, cost in costs.items()
    ]
    chart = (
        alt.Chart(alt.Data(values=points))
        .mark_line(point=True)
        .encode(
            x=alt.X("weeks:Q").scale(type="log", domain=[10, 256]).title("weeks (logarithmic)"),
            y=alt.Y("seconds:Q").scale(type="log").title("processor seconds (logarithmic)"),
            color=alt.Color("curve:N").title(None).legend(orient="bottom", columns=1, labelLimit=600),
        )
        .properties(width=520, height=280)
    )
    _write_picture("growth", chart)


def _write_picture(name: str, chart: Any) -> None:
    import vl_convert

    (RESULTS / f"{name}.svg").write_text(vl_convert.vegalite_to_svg(chart.to_dict()), "utf-8")


def write_report(figures: Mapping[str, Any]) -> str:
    """Writes ``report.md`` and the pictures beside it.

    Returns:
        The report.
    """
    RESULTS.mkdir(exist_ok=True)
    _pictures(figures)
    newest = next(iter(figures.values()))
    head = _HEAD.format(machine=newest["machine"])
    parts = [head.strip(), _targets(figures)]
    if NOTES.exists():
        parts.append(NOTES.read_text("utf-8").strip())
    if "run" in figures:
        parts.append(_run(figures["run"]))
    if "growth" in figures:
        parts.append(_growth(figures["growth"], figures.get("run")))
    sizes = sorted((part for part in figures if part.startswith("lines_")), key=len)
    if sizes:
        parts.append("![This project beside the alternatives](comparison.svg)")
    parts += [_size(figures[part]) for part in sizes]
    text = "\n\n".join(parts)
    (RESULTS / "report.md").write_text(text + "\n", "utf-8")
    return text

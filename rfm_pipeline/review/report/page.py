"""The owner's page: one self-contained HTML file a week, from the tables as they are.

Belongs here: which figures are on the page and where they are read. What they mean is computed in the
modules named after the tables; how they look is ``weekly_report.html.j2``. It shows no single customer:
only counts, sums and shares are read.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, StrictUndefined

from rfm_pipeline.charts.style import LIGHT, money_text
from rfm_pipeline.diagnose.schemas import CUSTOMER_SEGMENTS, NEW_SILENT_CHURNERS, SEGMENTS, SILENT_CHURNERS
from rfm_pipeline.errors import CoverageError
from rfm_pipeline.review.schemas import (
    ADVICE_STATUSES,
    BACKTEST_STATUSES,
    DORMANCY_CURVE,
    LEARNT_FROM,
    RECALL_EFFECT,
    RETURNER_STATUSES,
    SLEEPING_VALUE,
    VALUE_BACKTEST,
    VALUE_DAYS,
    VALUE_STATUSES,
    VERDICTS,
)
from rfm_pipeline.shop import ALL_CLASSES, CHURN_CLASSES, RECALL, Shop
from rfm_pipeline.storage.atomic_files import replace_files
from rfm_pipeline.warehouse.checks import stored_verdicts
from rfm_pipeline.warehouse.duckdb import Session, Warehouse
from rfm_pipeline.warehouse.snapshots import require_snapshots
from rfm_pipeline.weeks import WEEK, as_of, weeks_between

CLASS_NAMES = {"A": "A 类 · 买过爆款", "B": "B 类 · 只买特惠", "C": "C 类 · 其他"}
WEEKS_SHOWN = 26
CAMPAIGNS_SHOWN = 26
_NEEDED = (CUSTOMER_SEGMENTS, SILENT_CHURNERS, NEW_SILENT_CHURNERS, SLEEPING_VALUE, DORMANCY_CURVE)
_ALSO_NEEDED = (RECALL_EFFECT, VALUE_BACKTEST)
# a drawing's own colours become the page's, so that one drawing serves light and dark
_COLOURS = {
    LIGHT.background: "var(--card)",
    LIGHT.ink: "var(--ink)",
    LIGHT.faint: "var(--faint)",
    LIGHT.grid: "var(--line)",
    "#000": "var(--ink)",
    "#fdf0ee": "var(--tint-red)",
    "#edf7f0": "var(--tint-green)",
    "#fdf6e0": "var(--tint-gold)",
    "#ebf6f6": "var(--tint-teal)",
    "#a87400": "var(--gold)",
    "#1c7a7a": "var(--teal)",
}
_SEGMENTS_SQL = """
select week, segment, count(*) as customers, sum(monetary)::double as money
from customer_segments
where week in ($week, $before)
group by week, segment
"""
_CLASSES_SQL = """
select churn_class, count(*) as customers, sum(monetary)::double as money
from silent_churners
where week = $week
group by churn_class
"""
_NEW_SQL = """
select week, churn_class, count(*) as customers
from new_silent_churners
where week between $first and $week and not is_backlog
group by week, churn_class
"""
_LIST_SQL = """
select churn_class, arm, count(*) as customers
from recall_list
where week = $week
group by churn_class, arm
"""
_BATCHES_SQL = """
select
    count(*) as files,
    coalesce(sum(rows_read), 0)::bigint as rows_read,
    coalesce(sum(rows_accepted), 0)::bigint as rows_accepted,
    coalesce(sum(rows_unpaid), 0)::bigint as rows_unpaid,
    coalesce(sum(rows_rejected), 0)::bigint as rows_rejected,
    coalesce(sum(rows_without_customer), 0)::bigint as rows_without_customer,
    max(last_ordered_at) as newest_order_at
from order_batches
"""


@dataclass(frozen=True)
class Figures:
    """Everything that stands on a page.

    Attributes:
        week: The week.
        segments: By segment: customers, money, and the change of customers since the week before (None
            without such a week), in the order of ``SEGMENTS``.
        totals: Customers, silent churners and their money, newly silent: each with its change.
        classes: By class A, B, C: silent churners and their money.
        has_products: Whether the orders name any article; without one, nobody is of class A or B.
        newly_silent: week, churn_class, customers of the last weeks; weeks without any are there with 0.
        backlog: Silent churners of the grid's first week, if that is this week.
        listed: By class and arm: customers on the week's list; empty if there is none.
        sleeping: The row of ``sleeping_totals``.
        cells: Rows of ``sleeping_value``.
        advice: The row of ``dormancy_advice``.
        curve: Rows of ``dormancy_curve``.
        effects: Rows of ``recall_effect``.
        pooled: Its row of all campaigns whose window has closed, None if there is none.
        returners: Rows of ``returner_value`` of the recall arm.
        backtest: The overall row of ``backtest_summary``.
        quality: Rows read, accepted, ...; checks that count for the week, and the names of those failed.
    """

    week: date
    segments: dict[str, dict[str, Any]]
    totals: dict[str, Any]
    classes: dict[str, dict[str, Any]]
    has_products: bool
    newly_silent: pl.DataFrame
    backlog: int | None
    listed: dict[tuple[str, str], int]
    sleeping: dict[str, Any]
    cells: pl.DataFrame
    advice: dict[str, Any]
    curve: pl.DataFrame
    effects: pl.DataFrame
    pooled: dict[str, Any] | None
    returners: pl.DataFrame
    backtest: dict[str, Any]
    quality: dict[str, Any]


def report_path(shop: Shop, week: date) -> Path:
    """Where the page of a week lies."""
    return shop.out_dir / "reports" / f"{week}.html"


def newest_week(warehouse: Warehouse, shop: Shop) -> date:
    """The newest week that went through diagnosis and review.

    Raises:
        CoverageError: If there is none.
    """
    if shop.warehouse_path.exists():
        with warehouse.transaction() as session:
            made = [session.snapshot_weeks(table.name) for table in (*_NEEDED, *_ALSO_NEEDED)]
        if weeks := set.intersection(*made):
            return max(weeks)
    raise CoverageError(f"no week of {shop.home} has been made yet; run it first: rfm run --home {shop.home}")


def read_figures(session: Session, shop: Shop, week: date) -> Figures:
    """Reads what stands on the page of a week.

    Raises:
        MissingWeekError: If one of its tables wasn't made for the week.
    """
    for table in (*_NEEDED, *_ALSO_NEEDED):
        require_snapshots(session, shop, table, [week])
    before = week - WEEK
    has_before = before in session.snapshot_weeks(CUSTOMER_SEGMENTS.name)
    asked = {"week": week, "before": before, "first": week - (WEEKS_SHOWN - 1) * WEEK}
    counted = session.read(_SEGMENTS_SQL, asked)
    segments = _segments(counted, week, has_before)
    newly = session.read(_NEW_SQL, asked)
    effects = _week(session, RECALL_EFFECT.name, week)
    listed = session.read(_LIST_SQL, asked) if session.has("recall_list") else None
    [backtest] = (
        _week(session, "backtest_summary", week).filter(pl.col("predicted_week").is_null()).to_dicts()
    )
    return Figures(
        week=week,
        segments=segments,
        totals=_totals(session, segments, newly, week, has_before),
        classes=_classes(session.read(_CLASSES_SQL, asked)),
        has_products=has_products(session, week),
        newly_silent=_with_empty_weeks(newly, session, asked["first"], week),
        backlog=_backlog(session, shop, week),
        listed={} if listed is None else {(c, arm): n for c, arm, n in listed.iter_rows()},
        sleeping=_week(session, "sleeping_totals", week).row(0, named=True),
        cells=_week(session, SLEEPING_VALUE.name, week),
        advice=_week(session, "dormancy_advice", week).row(0, named=True),
        curve=_week(session, DORMANCY_CURVE.name, week),
        effects=effects,
        pooled=_pooled(effects),
        returners=_returners(session, week),
        backtest=backtest,
        quality=_quality(session, week),
    )


def _week(session: Session, table: str, week: date) -> pl.DataFrame:
    return session.read(f"select * from {table} where week = $week order by all", {"week": week})


def _segments(counted: pl.DataFrame, week: date, has_before: bool) -> dict[str, dict[str, Any]]:
    found = {(row["week"], row["segment"]): row for row in counted.iter_rows(named=True)}
    rows = {}
    for segment in SEGMENTS:
        now = found.get((week, segment), {"customers": 0, "money": 0.0})
        then = found.get((week - WEEK, segment), {"customers": 0})
        rows[segment] = {
            "customers": now["customers"],
            "money": now["money"],
            "change": now["customers"] - then["customers"] if has_before else None,
        }
    return rows


def _totals(
    session: Session,
    segments: Mapping[str, Mapping[str, Any]],
    newly: pl.DataFrame,
    week: date,
    has_before: bool,
) -> dict[str, Any]:
    def new_in(wanted: date) -> int:
        return int(newly.filter(pl.col("week") == wanted)["customers"].sum())

    had_before = week - WEEK in session.snapshot_weeks(NEW_SILENT_CHURNERS.name)
    silent = segments["silent_churner"]
    return {
        "customers": sum(row["customers"] for row in segments.values()),
        "customers_change": sum(row["change"] for row in segments.values()) if has_before else None,
        "money": sum(row["money"] for row in segments.values()),
        "silent": silent["customers"],
        "silent_change": silent["change"],
        "silent_money": silent["money"],
        "new": new_in(week),
        "new_change": new_in(week) - new_in(week - WEEK) if had_before else None,
    }


def _classes(counted: pl.DataFrame) -> dict[str, dict[str, Any]]:
    found = {row["churn_class"]: row for row in counted.iter_rows(named=True)}
    return {name: found.get(name, {"customers": 0, "money": 0.0}) for name in CHURN_CLASSES}


def has_products(session: Session, week: date) -> bool:
    """Whether the orders of the year before a week name any article, so that there can be bestsellers."""
    return bool(session.value("select count(*) from bestsellers where week = $week", {"week": week}))


def _with_empty_weeks(newly: pl.DataFrame, session: Session, first: date, week: date) -> pl.DataFrame:
    """The counts with every week that was made, so that a quiet week is a gap and not left out."""
    made = session.snapshot_weeks(NEW_SILENT_CHURNERS.name)
    grid = [
        {"week": day, "churn_class": name}
        for day in weeks_between(first, week)
        if day in made
        for name in CHURN_CLASSES
    ]
    frame = pl.DataFrame(grid, schema={"week": pl.Date, "churn_class": pl.String})
    return (
        frame.join(newly, on=["week", "churn_class"], how="left")
        .with_columns(pl.col("customers").fill_null(0))
        .sort("week", "churn_class")
    )


def _backlog(session: Session, shop: Shop, week: date) -> int | None:
    if week != shop.shop.first_week:
        return None
    return int(session.value("select count(*) from new_silent_churners where week = $week", {"week": week}))


def _pooled(effects: pl.DataFrame) -> dict[str, Any] | None:
    rows = effects.filter(
        pl.col("scope") == "pooled", pl.col("churn_class") == ALL_CLASSES, pl.col("campaigns") > 0
    ).to_dicts()
    return rows[0] if rows else None


def _returners(session: Session, week: date) -> pl.DataFrame:
    if not session.has("returner_value"):
        return pl.DataFrame()
    return _week(session, "returner_value", week).filter(pl.col("arm") == RECALL)


def _quality(session: Session, week: date) -> dict[str, Any]:
    verdicts = stored_verdicts(session, week)
    return {
        **session.read(_BATCHES_SQL).row(0, named=True),
        "checks": len(verdicts),
        "failed": sorted(f"{table}.{check}" for (table, check), passed in verdicts.items() if not passed),
    }


def write_reports(warehouse: Warehouse, shop: Shop, weeks: Sequence[date]) -> dict[date, Path]:
    """Writes the pages of some weeks, each at once or not at all.

    Returns:
        The file of every week.

    Raises:
        MissingWeekError: If a week's tables weren't made.
    """
    written = {}
    for week in weeks:
        with warehouse.transaction() as session:
            figures = read_figures(session, shop, week)
            cells, limits = _quadrants(session, week)
        page = render(shop, figures, draw(shop, figures, cells, limits))
        path = report_path(shop, week)
        replace_files(shop.home, {path: page.encode()})
        written[week] = path
    return written


def _quadrants(session: Session, week: date) -> tuple[pl.DataFrame, dict[str, Any]]:
    # drawing libraries are slow to load
    from rfm_pipeline.charts.quadrants import BINS_SQL

    asked = {"week": week}
    cells = session.read(BINS_SQL, asked)
    limits = session.read("select * from segment_thresholds where week = $week", asked)
    return cells, limits.row(0, named=True)


def draw(shop: Shop, figures: Figures, cells: pl.DataFrame, limits: Mapping[str, Any]) -> dict[str, str]:
    """The page's pictures by name, in the page's own colours; one without anything to show is left out."""
    from rfm_pipeline.charts.quadrants import quadrant_svg
    from rfm_pipeline.review.report.charts import dormancy_svg, effect_svg, newly_silent_svg, sleeping_svg

    currency = shop.shop.currency
    pictures = {}
    if not cells.is_empty():
        pictures["quadrants"] = quadrant_svg(
            cells,
            frequency_high=limits["frequency_high"],
            monetary_high=float(limits["monetary_high"]),
            currency=currency,
            names=SEGMENTS,
        )
    if figures.newly_silent["customers"].sum():
        pictures["newly_silent"] = newly_silent_svg(figures.newly_silent)
    if figures.sleeping["value"] is not None:
        pictures["sleeping"] = sleeping_svg(figures.cells, figures.sleeping, currency=currency)
    if "known" in figures.curve["status"].to_list():
        pictures["dormancy"] = dormancy_svg(
            figures.curve,
            dormant_after_days=figures.advice["dormant_after_days"],
            recommended_days=figures.advice["recommended_days"],
        )
    if figures.pooled is not None and figures.pooled["rate_lift"] is not None:
        pictures["effect"] = effect_svg(figures.effects)
    return {name: in_page_colours(svg, name) for name, svg in pictures.items()}


def in_page_colours(svg: str, name: str) -> str:
    """A drawing whose grounds, ink and lines take the page's colours, and whose ids are its own."""
    svg = re.sub(
        r'(fill|stroke)="([^"]+)"',
        lambda found: f'{found[1]}="{_COLOURS.get(found[2].lower(), found[2])}"',
        svg,
    )
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)


def campaign_rows(figures: Figures) -> list[dict[str, Any]]:
    """The newest campaigns, newest first: the row of ``recall_effect`` and what the returners are worth."""
    found = figures.effects.filter(pl.col("scope") == "campaign", pl.col("churn_class") == ALL_CLASSES)
    values = (
        {}
        if figures.returners.is_empty()
        else {row["campaign_week"]: row for row in figures.returners.iter_rows(named=True)}
    )
    rows = found.sort("campaign_week", descending=True).head(CAMPAIGNS_SHOWN)
    return [row | {"returners": values.get(row["campaign_week"])} for row in rows.iter_rows(named=True)]


def pooled_value(figures: Figures) -> dict[str, Any] | None:
    """What all returners of closed campaigns are worth in their 90 days; None where one isn't known."""
    if figures.pooled is None or figures.returners.is_empty():
        return None
    closed = figures.effects.filter(pl.col("scope") == "campaign", "is_final")["campaign_week"].unique()
    rows = figures.returners.filter(pl.col("campaign_week").is_in(closed.to_list()), pl.col("returned") > 0)
    if rows.is_empty() or rows["value_90d"].null_count():
        return None
    is_measured = (rows["status"] == "measured").all()
    return {
        "value": rows["value_90d"].sum(),
        "returned": rows["returned"].sum(),
        "status": RETURNER_STATUSES["measured" if is_measured else "partly_measured"],
    }


def render(shop: Shop, figures: Figures, pictures: Mapping[str, str]) -> str:
    """The page as HTML."""

    def money(amount: Any) -> str:
        return "—" if amount is None else money_text(float(amount), shop.shop.currency)

    page: str = _template().render(
        shop=shop.shop.name,
        currency=shop.shop.currency,
        week=figures.week,
        as_of=as_of(figures.week),
        f=figures,
        pictures=pictures,
        segments=SEGMENTS,
        class_names=CLASS_NAMES,
        campaigns=campaign_rows(figures),
        value=pooled_value(figures),
        holdout_share=float(shop.recall.holdout_share),
        response_days=shop.review.response_days,
        days=VALUE_DAYS,
        words={
            "verdict": VERDICTS,
            "value": VALUE_STATUSES,
            "advice": ADVICE_STATUSES,
            "backtest": BACKTEST_STATUSES,
            "returner": RETURNER_STATUSES,
            "learnt": LEARNT_FROM,
        },
        money=money,
    )
    return page


@cache
def _template() -> Any:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"n": _number, "pct": _percent, "pp": _points, "change": _change}
    return environment.from_string(
        resources.files("rfm_pipeline.review.report").joinpath("weekly_report.html.j2").read_text("utf-8")
    )


def _number(number: float | None) -> str:
    return "—" if number is None else f"{number:,.0f}"


def _percent(share: float | None, digits: int = 1) -> str:
    return "—" if share is None else f"{share:.{digits}%}"


def _points(share: float | None) -> str:
    return "—" if share is None else f"{_sign(share)}{abs(share) * 100:.1f} 个百分点"


def _change(number: int | None) -> str:
    return "—" if number is None else f"{_sign(number)}{abs(number):,}"


def _sign(number: float) -> str:
    return "+" if number > 0 else "−" if number < 0 else "±"

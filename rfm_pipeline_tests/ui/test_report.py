"""The owner's page in a browser: its figures are the tables', it asks no network, it tells of no customer."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from playwright.sync_api import Browser, Page

from rfm_pipeline.charts.style import money_text
from rfm_pipeline.demo.sample_shop import make_sample
from rfm_pipeline.diagnose.schemas import SEGMENTS
from rfm_pipeline.errors import CoverageError, MissingWeekError
from rfm_pipeline.home.warehouse import open_warehouse
from rfm_pipeline.review.report import page as report
from rfm_pipeline.review.report.page import (
    Figures,
    draw,
    in_page_colours,
    newest_week,
    pooled_value,
    read_figures,
    render,
    report_path,
    write_reports,
)
from rfm_pipeline.review.schemas import VERDICTS
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline_tests.helpers import make_shop
from rfm_pipeline_tests.ui.server import rfm

pytestmark = pytest.mark.xdist_group("report")

A4_POINTS = (595, 842)
MOST_BYTES = 2_000_000


@pytest.fixture(scope="package")
def recalled(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop with two campaigns whose windows have closed, made by the command, effect simulated."""
    home = tmp_path_factory.mktemp("recalled") / "home"
    made = rfm(
        *("sample", str(home), "--customers", "900", "--weeks", "52"),
        *("--effect", "0.3", "--campaigns", "2"),
        timeout=400,
    )
    assert made.returncode == 0, made.stderr
    done = rfm("run", "--home", str(home))
    assert done.returncode == 0, done.stderr
    assert f"report: {report_path(load_shop(home), week_of(home))}" in done.stdout
    return load_shop(home)


def week_of(home: Path) -> date:
    shop = load_shop(home)
    return newest_week(open_warehouse(shop), shop)


@pytest.fixture(scope="package")
def warehouse(recalled: Shop) -> Warehouse:
    return open_warehouse(recalled)


@pytest.fixture(scope="package")
def week(recalled: Shop) -> date:
    return week_of(recalled.home)


@contextmanager
def opened(browser: Browser, path: Path, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """The page in a browser, and what it asked for."""
    context = browser.new_context(**{"viewport": {"width": 1000, "height": 900}, **options})
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    yield page, asked
    context.close()


def cells(page: Page, row: str) -> list[str]:
    return page.locator(f"{row} td").all_inner_texts()


def number(text: str) -> float:
    return float(re.sub(r"[^\d.−-]", "", text).replace("−", "-"))


def test_the_run_wrote_the_page_of_its_week(recalled: Shop, week: date) -> None:
    path = report_path(recalled, week)
    assert path.exists()
    assert path.stat().st_size < MOST_BYTES


def test_segments_are_the_tables(browser: Browser, recalled: Shop, warehouse: Warehouse, week: date) -> None:
    rows = warehouse.read("select week, segment, monetary from customer_segments")
    now = rows.filter(pl.col("week") == week)
    before = rows.filter(pl.col("week") == week - timedelta(days=7))
    with opened(browser, report_path(recalled, week)) as (page, _):
        for segment, name in SEGMENTS.items():
            mine = now.filter(pl.col("segment") == segment)
            then = before.filter(pl.col("segment") == segment).height
            shown = cells(page, f"tr[data-segment={segment}]")
            assert shown[0] == name
            assert number(shown[1]) == mine.height
            assert number(shown[2].replace("±", "")) == mine.height - then
            assert shown[3] == f"{mine.height / now.height:.1%}"
            assert shown[4] == money_text(float(mine["monetary"].sum() or 0), "CNY")


def test_headlines_are_the_tables(browser: Browser, recalled: Shop, warehouse: Warehouse, week: date) -> None:
    def count(table: str, where: str = "true") -> int:
        sql = f"select count(*) as n from {table} where week = $week and {where}"
        return int(warehouse.read(sql, {"week": week})["n"][0])

    value = warehouse.read("select value from sleeping_totals where week = $week", {"week": week})["value"][0]
    assert value is not None
    with opened(browser, report_path(recalled, week)) as (page, _):
        shown = {
            element.get_attribute("data-figure"): element.inner_text()
            for element in page.locator("[data-figure]").all()
        }
        classes = {name: cells(page, f"tr[data-class={name}]") for name in "ABC"}
    assert number(shown["customers"]) == count("customer_rfm")
    assert number(shown["silent"]) == count("silent_churners")
    assert number(shown["new"]) == count("new_silent_churners", "not is_backlog")
    assert number(shown["listed"]) == count("recall_list", "arm = 'recall'")
    assert shown["value"] == money_text(value, "CNY")
    for name, texts in classes.items():
        assert number(texts[1]) == count("silent_churners", f"churn_class = '{name}'")
        assert number(texts[3]) == count("recall_list", f"churn_class = '{name}' and arm = 'recall'")
        assert number(texts[4]) == count("recall_list", f"churn_class = '{name}' and arm = 'holdout'")


def test_the_seed_case_is_shown(browser: Browser, recalled: Shop, warehouse: Warehouse, week: date) -> None:
    """Reached, response rate, sales in the month, value in 90 days, and what is due to the recall."""
    [pooled] = warehouse.read(
        "select * from recall_effect where week = $week and scope = 'pooled' and churn_class = 'all'",
        {"week": week},
    ).to_dicts()
    assert pooled["campaigns"] == 2
    assert pooled["incremental_customers"] > 0
    value = warehouse.read(
        "select sum(value_90d) as value from returner_value r where week = $week and arm = 'recall' and "
        "exists (select 1 from recall_effect e where e.week = r.week and e.campaign_week = r.campaign_week "
        "and e.is_final)",
        {"week": week},
    )["value"][0]
    with opened(browser, report_path(recalled, week)) as (page, _):
        shown = page.locator("#seed-case").inner_text()
        funnel = page.locator("#funnel").inner_text()
        campaigns = page.locator("#campaigns tr[data-campaign]").count()
    for figure in (
        f"{pooled['recall_assigned']:,} 位",
        f"触达 {pooled['recall_reached']:,} 位",
        f"回来 {pooled['recall_returned']:,} 位",
        f"{pooled['recall_rate']:.1%}",
        money_text(float(pooled["recall_net_sales"]), "CNY"),
        f"90 天价值 {money_text(value, 'CNY')}",
        f"约 {pooled['incremental_customers']:,.0f} 位",
        f"{pooled['holdout_rate']:.1%}",
        VERDICTS[pooled["verdict"]],
    ):
        assert figure in shown
    assert f"{pooled['holdout_assigned']:,}" in funnel
    assert (
        campaigns
        == warehouse.read(
            "select count(distinct campaign_week) as n from recall_effect "
            "where week = $week and scope = 'campaign'",
            {"week": week},
        )["n"][0]
    )


def test_no_network_and_no_script(browser: Browser, recalled: Shop, week: date) -> None:
    path = report_path(recalled, week)
    with opened(browser, path) as (page, asked):
        page.wait_for_timeout(300)
        assert asked == [path.as_uri()]
    text = path.read_text("utf-8")
    assert "<script" not in text
    # names of XML dialects aside, no address at all
    assert set(re.findall(r"https?://[^\s\"<]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_no_customer_can_be_recognized(recalled: Shop, warehouse: Warehouse, week: date) -> None:
    text = report_path(recalled, week).read_text("utf-8")
    people = warehouse.read("select distinct customer_id from order_lines where customer_id is not null")
    shown = [name for name in people["customer_id"] if name in text]
    assert shown == []
    for row in warehouse.read(
        "select coupon_code from recall_list where coupon_code is not null"
    ).iter_rows():
        assert row[0] not in text
    for path in (recalled.contacts_dir).glob("*.csv"):
        values = {
            value for row in pl.read_csv(path, infer_schema=False).iter_rows() for value in row if value
        }
        assert [value for value in values if len(value) > 6 and value in text] == []


def test_light_and_dark(browser: Browser, recalled: Shop, week: date, screenshots: Path) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        with opened(browser, report_path(recalled, week), color_scheme=scheme) as (page, _):
            grounds[scheme] = page.evaluate(
                "[getComputedStyle(document.body).backgroundColor, "
                "getComputedStyle(document.querySelector('#where svg rect')).fill, "
                "getComputedStyle(document.body).color]"
            )
            page.screenshot(path=screenshots / f"report_{scheme}.png", full_page=True)
    for light, dark in zip(grounds["light"], grounds["dark"], strict=True):
        assert light != dark


@pytest.mark.parametrize("width", [390, 768, 1400])
def test_never_scrolls_sideways(
    browser: Browser, recalled: Shop, week: date, width: int, screenshots: Path
) -> None:
    viewport = {"width": width, "height": 844}
    with opened(browser, report_path(recalled, week), viewport=viewport) as (page, _):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(path=screenshots / f"report_{width}.png", full_page=True)


def test_prints_on_a4(browser: Browser, recalled: Shop, week: date, screenshots: Path) -> None:
    with opened(browser, report_path(recalled, week), color_scheme="dark") as (page, _):
        printed = page.pdf(prefer_css_page_size=True, print_background=True)
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    (screenshots / "report.pdf").write_bytes(printed)
    boxes = {
        tuple(round(float(edge)) for edge in box.split()[2:])
        for box in re.findall(r"/MediaBox\s*\[([^\]]+)\]", printed.decode("latin-1"))
    }
    assert len(boxes) == 1
    [box] = boxes
    assert all(abs(found - wanted) <= 1 for found, wanted in zip(box, A4_POINTS, strict=True))


def test_the_same_tables_give_the_same_bytes(recalled: Shop, warehouse: Warehouse, week: date) -> None:
    path = write_reports(warehouse, recalled, [week])[week]
    before = path.read_bytes()
    assert write_reports(warehouse, recalled, [week])[week].read_bytes() == before


def test_a_failure_leaves_the_former_page(
    recalled: Shop, warehouse: Warehouse, week: date, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = report_path(recalled, week).read_bytes()

    def fail(*_: Any) -> str:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(report, "render", fail)
    with pytest.raises(RuntimeError):
        write_reports(warehouse, recalled, [week])
    assert report_path(recalled, week).read_bytes() == before
    assert list((recalled.home / ".staging").iterdir()) == []


def test_any_past_week_has_its_page(recalled: Shop, warehouse: Warehouse) -> None:
    first = recalled.shop.first_week
    done = rfm("report", "--home", str(recalled.home), "--week", str(first), "--no-open")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(report_path(recalled, first))
    text = report_path(recalled, first).read_text("utf-8")
    assert "首周：此前累积的全部静默客户" in text
    assert "较上周 —" in text


def test_without_answers_words_stand_instead_of_figures(recalled: Shop, warehouse: Warehouse) -> None:
    """The first week of a shop knows of no silence that had time to end."""
    first = recalled.shop.first_week
    with warehouse.transaction() as session:
        figures = read_figures(session, recalled, first)
    if figures.sleeping["value"] is not None:
        figures = replace(
            figures, sleeping={**figures.sleeping, "value": None, "status": "too_short"}, pooled=None
        )
    text = render(recalled, figures, {})
    assert "历史太短，暂不估算" in text
    assert "为时尚早" in text
    assert "seed-case" not in text.replace("#seed-case", "")


def figures_of(recalled: Shop, warehouse: Warehouse, week: date) -> Figures:
    with warehouse.transaction() as session:
        return read_figures(session, recalled, week)


def test_a_failed_check_is_shown(recalled: Shop, warehouse: Warehouse, week: date) -> None:
    figures = figures_of(recalled, warehouse, week)
    assert "项数据检查全部通过" in render(recalled, figures, {})
    failed = replace(figures, quality={**figures.quality, "failed": ["order_lines.no_empty_week"]})
    assert "order_lines.no_empty_week" in render(recalled, failed, {})


def test_a_value_that_is_not_known_is_not_reported(recalled: Shop, warehouse: Warehouse, week: date) -> None:
    figures = figures_of(recalled, warehouse, week)
    known = pooled_value(figures)
    assert known is not None
    unknown = figures.returners.with_columns(pl.lit(None, pl.Float64).alias("value_90d"))
    assert pooled_value(replace(figures, returners=unknown)) is None


def test_a_name_is_text(recalled: Shop, warehouse: Warehouse, week: date) -> None:
    named = recalled.model_copy(
        update={"shop": recalled.shop.model_copy(update={"name": "<script>alert(1)</script>"})}
    )
    assert "<script" not in render(named, figures_of(recalled, warehouse, week), {})


def test_no_two_drawings_share_an_id(recalled: Shop, week: date) -> None:
    found = re.findall(r'\bid="([^"]+)"', report_path(recalled, week).read_text("utf-8"))
    assert len(found) == len(set(found))
    assert in_page_colours('<g id="a"><use clip-path="url(#a)" fill="white"/></g>', "x") == (
        '<g id="x-a"><use clip-path="url(#x-a)" fill="var(--card)"/></g>'
    )


def test_a_shop_without_customers_has_a_page(recalled: Shop, warehouse: Warehouse, week: date) -> None:
    figures = figures_of(recalled, warehouse, week)
    empty = {name: {"customers": 0, "money": 0.0, "change": None} for name in SEGMENTS}
    totals = dict.fromkeys(figures.totals, 0) | {"money": 0.0, "silent_money": 0.0}
    nobody = replace(figures, segments=empty, totals=totals, listed={}, pooled=None)
    none_left = pl.DataFrame(schema={"segment": pl.String})
    pictures = draw(recalled, nobody, none_left, {})
    assert "quadrants" not in pictures
    assert "这一周还没有客户" in render(recalled, nobody, pictures)


def test_a_week_that_was_not_made_is_named(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "home")
    with pytest.raises(CoverageError, match=r"no week of .* has been made yet; run it first: rfm run"):
        newest_week(open_warehouse(shop), shop)
    refused = rfm("report", "--home", str(shop.home), "--no-open")
    assert refused.returncode == 1
    assert "run it first" in refused.stderr
    made = make_sample(tmp_path / "sample", customers=60, weeks=20)
    with (
        open_warehouse(made).transaction() as session,
        pytest.raises(MissingWeekError, match=str(made.shop.first_week)),
    ):
        read_figures(session, made, made.shop.first_week)

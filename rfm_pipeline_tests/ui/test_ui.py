"""What a person sees in the Dagster UI, in a real browser."""

import re
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from rfm_pipeline.definitions import build_defs
from rfm_pipeline.diagnose.checks import CUSTOMER_SEGMENTS_CHECKS
from rfm_pipeline.diagnose.schemas import CUSTOMER_SEGMENTS
from rfm_pipeline.shop import Shop
from rfm_pipeline.weeks import weeks_between
from rfm_pipeline_tests.helpers import make_shop, small_warehouse
from rfm_pipeline_tests.ui.server import Server, rfm, serve

pytestmark = pytest.mark.daemon

GROUPS = ("ingest", "diagnose", "recall", "review")


@pytest.fixture
def segments_page(server: Server, page: Page) -> Page:
    page.set_viewport_size({"width": 1600, "height": 1900})
    page.goto(f"{server.url}/assets/customer_segments")
    expect(page.get_by_text("[Show Markdown]")).to_be_visible()
    return page


def test_the_lineage_page_shows_the_four_stages(server: Server, page: Page, screenshots: Path) -> None:
    page.goto(f"{server.url}/asset-groups")
    graph = page.locator("svg foreignObject")
    for group in GROUPS:
        expect(graph.get_by_text(group, exact=True)).to_be_visible()
    expect(page.get_by_text("fetching statuses")).to_have_count(0)
    page.screenshot(path=screenshots / "stages.png")


def test_the_lineage_page_shows_every_asset(
    server: Server, shop: Shop, page: Page, screenshots: Path
) -> None:
    page.set_viewport_size({"width": 2600, "height": 2000})
    page.goto(f"{server.url}/asset-groups")
    graph = page.locator("svg foreignObject")
    expect(graph.get_by_text("review", exact=True)).to_be_visible()
    page.get_by_label("panel_show_right").last.click()  # the side bar says the same
    page.get_by_role("button", name="Hide navigation").click()
    page.keyboard.press("Alt+e")  # expands all groups
    names = [spec.key.to_user_string() for spec in build_defs(shop.home).resolve_all_asset_specs()]
    for _ in range(8):
        page.wait_for_timeout(3000)  # the graph is moved into place
        if not names_missing(graph, names):
            break
        # what lies outside the window is not drawn
        page.get_by_role("button", name="zoom_out").click()
    page.screenshot(path=screenshots / "asset_graph.png")
    assert names_missing(graph, names) == []


def names_missing(graph: Locator, names: Iterable[str]) -> list[str]:
    """The assets that the graph doesn't show; Dagster shortens long names in the middle."""
    shown = [text or "" for text in graph.all_text_contents()]
    patterns = {name: re.compile(f"({name}|{name[:6]}.*…_?.*{name[-6:]})") for name in names}
    return [name for name, pattern in patterns.items() if not any(map(pattern.search, shown))]


def test_the_segments_page_says_what_the_table_is(segments_page: Page, shop: Shop) -> None:
    expect(segments_page.get_by_text("Every customer in exactly one of seven segments")).to_be_visible()
    for name, column in CUSTOMER_SEGMENTS.schema.columns.items():
        row = segments_page.get_by_role("row").filter(has=segments_page.get_by_text(name, exact=True)).first
        expect(row).to_contain_text(CUSTOMER_SEGMENTS.column_types[name])
        expect(row).to_contain_text(column.description or "every column is described")


def test_the_segments_page_names_owner_and_kinds(segments_page: Page) -> None:
    for fact in ("data", "DuckDB", "SQL"):
        expect(segments_page.get_by_text(fact, exact=True).first).to_be_visible()
    expect(segments_page.get_by_text("week_plan_sensor").first).to_be_visible()


def test_the_page_of_the_orders_names_the_schedule_that_looks_for_them(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/assets/raw_orders")
    expect(page.get_by_text("At 06:00 AM GMT+8, only on Monday")).to_be_visible()


def test_the_segments_page_counts_the_rows_of_the_newest_week(segments_page: Page, shop: Shop) -> None:
    week = shop.shop.last_week
    rows = small_warehouse(shop).read(
        "select count(*) as n from customer_segments where week = $week", {"week": week}
    )["n"][0]
    expect(segments_page.get_by_text(str(week), exact=True).first).to_be_visible()
    expect(segments_page.get_by_text(f"{rows:,}", exact=True).first).to_be_visible()


def test_the_segments_page_shows_the_quadrant_picture_at_one_click(
    segments_page: Page, screenshots: Path
) -> None:
    segments_page.screenshot(path=screenshots / "customer_segments_page.png")
    segments_page.set_viewport_size({"width": 1600, "height": 1000})
    segments_page.get_by_text("[Show Markdown]").click()
    picture = segments_page.get_by_alt_text("客群象限图")
    expect(picture).to_be_visible()
    drawn = picture.evaluate("async image => { await image.decode(); return image.naturalWidth; }")
    assert drawn > 600
    segments_page.wait_for_timeout(1000)  # the dialog fades in
    segments_page.screenshot(path=screenshots / "customer_segments.png")


def test_the_checks_of_the_segments_have_passed(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/assets/customer_segments?view=checks")
    expect(page.get_by_text(f"Checks ({len(CUSTOMER_SEGMENTS_CHECKS)})")).to_be_visible()
    for check in CUSTOMER_SEGMENTS_CHECKS:
        page.goto(f"{server.url}/assets/customer_segments?view=checks&checkDetail={check.name}")
        expect(page.get_by_text(check.description)).to_be_visible()
        expect(page.get_by_text("Passed", exact=True).first).to_be_visible()


def test_every_week_is_a_partition(server: Server, shop: Shop, page: Page) -> None:
    assert shop.shop.last_week is not None
    weeks = weeks_between(shop.shop.first_week, shop.shop.last_week)
    page.goto(f"{server.url}/assets/customer_segments?view=partitions")
    expect(page.get_by_text(f"Materialized ({len(weeks)})")).to_be_visible()
    for week in (weeks[-1], weeks[-2], weeks[0]):
        expect(page.get_by_text(str(week), exact=True).first).to_be_attached()


def test_the_server_starts_without_a_warning(server: Server) -> None:
    started = server.log.partition("Serving dagster-webserver")[0]
    assert "warn" not in started.lower()


def test_a_taken_port_is_said_at_once(server: Server, shop: Shop) -> None:
    port = server.url.rpartition(":")[2]
    refused = rfm("ui", "--home", str(shop.home), "--port", port)
    assert refused.returncode == 1
    assert f"port {port} of 127.0.0.1 is taken" in refused.stderr


def test_ctrl_c_ends_web_server_and_daemon(tmp_path: Path) -> None:
    # that SIGTERM does, too, is seen when the server of all these tests is ended
    with serve(make_shop(tmp_path / "home"), tmp_path / "log.txt") as running:
        assert len(running.processes()) > 2
        assert running.stop(signal.SIGINT) == []

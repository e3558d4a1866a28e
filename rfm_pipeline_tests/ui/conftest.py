"""One small shop, run once, and its ``rfm ui`` for all tests of this folder."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from rfm_pipeline.demo.sample_shop import make_sample
from rfm_pipeline.shop import Shop
from rfm_pipeline_tests.ui.server import Server, rfm, serve

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
FILES_IN_ORDER = ("test_ui.py", "test_backfill.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Looks at the pages before backfills put other weeks on them."""
    order = {name: place for place, name in enumerate(FILES_IN_ORDER)}
    mine = [item for item in items if item.path.name in order and item.path.parent == Path(__file__).parent]
    if mine:
        first = items.index(mine[0])
        rest = [item for item in items if item not in mine]
        items[:] = [*rest[:first], *sorted(mine, key=lambda item: order[item.path.name]), *rest[first:]]


@pytest.fixture(scope="package")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop of which ``rfm run`` has made everything."""
    made = make_sample(tmp_path_factory.mktemp("ui") / "home", customers=600, weeks=40)
    done = rfm("run", "--home", str(made.home))
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="package")
def server(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(shop, tmp_path_factory.mktemp("server") / "log.txt") as running:
        yield running
        assert running.stop(signal.SIGTERM) == []


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A Chromium for this folder alone: while Playwright runs, no other test may start an event loop."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page; Dagster's greeting, shown once a home, is closed as soon as it shows."""
    opened = browser.new_page(viewport={"width": 1600, "height": 1000})
    opened.set_default_timeout(30_000)
    greeting = opened.get_by_role("button", name="Skip", exact=True)
    opened.add_locator_handler(greeting, lambda: greeting.click())
    yield opened
    opened.close()


@pytest.fixture(scope="package")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the pages are kept: the folder ``RFM_SCREENSHOTS``, or a temporary one."""
    named = os.environ.get("RFM_SCREENSHOTS")
    folder = Path(named).expanduser() if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder

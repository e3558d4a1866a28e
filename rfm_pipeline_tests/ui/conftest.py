"""One small shop, run once, and its ``rfm ui`` for all tests of this folder that only look."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline_tests.shared_homes import SharedHomes, copy_home
from rfm_pipeline_tests.ui.server import Server, serve

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE_MILLISECONDS = 60_000
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="package")
def shop(shared_homes: SharedHomes, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop of which ``rfm run`` has made everything."""
    home = tmp_path_factory.mktemp("ui") / "home"
    return load_shop(copy_home(shared_homes.sample_that_was_run(), home))


@pytest.fixture(scope="package")
def server(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(shop, tmp_path_factory.mktemp("server") / "log.txt") as running:
        yield running
        assert running.stop(signal.SIGTERM) == []


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A Chromium for this folder alone: while Playwright runs, no other test may start an event loop."""
    # Playwright's own 5 seconds are few for a page of Dagster's on a machine that runs other tests too
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page; Dagster's greeting, shown once a home, is closed as soon as it shows."""
    opened = browser.new_page(viewport={"width": 1600, "height": 1000})
    opened.set_default_timeout(PATIENCE_MILLISECONDS)
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

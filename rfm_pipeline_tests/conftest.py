"""What tests of several folders share: hypothesis' profiles, and one WeCom server.

Hypothesis: the same examples every time in CI, new ones on a developer's machine.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from rfm_pipeline.demo.wecom_server.control import WecomServer, wecom_server

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("local", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def running_wecom() -> Iterator[WecomServer]:
    with wecom_server() as server:
        yield server


@pytest.fixture
def wecom(running_wecom: WecomServer, monkeypatch: pytest.MonkeyPatch) -> WecomServer:
    """The loopback WeCom server; each test finds an empty company."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running_wecom.reset()
    return running_wecom

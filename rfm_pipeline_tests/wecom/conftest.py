"""One WeCom server for all tests of this folder; each test finds an empty company."""

from collections.abc import Iterator

import pytest

from rfm_pipeline_tests.wecom.control import WecomServer, wecom_server


@pytest.fixture(scope="session")
def running_server() -> Iterator[WecomServer]:
    with wecom_server() as server:
        yield server


@pytest.fixture
def server(running_server: WecomServer, monkeypatch: pytest.MonkeyPatch) -> WecomServer:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running_server.reset()
    return running_server

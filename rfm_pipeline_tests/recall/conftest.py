"""The loopback WeCom server for the recall's tests; each test finds an empty company."""

from collections.abc import Iterator

import pytest

from rfm_pipeline_tests.wecom.control import WecomServer, wecom_server


@pytest.fixture(scope="session")
def running_wecom() -> Iterator[WecomServer]:
    with wecom_server() as server:
        yield server


@pytest.fixture
def wecom(running_wecom: WecomServer, monkeypatch: pytest.MonkeyPatch) -> WecomServer:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running_wecom.reset()
    return running_wecom

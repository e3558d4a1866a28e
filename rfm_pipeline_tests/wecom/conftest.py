"""The tests of this folder call the WeCom server what it is to them: the server."""

import pytest

from rfm_pipeline.demo.wecom_server.control import WecomServer


@pytest.fixture
def server(wecom: WecomServer) -> WecomServer:
    return wecom

"""What tests of several folders share: servers, one a worker, and homes, one for all workers."""

import os
from collections.abc import Iterator

import pytest

from rfm_pipeline.demo.wecom_server.control import WecomServer, wecom_server
from rfm_pipeline.ingest.files import landing
from rfm_pipeline_tests.hypothesis_profiles import load_profiles
from rfm_pipeline_tests.ingest.databases.servers import Server, mariadb, postgresql
from rfm_pipeline_tests.shared_homes import SharedHomes

load_profiles()


@pytest.fixture(scope="session", autouse=True)
def short_look_at_fresh_files() -> Iterator[None]:
    """Tests load files that they have just written; each load would wait 0.25 s for them to grow.

    The tests of files that do grow put the real pause back.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landing, "_PAUSE_SECONDS", 0.01)
        yield


@pytest.fixture(autouse=True)
def no_home_of_an_earlier_test() -> None:
    """A run in this process leaves its home in the environment, where ``rfm`` would find it."""
    os.environ.pop("RFM_HOME", None)


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


@pytest.fixture(scope="session", name="postgresql")
def running_postgresql() -> Iterator[Server]:
    """A PostgreSQL; what a test leaves in it stays there."""
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session", name="mariadb")
def running_mariadb() -> Iterator[Server]:
    """A MariaDB; what a test leaves in it stays there."""
    with mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def shared_homes(tmp_path_factory: pytest.TempPathFactory) -> SharedHomes:
    """Homes that take long to make, made once for the tests of all workers."""
    return SharedHomes.of_session(tmp_path_factory)

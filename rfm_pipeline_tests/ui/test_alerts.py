"""Under a real ``rfm ui``, the daemon's sensor tells the team's group of a run whose process was killed."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rfm_pipeline.demo.wecom_server.control import WecomServer, wecom_server
from rfm_pipeline.weeks import newest_closed_week, shop_now
from rfm_pipeline_tests.helpers import make_shop
from rfm_pipeline_tests.ui.server import Server, serve, wait_until

pytestmark = [pytest.mark.daemon, pytest.mark.slow]

SECONDS = 240
_CURSOR = """
{ sensorsOrError(repositorySelector: {repositoryName: "__repository__",
    repositoryLocationName: "rfm_pipeline.definitions"})
  { ... on Sensors { results { name sensorState { status ticks(limit: 1) { status } } } } } }
"""
_LAUNCH = """
mutation ($params: ExecutionParams!) {
    launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } } }
}
"""


@pytest.fixture
def wecom() -> Iterator[WecomServer]:
    with wecom_server() as server:
        yield server


def sensor_has_looked(server: Server) -> bool:
    found = server.ask(_CURSOR)["sensorsOrError"].get("results", [])
    return any(one["sensorState"]["ticks"] for one in found if one["name"] == "failure_alert")


def child_that_runs(server: Server, run_id: str) -> int | None:
    """The process in the server's group that carries out the run, by what it holds open."""
    for process in server.processes():
        try:
            command = Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:
            continue
        if b"spawn_main" in command or run_id.encode() in command:
            return process
    return None


def test_a_run_whose_process_is_killed_is_reported(tmp_path: Path, wecom: WecomServer) -> None:
    shop = make_shop(
        tmp_path / "home",
        wecom={"enabled": True, "base_url": wecom.base_url},
    )
    # no orders: the run has little to do, so its process is stopped as soon as it is there
    environment = {"RFM_WECOM_ROBOT_KEY": wecom.robot_key, "NO_PROXY": "127.0.0.1"}
    with serve(shop, tmp_path / "log.txt", environment) as server:
        wait_until(lambda: sensor_has_looked(server), SECONDS, "the sensor's first look")
        params = {
            "selector": {
                "repositoryName": "__repository__",
                "repositoryLocationName": "rfm_pipeline.definitions",
                "jobName": "weekly_job",
            },
            "executionMetadata": {
                "tags": [{"key": "dagster/partition", "value": str(newest_closed_week(shop, shop_now(shop)))}]
            },
        }
        launched = server.ask(_LAUNCH, params=params)["launchRun"]
        run_id = launched["run"]["runId"]
        process = wait_until(lambda: child_that_runs(server, run_id), SECONDS, "the run's process")
        os.kill(process, signal.SIGKILL)
        wait_until(lambda: wecom.state().messages, SECONDS, "the alert")
        [message] = wecom.state().messages
        assert run_id[:8] in message["content"]
        assert "运行进程意外结束" in message["content"]

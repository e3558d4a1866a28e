"""Starts the loopback WeCom server for tests and speaks to it: sets the scene, orders faults, reads back."""

import contextlib
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import httpx

from rfm_pipeline.demo.wecom_server.corporation import (
    CORP_ID,
    MARK_TAG,
    ROBOT_KEY,
    SECRET,
    Call,
    Contact,
    Group,
)
from rfm_pipeline.demo.wecom_server.server import FaultPlan

_START_SECONDS = 60
_STOP_SECONDS = 10


@dataclass(frozen=True)
class State:
    """What the company knows at one moment.

    Attributes:
        contacts: All contacts by (userid, external_userid).
        groups: All tag groups by name.
        messages: What the robot said, in order: msgtype and its content.
        violations: How often a limit or rule of the contract was broken, by rule: ``in_flight``,
            ``same_customer``, ``rate``, ``robot_rate``, ``foreign_tag``, ``tag_name``, ``empty_mark``,
            ``wrong_secret``, ``unknown_api``.
        tokens: How many different tokens were given out.
        peak_in_flight: How many mark_tag calls ran at once at the most.
    """

    contacts: dict[tuple[str, str], Contact]
    groups: dict[str, Group]
    messages: list[dict[str, Any]]
    violations: Counter[str]
    tokens: int
    peak_in_flight: int

    def tags(self) -> dict[tuple[str, str], set[str]]:
        """The names of the tags on every contact that has any, foreign ones included."""
        names = {tag_id: name for group in self.groups.values() for tag_id, name in group.tags.items()}
        return {
            pair: {names[tag_id] for tag_id in contact.tag_ids}
            for pair, contact in self.contacts.items()
            if contact.tag_ids
        }


class WecomServer:
    """A running server.

    Attributes:
        base_url: What the client takes as ``base_url``.
        corp_id: The company.
        secret: The app's.
        robot_key: The robot's.
        process: The server itself.
    """

    corp_id, secret, robot_key = CORP_ID, SECRET, ROBOT_KEY

    def __init__(self, port: int, process: "subprocess.Popen[bytes]") -> None:
        self.base_url = f"http://127.0.0.1:{port}/cgi-bin"
        self.process = process
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}/control/", timeout=_START_SECONDS, trust_env=False
        )

    def _do(self, action: str, **arguments: Any) -> Any:
        answer = self._http.post(action, json=arguments)
        answer.raise_for_status()
        return answer.json()

    def reset(self) -> None:
        """A new, empty company without faults."""
        self._do("reset")

    def employ(self, *staff: str) -> None:
        """Staff who may have customers."""
        self._do("employ", staff=staff)

    def befriend(self, contacts: Sequence[Contact]) -> None:
        """Contacts, their staff included; a pair that is there is replaced."""
        self._do("befriend", contacts=[asdict(contact) for contact in contacts])

    def unfriend(self, userid: str, external_userid: str) -> None:
        """A customer deletes a staff member."""
        self._do("unfriend", userid=userid, external_userid=external_userid)

    def make_tags(self, group_name: str, *names: str, ours: bool = True) -> dict[str, str]:
        """Tags as name → id; of a group that the app made, or somebody else."""
        made: dict[str, str] = self._do("make_tags", group_name=group_name, names=names, ours=ours)
        return made

    def delete_tag(self, tag_id: str) -> None:
        """Somebody deletes a tag in the admin console."""
        self._do("delete_tag", tag_id=tag_id)

    def limits(self, **limits: float) -> None:
        """Changes some of :class:`~rfm_pipeline.demo.wecom_server.corporation.Limits`."""
        self._do("limits", **limits)

    def faults(self, plan: FaultPlan) -> None:
        """Faults by chance from now on."""
        self._do("faults", **asdict(plan))

    def script(self, api: str, *faults: str) -> None:
        """The next calls of an API meet these faults, one each, in order."""
        self._do("script", api=api, faults=faults)

    def expire_token(self) -> None:
        """The token is no longer good, whatever was promised."""
        self._do("expire_token")

    def state(self) -> State:
        """What the company knows now."""
        answer = self._do("state")
        contacts = [Contact(**contact) for contact in answer["contacts"]]
        return State(
            contacts={(contact.userid, contact.external_userid): contact for contact in contacts},
            groups={group["name"]: Group(**group) for group in answer["groups"]},
            messages=answer["messages"],
            violations=Counter(answer["violations"]),
            tokens=answer["tokens"],
            peak_in_flight=answer["peak_in_flight"],
        )

    def calls(self, api: str | None = None, *, after: int = 0) -> list[Call]:
        """Every call that arrived after the first so many, or those of one API, in order."""
        calls = [Call(**call) for call in self._do("calls", after=after)]
        return [call for call in calls if api in (None, call.api)]

    def marks(self) -> list[Call]:
        """Every mark_tag call that arrived, in order."""
        return self.calls(MARK_TAG)

    def media(self, media_id: str) -> tuple[str, bytes]:
        """Name and content of an uploaded file."""
        answer = self._do("media", media_id=media_id)
        return answer["name"], bytes.fromhex(answer["hex"])

    def kill(self) -> None:
        """Ends the server at once."""
        self.process.kill()
        self.process.wait(_STOP_SECONDS)


@contextmanager
def wecom_server() -> Iterator[WecomServer]:
    """A server on a free port of 127.0.0.1, in a process of its own that never outlives this one."""
    # the socket is opened here, so nobody else can take the port; requests wait until the server is up
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "rfm_pipeline.demo.wecom_server.server"),
                *("--latency", "0", "--listener", str(listener.fileno())),
            ],
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
        )
    try:
        yield WecomServer(port, process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        process.kill()
        process.wait()

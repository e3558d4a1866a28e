"""A loopback WeCom server: real HTTP and a real clock in a process of its own, and all that can go wrong.

``python -m rfm_pipeline.demo.wecom_server.server --port 8765`` runs one to try the product against.
Belongs here: HTTP, latency, faults, and the control interface below ``/control``. What WeCom answers is
``corporation``'s; starting one from a test and speaking to it is ``control``'s.
"""

import asyncio
import contextlib
import csv
import email
import email.policy
import json
import os
import random
import re
import socket
import struct
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rfm_pipeline.demo.wecom_server.corporation import (
    CORP_ID,
    MARK_TAG,
    ROBOT,
    ROBOT_KEY,
    SECRET,
    UPLOAD,
    Call,
    Contact,
    Corporation,
    Limits,
    Refusal,
)

GET_APIS = ("gettoken", "externalcontact/get_follow_user_list")
POST_APIS = (
    "externalcontact/batch/get_by_user",
    "externalcontact/get_corp_tag_list",
    "externalcontact/add_corp_tag",
    "externalcontact/edit_corp_tag",
    "externalcontact/del_corp_tag",
    MARK_TAG,
    ROBOT,
    UPLOAD,
)
_SILENCE_SECONDS = 120
# what a message of WeCom may quote, so that a test sees it where it should not be
_ERRMSG = "hint: [1700000000], from ip: 203.0.113.9, external_userid: {external_userid}, token: {token}"


@dataclass
class FaultPlan:
    """What goes wrong, by chance.

    Attributes:
        seed: Of the chance. The order of arrival decides which call meets which fault.
        rates: How often a kind of fault happens, as shares of all calls. Kinds are ``errcode:N`` (the answer
            is N and nothing happens), ``slow``, and, each with ``:before`` (nothing happens) or ``:after``
            (the effect takes place all the same): ``reset``, ``silence`` (no answer ever), ``malformed``,
            ``http_502`` and any other status.
        apis: Which calls; all if empty.
        slow_seconds: How much longer a slow call takes; it counts as in flight all the while.
    """

    seed: int = 0
    rates: dict[str, float] = field(default_factory=dict)
    apis: list[str] = field(default_factory=list)
    slow_seconds: float = 1


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    kind: str
    code: int = 0
    effect: bool = True

    @classmethod
    def of(cls, text: str) -> "Fault":
        """Reads a kind as :class:`FaultPlan` spells it.

        Raises:
            ValueError: If there is no such kind.
        """
        if text == "slow":
            return cls("slow")
        if found := re.fullmatch(r"errcode:(-?\d+)", text):
            return cls("errcode", int(found[1]), effect=False)
        if found := re.fullmatch(r"(reset|silence|malformed|http)(?:_(\d+))?:(before|after)", text):
            return cls(found[1], int(found[2] or 502), effect=found[3] == "after")
        raise ValueError(f"no such fault: {text}")


class Protocol(HttpToolsProtocol):
    """Remembers connections by the client's address, so that they can be reset."""

    transports: ClassVar[dict[Any, asyncio.Transport]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = transport.get_extra_info("peername")
        self.transports[self.peer] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.transports.pop(self.peer, None)
        super().connection_lost(exc)


class WecomService:
    """One company's API and its control interface."""

    def __init__(self, corporation: Corporation) -> None:
        self.corporation = corporation
        self.plan = FaultPlan()
        self._chance = random.Random(0)
        self._scripted: defaultdict[str, deque[str]] = defaultdict(deque)

    def app(self) -> Starlette:
        """Everything as an ASGI application."""
        routes = [Route(f"/cgi-bin/{api}", self._api(api), methods=["GET"]) for api in GET_APIS]
        routes += [Route(f"/cgi-bin/{api}", self._api(api), methods=["POST"]) for api in POST_APIS]
        routes += [Route("/control/{action}", self._control, methods=["POST"])]
        routes += [Route("/{path:path}", self._elsewhere, methods=["GET", "POST", "PUT", "DELETE"])]
        return Starlette(routes=routes)

    # --- the API ----------------------------------------------------------------------------------

    def _api(self, api: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            started = time.monotonic()
            try:
                body = await request.body()
            except ClientDisconnect:  # the caller was killed half-way: that is no call
                return Response()
            corporation = self.corporation
            call = Call(len(corporation.log) + 1, api, started)
            corporation.log.append(call)
            upload = _read(request, call, body)
            fault = self._draw(call)
            content = await self._process(corporation, call, fault, dict(request.query_params), upload)
            return await self._reply(request, fault, content)

        return answer

    def _draw(self, call: Call) -> Fault | None:
        """What goes wrong with a call: what a test ordered, else chance."""
        if self._scripted[call.api]:
            call.fault = self._scripted[call.api].popleft()
        elif not self.plan.apis or call.api in self.plan.apis:
            call.fault = self._by_chance()
        return Fault.of(call.fault) if call.fault else None

    def _by_chance(self) -> str | None:
        point = self._chance.random()
        for kind, rate in self.plan.rates.items():
            point -= rate
            if point < 0:
                return kind
        return None

    async def _process(
        self,
        corporation: Corporation,
        call: Call,
        fault: Fault | None,
        query: dict[str, str],
        upload: tuple[str, bytes] | None,
    ) -> dict[str, Any]:
        """What the company makes of the call: the answer, whether it will be sent or not."""
        content: dict[str, Any] = {}
        latency = corporation.limits.latency_seconds
        try:
            if fault and fault.kind == "errcode":
                await asyncio.sleep(latency)
                raise Refusal(fault.code)
            corporation.arrive(call, query)
            corporation.enter(call)
            try:
                slower = self.plan.slow_seconds if fault and fault.kind == "slow" else 0
                await asyncio.sleep(latency + slower)
                if fault is None or fault.effect:
                    content = corporation.carry_out(call, query, upload)
                    call.effect, call.errcode = True, 0
            finally:
                corporation.leave(call)
        except Refusal as refusal:
            call.errcode = refusal.errcode
        call.ended = time.monotonic()
        errmsg = _ERRMSG.format(
            external_userid=call.body.get("external_userid", ""), token=query.get("access_token", "")
        )
        return {"errcode": call.errcode, "errmsg": errmsg if call.errcode else "ok", **content}

    async def _reply(self, request: Request, fault: Fault | None, content: dict[str, Any]) -> Response:
        match fault.kind if fault else "":
            case "reset":
                await _reset(request)
                return Response()
            case "silence":
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_SILENCE_SECONDS):
                        while (await request.receive())["type"] != "http.disconnect":
                            pass
                await _reset(request)
                return Response()
            case "malformed":
                return Response(json.dumps(content)[:-3], media_type="application/json")
            case "http":
                assert fault is not None
                return Response("<html>a gateway between</html>", fault.code, media_type="text/html")
        return JSONResponse(content)

    async def _elsewhere(self, request: Request) -> Response:
        self.corporation.violations["unknown_api"] += 1
        return Response("<html>nothing is here</html>", 404, media_type="text/html")

    # --- control ----------------------------------------------------------------------------------

    async def _control(self, request: Request) -> Response:
        asked = json.loads(await request.body() or b"{}")
        action: Callable[..., Any] = getattr(self, f"do_{request.path_params['action']}")
        return JSONResponse(action(**asked))

    def do_reset(self) -> None:
        """A new company; what still runs belongs to the old one."""
        self.corporation = Corporation()
        self.plan = FaultPlan()
        self._scripted.clear()

    def do_employ(self, staff: list[str]) -> None:
        self.corporation.employ(staff)

    def do_befriend(self, contacts: list[dict[str, Any]]) -> None:
        self.corporation.befriend(Contact(**contact) for contact in contacts)

    def do_unfriend(self, userid: str, external_userid: str) -> None:
        del self.corporation.contacts[userid, external_userid]

    def do_make_tags(self, group_name: str, names: list[str], ours: bool) -> dict[str, str]:
        return self.corporation.make_tags(group_name, names, ours=ours)

    def do_delete_tag(self, tag_id: str) -> None:
        self.corporation.delete_tag(tag_id)

    def do_limits(self, **limits: Any) -> None:
        self.corporation.limits = Limits(**(asdict(self.corporation.limits) | limits))

    def do_faults(self, **plan: Any) -> None:
        self.plan = FaultPlan(**plan)
        for kind in self.plan.rates:
            Fault.of(kind)
        self._chance = random.Random(self.plan.seed)

    def do_script(self, api: str, faults: list[str]) -> None:
        for kind in faults:
            Fault.of(kind)
        self._scripted[api].extend(faults)

    def do_expire_token(self) -> None:
        self.corporation.expire_token()

    def do_state(self) -> dict[str, Any]:
        return self.corporation.state()

    def do_calls(self, after: int = 0) -> list[dict[str, Any]]:
        return [asdict(call) for call in self.corporation.log[after:]]

    def do_media(self, media_id: str) -> dict[str, str]:
        name, content, _ = self.corporation.media[media_id]
        return {"name": name, "hex": content.hex()}


async def _reset(request: Request) -> None:
    """Ends the connection as a crash does: RST instead of FIN."""
    transport = Protocol.transports.get(request.scope["client"])
    if transport is None:
        return
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()
    await asyncio.sleep(0.01)  # so that uvicorn has seen it and does not miss an answer


def _read(request: Request, call: Call, body: bytes) -> tuple[str, bytes] | None:
    """Notes a call's JSON; the file if it is an upload."""
    if call.api == UPLOAD:
        return _uploaded(request.headers.get("content-type", ""), body)
    with contextlib.suppress(ValueError):
        content = json.loads(body) if body else {}
        call.body = content if isinstance(content, dict) else {}
    return None


def _uploaded(content_type: str, body: bytes) -> tuple[str, bytes] | None:
    """Name and content of the multipart field ``media``."""
    message = email.message_from_bytes(
        f"Content-Type: {content_type}\r\n\r\n".encode() + body, policy=email.policy.HTTP
    )
    for part in message.iter_parts() if message.is_multipart() else ():
        if part.get_param("name", header="content-disposition") == "media":
            content = part.get_payload(decode=True)
            return str(part.get_filename()), content if isinstance(content, bytes) else b""
    return None


def serve(service: WecomService, listener: socket.socket) -> None:
    """Serves until the process ends."""
    config = uvicorn.Config(
        service.app(),
        http=Protocol,
        loop="asyncio",
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _end_with_parent() -> None:
    """Ends this process when the process that started it is gone: then its end of the pipe is closed."""
    sys.stdin.buffer.read()
    os._exit(0)


def _contacts_in(path: Path) -> list[Contact]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [
            Contact(
                row["wecom_userid"],
                row["wecom_external_userid"],
                unionid=row.get("unionid") or "",
                remark_mobiles=[row["phone"]] if row.get("phone") else [],
            )
            for row in csv.DictReader(file)
            if row.get("wecom_userid") and row.get("wecom_external_userid")
        ]


def main(
    port: Annotated[int, typer.Option(help="On 127.0.0.1; 0 takes a free one.")] = 0,
    contacts: Annotated[
        Path | None,
        typer.Option(help="A CSV with wecom_userid, wecom_external_userid, and optionally phone, unionid."),
    ] = None,
    latency: Annotated[float, typer.Option(help="Seconds that each call takes.")] = 0.05,
    listener: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Runs a WeCom server of a company that is not there, to try the product against."""
    corporation = Corporation()
    corporation.limits.latency_seconds = latency
    if contacts is not None:
        corporation.befriend(_contacts_in(contacts))
    if listener is not None:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        serve(WecomService(corporation), socket.socket(fileno=listener))
        return
    with socket.create_server(("127.0.0.1", port)) as opened:
        address = f"http://127.0.0.1:{opened.getsockname()[1]}"
        typer.echo(f"base URL   {address}/cgi-bin")
        typer.echo(f"corp id    {CORP_ID}")
        typer.echo(f"secret     {SECRET}")
        typer.echo(f"robot key  {ROBOT_KEY}")
        typer.echo(f"contacts   {len(corporation.contacts)} of {len(corporation.staff)} staff")
        typer.echo(f"state      curl -X POST {address}/control/state")
        serve(WecomService(corporation), opened)


if __name__ == "__main__":
    typer.run(main)

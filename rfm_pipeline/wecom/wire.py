"""One call over HTTP to WeCom, and what came of it as a value: an answer, or why there is none.

WeCom takes token, secret and robot key as query parameters, and httpx writes URLs into its log and its
exceptions. So no URL here holds a secret: the query travels beside it, in the request's ``target``, and every
exception ends here. Belongs here: one attempt. Retries and rates are the callers'.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self
from urllib.parse import urlencode

import httpx
from pydantic import Field, TypeAdapter

from rfm_pipeline.errors import RfmError
from rfm_pipeline.wecom.errors import Remedy, WecomRefused, reason_of, remedy_of

BASE_URL = "https://qyapi.weixin.qq.com/cgi-bin"
_PASSING = (408, 429)
_CONNECT_SHARE = 0.5


@dataclass(frozen=True)
class Answer:
    """WeCom answered.

    Attributes:
        errcode: 0 is success.
        content: What was asked for, read by the call's reader; None unless the errcode is 0.
    """

    errcode: int
    content: Any = field(default=None, repr=False)

    @property
    def remedy(self) -> Remedy | None:
        """What the code asks for; None for success."""
        return None if self.errcode == 0 else remedy_of(self.errcode)

    @property
    def reason(self) -> str:
        """The code in our words."""
        return reason_of(self.errcode)

    @property
    def may_have_happened(self) -> bool:
        """Whether the call may have taken effect."""
        return self.errcode == 0


@dataclass(frozen=True)
class NoAnswer:
    """There was no answer that can be read.

    Attributes:
        reason: ``timeout``, ``http 502``, ``no connection``, ``connection broken`` or ``malformed reply``.
        may_have_happened: Whether the call may have taken effect all the same; False only if the request
            certainly never left.
    """

    reason: str
    may_have_happened: bool
    errcode = None
    remedy = Remedy.BACK_OFF


Result = Answer | NoAnswer


@dataclass(frozen=True)
class _Status:
    errcode: Annotated[int, Field(strict=True)]


_STATUS = TypeAdapter(_Status)


class Wire:
    """Makes calls below one base URL; close it in the end."""

    def __init__(self, base_url: str, timeout_seconds: float, *, keep_alive: bool) -> None:
        """Opens nothing yet.

        Args:
            base_url: Such as :data:`BASE_URL`.
            timeout_seconds: For one call, from connecting to the last byte.
            keep_alive: Whether connections are used again. A connection that was ended in the meantime
                leaves open whether a call arrived, so a caller that must know takes new ones.

        Raises:
            RfmError: If the base URL is none.
        """
        try:
            self._base = httpx.URL(base_url.rstrip("/"))
        except httpx.InvalidURL:
            self._base = httpx.URL("")
        extras = (self._base.query, self._base.userinfo, self._base.fragment)
        if self._base.scheme not in ("http", "https") or not self._base.host or any(extras):
            raise RfmError(f"WeCom's base URL has to look like {BASE_URL}: without any key or token in it.")
        self._urls: dict[str, httpx.URL] = {}
        self._timeout_seconds = timeout_seconds
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_seconds, connect=timeout_seconds * _CONNECT_SHARE),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None if keep_alive else 0),
            follow_redirects=False,  # a token goes nowhere else
        )

    async def close(self) -> None:
        """Ends all connections."""
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        reader: TypeAdapter[Any] | None = None,
        **body: Any,
    ) -> Result:
        """Makes one call, once.

        Args:
            method: ``GET`` or ``POST``.
            path: Below the base URL, without a leading slash.
            query: The parameters, secrets among them.
            reader: What a successful answer has to look like.
            body: As httpx takes it: ``json`` or ``files``.

        Raises:
            WecomRefused: If whatever answered is not WeCom's API; the call had no effect.
        """
        url = self._url(path)
        target = url.raw_path + b"?" + urlencode(query).encode()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._http.request(method, url, extensions={"target": target}, **body)
        except httpx.ConnectTimeout:
            return NoAnswer("timeout", may_have_happened=False)
        except (httpx.ConnectError, httpx.ProxyError):
            return NoAnswer("no connection", may_have_happened=False)
        except (TimeoutError, httpx.TimeoutException):
            return NoAnswer("timeout", may_have_happened=True)
        except httpx.HTTPError:
            return NoAnswer("connection broken", may_have_happened=True)
        return _read(response, reader)

    def _url(self, path: str) -> httpx.URL:
        if path not in self._urls:
            raw_path = self._base.raw_path.rstrip(b"/") + b"/" + path.encode()
            self._urls[path] = self._base.copy_with(raw_path=raw_path)
        return self._urls[path]


class Connected:
    """Something that speaks over a wire, which is closed at the end of an ``async with`` block."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends all connections."""
        await self._wire.close()


def _read(response: httpx.Response, reader: TypeAdapter[Any] | None) -> Result:
    if response.is_server_error or response.status_code in _PASSING:
        return NoAnswer(f"http {response.status_code}", may_have_happened=True)
    if response.status_code != httpx.codes.OK:
        raise WecomRefused(
            f"HTTP {response.status_code} came back instead of an answer of WeCom's API: check the base URL,"
            " and that no proxy or sign-in page stands between this machine and WeCom."
        )
    try:
        content = response.json()
        errcode = _STATUS.validate_python(content).errcode
        if errcode == 0 and reader is not None:
            return Answer(0, reader.validate_python(content))
    except (ValueError, RecursionError):
        # what it holds may be personal
        return NoAnswer("malformed reply", may_have_happened=True)
    return Answer(errcode)

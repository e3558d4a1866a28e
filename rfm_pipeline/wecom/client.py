"""The client of a self-built app: staff, contacts, the tag library, and marking customers.

One place applies the error policy (:meth:`WecomClient._ask`), so a call's own method sees only what is left
of it. The caller keeps the ledger: a marked customer's outcome is a value, and what ends the run's calls
is an exception, after which this client sends nothing any more.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn
from weakref import WeakValueDictionary

from pydantic import TypeAdapter

from rfm_pipeline.errors import RfmError
from rfm_pipeline.wecom.errors import (
    POLICY,
    RETRIES,
    Remedy,
    WecomError,
    WecomRefused,
    WecomStopped,
    WecomUnavailable,
    refused,
)
from rfm_pipeline.wecom.model import (
    READS_CONTACTS,
    READS_STAFF,
    READS_TAGS,
    READS_TOKEN,
    ContactPage,
    ContactsRead,
    Outcome,
    Staff,
    Status,
    TagLibrary,
    TagsRead,
    Token,
)
from rfm_pipeline.wecom.pacing import RateLimiter, pause
from rfm_pipeline.wecom.wire import BASE_URL, Answer, Connected, NoAnswer, Result, Wire

STAFF_AT_ONCE = 50
PAGE_SIZE = 100
NAME_LENGTH = 30
"""How many characters the name of a tag or of a tag group may have."""
_GIVE_UP_AFTER = 40
_BAD_TAG = 40068


@dataclass(frozen=True)
class WecomSettings:
    """How to reach WeCom.

    Attributes:
        corp_id: The company's id.
        secret: The app's secret.
        base_url: Where the API is.
        requests_per_second: How many calls start a second, retries included; None lifts the limit.
        in_flight: How many customers are marked at once; WeCom takes five for the whole company.
        timeout_seconds: How long one call may take.
        backoff_seconds: The pause before the first retry, give or take half; it doubles with each.
    """

    corp_id: str
    secret: str = field(repr=False)
    base_url: str = BASE_URL
    requests_per_second: float | None = 5
    in_flight: int = 5
    timeout_seconds: float = 10
    backoff_seconds: float = 0.5

    def __post_init__(self) -> None:
        if not self.corp_id or not self.secret:
            raise RfmError("WeCom needs the corp id and the app's secret; one of them is empty.")
        if not 1 <= self.in_flight <= 5:
            raise RfmError("WeCom takes 1 to 5 calls in flight.")
        if self.requests_per_second is not None and self.requests_per_second <= 0:
            raise RfmError("The requests a second have to be more than 0.")


@dataclass(frozen=True)
class _Call:
    """A call before the secret is added to it."""

    method: str
    path: str
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    reader: TypeAdapter[Any] | None = field(default=None, repr=False)
    slot: AbstractAsyncContextManager[Any] = field(default_factory=nullcontext, repr=False)
    credentials: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Final:
    """What is left of a call after the policy."""

    result: Result
    attempts: int
    unanswered: bool


@dataclass(frozen=True)
class _Row:
    """One customer of one staff member with the tags to change."""

    userid: str = field(repr=False)
    external_userid: str = field(repr=False)
    add: tuple[str, ...]
    remove: tuple[str, ...]


class WecomClient(Connected):
    """WeCom's API for one run; use it as ``async with WecomClient(settings) as wecom``.

    All methods raise :class:`WecomStopped` or :class:`WecomRefused` where the error policy ends the run's
    calls, and the same again for every later call, without sending it.
    """

    def __init__(self, settings: WecomSettings) -> None:
        """Makes no call yet.

        Raises:
            RfmError: If the base URL is none.
        """
        super().__init__(Wire(settings.base_url, settings.timeout_seconds, keep_alive=True))
        self._settings = settings
        self._pace = RateLimiter(settings.requests_per_second)
        self._marking = asyncio.Semaphore(settings.in_flight)
        self._customers: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._token: Token | None = None
        self._token_lock = asyncio.Lock()
        self._tags = _KnownTags()
        self._tags_lock = asyncio.Lock()
        self._unusable_in_a_row = 0
        self._ended: WecomError | None = None

    # --- what a run asks for ----------------------------------------------------------------------

    async def follow_users(self) -> tuple[str, ...]:
        """The staff who may have customers.

        Raises:
            WecomUnavailable: If there is no usable answer.
        """
        call = _Call("GET", "externalcontact/get_follow_user_list", reader=READS_STAFF)
        staff: Staff = _content(call, await self._ask(call))
        return staff.follow_user

    async def contacts(self, userids: Sequence[str]) -> AsyncIterator[ContactPage]:
        """All contacts of the staff, page by page.

        Args:
            userids: The staff, such as :meth:`follow_users` gives them.

        Yields:
            The pages. A staff member of whom WeCom says that the app can't read them is named in
            ``rejected``, once, and the others are read all the same.

        Raises:
            WecomUnavailable: If there is no usable answer: what was read so far is not everything.
        """
        staff = list(dict.fromkeys(userids))
        todo = [staff[start : start + STAFF_AT_ONCE] for start in range(0, len(staff), STAFF_AT_ONCE)]
        while todo:
            staff = todo.pop(0)
            cursor: str | None = ""
            while cursor is not None:
                call = _contacts_of(staff, cursor)
                final = await self._ask(call)
                if not cursor and _is_rejected(final.result):
                    # one of them: the halves tell which
                    middle = len(staff) // 2
                    todo[:0] = [staff[:middle], staff[middle:]] if middle else []
                    if not middle and final.result.errcode is not None:
                        yield ContactPage(rejected={staff[0]: final.result.errcode})
                    break
                page: ContactsRead = _content(call, final)
                yield ContactPage(page.contacts)
                cursor = _next_cursor(call, cursor, page)

    async def tags(self) -> TagLibrary:
        """The company's tag library.

        Raises:
            WecomUnavailable: If there is no usable answer.
        """
        call = _Call("POST", "externalcontact/get_corp_tag_list", {"tag_id": [], "group_id": []}, READS_TAGS)
        read: TagsRead = _content(call, await self._ask(call))
        library = TagLibrary(
            tuple(
                replace(group, tags=tuple(tag for tag in group.tags if not tag.deleted))
                for group in read.groups
                if not group.deleted
            )
        )
        self._tags.learn(library)
        return library

    async def add_tags(self, group_name: str, names: Iterable[str]) -> dict[str, str]:
        """Sees to it that a tag group has these tags; makes what is missing, the group too.

        Returns:
            The tags asked for as name → id.

        Raises:
            RfmError: If a name is empty or too long.
            WecomUnavailable: If there is no usable answer.
        """
        wanted = list(dict.fromkeys(names))
        for name in (group_name, *wanted):
            _check_name(name)
        call = _Call("POST", "externalcontact/add_corp_tag")
        # twice, because the first may have been overtaken by somebody else (40071)
        for _ in range(2):
            ids = (await self.tags()).ids(group_name)
            missing = [{"name": name} for name in wanted if name not in ids]
            if not missing:
                return {name: ids[name] for name in wanted}
            final = await self._ask(replace(call, body={"group_name": group_name, "tag": missing}))
            if final.result.remedy is not Remedy.RELOAD_TAGS:
                _content(call, final)
        ids = (await self.tags()).ids(group_name)
        if any(name not in ids for name in wanted):
            _unavailable(call, "it does not list the tags that it has just made")
        return {name: ids[name] for name in wanted}

    async def mark_tag(
        self, userid: str, external_userid: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()
    ) -> Outcome:
        """Puts tags on a staff member's customer and takes others off.

        May be called for any number of customers at once: no more than ``in_flight`` calls are under way, and
        never two for the same customer. Doing it again is harmless: the same tags are on in the end. A caller
        that cancels it does not know what came of it, so when one of many raises, await the others.

        Args:
            userid: The staff member.
            external_userid: The customer.
            add: Ids of tags.
            remove: Ids of tags.

        Returns:
            What came of it; a row that can't be done never raises.

        Raises:
            ValueError: If there is nothing to add or remove.
            WecomStopped: If WeCom asks for a pause. Whether an unanswered earlier attempt for this customer
                took effect is then not known.
            WecomRefused: If WeCom refuses for good.
            WecomUnavailable: If there is no token, or no call was answered for a while.
        """
        row = _Row(userid, external_userid, tuple(add), tuple(remove))
        if not row.add and not row.remove:
            raise ValueError("a customer is marked with at least one tag to add or remove")
        async with self._customers.setdefault(external_userid, asyncio.Lock()):
            final = await self._mark(row)
            if final.result.errcode == _BAD_TAG and await self._has_reloaded(row):
                final = await self._mark_again(row, final)
        return _outcome(final)

    # --- marking ----------------------------------------------------------------------------------

    async def _mark(self, row: _Row) -> _Final:
        return await self._ask(
            _Call(
                "POST",
                "externalcontact/mark_tag",
                {
                    "userid": row.userid,
                    "external_userid": row.external_userid,
                    "add_tag": [self._tags.current(tag) for tag in row.add],
                    "remove_tag": [self._tags.current(tag) for tag in row.remove],
                },
                slot=self._marking,
            )
        )

    async def _has_reloaded(self, row: _Row) -> bool:
        """Reads the tag library again, once for each tag; whether that worked."""
        async with self._tags_lock:
            if self._tags.is_settled(row.add + row.remove):
                return True
            try:
                await self.tags()
            except WecomUnavailable:
                if self._ended is not None:
                    raise
                return False
            self._tags.settle(row.add + row.remove)
            return True

    async def _mark_again(self, row: _Row, first: _Final) -> _Final:
        """Marks with the tags that there are now; a tag that is gone is on nobody."""
        if any(self._tags.is_gone(tag) for tag in row.add):
            return first
        left = replace(row, remove=tuple(tag for tag in row.remove if not self._tags.is_gone(tag)))
        if not left.add and not left.remove:
            return replace(first, result=Answer(0))
        again = await self._mark(left)
        return _Final(again.result, first.attempts + again.attempts, first.unanswered or again.unanswered)

    # --- the error policy -------------------------------------------------------------------------

    async def _ask(self, call: _Call) -> _Final:
        """Makes a call and does what the error policy asks for, until there is a result to keep."""
        spent: Counter[Remedy] = Counter()
        unanswered = False
        while True:
            result = await self._attempt(call)
            remedy = result.remedy
            unanswered |= isinstance(result, NoAnswer) and result.may_have_happened
            self._end_if_asked(result)
            if remedy is None or spent[remedy] >= RETRIES.get(remedy, 0):
                return _Final(result, spent.total() + 1, unanswered)
            if remedy is not Remedy.REFRESH_TOKEN:
                await pause(self._settings.backoff_seconds, spent[remedy])
            spent[remedy] += 1

    async def _attempt(self, call: _Call) -> Result:
        async with call.slot:
            self._raise_if_ended()
            token = None if call.credentials else await self._current_token()
            query = call.credentials or {"access_token": token.access_token if token else ""}
            await self._pace.wait()
            self._raise_if_ended()
            body = {} if call.body is None else {"json": call.body}
            try:
                result = await self._wire.call(call.method, call.path, query, reader=call.reader, **body)
            except WecomRefused as error:
                self._ended = error
                raise
        if not call.credentials:
            self._watch_for_an_outage(result)
        if result.remedy is Remedy.REFRESH_TOKEN and self._token is token:
            self._token = None
        return result

    async def _current_token(self) -> Token:
        """The token; asks for one only if there is none or it is over, one at a time."""
        async with self._token_lock:
            now = asyncio.get_running_loop().time()
            if self._token is None or self._token.expires_at <= now:
                self._token = replace(await self._new_token(), asked_at=now)
            return self._token

    async def _new_token(self) -> Token:
        credentials = {"corpid": self._settings.corp_id, "corpsecret": self._settings.secret}
        call = _Call("GET", "gettoken", reader=READS_TOKEN, credentials=credentials)
        try:
            token: Token = _content(call, await self._ask(call))
        except WecomUnavailable as error:
            self._ended = error
            raise
        return token

    def _watch_for_an_outage(self, result: Result) -> None:
        is_unusable = result.remedy in (Remedy.BACK_OFF, Remedy.REFRESH_TOKEN)
        self._unusable_in_a_row = self._unusable_in_a_row + 1 if is_unusable else 0
        if self._unusable_in_a_row >= _GIVE_UP_AFTER:
            self._ended = WecomUnavailable(
                f"WeCom gave no usable answer to {_GIVE_UP_AFTER} calls in a row, the last time:"
                f" {result.reason}. What is not done yet is done by the next run."
            )

    def _end_if_asked(self, result: Result) -> None:
        """Raises if this result ends the run's calls; a success stays one, whatever ended them meanwhile."""
        if result.remedy is Remedy.STOP_FOR_NOW:
            self._ended = WecomStopped()
            raise self._ended
        if result.remedy is Remedy.STOP_RUN and result.errcode is not None:
            self._ended = refused(result.errcode)
            raise self._ended

    def _raise_if_ended(self) -> None:
        if self._ended is not None:
            # without the traceback of the caller that met it first: thousands may be waiting here
            raise self._ended.with_traceback(None)


class _KnownTags:
    """Which tag ids there are, and which took a deleted one's place: same group, same name, another id.

    The group is found by its id: a group of the same name may be somebody else's.
    """

    def __init__(self) -> None:
        self._names: dict[str, tuple[str, str]] = {}
        self._ids: dict[tuple[str, str], str] = {}
        self._settled: set[str] = set()

    def learn(self, library: TagLibrary) -> None:
        self._ids = {(group.id, tag.name): tag.id for group in library.groups for tag in group.tags}
        self._names |= {tag_id: names for names, tag_id in self._ids.items()}

    def settle(self, tags: Iterable[str]) -> None:
        """The library was read again because of these."""
        self._settled.update(tags)

    def is_settled(self, tags: Iterable[str]) -> bool:
        return self._settled.issuperset(tags)

    def current(self, tag: str) -> str:
        """The id under which a tag is known now."""
        names = self._names.get(tag)
        return tag if names is None else self._ids.get(names, tag)

    def is_gone(self, tag: str) -> bool:
        return self.current(tag) not in self._ids.values()


def _contacts_of(staff: Sequence[str], cursor: str) -> _Call:
    body = {"userid_list": list(staff), "cursor": cursor, "limit": PAGE_SIZE}
    return _Call("POST", "externalcontact/batch/get_by_user", body, READS_CONTACTS)


def _is_rejected(result: Result) -> bool:
    """Whether it is about single staff members; a code that nobody knows may be about anything."""
    return result.errcode is not None and POLICY.get(result.errcode) is Remedy.REJECT_ROW


def _next_cursor(call: _Call, cursor: str, page: ContactsRead) -> str | None:
    if page.next_cursor and page.next_cursor == cursor:
        _unavailable(call, "it gives the same page again and again")
    return page.next_cursor or None


def _content(call: _Call, final: _Final) -> Any:
    """What a call was made for.

    Raises:
        WecomUnavailable: If it did not succeed.
    """
    if isinstance(final.result, NoAnswer) or final.result.errcode != 0:
        _unavailable(call, f"{final.result.reason}, after {final.attempts} attempts")
    return final.result.content


def _unavailable(call: _Call, why: str) -> NoReturn:
    raise WecomUnavailable(
        f"WeCom gave no usable answer to {call.path}: {why}. Try again later; if it stays, look the code up"
        " in WeCom's list of error codes (https://developer.work.weixin.qq.com/document/path/90313)."
    )


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= NAME_LENGTH:
        raise RfmError(
            f"The tag or tag group {name!r} has {len(name)} characters; WeCom takes 1 to {NAME_LENGTH}."
            " Change it in the settings."
        )


def _outcome(final: _Final) -> Outcome:
    result, remedy = final.result, final.result.remedy
    if isinstance(result, Answer) and remedy is None:
        return Outcome(Status.DONE, None, 0, final.attempts, may_have_happened=True)
    rejected = remedy in (Remedy.REJECT_ROW, Remedy.RELOAD_TAGS)
    # whether tags that are on already are an error is not known: what the contact has decides, next time
    if rejected and final.unanswered and result.errcode not in POLICY:
        rejected = False
    status = Status.REJECTED if rejected else Status.FAILED
    return Outcome(status, result.reason, result.errcode, final.attempts, final.unanswered)

"""The company behind the loopback server: staff, contacts, tags, tokens and limits, as the contract has them.

Belongs here: what WeCom knows and what it answers to a call that reaches it. HTTP, latency and everything
that goes wrong on the way are ``server``'s.
"""

import base64
import hashlib
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

CORP_ID = "ww-loopback-corp"
SECRET = "secret-of-the-loopback-app"
ROBOT_KEY = "key-of-the-loopback-robot"
TOKEN_SECONDS = 7200
TAGS_AT_MOST = 3000
NAME_LENGTH = 30
IN_FLIGHT = 5
MARK_TAG = "externalcontact/mark_tag"
ROBOT = "webhook/send"
UPLOAD = "webhook/upload_media"
ROBOT_APIS = (ROBOT, UPLOAD)
_FILE_BYTES = range(6, 20 * 1024 * 1024 + 1)
_MEDIA_SECONDS = 3 * 24 * 3600
_MESSAGE_BYTES = {"text": 2048, "markdown": 4096}


@dataclass
class Contact:
    """One customer of one staff member."""

    userid: str
    external_userid: str
    unionid: str = ""
    remark_mobiles: list[str] = field(default_factory=list)
    tag_ids: list[str] = field(default_factory=list)
    name: str = ""

    def as_answered(self) -> dict[str, Any]:
        """How ``batch/get_by_user`` answers it; what is not known is left out, as there."""
        person = {"external_userid": self.external_userid, "name": self.name, "type": 1}
        follow = {
            "userid": self.userid,
            "remark": "",
            "createtime": 1700000000,
            "tag_id": self.tag_ids,
            "remark_mobiles": self.remark_mobiles or None,
            "state": "",
            "add_way": 1,
        }
        return {
            "external_contact": person | ({"unionid": self.unionid} if self.unionid else {}),
            "follow_info": follow,
        }


@dataclass
class Group:
    """A tag group; ``ours`` if the app made it, and only then may the app change it."""

    id: str
    name: str
    ours: bool
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Limits:
    """What can be set; as WeCom has it unless a test wants to see a limit sooner.

    Attributes:
        calls: How many calls of one API fit into a window.
        window_seconds: That window.
        messages: How many messages of the robot fit into its window.
        robot_window_seconds: That window.
        token_seconds: How long a token is really good for, whatever ``expires_in`` says.
        tags: How many tags the library holds.
        latency_seconds: How long each call takes.
        retag_errcode: The answer where a tag to add is on already or one to remove is not; WeCom does not
            say.
    """

    calls: int = 10_000
    window_seconds: float = 60
    messages: int = 20
    robot_window_seconds: float = 60
    token_seconds: float = TOKEN_SECONDS
    tags: int = TAGS_AT_MOST
    latency_seconds: float = 0
    retag_errcode: int = 0


@dataclass
class Call:
    """One call as the log keeps it.

    Attributes:
        number: Counted from 1 in the order of arrival.
        api: Such as ``externalcontact/mark_tag``.
        started: When it arrived, by the machine's monotonic clock.
        ended: When it was over on this side; None while it runs.
        errcode: What the company decided; None if the call never came before it.
        effect: Whether it was carried out.
        fault: What went wrong on the way on purpose.
        body: The request's JSON, empty for a read without one.
    """

    number: int
    api: str
    started: float
    ended: float | None = None
    errcode: int | None = None
    effect: bool = False
    fault: str | None = None
    body: dict[str, Any] = field(default_factory=dict)


class Refusal(Exception):
    """The company says no, with an error code."""

    def __init__(self, errcode: int) -> None:
        super().__init__(errcode)
        self.errcode = errcode


def _check(holds: bool, errcode: int) -> None:
    if not holds:
        raise Refusal(errcode)


class Corporation:
    """A company with one app and one robot."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.staff: list[str] = []
        self.contacts: dict[tuple[str, str], Contact] = {}
        self.groups: dict[str, Group] = {}
        self.log: list[Call] = []
        self.violations: Counter[str] = Counter()
        self.messages: list[dict[str, Any]] = []
        self.media: dict[str, tuple[str, bytes, float]] = {}
        self.tokens = 0
        self.peak_in_flight = 0
        self._token: tuple[str, float] | None = None
        self._old_tokens: set[str] = set()
        self._marking: Counter[str] = Counter()
        self._windows: defaultdict[str, deque[float]] = defaultdict(deque)
        self._ids = 0

    # --- setting the scene ------------------------------------------------------------------------

    def employ(self, staff: Iterable[str]) -> None:
        self.staff += [userid for userid in staff if userid not in self.staff]

    def befriend(self, contacts: Iterable[Contact]) -> None:
        for contact in contacts:
            self.employ([contact.userid])
            self.contacts[contact.userid, contact.external_userid] = contact

    def make_tags(self, group_name: str, names: Iterable[str], *, ours: bool) -> dict[str, str]:
        group = self._group(group_name) or self._new_group(group_name, ours=ours)
        made = {self._new_id("et"): name for name in names}
        group.tags |= made
        return {name: tag_id for tag_id, name in made.items()}

    def delete_tag(self, tag_id: str) -> None:
        """Takes a tag out of the library and off everybody, as the admin console does."""
        for group in list(self.groups.values()):
            group.tags.pop(tag_id, None)
            if not group.tags:
                del self.groups[group.id]
        for contact in self.contacts.values():
            contact.tag_ids = [tag for tag in contact.tag_ids if tag != tag_id]

    def expire_token(self) -> None:
        if self._token is not None:
            self._old_tokens.add(self._token[0])
            self._token = None

    def state(self) -> dict[str, Any]:
        return {
            "contacts": [asdict(contact) for contact in self.contacts.values()],
            "groups": [asdict(group) for group in self.groups.values()],
            "messages": self.messages,
            "violations": dict(self.violations),
            "tokens": self.tokens,
            "peak_in_flight": self.peak_in_flight,
            "calls": len(self.log),
        }

    # --- a call comes and goes --------------------------------------------------------------------

    def arrive(self, call: Call, query: Mapping[str, str]) -> None:
        """A call comes in: credentials and limits. Call :meth:`leave` for it when it is over.

        Raises:
            Refusal: If it is turned away.
        """
        if call.api == "gettoken":
            return
        if call.api in ROBOT_APIS:
            _check(query.get("key") == ROBOT_KEY, 93000)
        else:
            self._check_token(query.get("access_token", ""))
        self._count(call.api)
        if call.api == MARK_TAG:
            busy = str(call.body.get("external_userid")), self._marking.total()
            if busy[1] >= IN_FLIGHT:
                self.violations["in_flight"] += 1
                raise Refusal(45033)
            if self._marking[busy[0]]:
                self.violations["same_customer"] += 1
                raise Refusal(45033)

    def enter(self, call: Call) -> None:
        """An accepted call is under way."""
        if call.api == MARK_TAG:
            self._marking[str(call.body.get("external_userid"))] += 1
            self.peak_in_flight = max(self.peak_in_flight, self._marking.total())

    def leave(self, call: Call) -> None:
        """It is no longer."""
        if call.api == MARK_TAG:
            self._marking[str(call.body.get("external_userid"))] -= 1

    def carry_out(self, call: Call, query: Mapping[str, str], upload: tuple[str, bytes] | None) -> Any:
        """Does what is asked for.

        Returns:
            The answer's content besides errcode and errmsg.

        Raises:
            Refusal: If it can't be done; nothing is changed then.
        """
        if call.api == "gettoken":
            return self._give_token(query)
        if call.api == UPLOAD:
            return self._take_upload(query, upload)
        does: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "externalcontact/get_follow_user_list": lambda body: {"follow_user": self.staff},
            "externalcontact/batch/get_by_user": self._tell_contacts,
            "externalcontact/get_corp_tag_list": self._tell_tags,
            "externalcontact/add_corp_tag": self._add_tags,
            "externalcontact/edit_corp_tag": self._edit_tag,
            "externalcontact/del_corp_tag": self._delete_tags,
            MARK_TAG: self._mark,
            ROBOT: self._say,
        }
        return does[call.api](call.body)

    # --- credentials and limits -------------------------------------------------------------------

    def _give_token(self, query: Mapping[str, str]) -> dict[str, Any]:
        _check(bool(query.get("corpid") and query.get("corpsecret")), 41001)
        _check(query["corpid"] == CORP_ID, 40013)
        if query["corpsecret"] != SECRET:
            self.violations["wrong_secret"] += 1
            raise Refusal(40001)
        now = time.monotonic()
        if self._token is not None and self._token[1] <= now:
            self.expire_token()
        if self._token is None:
            self.tokens += 1
            self._token = f"token-{self.tokens}-{self._new_id('')}", now + self.limits.token_seconds
        return {"access_token": self._token[0], "expires_in": TOKEN_SECONDS}

    def _check_token(self, token: str) -> None:
        _check(bool(token), 41001)
        if self._token is not None and self._token[1] <= time.monotonic():
            self.expire_token()
        _check(token not in self._old_tokens, 42001)
        _check(self._token is not None and token == self._token[0], 40014)

    def _count(self, api: str) -> None:
        if api == UPLOAD:
            return
        robot = api == ROBOT
        most = self.limits.messages if robot else self.limits.calls
        seconds = self.limits.robot_window_seconds if robot else self.limits.window_seconds
        window, now = self._windows[api], time.monotonic()
        while window and window[0] <= now - seconds:
            window.popleft()
        if len(window) >= most:
            self.violations["robot_rate" if robot else "rate"] += 1
            raise Refusal(45009)
        window.append(now)

    # --- contacts and tags ------------------------------------------------------------------------

    def _tell_contacts(self, body: dict[str, Any]) -> dict[str, Any]:
        staff: list[str] = list(body.get("userid_list") or ())
        limit = int(body.get("limit", 50))
        _check(1 <= len(staff) <= 100 and 1 <= limit <= 100, 40058)
        _check(set(staff) <= set(self.staff), 60111)
        wanted = set(staff)
        rows = [contact for contact in self.contacts.values() if contact.userid in wanted]
        start = _position(body.get("cursor", ""), staff)
        cursor = _cursor(start + limit, staff) if start + limit < len(rows) else ""
        answered = [contact.as_answered() for contact in rows[start : start + limit]]
        return {"external_contact_list": answered, "next_cursor": cursor}

    def _tell_tags(self, body: dict[str, Any]) -> dict[str, Any]:
        tags, groups = set(body.get("tag_id") or ()), set(body.get("group_id") or ())
        answered = [
            _group_as_answered(group)
            for group in self.groups.values()
            if not (tags or groups) or group.id in groups or tags & set(group.tags)
        ]
        return {"tag_group": answered}

    def _add_tags(self, body: dict[str, Any]) -> dict[str, Any]:
        names = [str(tag.get("name", "")) for tag in body.get("tag") or ()]
        group_name, group_id = str(body.get("group_name") or ""), body.get("group_id")
        group = self.groups.get(str(group_id)) if group_id else self._group(group_name)
        _check(bool(names) and bool(group or group_name), 40058)
        if any(not 1 <= len(name) <= NAME_LENGTH for name in (*names, group_name or "x")):
            self.violations["tag_name"] += 1
            raise Refusal(40058)
        _check(group is None or group.ours, 81011)
        there = set(group.tags.values()) if group else set()
        _check(not there & set(names) and len(set(names)) == len(names), 40071)
        held = sum(len(each.tags) for each in self.groups.values())
        _check(held + len(names) <= self.limits.tags, 40126)
        self.make_tags(group.name if group else group_name, names, ours=True)
        made = group or self._group(group_name)
        assert made is not None
        return {"tag_group": _group_as_answered(made)}

    def _edit_tag(self, body: dict[str, Any]) -> dict[str, Any]:
        group = self._changeable(str(body.get("id")))
        group.tags[str(body.get("id"))] = str(body.get("name"))
        return {}

    def _delete_tags(self, body: dict[str, Any]) -> dict[str, Any]:
        tags = [str(tag) for tag in body.get("tag_id") or ()]
        for tag in tags:
            self._changeable(tag)
        for tag in tags:
            self.delete_tag(tag)
        return {}

    def _changeable(self, tag_id: str) -> Group:
        group = self._group_of(tag_id)
        if group is None:
            raise Refusal(40068)
        _check(group.ours, 81011)
        return group

    def _mark(self, body: dict[str, Any]) -> dict[str, Any]:
        add, remove = list(body.get("add_tag") or ()), list(body.get("remove_tag") or ())
        if not add and not remove:
            self.violations["empty_mark"] += 1
            raise Refusal(40058)
        _check(body.get("userid") in self.staff, 60111)
        _check(bool(body.get("external_userid")), 40096)
        contact = self.contacts.get((str(body["userid"]), str(body["external_userid"])))
        if contact is None:
            raise Refusal(84061)
        groups = [self._group_of(tag) for tag in add + remove]
        _check(None not in groups, 40068)
        self.violations.update("foreign_tag" for group in groups if group and not group.ours)
        before = set(contact.tag_ids)
        if self.limits.retag_errcode and (before & set(add) or set(remove) - before):
            raise Refusal(self.limits.retag_errcode)
        contact.tag_ids = sorted((before - set(remove)) | set(add))
        return {}

    def _group(self, name: str) -> Group | None:
        return next((group for group in self.groups.values() if group.name == name), None)

    def _group_of(self, tag_id: str) -> Group | None:
        return next((group for group in self.groups.values() if tag_id in group.tags), None)

    def _new_group(self, name: str, *, ours: bool) -> Group:
        group = Group(self._new_id("eg"), name, ours)
        self.groups[group.id] = group
        return group

    def _new_id(self, prefix: str) -> str:
        self._ids += 1
        return prefix + hashlib.sha256(f"{self._ids}".encode()).hexdigest()[:20]

    # --- the robot --------------------------------------------------------------------------------

    def _say(self, body: dict[str, Any]) -> dict[str, Any]:
        kind = str(body.get("msgtype"))
        _check(kind in ("text", "markdown", "file"), 40008)
        content: dict[str, Any] = body.get(kind) or {}
        if kind == "file":
            media = self.media.get(str(content.get("media_id")))
            _check(media is not None and time.monotonic() - media[2] < _MEDIA_SECONDS, 40007)
        else:
            length = len(str(content.get("content", "")).encode())
            _check(1 <= length <= _MESSAGE_BYTES[kind], 40058)
        self.messages.append({"msgtype": kind, **content})
        return {}

    def _take_upload(self, query: Mapping[str, str], upload: tuple[str, bytes] | None) -> dict[str, Any]:
        _check(query.get("type") == "file", 40004)
        if upload is None:
            raise Refusal(44001)
        _check(len(upload[1]) in _FILE_BYTES, 40006)
        media_id = self._new_id("media-")
        self.media[media_id] = (*upload, time.monotonic())
        return {"type": "file", "media_id": media_id, "created_at": "1700000000"}


def _group_as_answered(group: Group) -> dict[str, Any]:
    tags = [
        {"id": tag_id, "name": name, "create_time": 1700000000, "order": 0, "deleted": False}
        for tag_id, name in group.tags.items()
    ]
    return {
        "group_id": group.id,
        "group_name": group.name,
        "create_time": 1700000000,
        "order": 0,
        "deleted": False,
        "tag": tags,
    }


def _cursor(position: int, staff: list[str]) -> str:
    """A cursor says nothing to its holder, and is good for the same staff only."""
    digest = hashlib.sha256("\n".join(staff).encode()).hexdigest()[:12]
    return base64.urlsafe_b64encode(f"{position} {digest}".encode()).decode()


def _position(cursor: str, staff: list[str]) -> int:
    if not cursor:
        return 0
    try:
        position = int(base64.urlsafe_b64decode(cursor).decode().split()[0])
    except ValueError:
        raise Refusal(40058) from None
    _check(_cursor(position, staff) == cursor, 40058)
    return position

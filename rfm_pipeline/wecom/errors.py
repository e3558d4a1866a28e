"""WeCom's error codes as data: which code asks for what, and the exceptions that end a run's calls.

Belongs here: what a code means for a run, and the words for those who mend it. Carrying it out is the
client's and the robot's. No text here holds anything that WeCom sent: its ``errmsg`` quotes ids and
addresses.
"""

from collections.abc import Mapping
from enum import StrEnum

from rfm_pipeline.errors import RfmError


class Remedy(StrEnum):
    """What an error code asks for."""

    REFRESH_TOKEN = "refresh the token and retry once"
    BACK_OFF = "back off and retry, at most 3 times"
    SERIALISE = "wait until nothing else runs for that customer, then retry"
    STOP_FOR_NOW = "stop this run's calls and resume in the next run"
    REJECT_ROW = "reject this row, keep the reason, go on"
    RELOAD_TAGS = "reload the tag library once, then retry"
    STOP_RUN = "stop the run with a clear message"


RETRIES: Mapping[Remedy, int] = {Remedy.REFRESH_TOKEN: 1, Remedy.BACK_OFF: 3, Remedy.SERIALISE: 5}
"""How often a call is repeated at most for a remedy; how long 45033 is tried is not said by WeCom."""

REJECTIONS: Mapping[int, str] = {
    84061: "not a contact of that staff member",
    40096: "the external_userid is not valid",
    40003: "the userid is not valid",
    60111: "the staff member is not known",
    46004: "the staff member does not exist",
    50002: "the staff member is outside the app's visible range",
    60011: "the app has no right to this staff member or contact",
    40058: "a parameter is not valid",
}
"""The codes that concern one row only, and what they say of it."""

_CREDENTIALS = (
    "Compare the corp id with 我的企业 → 企业信息 and the secret with 应用管理 → the app → Secret in the"
    " WeCom admin console. Do not try on: repeated wrong secrets block this machine's IP for an hour."
)
_APIS = "add the app in the WeCom admin console under 客户联系 → 客户 → API → 可调用接口的应用"
_ROBOT = "In the WeCom group: 群设置 → 群机器人"

REFUSALS: Mapping[int, str] = {
    40001: f"the secret is wrong. {_CREDENTIALS}",
    40013: f"the corp id is wrong. {_CREDENTIALS}",
    41001: f"no valid credentials arrived: the corp id or secret is empty or cut off. {_CREDENTIALS}",
    48002: f"the app may not call this API: {_APIS}",
    48006: f"the app's right to call this API was taken away: {_APIS} again, and look for a notice there",
    60020: (
        "this machine's IP address is not trusted: add the address it has on the internet in the WeCom admin"
        " console under 应用管理 → the app → 企业可信IP"
    ),
    301002: (
        "the credentials have no right to this app: take the secret of the app itself from 应用管理 in the"
        " WeCom admin console, and see that the person who runs it administers that app"
    ),
    50003: "the app is disabled: enable it in the WeCom admin console under 应用管理 → the app",
    84074: (
        "there is no right to external contacts: allow it for the staff in the WeCom admin console under"
        " 客户联系 → 权限配置, and "
    )
    + _APIS,
    95017: (
        "the function is switched off for this company: switch it on in the WeCom admin console under"
        " 客户联系"
    ),
    40126: (
        "the tag library is full: delete tags that nobody uses in the WeCom admin console under"
        " 客户联系 → 客户标签 → 企业标签"
    ),
    81011: (
        "the app may not change this tag group: somebody else made it. Give the group another name in the"
        " settings, or rename or delete the one in the WeCom admin console under 客户联系 → 客户标签, so that"
        " the app can make its own"
    ),
    93000: (
        f"the robot's key is wrong, or the robot was taken out of its group. {_ROBOT}: add one and use the"
        " key at the end of its webhook address"
    ),
    93004: f"the robot is disabled. {_ROBOT}: enable it, or add another and use its key",
    93008: f"the robot is not in the group. {_ROBOT}: add it again, and use the key of its webhook address",
}
"""The codes that no retry mends, and what to do about each."""

POLICY: Mapping[int, Remedy] = {
    **dict.fromkeys((40014, 42001), Remedy.REFRESH_TOKEN),
    **dict.fromkeys((-1, 6000), Remedy.BACK_OFF),
    45033: Remedy.SERIALISE,
    45009: Remedy.STOP_FOR_NOW,
    **dict.fromkeys(REJECTIONS, Remedy.REJECT_ROW),
    **dict.fromkeys((40068, 40071), Remedy.RELOAD_TAGS),
    **dict.fromkeys(REFUSALS, Remedy.STOP_RUN),
}
"""Every code that WeCom documents for these calls (its page 90313), and what it asks for."""


def remedy_of(errcode: int) -> Remedy:
    """What an error code asks for.

    A code that is not listed rejects its row: one odd row must not stop the others, and the code is kept for
    the person who looks at it.
    """
    return POLICY.get(errcode, Remedy.REJECT_ROW)


def reason_of(errcode: int) -> str:
    """The code with what it says of its row, in our words."""
    meaning = REJECTIONS.get(errcode)
    return f"errcode {errcode}" if meaning is None else f"errcode {errcode}: {meaning}"


class WecomError(RfmError):
    """WeCom's calls can't go on in this run; what is not done waits for another."""


class WecomStopped(WecomError):
    """WeCom asks for a pause (45009): the next run does the rest."""

    def __init__(self) -> None:
        super().__init__(
            "WeCom's limit on calls is reached (errcode 45009). What is not done yet is done by the next run;"
            " if it happens again, lower the requests per second."
        )


class WecomUnavailable(WecomError):
    """WeCom gave no usable answer to a call that the run can't do without: a later run may find one."""


class WecomRefused(WecomError):
    """WeCom refuses for good: nothing works until somebody changes something, and a retry may do harm.

    Attributes:
        errcode: WeCom's code; None if the answer was no answer of WeCom's API.
    """

    def __init__(self, message: str, errcode: int | None = None) -> None:
        super().__init__(message)
        self.errcode = errcode


def refused(errcode: int) -> WecomRefused:
    """The exception for a code of :data:`REFUSALS`."""
    return WecomRefused(f"WeCom refuses (errcode {errcode}): {REFUSALS[errcode]}.", errcode)

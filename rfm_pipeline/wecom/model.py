"""What WeCom answers, as values: contacts, the tag library, and what came of marking a customer.

The classes say themselves where their fields are in WeCom's JSON, so that reading an answer and checking it
are one step. Personal fields stay out of every ``repr``. Belongs here: shapes; asking is the client's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AliasPath, BeforeValidator, Field, TypeAdapter

from rfm_pipeline.wecom.errors import WecomRefused


def _list_or_nothing(value: Any) -> Any:
    return () if value is None else value


def _text_or_nothing(value: Any) -> Any:
    return value or None


_Texts = Annotated[tuple[str, ...], BeforeValidator(_list_or_nothing)]


@dataclass(frozen=True)
class Contact:
    """One customer of one staff member; a customer of three has three.

    Attributes:
        userid: The staff member.
        external_userid: The customer.
        unionid: The customer in the shop's other WeChat apps, if that is known.
        remark_mobiles: Phone numbers as the staff member typed them in.
        tag_ids: The company's tags on the customer, set by this staff member.
    """

    userid: Annotated[str, Field(min_length=1, validation_alias=AliasPath("follow_info", "userid"))] = field(
        repr=False
    )
    external_userid: Annotated[
        str, Field(min_length=1, validation_alias=AliasPath("external_contact", "external_userid"))
    ] = field(repr=False)
    unionid: Annotated[
        str | None,
        Field(validation_alias=AliasPath("external_contact", "unionid")),
        BeforeValidator(_text_or_nothing),
    ] = field(default=None, repr=False)
    remark_mobiles: Annotated[_Texts, Field(validation_alias=AliasPath("follow_info", "remark_mobiles"))] = (
        field(default=(), repr=False)
    )
    tag_ids: Annotated[_Texts, Field(validation_alias=AliasPath("follow_info", "tag_id"))] = ()


@dataclass(frozen=True)
class ContactPage:
    """Some contacts of some staff.

    Attributes:
        contacts: The contacts. A customer who comes or goes meanwhile may stand on two pages.
        rejected: Staff members whose contacts WeCom does not give to the app, with the error code.
    """

    contacts: tuple[Contact, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Tag:
    """A tag of the company."""

    id: str
    name: str
    deleted: bool = False


@dataclass(frozen=True)
class TagGroup:
    """A group of tags."""

    id: Annotated[str, Field(validation_alias="group_id")]
    name: Annotated[str, Field(validation_alias="group_name")]
    tags: Annotated[tuple[Tag, ...], Field(validation_alias="tag"), BeforeValidator(_list_or_nothing)] = ()
    deleted: bool = False


@dataclass(frozen=True)
class TagLibrary:
    """The company's tags, without the deleted ones."""

    groups: tuple[TagGroup, ...]

    def ids(self, group_name: str) -> dict[str, str]:
        """The tags of a group as name → id; empty if there is no such group.

        Raises:
            WecomRefused: If several groups have that name: it is unclear which is ours.
        """
        groups = [group for group in self.groups if group.name == group_name]
        if len(groups) > 1:
            raise WecomRefused(
                f"{len(groups)} tag groups in WeCom are named {group_name!r}: rename all but the app's own in"
                " the admin console under 客户联系 → 客户标签, or give the settings another name."
            )
        return {tag.name: tag.id for group in groups for tag in group.tags}


class Status(StrEnum):
    """How the marking of a customer ended."""

    DONE = "done"
    REJECTED = "rejected"
    """For good: a human has to look."""
    FAILED = "failed"
    """For now: a later run may succeed."""


@dataclass(frozen=True)
class Outcome:
    """What came of marking one customer.

    Attributes:
        status: How it ended.
        reason: Why it is not done: ``timeout``, ``http 502``, ``errcode -1``, ``errcode 84061: not a
            contact of that staff member``. None if it is done.
        errcode: The last answer's code; None if there was none.
        attempts: How many calls were made.
        may_have_happened: Whether the tags may be changed although it is not done, because a call was
            not answered.
    """

    status: Status
    reason: str | None
    errcode: int | None
    attempts: int
    may_have_happened: bool


@dataclass(frozen=True)
class Token:
    """An access token; ``asked_at`` is by the event loop's clock."""

    access_token: Annotated[str, Field(min_length=1)] = field(repr=False)
    expires_in: Annotated[float, Field(gt=0)]
    asked_at: float = 0

    @property
    def expires_at(self) -> float:
        """When it is over, by the same clock."""
        return self.asked_at + self.expires_in


@dataclass(frozen=True)
class Staff:
    """The answer to ``get_follow_user_list``."""

    follow_user: _Texts = ()


@dataclass(frozen=True)
class ContactsRead:
    """The answer to ``batch/get_by_user``."""

    contacts: Annotated[
        tuple[Contact, ...],
        Field(validation_alias="external_contact_list"),
        BeforeValidator(_list_or_nothing),
    ]
    next_cursor: str = ""


@dataclass(frozen=True)
class TagsRead:
    """The answer to ``get_corp_tag_list``."""

    groups: Annotated[
        tuple[TagGroup, ...], Field(validation_alias="tag_group"), BeforeValidator(_list_or_nothing)
    ] = ()


READS_TOKEN = TypeAdapter(Token)
READS_STAFF = TypeAdapter(Staff)
READS_CONTACTS = TypeAdapter(ContactsRead)
READS_TAGS = TypeAdapter(TagsRead)

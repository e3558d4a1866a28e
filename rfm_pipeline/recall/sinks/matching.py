"""Which WeCom contacts are which customers: never guessed, only clear matches count.

No call finds a phone number's contact, so a customer is matched by, in order of trust:

1. the shop's own mapping in ``contacts/``: wecom_external_userid, and wecom_userid where it names one member
   of staff,
2. the unionid, where ``contacts/`` has one, or where the shop's customer_id is one,
3. a phone number that a member of staff typed in (remark_mobiles).

Only the most trusted way that says anything of a customer counts, and a contact belongs to whom it is
claimed for in the most trusted way. Where two customers claim a contact in the same way, or phone numbers
lead to two people, nobody is tagged through it: that is ambiguous.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from rfm_pipeline.contacts.phones import normalised_phones
from rfm_pipeline.wecom.model import Contact

MAPPING, UNIONID, PHONE = 1, 2, 3
CONTACT_SCHEMA: dict[str, Any] = {
    "userid": pl.String,
    "external_userid": pl.String,
    "unionid": pl.String,
    "remark_mobiles": pl.List(pl.String),
    "tag_ids": pl.List(pl.String),
}
_PAIR = ["customer_id", "userid", "external_userid"]


@dataclass(frozen=True)
class Matches:
    """What :func:`match_contacts` found.

    Attributes:
        pairs: (customer_id, userid, external_userid): a row is a member of staff and their customer.
        ambiguous: (customer_id) of those who have some claim and no clear match.
    """

    pairs: pl.DataFrame
    ambiguous: pl.DataFrame

    def counts(self, customers: pl.DataFrame) -> dict[str, int]:
        """How many of some customers (customer_id) are matched, ambiguous and unmatched."""
        wanted = customers.select("customer_id").unique()
        matched = wanted.join(self.pairs, on="customer_id", how="semi").height
        ambiguous = wanted.join(self.ambiguous, on="customer_id", how="semi").height
        return {
            "matched": matched,
            "ambiguous": ambiguous,
            "unmatched": wanted.height - matched - ambiguous,
        }


def contact_frame(contacts: Iterable[Contact]) -> pl.DataFrame:
    """Contacts as a frame with the columns of ``CONTACT_SCHEMA``; one answered twice is there once."""
    rows = [
        (c.userid, c.external_userid, c.unionid, list(c.remark_mobiles), list(c.tag_ids)) for c in contacts
    ]
    frame = pl.DataFrame(rows, schema=CONTACT_SCHEMA, orient="row")
    return frame.unique(["userid", "external_userid"], keep="last", maintain_order=True)


def match_contacts(people: pl.DataFrame, contacts: pl.DataFrame, region: str) -> Matches:
    """Matches all customers with all contacts.

    Args:
        people: customer_id, phone (E.164), unionid, wecom_external_userid, wecom_userid; any number of rows
            a customer. All customers, not only those to be tagged: a contact that could be somebody else's is
            no clear match.
        contacts: As :func:`contact_frame` gives them.
        region: The country of phone numbers without a country code.
    """
    claims = pl.concat([_mapped(people), _by_unionid(people, contacts), _by_phone(people, contacts, region)])
    # the shop's own word counts, also where WeCom doesn't know that contact (any more)
    best = claims.unique().filter(pl.col("trust") == pl.col("trust").min().over("customer_id"))
    known = best.join(contacts.select("external_userid").unique(), on="external_userid", how="semi")
    judged = known.with_columns(
        people_of_customer=pl.col("external_userid").n_unique().over("customer_id"),
        best_claim=pl.col("trust").min().over("external_userid"),
    ).filter(pl.col("trust") == pl.col("best_claim"))
    clear = judged.with_columns(claimants=pl.col("customer_id").n_unique().over("external_userid")).filter(
        pl.col("claimants") == 1, (pl.col("trust") != PHONE) | (pl.col("people_of_customer") == 1)
    )
    pairs = (
        clear.join(contacts.select("external_userid", pl.col("userid").alias("of")), on="external_userid")
        .filter(pl.col("userid").is_null() | (pl.col("userid") == pl.col("of")))
        .select("customer_id", pl.col("of").alias("userid"), "external_userid")
        .unique()
        .sort(_PAIR)
    )
    ambiguous = known.join(clear, on="customer_id", how="anti").select("customer_id").unique()
    return Matches(pairs, ambiguous.sort("customer_id"))


def _mapped(people: pl.DataFrame) -> pl.DataFrame:
    return people.drop_nulls("wecom_external_userid").select(
        "customer_id",
        pl.col("wecom_external_userid").alias("external_userid"),
        pl.col("wecom_userid").alias("userid"),
        _trust(MAPPING),
    )


def _by_unionid(people: pl.DataFrame, contacts: pl.DataFrame) -> pl.DataFrame:
    ids = pl.concat(
        [
            people.select("customer_id", "unionid"),
            # shops in WeChat often know a customer by it
            people.select("customer_id", pl.col("customer_id").alias("unionid")),
        ]
    ).drop_nulls()
    known = contacts.select("external_userid", "unionid").drop_nulls().unique()
    return ids.unique().join(known, on="unionid").select(*_claim(UNIONID))


def _by_phone(people: pl.DataFrame, contacts: pl.DataFrame, region: str) -> pl.DataFrame:
    typed = contacts.select("external_userid", "remark_mobiles").explode("remark_mobiles")
    phones = typed.with_columns(normalised_phones(typed["remark_mobiles"], region).alias("phone"))
    known = phones.select("external_userid", "phone").drop_nulls().unique()
    ours = people.select("customer_id", "phone").drop_nulls().unique()
    return ours.join(known, on="phone").select(*_claim(PHONE))


def _claim(trust: int) -> list[pl.Expr]:
    anybody = pl.lit(None, pl.String).alias("userid")
    return [pl.col("customer_id"), pl.col("external_userid"), anybody, _trust(trust)]


def _trust(trust: int) -> pl.Expr:
    return pl.lit(trust, pl.Int8).alias("trust")

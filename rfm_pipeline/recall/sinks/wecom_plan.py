"""What has to be called so that WeCom's tags are as a week's tag changes say: what should be, minus what is.

Pure: reads what WeCom answered and what the ledger knows, as frames. Calling is ``sinks.wecom``'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from rfm_pipeline.ledger import DONE, REJECTED, UNMATCHED
from rfm_pipeline.recall.schemas import ADD, REMOVE
from rfm_pipeline.recall.sinks.base import Outcome
from rfm_pipeline.recall.sinks.matching import Matches

NO_CONTACT = "no WeCom contact is known to be this customer"
AMBIGUOUS = "it is unclear which WeCom contact is this customer"
_PAIR = ["userid", "external_userid"]
_PAIR_TAG = [*_PAIR, "tag"]
CALL_COLUMNS = ("customer_id", *_PAIR, "tag", "action")


@dataclass(frozen=True)
class Survey:
    """What WeCom answers before anything is changed.

    Attributes:
        contacts: As :func:`rfm_pipeline.recall.sinks.matching.contact_frame` gives them.
        tag_ids: Name → id of the tags in our own group; those of other groups are nobody's business here.
        matches: Which contacts are which customers.
        unreadable: (userid) of members of staff whose contacts the app may not read.
    """

    contacts: pl.DataFrame
    tag_ids: Mapping[str, str]
    matches: Matches
    unreadable: pl.DataFrame

    @property
    def tags_on(self) -> pl.DataFrame:
        """(userid, external_userid, tag) of our own tags that are on."""
        names = pl.DataFrame(
            {"tag_ids": list(self.tag_ids.values()), "tag": list(self.tag_ids)},
            schema={"tag_ids": pl.String, "tag": pl.String},
        )
        worn = self.contacts.select(*_PAIR, "tag_ids").explode("tag_ids")
        return worn.join(names, on="tag_ids").select(_PAIR_TAG).unique()


@dataclass(frozen=True)
class CallPlan:
    """What has to be called, and what is settled without a call.

    Attributes:
        calls: ``CALL_COLUMNS``; a row is a tag of one contact of one member of staff.
        settled: The outcomes of the changes that need no call.
    """

    calls: pl.DataFrame
    settled: list[Outcome]

    @property
    def customers_of_contacts(self) -> int:
        """How many calls that makes: one for each contact of each member of staff."""
        return self.calls.select(_PAIR).n_unique()


def plan_calls(
    actions: pl.DataFrame, survey: Survey, known_calls: pl.DataFrame, wanted_on: pl.DataFrame
) -> CallPlan:
    """The calls that a week's open changes need.

    A tag is added to every member of staff's contact that is clearly the customer, and taken off wherever the
    customer's is on, also from contacts that no longer match. What is so already needs no call, and a call
    that is known to have succeeded, or to be refused for good, is not made again.

    Args:
        actions: The open changes: customer_id, tag, action.
        survey: What WeCom answered.
        known_calls: The ledger's calls with customer_id, userid, external_userid, tag, action, status, and
            ``is_now``: whether it belongs to the week.
        wanted_on: (customer_id, tag) that are on and to stay so, of whomever.
    """
    adds = actions.filter(pl.col("action") == ADD).select("customer_id", "tag", "action")
    removals = actions.filter(pl.col("action") == REMOVE).select("customer_id", "tag", "action")
    on = survey.tags_on
    over = known_calls.filter(pl.col("is_now") & pl.col("status").is_in([DONE, REJECTED]))
    to_add = adds.join(survey.matches.pairs, on="customer_id").join(on, on=_PAIR_TAG, how="anti")
    calls = (
        pl.concat(
            [
                to_add.select(CALL_COLUMNS),
                _to_remove(adds, removals, survey, known_calls, wanted_on).select(CALL_COLUMNS),
            ]
        )
        .unique()
        .join(over, on=[*_PAIR_TAG, "action"], how="anti")
        .sort(CALL_COLUMNS)
    )
    settled = actions.join(calls, on=["customer_id", "tag"], how="anti")
    return CallPlan(calls, _settled(settled, survey, over))


def _to_remove(
    adds: pl.DataFrame,
    removals: pl.DataFrame,
    survey: Survey,
    known_calls: pl.DataFrame,
    wanted_on: pl.DataFrame,
) -> pl.DataFrame:
    """The tags to take off: a contact may have been another customer's when its tag was put on."""
    tagged = known_calls.filter(pl.col("action") == ADD).select("customer_id", *_PAIR)
    theirs = pl.concat([survey.matches.pairs, tagged]).unique()
    targets = removals.join(theirs, on="customer_id")
    seen = targets.join(survey.tags_on, on=_PAIR_TAG, how="semi")
    # where nobody can look, taking it off once too often harms nobody
    unseen = targets.join(survey.unreadable, on="userid", how="semi")
    staying = pl.concat(
        [
            wanted_on.select("customer_id", "tag").join(removals, on=["customer_id", "tag"], how="anti"),
            adds.select("customer_id", "tag"),
        ]
    )
    others = staying.join(survey.matches.pairs, on="customer_id").select(_PAIR_TAG).unique()
    return pl.concat([seen, unseen]).unique().join(others, on=_PAIR_TAG, how="anti")


def _settled(actions: pl.DataFrame, survey: Survey, over: pl.DataFrame) -> list[Outcome]:
    """What came of changes that need no call: already so, refused, or without a single contact."""
    matches = survey.matches
    change = ["customer_id", "tag", "action"]
    refused = over.filter(pl.col("status") == REJECTED).group_by(change).agg(pl.col("error").first())
    done = over.filter(pl.col("status") == DONE).select(change)
    worn = matches.pairs.join(survey.tags_on, on=_PAIR).with_columns(action=pl.lit(ADD)).select(change)
    is_done = pl.concat([done, worn]).unique().with_columns(is_done=pl.lit(True))
    pairs = matches.pairs.select("customer_id").unique().with_columns(has_pair=pl.lit(True))
    unclear = matches.ambiguous.with_columns(is_ambiguous=pl.lit(True))
    facts = (
        actions.select(change)
        .join(is_done, on=change, how="left", maintain_order="left")
        .join(refused, on=change, how="left", maintain_order="left")
        .join(pairs, on="customer_id", how="left", maintain_order="left")
        .join(unclear, on="customer_id", how="left", maintain_order="left")
    )
    nothing = pl.lit(None, pl.String)
    was_refused = pl.col("is_done").is_null() & pl.col("error").is_not_null()
    is_so = (pl.col("action") == REMOVE) | pl.col("has_pair").fill_null(False)
    judged = facts.select(
        "customer_id",
        "tag",
        pl.when(was_refused)
        .then(pl.lit(REJECTED))
        .when(is_so)
        .then(pl.lit(DONE))
        .otherwise(pl.lit(UNMATCHED))
        .alias("status"),
        pl.when(was_refused)
        .then(pl.col("error"))
        .when(is_so)
        .then(nothing)
        .when(pl.col("is_ambiguous").fill_null(False))
        .then(pl.lit(AMBIGUOUS))
        .otherwise(pl.lit(NO_CONTACT))
        .alias("error"),
    )
    return list(judged.iter_rows())

"""Which sink carries out the tags, and whether it may.

Belongs here: the choice that settings and secrets make. What a sink does is its own.
"""

from collections.abc import Callable
from datetime import date

import polars as pl

from rfm_pipeline.contacts.reach import Reach
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.recall import tagging
from rfm_pipeline.recall.resources import WecomAccess
from rfm_pipeline.recall.schemas import ADD
from rfm_pipeline.recall.sinks.base import LocalSink, TagSink
from rfm_pipeline.recall.sinks.wecom import WecomSink, wecom_settings
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.wecom.errors import WecomError

CONFIRMED_TAG = "rfm/confirmed"
"""The tag of a run by which somebody says that they have looked at the plan."""


def refuse_connection(shop: Shop, access: WecomAccess) -> str | None:
    """Why the sink that the settings name can't be used, None if it can."""
    if shop.wecom.enabled and (missing := access.missing(shop)):
        return f"wecom.enabled is true, but {' and '.join(missing)} is not set in the environment"
    return None


def refuse_unconfirmed(shop: Shop, ledger: Ledger) -> str | None:
    """Why the first plan may not be carried out in WeCom yet, None if it may."""
    if not shop.wecom.enabled or shop.wecom.confirmed or ledger.confirmed_at(WecomSink.name):
        return None
    return (
        "nothing was ever sent to WeCom: look at the first plan with `rfm recall plan`, then carry it out "
        "with `rfm recall apply --yes`, or set wecom.confirmed to true in shop.yaml"
    )


def wecom_sink(
    shop: Shop, ledger: Ledger, reach: Reach, access: WecomAccess, report: Callable[[str], None]
) -> WecomSink:
    """The connection to WeCom; its secrets must be there."""
    settings = wecom_settings(shop, access.corp_id or "", access.secret or "")
    return WecomSink(shop, ledger, reach.people, tagging.tags_on(ledger), settings, report)


def preview(
    warehouse: Warehouse, ledger: Ledger, shop: Shop, reach: Reach, access: WecomAccess, week: date
) -> dict[str, int | str]:
    """What carrying out a week's open changes would do in WeCom, as figures; only reads.

    Returns:
        Customers matched, ambiguous and unmatched, contacts read, calls, tags to make; nothing where WeCom is
        off. ``wecom`` says why the figures are missing, if they are: a look that fails is no failure.
    """
    if not shop.wecom.enabled:
        return {}
    if reason := refuse_connection(shop, access):
        return {"wecom": reason}
    actions = tagging.open_changes(warehouse, ledger, week)
    try:
        survey, plan = wecom_sink(shop, ledger, reach, access, lambda _: None).preview(week, actions)
    except WecomError as error:
        return {"wecom": str(error)}
    wanted = set(plan.calls.filter(pl.col("action") == ADD)["tag"])
    return {
        **{f"wecom_{name}": n for name, n in survey.matches.counts(actions).items()},
        "wecom_contacts": survey.contacts.height,
        "wecom_staff_unreadable": survey.unreadable.height,
        "wecom_calls": plan.customers_of_contacts,
        "wecom_tags_to_make": len(wanted - set(survey.tag_ids)),
    }


def sink_for(
    shop: Shop,
    ledger: Ledger,
    reach: Reach,
    access: WecomAccess,
    report: Callable[[str], None] = lambda _: None,
) -> TagSink:
    """The sink that the settings name."""
    return wecom_sink(shop, ledger, reach, access, report) if shop.wecom.enabled else LocalSink(shop)

"""Whether the messages may be sent: the templates of ``shop.yaml`` tried on examples.

The rules themselves are ``message_rules.sql``, which also judges every text of a week's list as a data check.
Here it is asked about made-up customers, and what only shows in a template is added.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date

import duckdb
import polars as pl
from jinja2 import meta

from rfm_pipeline.contacts.messages import UNNAMED_PRODUCT, environment, template_sources, write_messages
from rfm_pipeline.shop import CHURN_CLASSES, RECALL, Shop
from rfm_pipeline.warehouse.sql import read_sql, used_parameters

ERROR, LOOK = "error", "look"
TAG_LENGTH = 30
SEGMENT, LONG_SEGMENT = 70, 67
EXPLAINED = {
    "signature": "must begin with the signature 【…】 of 2 to 16 characters, and 【】 may stand nowhere else",
    "opt_out_ending": "must end with 拒收请回复R",
    "too_long": "has more than 500 characters",
    "forbidden_sign": "holds ¥, ★ or ※, which carriers refuse",
    "short_link": "holds a short link; write the whole address",
    "no_way_to_refuse": "names no way to refuse further mails (退订)",
    "placeholder_left": "has a placeholder left in it",
    "wording_gateways_refuse": (
        "speaks of recall or coupons: some carriers' gateways refuse that, and variables, in promotional "
        "messages. Have the template approved by the platform first; delivery can't be promised"
    ),
    "several_segments": "is charged as several segments",
    "product_unnamed": f"would speak of {UNNAMED_PRODUCT} where the product has no name",
    "product_missing": "is of class A and doesn't name the product that was bought",
    "link_with_placeholder": "has a placeholder inside a link; links must be constant",
    "tag_too_long": f"has more than {TAG_LENGTH} characters, the most that WeCom takes",
}
_LINK_WITH_PLACEHOLDER = r"(?i)(https?://|www\.)[^\s，。]*\{\{"


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a template (``error``), or worth a look (``look``).

    Attributes:
        churn_class: The class whose messages these are.
        channel: sms, email_subject, email_body, wecom, or tag.
        rule: A key of ``EXPLAINED``.
        severity: ``error`` or ``look``.
    """

    churn_class: str
    channel: str
    rule: str
    severity: str

    @property
    def words(self) -> str:
        """The finding as a sentence."""
        return f"recall, class {self.churn_class}, {self.channel}: {EXPLAINED[self.rule]}"


def segments(sms: str) -> int:
    """How many segments a text message is charged as: 70 characters in one, else 67 in each."""
    return 1 if len(sms) <= SEGMENT else -(-len(sms) // LONG_SEGMENT)


def examples(shop: Shop, week: date, product: str) -> pl.DataFrame:
    """The messages of every class for a made-up customer who bought ``product``.

    Returns:
        One row a class: week, customer_id, churn_class, arm, favourite_product, offer, coupon_code, texts.
    """
    listed = pl.DataFrame(
        {
            "week": [week] * len(CHURN_CLASSES),
            "customer_id": [f"example {name}" for name in CHURN_CLASSES],
            "churn_class": CHURN_CLASSES,
            "arm": [RECALL] * len(CHURN_CLASSES),
            "favourite_product": [product] * len(CHURN_CLASSES),
            "coupon_code": [f"{name}0123456789AB" for name in CHURN_CLASSES],
        }
    )
    nothing_closed = pl.DataFrame(schema={"customer_id": pl.String, "channel": pl.String})
    return write_messages(shop, listed, nothing_closed)


def lint(shop: Shop, rendered: Sequence[pl.DataFrame]) -> list[Finding]:
    """What is wrong with the shop's messages, errors first.

    Args:
        shop: The settings.
        rendered: The messages as :func:`examples` gives them, for products with short and long names.
    """
    rows = pl.concat(rendered)
    with closing(duckdb.connect(":memory:")) as connection:
        connection.register("recall_list", rows)
        connection.register("target_weeks", rows.select("week").unique())
        sql = read_sql("rfm_pipeline.recall", "message_rules")
        params = {"message_rules": shop.recall.message_rules, "unnamed_product": UNNAMED_PRODUCT}
        found = connection.execute(sql, used_parameters(sql, params)).fetchall()
    findings = {Finding(churn_class, channel, rule, how) for _, _, churn_class, channel, rule, how in found}
    findings.update(_of_templates(shop))
    return sorted(findings, key=lambda f: (f.severity != ERROR, f.churn_class, f.channel, f.rule))


def _of_templates(shop: Shop) -> list[Finding]:
    """What shows in the templates and settings alone."""
    findings = [
        Finding(name, "tag", "tag_too_long", ERROR)
        for name, tag in shop.recall.tags.items()
        if len(tag) > TAG_LENGTH
    ]
    jinja = environment()
    for (churn_class, text), source in template_sources(shop).items():
        channel = "wecom" if text == "wecom_text" else text
        used = meta.find_undeclared_variables(jinja.parse(source))
        if churn_class == "A" and text != "email_subject" and "product" not in used:
            findings.append(Finding(churn_class, channel, "product_missing", LOOK))
        if channel == "sms" and pl.Series([source]).str.contains(_LINK_WITH_PLACEHOLDER).item():
            findings.append(Finding(churn_class, channel, "link_with_placeholder", ERROR))
    return findings

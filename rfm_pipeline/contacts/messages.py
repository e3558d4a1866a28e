"""The messages for each listed customer, from the templates in ``shop.yaml``.

Templates are Jinja2 in a sandbox, and each is rendered once for a made-up customer when the settings are
loaded: a fault shows then, not when the first customer gets a broken message.
"""

import difflib
from datetime import date, timedelta

import polars as pl
from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import SandboxedEnvironment

from rfm_pipeline.errors import ShopFileError
from rfm_pipeline.shop import RECALL, Shop, line_of
from rfm_pipeline.weeks import as_of

PLACEHOLDERS = ("shop", "product", "coupon", "offer", "valid_until")
UNNAMED_PRODUCT = "您选购的好物"
CHANNELS = {"sms": ("sms",), "email": ("email_subject", "email_body"), "wecom": ("wecom_text",)}
_EXAMPLE = {
    "shop": "店铺",
    "product": UNNAMED_PRODUCT,
    "coupon": "A0123456789AB",
    "offer": "礼券",
    "valid_until": "2025-01-31",
}
# 【】 is the signature's alone in a text message, and what looks like a placeholder is one left over
_NOT_IN_A_NAME = {"【": "「", "】": "」", "{{": "{", "}}": "}"}
_FIELDS = {"sms": "sms", "email_subject": "email_subject", "email_body": "email_body", "wecom_text": "wecom"}


def environment() -> SandboxedEnvironment:
    """The sandbox that templates are parsed and rendered in; an unknown name is an error."""
    return SandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=False)


def _render_example(template: Template, where: str) -> None:
    """Finds what only shows when a template is rendered: forbidden attributes, endless loops, empty texts."""
    try:
        text = template.render(_EXAMPLE)
    except Exception as error:
        # a template can fail in any way that Python can; no customer's data is in it yet
        raise ShopFileError(f"{where} can't be rendered: {error}") from None
    if not text.strip():
        raise ShopFileError(f"{where} comes out empty; write the message, or leave the default one.")


def template_sources(shop: Shop) -> dict[tuple[str, str], str]:
    """The templates in the settings, by class and text column."""
    return {
        (churn_class, text): getattr(words, field)
        for churn_class, words in shop.recall.words.items()
        for text, field in _FIELDS.items()
    }


def _line(shop: Shop, churn_class: str, field: str) -> str:
    """Where a template is in ``shop.yaml``: ", line 60", or nothing for the shipped messages."""
    try:
        text = (shop.home / "shop.yaml").read_text("utf-8")
    except OSError:
        return ""
    line = line_of(text, ("recall", "words", churn_class, field))
    return f", line {line}" if line else ""


def compile_messages(shop: Shop) -> dict[tuple[str, str], Template]:
    """The templates by class and text column, checked.

    Raises:
        ShopFileError: If a template can't be parsed, names an unknown placeholder, or can't be rendered.
    """
    jinja = environment()
    compiled = {}
    for (churn_class, text), source in template_sources(shop).items():
        where = f"{shop.home / 'shop.yaml'}{_line(shop, churn_class, _FIELDS[text])}: " + ".".join(
            ("recall", "words", churn_class, _FIELDS[text])
        )
        try:
            unknown = meta.find_undeclared_variables(jinja.parse(source)) - set(PLACEHOLDERS)
            compiled[churn_class, text] = jinja.from_string(source)
        except TemplateError as error:
            raise ShopFileError(f"{where} is no valid template: {error}") from None
        if unknown:
            name = sorted(unknown)[0]
            near = difflib.get_close_matches(name, PLACEHOLDERS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(PLACEHOLDERS)}"
            raise ShopFileError(f"{where}: unknown placeholder {name!r}; {hint}")
        _render_example(compiled[churn_class, text], where)
    return compiled


def product_in_message(name: str | None) -> str:
    """A product's name as a message can hold it, on one line; a paraphrase if it has none."""
    words = " ".join((name or "").split())
    for sign, instead in _NOT_IN_A_NAME.items():
        words = words.replace(sign, instead)
    return words or UNNAMED_PRODUCT


def valid_until(shop: Shop, week: date) -> date:
    """The last day of the week's offers: the last day on which an answer still counts."""
    return as_of(week) + timedelta(days=shop.review.response_days - 1)


def write_messages(shop: Shop, listed: pl.DataFrame, closed_channels: pl.DataFrame) -> pl.DataFrame:
    """Adds offer and texts to a list; the hold-out gets none and loses its coupon code.

    Args:
        shop: The settings.
        listed: Rows of ``recall_list.sql``; bounded by the weekly capacity.
        closed_channels: (customer_id, channel) that may not be used: no text is written for them.

    Returns:
        The rows with offer, coupon_code, sms, email_subject, email_body, wecom_text.
    """
    templates = compile_messages(shop)
    closed = set(closed_channels.select("customer_id", "channel").iter_rows())
    texts: dict[str, list[str | None]] = {text: [] for text in _FIELDS}
    for row in listed.iter_rows(named=True):
        values = {
            "shop": shop.shop.name,
            "product": product_in_message(row["favourite_product"]),
            "coupon": row["coupon_code"],
            "offer": shop.recall.offers[row["churn_class"]],
            "valid_until": f"{valid_until(shop, row['week']):%Y-%m-%d}",
        }
        for channel, columns in CHANNELS.items():
            send = row["arm"] == RECALL and (row["customer_id"], channel) not in closed
            for text in columns:
                rendered = templates[row["churn_class"], text].render(values) if send else None
                texts[text].append(rendered)
    is_recall = pl.col("arm") == RECALL
    offers = pl.col("churn_class").replace_strict(shop.recall.offers, return_dtype=pl.String)
    return listed.with_columns(
        pl.when(is_recall).then(offers).alias("offer"),
        pl.when(is_recall).then("coupon_code").alias("coupon_code"),
        *(pl.Series(text, values, dtype=pl.String) for text, values in texts.items()),
    )

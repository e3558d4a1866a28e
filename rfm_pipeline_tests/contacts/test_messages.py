"""The words: what every class says on every channel, and what a template may not do."""

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rfm_pipeline.contacts.messages import UNNAMED_PRODUCT, compile_messages, valid_until, write_messages
from rfm_pipeline.errors import ShopFileError
from rfm_pipeline.shop import Shop
from rfm_pipeline_tests.helpers import make_shop

WEEK = date(2024, 3, 4)
TEXTS = ("sms", "email_subject", "email_body", "wecom_text")
WORDS = {"sms": "你好", "email_subject": "你好", "email_body": "你好", "wecom": "你好"}
NOTHING_CLOSED: list[tuple[str, str]] = []


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return make_shop(tmp_path, shop={"name": "木之序家居"})


def with_words(home: Path, **words: str) -> Shop:
    """A shop whose class A says something of its own."""
    return make_shop(home, recall={"words": {"A": WORDS | words, "B": WORDS, "C": WORDS}})


def written(
    shop: Shop,
    churn_class: str = "A",
    *,
    arm: str = "recall",
    product: str | None = "白瓷茶杯",
    closed: list[tuple[str, str]] = NOTHING_CLOSED,
) -> dict[str, Any]:
    """Offer, code and texts of one listed customer."""
    listed = pl.DataFrame(
        {
            "week": [WEEK],
            "customer_id": ["c1"],
            "churn_class": [churn_class],
            "arm": [arm],
            "favourite_product": pl.Series([product], dtype=pl.String),
            "coupon_code": ["A1B2C3D4E5F60"],
        }
    )
    channels = pl.DataFrame(closed, schema={"customer_id": pl.String, "channel": pl.String}, orient="row")
    return write_messages(shop, listed, channels).row(0, named=True)


def only_sms(home: Path, template: str, **row: Any) -> Any:
    return written(with_words(home, sms=template), **row)["sms"]


# --- the words that come with the program ---------------------------------------------------------


@pytest.mark.parametrize("churn_class", "ABC")
@pytest.mark.parametrize("text", TEXTS)
def test_every_default_text_is_whole(shop: Shop, churn_class: str, text: str) -> None:
    words = written(shop, churn_class)[text]
    assert words == words.strip()
    assert words
    assert not any(sign in words for sign in ("{{", "}}", "{%", "None"))


@pytest.mark.parametrize("churn_class", "ABC")
def test_a_text_message_is_signed_and_can_be_refused(shop: Shop, churn_class: str) -> None:
    sms = written(shop, churn_class)["sms"]
    assert sms.startswith("【木之序家居】")
    assert sms.endswith("拒收请回复R")
    assert (sms.count("【"), sms.count("】")) == (1, 1)


@pytest.mark.parametrize("churn_class", "ABC")
@pytest.mark.parametrize("text", ["sms", "email_body", "wecom_text"])
def test_every_message_holds_the_code_and_its_last_day(shop: Shop, churn_class: str, text: str) -> None:
    words = written(shop, churn_class)[text]
    assert "A1B2C3D4E5F60" in words
    # the list's as_of is 2024-03-11; its 30 days end with April 9
    assert "2024-04-09" in words


@pytest.mark.parametrize("text", TEXTS)
def test_class_a_is_spoken_to_about_the_product_and_100_yuan(shop: Shop, text: str) -> None:
    words = written(shop, "A")[text]
    assert "白瓷茶杯" in words
    assert "100元" in words


@pytest.mark.parametrize("text", TEXTS)
def test_class_b_is_offered_ten_per_cent_off(shop: Shop, text: str) -> None:
    assert "9折" in written(shop, "B")[text]


def test_the_last_day_is_the_last_on_which_an_answer_counts(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, review={"response_days": 1})
    assert valid_until(shop, WEEK) == date(2024, 3, 11)


@pytest.mark.parametrize("product", [None, "", "   "])
def test_a_product_without_a_name_is_paraphrased(shop: Shop, product: str | None) -> None:
    assert UNNAMED_PRODUCT in written(shop, "A", product=product)["sms"]


def test_brackets_in_a_product_name_do_not_pass_for_a_signature(shop: Shop) -> None:
    sms = written(shop, "A", product="【新品】白瓷茶杯")["sms"]
    assert (sms.count("【"), sms.count("】")) == (1, 1)
    assert "新品" in sms
    assert "白瓷茶杯" in sms


def test_a_product_name_over_several_lines_becomes_one(shop: Shop) -> None:
    words = written(shop, "A", product=" 白瓷\r\n茶杯\t大号 ")
    assert "白瓷 茶杯 大号" in words["sms"]
    assert "\n" not in words["sms"] + words["email_subject"]


def test_a_product_name_is_never_read_as_a_template(shop: Shop) -> None:
    assert "{{ coupon }}" not in written(shop, "A", product="{{ coupon }}")["sms"]
    assert "49" not in written(shop, "A", product="{{ 7 * 7 }}")["email_subject"]


# --- who gets none --------------------------------------------------------------------------------


def test_the_hold_out_gets_no_words_no_offer_and_no_code(shop: Shop) -> None:
    words = written(shop, arm="holdout")
    assert {words[name] for name in (*TEXTS, "offer", "coupon_code")} == {None}


@pytest.mark.parametrize(
    ("channel", "silenced"),
    [("sms", {"sms"}), ("email", {"email_subject", "email_body"}), ("wecom", {"wecom_text"})],
)
def test_a_closed_channel_gets_no_text(shop: Shop, channel: str, silenced: set[str]) -> None:
    words = written(shop, closed=[("c1", channel), ("somebody else", "sms")])
    assert {text for text in TEXTS if words[text] is None} == silenced
    assert words["offer"] == "100元专属礼券+新品优先选购权"


# --- the shop's own words -------------------------------------------------------------------------


def test_every_placeholder_can_be_used(tmp_path: Path) -> None:
    template = "{{ shop }}/{{ product }}/{{ coupon }}/{{ offer }}/{{ valid_until }}"
    expected = "茶铺/白瓷茶杯/A1B2C3D4E5F60/100元专属礼券+新品优先选购权/2024-04-09"
    assert only_sms(tmp_path, template) == expected


@pytest.mark.parametrize(
    ("template", "near"),
    [("{{ prodct }}", "'product'"), ("{{ cupon }}", "'coupon'"), ("{{ xyz }}", "known: shop")],
)
def test_an_unknown_placeholder_is_told_with_class_channel_and_the_nearest(
    tmp_path: Path, template: str, near: str
) -> None:
    with pytest.raises(ShopFileError) as caught:
        compile_messages(with_words(tmp_path, wecom=template))
    assert "recall.words.A.wecom" in str(caught.value)
    assert near in str(caught.value)


@pytest.mark.parametrize("template", ["{{ shop", "{% if %}", "{{ shop | no_such_filter }}"])
def test_a_template_that_is_none_is_told_before_the_first_customer(tmp_path: Path, template: str) -> None:
    with pytest.raises(ShopFileError, match=r"recall\.words\.A\.sms"):
        compile_messages(with_words(tmp_path, sms=template))


@pytest.mark.parametrize(
    "template",
    [
        "{{ shop.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.__class__ }}",
        "{{ shop.format.__globals__ }}",
        "{{ '{0.__class__}'.format(shop) }}",
        "{{ shop | attr('__class__') }}",
        "{{ shop.surname }}",
        "{{ 1 // 0 }}",
        "{% for i in range(10 ** 9) %}.{% endfor %}",
        "{% include 'shop.yaml' %}",
        "{% import 'os' as os %}",
    ],
)
def test_a_template_reaches_nothing_but_its_placeholders(tmp_path: Path, template: str) -> None:
    with pytest.raises(ShopFileError, match=r"recall\.words\.A\.sms"):
        compile_messages(with_words(tmp_path, sms=template))


@pytest.mark.parametrize("template", ["", "   ", "{% if false %}x{% endif %}"])
def test_a_text_that_comes_out_empty_is_reported(tmp_path: Path, template: str) -> None:
    with pytest.raises(ShopFileError, match=r"recall\.words\.A\.email_subject"):
        compile_messages(with_words(tmp_path, email_subject=template))

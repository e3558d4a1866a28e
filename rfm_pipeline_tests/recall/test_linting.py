"""The rules for promotional messages, each on both sides, and the commands that show the words."""

from datetime import date
from pathlib import Path

import pytest

from rfm_pipeline.cli.app import main
from rfm_pipeline.contacts.messages import UNNAMED_PRODUCT
from rfm_pipeline.recall.linting import EXPLAINED, TAG_LENGTH, examples, lint, segments
from rfm_pipeline.shop import Shop
from rfm_pipeline_tests.helpers import make_shop

WEEK = date(2024, 3, 4)
SMS = "【木之序家居】您买的{{ product }}到货了。拒收请回复R"
MAIL = "您买的{{ product }}到货了。不想再收到请回复退订"
WORDS = {"sms": SMS, "email_subject": "到货了", "email_body": MAIL, "wecom": "您买的{{ product }}到货了"}
PRODUCT = "白瓷茶杯"


def with_words(home: Path, *, rules: str = "china", **words: str) -> Shop:
    """A shop whose class A says something of its own; the other classes keep the rules."""
    return make_shop(
        home, recall={"message_rules": rules, "words": {"A": WORDS | words, "B": WORDS, "C": WORDS}}
    )


def found(shop: Shop, product: str = PRODUCT) -> set[tuple[str, str, str]]:
    """(class, channel, rule) of what is wrong or worth a look."""
    findings = lint(shop, [examples(shop, WEEK, product)])
    return {(finding.churn_class, finding.channel, finding.rule) for finding in findings}


def sms_rules(home: Path, sms: str, product: str = PRODUCT) -> set[str]:
    return {rule for _, channel, rule in found(with_words(home, sms=sms), product) if channel == "sms"}


def of_length(length: int) -> str:
    """A text message of so many characters that keeps the rules."""
    start, end = "【木之序家居】", "拒收请回复R"
    return f"{start}{{{{ product }}}}{'好' * (length - len(start) - len(end) - len(PRODUCT))}{end}"


def test_words_that_keep_the_rules_have_no_finding(tmp_path: Path) -> None:
    assert found(with_words(tmp_path)) == set()


def test_the_words_that_come_with_the_program_may_be_sent(tmp_path: Path) -> None:
    findings = lint(make_shop(tmp_path), [examples(make_shop(tmp_path), WEEK, PRODUCT)])
    assert {finding.severity for finding in findings} == {"look"}
    assert {finding.rule for finding in findings} == {"wording_gateways_refuse", "several_segments"}
    assert all(finding.rule in EXPLAINED and finding.words for finding in findings)


@pytest.mark.parametrize(
    ("sms", "rule", "is_broken"),
    [
        ("【店】{{ product }}拒收请回复R", "signature", True),
        ("【小店】{{ product }}拒收请回复R", "signature", False),
        (f"【{'店' * 16}】{{{{ product }}}}拒收请回复R", "signature", False),
        (f"【{'店' * 17}】{{{{ product }}}}拒收请回复R", "signature", True),
        ("{{ product }}【小店】拒收请回复R", "signature", True),
        ("【小店】{{ product }}【新】拒收请回复R", "signature", True),
        ("【小店】{{ product }}】拒收请回复R", "signature", True),
        ("【小店】{{ product }}拒收请回复R", "opt_out_ending", False),
        ("【小店】{{ product }}拒收请回复R。", "opt_out_ending", True),
        ("【小店】拒收请回复R，{{ product }}", "opt_out_ending", True),
        ("【小店】{{ product }}只要9元。拒收请回复R", "forbidden_sign", False),
        ("【小店】{{ product }}只要¥9。拒收请回复R", "forbidden_sign", True),
        ("【小店】{{ product }}只要￥9。拒收请回复R", "forbidden_sign", True),
        ("【小店】★{{ product }}。拒收请回复R", "forbidden_sign", True),
        ("【小店】{{ product }} https://shop.example.cn/new 拒收请回复R", "short_link", False),
        ("【小店】{{ product }} https://t.cn/A1b2 拒收请回复R", "short_link", True),
        ("【小店】{{ product }} T.CN/A1b2 拒收请回复R", "short_link", True),
        ("【小店】{{ product }} https://great.cn/a 拒收请回复R", "short_link", False),
        ("【小店】{{ product }} https://shop.cn/{{ coupon }} 拒收请回复R", "link_with_placeholder", True),
        ("【小店】{{ product }} https://shop.cn/a {{ coupon }} 拒收请回复R", "link_with_placeholder", False),
        ("【小店】{{ product }}九折。拒收请回复R", "wording_gateways_refuse", False),
        ("【小店】{{ product }}9折。拒收请回复R", "wording_gateways_refuse", True),
        ("【小店】{{ product }}送券。拒收请回复R", "wording_gateways_refuse", True),
        ("【小店】{{ product }}{{ '{{' }}code}}拒收请回复R", "placeholder_left", True),
        ("【小店】{{ product }}${code}拒收请回复R", "placeholder_left", True),
        ("【小店】{{ product }}{code}拒收请回复R", "placeholder_left", False),
        ("【小店】新品到货。拒收请回复R", "product_missing", True),
        ("【小店】{{ product }}到货。拒收请回复R", "product_missing", False),
    ],
)
def test_a_text_message_on_both_sides_of_a_rule(tmp_path: Path, sms: str, rule: str, is_broken: bool) -> None:
    assert (rule in sms_rules(tmp_path, sms)) == is_broken


@pytest.mark.parametrize(("length", "rules"), [(70, set()), (71, {"several_segments"})])
def test_a_segment_ends_after_70_characters(tmp_path: Path, length: int, rules: set[str]) -> None:
    assert sms_rules(tmp_path, of_length(length)) == rules


@pytest.mark.parametrize(("length", "is_too_long"), [(500, False), (501, True)])
def test_500_characters_are_the_most(tmp_path: Path, length: int, is_too_long: bool) -> None:
    assert ("too_long" in sms_rules(tmp_path, of_length(length))) == is_too_long


@pytest.mark.parametrize(
    ("length", "count"), [(1, 1), (70, 1), (71, 2), (134, 2), (135, 3), (201, 3), (202, 4), (500, 8)]
)
def test_segments_hold_70_then_67_characters(length: int, count: int) -> None:
    assert segments("好" * length) == count


def test_a_mail_names_a_way_to_refuse(tmp_path: Path) -> None:
    assert ("A", "email_body", "no_way_to_refuse") in found(with_words(tmp_path, email_body="{{ product }}"))


def test_a_product_without_a_name_is_worth_a_look(tmp_path: Path) -> None:
    rules = found(with_words(tmp_path), product=" ")
    assert {("A", channel, "product_unnamed") for channel in ("sms", "email_body", "wecom")} == rules
    assert UNNAMED_PRODUCT in EXPLAINED["product_unnamed"]


def test_without_the_rules_only_placeholders_count(tmp_path: Path) -> None:
    free = with_words(tmp_path, rules="none", sms="Hello {{ product }}", email_body="{{ product }}")
    assert found(free) == set()
    left = with_words(tmp_path, rules="none", sms="Hello {{ product }} #{code}")
    assert found(left) == {("A", "sms", "placeholder_left")}


@pytest.mark.parametrize(("length", "is_too_long"), [(TAG_LENGTH, False), (TAG_LENGTH + 1, True)])
def test_a_tag_has_at_most_30_characters(tmp_path: Path, length: int, is_too_long: bool) -> None:
    shop = make_shop(
        tmp_path,
        recall={"tags": {"A": "签" * length, "B": "b", "C": "c"}, "words": dict.fromkeys("ABC", WORDS)},
    )
    assert found(shop) == ({("A", "tag", "tag_too_long")} if is_too_long else set())


# --- the commands ---------------------------------------------------------------------------------


def test_lint_says_what_to_mend_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_words(tmp_path, sms="{{ product }}到货了。拒收请回复R")
    with pytest.raises(SystemExit) as stopped:
        main(["recall", "lint", "--home", str(tmp_path)])
    assert stopped.value.code == 1
    said = capsys.readouterr()
    assert "error: recall, class A, sms: must begin with the signature" in said.err
    assert "class B" not in said.err + said.out


def test_lint_is_content_with_the_words_of_a_new_home(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_shop(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["recall", "lint", "--home", str(tmp_path)])
    assert stopped.value.code == 0
    assert "the messages keep the rules" in capsys.readouterr().out


def test_preview_shows_one_class_with_the_product(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_words(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["recall", "preview", "--home", str(tmp_path), "--class", "a", "--product", "青花碗"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert "【木之序家居】您买的青花碗到货了。拒收请回复R" in shown
    assert "charged as 1" in shown
    assert "class A" in shown
    assert "class B" not in shown


def test_preview_of_an_unknown_class_names_the_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_shop(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["recall", "preview", "--home", str(tmp_path), "--class", "D"])
    assert stopped.value.code == 1
    assert "there is no class 'D'; write one of A, B, C." in capsys.readouterr().err

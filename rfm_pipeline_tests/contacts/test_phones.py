"""Phone numbers in one spelling: the quick way says what phonenumbers says, and doubt is null."""

import random

import phonenumbers
import polars as pl
import pytest

from rfm_pipeline.contacts.phones import normalised_phones, phone_region

REGIONS = ("CN", "GB", "US")


def one(text: str | None, region: str = "CN") -> str | None:
    return normalised_phones(pl.Series([text], dtype=pl.String), region)[0]


def by_phonenumbers(text: str, region: str) -> str | None:
    """The library's own answer."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@pytest.mark.parametrize("region", REGIONS)
def test_the_quick_way_says_what_phonenumbers_says(region: str) -> None:
    luck = random.Random(20250106)
    forms = (
        "{}",
        "+86{}",
        "86{}",
        "0086{}",
        "+86 {}",
        "086{}",
        "(+86){}",
        "+86-{}",
        "0{}",
        "+{}",
        "{}1",
        "+86{}2",
    )
    numbers = []
    # every beginning, so that the edges of 13… to 19… are there
    for start in range(100, 200):
        for _ in range(40):
            digits = f"{start}{luck.randrange(10**8):08d}"
            gap = luck.choice(["", "", " ", "-", "."])
            gapped = gap.join((digits[:3], digits[3:7], digits[7:]))
            numbers.append(luck.choice(forms).format(gapped))
    expected = [by_phonenumbers(number, region) for number in numbers]
    assert normalised_phones(pl.Series(numbers), region).to_list() == expected
    assert 1000 < sum(number is not None for number in expected) < len(numbers)


@pytest.mark.parametrize(
    "text",
    [
        "13800000001",
        " 138 0000 0001 ",
        "138-0000-0001",
        "+86 138.0000.0001",
        "0086 13800000001",
        "8613800000001",
        "(+86) 13800000001",
        "（＋８６）１３８－００００－０００１",
        "'13800000001",
        '="13800000001"',
        "13800000001.0",
        "\u202a13800000001\u202c",
        "\ufeff13800000001",
        "013800000001",
        "+86 0 138 0000 0001",
    ],
)
def test_one_number_in_all_its_spellings(text: str) -> None:
    assert one(text) == "+8613800000001"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "   ",
        "186******05",
        "186＊＊＊＊＊＊05",
        "186••••0505",
        "186xxxx0505",
        "186XXXX0505",
        "1.38E+10",
        "1.38e10",
        "１.38E+10",
        "1.3800000001E+10",
        "2E+10",
        "none",
        "无",
        "12345",
        "138000000011234567",
        "13800000001/13900000002",
        "anna@example.com",
    ],
)
def test_what_is_no_whole_number_is_null(text: str | None) -> None:
    assert one(text) is None


def test_a_region_gives_the_country_code() -> None:
    assert one("020 7946 0018", "GB") == "+442079460018"
    assert one("020 7946 0018", "US") != "+442079460018"
    assert one("+86 13800000001", "GB") == "+8613800000001"
    # ten digits in America, eleven in China
    assert one("13800000001", "US") != "+8613800000001"


def test_a_range_that_is_not_handed_out_yet_still_is_a_number() -> None:
    assert not phonenumbers.is_valid_number(phonenumbers.parse("15400000001", "CN"))
    assert one("15400000001") == "+8615400000001"


def test_every_value_keeps_its_place() -> None:
    texts = ["13800000002", None, "x", "13800000001", "13800000002", "010-88888888", None, "13800000001"]
    series = normalised_phones(pl.Series("phone", texts))
    assert series.name == "phone"
    assert series.to_list() == [
        "+8613800000002",
        None,
        None,
        "+8613800000001",
        "+8613800000002",
        "+861088888888",
        None,
        "+8613800000001",
    ]


@pytest.mark.parametrize("values", [pl.Series([], dtype=pl.String), pl.Series([None, None])])
def test_nothing_stays_nothing(values: pl.Series) -> None:
    assert normalised_phones(values).to_list() == values.to_list()


def test_a_column_of_whole_numbers_is_read_as_text() -> None:
    assert normalised_phones(pl.Series([13800000001])).to_list() == ["+8613800000001"]


@pytest.mark.parametrize(
    ("timezone", "region"),
    [
        ("Asia/Shanghai", "CN"),
        ("Asia/Urumqi", "CN"),
        ("Asia/Chongqing", "CN"),
        ("PRC", "CN"),
        ("Asia/Hong_Kong", "HK"),
        ("Europe/London", "GB"),
        ("Europe/Amsterdam", "NL"),
        ("America/New_York", "US"),
        ("US/Eastern", "US"),
        ("UTC", "CN"),
    ],
)
def test_the_time_zone_tells_the_country(timezone: str, region: str) -> None:
    assert phone_region(timezone) == region

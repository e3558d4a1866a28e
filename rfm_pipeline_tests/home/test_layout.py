"""Making a home: the ``shop.yaml`` that explains itself, and the folders beside it."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from rfm_pipeline.errors import ShopFileError
from rfm_pipeline.home.layout import GIT_IGNORE, make_home, shop_file_text
from rfm_pipeline.shop import Shop, ShopFile, load_shop

WEEK = date(2024, 1, 1)


def text_of(**changes: Any) -> str:
    given: dict[str, Any] = {
        "name": "茶铺",
        "timezone": "Asia/Shanghai",
        "currency": "CNY",
        "preset": "standard",
        "first_week": WEEK,
    }
    return shop_file_text(**(given | changes))


def settings(shop: Shop) -> dict[str, Any]:
    return shop.model_dump(exclude={"home"})


def test_a_new_home_is_laid_out_and_read_back(tmp_path: Path) -> None:
    shop = make_home(tmp_path / "shops" / "tea", text_of())
    assert shop.orders_dir.is_dir()
    assert shop == load_shop(shop.home)
    assert sorted(path.name for path in shop.home.iterdir()) == [".gitignore", "orders", "shop.yaml"]


def test_what_a_new_file_says_is_what_is_in_force_without_it(tmp_path: Path) -> None:
    written = make_home(tmp_path / "written", text_of())
    (tmp_path / "least").mkdir()
    (tmp_path / "least" / "shop.yaml").write_text("shop: {name: 茶铺, first_week: 2024-01-01}\n", "utf-8")
    assert settings(written) == settings(load_shop(tmp_path / "least"))


def test_a_new_file_says_every_setting_there_is() -> None:
    def keys(content: Any) -> Any:
        return {key: keys(value) for key, value in content.items()} if isinstance(content, dict) else None

    written = keys(yaml.safe_load(text_of()))
    every = keys(ShopFile.model_validate(yaml.safe_load(text_of())).model_dump())
    # of amount and quantile only one may be written
    every["rules"]["monetary_high"] = {"quantile": None}
    assert written == every


def test_every_setting_explains_itself() -> None:
    below_words = text_of().split("  words:")
    for line in (below_words[0] + below_words[1].split("wecom:\n", 1)[1]).splitlines():
        if line.startswith("  ") and not line.rstrip().endswith(":"):
            assert "  # " in line, line


@pytest.mark.parametrize(
    "name",
    [
        "Tea & Co.",
        "it's: a shop # really",
        '"quoted"',
        "{{ name }}",
        "{% raw %}",
        "yes",
        "2024",
        "- dash",
        "#1",
        "a" * 300,
        "茶铺（旗舰店）",
    ],
)
def test_any_name_is_read_back_as_it_was_given(tmp_path: Path, name: str) -> None:
    assert make_home(tmp_path, text_of(name=name)).shop.name == name


def test_the_other_answers_are_read_back_too(tmp_path: Path) -> None:
    shop = make_home(
        tmp_path,
        text_of(
            timezone="Europe/London",
            currency="GBP",
            preset="online_retail",
            last_week=date(2024, 6, 3),
            not_products=["YF", "GIFT*", "a, b"],
        ),
    )
    assert (shop.shop.timezone, shop.shop.currency) == ("Europe/London", "GBP")
    assert (shop.shop.first_week, shop.shop.last_week) == (WEEK, date(2024, 6, 3))
    assert shop.orders.preset == "online_retail"
    assert shop.orders.not_products == ("YF", "GIFT*", "a, b")


def test_a_home_is_not_made_over_another(tmp_path: Path) -> None:
    make_home(tmp_path, text_of())
    with pytest.raises(ShopFileError, match="exists already; edit it, or choose another folder"):
        make_home(tmp_path, text_of(name="other"))
    assert load_shop(tmp_path).shop.name == "茶铺"


def test_a_home_may_be_made_around_orders_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "a.csv").write_text("x", "utf-8")
    make_home(tmp_path, text_of())
    assert (tmp_path / "orders" / "a.csv").read_text("utf-8") == "x"


def test_what_is_derived_or_personal_is_kept_out_of_git(tmp_path: Path) -> None:
    make_home(tmp_path, text_of())
    ignored = (tmp_path / ".gitignore").read_text("utf-8").splitlines()
    assert {"warehouse.duckdb*", "ledger.sqlite*", "out/", ".dagster/", ".staging/"} <= set(ignored)


def test_a_gitignore_that_is_there_keeps_its_lines(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("node_modules/", "utf-8")
    make_home(tmp_path, text_of())
    assert (tmp_path / ".gitignore").read_text("utf-8") == f"node_modules/\n\n{GIT_IGNORE}"


def test_wrong_answers_are_told_as_mistakes_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ShopFileError, match="is no IANA time zone"):
        make_home(tmp_path, text_of(timezone="Mars/Olympus"))

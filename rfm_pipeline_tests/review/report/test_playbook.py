"""The playbook says what is in force: settings, SQL and words as they are now."""

import re
from datetime import timedelta
from importlib import resources
from pathlib import Path

import pytest
import yaml

from rfm_pipeline.cli.app import main
from rfm_pipeline.diagnose.schemas import SEGMENTS
from rfm_pipeline.review.report.playbook import (
    EXAMPLE_PRODUCT,
    STAGES,
    counts,
    render_html,
    render_markdown,
    segment_criteria,
    sql_files,
    write_playbook,
)
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.warehouse.sql import read_sql
from rfm_pipeline_tests.helpers import diagnose, ingest, make_shop, small_warehouse, table_rows, write_export
from rfm_pipeline_tests.random_shops import FIRST_WEEK


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return make_shop(tmp_path / "home")


def text_of(shop: Shop) -> str:
    return write_playbook(small_warehouse(shop), shop)["markdown"].read_text("utf-8")


def test_every_statement_of_the_package_is_in_it(shop: Shop) -> None:
    text = text_of(shop)
    for stage in STAGES:
        for path in resources.files(f"rfm_pipeline.{stage}").iterdir():
            if path.name.endswith(".sql"):
                lines = read_sql(f"rfm_pipeline.{stage}", path.name.removesuffix(".sql")).splitlines()
                statement = [line for line in lines if line.strip()]
                while statement[0].startswith("--"):
                    statement.pop(0)
                assert all(line in text for line in statement), path.name


def test_every_statement_is_explained() -> None:
    for file in sql_files():
        assert file.explanation.startswith(f"{file.name}: "), file.name
        assert not file.sql.startswith("--")


def test_a_changed_threshold_and_template_are_in_it(shop: Shop) -> None:
    before = text_of(shop)
    path = shop.home / "shop.yaml"
    content = yaml.safe_load(path.read_text("utf-8"))
    words = {name: dict(load_shop(shop.home).recall.words[name]) for name in "ABC"}
    words["B"]["sms"] = "【{{ shop }}】{{ product }}，新的话术。拒收请回复R"
    content |= {
        "rules": {"dormant_after_days": 123, "frequency_high": 4, "monetary_high": 777},
        "recall": {"weekly_capacity": 321, "words": words, "offers": dict.fromkeys("ABC", "新的优惠")},
    }
    path.write_text(yaml.safe_dump(content, allow_unicode=True), "utf-8")
    after = text_of(load_shop(shop.home))
    for text_of_change in (
        "≥ 123 天没有下单",
        "F < 4，M 低，至少 123 天没有下单",
        "≥ ¥777",
        "每周最多 321 位",
        "新的优惠",
        f"【茶铺】{EXAMPLE_PRODUCT}，新的话术。拒收请回复R",
    ):
        assert text_of_change in after
        assert text_of_change not in before


def test_counts_are_the_tables(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "home", rules={"max_order_gap_days": 10_000, "monetary_high": 500})
    day = FIRST_WEEK - timedelta(days=100)
    orders = [
        f"o{n},c{n % 7},{day + timedelta(days=n)} 10:00:00,sku{n % 3},1,{n * 10}.00" for n in range(1, 60)
    ]
    write_export(shop, "orders.csv", *orders)
    warehouse = small_warehouse(shop)
    ingest(warehouse, shop)
    diagnose(warehouse, shop, [FIRST_WEEK])
    week, counted = counts(warehouse, shop)
    assert week == FIRST_WEEK
    rows = table_rows(warehouse, "customer_segments")
    assert sum(row["customers"] for row in counted.values()) == len(rows) > 0
    text = render_markdown(shop, week, counted)
    for segment, name in SEGMENTS.items():
        mine = [row for row in rows if row["segment"] == segment]
        assert re.search(rf"\| {name} \| [^|]+ \| {len(mine):,} \|", text)


def test_before_the_first_run_there_are_no_counts(shop: Shop) -> None:
    text = text_of(shop)
    assert f"| {SEGMENTS['champion']} | {segment_criteria(shop)['champion']} | — | — |" in text
    assert not shop.warehouse_path.exists()


def test_what_the_shop_wrote_is_text(tmp_path: Path) -> None:
    named = make_shop(
        tmp_path / "home",
        shop={"name": "<script>alert(1)</script>"},
        recall={"offers": dict.fromkeys("ABC", "a | b <b>")},
    )
    written = write_playbook(small_warehouse(named), named)
    page = written["html"].read_text("utf-8")
    assert "<script" not in page
    assert "<b>" not in page
    assert "a \\| b <b>" in written["markdown"].read_text("utf-8")


def test_the_page_is_self_contained(shop: Shop) -> None:
    page = render_html(text_of(shop), "手册")
    assert not re.search(r"<(script|img|link|iframe)\b|url\(", page)
    # tables and statements came out as such
    assert page.count("<table>") == 3
    assert page.count("<pre>") == len(list(sql_files()))


def test_the_command_writes_both(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["playbook", "--home", str(shop.home), "--no-open"])
    assert done.value.code == 0
    folder = shop.out_dir / "playbook"
    assert capsys.readouterr().out.split() == [str(folder / "playbook.md"), str(folder / "playbook.html")]
    assert all(path.stat().st_size > 10_000 for path in folder.iterdir())

"""The playbook: the method as a document, from the settings, SQL files and messages in force.

Each run rewrites it, so that it is never out of date. Markdown is the source, HTML is rendered from it.
"""

import html
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from rfm_pipeline.charts.style import money_text
from rfm_pipeline.contacts.messages import compile_messages, valid_until
from rfm_pipeline.diagnose.schemas import SEGMENTS
from rfm_pipeline.review.schemas import VALUE_DAYS, VERDICTS
from rfm_pipeline.shop import CHURN_CLASSES, Shop
from rfm_pipeline.storage.atomic_files import replace_files
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.warehouse.sql import read_sql
from rfm_pipeline.weeks import week_of

STAGES = {"ingest": "订单进来", "diagnose": "诊断", "recall": "召回", "review": "复盘"}
CHANNELS = {"sms": "短信", "email_subject": "邮件标题", "email_body": "邮件正文", "wecom_text": "企业微信"}
CLASS_CRITERIA = {
    "A": "买过的商品里有当周的爆款",
    "B": "买过的全是清仓或低价商品",
    "C": "两者都不是",
}
EXAMPLE_PRODUCT = "示例商品·四件套"
EXAMPLE_COUPON = "0123456789AB"
_COUNTS_SQL = """
select segment, count(*) as customers, sum(monetary)::double as money
from customer_segments
where week = $week
group by segment
"""
_PAGE = """<!doctype html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root {{ --page: #fff; --ink: #2b2b2b; --faint: #6b6b6b; --line: #ddd; --code: #f5f5f2; }}
@media screen and (prefers-color-scheme: dark) {{
  :root {{ --page: #16181b; --ink: #e6e6e6; --faint: #a4a4a4; --line: #3a3d42; --code: #212429; }}
}}
body {{ margin: 0; background: var(--page); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.7 "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; }}
main {{ max-width: 860px; margin: 0 auto; padding: 24px 16px 60px; }}
h1 {{ font-size: 26px; }}
h2 {{ border-bottom: 1px solid var(--line); padding-bottom: 4px; margin-top: 40px; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
th, td {{ border: 1px solid var(--line); padding: 5px 10px; text-align: left; }}
pre {{ background: var(--code); padding: 12px; overflow-x: auto; font-size: 13px; line-height: 1.5; }}
code {{ background: var(--code); padding: 1px 4px; border-radius: 3px; font-size: .9em; }}
pre code {{ padding: 0; }}
blockquote {{ margin: 8px 0; padding: 4px 14px; border-left: 3px solid #d99a06; }}
blockquote p {{ white-space: pre-wrap; margin: 6px 0; }}
@page {{ size: A4; margin: 14mm; }}
@media print {{ pre {{ white-space: pre-wrap; }} body {{ font-size: 11pt; }} }}
</style>
</head>
<body><main>
{body}</main></body>
</html>
"""


@dataclass(frozen=True)
class SqlFile:
    """A table's statement.

    Attributes:
        stage: The stage whose folder it lies in.
        name: Its name, that of the table.
        explanation: Its opening comment.
        sql: The statement.
    """

    stage: str
    name: str
    explanation: str
    sql: str


def sql_files() -> Iterator[SqlFile]:
    """The SQL file of every table, stage by stage."""
    for stage in STAGES:
        folder = resources.files(f"rfm_pipeline.{stage}")
        found = sorted(
            (path for path in folder.iterdir() if path.name.endswith(".sql")), key=lambda path: path.name
        )
        for path in found:
            name = path.name.removesuffix(".sql")
            lines = read_sql(f"rfm_pipeline.{stage}", name).splitlines()
            comments = [line for line in lines if line.startswith("--")]
            # the comment opens the file; later ones stand within the statement
            opening = lines[: next(i for i, line in enumerate(lines) if not line.startswith("--"))]
            assert comments[: len(opening)] == opening
            explanation = " ".join(line.removeprefix("--").strip() for line in opening)
            sql = "\n".join(lines[len(opening) :]).strip()
            yield SqlFile(stage, name, explanation, sql)


def segment_criteria(shop: Shop) -> dict[str, str]:
    """What makes each segment, in the thresholds in force."""
    rules = shop.rules
    high_f, low_f = f"F ≥ {rules.frequency_high}", f"F < {rules.frequency_high}"
    dormant = f"至少 {rules.dormant_after_days} 天没有下单"
    return {
        "champion": f"{high_f}，M 高",
        "rising_vip": f"{low_f}，M 高",
        "lapsing_regular": f"{high_f}，M 低，至少 {rules.lapsing_after_days} 天没有下单",
        "active_regular": f"{high_f}，M 低，{rules.lapsing_after_days} 天内下过单",
        "silent_churner": f"{low_f}，M 低，{dormant}，最后一件事是购买：没有退款、没有投诉",
        "vocal_churner": f"{low_f}，M 低，{dormant}，最后一件事是退款或退货",
        "developing": f"{low_f}，M 低，{rules.dormant_after_days} 天内下过单",
    }


def examples(shop: Shop, week: date) -> list[dict[str, Any]]:
    """Every template with what a made-up customer would read."""
    templates = compile_messages(shop)
    found = []
    for churn_class in CHURN_CLASSES:
        values = {
            "shop": shop.shop.name,
            "product": EXAMPLE_PRODUCT,
            "coupon": f"{churn_class}{EXAMPLE_COUPON}",
            "offer": shop.recall.offers[churn_class],
            "valid_until": f"{valid_until(shop, week):%Y-%m-%d}",
        }
        texts = {channel: templates[churn_class, channel].render(values).strip() for channel in CHANNELS}
        found.append({"class": churn_class, "texts": texts})
    return found


def counts(warehouse: Warehouse, shop: Shop) -> tuple[date | None, dict[str, dict[str, Any]]]:
    """Customers and money by segment of the newest week that was made; none before the first run."""
    if not shop.warehouse_path.exists():
        return None, {}
    with warehouse.transaction() as session:
        weeks = session.snapshot_weeks("customer_segments")
        if not weeks:
            return None, {}
        week = max(weeks)
        rows = session.read(_COUNTS_SQL, {"week": week})
    return week, {row["segment"]: row for row in rows.iter_rows(named=True)}


def render_markdown(shop: Shop, week: date | None, counted: dict[str, dict[str, Any]]) -> str:
    """The document as Markdown.

    Args:
        shop: The settings in force.
        week: The week of the counts, None before the first run.
        counted: By segment: customers, money.
    """
    threshold = shop.rules.monetary_high
    return str(
        _template().render(
            shop=shop,
            week=week,
            counted=counted,
            segments=SEGMENTS,
            criteria=segment_criteria(shop),
            class_criteria=CLASS_CRITERIA,
            monetary_high=money_text(float(threshold.amount), shop.shop.currency)
            if threshold.amount is not None
            else f"当周客户的 {float(threshold.quantile or 0):.0%} 分位数",
            files=list(sql_files()),
            stages=STAGES,
            product=EXAMPLE_PRODUCT,
            examples=examples(shop, week or week_of(shop.shop.first_week)),
            channels=CHANNELS,
            value_days=VALUE_DAYS,
            verdicts=VERDICTS,
            money=lambda amount: money_text(float(amount), shop.shop.currency),
        )
    )


def render_html(markdown: str, title: str) -> str:
    """The document as one self-contained page."""
    from markdown_it import MarkdownIt

    # no raw HTML: names and words of the shop are text
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return _PAGE.format(title=html.escape(title), body=body)


def write_playbook(warehouse: Warehouse, shop: Shop) -> dict[str, Path]:
    """Writes the document in both forms.

    Returns:
        The files, by ``markdown`` and ``html``.
    """
    week, counted = counts(warehouse, shop)
    markdown = render_markdown(shop, week, counted)
    texts = {"markdown": markdown, "html": render_html(markdown, f"{shop.shop.name} · 沉睡客户召回手册")}
    folder = shop.out_dir / "playbook"
    written = {form: folder / f"playbook.{suffix}" for form, suffix in (("markdown", "md"), ("html", "html"))}
    replace_files(shop.home, {path: texts[form].encode() for form, path in written.items()})
    return written


@cache
def _template() -> Any:
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    # within a table's cell a bar or a line break would end it
    environment.filters["cell"] = lambda text: " ".join(str(text).split()).replace("|", "\\|")
    environment.filters["quote"] = lambda text: "\n".join(
        f"> {line}".rstrip() for line in str(text).splitlines()
    )
    environment.filters["pct"] = lambda share: f"{float(share) * 100:g}%"
    environment.filters["n"] = lambda number: f"{number:,}"
    source = resources.files("rfm_pipeline.review.report").joinpath("playbook.md.j2").read_text("utf-8")
    return environment.from_string(source)

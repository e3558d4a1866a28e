"""What the ``rfm`` command prints: progress while it works, tables when it is done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rfm_pipeline.diagnose.schemas import SEGMENTS
from rfm_pipeline.home.warehouse import open_warehouse
from rfm_pipeline.ingest.presets import NO_BUYERS
from rfm_pipeline.orchestration.last_run import RunReport
from rfm_pipeline.recall.sinks.base import tags_file
from rfm_pipeline.recall.weekly_summary import PARTS
from rfm_pipeline.recall.worklist import worklist_path
from rfm_pipeline.review.report.page import has_products, report_path
from rfm_pipeline.shop import CHURN_CLASSES, Shop
from rfm_pipeline.warehouse.duckdb import Session

if TYPE_CHECKING:
    from rfm_pipeline.ingest.report import FileCheck

_UNTAGGED = """
select count(*) from recall_list l
where l.week = $week and l.arm = 'recall' and not exists (
    select 1 from tag_plan p where p.week = l.week and p.customer_id = l.customer_id and p.action = 'add'
)
"""


_NO_PRODUCTS = (
    "every silent customer is of class C: the orders of the past year name no article, so there are no "
    "bestsellers. Name a column of articles (sku or product_name) in the preset to have classes A and B."
)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Shows what is being done: a moving line in a terminal, plain lines anywhere else."""
    console = Console(stderr=True)
    begun = monotonic()

    def plain(message: str) -> None:
        line = f"[dim]{monotonic() - begun:6.1f} s[/dim]  {escape(message)}"
        console.print(line, highlight=False, soft_wrap=True)

    if not console.is_terminal:
        yield plain
        return
    with console.status("starting") as status:

        def moving(message: str) -> None:
            if message.startswith(("history", "week", "nothing sent")):
                plain(message)
            status.update(escape(message))

        yield moving


def print_file_check(check: "FileCheck") -> None:
    """Prints what a file holds."""
    console = Console()
    total = sum(check.rows.values())
    table = Table(title=str(check.path), title_justify="left", show_header=False)
    table.add_row("looks like", _looks_like(check))
    table.add_row("read as", f"{check.preset}; {check.layout}")
    table.add_row("columns read", ", ".join(f"{c} ← {h.strip()}" for c, h in check.mapping.items()))
    if check.fallbacks:
        others = (f"{c} ← {', '.join(h.strip() for h in hs)}" for c, hs in check.fallbacks.items())
        table.add_row("  where those are empty", ", ".join(others))
    table.add_row("columns not used", ", ".join(name.strip() for name in check.unused) or "none")
    table.add_row("rows read", f"{total:,}")
    for name, count in check.rows.items():
        table.add_row(f"  {name}", f"{count:,}")
    accepted = check.rows["accepted"]
    share = f" ({check.without_customer / accepted:.1%})" if accepted else ""
    table.add_row("  accepted without a customer", f"{check.without_customer:,}{share}")
    if check.hides_buyers:
        table.add_row("  buyers", NO_BUYERS)
    if check.keys_masked or check.keys_damaged or check.keys_from_fallback:
        table.add_row(
            "  customer keys",
            f"{check.keys_masked:,} masked, {check.keys_damaged:,} damaged by a spreadsheet, "
            f"{check.keys_from_fallback:,} known by another column",
        )
    if check.unpaid_delivered["unpaid_delivered_orders"]:
        table.add_row("  delivered and unpaid", _unpaid(check.unpaid_delivered))
    span = (
        "no order"
        if check.first_ordered_at is None
        else f"{check.first_ordered_at:%Y-%m-%d %H:%M} to {check.last_ordered_at:%Y-%m-%d %H:%M}"
    )
    table.add_row("orders from", span)
    console.print(table)
    if check.rejected:
        reasons = Table(title="rejected", title_justify="left")
        for heading in ("rows", "reason", "first rows"):
            reasons.add_column(heading)
        for reason, count in check.rejected.most_common():
            reasons.add_row(f"{count:,}", reason, ", ".join(map(str, check.first_rows[reason])))
        console.print(reasons)


def _unpaid(found: dict[str, Any]) -> str:
    orders, money = found["unpaid_delivered_orders"], found["unpaid_delivered_amount"]
    methods = found["unpaid_delivered_methods"] or ""
    return f"{orders:,} orders, {money:,.2f}; to count them: orders.paid_on_delivery: [{methods}]"


def _looks_like(check: "FileCheck") -> str:
    best = check.guesses[0]
    words = f"{best.preset.name} ({best.confidence}: {best.known} of {best.names} columns known)"
    others = [guess.preset.name for guess in check.guesses[1:] if not guess.lacks]
    return words + (f"; also fits {', '.join(others)}" if others else "")


def print_summary(shop: Shop, report: RunReport) -> None:
    """Prints what a run made: segments, the newly silent, list, tags, files."""
    console = Console()
    week = report.weeks[-1]
    with open_warehouse(shop).transaction() as session:
        console.print(_segments(session, shop, week))
        console.print(_churners(session, week))
        if not has_products(session, week):
            console.print(_NO_PRODUCTS, highlight=False)
        untagged = session.value(_UNTAGGED, {"week": week})
    if untagged:
        console.print(f"{untagged} to contact said no to WeCom: they get no tag there, and no message for it")
    for first, last in report.history:
        console.print(f"history filled in: {first}" + ("" if first == last else f" to {last}"))
    for line in report.plan:
        console.print(f"week plan: {escape(line)}", soft_wrap=True, highlight=False)
    _print_tags(console, shop, report)
    _print_outreach(console, report)
    if shop.wecom.enabled:
        _print_team(console, report)
    for table, name, figures in report.warnings:
        console.print(f"[yellow]look at[/yellow] {table}.{name}: {escape(figures)}", highlight=False)
    console.print(f"tables: {shop.warehouse_path}", soft_wrap=True, highlight=False)
    variable = shop.ledger.url_env
    ledger = f"PostgreSQL, by {variable}" if variable else str(shop.home / "ledger.sqlite")
    console.print(f"ledger: {ledger}", soft_wrap=True, highlight=False)
    tags = tags_file(shop, week)
    if tags.exists():
        console.print(f"tags:   {tags}", soft_wrap=True, highlight=False)
    work = worklist_path(shop, week)
    if work.exists():
        console.print(f"work list: {work}", soft_wrap=True, highlight=False)
    page = report_path(shop, week)
    if page.exists():
        console.print(f"report: {page} (rfm report)", soft_wrap=True, highlight=False)
    console.print(f"lineage and history: rfm ui --home {shop.home}", soft_wrap=True, highlight=False)


def _segments(session: Session, shop: Shop, week: date) -> Table:
    rows = session.execute(
        "select segment, count(*), sum(monetary) from customer_segments where week = $week group by segment",
        {"week": week},
    ).fetchall()
    found = {segment: (customers, money) for segment, customers, money in rows}
    table = Table(title=f"{shop.shop.name}, week {week}", title_justify="left")
    table.add_column("segment")
    table.add_column("客群")
    table.add_column("customers", justify="right")
    table.add_column(f"money ({shop.shop.currency})", justify="right")
    for segment, label in SEGMENTS.items():
        customers, money = found.get(segment, (0, 0))
        table.add_row(segment, label, f"{customers:,}", f"{money:,.2f}")
    total = sum(customers for customers, _ in found.values())
    table.add_section()
    table.add_row("all", "全部", f"{total:,}", f"{sum(money for _, money in found.values()):,.2f}")
    return table


def _churners(session: Session, week: date) -> Table:
    counted = {
        "silent churners": "silent_churners where week = $week",
        "new this week": "new_silent_churners where week = $week",
        "recall list: to contact": "recall_list where week = $week and arm = 'recall'",
        "recall list: hold-out": "recall_list where week = $week and arm = 'holdout'",
        "tags to add": "tag_plan where week = $week and action = 'add'",
        "tags to remove": "tag_plan where week = $week and action = 'remove'",
        "tag changes done": "customer_tags where week = $week and status = 'done'",
    }
    table = Table(title_justify="left")
    table.add_column("")
    for name in (*CHURN_CLASSES, "all"):
        table.add_column(name, justify="right")
    for label, source in counted.items():
        sql = f"select churn_class, count(*) from {source} group by churn_class"
        found = dict(session.execute(sql, {"week": week}).fetchall())
        numbers = [found.get(name, 0) for name in CHURN_CLASSES]
        table.add_row(label, *(f"{n:,}" for n in (*numbers, sum(numbers))))
    return table


def _print_tags(console: Console, shop: Shop, report: RunReport) -> None:
    tags = report.metadata.get("customer_tags", {})
    if "refused" in tags:
        console.print(f"[yellow]nothing sent:[/yellow] {escape(tags['refused'])}", highlight=False)
    elif tags:
        counts = ", ".join(f"{name} {tags[name]}" for name in ("done", "failed", "rejected", "unmatched"))
        console.print(f"tag changes carried out by this run: {tags['sent']}; of the week: {counts}")
        if "problems" in tags:
            console.print(f"  for a human to see to: {tags['problems']}", soft_wrap=True, highlight=False)


def tags_left(report: RunReport) -> str | None:
    """What of the week's tags is left to another run, in words; None if nothing is."""
    tags = report.metadata.get("customer_tags", {})
    if left := tags.get("failed", 0) + tags.get("pending", 0):
        why = f" ({tags['paused']})" if "paused" in tags else ""
        return f"{left} tag changes are not carried out yet{why}"
    return None


def _print_outreach(console: Console, report: RunReport) -> None:
    log = report.metadata.get("outreach_log", {})
    if not log.get("files"):
        return
    customers = (
        f"{name.removeprefix('customers_').replace('_', ' ')} {count}"
        for name, count in log.items()
        if name.startswith("customers_")
    )
    console.print(f"outcomes reported by the team: {', '.join(customers) or 'none yet'}", highlight=False)
    if "file_to_look_at" in log:
        console.print(f"  rows to look at: {log['file_to_look_at']}", soft_wrap=True, highlight=False)


def _print_team(console: Console, report: RunReport) -> None:
    delivery = report.metadata.get("team_message", {})
    if "refused" in delivery:
        console.print(
            f"[dim]the team's group gets no message: {escape(delivery['refused'])}[/dim]", highlight=False
        )
    elif delivery:
        parts = ", ".join(f"{part} {delivery[part]}" for part in PARTS if part in delivery)
        console.print(f"the team's group: {parts}", highlight=False)

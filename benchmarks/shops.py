"""The shops that are measured: order lines drawn by a hash, the same at every run, as exports or as tables.

Belongs here: what the generated data are. Three lines an order in chronological order as exports are; of 100
orders 2 are returns, 3 are fully refunded and 3 lose one line's half, up to 20 days later.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path

import duckdb

from rfm_pipeline.diagnose.pipeline import sql_of
from rfm_pipeline.diagnose.schemas import CUSTOMER_ACTIVITY
from rfm_pipeline.ingest.schemas import ORDER_LINES
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import WEEK, as_of, weeks_between

FIRST_WEEK = date(2022, 1, 3)
WEEKS = 156
CUSTOMERS_A_LINE = 0.17
LINES_AN_ORDER = 3
# whole orders: the file that names an order last would replace the lines of an earlier one
LINES_A_FILE = 3_333_333 * LINES_AN_ORDER
SETTINGS = """\
shop: {{name: bench, first_week: {first_week}}}
warehouse: {{memory_limit: {memory_limit}, threads: {threads}}}
recall: {{weekly_capacity: 5000, max_changes: 10000, allow_past_weeks: true}}
"""

_DRAWN = """
with

lines as (

    select i, i // {an_order} as o from range({first}, {last}) r(i)

),

drawn as (

    select
        i,
        o,
        timestamp '{begins}'
            + to_seconds(cast(floor((o + 0.5) * {seconds} / {orders}) as bigint)) as order_at,
        hash(o * 7919 + 1) % {customers} as customer,
        case when hash(o * 31 + 5) % 100 < 2 then 'return' else 'sale' end as line_type,
        hash(o * 17 + 3) % 100 as refund_draw,
        cast(hash(o * 3) % 20 as integer) as refund_days,
        hash(i * 3) % 5000 as product,
        cast(hash(i) % 10000 + 100 as decimal(18, 4)) / 100 as amount,
    from lines

),

owed as (

    select
        *,
        case
            when line_type = 'return' then 0
            when refund_draw < 3 then amount
            when refund_draw < 6 and i % {an_order} = 0 then amount / 2
            else 0
        end as due,
        order_at + to_days(refund_days) as due_at,
    from drawn

),

known as (

    -- an export says nothing of refunds that are paid after it
    select * exclude (due), case when due_at < timestamp '{known_until}' then due else 0 end as refunded
    from owed

)

select
    'O' || lpad(o::varchar, 9, '0') as order_id,
    i % {an_order} + 1 as line_no,
    'C' || lpad(customer::varchar, 8, '0') as customer_id,
    order_at as ordered_at,
    line_type,
    'SKU' || product as sku,
    '商品 ' || product as product_name,
    1 as quantity,
    amount as unit_price,
    amount as list_price,
    amount,
    cast(refunded as decimal(18, 4)) as refunded_amount,
    case when refunded > 0 then due_at end as refunded_at,
    false as is_clearance,
from known
"""
_TABLE = """
select
    *,
    ordered_at as order_at,
    cast(date_trunc('week', ordered_at) as date) as week,
    refunded_at as refund_at,
    cast(date_trunc('week', refunded_at) as date) as refund_week,
    line_type = 'sale' as is_product,
    1 as batch_id,
    row_number() over () as row_no,
from ({lines})
"""


@dataclass(frozen=True)
class Drawn:
    """A shop to be generated.

    Attributes:
        lines: Order lines, spread evenly over the weeks.
        customers: Customers that the orders are drawn from, all of them at any time.
        weeks: How many weeks.
        first_week: The first of them.
    """

    lines: int
    customers: int
    weeks: int = WEEKS
    first_week: date = FIRST_WEEK

    @property
    def last_week(self) -> date:
        return self.first_week + (self.weeks - 1) * WEEK

    def sql(self, first: int, last: int, known_until: date) -> str:
        """The lines from one number up to another, as a SELECT of the canonical columns."""
        return _DRAWN.format(
            first=first,
            last=last,
            known_until=known_until,
            an_order=LINES_AN_ORDER,
            begins=self.first_week,
            seconds=int(self.weeks * WEEK.total_seconds()),
            orders=self.lines // LINES_AN_ORDER + 1,
            customers=self.customers,
        )

    def line_at(self, day: date) -> int:
        """The number of the first line of an order placed on a day or later."""
        begins, moment = (datetime.combine(each, time()) for each in (self.first_week, day))
        share = (moment - begins).total_seconds() / (self.weeks * WEEK.total_seconds())
        order = max(0, int(share * (self.lines // LINES_AN_ORDER + 1)) - 1)
        return min(order * LINES_AN_ORDER, self.lines)


def sized(lines: int) -> Drawn:
    """The shop of the comparisons with so many lines: two orders a customer in three years."""
    return Drawn(lines, max(int(lines * CUSTOMERS_A_LINE), 1))


def history_files(shop: Drawn, folder: Path, suffix: str = "parquet") -> Iterator[Path]:
    """Writes what the shop exported before its last week: files of at most ten million lines."""
    until = shop.last_week
    end = shop.line_at(until) + LINES_AN_ORDER
    with closing(duckdb.connect()) as connection:
        for number, first in enumerate(range(0, end, LINES_A_FILE)):
            lines = shop.sql(first, min(first + LINES_A_FILE, end), until)
            path = folder / f"orders_{number:03}.{suffix}"
            rows = f"select * from ({lines}) where ordered_at < timestamp '{until}'"
            connection.execute(f"copy ({rows}) to '{path}' ({_format(suffix)})")
            yield path


def last_week_file(shop: Drawn, path: Path) -> Path:
    """Writes what the shop exports at the end of its last week: new orders, and those refunded in it."""
    week, until = shop.last_week, as_of(shop.last_week)
    lines = shop.sql(shop.line_at(week - 3 * WEEK), shop.lines, until)
    due = f"timestamp '{week}'"
    rows = (
        f"with l as ({lines}) select * from l where ordered_at >= {due} "
        f"or order_id in (select order_id from l where refunded_at >= {due})"
    )
    with closing(duckdb.connect()) as connection:
        connection.execute(f"copy ({rows}) to '{path}' ({_format(path.suffix[1:])})")
    return path


def _format(suffix: str) -> str:
    return "format csv, header" if suffix == "csv" else f"format {suffix}"


def make_home(home: Path, first_week: date, memory_limit: str = "4GB", threads: int | None = None) -> Path:
    """Lays out a home whose weekly grid begins with a week; its orders are the caller's business."""
    (home / "orders").mkdir(parents=True)
    settings = {"first_week": first_week, "memory_limit": memory_limit, "threads": threads or "null"}
    (home / "shop.yaml").write_text(SETTINGS.format(**settings), "utf-8")
    return home


def make_tables(warehouse: Warehouse, shop: Drawn) -> None:
    """Writes ``order_lines`` without any export and, by the pipeline's SQL, ``customer_activity``."""
    until = as_of(shop.last_week) + 3 * WEEK
    with warehouse.transaction() as session:
        session.create(ORDER_LINES)
        session.create(CUSTOMER_ACTIVITY)
        lines = _TABLE.format(lines=shop.sql(0, shop.lines, until))
        session.execute(f"insert into order_lines by name {lines}")
        session.target(weeks_between(shop.first_week, until))
        session.execute(f"insert into customer_activity by name {sql_of(CUSTOMER_ACTIVITY)}")

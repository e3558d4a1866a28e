"""customer_rfm beside one direct query over the lines, beside pandas, and 104 weeks in one range.

    uv run python -m benchmarks.customer_rfm --lines 10000000 --rounds 3 --range

Makes a shop's order lines (the same at every run), adds up ``customer_activity`` with the pipeline's own SQL,
then times one week's RFM in alternating rounds: from that table, by one direct query over the lines, and in
pandas. The results are compared row by row.
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from datetime import date
from multiprocessing import get_context
from pathlib import Path

import duckdb
import pandas as pd

from benchmarks.report import Timing, alternate, comparison, machine, peak_memory, say, timed, timing, write
from rfm_pipeline.diagnose.pipeline import sql_of
from rfm_pipeline.diagnose.schemas import CUSTOMER_ACTIVITY, CUSTOMER_RFM
from rfm_pipeline.ingest.schemas import ORDER_LINES
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.weeks import WEEK, as_of, weeks_between

FIRST_WEEK = date(2022, 1, 3)
WEEKS = 156
LINES_AN_ORDER = 3
CUSTOMERS_A_LINE = 0.17
RANGE = 104
MEMORY_LIMIT = "4GB"

# Chronological, as exports are. Of 100 orders 2 are returns, 3 are fully refunded, 3 lose one line's half.
LINES = """
with

lines as (

    select i, i // $lines_an_order as o from range($lines) r(i)

),

drawn as (

    select
        i,
        o,
        timestamp '2022-01-03' + to_seconds(cast(
            floor((o + 0.5) * $seconds / ($lines // $lines_an_order + 1)) as bigint
        )) as order_at,
        hash(o * 7919 + 1) % $customers as customer,
        case when hash(o * 31 + 5) % 100 < 2 then 'return' else 'sale' end as line_type,
        hash(o * 17 + 3) % 100 as refund_draw,
        hash(o * 3) % 20 as refund_days,
        hash(i * 3) % 5000 as product,
        cast(hash(i) % 10000 + 100 as decimal(18, 4)) / 100 as amount,
    from lines

),

refunded as (

    select
        *,
        case
            when line_type = 'return' then 0
            when refund_draw < 3 then amount
            when refund_draw < 6 and i % $lines_an_order = 0 then amount / 2
            else 0
        end as refunded_amount,
        order_at + to_days(cast(refund_days as integer)) as refunded_at,
    from drawn

)

select
    'O' || lpad(o::varchar, 8, '0') as order_id,
    i % $lines_an_order + 1 as line_no,
    'C' || lpad(customer::varchar, 7, '0') as customer_id,
    order_at as ordered_at,
    line_type,
    'SKU' || product as sku,
    'product ' || product as product_name,
    1 as quantity,
    amount as unit_price,
    amount as list_price,
    amount,
    refunded_amount,
    case when refunded_amount > 0 then refunded_at end as refunded_at,
    false as is_clearance,
    order_at,
    cast(date_trunc('week', order_at) as date) as week,
    case when refunded_amount > 0 then refunded_at end as refund_at,
    case when refunded_amount > 0 then cast(date_trunc('week', refunded_at) as date) end as refund_week,
    line_type = 'sale' as is_product,
    1 as batch_id,
    i + 1 as row_no,
from refunded
"""

# What an analyst would write once: no table in between, the same definitions.
DIRECT = """
with

known as (

    select * from order_lines
    where customer_id is not null and order_at < $as_of

),

orders as (

    select
        customer_id,
        order_at,
        sum(amount) as amount,
        sum(case when refund_at < $as_of then refunded_amount else 0 end) as refunded,
        max(case when refund_at < $as_of then refund_at end) as refund_at,
    from known
    where line_type = 'sale'
    group by order_id, customer_id, order_at

),

bought as (

    select
        customer_id,
        count(*) filter (amount > 0 and refunded < amount) as frequency,
        sum(amount - refunded) as monetary,
        min(order_at) filter (amount > 0) as first_order_at,
        max(order_at) filter (amount > 0) as last_order_at,
        max(refund_at) as refund_at,
    from orders
    group by customer_id
    having max(amount) > 0

),

returned as (

    select customer_id, sum(amount) as amount, max(order_at) as return_at
    from known
    where line_type = 'return'
    group by customer_id

)

select
    cast($week as date) as week,
    cast($as_of as date) as as_of,
    b.customer_id,
    date_diff('day', cast(b.last_order_at as date), cast($as_of as date)) as recency_days,
    b.frequency,
    b.monetary - coalesce(r.amount, 0) as monetary,
    b.first_order_at,
    b.last_order_at,
    greatest(b.refund_at, r.return_at) as last_return_at,
from bought b
left join returned r on r.customer_id = b.customer_id
"""
# money as float, as a notebook has it: with Decimal objects pandas takes many times longer
PANDAS_LINES = """
select
    order_id,
    customer_id,
    order_at,
    line_type,
    amount::double as amount,
    refunded_amount::double as refunded_amount,
    refund_at,
from order_lines
"""


def pandas_rfm(lines: pd.DataFrame, week: date) -> pd.DataFrame:
    """One week's RFM in vectorised pandas, from lines that lie in memory already."""
    end = pd.Timestamp(as_of(week))
    known = lines[(lines["order_at"] < end) & lines["customer_id"].notna()]
    sales = known[known["line_type"] == "sale"]
    is_refunded = sales["refund_at"] < end
    sales = sales.assign(
        refunded=sales["refunded_amount"].where(is_refunded, 0.0),
        refund_at=sales["refund_at"].where(is_refunded),
    )
    # an order has one customer and one time
    orders = sales.groupby("order_id", sort=False).agg(
        customer_id=("customer_id", "first"),
        order_at=("order_at", "first"),
        amount=("amount", "sum"),
        refunded=("refunded", "sum"),
        refund_at=("refund_at", "max"),
    )
    is_paid = orders["amount"] > 0
    orders["counts"] = is_paid & (orders["refunded"] < orders["amount"])
    orders["kept"] = orders["amount"] - orders["refunded"]
    orders["order_at"] = orders["order_at"].where(is_paid)
    customers = orders.groupby("customer_id", sort=False).agg(
        frequency=("counts", "sum"),
        monetary=("kept", "sum"),
        first_order_at=("order_at", "min"),
        last_order_at=("order_at", "max"),
        refund_at=("refund_at", "max"),
    )
    customers = customers[customers["last_order_at"].notna()]
    returns = (
        known[known["line_type"] == "return"]
        .groupby("customer_id", sort=False)
        .agg(returned=("amount", "sum"), return_at=("order_at", "max"))
    )
    found = customers.join(returns)
    return pd.DataFrame(
        {
            "week": week,
            "as_of": end.date(),
            "customer_id": found.index,
            "recency_days": (end - found["last_order_at"].dt.normalize()).dt.days.array,
            "frequency": found["frequency"].array,
            "monetary": (found["monetary"] - found["returned"].fillna(0.0)).array,
            "first_order_at": found["first_order_at"].array,
            "last_order_at": found["last_order_at"].array,
            "last_return_at": found[["refund_at", "return_at"]].max(axis=1).array,
        }
    )


def make_shop(warehouse: Warehouse, lines: int) -> None:
    """Writes ``order_lines`` and, by the pipeline's SQL, ``customer_activity``."""
    with warehouse.transaction() as session:
        session.create(ORDER_LINES)
        session.create(CUSTOMER_ACTIVITY)
        made = {
            "lines": lines,
            "lines_an_order": LINES_AN_ORDER,
            "customers": max(int(lines * CUSTOMERS_A_LINE), 1),
            "seconds": WEEKS * WEEK.total_seconds(),
        }
        wall, _ = timed(lambda: session.execute(f"insert into order_lines by name {LINES}", made))
        say(f"lines made in {wall:.1f} s")
        # refunds are paid up to three weeks after the last order
        session.target(weeks_between(FIRST_WEEK, FIRST_WEEK + (WEEKS + 3) * WEEK))
        insert = f"insert into customer_activity by name {sql_of(CUSTOMER_ACTIVITY)}"
        wall, _ = timed(lambda: session.execute(insert))
        say(f"customer_activity added up in {wall:.1f} s")


@contextmanager
def connected(warehouse: Warehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the pipeline's settings."""
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY_LIMIT,
        "preserve_insertion_order": False,
    }
    with closing(duckdb.connect(str(warehouse.path), config=settings)) as connection:
        connection.execute("set enable_progress_bar = false")
        yield connection


def compare_one_week(warehouse: Warehouse, rounds: int) -> tuple[list[Timing], int]:
    """Times one week in every way, and requires that they agree.

    Returns:
        The timings and the number of customers.
    """
    week = FIRST_WEEK + (WEEKS - 1) * WEEK
    with connected(warehouse) as connection:
        connection.execute(
            f"create temp table target_weeks as select date '{week}' as week, date '{as_of(week)}' as as_of"
        )
        parquet = warehouse.path.with_name("lines.parquet")
        connection.execute(f"copy ({PANDAS_LINES}) to '{parquet}' (format parquet)")
        lines = pd.read_parquet(parquet)
        direct = DIRECT.replace("$as_of", f"date '{as_of(week)}'").replace("$week", f"date '{week}'")
        results: dict[str, pd.DataFrame] = {}

        def from_frame() -> None:
            results["pandas"] = pandas_rfm(lines, week)

        def from_parquet() -> None:
            results["pandas"] = pandas_rfm(pd.read_parquet(parquet), week)

        ways = {
            "customer_rfm.sql over customer_activity": lambda: connection.execute(
                f"create or replace temp table from_activity as {sql_of(CUSTOMER_RFM)}"
            ),
            "one direct DuckDB query over the lines": lambda: connection.execute(
                f"create or replace temp table from_lines as {direct}"
            ),
            "pandas over the lines, read from Parquet": from_parquet,
            "pandas over the lines, in memory before": from_frame,
        }
        timings = alternate(ways, rounds)
        connection.register("pandas_frame", results["pandas"])
        connection.execute(
            "create temp table from_pandas as select * replace ("
            "week::date as week, as_of::date as as_of, round(monetary, 4)::decimal(18, 4) as monetary"
            ") from pandas_frame"
        )
        for other in ("from_lines", "from_pandas"):
            require_equal(connection, "from_activity", other)
        counted = connection.execute("select count(*) from from_activity").fetchone()
        assert counted is not None
        return timings, counted[0]


def require_equal(connection: duckdb.DuckDBPyConnection, left: str, right: str) -> None:
    """Stops unless two tables hold the same rows."""
    columns = ", ".join(CUSTOMER_RFM.schema.columns)
    counted = connection.execute(
        f"""
        select count(*) from (
            (select {columns} from {left} except all select {columns} from {right})
            union all
            (select {columns} from {right} except all select {columns} from {left})
        )
        """
    ).fetchone()
    if counted != (0,):
        raise SystemExit(f"{left} and {right} differ in {counted} rows")


def write_range(path: Path, is_validated: bool) -> tuple[tuple[float, float], int, float]:
    """Writes the last 104 weeks into the warehouse, in a process of its own.

    Returns:
        Wall and processor seconds, rows written, peak memory in GiB.
    """
    warehouse = Warehouse(path, memory_limit=MEMORY_LIMIT)
    weeks = weeks_between(FIRST_WEEK + (WEEKS - RANGE) * WEEK, FIRST_WEEK + (WEEKS - 1) * WEEK)

    def statement_only() -> None:
        with warehouse.transaction() as session:
            session.create(CUSTOMER_RFM)
            session.target(weeks)
            session.execute(f"insert into customer_rfm by name {sql_of(CUSTOMER_RFM)}")

    def with_validation() -> None:
        warehouse.replace_weeks(CUSTOMER_RFM, weeks, sql_of(CUSTOMER_RFM))

    times = timed(with_validation if is_validated else statement_only)
    rows = warehouse.read("select count(*) as n from customer_rfm")["n"][0]
    return times, rows, peak_memory()


def range_text(warehouse: Warehouse, rounds: int) -> str:
    """Times the range with and without validation, each in a fresh process on a fresh copy of the shop."""
    ways = {
        "the statement and its commit": False,
        "`replace_weeks`: statement, pandera on every row, commit": True,
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    peaks: dict[str, float] = dict.fromkeys(ways, 0.0)
    rows, size = 0, 0.0
    copy = warehouse.path.with_name("range.duckdb")
    for number in range(1, rounds + 1):
        for name, is_validated in ways.items():
            shutil.copyfile(warehouse.path, copy)
            with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
                took, rows, peak = pool.submit(write_range, copy, is_validated).result()
            times[name].append(took)
            peaks[name] = max(peaks[name], peak)
            size = (copy.stat().st_size - warehouse.path.stat().st_size) / 2**30
            copy.unlink()
            say(f"round {number}: {name} {took[0]:.1f} s")
    timings = [timing(name, found) for name, found in times.items()]
    memory = " and ".join(f"{peak:.1f}" for peak in peaks.values())
    return (
        f"## {RANGE} weeks in one range\n\n{rows:,} snapshot rows ({size:.1f} GiB in the file), "
        f"`memory_limit` {MEMORY_LIMIT}, {rounds} rounds in turn, each in a fresh process. Peak memory: "
        f"{memory} GiB.\n\n{comparison(timings, base=timings[0])}"
    )


def one_week_text(warehouse: Warehouse, lines: int, rounds: int) -> str:
    """Times one week in every way; the others as multiples of the pipeline's own."""
    timings, customers = compare_one_week(warehouse, rounds)
    return (
        f"## One week\n\n{lines:,} order lines, {customers:,} customers in the week, {rounds} rounds in "
        f"turn. All give the same rows.\n\n{comparison(timings, base=timings[0])}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--lines", type=int, default=10_000_000, help="order lines to make")
    parser.add_argument("--rounds", type=int, default=3, help="times that each way is run")
    parser.add_argument("--range", action="store_true", help="also 104 weeks in one range, twice each")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder) / "warehouse.duckdb", memory_limit=MEMORY_LIMIT)
        make_shop(warehouse, arguments.lines)
        parts = ["# customer_rfm", machine("duckdb", "polars", "pandera", "pandas")]
        ranges = [range_text(warehouse, rounds=2)] if arguments.range else []
        parts += [one_week_text(warehouse, arguments.lines, arguments.rounds), *ranges]
    write("customer_rfm", "\n\n".join(parts))


if __name__ == "__main__":
    main()

"""The ways that are compared, each a process of its own: this project's, and what one would write instead.

    python -m benchmarks.ways duckdb_rfm FOLDER

Every way prints, as JSON, what its work took without starting Python and importing, and its number of rows;
some leave their result in a Parquet file, so that all can be compared row by row. ``FOLDER`` holds what
``benchmarks.comparison`` has prepared: exports as CSV, their lines as a DuckDB table and as Parquet, a home.

Belongs here: the work, with the definitions of DESIGN.md wherever a way can follow them. All are set-based or
vectorised throughout; money is floating point in Polars and pandas, as a notebook has it.
"""

import json
import sys
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.report import peak_memory, timed

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl

    from rfm_pipeline.shop import Shop
    from rfm_pipeline.warehouse.duckdb import Warehouse

MEMORY_LIMIT = "4GB"
WEEK = timedelta(days=7)

# one pass over the lines, the same definitions, no table in between
DIRECT_RFM = """
with

known as (

    select * from lines
    where customer_id is not null and ordered_at < timestamp '{as_of}'

),

orders as (

    select
        customer_id,
        ordered_at,
        sum(amount) as amount,
        sum(case when refunded_at < timestamp '{as_of}' then refunded_amount else 0 end) as refunded,
        max(case when refunded_at < timestamp '{as_of}' then refunded_at end) as refunded_at,
    from known
    where line_type = 'sale'
    group by order_id, customer_id, ordered_at

),

bought as (

    select
        customer_id,
        count(*) filter (amount > 0 and refunded < amount) as frequency,
        sum(amount - refunded) as monetary,
        min(ordered_at) filter (amount > 0) as first_order_at,
        max(ordered_at) filter (amount > 0) as last_order_at,
        max(refunded_at) as refunded_at,
    from orders
    group by customer_id
    having max(amount) > 0

),

returned as (

    select customer_id, sum(amount) as amount, max(ordered_at) as returned_at
    from known
    where line_type = 'return'
    group by customer_id

)

select
    date '{week}' as week,
    date '{as_of}' as as_of,
    b.customer_id,
    date_diff('day', cast(b.last_order_at as date), date '{as_of}') as recency_days,
    b.frequency,
    b.monetary - coalesce(r.amount, 0) as monetary,
    b.first_order_at,
    b.last_order_at,
    greatest(b.refunded_at, r.returned_at) as last_return_at,
from bought b
left join returned r on r.customer_id = b.customer_id
"""
# who is silent at a week of a table of RFM rows, by the default thresholds. Money added up in floating point
# is rounded first: otherwise some of those whose M is the limit itself fall below it (7 of 770,000 did)
SILENT = """
select r.customer_id
from {rfm} r
where r.frequency < 3
    and round(r.monetary, 4) < (select quantile_cont(round(cast(monetary as double), 4), 0.75) from {rfm})
    and r.recency_days >= 90
    and (r.last_return_at is null or r.last_return_at < r.last_order_at)
"""
# class of every silent churner and a list of 5,000, straight from the lines
DIRECT_LIST = """
with

window_lines as (

    select * from lines
    where line_type = 'sale' and amount > 0
        and ordered_at >= date '{as_of}' - 365 and ordered_at < date '{as_of}'

),

best as (

    select sku
    from window_lines
    where not coalesce(is_clearance, false) and not coalesce(unit_price <= 0.5 * list_price, false)
    group by sku
    order by count(distinct order_id) desc, sum(amount) desc, sku
    limit 20

),

bought as (

    select
        l.customer_id,
        bool_or(l.sku in (select sku from best)) as is_a,
        bool_and(
            coalesce(l.is_clearance, false)
            or coalesce(l.unit_price <= 0.5 * l.list_price, false)
            or l.unit_price <= (select quantile_cont(unit_price, 0.25) from window_lines)
        ) as is_b,
        arg_max(l.sku, l.amount) as favourite_sku,
    from lines l
    where l.customer_id in (select customer_id from silent)
        and l.line_type = 'sale' and l.amount > 0 and l.ordered_at < date '{as_of}'
    group by l.customer_id

)

select
    s.customer_id,
    case when b.is_a then 'A' when b.is_b then 'B' else 'C' end as churn_class,
    b.favourite_sku,
    r.monetary,
from silent s
join rfm r on r.customer_id = s.customer_id
left join bought b on b.customer_id = s.customer_id
"""


def _folder() -> Path:
    return Path(sys.argv[2])


def _week() -> date:
    return date.fromisoformat(json.loads((_folder() / "shop.json").read_text("utf-8"))["week"])


def _known_week() -> date:
    """The newest week that the exports of the first load cover."""
    return _week() - WEEK


def _list_week() -> date:
    """A week whose list wasn't sent, so that it is drawn and not read back from the ledger."""
    return _week() - 2 * WEEK


def _connect(path: str = ":memory:") -> "duckdb.DuckDBPyConnection":
    import duckdb

    settings: dict[str, Any] = {"memory_limit": MEMORY_LIMIT, "preserve_insertion_order": False}
    connection = duckdb.connect(path, config=settings)
    connection.execute("set enable_progress_bar = false")
    return connection


def _report(took: tuple[float, float], rows: int) -> None:
    measured = {"seconds": took[0], "cpu_seconds": took[1], "rows": rows, "peak": peak_memory()}
    print(json.dumps(measured))


def _keep(frame: Any, name: str) -> None:
    """A way's result, for comparison; after the clock has stopped."""
    path = _folder() / f"{name}.parquet"
    if hasattr(frame, "write_parquet"):
        frame.write_parquet(str(path))
    else:
        frame.to_parquet(path)


# a notebook has money as floating point
_FLOATS = """
select * replace (
    cast(amount as double) as amount,
    cast(refunded_amount as double) as refunded_amount,
    cast(unit_price as double) as unit_price,
    cast(list_price as double) as list_price
)
from lines
"""


def export() -> None:
    """The loaded lines as the Parquet file of a notebook; no way, but what some of them read."""
    with closing(_connect(str(_folder() / "loaded.duckdb"))) as connection:
        connection.execute(f"copy ({_FLOATS}) to '{_folder()}/history.parquet'")


# --- first load ---------------------------------------------------------------------------------------------


def project_load() -> None:
    """Files into raw rows, order lines and activity, all checked, as ``rfm run`` does it."""
    from rfm_pipeline.diagnose.pipeline import update_customer_activity
    from rfm_pipeline.ingest.loading import load_new_files, update_order_lines

    shop, warehouse = _home()

    def load() -> None:
        load_new_files(warehouse, shop)
        update_order_lines(warehouse, shop)
        update_customer_activity(warehouse)

    took = timed(load)
    _report(took, warehouse.read("select count(*) as n from order_lines")["n"][0])


def duckdb_load() -> None:
    """``read_csv`` into a table of a new file."""
    path = _folder() / "loaded.duckdb"
    path.unlink(missing_ok=True)
    with closing(_connect(str(path))) as connection:
        took = timed(lambda: _insert(connection, "create table lines as", f"{_folder()}/data/*.csv"))
        rows = connection.sql("select count(*) from lines").fetchall()[0][0]
    _report(took, rows)


def _insert(connection: "duckdb.DuckDBPyConnection", what: str, files: str) -> None:
    connection.execute(f"{what} select * from read_csv('{files}')")
    connection.execute("checkpoint")


def polars_load() -> None:
    """``scan_csv`` into a Parquet file, streaming."""
    import polars as pl

    target = _folder() / "loaded_polars.parquet"
    took = timed(
        lambda: pl.scan_csv(f"{_folder()}/data/*.csv", try_parse_dates=True).sink_parquet(str(target))
    )
    _report(took, pl.scan_parquet(str(target)).select(pl.len()).collect().item())


def pandas_load() -> None:
    """``read_csv`` into memory and a Parquet file."""
    import pandas as pd

    def load() -> "pd.DataFrame":
        parts = [
            pd.read_csv(path, parse_dates=["ordered_at", "refunded_at"])
            for path in sorted((_folder() / "data").glob("*.csv"))
        ]
        frame = pd.concat(parts)
        frame.to_parquet(_folder() / "loaded_pandas.parquet")
        found.append(len(frame))
        return frame

    found: list[int] = []
    took = timed(load)
    _report(took, found[0])


# --- customer_rfm for one week ----------------------------------------------------------------------------


def _home() -> "tuple[Shop, Warehouse]":
    from rfm_pipeline.home.warehouse import open_warehouse
    from rfm_pipeline.shop import load_shop

    shop = load_shop(_folder() / "home")
    return shop, open_warehouse(shop)


def project_rfm() -> None:
    """``customer_rfm.sql`` over ``customer_activity``, into a table in memory, as the other ways do it."""
    from rfm_pipeline.diagnose.pipeline import sql_of
    from rfm_pipeline.diagnose.schemas import CUSTOMER_RFM

    _, warehouse = _home()
    with warehouse.transaction() as session:
        session.target([_known_week()])
        statement = f"create or replace temp table from_activity as {sql_of(CUSTOMER_RFM)}"
        took = timed(lambda: session.execute(statement))
        frame = session.read("select * from from_activity")
        session.execute("drop table from_activity")
    _keep(frame, "rfm_project")
    _report(took, frame.height)


def duckdb_rfm() -> None:
    """One direct query over the lines in DuckDB's own table."""
    sql = DIRECT_RFM.format(week=_known_week(), as_of=_known_week() + WEEK)
    with closing(_connect(str(_folder() / "loaded.duckdb"))) as connection:
        took = timed(lambda: connection.execute(f"create or replace temp table rfm as {sql}"))
        frame = connection.sql("select * from rfm").pl()
    _keep(frame, "rfm_duckdb")
    _report(took, frame.height)


def rfm_in_polars(lines: "pl.LazyFrame", week: date) -> "pl.LazyFrame":
    """One week's RFM as a lazy query."""
    import polars as pl

    end = pl.lit(week + WEEK).cast(pl.Datetime("us"))
    known = lines.filter(pl.col("customer_id").is_not_null() & (pl.col("ordered_at") < end))
    is_back = pl.col("refunded_at") < end
    orders = (
        known.filter(pl.col("line_type") == "sale")
        .group_by("order_id")
        .agg(
            pl.first("customer_id", "ordered_at"),
            pl.sum("amount"),
            refunded=pl.when(is_back).then("refunded_amount").otherwise(0.0).sum(),
            refunded_at=pl.when(is_back).then("refunded_at").max(),
        )
    )
    paid = pl.col("amount") > 0
    bought = (
        orders.group_by("customer_id")
        .agg(
            frequency=(paid & (pl.col("refunded") < pl.col("amount"))).sum().cast(pl.Int64),
            monetary=(pl.col("amount") - pl.col("refunded")).sum(),
            first_order_at=pl.col("ordered_at").filter(paid).min(),
            last_order_at=pl.col("ordered_at").filter(paid).max(),
            refunded_at=pl.max("refunded_at"),
        )
        .filter(pl.col("last_order_at").is_not_null())
    )
    returned = (
        known.filter(pl.col("line_type") == "return")
        .group_by("customer_id")
        .agg(returned=pl.sum("amount"), returned_at=pl.max("ordered_at"))
    )
    return bought.join(returned, on="customer_id", how="left").select(
        pl.lit(week).alias("week"),
        pl.lit(week + WEEK).alias("as_of"),
        "customer_id",
        (pl.lit(week + WEEK) - pl.col("last_order_at").dt.date()).dt.total_days().alias("recency_days"),
        "frequency",
        pl.col("monetary") - pl.col("returned").fill_null(0.0),
        "first_order_at",
        "last_order_at",
        pl.max_horizontal("refunded_at", "returned_at").alias("last_return_at"),
    )


def silent_in_polars(rfm: "pl.DataFrame") -> "pl.DataFrame":
    """Who is silent, by the default thresholds."""
    import polars as pl

    return rfm.filter(
        (pl.col("frequency") < 3)
        & (pl.col("monetary").round(4) < rfm["monetary"].round(4).quantile(0.75, interpolation="linear"))
        & (pl.col("recency_days") >= 90)
        & (pl.col("last_return_at").is_null() | (pl.col("last_return_at") < pl.col("last_order_at")))
    )


def polars_rfm() -> None:
    """A lazy query over the Parquet file."""
    import polars as pl

    found: list[Any] = []
    lines = pl.scan_parquet(_folder() / "history.parquet")
    took = timed(lambda: found.append(rfm_in_polars(lines, _known_week()).collect(engine="streaming")))
    _keep(found[0], "rfm_polars")
    _report(took, found[0].height)


def rfm_in_pandas(lines: "pd.DataFrame", week: date) -> "pd.DataFrame":
    """One week's RFM in vectorised pandas; grouped by the order alone, for an order has one customer."""
    import pandas as pd

    end = pd.Timestamp(week + WEEK)
    known = lines[(lines["ordered_at"] < end) & lines["customer_id"].notna()]
    sales = known[known["line_type"] == "sale"]
    is_back = sales["refunded_at"] < end
    sales = sales.assign(
        refunded=sales["refunded_amount"].where(is_back, 0.0),
        refunded_at=sales["refunded_at"].where(is_back),
    )
    orders = sales.groupby("order_id", sort=False).agg(
        customer_id=("customer_id", "first"),
        ordered_at=("ordered_at", "first"),
        amount=("amount", "sum"),
        refunded=("refunded", "sum"),
        refunded_at=("refunded_at", "max"),
    )
    is_paid = orders["amount"] > 0
    orders["counts"] = is_paid & (orders["refunded"] < orders["amount"])
    orders["kept"] = orders["amount"] - orders["refunded"]
    orders["ordered_at"] = orders["ordered_at"].where(is_paid)
    customers = orders.groupby("customer_id", sort=False).agg(
        frequency=("counts", "sum"),
        monetary=("kept", "sum"),
        first_order_at=("ordered_at", "min"),
        last_order_at=("ordered_at", "max"),
        refunded_at=("refunded_at", "max"),
    )
    customers = customers[customers["last_order_at"].notna()]
    returns = (
        known[known["line_type"] == "return"]
        .groupby("customer_id", sort=False)
        .agg(returned=("amount", "sum"), returned_at=("ordered_at", "max"))
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
            "last_return_at": found[["refunded_at", "returned_at"]].max(axis=1).array,
        }
    )


def silent_in_pandas(rfm: "pd.DataFrame") -> "pd.DataFrame":
    """Who is silent, by the default thresholds."""
    monetary = rfm["monetary"].round(4)
    return rfm[
        (rfm["frequency"] < 3)
        & (monetary < monetary.quantile(0.75))
        & (rfm["recency_days"] >= 90)
        & ~(rfm["last_return_at"] >= rfm["last_order_at"])
    ]


PANDAS_COLUMNS = (
    "order_id",
    "customer_id",
    "ordered_at",
    "line_type",
    "amount",
    "refunded_amount",
    "refunded_at",
)


def pandas_rfm() -> None:
    """The lines read from a Parquet file, only the columns that are needed."""
    import pandas as pd

    found: list[pd.DataFrame] = []

    def work() -> None:
        lines = pd.read_parquet(_folder() / "history.parquet", columns=list(PANDAS_COLUMNS))
        found.append(rfm_in_pandas(lines, _known_week()))

    took = timed(work)
    _keep(found[0], "rfm_pandas")
    _report(took, len(found[0]))


def pandas_rfm_in_memory() -> None:
    """The lines in memory before the clock starts."""
    import pandas as pd

    lines = pd.read_parquet(_folder() / "history.parquet", columns=list(PANDAS_COLUMNS))
    found: list[pd.DataFrame] = []
    took = timed(lambda: found.append(rfm_in_pandas(lines, _known_week())))
    _report(took, len(found[0]))


# --- 104 weeks ---------------------------------------------------------------------------------------------


def _range(weeks: int) -> list[date]:
    return [_known_week() - number * WEEK for number in reversed(range(weeks))]


def project_range(weeks: str) -> None:
    """All weeks in one transaction, every row validated."""
    from rfm_pipeline.diagnose.pipeline import sql_of
    from rfm_pipeline.diagnose.schemas import CUSTOMER_RFM

    _, warehouse = _home()
    found: list[dict[date, int]] = []
    asked = _range(int(weeks))
    took = timed(lambda: found.append(warehouse.replace_weeks(CUSTOMER_RFM, asked, sql_of(CUSTOMER_RFM))))
    _report(took, sum(found[0].values()))


def project_range_statement(weeks: str) -> None:
    """The same statement and its commit, without validation."""
    from rfm_pipeline.diagnose.pipeline import sql_of
    from rfm_pipeline.diagnose.schemas import CUSTOMER_RFM

    _, warehouse = _home()

    def write() -> None:
        with warehouse.transaction() as session:
            session.create(CUSTOMER_RFM)
            session.target(_range(int(weeks)))
            session.execute("delete from customer_rfm where week in (select week from target_weeks)")
            session.execute(f"insert into customer_rfm by name {sql_of(CUSTOMER_RFM)}")

    took = timed(write)
    sql = "select count(*) as n from customer_rfm where week >= $first"
    _report(took, warehouse.read(sql, {"first": _range(int(weeks))[0]})["n"][0])


def project_one_by_one(weeks: str) -> None:
    """A transaction a week, every row validated."""
    from rfm_pipeline.diagnose.pipeline import sql_of
    from rfm_pipeline.diagnose.schemas import CUSTOMER_RFM

    _, warehouse = _home()
    rows: list[int] = []

    def work() -> None:
        for week in _range(int(weeks)):
            made = warehouse.replace_weeks(CUSTOMER_RFM, [week], sql_of(CUSTOMER_RFM))
            rows.append(sum(made.values()))

    _report(timed(work), sum(rows))


def duckdb_one_by_one(weeks: str) -> None:
    """The direct query for each week, into one table."""
    with closing(_connect(str(_folder() / "loaded.duckdb"))) as connection:
        connection.execute("drop table if exists snapshots")
        empty = DIRECT_RFM.format(week=_known_week(), as_of=_known_week() + WEEK)
        connection.execute(f"create table snapshots as select * from ({empty}) limit 0")

        def work() -> None:
            for week in _range(int(weeks)):
                sql = DIRECT_RFM.format(week=week, as_of=week + WEEK)
                connection.execute(f"insert into snapshots {sql}")
            connection.execute("checkpoint")

        took = timed(work)
        rows = connection.sql("select count(*) from snapshots").fetchall()[0][0]
        connection.execute("drop table snapshots")
    _report(took, rows)


def polars_one_by_one(weeks: str) -> None:
    """The lazy query for each week, into a Parquet file a week."""
    import polars as pl

    rows: list[int] = []
    lines = pl.scan_parquet(_folder() / "history.parquet")

    def work() -> None:
        for week in _range(int(weeks)):
            frame = rfm_in_polars(lines, week).collect(engine="streaming")
            frame.write_parquet(_folder() / "snapshot.parquet")
            rows.append(frame.height)

    _report(timed(work), sum(rows))


def pandas_one_by_one(weeks: str) -> None:
    """The lines in memory once, then each week into a Parquet file."""
    import pandas as pd

    rows: list[int] = []

    def work() -> None:
        lines = pd.read_parquet(_folder() / "history.parquet", columns=list(PANDAS_COLUMNS))
        for week in _range(int(weeks)):
            frame = rfm_in_pandas(lines, week)
            frame.to_parquet(_folder() / "snapshot.parquet")
            rows.append(len(frame))

    _report(timed(work), sum(rows))


# --- class and list ----------------------------------------------------------------------------------------


def project_list() -> None:
    """Silent churners with classes, the newly silent, the list with its words: all validated."""
    from rfm_pipeline.contacts.order_contacts import read_order_contacts
    from rfm_pipeline.contacts.reach import read_reach
    from rfm_pipeline.diagnose.pipeline import write_new_silent_churners, write_silent_churners
    from rfm_pipeline.ledger import Ledger
    from rfm_pipeline.recall.listing import write_recall_list

    shop, warehouse = _home()
    ledger, weeks = Ledger(shop.ledger_url), [_list_week()]
    found: list[dict[date, int]] = []

    def work() -> None:
        found.append(write_silent_churners(warehouse, shop, weeks))
        write_new_silent_churners(warehouse, shop, weeks)
        write_recall_list(warehouse, ledger, shop, read_reach(shop, read_order_contacts(warehouse)), weeks)

    took = timed(work)
    silent = f"select customer_id, churn_class from silent_churners where week = date '{_list_week()}'"
    _keep(warehouse.read(silent), "classes_project")
    _report(took, sum(found[0].values()))


def duckdb_list() -> None:
    """From RFM rows: who is silent, the class straight from the lines, the 5,000 worth most as CSV."""
    week = _list_week()
    sql = DIRECT_RFM.format(week=week, as_of=week + WEEK)
    with closing(_connect(str(_folder() / "loaded.duckdb"))) as connection:
        connection.execute(f"create or replace temp table rfm as {sql}")

        def work() -> None:
            connection.execute(f"create or replace temp table silent as {SILENT.format(rfm='rfm')}")
            classes = DIRECT_LIST.format(as_of=week + WEEK)
            connection.execute(f"create or replace temp table classes as {classes}")
            best = "select * from classes order by monetary desc limit 5000"
            connection.execute(f"copy ({best}) to '{_folder()}/list.csv' (header)")

        took = timed(work)
        rows = connection.sql("select count(*) from classes").fetchall()[0][0]
        connection.execute(f"copy classes to '{_folder()}/classes_duckdb.parquet'")
    _report(took, rows)


LIST_COLUMNS = ("sku", "unit_price", "list_price", "is_clearance")


def polars_list() -> None:
    """The same from the Parquet file, with RFM rows in memory before the clock starts."""
    import polars as pl

    as_of = _list_week() + WEEK
    rfm = rfm_in_polars(pl.scan_parquet(_folder() / "history.parquet"), _list_week()).collect(
        engine="streaming"
    )
    found: list[pl.DataFrame] = []

    def work() -> None:
        columns = pl.scan_parquet(_folder() / "history.parquet").select(*PANDAS_COLUMNS, *LIST_COLUMNS)
        end = pl.lit(as_of).cast(pl.Datetime("us"))
        is_cheap = pl.col("is_clearance").fill_null(False) | (
            pl.col("unit_price") <= 0.5 * pl.col("list_price")
        ).fill_null(False)
        sold = columns.filter(
            (pl.col("line_type") == "sale") & (pl.col("amount") > 0) & (pl.col("ordered_at") < end)
        ).with_columns(is_cheap=is_cheap)
        window = sold.filter(pl.col("ordered_at") >= end - timedelta(days=365))
        best = (
            window.filter(~pl.col("is_cheap"))
            .group_by("sku")
            .agg(orders=pl.col("order_id").n_unique(), revenue=pl.sum("amount"))
            .sort(["orders", "revenue", "sku"], descending=[True, True, False])
            .head(20)
            .select("sku", is_best=pl.lit(True))
        )
        low_price = window.select(low_price=pl.col("unit_price").quantile(0.25, interpolation="linear"))
        silent = silent_in_polars(rfm).select("customer_id", "monetary")
        bought = (
            sold.join(silent.lazy(), on="customer_id", how="semi")
            .join(best, on="sku", how="left")
            .join(low_price, how="cross")
            .group_by("customer_id")
            .agg(
                is_a=pl.col("is_best").fill_null(False).any(),
                is_b=(pl.col("is_cheap") | (pl.col("unit_price") <= pl.col("low_price"))).all(),
                favourite_sku=pl.col("sku").sort_by("amount").last(),
            )
        )
        churn_class = pl.when("is_a").then(pl.lit("A")).when("is_b").then(pl.lit("B")).otherwise(pl.lit("C"))
        classes = (
            silent.lazy()
            .join(bought, on="customer_id", how="left")
            .select("customer_id", churn_class.alias("churn_class"), "favourite_sku", "monetary")
            .collect(engine="streaming")
        )
        classes.top_k(5000, by="monetary").write_csv(_folder() / "list.csv")
        found.append(classes)

    took = timed(work)
    _keep(found[0], "classes_polars")
    _report(took, found[0].height)


def pandas_list() -> None:
    """The same from the Parquet file, with RFM rows in memory before the clock starts."""
    import pandas as pd

    end = pd.Timestamp(_list_week() + WEEK)
    path = _folder() / "history.parquet"
    rfm = rfm_in_pandas(pd.read_parquet(path, columns=list(PANDAS_COLUMNS)), _list_week())
    found: list[pd.DataFrame] = []

    def work() -> None:
        lines = pd.read_parquet(
            path, columns=["order_id", "customer_id", "ordered_at", "line_type", "amount", *LIST_COLUMNS]
        )
        sold = lines[(lines["line_type"] == "sale") & (lines["amount"] > 0) & (lines["ordered_at"] < end)]
        is_cheap = sold["is_clearance"].eq(True) | (sold["unit_price"] <= 0.5 * sold["list_price"])
        sold = sold.assign(is_cheap=is_cheap)
        window = sold[sold["ordered_at"] >= end - pd.Timedelta(days=365)]
        best = (
            window[~window["is_cheap"]]
            .groupby("sku")
            .agg(orders=("order_id", "nunique"), revenue=("amount", "sum"))
            .reset_index()
            .sort_values(["orders", "revenue", "sku"], ascending=[False, False, True])["sku"]
            .head(20)
        )
        silent = silent_in_pandas(rfm)[["customer_id", "monetary"]]
        theirs = sold[sold["customer_id"].isin(silent["customer_id"])]
        theirs = theirs.assign(
            is_a=theirs["sku"].isin(best),
            is_b=theirs["is_cheap"] | (theirs["unit_price"] <= window["unit_price"].quantile(0.25)),
        ).sort_values("amount")
        bought = theirs.groupby("customer_id", sort=False).agg(
            is_a=("is_a", "any"), is_b=("is_b", "all"), favourite_sku=("sku", "last")
        )
        classes = silent.join(bought, on="customer_id")
        classes["churn_class"] = "C"
        classes.loc[classes["is_b"].eq(True), "churn_class"] = "B"
        classes.loc[classes["is_a"].eq(True), "churn_class"] = "A"
        classes.nlargest(5000, "monetary").to_csv(_folder() / "list.csv")
        found.append(classes)

    took = timed(work)
    _keep(found[0], "classes_pandas")
    _report(took, len(found[0]))


# --- a week more -------------------------------------------------------------------------------------------


def duckdb_week() -> None:
    """A script run weekly: the new file's orders replace theirs, then RFM, who is silent, who is newly so."""
    with closing(_connect(str(_folder() / "grown.duckdb"))) as connection:

        def work() -> None:
            connection.execute(f"create temp table fresh as from read_csv('{_folder()}/week.csv')")
            connection.execute("delete from lines where order_id in (select order_id from fresh)")
            connection.execute("insert into lines by name select * from fresh")
            for name, week in (("now", _week()), ("before", _week() - WEEK)):
                sql = DIRECT_RFM.format(week=week, as_of=week + WEEK)
                connection.execute(f"create or replace temp table rfm_{name} as {sql}")
                silent = SILENT.format(rfm=f"rfm_{name}")
                connection.execute(f"create or replace temp table silent_{name} as {silent}")
            new = "select * from silent_now where customer_id not in (select customer_id from silent_before)"
            connection.execute(f"copy ({new}) to '{_folder()}/new.csv' (header)")
            connection.execute("checkpoint")

        took = timed(work)
        rows = connection.sql("select count(*) from silent_now").fetchall()[0][0]
    _report(took, rows)


def polars_week() -> None:
    """A notebook run weekly over the Parquet file and the new file."""
    import polars as pl

    rows: list[int] = []

    def work() -> None:
        fresh = pl.read_csv(_folder() / "week.csv", try_parse_dates=True).select(PANDAS_COLUMNS)
        old = pl.scan_parquet(_folder() / "history.parquet").select(PANDAS_COLUMNS)
        fresh = fresh.cast(dict(old.collect_schema()))  # type: ignore[arg-type]
        lines = pl.concat([old.join(fresh.lazy(), on="order_id", how="anti"), fresh.lazy()])
        now, before = (
            silent_in_polars(rfm_in_polars(lines, week).collect(engine="streaming"))
            for week in (_week(), _week() - WEEK)
        )
        now.join(before, on="customer_id", how="anti").write_csv(_folder() / "new.csv")
        rows.append(now.height)

    _report(timed(work), sum(rows))


def pandas_week() -> None:
    """A notebook run weekly over the Parquet file and the new file."""
    import pandas as pd

    rows: list[int] = []

    def work() -> None:
        columns = list(PANDAS_COLUMNS)
        old = pd.read_parquet(_folder() / "history.parquet", columns=columns)
        fresh = pd.read_csv(_folder() / "week.csv", parse_dates=["ordered_at", "refunded_at"])[columns]
        lines = pd.concat([old[~old["order_id"].isin(fresh["order_id"])], fresh])
        now, before = (silent_in_pandas(rfm_in_pandas(lines, week)) for week in (_week(), _week() - WEEK))
        now[~now["customer_id"].isin(before["customer_id"])].to_csv(_folder() / "new.csv")
        rows.append(len(now))

    _report(timed(work), sum(rows))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[3:])

"""Orders as a Parquet dataset of canonical lines, read by Spark where it is; for shops past one machine.

A file is a batch. New files are taken as they come; their lines replace all earlier ones of the same orders,
as everywhere. When a file that was taken has changed or is gone, or the settings have, all files are taken
again: what is left doesn't show what an order was before. Rows stay in the dataset: ``raw_orders`` is
empty.

A dataset is a contract and not an export: a row that breaks it stops the load. The error names its file and
how many there are.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

import polars as pl

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.presets import CANONICAL, load_family, not_product_names, not_product_pattern
from rfm_pipeline.ingest.schemas import ORDER_BATCHES, ORDER_LINES
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.spark.cluster import errors_without_values
from rfm_pipeline.warehouse.spark.engine import SparkTransaction, SparkWarehouse, spark_columns
from rfm_pipeline.warehouse.spark.published import TableStore
from rfm_pipeline.warehouse.sql import read_sql

DATASET = "dataset:"
"""What the name of a batch begins with that is a file of the dataset."""

REQUIRED = ("order_id", "customer_id", "ordered_at", "sku", "quantity", "unit_price", "amount")
_NAMED_FILES = 3
# Spark itself writes local paths in two ways
_LOCAL_SLASHES = "^file:/+"

# rules of the contract, each with the SQL that finds the rows that break it
_RULES = {
    "order_id is missing": "order_id is null or order_id = ''",
    "ordered_at is missing": "ordered_at is null",
    "line_type is neither sale nor return": "line_type is null or line_type not in ('sale', 'return')",
    "quantity is missing": "quantity is null",
    "unit_price is missing or negative": "unit_price is null or unit_price < 0",
    "list_price is negative": "list_price < 0",
    "amount is missing or negative": "amount is null or amount < 0",
    "refunded_amount is negative": "refunded_amount < 0",
}
_PENDING = (
    "create table if not exists pending_batches (batch_id bigint not null, is_everything boolean not null)"
)


@dataclass(frozen=True)
class DatasetFile:
    """A file of the dataset.

    Attributes:
        name: Its path below the dataset's folder.
        fingerprint: Changes when its content does: size and time, or the storage's own tag.
        changed_at: When it was written, as the storage tells; orders the batches.
    """

    name: str
    fingerprint: str
    changed_at: str


def list_files(place: TableStore) -> list[DatasetFile]:
    """The dataset's Parquet files, the oldest first.

    Raises:
        OrderFileError: If there is none.
    """
    found = place.files.find(place.root, detail=True) if place.files.exists(place.root) else {}
    root = str(place.files._strip_protocol(place.root)).rstrip("/")
    files = []
    for path, facts in found.items():
        name = str(path).removeprefix(root).lstrip("/")
        if not name.endswith(".parquet") or any(part[0] in "._" for part in name.split("/")):
            continue
        changed_at = str(next((facts[k] for k in ("mtime", "LastModified", "updated") if facts.get(k)), ""))
        version = (facts.get("size"), facts.get("ETag") or facts.get("etag"), changed_at)
        files.append(DatasetFile(name, sha256(repr(version).encode()).hexdigest(), changed_at))
    if not files:
        raise OrderFileError(
            f"{place.root} (orders.dataset.url) holds no .parquet file. Write the order lines there, with "
            f"the columns {', '.join(REQUIRED)}, and run again."
        )
    return sorted(files, key=lambda file: (file.changed_at, file.name))


def load_dataset(warehouse: SparkWarehouse, shop: Shop) -> tuple[list[dict[str, Any]], int]:
    """Takes note of the dataset's new files, after looking at every row of them.

    Returns:
        The new files' rows of ``order_batches``, and the number of files that were known.

    Raises:
        OrderFileError: If there is no file, a column is missing, or rows break the contract.
    """
    place = TableStore(shop.dataset_url)
    files = list_files(place)
    how = sha256(repr((shop.dataset_url, shop.shop.timezone)).encode()).hexdigest()[:16]
    with warehouse.transaction() as session:
        assert isinstance(session, SparkTransaction)
        session.execute(_PENDING)
        rows = session.execute("select file_name, content_hash, read_as from order_batches").fetchall()
        known = {name.removeprefix(DATASET): (content, read) for name, content, read in rows}
        present = {file.name: (file.fingerprint, how) for file in files}
        is_everything = any(present.get(name) != version for name, version in known.items())
        if is_everything:
            session.execute("delete from order_batches")
            session.execute("delete from pending_batches")
            known = {}
        fresh = [file for file in files if file.name not in known]
        if not fresh:
            return [], len(files)
        first = session.value("select coalesce(max(batch_id), 0) + 1 from order_batches")
        numbers = {file.name: first + i for i, file in enumerate(fresh)}
        lines = _canonical(session, place, numbers, shop)
        counted = _counts(lines)
        batches = [_batch(file, numbers[file.name], how, counted) for file in fresh]
        _refuse_broken(batches, counted)
        session.append(ORDER_BATCHES, [pl.DataFrame(batches, schema=_batch_schema())], "the dataset's files")
        session.connection.executemany(
            "insert into pending_batches values (?, ?)",
            [[number, is_everything] for number in numbers.values()],
        )
    return batches, len(files) - len(fresh)


def update_dataset_lines(warehouse: SparkWarehouse, shop: Shop, changed_weeks_sql: str) -> dict[str, int]:
    """Brings ``order_lines`` up to date with the dataset's pending files.

    Args:
        warehouse: Keeps ``order_lines`` on Spark.
        shop: The settings.
        changed_weeks_sql: A SELECT of the weeks in which ``new_lines`` tell another story than ``old_lines``.

    Returns:
        As ``loading.update_order_lines``.
    """
    place = TableStore(shop.dataset_url)
    with warehouse.transaction() as session:
        assert isinstance(session, SparkTransaction)
        session.create(ORDER_LINES)
        session.execute(_PENDING)
        pattern, is_other_pattern = _pattern(session, shop)
        numbers, is_everything = _due(session, everything=is_other_pattern)
        if not numbers:
            return {"orders": 0, "lines": 0, "weeks": 0}
        lines = _without_forgotten(_canonical(session, place, numbers, shop), Ledger(shop.ledger_url))
        session.lend("raw_orders", lines)
        session.define("touched_orders", "select distinct order_id from raw_orders")
        session.define("lines", read_sql("rfm_pipeline.ingest", "current_rows"))
        session.define(
            "new_lines",
            read_sql("rfm_pipeline.ingest", "order_lines"),
            {
                "not_product_pattern": pattern,
                "not_product_names": not_product_names(load_family(shop.orders.preset, shop.home)),
            },
        )
        with session.kept("new_lines"), session.kept("touched_orders"):
            rows, changed = _rewrite(session, changed_weeks_sql, is_everything=is_everything)
            _note_mixed(session)
            orders = session.collect("select count(*) as n from touched_orders")["n"][0]
        session.execute("insert into touched_weeks select unnest($weeks::date[])", {"weeks": changed})
        session.execute("delete from pending_batches")
    return {"orders": orders, "lines": sum(rows.values()), "weeks": len(changed)}


def _rewrite(
    session: SparkTransaction, changed_weeks_sql: str, *, is_everything: bool
) -> tuple[dict[date, int], list[date]]:
    """Puts ``new_lines`` into ``order_lines`` in the place of what the touched orders were.

    Returns:
        The rows of every week that was written, and the weeks that tell another story than before.
    """
    touched = "exists (select 1 from touched_orders t where t.order_id = o.order_id)"
    if is_everything:
        touched = "true"
    session.define("old_lines", f"select o.* from order_lines o where {touched}")
    weeks = _weeks(session, "select week from new_lines union select week from old_lines")
    changed = _weeks(session, changed_weeks_sql)
    columns = ", ".join(ORDER_LINES.schema.columns)
    asked = "week in (select week from target_weeks)"
    rows = session.rewrite_weeks(
        ORDER_LINES,
        weeks,
        f"select {columns} from new_lines where {asked} union all "
        f"select {columns} from order_lines o where {asked} and not {touched}",
    )
    return rows, changed


# Files as canonical lines


def _canonical(session: SparkTransaction, place: TableStore, numbers: Mapping[str, int], shop: Shop) -> Any:
    """The files' rows as a Spark frame with the columns of ``raw_orders`` that a line has."""
    from pyspark.sql import functions as f

    spark = session.warehouse.cluster.session()
    with errors_without_values("reading the dataset"):
        paths = [place.for_spark(name) for name in numbers]
        read = spark.read.option("mergeSchema", "true").parquet(*paths)
        given = {field.name: field.dataType.simpleString() for field in read.schema.fields}
        if missing := [name for name in REQUIRED if name not in given]:
            more = ", ".join(name for name in CANONICAL if name not in REQUIRED)
            raise OrderFileError(
                f"{place.root} (orders.dataset.url): the column {missing[0]} is missing. A dataset has the "
                f"canonical columns: {', '.join(REQUIRED)}; and, where they are known, {more}."
            )
        number_of = _numbers_by_path(read.inputFiles(), numbers)
        path = f.regexp_replace("_metadata.file_path", _LOCAL_SLASHES, "file:/").alias("_path")
        read = read.select("*", path, "_metadata.row_index")
        batches = spark.createDataFrame(list(number_of.items()), "_path string, batch_id bigint")
        read = read.join(f.broadcast(batches), "_path")
    kinds = spark_columns(ORDER_LINES)
    columns = {name: _column(name, given, kinds[name], shop.shop.timezone) for name in CANONICAL}
    columns["row_no"] = "row_index + 1"
    columns["line_no"] = f"coalesce({columns['line_no']}, row_index + 1)"
    columns["refunded_amount"] = f"coalesce({columns['refunded_amount']}, cast(0 as decimal(18, 4)))"
    columns["customer_id"] = f"nullif(trim({columns['customer_id']}), '')"
    if "line_type" not in given:
        columns["line_type"] = "case when quantity < 0 then 'return' else 'sale' end"
    selected = [f"{sql} as `{name}`" for name, sql in columns.items()]
    return read.selectExpr("batch_id", "'line' as row_kind", *selected)


def _column(name: str, given: Mapping[str, str], kind: str, zone: str) -> str:
    if name not in given:
        return f"cast(null as {kind})"
    if given[name] == "timestamp":
        # a moment, not a time of the shop's
        return f"cast(from_utc_timestamp(`{name}`, '{zone}') as {kind})"
    return f"cast(`{name}` as {kind})"


def _numbers_by_path(paths: Sequence[str], numbers: Mapping[str, int]) -> dict[str, int]:
    """Batch numbers by the path that Spark tells of a row's file."""
    found = {}
    for path in paths:
        plain = unquote(path)
        name = max((name for name in numbers if plain.endswith(f"/{name}")), key=len)
        found[re.sub(_LOCAL_SLASHES, "file:/", path)] = numbers[name]
    return found


def _without_forgotten(lines: Any, ledger: Ledger) -> Any:
    """The lines; those of who asked to be forgotten are a guest's."""
    from pyspark.sql import functions as f

    salt, digests = ledger.tombstones()
    if not digests:
        return lines
    digest = f.sha2(f.concat(f.lit(f"{salt}:"), f.col("customer_id")), 256)
    is_theirs = f.coalesce(digest.isin(sorted(digests)), f.lit(False))
    return lines.withColumn("customer_id", f.when(~is_theirs, f.col("customer_id")))


# What is known of a file


def _counts(lines: Any) -> dict[int, dict[str, Any]]:
    """Rows, orders, times and broken rows of every file, by its batch number."""
    broken = [f"count_if({rule}) as `{name}`" for name, rule in _RULES.items()]
    lines.createOrReplaceTempView("dataset_lines")
    with errors_without_values("counting the dataset's rows"):
        rows = lines.sparkSession.sql(
            f"""
            select
                batch_id,
                count(*) as rows_read,
                count_if(customer_id is null) as rows_without_customer,
                count(distinct order_id) as orders,
                min(ordered_at) as first_ordered_at,
                max(ordered_at) as last_ordered_at,
                {", ".join(broken)}
            from dataset_lines group by batch_id
            """
        ).collect()
    return {row["batch_id"]: row.asDict() for row in rows}


def _batch(
    file: DatasetFile, number: int, how: str, counted: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any]:
    empty = dict.fromkeys(ORDER_BATCHES.schema.columns, 0)
    found = counted.get(number, {"rows_read": 0})
    return {
        **empty,
        "first_ordered_at": None,
        "last_ordered_at": None,
        **{name: value for name, value in found.items() if name in empty},
        "batch_id": number,
        "file_name": f"{DATASET}{file.name}",
        "content_hash": file.fingerprint,
        "preset": "standard",
        "read_as": how,
        "watermark": None,
        "rows_accepted": found["rows_read"],
    }


def _batch_schema() -> dict[str, Any]:
    return {name: column.dtype.type for name, column in ORDER_BATCHES.schema.columns.items()}


def _refuse_broken(batches: Sequence[Mapping[str, Any]], counted: Mapping[int, Mapping[str, Any]]) -> None:
    problems = []
    for batch in batches:
        found = counted.get(batch["batch_id"], {})
        broken = [f"{rule} ({found[rule]} rows)" for rule in _RULES if found.get(rule)]
        if broken:
            problems.append(f"{str(batch['file_name']).removeprefix(DATASET)}: {'; '.join(broken)}")
    if problems:
        more = f"\n... and {len(problems) - _NAMED_FILES} more files" if len(problems) > _NAMED_FILES else ""
        raise OrderFileError(
            "the dataset of orders breaks its contract; nothing was loaded. Mend these files and run again:\n"
            + "\n".join(problems[:_NAMED_FILES])
            + more
        )


def _pattern(session: SparkTransaction, shop: Shop) -> tuple[str, bool]:
    """Which SKUs are no products, and whether that has changed since the lines were made."""
    codes = [code for preset in load_family(shop.orders.preset, shop.home) for code in preset.not_products]
    pattern = not_product_pattern((*codes, *shop.orders.not_products))
    setting = {"name": "not_product_pattern", "value": pattern}
    used = session.value("select value from settings_used where name = $name", setting)
    session.execute("delete from settings_used where name = $name", setting)
    session.execute("insert into settings_used values ($name, $value)", setting)
    return pattern, used is not None and used != pattern


def _due(session: SparkTransaction, *, everything: bool) -> tuple[dict[str, int], bool]:
    """The files whose lines are to be made, with their batch numbers, and whether those are all."""
    is_everything = everything or bool(session.value("select bool_or(is_everything) from pending_batches"))
    condition = "true" if is_everything else "batch_id in (select batch_id from pending_batches)"
    rows = session.execute(
        f"select file_name, batch_id from order_batches where {condition} order by batch_id"
    ).fetchall()
    return {name.removeprefix(DATASET): number for name, number in rows}, is_everything


def _weeks(session: SparkTransaction, sql: str) -> list[date]:
    return sorted(session.collect(f"select distinct week from ({sql}) as w")["week"].to_list())


def _note_mixed(session: SparkTransaction) -> None:
    """Keeps ``mixed_orders`` up to date: orders whose lines name several customers, few if any."""
    several = "group by order_id having min(customer_id) <> max(customer_id)"
    mixed = session.collect(f"select order_id from new_lines {several}")
    left = session.collect("select m.order_id from mixed_orders m join touched_orders t using (order_id)")
    with session.frames(mixed_now=mixed, mixed_before=left):
        session.execute("delete from mixed_orders where order_id in (select order_id from mixed_before)")
        session.execute("insert into mixed_orders select order_id from mixed_now")

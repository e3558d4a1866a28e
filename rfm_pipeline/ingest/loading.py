"""Bringing order exports into the warehouse, each once, and keeping ``order_lines`` the current truth.

Every file is one transaction: its rows, its rejected rows, its counts and the orders it touches become
visible together, so a run that is killed leaves whole files only. ``order_lines`` then takes the touched
orders, and notes the weeks in which something really changed for the stages that follow.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.presets import Preset, load_preset, not_product_pattern
from rfm_pipeline.ingest.reading import (
    ACCEPTED,
    REJECTED,
    SUFFIXES,
    UNPAID,
    Source,
    is_order_file,
    open_source,
    stage,
)
from rfm_pipeline.ingest.schemas import ORDER_BATCHES, ORDER_LINES, RAW_ORDERS, REJECTED_ROWS
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.shop import Shop
from rfm_pipeline.staging import staging_folder
from rfm_pipeline.warehouse.duckdb import Session, Warehouse
from rfm_pipeline.warehouse.schema import validate
from rfm_pipeline.warehouse.sql import read_sql

Progress = Callable[[str], None]

_TOUCHED_ORDERS = "create table if not exists touched_orders (order_id varchar not null)"
_TOUCHED_WEEKS = "create table if not exists touched_weeks (week date not null)"
_FORMER = "(select batch_id from order_batches where file_name = $file_name)"
_SETTINGS = "create table if not exists settings_used (name varchar not null, value varchar not null)"


@dataclass(frozen=True)
class Landing:
    """A file of the landing folder.

    Attributes:
        path: The file.
        name: Its name below ``orders/``, by which a changed file is known again.
        content_hash: SHA-256 of its bytes.
    """

    path: Path
    name: str
    content_hash: str


@dataclass
class LoadReport:
    """What a run of :func:`load_new_files` did.

    Attributes:
        loaded: Per loaded file: its row of ``order_batches``.
        unchanged: How many files were known already.
        ignored: Files of the landing folder that are no exports by their name.
    """

    loaded: list[dict[str, Any]] = field(default_factory=list)
    unchanged: int = 0
    ignored: list[str] = field(default_factory=list)


def landed_files(shop: Shop) -> list[Landing]:
    """The exports in the landing folder, by name: within one run a later name is the later export."""
    folder = shop.orders_dir
    return [
        Landing(path, path.relative_to(folder).as_posix(), _hash(path))
        for path in sorted(folder.rglob("*"))
        if is_order_file(path)
    ]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_new_files(
    warehouse: Warehouse,
    shop: Shop,
    progress: Progress = lambda _: None,
    ledger: Ledger | None = None,
) -> LoadReport:
    """Loads every export whose content isn't in the warehouse yet, read as the settings say now.

    A file with a known name and new content replaces its former rows. All headers are checked before
    the first row is read.

    Args:
        warehouse: Where the rows go.
        shop: The settings.
        progress: Is told which file is read.
        ledger: Knows the order in which exports arrived, so that a warehouse made again from the files
            takes the same export as the later one. Files it doesn't know come last, by name.

    Raises:
        OrderFileError: If there is nothing to read at all, or a file can't be read; files loaded before
            it stay.
        ShopFileError: If the preset is unknown.
    """
    preset = load_preset(shop.orders.preset)
    landed = landed_files(shop)
    with warehouse.transaction() as session:
        for table in (RAW_ORDERS, ORDER_BATCHES, REJECTED_ROWS, ORDER_LINES):
            session.create(table)
        for statement in (_TOUCHED_ORDERS, _TOUCHED_WEEKS, _SETTINGS):
            session.execute(statement)
        _follow_names(session, landed)
        read_so = "select content_hash from order_batches where preset = $preset and timezone = $timezone"
        how = {"preset": preset.name, "timezone": shop.shop.timezone}
        # another preset or time zone makes another thing of the same bytes
        known = {content_hash for (content_hash,) in session.execute(read_so, how).fetchall()}
        is_empty = session.value("select count(*) from order_batches") == 0
    if not landed and is_empty:
        raise OrderFileError(
            f"{shop.orders_dir} holds no order export. Drop the shop's exports there "
            f"({', '.join(SUFFIXES)}) and run again."
        )
    arrived = {} if ledger is None else ledger.landing_positions()
    fresh = sorted(
        (file for file in landed if file.content_hash not in known),
        key=lambda file: arrived.get(file.content_hash, math.inf),
    )
    sources = _open_all(fresh, preset)
    report = LoadReport(
        unchanged=len(landed) - len(fresh),
        ignored=sorted(
            path.name
            for path in shop.orders_dir.rglob("*")
            if path.is_file() and not path.name.startswith(".") and not is_order_file(path)
        ),
    )
    taken: set[str] = set()
    for number, (file, source) in enumerate(zip(fresh, sources, strict=True), start=1):
        if file.content_hash in taken:
            with warehouse.transaction() as session:
                _forget(session, _FORMER, {"file_name": file.name})
            report.unchanged += 1
            continue
        taken.add(file.content_hash)
        progress(f"reading {file.name} ({number} of {len(fresh)})")
        report.loaded.append(_load(warehouse, shop, file, source))
    if ledger is not None:
        with warehouse.transaction() as session:
            batches = session.execute("select content_hash, file_name from order_batches order by batch_id")
            in_force = batches.fetchall()
        ledger.note_landings(in_force)
    return report


def _follow_names(session: Session, landed: Sequence[Landing]) -> None:
    """Keeps each batch under the name that its content bears now.

    Without this, an export that is renamed to make room for a new one of its old name would lose its rows
    to the new one; and one overwritten by a copy of another export would keep rows that no file holds.
    """
    hashes = {file.name: file.content_hash for file in landed}
    names = {file.content_hash: file.name for file in reversed(landed)}
    batches = session.execute("select batch_id, content_hash, file_name from order_batches").fetchall()
    known = {content_hash for _, content_hash, _ in batches}
    for batch_id, content_hash, name in batches:
        if hashes.get(name) == content_hash:
            continue
        batch = {"batch_id": batch_id, "file_name": names.get(content_hash)}
        if content_hash in names:
            for table in (ORDER_BATCHES, REJECTED_ROWS):
                session.execute(
                    f"update {table.name} set file_name = $file_name where batch_id = $batch_id", batch
                )
        elif hashes.get(name) in known:
            _forget(session, "($batch_id)", batch)


def _forget(session: Session, batches: str, params: dict[str, Any]) -> None:
    """Takes batches out of the warehouse; their orders are to be looked at again."""
    session.execute(
        f"insert into touched_orders select distinct order_id from raw_orders where batch_id in {batches}",
        params,
    )
    for table in (RAW_ORDERS, REJECTED_ROWS, ORDER_BATCHES):
        session.execute(f"delete from {table.name} where batch_id in {batches}", params)


def _open_all(files: Sequence[Landing], preset: Preset) -> list[Source]:
    """Checks every header, so that all files with a wrong one are named at once."""
    sources, problems = [], []
    for file in files:
        try:
            sources.append(open_source(file.path, preset))
        except OrderFileError as error:
            problems.append(str(error))
    if problems:
        more = f"\n... and {len(problems) - 5} more files" if len(problems) > 5 else ""
        raise OrderFileError("\n".join(problems[:5]) + more)
    return sources


def _load(warehouse: Warehouse, shop: Shop, file: Landing, source: Source) -> dict[str, Any]:
    with staging_folder(shop.home) as folder:
        staged = stage(source, shop.shop.timezone, folder)
        with warehouse.transaction() as session:
            return _insert(session, shop, file, source.preset, staged)


def _insert(session: Session, shop: Shop, file: Landing, preset: Preset, staged: Path) -> dict[str, Any]:
    """Replaces a file's rows by those of its staged Parquet file, inside the caller's transaction."""
    params: dict[str, Any] = {
        "staged": str(staged),
        "file_name": file.name,
        "content_hash": file.content_hash,
        "preset": preset.name,
        "timezone": shop.shop.timezone,
        "accepted": ACCEPTED,
        "unpaid": UNPAID,
        "rejected": REJECTED,
    }
    params["batch_id"] = session.value("select coalesce(max(batch_id), 0) + 1 from order_batches")
    _forget(session, _FORMER, params)
    _insert_lines(session, params)
    session.execute(_REJECTED_SQL, params)
    session.execute(_BATCH_SQL, params)
    batch = session.read("select * from order_batches where batch_id = $batch_id", params)
    return batch.row(0, named=True)


def _insert_lines(session: Session, params: dict[str, Any]) -> None:
    session.execute(
        """
        insert into raw_orders by name
        select $batch_id::bigint as batch_id, * exclude (disposition, reason, row_text)
        from read_parquet($staged) where disposition = $accepted
        """,
        params,
    )
    validate(
        RAW_ORDERS,
        session.batches("select * from raw_orders where batch_id = $batch_id", params),
        f"raw_orders, file {params['file_name']}",
    )
    session.execute(
        "insert into touched_orders select distinct order_id from raw_orders where batch_id = $batch_id",
        params,
    )


_REJECTED_SQL = """
insert into rejected_rows by name
select $batch_id::bigint as batch_id, $file_name as file_name, row_no, reason, row_text
from read_parquet($staged) where disposition = $rejected
"""
_BATCH_SQL = """
insert into order_batches by name
with

staged as (

    select * from read_parquet($staged)

),

identical as (

    -- line_no is left out: where the export has none, the row's number stands there
    select count(*) - count(distinct hash(s)) as rows_identical
    from (
        select order_id, customer_id, ordered_at, line_type, sku, product_name, quantity, unit_price,
            list_price, amount, refunded_amount, refunded_at, is_clearance
        from staged where disposition = $accepted
    ) s

)

select
    $batch_id::bigint as batch_id,
    $file_name as file_name,
    $content_hash as content_hash,
    $preset as preset,
    $timezone as timezone,
    count(*) as rows_read,
    count(*) filter (disposition = $accepted) as rows_accepted,
    count(*) filter (disposition = $unpaid) as rows_unpaid,
    count(*) filter (disposition = $rejected) as rows_rejected,
    (select rows_identical from identical) as rows_identical,
    count(distinct order_id) filter (disposition = $accepted) as orders,
    min(ordered_at) filter (disposition = $accepted) as first_ordered_at,
    max(ordered_at) filter (disposition = $accepted) as last_ordered_at,
from staged
"""


def update_order_lines(warehouse: Warehouse, shop: Shop) -> dict[str, int]:
    """Brings ``order_lines`` up to date with ``raw_orders``: touched orders only.

    Returns:
        ``orders`` touched, ``lines`` written, ``weeks`` in which something changed.
    """
    preset = load_preset(shop.orders.preset)
    pattern = not_product_pattern((*preset.not_products, *shop.orders.not_products))
    with warehouse.transaction() as session:
        session.create(ORDER_LINES)
        _touch_all_if_setting_changed(session, pattern)
        orders = session.value("select count(distinct order_id) from touched_orders")
        if not orders:
            return {"orders": 0, "lines": 0, "weeks": 0}
        params = {"not_product_pattern": pattern}
        sql = read_sql("rfm_pipeline.ingest", "order_lines")
        session.execute(f"create or replace temp table new_lines as {sql}", params)
        session.execute(
            "create or replace temp table old_lines as "
            "select * from order_lines where order_id in (select order_id from touched_orders)"
        )
        before = session.value("select count(*) from touched_weeks")
        session.execute(_CHANGED_WEEKS)
        session.execute("delete from order_lines where order_id in (select order_id from touched_orders)")
        session.execute("insert into order_lines by name select * from new_lines")
        validate(ORDER_LINES, session.batches("select * from new_lines"), "order_lines")
        session.execute("delete from touched_orders")
        return {
            "orders": orders,
            "lines": session.value("select count(*) from new_lines"),
            "weeks": session.value("select count(*) from touched_weeks") - before,
        }


def _touch_all_if_setting_changed(session: Session, pattern: str) -> None:
    """Another list of codes that are no products makes every order one to look at again."""
    setting = {"name": "not_product_pattern", "value": pattern}
    used = session.value("select value from settings_used where name = $name", setting)
    if used == pattern:
        return
    if used is not None:
        session.execute("insert into touched_orders select distinct order_id from raw_orders")
    session.execute("delete from settings_used where name = $name", setting)
    session.execute("insert into settings_used values ($name, $value)", setting)


# The weeks in which a touched order tells another story than before: from the first week in which its sales,
# returns or refunds differ, all its weeks (an order's refunds may reach another amount later).
_CHANGED_WEEKS = """
insert into touched_weeks
with

events as (

    select 1 as side, order_id, week, hash(order_at, customer_id, line_type, sku, product_name, quantity,
        unit_price, list_price, amount, is_clearance, is_product) as content
    from new_lines
    union all
    select -1, order_id, week, hash(order_at, customer_id, line_type, sku, product_name, quantity,
        unit_price, list_price, amount, is_clearance, is_product)
    from old_lines
    union all
    select 1, order_id, refund_week, hash(customer_id, refunded_amount, refund_at)
    from new_lines where refund_week is not null
    union all
    select -1, order_id, refund_week, hash(customer_id, refunded_amount, refund_at)
    from old_lines where refund_week is not null

),

differences as (

    select order_id, min(week) as first_week
    from (select order_id, week from events group by order_id, week, content having sum(side) <> 0)
    group by order_id

)

select distinct e.week
from events e
join differences d on d.order_id = e.order_id and e.week >= d.first_week
"""

"""Bringing orders into the warehouse, each export once, and keeping ``order_lines`` the current truth.

Every file, and every read of a database, is one transaction (``ingest.batches``): its rows, its rejected
rows, its counts and the orders it touches become visible together, so a run that is killed leaves whole files
only. ``order_lines`` then takes the touched orders, and notes the weeks in which something really changed for
the stages that follow.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.batches import DATABASE, Batch, insert_batch
from rfm_pipeline.ingest.dataset import load_dataset, update_dataset_lines
from rfm_pipeline.ingest.files.archives import SUFFIXES, Limits, has_known_suffix
from rfm_pipeline.ingest.files.landing import Landing, known_hashes, landed_files, note_hashes
from rfm_pipeline.ingest.files.names import name_key
from rfm_pipeline.ingest.files.reading import AUTO, ORDER, Rules, Source, open_source
from rfm_pipeline.ingest.precedence import Candidate, Place, note_set_back, put_in_order, set_back
from rfm_pipeline.ingest.presets import (
    ALL_COLUMNS,
    CANONICAL,
    Preset,
    load_family,
    load_preset,
    not_product_names,
    not_product_pattern,
)
from rfm_pipeline.ingest.schemas import (
    ORDER_BATCHES,
    ORDER_CONTACTS,
    ORDER_LINES,
    RAW_ORDERS,
    REJECTED_ROWS,
    SET_BACK_ORDERS,
    UNPAID_ORDERS,
)
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.shop import DatabaseSection, Shop
from rfm_pipeline.storage.atomic_files import staging_folder
from rfm_pipeline.warehouse.duckdb import Session, Warehouse
from rfm_pipeline.warehouse.schema import validate
from rfm_pipeline.warehouse.spark.engine import SparkWarehouse
from rfm_pipeline.warehouse.sql import read_sql

Progress = Callable[[str], None]

_DATABASE_REQUIRED = ("order_id", "customer_id", "ordered_at", "quantity")

_TOUCHED_ORDERS = "create table if not exists touched_orders (order_id varchar not null)"
# orders whose lines changed since order_lines' checks last passed: a check needn't read all the others again
_UNCHECKED_ORDERS = "create table if not exists unchecked_orders (order_id varchar not null)"
_MIXED_ORDERS = "create table if not exists mixed_orders (order_id varchar not null)"
_TOUCHED_WEEKS = "create table if not exists touched_weeks (week date not null)"
_FORMER = "(select batch_id from order_batches where file_name = $file_name)"
_SEVERAL_CUSTOMERS = (
    "select order_id from {lines} group by order_id having min(customer_id) <> max(customer_id)"
)
_SETTINGS = "create table if not exists settings_used (name varchar not null, value varchar not null)"


@dataclass
class LoadReport:
    """What a run of :func:`load_new_files` did.

    Attributes:
        loaded: Per loaded file: its row of ``order_batches``.
        unchanged: How many files were known already.
        growing: Exports that are still being written, left for the next run.
        ignored: Files of the landing folder that are no exports by their name.
        places: Where the exports that landed together stand, the newest last.
        set_back: Orders of which a loaded export says less than an earlier one: rows of
            ``set_back_orders``.
    """

    loaded: list[dict[str, Any]] = field(default_factory=list)
    unchanged: int = 0
    growing: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    set_back: list[dict[str, Any]] = field(default_factory=list)


def read_as(shop: Shop, preset: Preset) -> str:
    """A hash of all settings that make another thing of the same bytes."""
    orders = shop.orders
    facts = (
        preset.fingerprint,
        shop.shop.timezone,
        orders.encoding,
        orders.delimiter,
        orders.date_order,
        orders.paid_on_delivery,
        orders.currency or shop.shop.currency,
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def reading_rules(shop: Shop, session: Session | None = None) -> Rules:
    """What the settings say of reading.

    Args:
        shop: The settings.
        session: Knows the currency of the orders that are loaded, where the settings leave it open.
    """
    orders = shop.orders
    currency: str = orders.currency or shop.shop.currency
    if currency == AUTO and session is not None:
        named = "select currency from order_batches where currency is not null order by batch_id limit 1"
        currency = session.value(named) or AUTO
    return Rules(currency.upper() if currency != AUTO else AUTO, orders.date_order, orders.paid_on_delivery)


def prepare_tables(warehouse: Warehouse) -> None:
    """Makes the stage's tables if they aren't there."""
    with warehouse.transaction() as session:
        for table in (
            RAW_ORDERS,
            ORDER_BATCHES,
            REJECTED_ROWS,
            UNPAID_ORDERS,
            SET_BACK_ORDERS,
            ORDER_LINES,
            ORDER_CONTACTS,
        ):
            session.create(table)
        for statement in (_TOUCHED_ORDERS, _TOUCHED_WEEKS, _SETTINGS):
            session.execute(statement)
        if not session.has("unchecked_orders"):
            # a warehouse of an older version: all its orders are to be looked at once
            session.execute(_UNCHECKED_ORDERS)
            session.execute("insert into unchecked_orders select distinct order_id from raw_orders")
            session.execute(_MIXED_ORDERS)
            session.execute(f"insert into mixed_orders {_SEVERAL_CUSTOMERS.format(lines='order_lines')}")


def load_new_orders(
    warehouse: Warehouse,
    shop: Shop,
    progress: Progress = lambda _: None,
    ledger: Ledger | None = None,
) -> LoadReport:
    """Loads what is new, from where ``shop.yaml`` says the orders are: files or a database.

    Raises:
        RfmError: As :func:`load_new_files` and :func:`load_changes`.
    """
    if shop.orders.database is not None:
        return load_changes(warehouse, shop, shop.orders.database, progress, ledger)
    if shop.orders.dataset is not None:
        prepare_tables(warehouse)
        progress("reading the dataset")
        loaded, unchanged = load_dataset(_on_spark(warehouse), shop)
        return LoadReport(loaded=loaded, unchanged=unchanged)
    return load_new_files(warehouse, shop, progress, ledger)


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
        progress: Hears which file is read.
        ledger: Knows the order in which exports arrived, so that a warehouse made again from the files
            takes the same export as the later one, and who asked to be forgotten. Exports that it doesn't
            know come last, ordered by ``ingest.precedence``.

    Raises:
        OrderFileError: If there is nothing to read at all, or a file can't be read; files loaded before
            it stay.
        ShopFileError: If the preset is unknown.
    """
    family = load_family(shop.orders.preset, shop.home)
    prepare_tables(warehouse)
    with warehouse.transaction() as session:
        hashes = known_hashes(session)
    # hashing may take long: the warehouse isn't held meanwhile
    landed, growing = landed_files(shop, hashes)
    with warehouse.transaction() as session:
        note_hashes(session, landed)
        _forget_sources(session, is_database=True)
        _follow_names(session, landed)
        # other settings make another thing of the same bytes
        current = {preset.name: read_as(shop, preset) for preset in family}
        batches = session.execute("select content_hash, preset, read_as from order_batches").fetchall()
        known = {content for content, preset, how in batches if current.get(preset) == how}
        is_empty = not batches
    if not landed and is_empty:
        if growing:
            raise OrderFileError(
                f"{shop.orders_dir} holds only exports that are still being written "
                f"({', '.join(growing[:3])}). Run again when they are complete."
            )
        raise OrderFileError(
            f"{shop.orders_dir} holds no order export. Drop the shop's exports there "
            f"({', '.join(SUFFIXES)}) and run again."
        )
    arrived = {} if ledger is None else ledger.landing_positions()
    fresh = sorted(
        (file for file in landed if file.content_hash not in known),
        key=lambda file: (
            arrived.get(file.content_hash, math.inf),
            name_key(file.name),
            file.state.modified_ns,
        ),
    )
    sources = _open_all(fresh, family, shop)
    report = LoadReport(
        unchanged=len(landed) - len(fresh),
        growing=growing,
        ignored=sorted(
            path.name
            for path in shop.orders_dir.rglob("*")
            if path.is_file() and not path.name.startswith(".") and not has_known_suffix(path)
        ),
    )
    taken: set[str] = set()
    for number, (file, source) in enumerate(zip(fresh, sources, strict=True), start=1):
        if file.content_hash in taken:
            with warehouse.transaction() as session:
                _forget(session, _FORMER, {"file_name": file.name})
            report.unchanged += 1
            continue
        progress(f"reading {file.name} ({number} of {len(fresh)})")
        batch = _load(warehouse, shop, file, source, ledger)
        if batch is None:
            report.growing.append(file.name)
            continue
        taken.add(file.content_hash)
        report.loaded.append(batch)
    with warehouse.transaction() as session:
        _settle(session, landed, None if ledger is None else arrived, report)
    if ledger is not None:
        with warehouse.transaction() as session:
            found = session.execute("select content_hash, file_name from order_batches order by batch_id")
            in_force = found.fetchall()
        ledger.note_landings(in_force)
    return report


def _settle(
    session: Session, landed: Sequence[Landing], arrived: Mapping[str, int] | None, report: LoadReport
) -> None:
    """Puts the exports that landed together in order, and notes the orders that the newest sets back.

    Args:
        session: The caller's transaction.
        landed: The files of the landing folder.
        arrived: The exports whose places the ledger knows; None without a ledger.
        report: What was loaded; gets the places.
    """
    if not report.loaded:
        return
    loaded = {batch["content_hash"] for batch in report.loaded}
    written = {file.content_hash: file.state.modified_ns for file in landed}
    found = session.execute(
        "select batch_id, file_name, newest_at, content_hash from order_batches order by batch_id"
    ).fetchall()
    # a run that was killed has loaded some whose place is still open
    is_open = [content in loaded if arrived is None else content not in arrived for *_, content in found]
    report.places = put_in_order(
        session,
        (
            Candidate(batch_id, name, newest_at, written.get(content, 0))
            for (batch_id, name, newest_at, content), unplaced in zip(found, is_open, strict=True)
            if unplaced
        ),
    )
    note_set_back(session)
    report.loaded = [
        batch
        for batch in session.read("select * from order_batches order by batch_id").to_dicts()
        if batch["content_hash"] in loaded
    ]
    report.set_back = set_back(session, [batch["batch_id"] for batch in report.loaded])


def load_changes(
    warehouse: Warehouse,
    shop: Shop,
    database: DatabaseSection,
    progress: Progress = lambda _: None,
    ledger: Ledger | None = None,
) -> LoadReport:
    """Loads the orders that changed in the shop's database since the last read.

    What was read and up to where is one transaction: a run that fails or is killed reads the same again.
    With other settings, or after orders from files, everything is read again.

    Raises:
        RfmError: If the database can't be read as the settings say.
    """
    # the databases' drivers are slow to load, and most shops have files
    from rfm_pipeline.ingest.databases.incremental import fetch_changes

    preset = of_database(load_preset(shop.orders.preset, shop.home), database)
    prepare_tables(warehouse)
    facts = (read_as(shop, preset), database.model_dump_json(exclude={"batch_rows", "overlap_minutes"}))
    how = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    with warehouse.transaction() as session:
        since = session.value(
            "select watermark from order_batches where read_as = $how order by batch_id desc limit 1",
            {"how": how},
        )
    progress("reading the database" + (f": what changed since {since}" if since else ""))
    with staging_folder(shop.home) as folder:
        changes = fetch_changes(database, shop.shop.timezone, since, folder, progress)
        with warehouse.transaction() as session:
            if since is None:
                _forget_sources(session, is_database=False)
                _forget_sources(session, is_database=True)
            if since is not None and not changes.rows:
                return LoadReport(unchanged=1)
            number = session.value("select coalesce(max(batch_id), 0) + 1 from order_batches")
            batch = Batch(
                file_name=f"{DATABASE}{number}",
                content_hash=f"{DATABASE}{number}",
                read_as=how,
                watermark=changes.watermark,
            )
            source = open_source(changes.path, preset, "utf-8", ",")
            rules = reading_rules(shop, session)
            loaded = insert_batch(session, batch, source, shop.shop.timezone, folder, ledger, rules)
            note_set_back(session)
            gone = set_back(session, [number])
    return LoadReport(loaded=[loaded], set_back=gone)


def of_database(preset: Preset, database: DatabaseSection) -> Preset:
    """A preset for what ``ingest.database`` hands over: columns under their canonical names.

    Its words and codes stay; its headers are a file's. Beyond those of an order line, columns such as
    ``name`` are only read where the shop maps them: a table may well have a ``name`` that is a product's.
    """
    columns = (*CANONICAL, "order_status", *(name for name in database.columns if name in ALL_COLUMNS))
    return preset.model_copy(
        update={
            "row": "line",
            "columns": {name: (name,) for name in columns},
            "fallback": {},
            "required": _DATABASE_REQUIRED,
            "fill_from_order": (),
            "joins_orders": False,
            # a row of a table is a line
            "packed": (),
        }
    )


def _forget_sources(session: Session, *, is_database: bool) -> None:
    """Takes all batches out that came from a database, or all that came from files."""
    named = f"starts_with(file_name, '{DATABASE}')"
    condition = named if is_database else f"not {named}"
    if session.value(f"select count(*) from order_batches where {condition}"):
        _forget(session, f"(select batch_id from order_batches where {condition})", {})


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
    for table in (RAW_ORDERS, UNPAID_ORDERS):
        session.execute(
            f"insert into touched_orders select distinct order_id from {table.name} "
            f"where batch_id in {batches}",
            params,
        )
    for table in (RAW_ORDERS, UNPAID_ORDERS, REJECTED_ROWS, ORDER_BATCHES):
        session.execute(f"delete from {table.name} where batch_id in {batches}", params)


def _open_all(files: Sequence[Landing], family: Sequence[Preset], shop: Shop) -> list[Source]:
    """Checks every header, so that all files with a wrong one are named at once."""
    sources, problems = [], []
    for file in files:
        try:
            sources.append(
                open_source(
                    file.path,
                    family,
                    shop.orders.encoding,
                    shop.orders.delimiter,
                    Limits.of(shop.orders),
                )
            )
        except OrderFileError as error:
            problems.append(str(error))
    if problems:
        more = f"\n... and {len(problems) - 5} more files" if len(problems) > 5 else ""
        raise OrderFileError("\n".join(problems[:5]) + more)
    return sources


def _load(
    warehouse: Warehouse, shop: Shop, file: Landing, source: Source, ledger: Ledger | None
) -> dict[str, Any] | None:
    """Replaces a file's former rows by its present ones; None if it changed while it was read."""
    batch = Batch(file.name, file.content_hash, read_as(shop, source.preset))
    with staging_folder(shop.home) as folder:
        try:
            with warehouse.transaction() as session:
                _forget(session, _FORMER, {"file_name": file.name})
                rules = reading_rules(shop, session)
                loaded = insert_batch(session, batch, source, shop.shop.timezone, folder, ledger, rules)
                if not file.is_still_the_same():
                    raise _ChangedMeanwhileError
        except _ChangedMeanwhileError:
            return None
    return loaded


class _ChangedMeanwhileError(Exception):
    """A file changed while it was read; what was read of it is rolled back."""


def update_order_lines(warehouse: Warehouse, shop: Shop) -> dict[str, int]:
    """Brings ``order_lines`` up to date with ``raw_orders``: touched orders only.

    Returns:
        ``orders`` touched, ``lines`` written, ``weeks`` in which something changed.
    """
    if shop.orders.dataset is not None:
        return update_dataset_lines(_on_spark(warehouse), shop, _CHANGED_WEEKS)
    family = load_family(shop.orders.preset, shop.home)
    codes = [code for preset in family for code in preset.not_products]
    pattern = not_product_pattern((*codes, *shop.orders.not_products))
    names = not_product_names(family)
    with warehouse.transaction() as session:
        session.create(ORDER_LINES)
        _touch_all_if_setting_changed(session, f"{pattern} {names}")
        orders = session.value("select count(distinct order_id) from touched_orders")
        if not orders:
            return {"orders": 0, "lines": 0, "weeks": 0}
        _gather_lines(session, family)
        params = {"not_product_pattern": pattern, "not_product_names": names}
        sql = read_sql("rfm_pipeline.ingest", "order_lines")
        session.execute(f"create or replace temp table new_lines as {sql}", params)
        session.execute(
            "create or replace temp table old_lines as "
            "select * from order_lines where order_id in (select order_id from touched_orders)"
        )
        before = session.value("select count(*) from touched_weeks")
        session.execute(f"insert into touched_weeks {_CHANGED_WEEKS}")
        session.execute("delete from order_lines where order_id in (select order_id from touched_orders)")
        session.execute("insert into order_lines by name select * from new_lines")
        validate(ORDER_LINES, session.batches("select * from new_lines"), "order_lines")
        session.note_rewritten(ORDER_LINES, "select week from new_lines union select week from old_lines")
        _update_contacts(session)
        session.execute("delete from mixed_orders where order_id in (select order_id from touched_orders)")
        session.execute(f"insert into mixed_orders {_SEVERAL_CUSTOMERS.format(lines='new_lines')}")
        session.execute("insert into unchecked_orders select distinct order_id from touched_orders")
        session.execute("delete from touched_orders")
        return {
            "orders": orders,
            "lines": session.value("select count(*) from new_lines"),
            "weeks": session.value("select count(*) from touched_weeks") - before,
        }


def _on_spark(warehouse: Warehouse) -> SparkWarehouse:
    assert isinstance(warehouse, SparkWarehouse), "shop.yaml's model lets no dataset pass without Spark"
    return warehouse


def note_checked(warehouse: Warehouse) -> None:
    """Says that the checks of ``order_lines`` passed: its orders needn't be looked at until they change."""
    with warehouse.transaction() as session:
        session.execute("delete from unchecked_orders")


def _gather_lines(session: Session, family: Sequence[Preset]) -> None:
    """Makes ``lines`` of the touched orders: rows as they stand, or assembled where a platform needs it."""
    current = read_sql("rfm_pipeline.ingest", "current_rows")
    is_whole = session.value(
        "select count(*) from raw_orders where order_id in (select order_id from touched_orders) "
        f"and (row_kind = '{ORDER}' or order_amount is not null or order_refunded is not null "
        "or ordered_at is null)"
    )
    if not is_whole:
        session.execute(f"create or replace temp view lines as {current}")
        return
    separators = [preset.title_separator for preset in family if preset.row == ORDER]
    session.execute(f"create or replace temp table current_rows as {current}")
    session.execute("drop view if exists lines")
    assembled = read_sql("rfm_pipeline.ingest", "assembled_lines")
    session.execute(
        f"create or replace temp table assembled_lines as {assembled}",
        {"separators": list("".join(separators) or "，")},
    )
    session.execute("create or replace temp view lines as select * from assembled_lines")


def _update_contacts(session: Session) -> None:
    """Brings ``order_contacts`` up to date for the customers of the touched orders."""
    named = "select count(*) from raw_orders where phone is not null or email is not null or name is not null"
    if not session.value("select count(*) from order_contacts") and not session.value(named):
        return
    session.execute(
        """
        create or replace temp table touched_customers as
        select distinct customer_id from raw_orders
        where order_id in (select order_id from touched_orders) and customer_id is not null
        """
    )
    mine = "customer_id in (select customer_id from touched_customers)"
    session.execute(f"delete from order_contacts where {mine}")
    session.execute(f"insert into order_contacts by name {read_sql('rfm_pipeline.ingest', 'order_contacts')}")
    validate(ORDER_CONTACTS, session.batches(f"select * from order_contacts where {mine}"), "order_contacts")


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

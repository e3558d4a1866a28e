"""One person in the warehouse: finding the rows, and rewriting the warehouse without them.

Which tables there are and what they hold the warehouse says itself, so a new one is never missed: a row of
an order stays, without its customer; any other row with the customer's id goes.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb
import polars as pl

from rfm_pipeline.privacy.person import Person
from rfm_pipeline.shop import Shop
from rfm_pipeline.storage.atomic_files import staging_folder, to_disk
from rfm_pipeline.warehouse.duckdb import Session, Warehouse
from rfm_pipeline.warehouse.sql import used_parameters

BLANKED = "(removed: the row of a forgotten customer)"
# columns of orders that speak of the person; product_name doesn't
_PERSONAL = re.compile(
    r"(^|_)(phone|mobile|tel|email|address|contact|receiver|consignee|buyer|marketing)(_|$)"
)
_PERSONAL_NAMES = frozenset({"name", "customer_name"})
_PHONE = re.compile("phone|mobile|tel")

_TELLS_OF_PERSON = r"""
    row_text <> $blanked and (
        regexp_matches(row_text, $field)
        or len(list_filter(
            $digits::varchar[], lambda d: contains(regexp_replace(row_text, '[\s-]', '', 'g'), d)
        )) > 0
        or len(list_filter($emails::varchar[], lambda e: contains(lower(row_text), e))) > 0
    )
"""


@dataclass(frozen=True)
class InWarehouse:
    """Rows of one person.

    Attributes:
        order_lines: Rows of orders that become a guest's, by table.
        derived: Rows that go, by table.
        rejected: Rejected rows whose text is blanked.
    """

    order_lines: dict[str, int] = field(default_factory=dict)
    derived: dict[str, int] = field(default_factory=dict)
    rejected: int = 0

    @property
    def is_known(self) -> bool:
        """Whether any table has the customer's id."""
        return bool(self.order_lines or self.derived)


@dataclass(frozen=True)
class _Table:
    """A table of the warehouse: its name, and its columns with whether each may be null."""

    name: str
    nullable: Mapping[str, bool]

    @property
    def is_orders(self) -> bool:
        """Whether a row is of an order and can do without its customer."""
        return "order_id" in self.nullable and self.nullable.get("customer_id", False)

    @property
    def is_derived(self) -> bool:
        """Whether a row is about a customer and is nothing without them."""
        return "customer_id" in self.nullable and not self.is_orders

    @property
    def personal(self) -> list[str]:
        """The columns with names and addresses."""
        return [name for name in self.nullable if _PERSONAL.search(name) or name in _PERSONAL_NAMES]


def _tables(session: Session) -> list[_Table]:
    rows = session.execute(
        "select table_name, column_name, is_nullable = 'YES' from information_schema.columns "
        "where table_catalog = current_database() order by table_name, ordinal_position"
    )
    found: dict[str, dict[str, bool]] = {}
    for table, column, nullable in rows.fetchall():
        found.setdefault(table, {})[column] = nullable
    return [_Table(name, columns) for name, columns in found.items()]


def _tables_elsewhere(session: Session) -> list[_Table]:
    return [
        _Table(table.name, {name: bool(column.nullable) for name, column in table.schema.columns.items()})
        for table in session.tables_elsewhere()
    ]


def addresses_in_orders(warehouse: Warehouse, customer_id: str) -> list[pl.Series]:
    """What the warehouse says of a customer's phones and e-mails, as raw text."""
    with warehouse.transaction() as session:
        return [
            session.read(
                f'select distinct "{column}"::varchar as a from "{table.name}" where customer_id = $id',
                {"id": customer_id},
            )["a"]
            for table in _tables(session)
            if "customer_id" in table.nullable
            for column in table.personal
            if _PHONE.search(column) or "email" in column
        ]


def find(warehouse: Warehouse, person: Person) -> InWarehouse:
    """Counts a person's rows."""
    order_lines: dict[str, int] = {}
    derived: dict[str, int] = {}
    rejected = 0
    with warehouse.transaction() as session:
        for table in _tables(session) + _tables_elsewhere(session):
            if "customer_id" in table.nullable:
                n = session.value(
                    f'select count(*) from "{table.name}" where customer_id = $id', _values(person)
                )
                if n:
                    (order_lines if table.is_orders else derived)[table.name] = n
            elif "row_text" in table.nullable:
                query = f'select count(*) from "{table.name}" where {_TELLS_OF_PERSON}'
                rejected += session.value(query, _values(person))
    return InWarehouse(order_lines, derived, rejected)


def _values(person: Person) -> dict[str, Any]:
    return {
        "id": person.customer_id,
        "blanked": BLANKED,
        "field": person.as_field,
        "digits": list(person.digits),
        "emails": list(person.emails),
    }


def rewrite_without(shop: Shop, warehouse: Warehouse, person: Person) -> None:
    """Rewrites the warehouse without the person and puts it in the place of the old one, in one step.

    Tables that are kept elsewhere come first; their old files are gone before the warehouse is written.
    A new file, because deleted rows stay readable in the pages they leave free. The caller keeps the
    warehouse open (:meth:`Warehouse.kept_open`), so locked, and reads nothing from it afterwards: the open
    file is the old one.
    """
    warehouse.leave_out(person.customer_id)
    with warehouse.transaction() as session:
        connection = session.connection
        tables = _tables(session)
        old = session.value("select current_database()")
    # what a killed process spilled
    shutil.rmtree(warehouse.path.with_name(f"{warehouse.path.name}.tmp"), ignore_errors=True)
    with staging_folder(shop.home) as staging:
        target = staging / "rewritten.duckdb"
        quoted = str(target).replace("'", "''")
        connection.execute("set preserve_insertion_order = true")
        connection.execute(f"attach '{quoted}' as rewritten")
        connection.execute(f'copy from database "{old}" to rewritten (schema)')
        for table in tables:
            _copy(connection, table, person)
        connection.execute("detach rewritten")
        # nothing may be left in the old file's log: it would be taken for the new one's
        connection.execute("force checkpoint")
        to_disk(target)
        target.replace(warehouse.path)
        to_disk(warehouse.path.parent)


def remove_other_engines(shop: Shop, warehouse: Warehouse) -> None:
    """Removes what another engine left in the home, whole: nobody reads it, and it may hold the person.

    It is derived: were the engine changed back, it would be made from the orders.
    """
    one_file, on_spark = shop.home / "warehouse.duckdb", shop.home / "warehouse_spark"
    if warehouse.path == one_file:
        shutil.rmtree(on_spark, ignore_errors=True)
    else:
        for left in (one_file, one_file.with_name("warehouse.duckdb.wal")):
            left.unlink(missing_ok=True)


def _copy(connection: duckdb.DuckDBPyConnection, table: _Table, person: Person) -> None:
    """Copies one table without the person."""
    columns, condition = "*", "true"
    if table.is_orders:
        columns = f"* replace ({', '.join(_without_person(table, person))})"
    elif table.is_derived:
        condition = "customer_id is distinct from $id"
    elif "row_text" in table.nullable:
        columns = f"* replace (case when {_TELLS_OF_PERSON} then $blanked else row_text end as row_text)"
    sql = f'insert into rewritten."{table.name}" select {columns} from "{table.name}" where {condition}'
    connection.execute(sql, used_parameters(sql, _values(person)))


def _without_person(table: _Table, person: Person) -> Iterator[str]:
    """The values of an order's columns; a guest's order with the person's address loses the address."""
    conditions = ["customer_id = $id"]
    for column in table.personal:
        if _PHONE.search(column) and person.digits:
            digits = rf"""regexp_replace("{column}"::varchar, '\D', '', 'g')"""
            same = f"len(list_filter($digits::varchar[], lambda d: ends_with({digits}, d))) > 0"
            conditions.append(f"customer_id is null and {same}")
        elif "email" in column and person.emails:
            same = f"""list_contains($emails::varchar[], lower(trim("{column}"::varchar)))"""
            conditions.append(f"customer_id is null and {same}")
    mine = " or ".join(f"coalesce({condition}, false)" for condition in conditions)
    yield "case when customer_id is distinct from $id then customer_id end as customer_id"
    for column in table.personal:
        nothing = "null" if table.nullable[column] else "''"
        yield f"""case when {mine} then {nothing} else "{column}" end as "{column}" """

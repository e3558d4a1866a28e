"""Taking a ledger from one database to another, such as from an SQLite file to PostgreSQL.

Belongs here: the copy and the proof that it is one. ``docs/how-to/ledger.md`` says what comes before
and after.
"""

from typing import Any

import sqlalchemy as sa

from rfm_pipeline.errors import LedgerError
from rfm_pipeline.ledger.database import LedgerDatabase
from rfm_pipeline.ledger.tables import METADATA


def copy_ledger(source: LedgerDatabase, target: LedgerDatabase) -> dict[str, int]:
    """Copies every row into an empty ledger, all or nothing; nobody can write to either meanwhile.

    Args:
        source: The ledger as it is; stays as it is.
        target: Another database; its tables are made if there are none.

    Returns:
        The rows of each table.

    Raises:
        LedgerError: If there is nothing to copy, the target holds anything, or what was written reads
            back differently; the target is then left as it was.
    """
    if not source.is_there:
        raise LedgerError(f"there is no ledger to copy: {source} is empty.")
    with source.begin() as here, target.begin() as there:
        for database, connection in ((source, here), (target, there)):
            _keep_others_out(database, connection)
        held = [table.name for table in METADATA.sorted_tables if _rows(there, table)]
        if held:
            raise LedgerError(
                f"the target holds a ledger already (rows in {', '.join(held)}). Nothing was copied; give it "
                "an empty database or schema."
            )
        counts = {}
        for table in METADATA.sorted_tables:
            rows = _rows(here, table)
            if rows:
                there.execute(sa.insert(table), rows)
            if _as_set(_rows(there, table)) != _as_set(rows):
                raise LedgerError(f"{table.name} reads back differently from the target. Nothing was copied.")
            counts[table.name] = len(rows)
    return counts


def _keep_others_out(database: LedgerDatabase, connection: sa.Connection) -> None:
    if not database.is_sqlite:  # there, the transaction alone does it
        names = ", ".join(table.name for table in METADATA.sorted_tables)
        connection.execute(sa.text("set local lock_timeout = '30s'"))
        connection.execute(sa.text(f"lock table {names} in exclusive mode"))


def _rows(connection: sa.Connection, table: sa.Table) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(sa.select(table)).mappings()]


def _as_set(rows: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    return {tuple(row.values()) for row in rows}

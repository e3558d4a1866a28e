"""From one version of the ledger's tables to the next, by Alembic.

Belongs here: which version a ledger is of, and bringing it to the newest. Each version is a script in
``versions``; what the tables are today is ``ledger.tables``. Alembic takes a while to import, so that is done
only when a ledger has to change.
"""

import threading
from pathlib import Path

import sqlalchemy as sa

from rfm_pipeline.errors import LedgerError
from rfm_pipeline.ledger.tables import METADATA

NEWEST = "0002"
"""The version of ``ledger.tables``: the name of the last script."""
VERSION_TABLE = "ledger_version"
"""Not Alembic's own name: in PostgreSQL another program's tables may be beside the ledger's."""
_ONE_AT_A_TIME = threading.Lock()


def version_of(connection: sa.Connection) -> str | None:
    """The version a ledger is of; None if there is none yet, or it is from before versions were kept."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.scalar(sa.text(f"select version_num from {VERSION_TABLE}"))
    return version


def has_tables(connection: sa.Connection) -> bool:
    """Whether there is a ledger, of whatever version."""
    found = sa.inspect(connection)
    return found.has_table(VERSION_TABLE) or found.has_table("campaigns")


def is_newest(version: str | None) -> bool:
    """Whether a ledger of this version can be used as it is.

    Raises:
        LedgerError: If it was written by a newer program.
    """
    if version is not None and version > NEWEST:
        raise LedgerError(
            f"the ledger is of version {version}, and this program knows versions up to {NEWEST} only: "
            "a newer one has used it. Update this program; the ledger was left as it is."
        )
    return version == NEWEST


def upgrade(connection: sa.Connection) -> None:
    """Brings a ledger to the newest version, within the connection's transaction.

    A ledger from before versions were kept is one of version 1, perhaps of less: the scripts make what is
    missing and leave what is there.

    Raises:
        LedgerError: If there is a table of the same name that isn't the ledger's; roll back then.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _ONE_AT_A_TIME:  # Alembic's context belongs to the process
        command.upgrade(config, "head")
    _check_columns(connection)


def _check_columns(connection: sa.Connection) -> None:
    found = sa.inspect(connection)
    for table in METADATA.sorted_tables:
        if {column["name"] for column in found.get_columns(table.name)} != set(table.columns.keys()):
            raise LedgerError(
                f"there is a table {table.name!r} that isn't the ledger's. Give the ledger a database or a "
                "schema of its own; nothing was changed."
            )

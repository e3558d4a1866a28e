"""The ledger's database: connections, and the tables in their newest version.

Belongs here: what every method of the ledger needs. Which facts are kept is ``store``'s.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from rfm_pipeline.ledger.tables import METADATA


def now() -> datetime:
    """The present moment as the ledger keeps it: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


class LedgerDatabase:
    """A database that holds a ledger.

    Args:
        url: An SQLAlchemy URL; the tables are made on first use.
    """

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url.render_as_string(hide_password=True)})"

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of its own."""
        return self._url.get_backend_name() == "sqlite"

    @property
    def is_there(self) -> bool:
        """Whether there is a ledger already: to look is not to make one."""
        return not self.is_sqlite or Path(self._url.database or "").exists()

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction on a connection that is closed afterwards: a run holds no file open for long."""
        options = {"connect_args": {"timeout": 60}} if self.is_sqlite else {}
        # values are customers' data: they must not show in an error's text
        engine = sa.create_engine(self._url, poolclass=sa.NullPool, hide_parameters=True, **options)
        try:
            with engine.begin() as connection:
                for table in METADATA.sorted_tables:
                    # two processes may be the first at the same time
                    connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                yield connection
        finally:
            engine.dispose()

    def frame(self, query: sa.Select[Any], schema: Mapping[str, Any]) -> pl.DataFrame:
        """The rows of a query, whose columns are those of the schema in their order."""
        with self.begin() as connection:
            rows = [tuple(row) for row in connection.execute(query)]
        return pl.DataFrame(rows, schema=dict(schema), orient="row")

    def compact(self) -> None:
        """Rewrites an SQLite file, so that no former version of a row stays in it."""
        if not self.is_sqlite:
            return
        engine = sa.create_engine(self._url, poolclass=sa.NullPool, connect_args={"timeout": 60})
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("vacuum")
        finally:
            engine.dispose()

"""Dagster's event log in SQLite, with its connections kept open while a command's run writes to it.

Dagster makes an engine and a connection for each event, and a first run has more than a thousand: that took
a quarter of its processor time. Belongs here: keeping them open. What is written stays Dagster's affair.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from dagster._core.storage.event_log.sqlite import sqlite_event_log
from sqlalchemy import Engine
from sqlalchemy.pool import QueuePool


@contextmanager
def connections_kept_open() -> Iterator[None]:
    """Within this, each database of the event log has one engine and one connection; then they are closed.

    Dagster has no setting for it. It hands out one connection at a time, under a lock of its own.
    """
    module = cast("Any", sqlite_event_log)
    make_engine = module.create_engine
    engines: dict[str, Engine] = {}
    closings = []

    def kept_engine(url: str, **options: Any) -> Engine:
        if url not in engines:
            engine = make_engine(url, **{**options, "poolclass": QueuePool, "pool_size": 1})
            closings.append(engine.dispose)
            # Dagster disposes of it after each event
            cast("Any", engine).dispose = lambda: None
            engines[url] = engine
        return engines[url]

    module.create_engine = kept_engine
    try:
        yield
    finally:
        module.create_engine = make_engine
        for close in closings:
            close()

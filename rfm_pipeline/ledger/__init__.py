"""The ledger: who was put on which list, in which arm, which tags were asked for and done, what was sent.

The one thing that can't be rebuilt from the orders, so it is a database of its own (SQLite by default), is
only ever added to, and its unique keys make double work impossible:

- ``campaigns``: one row is a sealed week.
- ``assignments``: one row is a customer on a sealed list, with arm and messages. A silence (customer,
  silent_since) is listed at most once, whatever is re-run.
- ``landings``: one row is an order export that was loaded, in the order of arrival: where two exports hold
  the same order, the later one is right, also when the warehouse is made again from the files.
- ``tag_actions``: one row is a tag to add to a customer or to remove. ``pending`` is written before the sink
  is called, the outcome after.
- ``tag_calls``: one row is a tag added to or removed from one WeCom contact of one member of staff, written
  the same way; a customer may have several.
- ``messages``: one row is a message to the team: the Monday message of a week, or an alert of a day.
- ``tombstones``: one row is a customer who is forgotten, as a digest that recognises the same customer when
  their orders are loaded again, and nothing else.
- ``ledger_settings``: the salt of the digests, and which sinks somebody confirmed.

Its one change of old rows is :meth:`Ledger.forget`: the person goes, what the review counts stays.

``tables`` says what a row is, ``database`` how it is reached, ``store`` what is read and written, ``locks``
how one process at a time is let in, ``forgetting`` how a person is taken out, ``migrations`` how an older
ledger becomes one of today, ``copying`` how it gets from one database to another. For people:
docs/how-to/ledger.md and docs/reference/ledger.md.
"""

from rfm_pipeline.ledger.copying import copy_ledger
from rfm_pipeline.ledger.forgetting import Holdings, tombstone_digest
from rfm_pipeline.ledger.locks import Lock
from rfm_pipeline.ledger.store import Ledger
from rfm_pipeline.ledger.tables import (
    ASSIGNMENT_SCHEMA,
    DONE,
    FAILED,
    FORGOTTEN,
    LEFT_OPEN,
    PENDING,
    REJECTED,
    TAG_ACTION_SCHEMA,
    TAG_CALL_SCHEMA,
    UNMATCHED,
)

__all__ = [
    "ASSIGNMENT_SCHEMA",
    "DONE",
    "FAILED",
    "FORGOTTEN",
    "LEFT_OPEN",
    "PENDING",
    "REJECTED",
    "TAG_ACTION_SCHEMA",
    "TAG_CALL_SCHEMA",
    "UNMATCHED",
    "Holdings",
    "Ledger",
    "Lock",
    "copy_ledger",
    "tombstone_digest",
]

"""The errors a user can do something about.

Every message says what happened, in which file, row or week, and what to do next, and never holds a
customer's data. Errors that are bugs stay ordinary Python exceptions.
"""


class RfmError(Exception):
    """Something the user can mend: the message is the whole story, no traceback is needed."""


class ShopFileError(RfmError):
    """``shop.yaml`` is missing, unreadable, or says something that can't be."""


class OrderFileError(RfmError):
    """An order export can't be read at all: wrong preset, wrong encoding, broken file."""


class OrderDatabaseError(RfmError):
    """The shop's own database can't be read: its URL, the connection, a table, a column, the rights."""


class CoverageError(RfmError):
    """The orders don't reach the week that is to be diagnosed."""


class MissingWeekError(RfmError):
    """A week builds on the table before it, or on the week before, and that has no snapshot."""


class ValidationError(RfmError):
    """Rows break the contract of their table; nothing of them was kept."""


class LedgerError(RfmError):
    """The ledger can't be used: its URL, the connection, the rights, or it is of a newer version."""


class LedgerBusyError(RfmError):
    """Another process does what only one may do at a time, or holds the ledger for long."""


class WarehouseBusyError(RfmError):
    """Another process holds the warehouse."""


class SparkError(RfmError):
    """Spark doesn't start, or gave up."""


class SuppressionError(RfmError):
    """It is unclear who opted out, so nobody may be contacted."""

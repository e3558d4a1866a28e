"""One script a version. A script that was shipped is never changed: what comes later is a new one.

A new one is a copy of the last with the next number as ``revision``; ``migrations.NEWEST`` names it, and
``ledger.tables`` says the same as all of them together.
"""

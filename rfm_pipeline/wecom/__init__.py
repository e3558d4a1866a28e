"""WeCom's server API. Knows its calls, limits and error codes, but no stage, no ledger and no Dagster.

``errors`` is the error policy as data; ``wire`` makes one call over HTTP and gives what came of it as a
value; ``pacing`` keeps rates; ``model`` is what WeCom answers; ``client`` reads contacts and tags and marks
customers; ``robot`` speaks in a group.
"""

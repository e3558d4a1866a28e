"""WeCom's server API. Knows its calls, limits and error codes, but no stage, no ledger and no Dagster.

``errors`` is the error policy as data; ``wire`` makes one call over HTTP and tells what came of it as a
value; ``pacing`` keeps rates; ``model`` is what WeCom tells; ``client`` reads contacts and tags and marks
customers; ``robot`` speaks in a group.
"""

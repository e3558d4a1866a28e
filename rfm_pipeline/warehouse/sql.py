"""Reading the stages' SQL files: one file makes one table."""

import re
from functools import cache
from importlib import resources
from typing import Any

_PARAMETER = re.compile(r"\$([a-z_][a-z0-9_]*)", re.IGNORECASE)
_INCLUDE = re.compile(r"^-- include (\S+)\.sql$", re.MULTILINE)
_COMMENT = re.compile(r"--[^\n]*")


@cache
def read_sql(package: str, table: str) -> str:
    """The text of ``<package>/<table>.sql``.

    A line ``-- include ctes/<name>.sql`` is replaced by that file: CTEs that several statements share.
    """
    text = resources.files(package).joinpath(f"{table}.sql").read_text("utf-8")
    return _INCLUDE.sub(lambda found: read_sql(package, found[1]).rstrip("\n"), text)


def used_parameters(sql: str, params: dict[str, Any]) -> dict[str, Any]:
    """The parameters that the statement names; DuckDB refuses any that it doesn't."""
    named = set(_PARAMETER.findall(_COMMENT.sub("", sql)))
    return {name: value for name, value in params.items() if name in named}

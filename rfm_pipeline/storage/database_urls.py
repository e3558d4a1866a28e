"""Database servers that a shop names by a URL in the environment: reading the URL, and what to say.

Belongs here: what the order source and the ledger share. Secrets stay where they are: no message holds any
part of a URL but host, port and database.
"""

import os
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from rfm_pipeline.errors import RfmError

if TYPE_CHECKING:
    import psycopg

POSTGRESQL_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
POSTGRESQL_OPTIONS = {
    "connect_timeout": "10",
    "client_encoding": "utf8",
    "application_name": "rfm_pipeline",
    # a connection that died silently is noticed within two minutes
    "keepalives_idle": "60",
    "keepalives_interval": "10",
    "keepalives_count": "6",
}
_LOST = ("57P01", "57P02", "57P03", "57P05")
_REFUSALS = (
    ("connection refused", "nothing listens there; check host and port, and that the server runs"),
    ("timeout", "no answer in time; check host, port and firewall"),
    ("resolve host", "the host's name is unknown; check it"),
    ("translate host", "the host's name is unknown; check it"),
    ("name or service", "the host's name is unknown; check it"),
    ("pg_hba.conf", "the server does not let this user in from this machine (pg_hba.conf)"),
    ("authentication failed", "the server refused user or password"),
    ("no password supplied", "the server asks for a password and the URL has none"),
    ("starting up", "the server is only starting; try again in a minute"),
    ("shutting down", "the server is stopping; try again when it is back"),
    ("recovery", "the server is recovering from a crash; try again later"),
    ("role", "the server has no such user"),
    ("database", "the server has no such database, or this user may not connect to it"),
    ("too many", "the server has too many connections; try again later"),
    ("ssl", "TLS can't be agreed on; check sslmode in the URL"),
)


def url_from_environment(
    variable: str, *, whose: str, setting: str, schemes: Collection[str], error: type[RfmError]
) -> URL:
    """The URL that an environment variable holds.

    Args:
        variable: Its name.
        whose: Whose URL it is, for the message.
        setting: Where in ``shop.yaml`` the variable is named.
        schemes: What the URL may begin with.
        error: What is raised if there is no such URL; the message holds nothing of the variable's value but
            the scheme.
    """
    text = os.environ.get(variable, "").strip()
    if not text:
        raise error(
            f"the environment variable {variable} is not set; it holds the URL of {whose}, "
            f"such as postgresql://user:password@host:5432/shop ({setting} in shop.yaml)."
        )
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise error(
            f"the environment variable {variable} holds no URL such as "
            "postgresql://user:password@host:5432/shop; characters like @, / and : in a password have to "
            "be written as %40, %2F and %3A."
        ) from None
    if url.drivername not in schemes:
        raise error(
            f"the URL in {variable} begins with {url.drivername}://; "
            f"known are {', '.join(f'{scheme}://' for scheme in schemes)}."
        )
    return url


def is_lost(sqlstate: str) -> bool:
    """Whether PostgreSQL's code means that the connection is gone."""
    return sqlstate.startswith("08") or sqlstate in _LOST


def postgresql_refusal(error: "psycopg.Error") -> str:
    """Why the connection failed; the driver's own text may quote the URL, so none of it is passed on."""
    said = re.sub(r'"[^"]*"', "", str(error).lower())  # names could be mistaken for reasons
    why = (why for part, why in _REFUSALS if part in said)
    return next(why, "the server refused; check user, password and database of the URL")

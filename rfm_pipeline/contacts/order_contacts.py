"""What the orders say of how customers can be reached: addresses, and whether they want e-mails."""

from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from rfm_pipeline.contacts.addresses import readable
from rfm_pipeline.contacts.vocabulary import CONTACT_NAMES, CUSTOMER_NAMES
from rfm_pipeline.warehouse.duckdb import Warehouse

_TABLE = "order_contacts"
ADDRESS_TAIL = 7
"""The last characters of an address by which ids that may be one are looked up."""
# of an e-mail address what every spelling of it has in common
_PLAIN_EMAIL = "regexp_replace(lower({}), '[^!-~]', '', 'g')"
_NAMED_LIKE = rf"""
select customer_id
-- each id is looked at once, not in every week
from (select distinct customer_id from customer_activity)
where
    -- digits enough for a phone number, whatever stands between them
    (contains(customer_id, '@') or regexp_matches(customer_id, '^\D{{0,3}}(\d\D{{0,2}}){{7,}}$'))
    and (
        right(regexp_replace(customer_id, '\D', '', 'g'), {ADDRESS_TAIL})
            in (select right(address, {ADDRESS_TAIL}) from asked_addresses)
        or contains(customer_id, '@') and {_PLAIN_EMAIL.format("customer_id")}
            in (select {_PLAIN_EMAIL.format("address")} from asked_addresses)
    )
"""
_GIVEN = {"customer_id": pl.String, "phone": pl.String, "email": pl.String, "accepts_marketing": pl.Boolean}


@dataclass(frozen=True)
class OrderContacts:
    """What the orders say of how customers can be reached.

    Attributes:
        given: customer_id, phone, email as raw text, and ``accepts_marketing`` where the shop's checkout asks
            for it.
        named_like: Finds the customers whose id may be one of some addresses (phones as E.164,
            e-mails in lower case), at most a few more; as (customer_id). A shop may have millions whose id
            looks like a phone number, so they are asked for and not handed over.
    """

    given: pl.DataFrame
    named_like: Callable[[pl.Series], pl.DataFrame] = field(default=lambda _: _nobody(), repr=False)


def read_order_contacts(warehouse: Warehouse) -> OrderContacts:
    """The contacts that the orders gave; empty before the first order."""

    def named_like(addresses: pl.Series) -> pl.DataFrame:
        if addresses.is_empty():
            return _nobody()
        asked = pl.DataFrame({"address": addresses.unique()})
        with warehouse.transaction() as session:
            if not session.has("customer_activity"):
                return _nobody()
            with session.frames(asked_addresses=asked):
                return session.read(_NAMED_LIKE)

    with warehouse.transaction() as session:
        if not session.has(_TABLE):
            return OrderContacts(pl.DataFrame(schema=_GIVEN), named_like)
        return OrderContacts(session.read(f"select {', '.join(_GIVEN)} from {_TABLE}"), named_like)


def _nobody() -> pl.DataFrame:
    return pl.DataFrame(schema={"customer_id": pl.String})


def people_of_orders(order_contacts: OrderContacts | None, region: str) -> pl.DataFrame:
    """The contacts in the orders as rows of ``contacts/``: addresses without any consent."""
    if order_contacts is None:
        return pl.DataFrame(schema=dict.fromkeys(CONTACT_NAMES, pl.String))
    rows = order_contacts.given.select(pl.col(*CUSTOMER_NAMES).cast(pl.String)).drop_nulls("customer_id")
    nothing = [pl.lit(None, pl.String).alias(name) for name in CONTACT_NAMES if name not in CUSTOMER_NAMES]
    return readable(rows, region).select(*CUSTOMER_NAMES, *nothing)

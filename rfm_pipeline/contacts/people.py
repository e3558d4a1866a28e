"""Who the customers are and which addresses they have: ``contacts/`` and the orders together."""

import polars as pl

from rfm_pipeline.contacts.addresses import one_email, readable
from rfm_pipeline.contacts.order_contacts import ADDRESS_TAIL, OrderContacts, people_of_orders
from rfm_pipeline.contacts.phones import normalised_phones, phone_region
from rfm_pipeline.contacts.sheets import Sheet, read_folder
from rfm_pipeline.contacts.vocabulary import CONTACT_NAMES, CUSTOMER_NAMES
from rfm_pipeline.shop import Shop

# an id that looks like a phone number: with a country code, a trunk prefix, or a Chinese mobile
_PHONE_AS_ID = r"^(\+|0[1-9])[\d\s().-]{8,}$|^(\+?86|0086)?[\s-]*1[3-9](\d[\s-]*){9}$"


def read_people(shop: Shop, order_contacts: OrderContacts | None = None) -> pl.DataFrame:
    """Every known address of every customer, in the columns of ``contacts/``, in one spelling.

    Raises:
        SuppressionError: If a file of ``contacts/`` can't be read.
    """
    return everybody(*known_and_bought(shop, order_contacts, phone_region(shop.shop.timezone)))


def known_and_bought(
    shop: Shop, order_contacts: OrderContacts | None, region: str
) -> tuple[pl.DataFrame | None, pl.DataFrame]:
    """Who is in ``contacts/``, None if the shop gave none, and who is in the orders."""
    given = read_folder(shop.contacts_dir, CONTACT_NAMES, ["customer_id"], _contacts)
    return None if given is None else readable(given, region), people_of_orders(order_contacts, region)


def everybody(known: pl.DataFrame | None, bought: pl.DataFrame) -> pl.DataFrame:
    """Every known address, one row each."""
    # by every address, also by those that contacts/ has newer ones of
    return bought if known is None else pl.concat([known, bought])


def _contacts(sheet: Sheet) -> pl.DataFrame:
    return sheet.frame.select(*CONTACT_NAMES).drop_nulls("customer_id")


def with_orders(known: pl.DataFrame, bought: pl.DataFrame) -> pl.DataFrame:
    """The contacts with their gaps filled from the orders, and the customers whom only the orders know."""
    addresses = bought.group_by("customer_id").agg(
        pl.col(name).drop_nulls().first().alias(f"{name}_bought") for name in ("phone", "email")
    )
    filled = known.join(addresses, on="customer_id", how="left", maintain_order="left").with_columns(
        pl.when(pl.col(name).is_null().all().over("customer_id"))
        .then(pl.col(f"{name}_bought"))
        .otherwise(pl.col(name))
        .alias(name)
        for name in ("phone", "email")
    )
    others = bought.join(known, on="customer_id", how="anti")
    return pl.concat([filled.select(*CONTACT_NAMES), others])


def customers_by_address(
    numbered: pl.DataFrame, people: pl.DataFrame, order_contacts: OrderContacts | None, region: str
) -> pl.DataFrame:
    """(row, customer_id) of everybody with an address of a row; an id that is an address counts as one.

    Args:
        numbered: ``row`` and the columns of ``CUSTOMER_NAMES``, phone and e-mail in one spelling.
        people: Rows of :func:`read_people`.
        order_contacts: Finds who has an id that may be asked for; None if there are no orders.
        region: Whose phone numbers lack a country code.
    """
    as_number = pl.col("customer_id").str.contains(_PHONE_AS_ID)
    asked = _spellings(numbered, "row", as_number, region)
    people = people.select(*CUSTOMER_NAMES)
    if order_contacts is not None:
        people = pl.concat([people, order_contacts.named_like(asked["address"])], how="diagonal")
    # of many numeric ids only those are spelled that may be asked for: they end alike
    ends = asked["address"].str.tail(ADDRESS_TAIL).unique().implode()
    digits = pl.col("customer_id").str.replace_all(r"\D", "")
    may_be_asked = (digits.str.len_chars() >= ADDRESS_TAIL) & digits.str.tail(ADDRESS_TAIL).is_in(ends)
    known = _spellings(people, "customer_id", may_be_asked, region)
    return asked.unique().join(known, on="address", how="inner").select("row", "customer_id")


def _spellings(frame: pl.DataFrame, key: str, is_number: pl.Expr, region: str) -> pl.DataFrame:
    """(key, address): every phone and e-mail of the rows; an id that is one itself counts as one."""
    numbers = frame.filter(is_number).select(pl.col(key), pl.col("customer_id").alias("id"))
    frames = [
        frame.select(key, pl.col("phone").alias("address")),
        frame.select(key, pl.col("email").alias("address")),
        frame.select(key, one_email(pl.col("customer_id")).alias("address")),
        numbers.select(key, normalised_phones(numbers["id"], region).alias("address")),
    ]
    return pl.concat(frames).drop_nulls()

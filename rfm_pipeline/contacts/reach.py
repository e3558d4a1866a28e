"""Who may be reached on which channel, from ``contacts/``, ``suppression/``, outcome files and the orders.

All of it is read from the files themselves: the warehouse may be deleted at any time.
"""

from dataclasses import dataclass, field

import polars as pl

from rfm_pipeline.contacts.order_contacts import OrderContacts
from rfm_pipeline.contacts.people import everybody, known_and_bought, with_orders
from rfm_pipeline.contacts.phones import phone_region
from rfm_pipeline.contacts.suppression import name_optouts, read_refusals
from rfm_pipeline.contacts.vocabulary import CHANNEL_COLUMNS, CONTACT_NAMES
from rfm_pipeline.shop import Shop

_CONSENT_COLUMNS = {channel: f"consent_{channel}" for channel in CHANNEL_COLUMNS}
_YES = ("true", "1", "1.0", "yes", "y", "是", "同意", "有")
_PAIR = {"customer_id": pl.String, "channel": pl.String}
_PEOPLE = dict.fromkeys(CONTACT_NAMES, pl.String)


@dataclass(frozen=True)
class Reach:
    """What the contact and suppression files and the orders say.

    Attributes:
        closed: (customer_id, channel) that may not be used: opted out, or no address, or no consent.
        opted_out: (customer_id, channel) that the customer said no to: an opt-out, or a consent that is no.
        reachable: (customer_id) of those with an address and consent on some channel that they did not opt
            out of; None if the shop gave no contacts, so that an address can't be asked for.
        suppressed: How many customers opted out of something.
        unmatched: Opt-outs by phone or e-mail that fit no known customer.
        people: Rows of ``contacts/`` with phone and e-mail in one spelling, gaps filled from the orders.
    """

    closed: pl.DataFrame
    opted_out: pl.DataFrame
    reachable: pl.DataFrame | None
    suppressed: int
    unmatched: int
    people: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_PEOPLE), repr=False)

    @property
    def unreachable(self) -> pl.DataFrame:
        """(customer_id) of those who opted out of every channel."""
        channels = pl.col("channel").n_unique()
        left = (
            self.opted_out.group_by("customer_id")
            .agg(channels)
            .filter(pl.col("channel") == len(CHANNEL_COLUMNS))
        )
        return left.select("customer_id")

    @property
    def addresses(self) -> pl.DataFrame:
        """(customer_id, channel, address, wecom_userid): every known address, of closed channels too.

        In the order of the files; phones as E.164. ``wecom_userid`` is the member of staff who holds a WeCom
        contact, null for the other channels.
        """
        nobody = pl.lit(None, pl.String).alias("wecom_userid")
        frames = [
            self.people.select(
                "customer_id",
                pl.lit(channel).alias("channel"),
                pl.col(column).alias("address"),
                "wecom_userid" if channel == "wecom" else nobody,
            )
            for channel, column in CHANNEL_COLUMNS.items()
        ]
        return pl.concat(frames).drop_nulls("address").unique(maintain_order=True)


def read_reach(shop: Shop, order_contacts: OrderContacts | None = None) -> Reach:
    """Reads contacts, opt-outs, and refusals in the files of outcomes.

    What the orders say adds addresses: it fills the gaps of customers whom ``contacts/`` knows and adds
    those whom it doesn't, without any consent. Where the shop gave no contacts it only serves to find the
    customer of an opt-out.

    Args:
        shop: The settings.
        order_contacts: From :func:`read_order_contacts`; None if there are no orders.

    Raises:
        SuppressionError: If a file can't be read, lacks its key column, or has an opt-out that doesn't
            say whose it is.
    """
    region = phone_region(shop.shop.timezone)
    known, bought = known_and_bought(shop, order_contacts, region)
    people = bought if known is None else with_orders(known, bought)
    opted_out, unmatched = pl.DataFrame(schema=_PAIR), 0
    if (said_no := read_refusals(shop, region)) is not None:
        opted_out, unmatched = name_optouts(said_no, everybody(known, bought), order_contacts, region)
    opted_out = pl.concat([opted_out, _declined(order_contacts, known)]).unique()
    suppressed = opted_out["customer_id"].n_unique()
    closed, reachable = opted_out, None
    if known is not None:
        opted_out = pl.concat([opted_out, _refused(people)]).unique()
        usable = _usable(people)
        unusable = usable.filter(~pl.col("usable")).select("customer_id", "channel")
        closed = pl.concat([opted_out, unusable]).unique()
        reachable = (
            usable.join(closed, on=["customer_id", "channel"], how="anti").select("customer_id").unique()
        )
    return Reach(closed, opted_out, reachable, suppressed, unmatched, people)


def _declined(order_contacts: OrderContacts | None, known: pl.DataFrame | None) -> pl.DataFrame:
    """(customer_id, channel) of who declined mails at the checkout and agrees to none in ``contacts/``."""
    if order_contacts is None or "accepts_marketing" not in order_contacts.given.columns:
        return pl.DataFrame(schema=_PAIR)
    said_no = order_contacts.given.filter(~pl.col("accepts_marketing"))
    pairs = said_no.select("customer_id", pl.lit("email").alias("channel"))
    if known is None:
        return pairs
    return pairs.join(known.filter(_says_yes("consent_email")), on="customer_id", how="anti")


def _says_yes(consent: str) -> pl.Expr:
    return pl.col(consent).str.to_lowercase().is_in(_YES)


def _refused(people: pl.DataFrame) -> pl.DataFrame:
    """(customer_id, channel) with a consent that is written down and isn't a yes."""
    return pl.concat(
        people.filter(~_says_yes(consent)).select("customer_id", pl.lit(channel).alias("channel"))
        for channel, consent in _CONSENT_COLUMNS.items()
    )


def _usable(people: pl.DataFrame) -> pl.DataFrame:
    """(customer_id, channel, usable): an address is there, and the consent, where it is asked for, a yes.

    A customer with several rows needs the yes beside an address, and a no in any of them closes the channel.
    """
    frames = []
    for channel, address in CHANNEL_COLUMNS.items():
        consent = _CONSENT_COLUMNS[channel]
        usable = pl.col(address).is_not_null().any()
        if people[consent].is_not_null().any():
            says_yes = _says_yes(consent)
            usable = (pl.col(address).is_not_null() & says_yes.fill_null(False)).any()
            usable = usable & says_yes.fill_null(True).all()
        frames.append(
            people.group_by("customer_id")
            .agg(usable.alias("usable"))
            .select("customer_id", pl.lit(channel).alias("channel"), "usable")
        )
    return pl.concat(frames)

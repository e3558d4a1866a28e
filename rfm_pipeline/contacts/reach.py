"""Who may be reached on which channel: ``contacts/`` and ``suppression/`` of the home folder, and the orders.

Who refused by what the team wrote down (``outcome_files``) has opted out, too. All of it is read from the
files themselves: the warehouse may be deleted at any time. Fails closed: when it is unclear who opted out,
nobody is listed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from rfm_pipeline.contacts.outcome_files import may_be_refused, outcome_files, read_outcomes
from rfm_pipeline.contacts.phones import SCIENTIFIC, normalised_phones, phone_region
from rfm_pipeline.contacts.sheets import Sheet, filled, known_columns, read_sheets, sheet_files
from rfm_pipeline.contacts.vocabulary import CHANNEL_WORDS, CUSTOMER_NAMES
from rfm_pipeline.errors import SuppressionError
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse

CHANNEL_COLUMNS = {"sms": "phone", "email": "email", "wecom": "wecom_external_userid"}
ORDER_CONTACTS = "order_contacts"
_CONSENT_COLUMNS = {channel: f"consent_{channel}" for channel in CHANNEL_COLUMNS}
_YES = ("true", "1", "1.0", "yes", "y", "是", "同意", "有")
CONTACT_NAMES: dict[str, Sequence[str]] = {
    **CUSTOMER_NAMES,
    "name": ("姓名", "客户姓名", "收货人", "收货人姓名", "联系人"),
    "wecom_external_userid": ("external_userid", "外部联系人id"),
    "wecom_userid": ("userid", "企业微信账号"),
    "unionid": ("wecom_unionid", "微信unionid"),
    "consent_sms": ("短信同意", "同意短信"),
    "consent_email": ("邮件同意", "同意邮件"),
    "consent_wecom": ("微信同意", "企业微信同意", "同意微信", "同意企业微信"),
}
OPTOUT_NAMES: dict[str, Sequence[str]] = {
    **CUSTOMER_NAMES,
    "channel": ("渠道",),
    "since": ("时间", "日期", "退订时间"),
    "source": ("来源",),
}
# an id of which a spreadsheet kept the first fifteen digits only
_DAMAGED_ID = rf"{SCIENTIFIC}|^\d{{15,}}000$"
# an id that looks like a phone number: with a country code, a trunk prefix, or a Chinese mobile
_PHONE_AS_ID = r"^(\+|0[1-9])[\d\s().-]{8,}$|^(\+?86|0086)?[\s-]*1[3-9](\d[\s-]*){9}$"
_TAIL = 7
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
        right(regexp_replace(customer_id, '\D', '', 'g'), {_TAIL})
            in (select right(address, {_TAIL}) from asked_addresses)
        or contains(customer_id, '@') and {_PLAIN_EMAIL.format("customer_id")}
            in (select {_PLAIN_EMAIL.format("address")} from asked_addresses)
    )
"""
_GIVEN = {"customer_id": pl.String, "phone": pl.String, "email": pl.String, "accepts_marketing": pl.Boolean}
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


@dataclass(frozen=True)
class OrderContacts:
    """What the orders say of how customers can be reached.

    Attributes:
        given: customer_id, phone, email as raw text, and ``accepts_marketing`` where the shop's checkout asks
            for it.
        named_like: Tells which customers have an id that may be one of some addresses (phones as E.164,
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
        if not session.has(ORDER_CONTACTS):
            return OrderContacts(pl.DataFrame(schema=_GIVEN), named_like)
        return OrderContacts(session.read(f"select {', '.join(_GIVEN)} from {ORDER_CONTACTS}"), named_like)


def _nobody() -> pl.DataFrame:
    return pl.DataFrame(schema={"customer_id": pl.String})


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
    known, bought = _known_and_bought(shop, order_contacts, region)
    optouts = _read_folder(
        shop.suppression_dir, OPTOUT_NAMES, [*CUSTOMER_NAMES], lambda sheet: _optouts(sheet, region)
    )
    people = bought if known is None else _with_orders(known, bought)
    opted_out, unmatched = pl.DataFrame(schema=_PAIR), 0
    if said_no := [frame for frame in (optouts, _refusals(shop, optouts, region)) if frame is not None]:
        everybody = _everybody(known, bought)
        opted_out, unmatched = _name_optouts(pl.concat(said_no), everybody, order_contacts, region)
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


def read_people(shop: Shop, order_contacts: OrderContacts | None = None) -> pl.DataFrame:
    """Every known address of every customer, in the columns of ``contacts/``, in one spelling.

    Raises:
        SuppressionError: If a file of ``contacts/`` can't be read.
    """
    return _everybody(*_known_and_bought(shop, order_contacts, phone_region(shop.shop.timezone)))


def _known_and_bought(
    shop: Shop, order_contacts: OrderContacts | None, region: str
) -> tuple[pl.DataFrame | None, pl.DataFrame]:
    """Who is in ``contacts/``, None if the shop gave none, and who is in the orders."""
    given = _read_folder(shop.contacts_dir, CONTACT_NAMES, ["customer_id"], _contacts)
    return None if given is None else readable(given, region), _from_orders(order_contacts, region)


def _everybody(known: pl.DataFrame | None, bought: pl.DataFrame) -> pl.DataFrame:
    # by every address, also by those that contacts/ has newer ones of
    return bought if known is None else pl.concat([known, bought])


# --- files ------------------------------------------------------------------------------------------


def _read_folder(
    folder: Path,
    names: Mapping[str, Sequence[str]],
    needed: Sequence[str],
    judge: Callable[[Sheet], pl.DataFrame],
) -> pl.DataFrame | None:
    """All tables of a folder, each with the columns that ``judge`` makes of it; None if there is none.

    Raises:
        SuppressionError: If a file can't be read or has none of the needed columns.
    """
    frames = [
        judge(_ours(sheet, names, needed)) for path in sheet_files(folder) for sheet in read_sheets(path)
    ]
    return pl.concat(frames) if frames else None


def _ours(sheet: Sheet, names: Mapping[str, Sequence[str]], needed: Sequence[str]) -> Sheet:
    """The table with our column names, null where the file has no such column; others are numbered."""
    found = known_columns(sheet, names)
    if found.keys().isdisjoint(needed):
        raise SuppressionError(
            f"{sheet} lacks the column {' or '.join(repr(name) for name in needed)}; nobody is recalled "
            f"until it is there. Columns: {', '.join(names)}."
        )
    others = [column for column in sheet.frame.columns if column not in found.values()]
    columns = [
        *(
            filled(pl.col(found[name]) if name in found else pl.lit(None, pl.String)).alias(name)
            for name in names
        ),
        *(filled(pl.col(column)).alias(f"other_{number}") for number, column in enumerate(others)),
    ]
    return replace(sheet, frame=sheet.frame.select(columns))


def _contacts(sheet: Sheet) -> pl.DataFrame:
    return sheet.frame.select(*CONTACT_NAMES).drop_nulls("customer_id")


def _optouts(sheet: Sheet, region: str) -> pl.DataFrame:
    """The opt-outs of a file, with phone and e-mail in one spelling; empty rows are left out.

    Raises:
        SuppressionError: If a row says something, but not of whom.
    """
    numbered = sheet.frame.with_row_index("row", offset=1).filter(
        pl.any_horizontal(pl.col(sheet.frame.columns).is_not_null())
    )
    return require_identity(sheet, numbered, region).select(*OPTOUT_NAMES)


def _refusals(shop: Shop, optouts: pl.DataFrame | None, region: str) -> pl.DataFrame | None:
    """The refusals in the files of outcomes that aren't among the opt-outs yet; None if there is no file.

    An outcome in words that aren't known may be one: until it is mended the customer is left alone.
    """
    frames = [
        require_identity(sheet, sheet.frame.filter(may_be_refused()), region).select(
            *CUSTOMER_NAMES,
            pl.lit(None, pl.String).alias("channel"),
            pl.col("reached_at").alias("since"),
            pl.lit(path.name).alias("source"),
        )
        for path in outcome_files(shop)
        for sheet in read_outcomes(path)
    ]
    if not frames:
        return None
    refusals = pl.concat(frames)
    if optouts is None:
        return refusals
    everywhere = optouts.filter(pl.col("channel").is_null())
    return refusals.join(everywhere, on=[*CUSTOMER_NAMES], how="anti", nulls_equal=True)


def require_identity(sheet: Sheet, numbered: pl.DataFrame, region: str) -> pl.DataFrame:
    """Rows by which somebody said no, with phone and e-mail in one spelling.

    Args:
        sheet: The table they are of, for the message.
        numbered: The rows, with ``row`` and the columns of ``CUSTOMER_NAMES``.
        region: Whose phone numbers lack a country code.

    Raises:
        SuppressionError: If a row names no customer.
    """
    rows = readable(numbered, region)
    nobody = rows.filter(~says_whose())
    if nobody.height:
        more = f" and {nobody.height - 1} more" if nobody.height > 1 else ""
        raise SuppressionError(
            f"{sheet}, row {nobody['row'][0]} below the header{more}: it is unclear who opted out. A row "
            "needs a customer_id, a whole phone number (neither masked nor in a form such as 1.38E+10) or an "
            "e-mail address; nobody is recalled until it is mended or removed."
        )
    return rows


def says_whose() -> pl.Expr:
    """Whether a row, phone and e-mail in one spelling, names a customer by something readable."""
    whole_id = ~pl.col("customer_id").str.contains(_DAMAGED_ID)
    return whole_id.fill_null(False) | pl.col("phone").is_not_null() | pl.col("email").is_not_null()


# --- addresses --------------------------------------------------------------------------------------


def readable(frame: pl.DataFrame, region: str) -> pl.DataFrame:
    """The rows with phone and e-mail in one spelling, null where nobody could be reached by them."""
    return frame.with_columns(
        normalised_phones(frame["phone"], region).alias("phone"),
        _one_email(pl.col("email")).alias("email"),
    )


def _one_email(email: pl.Expr) -> pl.Expr:
    spelled = email.str.strip_chars().str.to_lowercase()
    return pl.when(spelled.str.contains(r"^[^@\s*]+@[^@\s*]+$")).then(spelled)


def _from_orders(order_contacts: OrderContacts | None, region: str) -> pl.DataFrame:
    """The contacts in the orders as rows of ``contacts/``: addresses without any consent."""
    if order_contacts is None:
        return pl.DataFrame(schema=_PEOPLE)
    rows = order_contacts.given.select(pl.col(*CUSTOMER_NAMES).cast(pl.String)).drop_nulls("customer_id")
    nothing = [pl.lit(None, pl.String).alias(name) for name in CONTACT_NAMES if name not in CUSTOMER_NAMES]
    return readable(rows, region).select(*CUSTOMER_NAMES, *nothing)


def _declined(order_contacts: OrderContacts | None, known: pl.DataFrame | None) -> pl.DataFrame:
    """(customer_id, channel) of who declined mails at the checkout and agrees to none in ``contacts/``."""
    if order_contacts is None or "accepts_marketing" not in order_contacts.given.columns:
        return pl.DataFrame(schema=_PAIR)
    said_no = order_contacts.given.filter(~pl.col("accepts_marketing"))
    pairs = said_no.select("customer_id", pl.lit("email").alias("channel"))
    if known is None:
        return pairs
    return pairs.join(known.filter(_says_yes("consent_email")), on="customer_id", how="anti")


def _with_orders(known: pl.DataFrame, bought: pl.DataFrame) -> pl.DataFrame:
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


# --- opt-outs ---------------------------------------------------------------------------------------


def _name_optouts(
    optouts: pl.DataFrame, people: pl.DataFrame, order_contacts: OrderContacts | None, region: str
) -> tuple[pl.DataFrame, int]:
    """Opt-outs as (customer_id, channel), and how many fit no customer.

    A row means the customer it names and everybody with one of its addresses. A channel that is empty or no
    known word means all channels, and when it was said doesn't matter, not even if it lies in the future:
    in doubt the customer is left alone.
    """
    numbered = optouts.with_row_index("row")
    by_name = numbered.select("row", "customer_id").drop_nulls()
    named = pl.concat([by_name, customers_by_address(numbered, people, order_contacts, region)]).unique()
    unmatched = numbered.height - named["row"].n_unique()
    words = pl.col("channel").str.to_lowercase().replace_strict(CHANNEL_WORDS, default=None)
    channels = numbered.select("row", words.alias("word"))
    pairs = (
        named.join(channels, on="row")
        .join(pl.DataFrame({"channel": list(CHANNEL_COLUMNS)}), how="cross")
        .filter(pl.col("word").is_null() | (pl.col("word") == pl.col("channel")))
        .select("customer_id", "channel")
        .unique()
    )
    return pairs, unmatched


def customers_by_address(
    numbered: pl.DataFrame, people: pl.DataFrame, order_contacts: OrderContacts | None, region: str
) -> pl.DataFrame:
    """(row, customer_id) of everybody with an address of a row; an id that is an address counts as one.

    Args:
        numbered: ``row`` and the columns of ``CUSTOMER_NAMES``, phone and e-mail in one spelling.
        people: Rows of :func:`read_people`.
        order_contacts: Tells who has an id that may be asked for; None if there are no orders.
        region: Whose phone numbers lack a country code.
    """
    as_number = pl.col("customer_id").str.contains(_PHONE_AS_ID)
    asked = _spellings(numbered, "row", as_number, region)
    people = people.select(*CUSTOMER_NAMES)
    if order_contacts is not None:
        people = pl.concat([people, order_contacts.named_like(asked["address"])], how="diagonal")
    # of many numeric ids only those are spelled that may be asked for: they end alike
    ends = asked["address"].str.tail(_TAIL).unique().implode()
    digits = pl.col("customer_id").str.replace_all(r"\D", "")
    may_be_asked = (digits.str.len_chars() >= _TAIL) & digits.str.tail(_TAIL).is_in(ends)
    known = _spellings(people, "customer_id", may_be_asked, region)
    return asked.unique().join(known, on="address", how="inner").select("row", "customer_id")


def _spellings(frame: pl.DataFrame, key: str, is_number: pl.Expr, region: str) -> pl.DataFrame:
    """(key, address): every phone and e-mail of the rows; an id that is one itself counts as one."""
    numbers = frame.filter(is_number).select(pl.col(key), pl.col("customer_id").alias("id"))
    frames = [
        frame.select(key, pl.col("phone").alias("address")),
        frame.select(key, pl.col("email").alias("address")),
        frame.select(key, _one_email(pl.col("customer_id")).alias("address")),
        numbers.select(key, normalised_phones(numbers["id"], region).alias("address")),
    ]
    return pl.concat(frames).drop_nulls()

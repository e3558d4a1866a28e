"""Who may be reached on which channel: ``contacts/`` and ``suppression/`` of the home folder.

Fails closed: when it can't be told who opted out, nobody is listed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rfm_pipeline.errors import SuppressionError
from rfm_pipeline.shop import Shop

CHANNEL_COLUMNS = {"sms": "phone", "email": "email", "wecom": "wecom_external_userid"}
_CONSENT_COLUMNS = {channel: f"consent_{channel}" for channel in CHANNEL_COLUMNS}
_EMPTY = pl.DataFrame(schema={"customer_id": pl.String, "channel": pl.String})
_YES = ("true", "1", "yes", "y")


@dataclass(frozen=True)
class Reach:
    """What the contact and suppression files say.

    Attributes:
        closed: (customer_id, channel) that may not be used: opted out, or no address, or no consent.
        opted_out: (customer_id, channel) that the customer said no to: an opt-out, or a consent that is no.
        reachable: (customer_id) of those with an address and consent on some channel that they did not opt
            out of; None if the shop gave no contacts, so that an address can't be asked for.
        suppressed: How many customers opted out of something.
        unmatched: Opt-outs by phone or e-mail that fit no known contact.
    """

    closed: pl.DataFrame
    opted_out: pl.DataFrame
    reachable: pl.DataFrame | None
    suppressed: int
    unmatched: int

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


def _read_all(folder: Path, required: Sequence[str], optional: Sequence[str]) -> pl.DataFrame | None:
    """All CSV files of a folder as text columns, None if there is none."""
    # a link to a share that isn't mounted is no missing folder
    if not folder.exists() and not folder.is_symlink():
        return None
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        raise SuppressionError(f"{folder} can't be read; nobody is recalled until it can.") from None
    frames = [_read_one(path, required, optional) for path in paths]
    return pl.concat(frames) if frames else None


def _read_one(path: Path, required: Sequence[str], optional: Sequence[str]) -> pl.DataFrame:
    if path.suffix != ".csv":
        raise SuppressionError(
            f"{path} is no .csv file, so it can't be told who is in it; nobody is recalled until it is "
            "saved as CSV or moved away."
        )
    try:
        frame = pl.read_csv(path, infer_schema=False)
        frame = frame.rename({name: name.strip() for name in frame.columns})
    except (pl.exceptions.PolarsError, OSError):
        raise SuppressionError(
            f"{path} can't be read as UTF-8 CSV; nobody is recalled until it is mended."
        ) from None
    missing = [name for name in required if name not in frame.columns]
    if missing:
        raise SuppressionError(
            f"{path} lacks the column {missing[0]!r}; nobody is recalled until it is there. "
            f"Columns: {', '.join((*required, *optional))}."
        )
    return frame.select(
        pl.col(name).str.strip_chars().replace("", None)
        if name in frame.columns
        else pl.lit(None, pl.String).alias(name)
        for name in (*required, *optional)
    )


def read_reach(shop: Shop) -> Reach:
    """Reads both folders.

    Raises:
        SuppressionError: If a file can't be read or lacks its key column.
    """
    contacts = _read_all(
        shop.contacts_dir, ("customer_id",), (*CHANNEL_COLUMNS.values(), *_CONSENT_COLUMNS.values())
    )
    optouts = _read_all(
        shop.suppression_dir, ("customer_id",), ("channel", "phone", "email", "since", "source")
    )
    opted_out, unmatched = _EMPTY, 0
    if optouts is not None:
        opted_out, unmatched = _name_optouts(optouts, contacts)
    suppressed = opted_out["customer_id"].n_unique()
    closed, reachable = opted_out, None
    if contacts is not None:
        contacts = contacts.drop_nulls("customer_id")
        opted_out = pl.concat([opted_out, _refused(contacts)]).unique()
        usable = _usable(contacts)
        unusable = usable.filter(~pl.col("usable")).select("customer_id", "channel")
        closed = pl.concat([opted_out, unusable]).unique()
        reachable = (
            usable.join(closed, on=["customer_id", "channel"], how="anti").select("customer_id").unique()
        )
    return Reach(closed, opted_out, reachable, suppressed, unmatched)


def _refused(contacts: pl.DataFrame) -> pl.DataFrame:
    """(customer_id, channel) with a consent that is written down and isn't a yes."""
    return pl.concat(
        contacts.filter(~pl.col(consent).str.to_lowercase().is_in(_YES)).select(
            "customer_id", pl.lit(channel).alias("channel")
        )
        for channel, consent in _CONSENT_COLUMNS.items()
    )


def _usable(contacts: pl.DataFrame) -> pl.DataFrame:
    """(customer_id, channel, usable): an address is there, and the consent, where it is asked for, a yes.

    A customer with several rows needs the yes beside an address, and a no in any of them closes the channel.
    """
    frames = []
    for channel, address in CHANNEL_COLUMNS.items():
        consent = _CONSENT_COLUMNS[channel]
        usable = pl.col(address).is_not_null().any()
        if contacts[consent].is_not_null().any():
            says_yes = pl.col(consent).str.to_lowercase().is_in(_YES)
            usable = (pl.col(address).is_not_null() & says_yes.fill_null(False)).any()
            usable = usable & says_yes.fill_null(True).all()
        frames.append(
            contacts.group_by("customer_id")
            .agg(usable.alias("usable"))
            .select("customer_id", pl.lit(channel).alias("channel"), "usable")
        )
    return pl.concat(frames)


def _one_spelling(address: str) -> pl.Expr:
    """A phone number or e-mail address so that two spellings of the same one are equal."""
    if address == "email":
        return pl.col(address).str.to_lowercase()
    digits = pl.col(address).str.replace_all(r"\D", "").str.replace(r"^00", "")
    # a Chinese mobile number with and without its country code
    return digits.str.replace(r"^86(1\d{10})$", "$1").replace("", None)


def _name_optouts(optouts: pl.DataFrame, contacts: pl.DataFrame | None) -> tuple[pl.DataFrame, int]:
    """Opt-outs as (customer_id, channel), and how many fit no customer.

    A row without a customer is looked up by phone or e-mail. A channel that is empty or no known word
    means all channels: in doubt the customer is left alone.
    """
    numbered = optouts.with_row_index("row")
    named = numbered.filter(pl.col("customer_id").is_not_null())
    by_address = numbered.filter(pl.col("customer_id").is_null()).drop("customer_id")
    if contacts is not None:
        people = contacts.drop_nulls("customer_id")
        for address in ("phone", "email"):
            spelled = _one_spelling(address)
            known = people.select("customer_id", spelled).drop_nulls()
            found = by_address.with_columns(spelled).join(known, on=address, how="inner")
            named = pl.concat([named, found.select(named.columns)])
    unmatched = numbered.height - named["row"].n_unique()
    word = pl.col("channel").str.to_lowercase()
    pairs = (
        named.with_columns(is_one=word.is_in(list(CHANNEL_COLUMNS)).fill_null(False), word=word)
        .drop("channel")
        .join(pl.DataFrame({"channel": list(CHANNEL_COLUMNS)}), how="cross")
        .filter(~pl.col("is_one") | (pl.col("word") == pl.col("channel")))
        .select("customer_id", "channel")
        .unique()
    )
    return pairs, unmatched

"""Who opted out: ``suppression/``, refusals in the files of outcomes, and what was declined at the checkout.

Fails closed: where it is unclear who opted out, nobody is listed.
"""

import polars as pl

from rfm_pipeline.contacts.addresses import readable
from rfm_pipeline.contacts.order_contacts import OrderContacts
from rfm_pipeline.contacts.outcome_files import may_be_refused, outcome_files, read_outcomes
from rfm_pipeline.contacts.people import customers_by_address
from rfm_pipeline.contacts.phones import SCIENTIFIC
from rfm_pipeline.contacts.sheets import Sheet, read_folder
from rfm_pipeline.contacts.vocabulary import CHANNEL_COLUMNS, CHANNEL_WORDS, CUSTOMER_NAMES, OPTOUT_NAMES
from rfm_pipeline.errors import SuppressionError
from rfm_pipeline.shop import Shop

# an id of which a spreadsheet kept the first fifteen digits only
_DAMAGED_ID = rf"{SCIENTIFIC}|^\d{{15,}}000$"


def read_refusals(shop: Shop, region: str) -> pl.DataFrame | None:
    """All opt-outs and refusals, in the columns of ``OPTOUT_NAMES``; None if there is no file of either.

    Raises:
        SuppressionError: If a file can't be read, lacks its key column, or has an opt-out that doesn't say
            whose it is.
    """
    optouts = read_folder(
        shop.suppression_dir, OPTOUT_NAMES, [*CUSTOMER_NAMES], lambda sheet: _optouts(sheet, region)
    )
    said_no = [frame for frame in (optouts, _refusals(shop, optouts, region)) if frame is not None]
    return pl.concat(said_no) if said_no else None


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


def name_optouts(
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

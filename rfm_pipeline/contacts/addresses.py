"""Phone numbers and e-mail addresses in one spelling each, so that two spellings of one address are equal."""

import polars as pl

from rfm_pipeline.contacts.phones import normalised_phones


def readable(frame: pl.DataFrame, region: str) -> pl.DataFrame:
    """The rows with phone and e-mail in one spelling, null where nobody could be reached by them."""
    return frame.with_columns(
        normalised_phones(frame["phone"], region).alias("phone"),
        one_email(pl.col("email")).alias("email"),
    )


def one_email(email: pl.Expr) -> pl.Expr:
    """An e-mail address in lower case without spaces; null where it is none or masked."""
    spelled = email.str.strip_chars().str.to_lowercase()
    return pl.when(spelled.str.contains(r"^[^@\s*]+@[^@\s*]+$")).then(spelled)

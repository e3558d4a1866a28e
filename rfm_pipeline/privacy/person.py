"""One person as a text may name them: by id, phone or e-mail.

Belongs here: finding whether a text speaks of the person. Where texts are is ``tables``' and ``files``'.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import phonenumbers
import polars as pl

from rfm_pipeline.contacts.phones import normalised_phones

_LEAST_DIGITS = 7


@dataclass(frozen=True)
class Person:
    """One person.

    Attributes:
        customer_id: As the shop's system names them.
        digits: Their phone numbers without country code, digits only.
        emails: Their e-mail addresses in lower case.
    """

    customer_id: str
    digits: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()

    @property
    def as_field(self) -> str:
        """A regular expression of the id as a whole field of a comma-separated row."""
        return rf"""(^|,)[\s'"=]*{re.escape(self.customer_id)}[\s'"]*(,|$)"""

    @property
    def as_word(self) -> str:
        """A regular expression of the id as a word of its own, for Python's and for Polars' dialect."""
        return rf"(^|[^\w.:-]){re.escape(self.customer_id)}($|[^\w.:-]|\.($|\W))"

    def is_in_any(self, texts: pl.Series) -> pl.Series:
        """:meth:`is_in` for a column of texts."""
        text = pl.col("text")
        joined, lowered = text.str.replace_all(r"[\s-]", ""), text.str.to_lowercase()
        named = pl.any_horizontal(
            text.str.contains(self.as_word),
            *(joined.str.contains(number, literal=True) for number in self.digits),
            *(lowered.str.contains(email, literal=True) for email in self.emails),
        )
        return texts.to_frame("text").select(named.fill_null(False).alias("named"))["named"]

    def is_in(self, text: str) -> bool:
        """Whether a text names the person: by the id as a word of its own, a phone or an e-mail."""
        joined = re.sub(r"[\s-]", "", text) if self.digits else ""
        return (
            re.search(self.as_word, text) is not None
            or any(number in joined for number in self.digits)
            or any(email in text.lower() for email in self.emails)
        )


def person_of(customer_id: str, addresses: Sequence[pl.Series], region: str) -> Person:
    """The person with the phones and e-mails among some texts; the id counts if it is one itself."""
    own = pl.Series("own", [customer_id], dtype=pl.String)
    written = pl.concat([*(texts.alias("own") for texts in addresses), own]).drop_nulls().unique()
    numbers = {
        str(phonenumbers.parse(phone).national_number)
        for phone in normalised_phones(written, region).drop_nulls()
    }
    return Person(
        customer_id,
        tuple(sorted(number for number in numbers if len(number) >= _LEAST_DIGITS)),
        tuple(sorted({text.strip().lower() for text in written if "@" in text})),
    )

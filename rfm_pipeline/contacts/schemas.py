"""The contract of the outreach log: who was contacted, and which rows of the outcome files need a look."""

import pandera.polars as pa
import polars as pl

from rfm_pipeline.contacts.vocabulary import CONTACT_WORDS, NOT_REACHED, REACHED, REFUSED
from rfm_pipeline.shop import ARMS
from rfm_pipeline.warehouse.columns import TIME, at_least, column, one_of
from rfm_pipeline.warehouse.schema import Table

_CHANNELS = [*dict.fromkeys(CONTACT_WORDS.values())]

OUTREACH_LOG = Table(
    name="outreach_log",
    schema=pa.DataFrameSchema(
        {
            "week": column(pl.Date, "the week of the list that the contact belongs to"),
            "customer_id": column(pl.String, "the customer, as the shop's system names them"),
            "arm": column(pl.String, "as drawn; a contacted hold-out is an alarm", one_of(ARMS)),
            "channel": column(pl.String, "how: sms, email, wecom or phone", one_of(_CHANNELS)),
            "outcome": column(
                pl.String,
                "reached, not_reached, or refused: wants no messages any more",
                one_of([REACHED, NOT_REACHED, REFUSED]),
            ),
            "reached_at": column(TIME, "when, on the shop's clock; null if it wasn't said", nullable=True),
            "source_file": column(pl.String, "the first file that says so, below the home folder"),
        },
        strict=True,
    ),
    key=("week", "customer_id", "channel", "outcome", "reached_at"),
    weekly=False,
)

_TIME = "a date and time such as 2026-03-10 14:30"
FINDINGS: dict[str, tuple[str | None, str | None]] = {
    "holdout": ("customer_id", "nobody of the hold-out: who contacted them, and with which list?"),
    "unknown_week": ("week", "the Monday of a list that was sent, here or in the file's name"),
    "not_on_the_list": ("customer_id", "a customer on that week's list"),
    "outcome_not_understood": ("outcome", "已触达, 未接通 or 拒绝联系 (reached, not_reached, refused)"),
    "channel_not_understood": ("channel", "短信, 邮件, 企业微信 or 电话 (sms, email, wecom, phone)"),
    "time_not_understood": ("reached_at", _TIME),
    "before_the_list": ("reached_at", f"{_TIME}, not before the Monday on which the list is made"),
    "in_the_future": ("reached_at", f"{_TIME} that has passed"),
    "stops_the_recall": (None, None),
    "refusals_not_kept": (None, None),
}
"""What somebody must look at: the column, and what was expected there."""

OUTREACH_FINDINGS = Table(
    name="outreach_findings",
    schema=pa.DataFrameSchema(
        {
            "source_file": column(pl.String, "the file, below the home folder"),
            "sheet": column(pl.String, "the worksheet; empty for a CSV file"),
            "row_no": column(pl.Int64, "the row, 1 below the header; 0: the file as a whole", at_least(0)),
            "column_name": column(pl.String, "the column that isn't right", nullable=True),
            "reason": column(pl.String, "what is wrong", one_of([*FINDINGS])),
            "expected": column(pl.String, "what was expected there"),
            "week": column(pl.Date, "the week of the list it speaks of", nullable=True),
            "customer_id": column(pl.String, "the customer of that list", nullable=True),
        },
        strict=True,
    ),
    key=("source_file", "sheet", "row_no", "reason", "customer_id"),
    weekly=False,
)

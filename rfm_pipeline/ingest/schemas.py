"""The contract of what leaves the ingest stage: ``raw_orders``, its side tables, ``order_lines`` and
``order_contacts``.
"""

import pandera.polars as pa
import polars as pl

from rfm_pipeline.warehouse.columns import MONEY, QUANTITY, TIME, at_least, column, one_of
from rfm_pipeline.warehouse.schema import Table

_LINE_COLUMNS = {
    "order_id": column(pl.String, "the order, as the shop's system names it"),
    "line_no": column(
        pl.Int64, "the line's number; where the export has none, the row's, packed lines counted"
    ),
    "customer_id": column(pl.String, "who bought; null for a guest", nullable=True),
    "ordered_at": column(TIME, "when the line was ordered, shop-local"),
    "line_type": column(pl.String, "sale or return", one_of(["sale", "return"])),
    "sku": column(pl.String, "the article", nullable=True),
    "product_name": column(pl.String, "what the article is called", nullable=True),
    "quantity": column(QUANTITY, "pieces; negative on returns in most exports"),
    "unit_price": column(MONEY, "price of one piece as sold", at_least(0)),
    "list_price": column(MONEY, "price of one piece before any reduction", at_least(0), nullable=True),
    "amount": column(MONEY, "money paid, or given back on a return; never negative", at_least(0)),
    "refunded_amount": column(MONEY, "linked refund of this line", at_least(0)),
    "refunded_at": column(TIME, "when the linked refund was paid, if known", nullable=True),
    "is_clearance": column(pl.Boolean, "whether the export calls it clearance", nullable=True),
}
_ORIGIN = {
    "batch_id": column(pl.Int64, "the load that brought the line; higher is later", at_least(1)),
    "row_no": column(pl.Int64, "row in its file, 1 is the first below the header", at_least(1)),
}

_RAW_COLUMNS = {
    **_LINE_COLUMNS,
    "ordered_at": column(
        TIME, "when the line was ordered, shop-local; null where only the order list tells", nullable=True
    ),
    "row_kind": column(pl.String, "whether the row is a line or a whole order", one_of(["line", "order"])),
    "is_reckoned": column(pl.Boolean, "whether amount is price times quantity, for want of what was paid"),
    "is_no_sale": column(pl.Boolean, "whether the line's money is no sale, such as a gift card's"),
    "order_amount": column(MONEY, "paid for the whole order", at_least(0), nullable=True),
    "order_refunded": column(MONEY, "refunded of the whole order", at_least(0), nullable=True),
    "kinds": column(pl.Int64, "how many titles product_name holds", nullable=True),
    "phone": column(pl.String, "the buyer's phone number; never a masked one", nullable=True),
    "email": column(pl.String, "the buyer's e-mail address", nullable=True),
    "name": column(pl.String, "the buyer's name as given", nullable=True),
    "accepts_marketing": column(pl.Boolean, "whether the buyer agreed to messages", nullable=True),
}

RAW_ORDERS = Table(
    name="raw_orders",
    schema=pa.DataFrameSchema({**_ORIGIN, **_RAW_COLUMNS}, strict=True),
    # a row may pack several lines
    key=("batch_id", "row_no", "line_no"),
    weekly=False,
)

ORDER_BATCHES = Table(
    name="order_batches",
    schema=pa.DataFrameSchema(
        {
            "batch_id": column(pl.Int64, "the load; higher is later", at_least(1)),
            "file_name": column(pl.String, "the export, below orders/"),
            "content_hash": column(pl.String, "SHA-256 of the file: an unchanged file is not read again"),
            "preset": column(pl.String, "how its columns were read"),
            "read_as": column(pl.String, "hash of preset, time zone and other settings it was read with"),
            "watermark": column(pl.String, "of a database: the newest change that was read", nullable=True),
            "rows_read": column(pl.Int64, "rows below the header", at_least(0)),
            "rows_accepted": column(pl.Int64, "rows kept as order lines", at_least(0)),
            "rows_unpaid": column(pl.Int64, "rows of orders never paid", at_least(0)),
            "rows_rejected": column(pl.Int64, "rows that can't be read", at_least(0)),
            "rows_identical": column(pl.Int64, "rows equal to another of the file; kept", at_least(0)),
            "rows_without_customer": column(pl.Int64, "accepted rows without a customer's key", at_least(0)),
            "rows_other_currency": column(
                pl.Int64, "rejected rows in another currency than the shop's", at_least(0)
            ),
            "currency": column(pl.String, "the currency that its accepted rows name", nullable=True),
            "amounts_made_gross": column(
                pl.Int64, "accepted rows whose amount was net of their refund; it is gross now", at_least(0)
            ),
            "unpaid_delivered_orders": column(
                pl.Int64, "orders that were delivered and never paid", at_least(0)
            ),
            "unpaid_delivered_amount": column(MONEY, "the money of those orders", at_least(0)),
            "unpaid_delivered_methods": column(
                pl.String, "how those orders were to be paid, the most orders first", nullable=True
            ),
            "keys_masked": column(pl.Int64, "accepted rows whose customer key is masked", at_least(0)),
            "keys_damaged": column(pl.Int64, "accepted rows whose customer key lost digits", at_least(0)),
            "keys_from_fallback": column(pl.Int64, "accepted rows known by another column", at_least(0)),
            "orders": column(pl.Int64, "different orders among the accepted rows", at_least(0)),
            "first_ordered_at": column(TIME, "earliest accepted row", nullable=True),
            "last_ordered_at": column(TIME, "latest accepted row", nullable=True),
            "newest_at": column(
                TIME,
                "the newest time inside (order, payment, refund, change), or the stamp of the file's name",
                nullable=True,
            ),
        },
        strict=True,
    ),
    key=("batch_id",),
    weekly=False,
)

UNPAID_ORDERS = Table(
    name="unpaid_orders",
    schema=pa.DataFrameSchema(
        {
            "batch_id": _ORIGIN["batch_id"],
            "order_id": column(pl.String, "an order that the batch holds as unpaid or cancelled"),
            "row_kind": column(pl.String, "whether by a line or a whole order", one_of(["line", "order"])),
        },
        strict=True,
    ),
    key=("batch_id", "order_id", "row_kind"),
    weekly=False,
)

SET_BACK_ORDERS = Table(
    name="set_back_orders",
    schema=pa.DataFrameSchema(
        {
            "order_id": column(
                pl.String, "an order of which the newest export says less than an earlier one"
            ),
            "batch_id": _ORIGIN["batch_id"],
            "file_name": column(pl.String, "the export, below orders/"),
            "change": column(pl.String, "what is gone", one_of(["refund taken back", "payment taken back"])),
            "refunded_before": column(
                MONEY, "refunded as an earlier export says", at_least(0), nullable=True
            ),
            "refunded_now": column(MONEY, "refunded as the newest export says", at_least(0)),
        },
        strict=True,
    ),
    key=("order_id", "batch_id", "change"),
    weekly=False,
)

ORDER_CONTACTS = Table(
    name="order_contacts",
    schema=pa.DataFrameSchema(
        {
            "customer_id": column(pl.String, "the customer"),
            **{name: _RAW_COLUMNS[name] for name in ("phone", "email", "name", "accepts_marketing")},
        },
        strict=True,
    ),
    key=("customer_id",),
    weekly=False,
)

REJECTED_ROWS = Table(
    name="rejected_rows",
    schema=pa.DataFrameSchema(
        {
            **_ORIGIN,
            "file_name": column(pl.String, "the export, below orders/"),
            "reason": column(pl.String, "what is wrong with the row"),
            "row_text": column(pl.String, "the row as it stood in the file"),
        },
        strict=True,
    ),
    key=("batch_id", "row_no"),
    weekly=False,
)

ORDER_LINES = Table(
    name="order_lines",
    schema=pa.DataFrameSchema(
        {
            **_LINE_COLUMNS,
            "order_at": column(TIME, "the order's time: the earliest of its lines"),
            "week": column(pl.Date, "the Monday of the order's week"),
            "refund_at": column(
                TIME, "when the linked refund counts: its own time, else the order's", nullable=True
            ),
            "refund_week": column(pl.Date, "the Monday of the refund's week", nullable=True),
            "is_product": column(pl.Boolean, "a sale of a real product, not postage or fees"),
            **_ORIGIN,
        },
        strict=True,
    ),
    # a row of an order list becomes a line a title
    key=("batch_id", "row_no", "line_no"),
    weekly=False,
)

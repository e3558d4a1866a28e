"""Shopify exports as texts, from a few fields a row."""

import csv
import io

HEADER = [
    "Name",
    "Email",
    "Financial Status",
    "Paid at",
    "Fulfillment Status",
    "Fulfilled at",
    "Accepts Marketing",
    "Currency",
    "Subtotal",
    "Shipping",
    "Taxes",
    "Total",
    "Discount Code",
    "Discount Amount",
    "Shipping Method",
    "Created at",
    "Lineitem quantity",
    "Lineitem name",
    "Lineitem price",
    "Lineitem compare at price",
    "Lineitem sku",
    "Lineitem requires shipping",
    "Lineitem taxable",
    "Lineitem fulfillment status",
    "Billing Name",
    "Billing Phone",
    "Notes",
    "Cancelled at",
    "Payment Method",
    "Refunded Amount",
    "Vendor",
    "Outstanding Balance",
    "Id",
    "Tags",
    "Source",
    "Lineitem discount",
    "Phone",
]
USUAL = {
    "Name": "#1",
    "Email": "a@example.com",
    "Financial Status": "paid",
    "Paid at": "2026-03-02 10:00:00 +0800",
    "Fulfillment Status": "fulfilled",
    "Currency": "USD",
    "Subtotal": "100.00",
    "Shipping": "0.00",
    "Taxes": "0.00",
    "Total": "100.00",
    "Created at": "2026-03-02 10:00:00 +0800",
    "Lineitem quantity": "1",
    "Lineitem name": "Mug",
    "Lineitem price": "100.00",
    "Lineitem sku": "MUG",
    "Payment Method": "Shopify Payments",
    "Refunded Amount": "0.00",
    "Source": "web",
    "Lineitem discount": "0.00",
}


def shopify_csv(*rows: dict[str, str], body_only: bool = False) -> str:
    """An export: every row holds the given fields, and usual ones where they are left out.

    A row that gives no ``Name`` is a further line of the order above: only its line's fields are filled.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADER, restval="", lineterminator="\r\n")
    if not body_only:
        writer.writeheader()
    name = ""
    for row in rows:
        line = {
            key: value for key, value in USUAL.items() if key.startswith("Lineitem") or key == "Created at"
        }
        name = row.get("Name", name)
        writer.writerow((USUAL if "Name" in row else line) | {"Name": name} | row)
    return text.getvalue()

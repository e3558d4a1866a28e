"""What the command says of a person's traces: counts and files, nothing of the person."""

from rfm_pipeline.privacy.forget import Traces
from rfm_pipeline.shop import Shop


def found(shop: Shop, traces: Traces) -> list[str]:
    """What would be taken out, a line each."""
    warehouse, contacts, outputs = traces.warehouse, traces.contacts, traces.outputs
    lines = [f"{_rows(n)} of {table} become a guest's" for table, n in warehouse.order_lines.items()]
    lines += [f"{_rows(n)} of {table} go" for table, n in warehouse.derived.items()]
    if warehouse.rejected:
        lines.append(f"{_rows(warehouse.rejected)} of rejected_rows lose their text")
    ledger = traces.ledger
    if ledger.assignments or ledger.tag_actions:
        lines.append(
            f"{_rows(ledger.assignments)} of recall lists and {_rows(ledger.tag_actions)} of tag changes in "
            "the ledger stay for the review's counts, without the customer"
        )
    files = {**contacts.rows, **outputs.rows}
    lines += [f"{_rows(n)} of {path.relative_to(shop.home)} go" for path, n in files.items()]
    lines += [f"{path.relative_to(shop.home)} goes; a run makes it again" for path in outputs.whole]
    return lines


def by_hand(shop: Shop, traces: Traces) -> list[str]:
    """What somebody must still do before the customer is forgotten everywhere, a line each."""
    contacts = traces.contacts
    lines = [
        f"{path.relative_to(shop.home)} holds {_rows(n)} of the customer: remove them by hand, a workbook is "
        "not rewritten"
        for path, n in contacts.in_workbooks.items()
    ]
    lines += [
        f"{path.relative_to(shop.home)} can't be read: look for the customer there by hand"
        for path in contacts.unreadable
    ]
    return lines


def closing(shop: Shop, traces: Traces) -> list[str]:
    """What to know afterwards, a line each."""
    lines = [
        f"{n} tag{'s' if n > 1 else ''} may still be set in the sink {sink!r}: take them off by hand"
        for sink, n in traces.ledger.tags_left.items()
    ]
    section = shop.warehouse
    if section.engine != "spark" and section.spark.tables:
        lines.append(
            f"{section.spark.tables} was not touched: if engine spark ever made tables there, delete them"
        )
    return [
        *lines,
        "orders/ is the shop's own and was not touched: the customer stays out when it is loaded again",
        "suppression/ was not touched: what stands there keeps the customer from being contacted",
    ]


def _rows(n: int) -> str:
    return f"{n} row" if n == 1 else f"{n} rows"

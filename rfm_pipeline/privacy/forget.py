"""The right to be forgotten: takes one person out of everything the program keeps.

The order of work makes it safe to kill and repeat: first the tombstone in the ledger, which keeps the person
out when their orders are loaded again, then outputs, warehouse, outcomes and contacts, each replaced in one
step. The contacts come last, for the person's phone and e-mail, by which other places are searched, stand
there.

Not touched: ``orders/``, which is the shop's own, and ``suppression/``, which keeps the person from being
contacted. ``person`` finds a person in a text, ``tables`` is the warehouse, ``files`` are contacts,
outcomes and outputs, ``summaries`` is what the command says.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from rfm_pipeline.contacts.phones import phone_region
from rfm_pipeline.errors import RfmError
from rfm_pipeline.ledger import Holdings, Ledger
from rfm_pipeline.privacy import files, tables
from rfm_pipeline.privacy.person import Person, person_of
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse


@dataclass(frozen=True)
class Traces:
    """Where one person is found.

    Attributes:
        ledger: What the ledger holds.
        warehouse: What the warehouse holds.
        contacts: What the files of contacts and outcomes hold.
        outputs: What the output files hold.
    """

    ledger: Holdings
    warehouse: tables.InWarehouse
    contacts: files.InContacts
    outputs: files.InOutputs

    @property
    def is_known(self) -> bool:
        """Whether warehouse, contacts or ledger know the customer, be it as one who is forgotten."""
        ledger = self.ledger.assignments or self.ledger.tag_actions or self.ledger.forgotten
        return bool(ledger or self.warehouse.is_known or self.contacts.rows or self.contacts.in_workbooks)


def find_traces(shop: Shop, warehouse: Warehouse, ledger: Ledger, customer_id: str) -> Traces:
    """Where a customer is found, without changing anything.

    Raises:
        WarehouseBusyError: If a run holds the warehouse.
    """
    with _kept_open(warehouse):
        return _find(shop, warehouse, ledger, customer_id)[0]


def forget(shop: Shop, warehouse: Warehouse, ledger: Ledger, customer_id: str) -> Traces:
    """Takes a customer out of ledger, outputs, warehouse and contacts, and keeps them out.

    Killed at any moment and called again, it ends where an undisturbed call ends.

    Args:
        shop: The settings.
        warehouse: The shop's warehouse; where there is none, there is nothing to take out.
        ledger: Gets the tombstone.
        customer_id: The customer, as the shop's system names them.

    Returns:
        What was found, and so taken out.

    Raises:
        RfmError: If nobody knows the customer; nothing is written then.
        WarehouseBusyError: If a run holds the warehouse; nothing is written then.
    """
    region = phone_region(shop.shop.timezone)
    with _kept_open(warehouse):
        traces, person = _find(shop, warehouse, ledger, customer_id)
        if not traces.is_known:
            raise RfmError(
                f"neither the warehouse nor contacts/ nor the ledger of {shop.home} knows this customer; "
                "nothing was changed. Check the spelling, or load the orders first with `rfm run`."
            )
        ledger.forget(customer_id)
        files.clear_outputs(shop, traces.outputs, person, region)
        if warehouse.path.exists():
            tables.rewrite_without(shop, warehouse, person)
        tables.remove_other_engines(shop, warehouse)
    files.clear_contacts(traces.contacts, person, region)
    return traces


def _kept_open(warehouse: Warehouse) -> AbstractContextManager[None]:
    # to look for a customer is not to make a warehouse
    return warehouse.kept_open() if warehouse.path.exists() else nullcontext()


def _find(shop: Shop, warehouse: Warehouse, ledger: Ledger, customer_id: str) -> tuple[Traces, Person]:
    region = phone_region(shop.shop.timezone)
    has_warehouse = warehouse.path.exists()
    addresses = files.addresses_in_contacts(shop, customer_id, region)
    if has_warehouse:
        addresses += tables.addresses_in_orders(warehouse, customer_id)
    person = person_of(customer_id, addresses, region)
    traces = Traces(
        ledger=ledger.holdings(customer_id),
        warehouse=tables.find(warehouse, person) if has_warehouse else tables.InWarehouse(),
        contacts=files.find_in_contacts(shop, person, region),
        outputs=files.find_in_outputs(shop, person, region),
    )
    return traces, person

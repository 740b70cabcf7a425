"""Final invoices of customers, read once: they never change, so what was read is kept."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import asyncpg

from metering.invoices.detail import from_detail
from metering.postgres.queries import queries
from rating.billed import Billed, Invoice

CUSTOMERS_MAX: Final = 20_000


class Finals(NamedTuple):
    """A customer's final invoices in their order, what they have billed, and what is due of them by currency.

    `billed` is shared: nobody adds to it. Invoices carry money in minor units, and so does `due`.
    """

    ids: tuple[str, ...] = ()
    invoices: tuple[Invoice, ...] = ()
    billed: Billed = Billed()
    due: Mapping[str, int] = {}


NONE: Final = Finals()


class FinalInvoices:
    """Reads final invoices of customers by the ids that another query gave."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Finals] = OrderedDict()

    async def load(self, connection: asyncpg.Connection, ids: Mapping[str, Sequence[str]]) -> dict[str, Finals]:
        """The final invoices with these ids, in their order, by customer."""
        found: dict[str, Finals] = {}
        missing: list[str] = []
        for customer, wanted in ids.items():
            known = self._known.get(customer, NONE)
            if known.ids == tuple(wanted):
                found[customer] = known
            else:
                have = set(known.ids)
                missing += [one for one in wanted if one not in have]
        if len(found) == len(ids):
            return found
        read = {
            row["id"]: from_detail(row["detail"]) for row in await connection.fetch(queries().final_details, missing)
        }
        for customer, wanted in ids.items():
            if customer not in found:
                known = self._known.get(customer, NONE)
                by_id = {**dict(zip(known.ids, known.invoices, strict=True)), **read}
                found[customer] = self._keep(customer, _finals(wanted, [by_id[one] for one in wanted]))
        return found

    def forget(self) -> None:
        """Remember nothing: all data was dropped."""
        self._known.clear()

    def _keep(self, customer: str, finals: Finals) -> Finals:
        self._known[customer] = finals
        self._known.move_to_end(customer)
        if len(self._known) > CUSTOMERS_MAX:
            self._known.popitem(last=False)
        return finals


def _finals(ids: Iterable[str], invoices: Sequence[Invoice]) -> Finals:
    due: dict[str, int] = {}
    for invoice in invoices:
        due[invoice.currency] = due.get(invoice.currency, 0) + invoice.due
    return Finals(tuple(ids), tuple(invoices), Billed(invoices), due)

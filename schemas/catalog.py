"""The catalog as code: meters, plans and customers of one document, all its faults at once (spec 3 to 6, 10)."""

from typing import Any, cast

import msgspec

import schemas.forms  # noqa: F401 - how documents write prices, charges and periods
from schemas import checks
from schemas.customer import Customer
from schemas.documents import Document
from schemas.faults import Fault
from schemas.meter import Meter
from schemas.plan import Plan
from schemas.reader import BAD, Reading, named, reader_of, unknown_field


class Catalog(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Meters, plans and customers by key; each section may be absent."""

    meters: dict[str, Meter] = {}
    plans: dict[str, Plan] = {}
    customers: dict[str, Customer] = {}


def read_catalog(document: Document, meters: dict[str, Meter] | None = None) -> Catalog:
    """The catalog of a document, whose charges may name `meters` too; `DocumentError` with all its faults."""
    reading = Reading(document, meters)
    return cast(Catalog, reading.result(_catalog(reading)))


def check_catalog(document: Document) -> list[Fault]:
    """All faults and warnings of a catalog, in the order in which they stand in the file; none: it can be used."""
    reading = Reading(document)
    _catalog(reading)
    return reading.sorted_faults()


def read_part(document: Document, wanted: Any, meters: dict[str, Meter] | None = None) -> Any:
    """A document that is one meter, plan, customer or act; a plan's charges may name `meters` (None: not checked).

    `DocumentError` with all its faults if it cannot be used.
    """
    reading = Reading(document, meters)
    return reading.result(reader_of(wanted)(document.tree, (), reading))


def read_sections(tree: dict[str, Any], reading: Reading) -> dict[str, Any]:
    """The sections `meters`, `plans` and `customers`; meters first, because charges name them."""
    sections: dict[str, Any] = {}
    for section, wanted in (("meters", Meter), ("plans", Plan), ("customers", Customer)):
        written = {} if tree.get(section) is None else tree[section]
        read, at = reader_of(wanted), (section,)
        if not isinstance(written, dict):
            sections[section] = reading.error(at, f"expected a map, got {named(written)}", "write {key: …}")
            continue
        checks.check_keys(written, at, reading)
        found = {key: read(part, (section, key), reading) for key, part in written.items()}
        sections[section] = BAD if any(part is BAD for part in found.values()) else found
        if section == "meters":
            reading.meters = {**(reading.meters or {}), **found}
        elif section == "plans":
            for key in written:
                checks.check_plan_key(key, (section, key), reading, of_key=True)
    return sections


def _catalog(reading: Reading) -> Any:
    tree = reading.document.tree
    if not isinstance(tree, dict):
        return reading.error((), f"expected a catalog, got {named(tree)}", "write {meters: …, plans: …, customers: …}")
    for key in tree:
        if key not in Catalog.__struct_fields__:
            unknown_field(key, Catalog.__struct_fields__, (), reading)
    sections = read_sections(tree, reading)
    return BAD if any(section is BAD for section in sections.values()) else Catalog(**sections)

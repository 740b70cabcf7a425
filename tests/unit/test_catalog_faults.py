"""Faults of catalogs: each is found, with its place and path, and all of a file at once."""

import textwrap

import pytest

from schemas.catalog import Catalog, check_catalog, read_catalog
from schemas.documents import Document, load_document
from schemas.faults import DocumentError

METERS = """
meters:
  tokens:
    {event_type: llm.call, aggregation: sum, value: data.n, dimensions: {model: data.model, region: data.region}}
"""


def load(text: str) -> Document:
    return load_document(textwrap.dedent(text), "catalog.yaml")


def found(text: str) -> list[str]:
    """The faults of a catalog as `path: message; fix`, without their places."""
    return [str(fault).split(": ", 1)[1] for fault in check_catalog(load(text))]


def plan(fields: str) -> str:
    return f"plans: {{p: {{currency: USD, period: month, charges: {{}}, {fields}}}}}"


def charge(fields: str) -> str:
    return f"{METERS}plans: {{p: {{currency: USD, period: month, charges: {{c: {{{fields}}}}}}}}}"


def price(fields: str) -> str:
    return charge(f"meter: tokens, price: {{{fields}}}")


C = "plans.p.charges.c"

FAULTS = {
    "unknown section": ("plan: {}", "plan: there is no field 'plan' here; did you mean 'plans'?"),
    "section that is no map": ("plans: [a]", "plans: expected a map, got a list; write {key: …}"),
    "unknown field": (plan("minimun: 1"), "plans.p.minimun: there is no field 'minimun' here; did you mean 'minimum'?"),
    "missing field": (
        "plans: {p: {currency: USD, charges: {}}}",
        "plans.p: the field 'period' is missing; write period: …",
    ),
    "unknown currency": (
        "plans: {p: {currency: USX, period: month, charges: {}}}",
        "plans.p.currency: 'USX' is no currency of ISO 4217; write a code such as USD",
    ),
    "currency in small letters": (
        "customers: {a: {currency: eur}}",
        "customers.a.currency: 'eur' is no currency of ISO 4217; write EUR",
    ),
    "unknown zone": (
        "customers: {a: {currency: EUR, timezone: Europe/Amsterdan}}",
        "customers.a.timezone: 'Europe/Amsterdan' is no time zone of the IANA database; did you mean 'Europe/Amster",
    ),
    "zone that is a folder": (
        "customers: {a: {currency: EUR, timezone: Europe}}",
        "customers.a.timezone: 'Europe' is no time zone",
    ),
    "tax beyond 100": (
        "customers: {a: {currency: EUR, taxes: [{name: VAT, rate: 121}]}}",
        "customers.a.taxes[0].rate: 121 is beyond 100; write 100 at the most",
    ),
    "unquoted text": (
        "customers: {a: {currency: 978}}",
        'customers.a.currency: expected text, got the number 978; write it in quotes: "978"',
    ),
    "truth value in quotes": (
        "customers: {a: {currency: EUR, consolidate: 'no'}}",
        "customers.a.consolidate: expected true or false, got the text 'no'; write true or false, without quotes",
    ),
    "key with a blank at its edge": ("customers: {'a ': {currency: EUR}}", "a key has no blanks at its edges"),
    "key with a control character": ('customers: {"a\\tb": {currency: EUR}}', "a key has no control characters"),
    "empty key": ("meters: {'': {event_type: a, aggregation: count}}", "a key has 1 to 255 characters"),
    "plan that reads as a version": (
        "plans: {p@2: {currency: USD, period: month, charges: {}}}",
        "plans['p@2']: 'p@2' reads as a version of a plan; choose a key without @",
    ),
    "no such period": (
        "plans: {p: {currency: USD, period: monthly, charges: {}}}",
        "plans.p.period: the text 'monthly' is not known here; did you mean 'month'?",
    ),
    "period of nothing": (
        "plans: {p: {currency: USD, period: {every: 0, unit: day}, charges: {}}}",
        "plans.p.period.every: 0 is below 1; write 1 or more",
    ),
    "multiple of quarters": (
        "plans: {p: {currency: USD, period: {every: 2, unit: quarter}, charges: {}}}",
        "plans.p.period.unit: quarter cannot be multiplied; count months: 3 each",
    ),
    "anchor day beyond 31": (plan("anchor_day: 32"), "plans.p.anchor_day: 32 is beyond 31; write 31 at the most"),
    "anchor day below 1": (plan("anchor_day: 0"), "plans.p.anchor_day: 0 is below 1; write 1 or more"),
    "anchor day of weeks": (
        "plans: {p: {currency: USD, period: week, anchor_day: 3, charges: {}}}",
        "plans.p.anchor_day: a period of weeks has no day of the month; remove it",
    ),
    "negative trial": (plan("trial_days: -1"), "plans.p.trial_days: -1 is below 0; write 0 or more"),
    "half a trial day": (plan("trial_days: 1.5"), "plans.p.trial_days: expected a whole number, got the number 1.5"),
    "negative plan minimum": (plan("minimum: -5"), "plans.p.minimum: -5 is below 0; write 0 or more"),
    "meter without value": (
        "meters: {m: {event_type: a, aggregation: sum}}",
        "meters.m: sum needs a value; write value: data.…",
    ),
    "count with value": (
        "meters: {m: {event_type: a, aggregation: count, value: data.n}}",
        "meters.m.value: count counts events and has no value; remove it",
    ),
    "levels without unit": (
        "meters: {m: {event_type: a, aggregation: time_weighted, value: data.n}}",
        "meters.m: time_weighted needs a unit of time; write unit: second | hour | day | period",
    ),
    "unit of a sum": (
        "meters: {m: {event_type: a, aggregation: sum, value: data.n, unit: day}}",
        "meters.m.unit: sum has no unit of time; remove it",
    ),
    "no such aggregation": (
        "meters: {m: {event_type: a, aggregation: average, value: data.n}}",
        "meters.m.aggregation: the text 'average' is not known here; known are count, ",
    ),
    "path with a hole": (
        "meters: {m: {event_type: a, aggregation: sum, value: data..n}}",
        "meters.m.value: 'data..n' is no dotted path; write it such as data.tokens",
    ),
    "filter that allows nothing": (
        "meters: {m: {event_type: a, aggregation: count, where: {data.x: []}}}",
        "meters.m.where['data.x']: the list allows no value, so nothing would ever pass",
    ),
    "filter that is no list": (
        "meters: {m: {event_type: a, aggregation: count, where: {data.x: yes}}}",
        "meters.m.where['data.x']: expected a list of values, got the text 'yes'",
    ),
    "neither fee nor usage": (charge("bill: advance"), f"{C}: neither 'recurring' nor 'meter' is given"),
    "fee and usage in one": (
        charge("recurring: 1, meter: tokens"),
        f"{C}: a charge is recurring or of a meter, not both",
    ),
    "usage without price": (charge("meter: tokens"), f"{C}: the field 'price' is missing"),
    "field of the other kind": (
        charge("recurring: 1, prorated: true"),
        f"{C}.prorated: there is no field 'prorated' here; did you mean 'prorate'?",
    ),
    "unknown meter": (
        charge("meter: token, price: 1"),
        f"{C}.meter: there is no meter 'token'; did you mean 'tokens'?",
    ),
    "unknown dimension in where": (
        charge("meter: tokens, price: 1, where: {modell: [a]}"),
        f"{C}.where.modell: the meter 'tokens' has no dimension 'modell'; did you mean 'model'?",
    ),
    "unknown dimension in by": (
        charge("meter: tokens, price: 1, by: [model, zone]"),
        f"{C}.by[1]: the meter 'tokens' has no dimension 'zone'; known are model, region",
    ),
    "dimension twice in by": (
        charge("meter: tokens, price: 1, by: [model, model]"),
        f"{C}.by[1]: 'model' is named twice",
    ),
    "unknown dimension of by_value": (
        price("by_value: {dimension: modle, cases: {a: 1}}"),
        f"{C}.price.by_value.dimension: the meter 'tokens' has no dimension 'modle'; did you mean 'model'?",
    ),
    "dimension in by and by_value": (
        charge("meter: tokens, by: [region, model], price: {by_value: {dimension: model, cases: {a: 1}}}"),
        f"{C}.by[1]: 'model' is the dimension of by_value too; leave it out of by",
    ),
    "by_value without prices": (
        price("by_value: {dimension: model, cases: {}}"),
        f"{C}.price.by_value.cases: no value has a price",
    ),
    "by_value beside a model": (
        price("model: per_unit, unit: 1, by_value: {dimension: model, cases: {a: 1}}"),
        f"{C}.price: by_value stands alone, not beside model, unit",
    ),
    "by_value inside by_value": (
        price("by_value: {dimension: model, cases: {a: {by_value: {dimension: region, cases: {b: 1}}}}}"),
        f"{C}.price.by_value.cases.a.by_value: by_value prices usage only, and not inside itself",
    ),
    "fee by value": (
        charge("recurring: {by_value: {dimension: model, cases: {a: 1}}}"),
        f"{C}.recurring.by_value: by_value prices usage only",
    ),
    "price without model": (price("unit: 1"), f"{C}.price: the field 'model' is missing; write model: per_unit | "),
    "no such model": (
        price("model: gradual"),
        f"{C}.price.model: the text 'gradual' is no price model; did you mean 'graduated'?",
    ),
    "price per nothing": (price("model: per_unit, unit: 1, per: 0"), f"{C}.price.per: 0 units are no divisor"),
    "price per less than nothing": (
        price("model: per_unit, unit: 1, per: -1"),
        f"{C}.price.per: -1 units are no divisor",
    ),
    "package of nothing": (price("model: package, size: 0, amount: 1"), f"{C}.price.size: 0 units are no divisor"),
    "negative included": (price("model: per_unit, unit: 1, included: -1"), f"{C}.price.included: -1 is below 0"),
    "too many places": (
        price('model: per_unit, unit: "0.0000000000001"'),
        f"{C}.price.unit: 0.0000000000001 has 13 decimal places",
    ),
    "out of range": (price("model: per_unit, unit: 1e18"), f"{C}.price.unit: 1e18 is out of range"),
    "text that is no number": (
        price("model: per_unit, unit: '1,50'"),
        f"{C}.price.unit: '1,50' is not a decimal number",
    ),
    "not finite": (price("model: per_unit, unit: .inf"), f"{C}.price.unit: '.inf' is not a decimal number"),
    "no tiers": (price("model: volume, tiers: []"), f"{C}.price.tiers: a table needs a tier"),
    "tier without bound": (
        price("model: graduated, tiers: [{unit: 1}]"),
        f"{C}.price.tiers[0]: the field 'up_to' is missing",
    ),
    "tiers out of order": (
        price("model: graduated, tiers: [{up_to: 10}, {up_to: 5}, {up_to: null}]"),
        f"{C}.price.tiers[1].up_to: 5 does not rise above 10 of the tier before it; bounds rise strictly",
    ),
    "tiers that stand still": (
        price("model: volume, tiers: [{up_to: 10}, {up_to: '10.0'}, {up_to: null}]"),
        f"{C}.price.tiers[1].up_to: 10 does not rise above 10 of the tier before it",
    ),
    "first bound below 0": (
        price("model: graduated, tiers: [{up_to: -1}, {up_to: null}]"),
        f"{C}.price.tiers[0].up_to: -1 is below 0",
    ),
    "no open last tier": (
        price("model: graduated, tiers: [{up_to: 10}]"),
        f"{C}.price.tiers[0].up_to: the last tier must be open; write up_to: null, or add a tier",
    ),
    "open tier before the last": (
        price("model: graduated, tiers: [{up_to: null}, {up_to: null}]"),
        f"{C}.price.tiers[0].up_to: only the last tier is open",
    ),
    "stairstep with a unit price": (
        price("model: stairstep, tiers: [{up_to: null, unit: 1}]"),
        f"{C}.price.tiers[0].unit: a stairstep has no price per unit",
    ),
    "negative minimum": (charge("meter: tokens, price: 1, minimum: -1"), f"{C}.minimum: -1 is below 0"),
    "negative maximum": (charge("meter: tokens, price: 1, maximum: -1"), f"{C}.maximum: -1 is below 0"),
    "minimum beyond maximum": (
        charge("meter: tokens, price: 1, minimum: 10, maximum: 9.99"),
        f"{C}.minimum: the minimum 10 is beyond the maximum 9.99",
    ),
}

WARNINGS = {
    "same usage twice": (
        charge("meter: tokens, price: 1, where: {model: [b, a]}").replace(
            "c: {", "b: {meter: tokens, price: 2, where: {model: [a, b]}}, c: {"
        ),
        f"{C}: bills the same usage as the charge 'b'",
    ),
    "path outside of data": (
        "meters: {m: {event_type: a, aggregation: sum, value: tokens}}",
        "meters.m.value: an event has no 'tokens' of its own; did you mean data.tokens?",
    ),
    "anchor day of the calendar": (
        plan("align: calendar, anchor_day: 5"),
        "plans.p.anchor_day: align: calendar begins",
    ),
}


@pytest.mark.parametrize(("text", "expected"), FAULTS.values(), ids=FAULTS.keys())
def test_fault_is_found_with_its_path_and_way_out(text: str, expected: str) -> None:
    faults = found(text)
    assert len(faults) == 1, faults
    assert expected in faults[0]
    with pytest.raises(DocumentError) as refused:
        read_catalog(load(text))
    assert [fault.severity for fault in refused.value.faults] == ["error"]


@pytest.mark.parametrize(("text", "expected"), WARNINGS.values(), ids=WARNINGS.keys())
def test_doubtful_catalog_is_read_with_a_warning(text: str, expected: str) -> None:
    assert [fault.startswith(f"warning: {expected}") for fault in found(text)] == [True], found(text)
    assert isinstance(read_catalog(load(text)), Catalog)


MANY = """\
meters:
  tokens: {event_type: llm.call, aggregation: sum}
  calls: {event_type: llm.call, aggregation: count, dimensions: {model: data.model}}
plans:
  pro:
    currency: USX
    period: month
    charges:
      base: {recuring: "9.00"}
      llm:
        meter: calls
        by: [modle]
        price:
          model: graduated
          tiers:
            - {up_to: "100", unit: "0,02"}
            - {up_to: "50", unit: 0.1}
      gpu: {meter: tokens, price: {model: per_unit, unit: "1", per: 0}, minimun: "1"}
  pro: {}
customers:
  acme: {currency: USD, timezone: Mars/Base}
"""

MANY_FAULTS = """\
catalog.yaml:2:11: meters.tokens: sum needs a value; write value: data.… (the path of what it takes)
catalog.yaml:6:15: plans.pro.currency: 'USX' is no currency of ISO 4217; write a code such as USD, EUR or JPY
catalog.yaml:9:13: plans.pro.charges.base: neither 'recurring' nor 'meter' is given; 'recuring': did you mean 'recurring'?
catalog.yaml:12:14: plans.pro.charges.llm.by[0]: the meter 'calls' has no dimension 'modle'; did you mean 'model'?
catalog.yaml:16:36: plans.pro.charges.llm.price.tiers[0].unit: '0,02' is not a decimal number such as 12.5; write a plain decimal: at most 18 digits before the point, 12 after it
catalog.yaml:17:23: plans.pro.charges.llm.price.tiers[1].up_to: the last tier must be open; write up_to: null, or add a tier {up_to: null, …}
catalog.yaml:17:23: plans.pro.charges.llm.price.tiers[1].up_to: 50 does not rise above 100 of the tier before it; bounds rise strictly
catalog.yaml:18:69: plans.pro.charges.gpu.price.per: 0 units are no divisor; write a number above 0
catalog.yaml:18:73: plans.pro.charges.gpu.minimun: there is no field 'minimun' here; did you mean 'minimum'?
catalog.yaml:19:3: plans.pro: this key is given twice; remove one, or give it another name
catalog.yaml:21:35: customers.acme.timezone: 'Mars/Base' is no time zone of the IANA database; write a name such as Europe/Amsterdam\
"""  # noqa: E501


def test_all_faults_of_a_file_are_reported_at_once_in_its_order() -> None:
    text = "\n".join(map(str, check_catalog(load(MANY))))
    assert text.startswith(MANY_FAULTS), text
    assert text.count("\n") == 10


def test_numbers_may_be_text_or_literals_and_keep_every_digit() -> None:
    catalog = read_catalog(
        load(price("model: graduated, tiers: [{up_to: 0.1, unit: '0.000000000001'}, {up_to: null, unit: 1e-2}]"))
    )
    assert catalog == read_catalog(
        load(price("model: graduated, tiers: [{up_to: '0.10', unit: 1.0e-12}, {up_to: null, unit: .01}]"))
    )


def test_values_of_filters_are_compared_as_text() -> None:
    meter = read_catalog(
        load("meters: {m: {event_type: a, aggregation: count, where: {data.x: [0, 1.50, true, null, '1.0']}}}")
    ).meters["m"]
    assert meter.where == {"data.x": ("0", "1.5", "true", "", "1.0")}


def test_document_that_is_no_map_is_refused() -> None:
    assert found("[1]") == ["expected a catalog, got a list; write {meters: …, plans: …, customers: …}"]
    assert found("") == ["expected a catalog, got nothing (null); write {meters: …, plans: …, customers: …}"]

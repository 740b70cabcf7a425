"""Random scenarios: the same for the same seed, and what must hold for every one of them."""

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from oracle import document, generate, scenario

SEEDS = range(60)
KINDS = {"usage", "recurring", "proration", "one_off", "minimum", "maximum", "discount", "tax", "adjustment"}


def test_generator_same_seed_gives_the_same_scenario() -> None:
    assert document.dumps(generate.scenario(7)) == document.dumps(generate.scenario(7))
    assert generate.scenario(7) != generate.scenario(8)


def test_generator_document_survives_being_written_and_read() -> None:
    assert document.loads(document.dumps(generate.scenario(3))) == generate.scenario(3)


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return [scenario.run(generate.scenario(seed)) for seed in SEEDS]


def test_generator_reaches_every_kind_of_line_and_refusal(results: list[dict[str, Any]]) -> None:
    kinds = Counter(line["kind"] for r in results for i in r["invoices"] for line in i["lines"])
    assert set(kinds) == KINDS
    assert {"usage_billed_twice", "unknown_event"} <= {entry["code"] for r in results for entry in r["refused"]}


def test_invoice_totals_are_the_sums_of_their_lines(results: list[dict[str, Any]]) -> None:
    for invoice in (invoice for r in results for invoice in r["invoices"]):
        lines = [(line["kind"] == "tax", Decimal(line["amount"])) for line in invoice["lines"]]
        assert lines
        assert Decimal(invoice["subtotal"]) == sum(amount for tax, amount in lines if not tax)
        assert Decimal(invoice["tax"]) == sum(amount for tax, amount in lines if tax)
        total = Decimal(invoice["subtotal"]) + Decimal(invoice["tax"])
        assert Decimal(invoice["total"]) == total
        assert Decimal(invoice["due"]) == max(total - Decimal(invoice["credits"]), 0)


def test_final_invoices_have_numbers_without_gaps(results: list[dict[str, Any]]) -> None:
    for result in results:
        numbers = [invoice["number"] for invoice in result["invoices"] if invoice["status"] == "final"]
        assert numbers == list(range(1, len(numbers) + 1))
        assert all(i["number"] is None for i in result["invoices"] if i["status"] == "draft")

"""Whole scenarios equal the oracle: every invoice, line, balance and count, over random scenarios."""

import json
import re
from fractions import Fraction
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import generate
from oracle import scenario as oracle
from oracle.document import dumps

from metering.cli.simulate import explanations
from rating.money import minor_of
from rating.simulate import Played, play
from schemas.codec import to_json
from schemas.documents import load_document
from schemas.scenario import read_scenario

SEEDS = st.integers(0, 10**9)
# Shown for people, and put otherwise by the oracle: a price and its bound in one number each; the period of discounts
# and taxes, which the rules give none; until when a segment lasts that changes at this very instant.
ONLY_SHOWN = {"price", "next_bound"}
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?")


def played(seed: int) -> Played:
    return play(read_scenario(load_document(dumps(generate.scenario(seed)), f"scenario {seed}.json")))


def core(seed: int) -> Any:
    return json.loads(to_json(played(seed).result))


def evaluated(text: str) -> Fraction:
    """What stands before the last `=` of an explanation, computed from the text itself."""
    formula = text.rpartition(" = ")[0].rsplit("; ", 1)[-1].rsplit(": ", 1)[-1]
    formula = re.sub(r"[a-z]+", "", formula.replace(" x ", " * ").replace("min(", "MIN("))
    formula = NUMBER.sub(lambda number: f"F('{number[0].replace(',', '')}')", formula).replace("MIN", "min")
    return Fraction(eval(formula.strip() or "0", {"F": Fraction, "min": min}))  # noqa: S307


def comparable(result: Any) -> Any:
    """The result without what is only shown, in one form for both."""
    for invoice in result["invoices"]:
        for line in invoice["lines"]:
            if line["kind"] in ("discount", "tax"):
                line.pop("period")
            line.setdefault("note", None)
            line.setdefault("unpriced", False)
    for balance in result["balances"].values():
        balance["other"] = balance.pop("other", None) or balance.pop("others", [])
        for part in (balance, *balance["other"]):
            for charge in part["charges"]:
                charge["period"].pop("end")
                for name in ONLY_SHOWN & set(charge):
                    charge.pop(name)
        balance.pop("as_of", None)
        balance.pop("others", None)
    return result


@given(SEEDS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_scenario_equals_the_oracle(seed: int) -> None:
    document = generate.scenario(seed)
    expected = comparable(json.loads(dumps(oracle.run(document))))
    assert comparable(core(seed)) == expected


@given(SEEDS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_explanation_of_every_line_evaluates_to_its_amount(seed: int) -> None:
    found = played(seed)
    for (bill, _), texts in zip(found.bills, explanations(found), strict=True):
        for line, text in zip(bill.invoice.lines, texts, strict=True):
            assert minor_of(evaluated(text), bill.invoice.currency) == line.amount, text


@given(SEEDS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_invoice_is_the_sum_of_its_lines_and_credits_are_not_overspent(seed: int) -> None:
    found = played(seed)
    for statement in found.statements:
        spent: dict[str, int] = {}
        for bill in statement.bills:
            invoice = bill.invoice
            assert invoice.total == sum(line.amount for line in invoice.lines)
            assert sum(line.discount for line in invoice.lines) == sum(
                line.amount for line in invoice.lines if line.head.kind == "discount"
            )
            assert 0 <= invoice.credits <= max(invoice.total, 0)
            for grant, amount in invoice.grants:
                spent[grant] = spent.get(grant, 0) + amount
        for given_ in statement.account.grants:
            whole = Fraction(given_.grant.amount)
            currency = given_.grant.currency or statement.account.customer.currency
            assert spent.get(given_.key, 0) <= minor_of(whole, currency) + 1

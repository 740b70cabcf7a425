"""The examples of the reference pages are read by the readers that they describe, and every field has its line."""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from schemas.act import Cancel, Change, Coupon, Grant, OneOff, Subscribe
from schemas.catalog import check_catalog
from schemas.customer import Customer, Tax
from schemas.documents import load_document
from schemas.forms import MODELS
from schemas.meter import Aggregation, Meter
from schemas.plan import Plan, RecurringCharge, UsageCharge
from schemas.price import ByValue, Tier
from schemas.scenario import Settings, Void, check_scenario

ROOT = Path(__file__).parents[2]
CATALOG = (ROOT / "docs" / "reference" / "catalog.md").read_text(encoding="utf-8")
SCENARIO = (ROOT / "docs" / "reference" / "scenario.md").read_text(encoding="utf-8")


def examples(page: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize("text", examples(CATALOG), ids=["whole", "by value"])
def test_example_of_a_catalog_has_no_faults(text: str) -> None:
    assert check_catalog(load_document(text, "catalog.yaml")) == []


def test_example_of_a_scenario_has_no_faults() -> None:
    (text,) = examples(SCENARIO)
    assert check_scenario(load_document(text, "scenario.yaml")) == []


def test_sample_catalog_has_no_faults() -> None:
    path = ROOT / "metering" / "catalog" / "sample.yaml"
    assert check_catalog(load_document(path.read_text(encoding="utf-8"), path.name)) == []


@pytest.mark.parametrize(
    ("page", "structs"),
    [
        pytest.param(
            CATALOG,
            [Meter, Plan, RecurringCharge, UsageCharge, ByValue, Tier, Customer, Tax, *MODELS.values()],
            id="catalog",
        ),
        pytest.param(SCENARIO, [Subscribe, Change, Cancel, Grant, Coupon, OneOff, Void, Settings], id="scenario"),
    ],
)
def test_page_names_every_field(page: str, structs: list[type[msgspec.Struct]]) -> None:
    for struct in structs:
        for field in struct.__struct_fields__:
            assert re.search(rf"\b{field}\b", page), f"{struct.__name__}.{field}"


def test_page_names_every_model_and_aggregation() -> None:
    for name in (*MODELS, *get_args(Aggregation)):
        assert f"`{name}`" in CATALOG

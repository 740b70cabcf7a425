"""`metering simulate`: what scenario files come to, without any server."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from metering.cli.say import say
from metering.cli.simulate_view import show
from metering.errors import ConfigurationError
from rating.billed import Billed
from rating.explain_lines import explain_invoice
from rating.simulate import Played, play
from schemas.codec import to_tree
from schemas.compare import differences
from schemas.documents import load_document
from schemas.faults import DocumentError
from schemas.scenario import Scenario, read_scenario

DIFFERS = 1
WRONG_FILE = 2
SUFFIXES = (".yaml", ".yml", ".json")


def simulate(
    paths: Annotated[Sequence[Path], Parameter(help="scenario files, or folders of them")],
    /,
    *,
    json_: Annotated[bool, Parameter("--json", help="print the results as JSON, several as JSON Lines")] = False,
    check: Annotated[bool, Parameter(help="compare each result with what its file expects", negative="")] = False,
    explain: Annotated[bool, Parameter(help="show how each line of an invoice came about", negative="")] = False,
) -> int:
    """Compute scenario files: invoices, balances, how events and acts ended.

    The status is 0 if all is well, 1 if a result is not as expected (--check), 2 if a file is wrong.
    """
    files = list(_files(paths))
    several = len(files) > 1 or any(path.is_dir() for path in paths)
    held = wrong = 0
    for file in files:
        scenario = _read(file)
        if scenario is None:
            wrong += 1
            continue
        played = play(scenario)
        if check:
            held += _checked(file, scenario, played, quiet=json_)
        if json_:
            tree = result_tree(played, explain=explain)
            say(json.dumps({"file": str(file), "result": tree} if several else tree, ensure_ascii=False))
        elif not check:
            show(scenario, played, explanations(played) if explain else None)
    if check and not json_:
        say(f"{held} of {len(files)} scenarios hold")
    if wrong:
        return WRONG_FILE
    return DIFFERS if check and held < len(files) else 0


def result_tree(played: Played, *, explain: bool) -> Any:
    """The result of spec 10 as a plain tree; with `explain` each line says how it came about."""
    tree = to_tree(played.result)
    if explain:
        for invoice, texts in zip(tree["invoices"], explanations(played), strict=True):
            for line, text in zip(invoice["lines"], texts, strict=True):
                line["explain"] = text
    return tree


def explanations(played: Played) -> list[list[str]]:
    """The arithmetic of every line of every invoice, in the order of the result."""
    found: dict[str, list[str]] = {}
    for statement in played.statements:
        billed = Billed()
        for bill in statement.bills:
            found[bill.invoice.key] = explain_invoice(statement.account, bill.invoice, billed)
            billed.add(bill.invoice)
    return [found[bill.invoice.key] for bill, _ in played.bills]


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """The files that are named, and those below the folders that are named, by name."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
        if not found:
            raise ConfigurationError(f"{path} holds no scenario: no file that ends in {', '.join(SUFFIXES)}")
        yield from found


def _read(file: Path) -> Scenario | None:
    """The scenario of a file; None after its faults were said."""
    try:
        return read_scenario(load_document(file.read_text(encoding="utf-8"), str(file)))
    except DocumentError as error:
        sys.stderr.write(f"{error}\n")
    except OSError as error:
        sys.stderr.write(f"{file} cannot be read: {error.strerror}; name a scenario file or a folder of them\n")
    except UnicodeDecodeError as error:
        sys.stderr.write(f"{file}: byte {error.start} is no UTF-8; save the file as UTF-8\n")
    return None


def _checked(file: Path, scenario: Scenario, played: Played, *, quiet: bool) -> bool:
    """Whether a result is as expected; says what is not (on stderr where stdout is for results)."""
    found = differences(scenario.expect or {}, to_tree(played.result))
    for difference in found:
        text = f"{file}: {difference}"
        if quiet:
            sys.stderr.write(f"{text}\n")
        else:
            say(text)
    return not found

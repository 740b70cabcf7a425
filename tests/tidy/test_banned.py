"""Banned -> use instead. A habit that once cost somebody usage or money is a test here, not a remark in a review."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# call -> (what to use instead, where it is allowed all the same)
CALLS: dict[str, tuple[str, tuple[str, ...]]] = {
    "datetime.now": ("clock.now()", ("metering/clock.py",)),
    "datetime.utcnow": ("clock.now()", ("metering/clock.py",)),
    "datetime.today": ("clock.now()", ()),
    "date.today": ("clock.now()", ()),
    "time.time": ("clock.now()", ("metering/clock.py",)),
    "time.time_ns": ("clock.now()", ("metering/clock.py",)),
    "asyncio.sleep": ("clock.sleep()", ("metering/clock.py",)),
    "time.sleep": ("clock.sleep(); a thread that starts a server may", ("metering/embedded/", "metering/testing/")),
    "asyncio.wait_for": ("asyncio.timeout(): before 3.12 wait_for may lose a result at the deadline", ()),
    "asyncio.create_subprocess_exec": ("subprocess in a thread, output to a file: no pipes beside uvloop", ()),
    "asyncio.create_subprocess_shell": ("subprocess in a thread, output to a file: no pipes beside uvloop", ()),
    "asyncio.get_event_loop": ("asyncio.get_running_loop()", ()),
    "request.json": ("the bytes and schemas.documents or schemas.codec: numbers keep their literal", ()),
    "random.random": ("a random.Random(seed) that the caller passes in", ()),
}  # fmt: skip
TEXTS: dict[str, tuple[str, str]] = {
    "unfinished": (r"\b(?:FIX[M]E|TO[D]O|HAC[K])\b", "do it, or open an issue"),
    "machine path": (r"(?:^|[^\w.\-])/(?:wor[k]|far[m]|roo[t]|hom[e]|User[s])/", "a path relative to the project"),
    "conflict": (r"^(?:<{7}|>{7}) ", "resolve the conflict"),
}
SHORT_SLEEP_S = 0.2


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def texts() -> Iterator[Path]:
    """Every text file of the project that a person wrote."""
    endings = {".py", ".md", ".sql", ".yaml", ".yml", ".toml", ".html", ".json", ".cfg", ".xml", ""}
    tops = [path for path in ROOT.iterdir() if not path.name.startswith(".") or path.name in {".github", ".ci"}]
    for top in tops:
        files = [top] if top.is_file() else [path for path in top.rglob("*") if path.is_file()]
        skipped = {"__pycache__", "results", "data", "build", "dist"}
        yield from (path for path in files if path.suffix in endings and not skipped & set(path.parts))


def calls(tree: ast.AST) -> Iterator[tuple[int, str, ast.Call]]:
    """Calls as dotted text of their last two names: `datetime.datetime.now()` is `datetime.now`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
            yield node.lineno, f"{name}.{node.func.attr}", node


def banned_calls(source: str, name: str) -> list[str]:
    found = []
    for line, call, _ in calls(ast.parse(source)):
        if call in CALLS:
            instead, allowed = CALLS[call]
            if not name.startswith(allowed or ("\0",)):
                found.append(f"{name}:{line} {call}: use {instead}")
    return found


def test_product_has_no_banned_call() -> None:
    found = [
        wrong
        for path in sources("schemas", "rating", "metering")
        for wrong in banned_calls(path.read_text(), path.relative_to(ROOT).as_posix())
    ]
    assert not found, "\n".join(found)


def test_tests_do_not_sleep_fixed_times() -> None:
    found = []
    for path in sources("tests"):
        for line, call, node in calls(ast.parse(path.read_text())):
            first = node.args[0] if node.args else None
            value = first.value if isinstance(first, ast.Constant) else 0
            if call in {"asyncio.sleep", "time.sleep"} and isinstance(value, int | float) and value > SHORT_SLEEP_S:
                found.append(f"{path.relative_to(ROOT)}:{line} sleeps {value} s: poll with a deadline")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("kind", sorted(TEXTS))
def test_no_file_holds_banned_text(kind: str) -> None:
    pattern, instead = TEXTS[kind]
    compiled = re.compile(pattern)
    found = [
        f"{path.relative_to(ROOT)}:{number} {kind}: {line.strip()[:80]!r}; write {instead}"
        for path in texts()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if compiled.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("call", sorted(CALLS))
def test_banned_call_is_found(call: str) -> None:
    assert banned_calls(f"await {call}(1)", "metering/x.py"), f"the check does not see {call}"


def test_clock_module_may_ask_for_the_time() -> None:
    assert not banned_calls("time.time_ns()", "metering/clock.py")

"""The arrow of the packages: schemas <- rating <- metering, and what the calculations may not touch."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {
    "schemas": {"schemas"},
    "rating": {"schemas", "rating"},
    "metering": {"schemas", "rating", "metering"},
}
PACKAGES = set(MAY_IMPORT)
# The calculations know neither the time, nor the world, nor chance; of other people's packages only these two.
IMPURE_MODULES = frozenset(
    {
        "asyncio",
        "concurrent",
        "ftplib",
        "getpass",
        "http",
        "io",
        "locale",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "platform",
        "queue",
        "random",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "timeit",
        "urllib",
        "uuid",
        "warnings",
    }
)
FOREIGN_ALLOWED = {"numpy", "msgspec"}
IMPURE_CALLS = {"open", "input", "print", "float", "round", "exec", "eval", "breakpoint"}
IMPURE_ATTRIBUTES = {"now", "utcnow", "today"}
FLOAT_NAMES = {"float16", "float32", "float64", "double", "longdouble", "float_", "half", "random", "round", "around"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write the whole name"
            yield node.lineno, node.module or ""


def impurities(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """What a calculation may not contain: places and reasons."""
    for node in ast.walk(tree):
        match node:
            case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                yield node.lineno, "async: the caller waits, calculations do not"
            case ast.Constant(value=float()) | ast.Constant(value=complex()):
                yield node.lineno, f"binary float {node.value!r}: use integers, Fraction or rating.fixed"
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                yield node.lineno, f"{name}(): no floats, no foreign rounding, no world in the calculations"
            case ast.Attribute(attr=name, value=ast.Name(id="datetime" | "date")) if name in IMPURE_ATTRIBUTES:
                yield node.lineno, f"{name}: the instant is an argument"
            case ast.Attribute(attr=name, value=ast.Name(id="np" | "numpy")) if name in FLOAT_NAMES:
                yield node.lineno, f"np.{name}: int64 or Python integers only"
            case ast.keyword(arg="dtype", value=ast.Name(id="float")):
                yield node.value.lineno, "dtype=float: int64 or object only"
    for line, name in imported(tree):
        if name.split(".")[0] in IMPURE_MODULES:
            yield line, f"import {name}: no I/O, clock, logging, randomness or threads here"


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_package_imports_only_along_the_arrow(package: str) -> None:
    found = modules(package)
    assert found, f"{package}/ holds no modules"
    wrong = [
        f"{relative(path)}:{line} imports {name}"
        for path in found
        for line, name in imported(ast.parse(path.read_text()))
        if name.split(".")[0] in PACKAGES - MAY_IMPORT[package]
    ]
    assert not wrong, "\n".join(wrong)


def test_product_does_not_import_what_is_for_tests() -> None:
    wrong = [
        f"{relative(path)}:{line} imports {name}"
        for path in modules("metering")
        if "testing" not in path.parts
        for line, name in imported(ast.parse(path.read_text()))
        if name.startswith("metering.testing")
    ]
    assert not wrong, "\n".join(wrong)


def test_rating_is_calculation_only() -> None:
    wrong = [
        f"{relative(path)}:{line} {reason}"
        for path in modules("rating")
        for line, reason in impurities(ast.parse(path.read_text()))
    ]
    assert not wrong, "\n".join(wrong)


def test_rating_imports_of_others_only_numpy_and_msgspec() -> None:
    known = PACKAGES | FOREIGN_ALLOWED | set(sys.stdlib_module_names)
    wrong = [
        f"{relative(path)}:{line} imports {name}"
        for path in modules("rating")
        for line, name in imported(ast.parse(path.read_text()))
        if name.split(".")[0] not in known
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "source",
    ["import time", "from os import path", "async def f(): ...", "x = 0.5", "x = float('1')", "x = round(1)",
     "d = datetime.now()", "a = np.float64(1)", "a = np.zeros(3, dtype=float)", "open('f')"],
    ids=["clock", "world", "async", "literal", "float", "round", "now", "numpy-float", "dtype", "file"],
)  # fmt: skip
def test_impure_line_is_found(source: str) -> None:
    assert list(impurities(ast.parse(source))), f"the check does not see {source!r}"

"""Files and functions that one can hold in one's head."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE_LINES_MAX = 450
FUNCTION_LINES_MAX = 70
LINE_MAX = 120


def sources() -> list[Path]:
    folders = ("schemas", "rating", "metering", "tests", "benchmarks")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def long_functions(source: str, name: str) -> list[str]:
    """Functions longer than allowed; the docstring does not count, it is to be read."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        described = ast.get_docstring(node) is not None
        first = node.body[1] if described and len(node.body) > 1 else node.body[0]
        head = node.body[0].lineno - node.lineno
        lines = head + (node.end_lineno or node.lineno) - first.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            found.append(f"{name}:{node.lineno} {node.name} has {lines} lines, at most {FUNCTION_LINES_MAX}")
    return found


def test_files_are_short() -> None:
    counts = {path: len(path.read_text().splitlines()) for path in sources()}
    assert counts
    long = [
        f"{path.relative_to(ROOT)} has {n} lines, at most {FILE_LINES_MAX}"
        for path, n in counts.items()
        if n > FILE_LINES_MAX
    ]
    assert not long, "\n".join(long)


def test_functions_are_short() -> None:
    found = [wrong for path in sources() for wrong in long_functions(path.read_text(), str(path.relative_to(ROOT)))]
    assert not found, "\n".join(found)


def test_long_function_is_found() -> None:
    body = "\n".join("    x = 1" for _ in range(FUNCTION_LINES_MAX + 1))
    assert long_functions(f"def f():\n{body}\n", "x.py")
    assert not long_functions("def f():\n    x = 1\n", "x.py")


def test_sql_and_docs_lines_fit_a_screen() -> None:
    wide = [
        f"{path.relative_to(ROOT)}:{number} {len(line)} characters"
        for path in sorted((ROOT / "schemas" / "sql").rglob("*.sql"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > LINE_MAX + 20
    ]
    assert not wide, "\n".join(wide)

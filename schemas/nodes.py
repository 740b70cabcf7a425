"""YAML and JSON text to nodes with positions: one form for both, scalars still as they were written.

YAML is read by libyaml, tags by the 1.2 core schema (`no`, `on`, `12:30` and `1_000` are text); JSON by a scanner of
our own, because YAML's reader refuses some JSON (escaped surrogate pairs, tabs) and accepts much that is none.
"""

import re
from bisect import bisect_right
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]
from typing import Any, Final

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode
from yaml._yaml import CParser
from yaml.error import Mark

from schemas.faults import DocumentError, Fault, Place

DEPTH_MAX: Final = 100
"""How deep maps and lists may be nested."""

_NULL: Final = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL: Final = frozenset(("true", "True", "TRUE", "false", "False", "FALSE"))
_YAML_NUMBER: Final = re.compile(
    r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
    r"|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    re.ASCII,
)
_JSON_SPACE: Final = re.compile(r"[ \t\r\n]*")
_JSON_SCALAR: Final = re.compile(r"(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)|true|false|null", re.ASCII)


def yaml_nodes(text: str, name: str) -> Node | None:
    """The root node of a YAML document, None if it is empty. `DocumentError`: not YAML, or more than one document."""
    try:
        root: Node | None = _CoreSchema(text).get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise _syntax(name, "YAML", problem, mark and Place(mark.line + 1, mark.column + 1)) from None
    except (UnicodeEncodeError, RecursionError):
        raise _syntax(name, "YAML", "it holds half a surrogate pair or is nested too deep", None) from None
    return root


def json_nodes(text: str, name: str) -> Node:
    """The root node of a JSON document (RFC 8259; NaN and Infinity are none). `DocumentError`: not JSON."""
    scanner = _JsonScanner(text)
    try:
        return scanner.document()
    except JSONDecodeError as error:
        raise _syntax(name, "JSON", error.msg, Place(error.lineno, error.colno)) from None


def _syntax(name: str, form: str, problem: str, place: Place | None) -> DocumentError:
    fix = f"write one {form} document in UTF-8"
    return DocumentError(
        [Fault(severity="error", file=name, place=place, path="", message=f"not {form}: {problem}", fix=fix)]
    )


class _CoreSchema(CParser):
    """libyaml with the tags of YAML 1.2's core schema, called `null`, `bool`, `number`, `text`, `map`, `list`."""

    def __init__(self, stream: str) -> None:
        CParser.__init__(self, stream)

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        """Called by the parser; tags do not depend on where a node stands."""

    def ascend_resolver(self) -> None:
        """Called by the parser."""

    def resolve(self, kind: type[Node], value: str, implicit: Any) -> str:
        """The tag of a node that has none; only plain scalars are more than text."""
        if kind is not ScalarNode:
            return "map" if kind is MappingNode else "list"
        if not implicit[0]:
            return "text"
        if value in _NULL:
            return "null"
        if value in _BOOL:
            return "bool"
        return "number" if _YAML_NUMBER.fullmatch(value) else "text"


class _JsonScanner:
    """Recursive descent over JSON; strings are decoded by the standard library's scanner."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = [match.end() for match in re.finditer("\n", text)]

    def document(self) -> Node:
        node, at = self.value(self.skip(0), 0)
        if (at := self.skip(at)) != len(self.text):
            raise self.error("more text after the end", at)
        return node

    def value(self, at: int, depth: int) -> tuple[Node, int]:
        if depth > DEPTH_MAX:
            raise self.error(f"nested deeper than {DEPTH_MAX}", at)
        first = self.text[at : at + 1]
        if first == "{":
            return self.map(at, depth)
        if first == "[":
            return self.list(at, depth)
        if first == '"':
            text, end = scanstring(self.text, at + 1, True)
            return ScalarNode("text", text, self.mark(at)), end
        match = _JSON_SCALAR.match(self.text, at)
        if match is None:
            raise self.error("expected a value", at)
        word = match[0]
        tag = "number" if match[1] else "null" if word == "null" else "bool"
        return ScalarNode(tag, word, self.mark(at)), match.end()

    def map(self, at: int, depth: int) -> tuple[Node, int]:
        pairs: list[tuple[Node, Node]] = []
        start, at = at, self.skip(at + 1)
        while not (at < len(self.text) and self.text[at] == "}" and not pairs):
            if self.text[at : at + 1] != '"':
                raise self.error("expected a key in double quotes", at)
            key, end = self.value(at, depth)
            value, at = self.value(self.skip(self.expect(self.skip(end), ":")), depth + 1)
            pairs.append((key, value))
            at = self.skip(at)
            if self.text[at : at + 1] == "}":
                break
            at = self.skip(self.expect(at, ","))
        return MappingNode("map", pairs, self.mark(start)), at + 1

    def list(self, at: int, depth: int) -> tuple[Node, int]:
        items: list[Node] = []
        start, at = at, self.skip(at + 1)
        while not (at < len(self.text) and self.text[at] == "]" and not items):
            item, at = self.value(at, depth + 1)
            items.append(item)
            at = self.skip(at)
            if self.text[at : at + 1] == "]":
                break
            at = self.skip(self.expect(at, ","))
        return SequenceNode("list", items, self.mark(start)), at + 1

    def skip(self, at: int) -> int:
        match = _JSON_SPACE.match(self.text, at)
        return match.end() if match else at

    def expect(self, at: int, sign: str) -> int:
        if self.text[at : at + 1] != sign:
            raise self.error(f"expected {sign!r}", at)
        return at + 1

    def mark(self, at: int) -> Mark:
        line = bisect_right(self.lines, at)
        return Mark("", at, line, at - (self.lines[line - 1] if line else 0), None, 0)

    def error(self, problem: str, at: int) -> JSONDecodeError:
        return JSONDecodeError(problem, self.text, at)

"""Documents: YAML or JSON text to a tree of maps, lists and scalars; numbers stay as written (spec 1.1, 10)."""

import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from json import JSONDecoder
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from msgspec import UNSET
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from schemas.faults import DocumentError, Fault, Path, Place, path_text
from schemas.nodes import DEPTH_MAX, json_nodes, yaml_nodes

ALIASED_MAX: Final = 100_000
"""How many nodes the aliases of a document may add to what is written in it."""

NodeReader = Callable[[str, str], Node | None]
"""From text and a document's name to its root node."""

_LITERAL: Final = re.compile(r"([-+]?)0*([0-9]*)(?:\.([0-9]*))?([eE][-+]?[0-9]+)?", re.ASCII)


class Numeral(str):
    """A number as its document writes it, in JSON's spelling (`.5` is `0.5`); `.inf` and `.nan` keep theirs."""

    __slots__ = ()


class Document:
    """A tree and the places of its nodes.

    `tree`: dict (keys are text), list, `Numeral` (a number), str (text), bool or None. `faults`: keys given twice.
    """

    def __init__(self, text: str, name: str, read_nodes: NodeReader) -> None:
        self.name = name
        self.faults: list[Fault] = []
        self._nodes = cache(lambda: read_nodes(text, name))
        self._budget = len(text) + ALIASED_MAX
        self.tree: Any = UNSET
        if read_nodes is json_nodes:
            with suppress(ValueError, RecursionError):
                self.tree = _plain_json(text)
        if self.tree is UNSET:
            self.tree = self._built()

    def place(self, path: Path, of_key: bool = False) -> Place | None:
        """Where a value (or its key) begins; of the nearest node above it when there is none at `path`."""
        node = found = self._nodes()
        for step in path:
            if isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = found = node.value[step]
            elif isinstance(node, MappingNode):
                pair = next((pair for pair in node.value if pair[0].value == step), None)
                if pair is None:
                    break
                node, found = pair[1], pair[0] if of_key else pair[1]
            else:
                break
        return None if found is None else Place(found.start_mark.line + 1, found.start_mark.column + 1)

    def fault(self, path: Path, message: str, fix: str, *, warning: bool = False, of_key: bool = False) -> Fault:
        """A fault of this document at `path`."""
        return Fault(
            severity="warning" if warning else "error",
            file=self.name,
            place=self.place(path, of_key),
            path=path_text(path),
            message=message,
            fix=fix,
        )

    def _built(self) -> Any:
        root = self._nodes()
        return None if root is None else self._value(root, (), 0)

    def _value(self, node: Node, path: Path, depth: int) -> Any:
        self._budget -= 1
        if self._budget < 0 or depth > DEPTH_MAX:
            message = "nested too deep" if depth > DEPTH_MAX else "its aliases (*name) blow it up"
            raise DocumentError([self.fault(path[:8], message, "write it out flat, without aliases")])
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if node.tag not in ("map", "list", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise self._refused_tag(node, path)
        if isinstance(node, SequenceNode):
            return [self._value(item, (*path, place), depth + 1) for place, item in enumerate(node.value)]
        tree: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                raise DocumentError([self.fault(path, "a key is a list or a map", "keys are text")])
            key = key_node.value
            if key in tree:
                mark = key_node.start_mark
                self.faults.append(
                    Fault(
                        severity="error",
                        file=self.name,
                        place=Place(mark.line + 1, mark.column + 1),
                        path=path_text((*path, key)),
                        message="this key is given twice",
                        fix="remove one, or give it another name",
                    )
                )
                continue
            tree[key] = self._value(value_node, (*path, key), depth + 1)
        return tree

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        tag, value = node.tag, node.value
        if tag == "text" or tag == "tag:yaml.org,2002:str":
            return value
        if tag == "number":
            return Numeral(_json_spelling(value))
        if tag == "null":
            return None
        if tag == "bool":
            return value in ("true", "True", "TRUE")
        raise self._refused_tag(node, path)

    def _refused_tag(self, node: Node, path: Path) -> DocumentError:
        fault = self.fault(
            path, f"the tag {node.tag[:80]!r} is not accepted", "leave it out; quotes make text of a scalar"
        )
        return DocumentError([fault])


def load_document(text: str, name: str) -> Document:
    """Read a document: JSON if its name ends in `.json`, else YAML (1.2 core schema).

    `DocumentError` if it cannot be read at all; a key given twice is kept in `Document.faults`, the first value counts.
    """
    return Document(text.removeprefix("\ufeff"), name, json_nodes if name.endswith(".json") else yaml_nodes)


def event_json(tree: Any) -> bytes:
    """A tree as JSON, numbers by their literals: so an event of a document takes the way of every other event.

    JSON has no infinities: `.inf`, `-.inf` and `.nan` become the texts `"Infinity"`, `"-Infinity"` and `"NaN"`, which
    meters refuse as `value_not_finite` (spec 1.2).
    """
    return _json(tree).encode()


def plain_tree(tree: Any) -> Any:
    """The same tree without `Numeral`: whole literals become int, other numbers their text."""
    if isinstance(tree, dict):
        return {key: plain_tree(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [plain_tree(value) for value in tree]
    if isinstance(tree, Numeral):
        return int(tree) if tree.removeprefix("-").isdigit() and len(tree) < 1_000 else str(tree)
    return tree


def _plain_json(text: str) -> Any:
    """The tree of JSON without its places, by the standard library's scanner, many times as fast as by nodes.

    ValueError or RecursionError: something is wrong with it, and the nodes will say what and where.
    """
    tree = _DECODER.decode(text)
    if _deeper(tree, DEPTH_MAX):
        raise ValueError("nested too deep")
    return tree


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise ValueError("a key is given twice")
    return tree


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER: Final = JSONDecoder(
    parse_int=Numeral, parse_float=Numeral, parse_constant=_no_constant, object_pairs_hook=_unique
)


def _deeper(tree: Any, most: int) -> bool:
    """Whether maps and lists are nested deeper than `most` levels below the top."""
    level = [tree]
    for _ in range(most + 1):
        level = [
            part
            for whole in level
            if isinstance(whole, dict | list)
            for part in (whole.values() if isinstance(whole, dict) else whole)
        ]
        if not level:
            return False
    return True


def _json(tree: Any) -> str:
    if isinstance(tree, Numeral):
        if "n" not in tree.lower():
            return tree
        return '"NaN"' if "a" in tree.lower() else '"-Infinity"' if tree.startswith("-") else '"Infinity"'
    if isinstance(tree, str):
        return encode_basestring_ascii(tree)
    if isinstance(tree, dict):
        return "{" + ",".join(f"{encode_basestring_ascii(key)}:{_json(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(map(_json, tree)) + "]"
    return "null" if tree is None else "true" if tree else "false"


def _json_spelling(literal: str) -> str:
    """A number of YAML's core schema as JSON writes it: no `+`, no leading zeros, digits around the point."""
    if literal[:2] in ("0x", "0o"):
        base = 16 if literal[1] == "x" else 8
        return str(int(literal[2:], base)) if len(literal) <= 1_000 else literal
    match = _LITERAL.fullmatch(literal)
    if match is None:
        return literal
    sign, whole, fraction, power = match.groups()
    text = f"{'-' if sign == '-' else ''}{whole or '0'}"
    return f"{text}{'.' + fraction if fraction else ''}{power or ''}"

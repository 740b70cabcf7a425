"""Reads a scenario file into a plain tree in which every number is still its literal text.

YAML by the 1.2 core schema (`yes` is text, `0o17` an octal number), map keys as text; JSON alike.
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from oracle.numbers import Number

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def _scalar(node: yaml.ScalarNode) -> object:
    text = str(node.value)
    if node.style is not None:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _BASED.fullmatch(text):
        return Number(int(text, 0))
    return Number(text) if _NUMBER.fullmatch(text) else text


def _tree(node: yaml.Node) -> object:
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_tree(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _tree(value) for key, value in node.value}
    raise TypeError(f"unknown YAML node {node!r}")


def loads(text: str) -> dict[str, Any]:
    """A YAML document as a tree of dict, list, str, `Number`, bool and None."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    tree = None if node is None else _tree(node)
    if not isinstance(tree, dict):
        raise TypeError("a scenario is a map")
    return tree


def load(path: Path | str) -> dict[str, Any]:
    """The scenario in a file, YAML or (by its suffix) JSON."""
    text = Path(path).read_text(encoding="utf-8")
    if str(path).endswith(".json"):
        tree = json.loads(text, parse_int=Number, parse_float=Number, parse_constant=Number)
        if isinstance(tree, dict):
            return tree
    return loads(text)


def dumps(tree: object) -> str:
    """The tree as JSON, every `Number` in its own literal."""
    if isinstance(tree, Number):
        return str(tree)
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {dumps(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(dumps(value) for value in tree) + "]"
    return json.dumps(tree)

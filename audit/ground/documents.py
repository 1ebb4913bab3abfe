"""YAML, TOML and JSON of strangers: plain data of bounded size, or one error.

The formats can do more than settings need. A dozen YAML aliases multiply to a billion
values, tags construct objects, numbers of a million digits take minutes, and nesting
ends the stack. So a document is text, numbers, truth values, lists and mappings, not
large, not deep, without aliases, tags and keys that come twice. YAML's dates and its
numbers to the base 60 stay text. Whatever else a parser or one of its constructors
raises is the same error: `Unreadable`, of which the caller makes its own.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import yaml

from audit.ground.errors import cause

MAX_CHARACTERS = 1 << 19  # of a document that a person writes
MAX_DEPTH = 40
MAX_JSON = 100  # deep: programs write it
MAX_DIGITS = 40  # of one number
Lines = dict[tuple[str, ...], int]
Result = TypeVar("Result")


class Unreadable(ValueError):
    """A document that is not what it should be.

    Args:
        problem: what is wrong, a clause.
        line: where, counted from 1, if that is known.
        remedy: what to do, if that is known.
    """

    def __init__(self, problem: str, line: int | None = None, remedy: str = "") -> None:
        self.problem, self.line, self.remedy = problem, line, remedy
        super().__init__(problem)


def read_yaml(text: str) -> tuple[Any, Lines]:
    """Return the value of a YAML document, and the line of each key of its mappings.

    Raises:
        Unreadable: it is none, or more than plain data.
    """
    return _bounded("YAML", text, _yaml)


def read_toml(text: str) -> dict[str, Any]:
    """Return the table of a TOML document.

    Raises:
        Unreadable: it is none.
    """
    return _bounded("TOML", text, _toml)


def read_json(text: str | bytes) -> Any:  # noqa: ANN401
    """Return the value of a JSON document of any size.

    Raises:
        Unreadable: it is none, or too deep.
    """
    return _plain("JSON", text, partial(json.loads, parse_int=_whole), MAX_JSON)


def _bounded(form: str, text: str, read: Callable[[str], Result]) -> Result:
    if len(text) > MAX_CHARACTERS:
        raise Unreadable(f"it has more than {MAX_CHARACTERS} characters")
    return _plain(form, text, read)


def _plain(
    form: str,
    text: Any,  # noqa: ANN401
    read: Callable[[Any], Result],
    depth: int = MAX_DEPTH,
) -> Result:
    """Read a document; whatever the parser raises becomes `Unreadable`."""
    wrong = f"it is not {form}: "
    try:
        value = read(text)
    except Unreadable:
        raise
    except RecursionError:
        raise _deep(depth) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        problem = error.problem or error.context or "it cannot be parsed"
        raise Unreadable(wrong + problem, mark.line + 1 if mark else None) from None
    except Exception as error:  # a parser raises whatever its parts raise
        raise Unreadable(wrong + cause(error)) from None
    _check(value, depth)
    return value


def _deep(depth: int = MAX_DEPTH, line: int | None = None) -> Unreadable:
    return Unreadable(f"it is nested more than {depth} deep", line)


def _check(value: object, depth: int) -> None:
    """Refuse what is too deep, and whole numbers of too many digits."""
    level = [value]
    for _ in range(depth + 2):  # a document of YAML comes with its lines
        if not level:
            return
        level = [part for each in level for part in _parts(each)]
    raise _deep(depth)


def _parts(value: object) -> Iterator[object]:
    if isinstance(value, int) and value.bit_length() > 4 * MAX_DIGITS:
        raise _long()
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _long()
    return int(digits)


def _long() -> Unreadable:
    return Unreadable(f"it has a number of more than {MAX_DIGITS} digits")


_LONG_KEY = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"""
    rf"{{{MAX_DEPTH}}}"
)


def _toml(text: str) -> dict[str, Any]:
    if _LONG_KEY.search(text):  # its parser takes memory by the square of such a key
        raise _deep()
    return tomllib.loads(text)


class _Loader(yaml.SafeLoader):
    """The safe loader without what multiplies, constructs or surprises."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:  # noqa: ANN401
        """Compose one value."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise Unreadable(
                f"*{event.anchor} repeats an earlier value",
                line,
                "Write the value out: aliases are not read",
            )
        if getattr(event, "tag", None) is not None:
            raise Unreadable(f"the tag {event.tag} is not read", line, "Leave it out")
        if self.depth > MAX_DEPTH:
            raise _deep(line=line)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401
        """Compose a mapping; its keys differ."""
        node = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise twice(key.value, line, seen[key.value])
                seen[key.value] = line
        return node


def twice(key: str, line: int, first: int) -> Unreadable:
    """Return the error for a key that comes twice."""
    return Unreadable(f"'{key}' is set twice", line, f"Keep this line or line {first}")


_TEXT = (":merge", ":timestamp", ":value", ":int", ":float")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if not tag.endswith(_TEXT)]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(0|[1-9][0-9_]*|0b[01_]+|0[0-7_]+|0x[0-9a-fA-F_]+)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.(inf|Inf|INF))$"
        r"|\.[0-9][0-9_]*([eE][-+][0-9]+)?$|\.(nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


def _yaml(text: str) -> tuple[Any, Lines]:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None, {}
        lines = dict(_lines(root, ()))
        return loader.construct_document(root), lines
    finally:
        loader.dispose()


def _lines(node: yaml.Node, above: tuple[str, ...]) -> Iterator[Any]:
    """Yield (keys from the top, line) of every key in mappings of mappings."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            keys = (*above, str(key.value))
            yield keys, key.start_mark.line + 1
            yield from _lines(value, keys)

r"""Containers of a torch.export program that only its author's code knows.

A program says what its arguments and results were packed in. A class that was
registered for that (a dataclass of results, as those of Hugging Face's models) is told
by its name, and a loader that does not know the class refuses the file. What a scan
needs is the order of the tensors and their names, and these are in the description: so
such a container is read as a dictionary of its fields, or as a tuple where they have
no names.

    {"type": "my.Out", "context": "[[\"loc\", \"scale\"], []]", "children_spec": …}
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

from audit.ground.documents import Unreadable, read_json

KNOWN = {"builtins.tuple", "builtins.list", "builtins.dict"}
KNOWN |= {"collections.OrderedDict"}
SPECS = ("in_spec", "out_spec")


def plain_tree(text: str) -> str:
    """Return the description of a nested container with built-in ones alone."""
    try:
        described = read_json(text)
    except Unreadable:
        return text
    return json.dumps(_plain(described)) if _is_foreign(described) else text


def is_plain(text: str) -> bool:
    """Return whether a description names built-in containers alone, and plain keys.

    A key that is a mapping is another door: torch imports the module that it names, to
    look up a member of an enumeration.
    """
    try:
        described = read_json(text)
    except Unreadable:
        return not text
    return not _is_foreign(described) and all(map(_has_plain_keys, _nodes(described)))


def _nodes(node: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    parts = node if isinstance(node, list) else []
    if isinstance(node, dict):
        yield node
        parts = list(node.values())
    for part in parts:
        yield from _nodes(part)


def _has_plain_keys(node: dict[str, Any]) -> bool:
    """Whether what a container's description says of its keys is a list of these."""
    context = node.get("context")
    if context is None:
        return True
    try:
        keys = read_json(context) if isinstance(context, str) else context
    except Unreadable:
        return False
    plain = (str, int, float, type(None))
    return keys is None or (
        isinstance(keys, list) and all(isinstance(key, plain) for key in keys)
    )


def _is_foreign(node: Any) -> bool:  # noqa: ANN401
    """Whether some container is none of the built-in ones."""
    if isinstance(node, list):
        return any(map(_is_foreign, node))
    if not isinstance(node, dict):
        return False
    kind = node.get("type")
    return (kind is not None and kind not in KNOWN) or any(
        map(_is_foreign, node.values())
    )


def _plain(node: Any) -> Any:  # noqa: ANN401
    if isinstance(node, list):
        return [_plain(each) for each in node]
    if not isinstance(node, dict) or "children_spec" not in node:
        return node
    children = _plain(node["children_spec"])
    if node.get("type") is None or node["type"] in KNOWN:
        return {**node, "children_spec": children}
    names = _fields(node.get("context"))
    if len(names) == len(children):
        kind, context = "builtins.dict", json.dumps(names)
    else:
        kind, context = "builtins.tuple", "null"
    return {**node, "type": kind, "context": context, "children_spec": children}


def _fields(context: Any) -> list[str]:  # noqa: ANN401
    """Return the names of a container's fields, none where they are not told."""
    try:
        told = read_json(context) if isinstance(context, str) else context
    except Unreadable:
        return []
    if isinstance(told, list) and told and isinstance(told[0], list):
        told = told[0]  # a dataclass: its fields, and those that are None
    named = isinstance(told, list) and all(isinstance(each, str) for each in told)
    return told if named and len(set(told)) == len(told) else []


def with_plain_trees(content: bytes) -> bytes:
    """Return an archive whose programs name built-in containers alone."""
    source = zipfile.ZipFile(io.BytesIO(content))
    changed = {
        info.filename: text
        for info in source.infolist()
        if "/models/" in info.filename and info.filename.endswith(".json")
        if (text := _rewritten(source.read(info))) is not None
    }
    if not changed:
        return content
    fresh = io.BytesIO()
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as archive:
        for info in source.infolist():
            archive.writestr(info, changed.get(info.filename) or source.read(info))
    return fresh.getvalue()


def _rewritten(data: bytes) -> bytes | None:
    """Return a program's description, None where there is nothing to change."""
    try:
        document = read_json(data)
    except Unreadable:
        return None
    found = _replace(document)
    return json.dumps(document).encode() if found else None


def _replace(node: Any) -> bool:  # noqa: ANN401
    """Rewrite every description of containers in place; whether there was one."""
    if not isinstance(node, dict | list):
        return False
    parts = node.items() if isinstance(node, dict) else enumerate(node)
    found = False
    for key, value in parts:
        if key in SPECS and isinstance(value, str):
            plain = plain_tree(value)
            found |= plain != value
            node[key] = plain
        else:
            found |= _replace(value)
    return found

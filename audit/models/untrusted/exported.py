"""torch.export archives: every member, every pickle, every text that is evaluated.

The program is a JSON document. Its loader evaluates shape expressions and guards, and
writes a Python function from the names in it: so every text has a form it must keep,
but for those that are only kept (where a node came from) or quoted (string arguments).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import reduce
from math import ceil
from typing import Any

from audit.ground.documents import Unreadable, read_json
from audit.models.untrusted.archive import Archive, Layout
from audit.models.untrusted.formulas import (
    MAX_BITS,
    MAX_POWER,
    Extent,
    is_formula,
    is_guard,
)
from audit.models.untrusted.trees import SPECS, is_plain, plain_tree

EXPORTED = Layout(
    "torch.export.save(torch.export.export(model, …), path)",
    unread=re.compile(r"extra/(?!robaudit$).+"),
    pickles=re.compile(r"data/sample_inputs/[^/]+|data/.+\.(pt|pkl)"),
)
_KNOWN = re.compile(
    r"models/[^/]+\.json|data/(weights|constants|sample_inputs)/[^/]+|extra/robaudit"
    r"|archive_format|archive_version|version|byteorder|\.format_version"
    r"|\.data/(version|serialization_id)"
)
_OBJECTS = ("custom_obj", "opaque_obj")
_TARGET = re.compile(
    r"torch\.ops\.(aten|prims?|higher_order)\.(?!save\b|from_file\b)\w+(\.\w+)?"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|neg|pos|pow|abs|eq|ne|lt|le|gt|ge"
    r"|getitem|and_|or_|not_)"
    r"|math\.(trunc|floor|ceil|sqrt)|torch\._?sym_\w+"
)
_NAME = re.compile(r"[\w.$+-]*")
_KEPT = {"stack_trace", "nn_module_stack", "torch_fn", "source_fn_stack", "from_node"}
_QUOTED = {"as_string", "as_strings"}


def exported_findings(archive: Archive) -> list[str]:
    """Return what in a `.pt2` archive could act when it is loaded or run.

    Raises:
        ModelError: it is no torch.export archive.
    """
    if not archive.names("models/", (".json",)):
        raise archive.pickled()
    found = [f"the member {n}" for n in archive.sizes if not _KNOWN.fullmatch(n)]
    found += archive.acting
    for name in archive.names("data/", (".json",)):
        found += _in_payloads(archive, name)
    for name in archive.names("models/", (".json",)):
        found += [f"{what} in {name}" for what in _described(archive, name)]
    return list(dict.fromkeys(found))


def _described(archive: Archive, name: str) -> Iterator[str]:
    try:
        yield from _in_program(read_json(archive.read(name)))
    except Unreadable:
        yield "an unreadable description"


def _in_payloads(archive: Archive, name: str) -> Iterator[str]:
    """Yield payloads that are pickles or objects, and tensors without their numbers."""
    folder = name.rpartition("/")[0]
    try:
        listed = read_json(archive.read(name))
    except Unreadable:
        yield f"an unreadable description in {name}"
        return
    for payload in _entries(listed):
        place = str(payload.get("path_name"))
        if payload.get("use_pickle"):
            yield f"a pickle for {place}"
        if place.startswith(_OBJECTS):
            yield f"an object in {name}"
        holds = archive.sizes.get(f"{folder}/{place}".lower())
        if holds == 0 and not _is_empty(payload.get("tensor_meta")):
            yield f"a tensor without numbers in {name}"


def _is_empty(meta: object) -> bool:
    """Whether a tensor's description has an axis of size 0."""
    sizes = meta.get("sizes") if isinstance(meta, dict) else None
    return isinstance(sizes, list) and {"as_int": 0} in sizes


def _entries(node: object) -> Iterator[dict[str, Any]]:
    """Yield every mapping in a JSON document."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _entries(value)
    elif isinstance(node, list):
        for value in node:
            yield from _entries(value)


def _in_program(document: object) -> Iterator[str]:
    """Yield what the loader would evaluate and is no formula, name or operator."""
    for entry in _entries(document):
        nodes = entry.get("nodes")
        if isinstance(nodes, list):
            yield from _growing(node for node in nodes if isinstance(node, dict))
        for key, value in entry.items():
            if not (_NAME.fullmatch(key) or is_formula(key)):  # a size, such as 4*s0
                yield f"the name '{key[:40]}'"
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and not _harmless(key, text):
                    yield f"{key} '{text[:40]}'"


def _growing(nodes: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the nodes that make whole numbers too large to compute with.

    Sizes are Python's numbers while the program runs: they have no end.
    """
    known: dict[str, Extent] = {}
    for node in nodes:
        target = str(node.get("target"))
        if not target.startswith(("_operator.", "torch.", "math.")) or "ops" in target:
            continue
        values = [_argument(each, known) for each in _entries(node.get("inputs"))]
        extents = [value for value in values if value is not None]
        found = reduce(Extent.plus, extents, Extent(0))
        if target == "_operator.mul":
            found = reduce(Extent.times, extents, Extent(0))
        if target == "_operator.pow":
            found = _power(node, found)
        if found.bits > MAX_BITS:
            yield f"{target} of numbers that are too large"
        for output in _entries(node.get("outputs")):
            known[str(output.get("as_name"))] = replace(found, terms=1)


def _argument(entry: dict[str, Any], known: Mapping[str, Extent]) -> Extent | None:
    """Return how large a number could be that a node reads, None for no number."""
    if isinstance(entry.get("as_int"), int):
        return Extent(int(entry["as_int"]).bit_length())
    name = entry.get("as_name")
    return known.get(name, Extent()) if isinstance(name, str) else None


def _power(node: dict[str, Any], base: Extent) -> Extent:
    last = list(_entries(node.get("inputs")))[-1:]
    found = [e.get("as_int", e.get("as_float")) for e in last]
    if not found or not isinstance(found[0], int | float) or abs(found[0]) > MAX_POWER:
        return Extent(MAX_BITS + 1)
    return base.power(ceil(abs(found[0])))


def _harmless(key: str, text: str) -> bool:
    if key in _KEPT or key in _QUOTED:
        return True
    if key == "expr_str":
        return is_formula(text)
    if key == "guards_code":
        return is_guard(text)
    if key in SPECS:
        return is_plain(plain_tree(text))
    if key == "target":
        return bool(_TARGET.fullmatch(text))
    return bool(_NAME.fullmatch(text))

"""torch.export archives: every member, every pickle, every text that is evaluated.

The program is a JSON document. Its loader evaluates shape expressions and guards, and
writes a Python function from the names in it: so every text has a form it must keep,
but for those that are only kept (where a node came from) or quoted (string arguments).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from audit.documents import Unreadable, read_json
from audit.models.untrusted.archive import Archive, Layout
from audit.models.untrusted.formulas import is_formula, is_guard

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
_TREES = {"builtins.tuple", "builtins.list", "builtins.dict"}
_TREES |= {"collections.OrderedDict"}


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
        found += [f"{what} in {name}" for what in _in_program(_json(archive, name))]
    return list(dict.fromkeys(found))


def _json(archive: Archive, name: str) -> Any:  # noqa: ANN401
    try:
        return read_json(archive.read(name))
    except Unreadable:
        return {"guards_code": ["unreadable"]}


def _in_payloads(archive: Archive, name: str) -> Iterator[str]:
    """Yield payloads that are pickles or objects, and tensors without their numbers."""
    folder = name.rpartition("/")[0]
    for payload in _entries(_json(archive, name)):
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
        for key, value in entry.items():
            if not _NAME.fullmatch(key):
                yield f"the name '{key[:40]}'"
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and not _harmless(key, text):
                    yield f"{key} '{text[:40]}'"


def _harmless(key: str, text: str) -> bool:
    if key in _KEPT or key in _QUOTED:
        return True
    if key == "expr_str":
        return is_formula(text)
    if key == "guards_code":
        return is_guard(text)
    if key in ("in_spec", "out_spec"):
        return _is_tree(text)
    if key == "target":
        return bool(_TARGET.fullmatch(text))
    return bool(_NAME.fullmatch(text))


def _is_tree(text: str) -> bool:
    """Whether a description of nested containers names built-in ones alone."""
    try:
        kinds = [e["type"] for e in _entries(read_json(text)) if "type" in e]
    except Unreadable:
        return not text
    return all(kind is None or str(kind) in _TREES for kind in kinds)

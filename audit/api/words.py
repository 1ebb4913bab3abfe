"""Errors of the pipeline in the words of a Python caller.

The pipeline speaks of `--family NAME`; here it is `family=`. The name of a file that
only this call knows is replaced too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from audit import AuditError
from audit.config.options import OPTIONS, flag_names
from audit.config.paths import short_names

_FLAGS = {flag: name for name in OPTIONS for flag in flag_names(name)}
_FLAG = re.compile(
    r"(?P<verb>[Pp]ass |[Uu]se |[Aa]dd |with )?(?<![\w-])(?P<flag>--[a-z][a-z-]*|-[ad])"
    r"\b(?P<space> (?!(?:and|for|if|of|or|to|with|without)\b)"
    r"(?P<value>'[^']*'|(?:[^\s,;)]|,(?=\S))*[^\s,;.)]))?"
)

_TWICE = re.compile(
    r"\b(?P<name>[a-z_]+)=\{(?P<one>[^{}]*)\} (?P=name)=\{(?P<two>[^{}]*)\}"
)


@contextmanager
def in_python(names: Mapping[str, str]) -> Iterator[None]:
    """Put the errors of a block into Python's words.

    Args:
        names: text -> what is to stand in its place, such as a temporary path.

    Raises:
        AuditError: as it was, in other words; or a path is too long.
    """
    try:
        with short_names():
            yield
    except AuditError as error:
        parts = (error.given, error.expected, error.next_step)
        AuditError.__init__(error, *(said(part, names) for part in parts))
        raise


def said(text: str, names: Mapping[str, str]) -> str:
    """Return a sentence with keywords in the place of flags."""
    for old, new in names.items():
        text = text.replace(old, new)
    return _joined(_FLAG.sub(_keyword, text))


def _joined(text: str) -> str:
    """Return a sentence with `name={a} name={b}` as the one dict that Python takes."""
    while (joined := _TWICE.sub(r"\g<name>={\g<one>, \g<two>}", text)) != text:
        text = joined
    return text


def _keyword(match: re.Match[str]) -> str:
    name = _FLAGS.get(match["flag"])
    if name is None:
        return match[0]
    verb, rest, value = match["verb"] or "", match["space"] or "", match["value"] or ""
    option = OPTIONS[name]
    if not option.metavar:
        return f"{verb}{name}=True{rest}"
    meant = verb or "=" in value or value.isupper() or value[:1].isdigit()
    if not (value and meant):
        return f"{verb}{name}={rest}"
    return f"{verb}{name}={_value(value, option.metavar, option.many)}"


def _value(text: str, metavar: str, many: bool) -> str:
    """Return the value of a flag as Python writes it."""
    shown = text.strip("'")
    if "=" in metavar.replace("[=KEY]", "").replace("[LABEL=]", "").partition(":")[0]:
        key, equals, value = text.replace("'", "").partition("=")
        return f"{{'{key}': '{value}'}}" if equals else f"{{'{shown}': …}}"
    quoted = shown if shown.isdigit() or shown.isupper() else f"'{shown}'"
    return f"[{quoted}]" if many else quoted

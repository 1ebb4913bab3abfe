"""How deep the expressions of a TorchScript program are nested.

torch's parser and compiler recurse into them, without a bound of their own: some
thousands of brackets or signs in a row end the process.
"""

from __future__ import annotations

import re

_DEEPEST = 1000
_WIDEST = 400  # blanks before a statement
_STRINGS = (
    r'"""(?:\\.|[^\\])*?"""',
    r"'''(?:\\.|[^\\])*?'''",
    r'"(?:\\.|[^"\\\n])*"',
    r"'(?:\\.|[^'\\\n])*'",
)
_TOKENS = re.compile(
    rf"(?P<text>{'|'.join(_STRINGS)}|#(?! type:)[^\n]*)"
    r"|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<end>[,;])|(?P<line>\n[ \t]*)"
    r"|(?P<operator>[-+*/%|&^~<>=!.@]+|\b(?:not|and|or|if|else|in|is)\b)",
    re.DOTALL,
)
"""As torch's lexer has them: a comment that begins with "# type:" is code."""


def is_deep(source: str) -> bool:
    """Whether some expression has more brackets and operators in one another than fit.

    Operators in a row count as nested, since they are read as such.
    """
    counts = [0]
    total = 0
    for token in _TOKENS.finditer(source):
        kind = token.lastgroup
        if kind == "open":
            counts.append(1)
            total += 1
        elif kind == "close" and len(counts) > 1:
            total -= counts.pop()
        elif kind == "operator":
            counts[-1] += len(token.group())
            total += len(token.group())
        elif kind == "end" or (kind == "line" and len(counts) == 1):
            held = counts[-1] if len(counts) == 1 else counts[-1] - 1
            counts[-1] -= held
            total -= held
        if total > _DEEPEST or (kind == "line" and len(token.group()) > _WIDEST):
            return True
    return False

"""TorchScript: the code of an archive, read as text, and what its pickles claim.

Its interpreter knows few functions that touch the world (`torch.save`,
`torch.from_file`, operators and classes of other libraries), and `__setstate__` runs
while the file loads. They are looked for as words, so that neither spaces, comments
nor another spelling of the namespace hide them.

An archive that holds more than `torch.jit.save` writes is refused too: torch still
reads the format of before 2019, whose program is in `model.json`.

torch's parser and compiler recurse into nested expressions, without a bound of their
own: some thousands of brackets or signs in a row end the process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from audit.models.untrusted.archive import Archive, Layout
from audit.models.untrusted.pickles import check_pickle
from audit.models.untrusted.stand_ins import PickleFault

SCRIPT = Layout(
    "torch.jit.save(torch.jit.script(model), path)",
    unread=re.compile(
        r"code/.+\.debug_pkl|traced_inputs(\.pkl|/\d+)|extra/(?!robaudit$).+"
        r"|bytecode(\.pkl|/\d+)|mobile_debug_handles\.pkl"
    ),
)
_KNOWN = re.compile(
    r"(data|constants)(\.pkl|/\d+)|code/.+\.py|extra/robaudit"
    r"|version|byteorder|\.data/(version|serialization_id)"
)
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
_ACTS = re.compile(r"(?<!\w)(save|from_file|__setstate__)(?!\w)")
_GAP = re.compile(r"\s+|\\\n|#[^\n]*\n")
_WORD = re.compile(r"\w+")
_OWN = {"aten", "prim", "prims", "quantized"}
_OWN_CLASSES = {"quantized", "rnn", "sparse"}


def torchscript_findings(archive: Archive) -> list[str]:
    """Return what in a TorchScript archive could act while loading or running.

    Raises:
        ModelError: it is no TorchScript archive.
    """
    if "constants.pkl" not in archive.sizes:
        raise archive.pickled()
    found = [f"the member {n}" for n in archive.sizes if not _KNOWN.fullmatch(n)]
    for folder in ("constants", "data"):
        found += _in_pickle(archive, folder)
    for member in archive.names(ends=(".py",)):
        source = archive.read(member).decode("utf-8", "replace")
        found += [f"{what} in {member}" for what in _in_code(source)]
    return found


def _in_pickle(archive: Archive, folder: str) -> Iterator[str]:
    name = f"{folder}.pkl"
    if name in archive.sizes:
        try:
            check_pickle(archive.read(name), folder, archive.sizes)
        except PickleFault as fault:
            yield f"{name} {fault}"


def _in_code(source: str) -> Iterator[str]:
    """Yield what a piece of code could do that a network has no need of."""
    yield from dict.fromkeys(_ACTS.findall(source))
    code = _Code(source)
    for name in sorted(set(code.words_after("ops", ".")) - _OWN):
        yield f"operators torch.ops.{name}"
    for name in sorted(set(code.words_after("classes", ".")) - _OWN_CLASSES):
        yield f"classes torch.classes.{name}"
    if {"torch", "ops"} & set(code.words_after("getattr", "(")):
        yield "a function looked up by name"
    if is_deep(source):
        yield "an expression nested too deep"


class _Code:
    """A source, in which spaces, comments and joined lines may part any two words.

    Where a gap ends is remembered for every place in it: a file of nothing but
    comments would else be walked to its end from each of them.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._ends: dict[int, int] = {}

    def words_after(self, word: str, mark: str) -> Iterator[str]:
        """Yield the words that follow a word and a mark."""
        for found in re.finditer(rf"\b{word}", self._source):
            place = self._after_gap(found.end())
            if self._source.startswith(mark, place):
                after = _WORD.match(self._source, self._after_gap(place + 1))
                if after:
                    yield after[0]

    def _after_gap(self, place: int) -> int:
        passed = []
        while place not in self._ends:
            passed.append(place)
            gap = _GAP.match(self._source, place)
            if gap is None:
                self._ends[place] = place
            else:
                place = gap.end()
        end = self._ends[place]
        self._ends |= dict.fromkeys(passed, end)
        return end


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

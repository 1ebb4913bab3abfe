"""Regular expressions over text from files take a time that grows with the text."""

import importlib
import re
import time
from itertools import product

import pytest
from test_architecture import MODULES

from audit.models.untrusted.archive import Layout

# Pieces that our expressions look for, and what makes them fail at the end.
PIECES = (
    *("a", "9", " ", "\t", "\n", ".", ",", ":", ";", "=", "-", "_", "*", "#", "@", "!"),
    *("'", '"', "(", ")", "[", "]", "{", "}", "<", ">", "/", "\\", "a.", "a ", "a,"),
    *("a:", ":1", "{,", "(,", "''", '""', " *", "a*", "'a", '"a', "#a\n", "\\\n"),
    *("ops", "#ops\n", "getattr(", "save ", "L['a'].", "torch.ops."),
)
STARTS = ("", "a:", "torch.ops.aten.", "models/", "[", "_")
LENGTH = 20_000

IMPORTED = re.compile(r"^(import re$|from re import )", re.MULTILINE)
USES = ("match", "fullmatch", "search", "findall", "finditer", "split", "sub")


def patterns():
    """Every compiled expression of the package, with how its module uses it."""
    for name, path in MODULES.items():
        source = path.read_text(encoding="utf-8")
        if not IMPORTED.search(source):
            continue
        module = importlib.import_module(name)
        for each, value in vars(module).items():
            if isinstance(value, re.Pattern):
                uses = re.findall(rf"\b{each}\.({'|'.join(USES)})\(", source)
                yield pytest.param(value, set(uses), id=f"{name}.{each}")
            elif isinstance(value, Layout):
                for place in ("unread", "pickles"):
                    within = getattr(value, place)
                    yield pytest.param(within, {"fullmatch"}, id=f"{each}.{place}")


@pytest.mark.parametrize(("pattern", "uses"), list(patterns()))
def test_an_expression_is_linear(pattern, uses):
    assert uses
    for start, piece in product(STARTS, PIECES):
        text = start + piece * (LENGTH // len(piece)) + "\x00"
        for use in uses:
            assert is_quick(pattern, use, text), (start, piece, use)


def is_quick(pattern, use, text):
    """Whether one of three tries is; another process may slow down the others."""
    for _ in range(3):
        began = time.process_time()
        found = getattr(pattern, use)(*(["x"] if use == "sub" else []), text)
        list(found if use in ("finditer", "findall") else ())
        if time.process_time() - began < 0.3:
            return True
    return False


def test_expressions_have_a_name_by_which_this_law_finds_them():
    nameless = re.compile(r"\bre\.(match|fullmatch|search|findall|sub|split)\(")
    sources = {n: path.read_text(encoding="utf-8") for n, path in MODULES.items()}
    assert [name for name, text in sources.items() if nameless.search(text)] == []

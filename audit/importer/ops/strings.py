"""Strings: they stay NumPy arrays and never meet torch until they become numbers."""

from __future__ import annotations

from collections import Counter
from math import prod
from operator import mul
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audit.ground.errors import ModelError, UnsupportedOperator
from audit.importer.limits import (
    check_characters,
    check_elements,
    check_listed,
    check_work,
)
from audit.importer.registry import operator
from audit.importer.values import Host


@operator("StringConcat", zero_derivative=True)
def string_concat(a: Host, b: Host) -> Host:
    """Join strings, elementwise."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    check_listed(shape, "The result of StringConcat")
    repeats = [prod(shape) // max(each.size, 1) for each in (a, b)]
    lengths = [sum(map(len, each.ravel())) for each in (a, b)]
    check_characters(sum(map(mul, repeats, lengths)), "The result of StringConcat")
    return np.asarray(np.add(a.astype(object), b.astype(object)), object)


@operator("StringSplit", zero_derivative=True)
def string_split(
    x: Host, *, delimiter: str = "", maxsplit: int = -1
) -> tuple[Host, Tensor]:
    """Split strings; short rows are filled with empty ones."""
    parts = [
        text.split(delimiter or None, maxsplit) if text else [] for text in _texts(x)
    ]
    counts = torch.tensor([len(row) for row in parts], dtype=torch.int64)
    width = max((len(row) for row in parts), default=0)
    check_listed((*x.shape, width), "The result of StringSplit")
    rows = [row + [""] * (width - len(row)) for row in parts]
    table = np.array(rows, object).reshape(*x.shape, width)
    return table, counts.reshape(x.shape)


@operator("StringNormalizer", zero_derivative=True)
def string_normalizer(
    x: Host,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    locale: str = "",
    stopwords: list[str] | None = None,
) -> Host:
    """Drop stop words, then change the case."""
    words, stop = _texts(x), set(stopwords or ())
    if not is_case_sensitive:
        stop = {word.lower() for word in stop}
    kept = [w for w in words if (w if is_case_sensitive else w.lower()) not in stop]
    if case_change_action == "LOWER":
        kept = [word.lower() for word in kept]
    elif case_change_action == "UPPER":
        kept = [word.upper() for word in kept]
    result = np.array(kept or [""], object)
    return result.reshape(1, -1) if x.ndim == 2 else result


@operator("RegexFullMatch", zero_derivative=True)
def regex_full_match(x: Host, *, pattern: str = "") -> Tensor:
    """Return whether each whole string matches, by RE2 as the standard says.

    RE2 takes a time that is linear in the text and in the pattern's program: so their
    product is the work, known before it is done.
    """
    compiled, texts = _expression(pattern), _texts(x)
    check_work(compiled.programsize * sum(map(len, texts)), "To match the pattern")
    found = [compiled.fullmatch(text) is not None for text in texts]
    return torch.tensor(found, dtype=torch.bool).reshape(x.shape)


@operator("Tokenizer", domain="com.microsoft", zero_derivative=True)
def tokenizer(
    x: Host,
    *,
    mark: int = 0,
    mincharnum: int,
    pad_value: str,
    separators: list[str] | None = None,
    tokenexp: str = "",
) -> Host:
    """Cut texts into tokens: what matches an expression, or what separators part.

    A token of fewer characters than `mincharnum` is dropped, a short row is filled, and
    with `mark` a row is put between the characters 2 and 3 (of texts that are all empty
    nothing is made).
    """
    expressions = [_expression(each) for each in separators or [tokenexp]]
    texts = _texts(x)
    program = sum(each.programsize for each in expressions)
    check_work(program * sum(map(len, texts)), "To cut the texts")
    cut = _parted if separators else _matched
    rows = [
        [t for t in cut(expressions, text) if len(t) >= mincharnum] for text in texts
    ]
    if mark and any(texts):
        rows = [["\x02", *row, "\x03"] for row in rows]
    width = max(map(len, rows), default=0)
    check_listed((*x.shape, width), "The result of Tokenizer")
    table = [row + [pad_value] * (width - len(row)) for row in rows]
    return np.array(table, object).reshape(*x.shape, width)


def _matched(expressions: list[Any], text: str) -> list[str]:
    (expression,) = expressions
    return [found.group() for found in expression.finditer(text)]


def _parted(expressions: list[Any], text: str) -> list[str]:
    parts = [text]
    for expression in expressions:
        parts = [piece for part in parts for piece in expression.split(part)]
    return parts


def _expression(pattern: str) -> Any:  # noqa: ANN401
    """Return a compiled expression of RE2."""
    try:
        import re2
    except ImportError:
        raise UnsupportedOperator(
            "RegexFullMatch needs RE2, and it is not installed",
            "Expected the package google-re2, which robaudit asks for",
            "pip install google-re2",
        ) from None
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0] if error.args else b""
        said = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
        raise ModelError(
            f"RE2 does not read the pattern '{pattern[:80]}' ({said[:80]})",
            "Expected a pattern in the syntax of RE2, as the standard says",
            "Export the file again",
        ) from None


@operator("TfIdfVectorizer", zero_derivative=True)
def tf_idf_vectorizer(
    x: Tensor | Host,
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: list[int],
    ngram_indexes: list[int],
    pool_int64s: list[int] | None = None,
    pool_strings: list[str] | None = None,
    weights: list[float] | None = None,
) -> Tensor:
    """Count n-grams, with gaps of up to a number of tokens between their items."""
    pool = _grams(pool_int64s or pool_strings or [], ngram_counts)
    check_listed(x.shape, "The tokens of TfIdfVectorizer")
    rows = x.tolist() if x.ndim == 2 else [x.tolist()]
    columns = max(ngram_indexes, default=-1) + 1
    check_elements((len(rows), columns), "The result of TfIdfVectorizer")
    result = torch.zeros(len(rows), columns)
    longest = min(max_gram_length, max(map(len, pool), default=0))
    lengths = range(max(min_gram_length, 1), longest + 1)
    skips = min(max_skip_count, max(x.shape))
    check_listed((*x.shape, len(lengths), skips + 1), "The grams of TfIdfVectorizer")
    check_listed((len(rows), len(pool)), "The counts of TfIdfVectorizer")
    for i, row in enumerate(rows):
        seen = Counter(gram for n in lengths for gram in _skip_grams(row, n, skips))
        for place, gram in enumerate(pool):
            count = float(seen[gram]) if len(gram) in lengths else 0.0
            weight = weights[place] if weights else 1.0
            if mode == "IDF":
                count = min(count, 1.0)
            scale = 1.0 if mode == "TF" else weight
            result[i, ngram_indexes[place]] += count * scale
    return result if x.ndim == 2 else result[0]


def _grams(pool: list[int] | list[str], starts: list[int]) -> list[tuple[object, ...]]:
    """Cut the pool into 1-grams, then 2-grams, ..."""
    grams: list[tuple[object, ...]] = []
    ends = [*starts[1:], len(pool)]
    for n, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
        grams += [tuple(pool[i : i + n]) for i in range(start, end, n)]
    return grams


def _skip_grams(row: list[object], n: int, skips: int) -> list[tuple[object, ...]]:
    if n == 1:
        return [(item,) for item in row]
    return [
        tuple(row[i : i + n * step : step])
        for step in range(1, skips + 2)
        for i in range(len(row) - (n - 1) * step)
    ]


def _texts(x: Host) -> list[str]:
    return [
        text.decode() if isinstance(text, bytes) else str(text) for text in x.ravel()
    ]

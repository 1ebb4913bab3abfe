"""Symbols spelt in ASCII, for an output whose encoding does not have them.

A `?` in the place of ≤ or of a unit would lose what was measured. What an encoding
lacks is spelt: by the words below, else by the letter under an accent (ö is o), else by
its code point. `spelt` does it before a table is laid out, so that columns stay in
line; `ERRORS` is the same as a handler of encoding errors, for whatever comes later.
"""

from __future__ import annotations

import codecs
import unicodedata

ERRORS = "robaudit-spelt"
SPELT = {
    symbol: word
    for symbols, words in (
        ("▁▂▃▄▅▆▇█–−…·×‖√", "_ . , - = + * # - - ~ - x | sqrt"),
        ("≤≥≈≠≫→←∞±∈∂∇∫°", "<= >= ~ != >> -> <- inf +- in d grad int deg"),
        ("∝∠⊥∩⊗⊙⪰⪯ᐟ⟨⟩ℓᵀᵗ", "~ angle perp & x * >= <= ' < > l ^T ^t"),
        ("½¼¾⅛ö✓✗⚠❔✅❌", "1/2 1/4 3/4 1/8 oe + x ! (none) (pass) (fail)"),
        ("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "^0 ^1 ^2 ^3 ^4 ^5 ^6 ^7 ^8 ^9 ^+ ^-"),
        ("₀₁₂₃₄₅₆₇₈₉₊₍₎", "0 1 2 3 4 5 6 7 8 9 + ( )"),
        (
            "αβγΓδΔεζηθκλΛ",
            "alpha beta gamma Gamma delta Delta eps zeta eta theta kappa lambda Lambda",
        ),
        ("μνπΠρσΣτφΦχξψ", "mu nu pi Pi rho sigma Sigma tau phi Phi chi xi psi"),
    )
    for symbol, word in zip(symbols, words.split(), strict=True)
} | dict.fromkeys("\ufe0f\u0304\u0302", "")


def _letters(symbol: str) -> str:
    """Return a symbol in ASCII."""
    known = SPELT.get(symbol)
    if known is not None:
        return known
    plain = unicodedata.normalize("NFKD", symbol).encode("ascii", "ignore").decode()
    return plain or f"\\u{ord(symbol):04x}"


def _handle(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(map(_letters, lacking)), error.end


codecs.register_error(ERRORS, _handle)


def spelt(text: str, encoding: str) -> str:
    """Return text with what an encoding lacks in ASCII; the same where it has all."""
    return text.encode(encoding, ERRORS).decode(encoding)

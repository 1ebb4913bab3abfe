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
    **dict(zip("▁▂▃▄▅▆▇█", "_.,-=+*#", strict=True)),
    **{"–": "-", "−": "-", "…": "~", "·": "-", "×": "x", "‖": "|", "√": "sqrt"},
    **{"≤": "<=", "≥": ">=", "≈": "~", "≠": "!=", "≫": ">>", "→": "->", "←": "<-"},
    **{"∞": "inf", "±": "+-", "∈": "in", "∂": "d", "∇": "grad", "∫": "int", "°": "deg"},
    **{
        "∝": "~",
        "∠": "angle",
        "⊥": "perp",
        "∩": "&",
        "⊗": "x",
        "⊙": "*",
        "⪰": ">=",
        "⪯": "<=",
        "ᐟ": "'",
    },
    **{"⟨": "<", "⟩": ">", "ℓ": "l", "ᵀ": "^T", "ᵗ": "^t", "½": "1/2", "¼": "1/4"},
    **{"¾": "3/4", "⅛": "1/8", "ö": "oe", "✓": "+", "✗": "x", "⚠": "!", "❔": "(none)"},
    **{"✅": "(pass)", "❌": "(fail)", "\ufe0f": "", "\u0304": "", "\u0302": ""},
    **dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", [f"^{c}" for c in "0123456789+-"], strict=True)),
    **dict(zip("₀₁₂₃₄₅₆₇₈₉₊₍₎", "0123456789+()", strict=True)),
    **{"α": "alpha", "β": "beta", "γ": "gamma", "Γ": "Gamma", "δ": "delta"},
    **{"Δ": "Delta", "ε": "eps", "ζ": "zeta", "η": "eta", "θ": "theta", "κ": "kappa"},
    **{
        "λ": "lambda",
        "Λ": "Lambda",
        "μ": "mu",
        "ν": "nu",
        "π": "pi",
        "Π": "Pi",
        "ρ": "rho",
    },
    **{
        "σ": "sigma",
        "Σ": "Sigma",
        "τ": "tau",
        "φ": "phi",
        "Φ": "Phi",
        "χ": "chi",
        "ξ": "xi",
    },
    **{"ψ": "psi"},
}


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

"""Commands that the site tells its readers to paste, and what they print.

What they print is kept beside this module; `python -m tests.formats.printed --write`
keeps it anew, and a slow test compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Example:
    """A command that can be pasted in the folder of the repository.

    Args:
        page: that it stands on, without its suffix.
        words: the command, one line.
        code: the exit code that it ends with.
        why: what it shows.
    """

    page: str
    words: str
    code: int
    why: str

    @property
    def printed(self) -> str:
        """What it prints."""
        kept = files("audit.formats.site") / "printed" / f"{self.page}.txt"
        return kept.read_text(encoding="utf-8")


_DIABETES = (
    "robaudit scan sample_models/heteroscedastic.onnx sample_models/heteroscedastic.npz"
)
_COUNTS = "robaudit scan sample_models/counts.onnx sample_models/counts.npz"

START = Example(
    "index", _DIABETES, 0, "A first audit, of a network with a normal head."
)
EXAMPLES = (
    START,
    Example(
        "divergences",
        f"{_DIABETES} -d hellinger -d wasserstein --tau 0.1",
        0,
        "Two divergences side by side, one bounded and one in the units of θ.",
    ),
    Example(
        "attacks",
        f"{_DIABETES} -a weak=gaussian:sigma=0.05 -a fixed_norm:norm=0.2",
        0,
        "Weak white noise, and a step of norm 0.2 along the worst direction.",
    ),
    Example(
        "families",
        f"{_COUNTS} --family poisson",
        0,
        "A network that predicts a rate.",
    ),
    Example(
        "expressions",
        f"{_DIABETES} --family normal --param loc=loc --param 'scale=exp(log_scale)'",
        0,
        "The parameters said in full.",
    ),
    Example(
        "exit-codes",
        f"{_DIABETES} --max kl.gaussian.max=0.001",
        1,
        "A limit that fails.",
    ),
)


def example_of(page: str) -> Example | None:
    """Return the command of a page, None where it has none."""
    return next((one for one in EXAMPLES if one.page == page), None)

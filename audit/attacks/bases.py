"""What every attack answers: its cost, how far it goes, and sizes read from text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.ground.errors import ConfigError
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Estimate, Spectrum

LARGEST = 1e100  # size: its square, times a form, is to be a number


class Attack(ABC):
    """A law for δ. Sizes are in the units of the perturbation (`--units`)."""

    arguments: ClassVar[tuple[str, ...]]
    optional: ClassVar[tuple[str, ...]] = ()
    """Of the arguments that may be left out."""

    @classmethod
    def parse(cls, kind: str, arguments: Mapping[str, str]) -> Attack:
        """Return the attack with its arguments read from text; all are sizes.

        Raises:
            ConfigError: one is not a number, zero or larger.
        """
        return cls(
            **{name: read_size(kind, name, arguments[name]) for name in arguments}
        )

    @abstractmethod
    def expected(self, form: QuadraticForm, spectrum: Spectrum) -> Estimate:
        """Return E[c |A δ|²] [N], in the divergence's unit."""

    @abstractmethod
    def mean_size(self, d: int) -> float | None:
        """Return E|vᵀδ| for a unit v: along the attack's direction, or any.

        None where the law leaves it open. It is what a linear law of degradation
        (discrete families) needs, as the second moment is what a quadratic one does.
        """

    def reach(self) -> float | None:
        """Return a norm of δ that is typical of the attack; None where none is."""
        return None


class DirectedAttack(Attack):
    """δ = ε v along the worst direction v; only ε may be random."""

    @abstractmethod
    def sizes(self) -> tuple[Tensor, Tensor]:
        """Return norms ε [M] and their weights [M], an exact rule for the law of ε.

        As tensors, or as arrays.
        """

    def rule(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return these norms and weights as tensors of another's kind."""
        norms, weights = (torch.as_tensor(each).to(like) for each in self.sizes())
        return norms, weights

    def mean_size(self, d: int) -> float | None:
        """Return E[ε]."""
        norms, weights = self.rule(torch.empty(0, dtype=torch.float64))
        return float(norms @ weights)


class RandomAttack(Attack):
    """δ with a law that does not depend on the model."""

    normal: ClassVar[bool] = False
    """Whether it is a normal law, which may go any distance where it goes at all."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, count: int, d: int) -> NDArray[np.float64]:
        """Return `count` independent δ [count, d]."""

    def center(self, d: int) -> NDArray[np.float64]:
        """Return the mean of δ [d], at which the law may be mirrored."""
        return np.zeros(d)

    def damped(self, form: QuadraticForm, rates: Tensor) -> Tensor | None:
        """Return E[(1 − e^{−s Q})/s] [N, R] of the form Q, for rates s [N, R].

        None where it is not known, or where the law is not mirrored at zero. It makes
        means of exact values narrower, and no prediction.
        """
        return None


def read_size(kind: str, name: str, text: str) -> float:
    """Return a size read from text.

    Raises:
        ConfigError: it is no number, zero or larger.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < LARGEST:
        raise ConfigError(
            f"The attack {kind} was given {name}={text}",
            "Expected a number, zero or larger"
            + (f", below {LARGEST:g}: its square is taken" if value > 0 else ""),
            f"Write it as {kind}:{name}=0.1",
        )
    return value

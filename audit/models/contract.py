"""The contract: what the file's inputs and outputs mean, and who said so.

Each item comes from the first source that speaks: command line, environment and
configuration (one `ModelConfig`, whose origins are known), metadata in the model file,
names. `roles` decides what the inputs are, `head` what the outputs are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from audit.config import ModelConfig
from audit.ground.documents import read_yaml
from audit.ground.errors import InputError
from audit.ground.storage.arrays import MEMORY
from audit.models.expressions import Expression
from audit.models.network import Port


@dataclass(frozen=True)
class Item:
    """One decision of the contract, and who made it."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True)
class Settings:
    """What the user said about the model, and where each option was said."""

    model: ModelConfig
    origins: Mapping[str, str]
    method: str = "auto"
    bottleneck: bool = True
    draws: int = 1024
    memory: int = MEMORY
    rows: str = "auto"
    slopes: str = "auto"
    """How Jacobians are to be taken, and by which rules: the words of a plan."""
    aside: tuple[str, ...] = ()
    """Keys of the data that are no input: θ, ready draws."""

    @property
    def finite_differences(self) -> bool:
        """Whether derivatives are to be taken by finite differences."""
        return self.method == "finite-difference"

    @property
    def straight_through(self) -> bool:
        """Whether quantisation is to pass gradients as if it did not round."""
        return self.method == "straight-through"

    def origin(self, option: str) -> str:
        """Return who set the option."""
        return self.origins.get(option, "settings")


@dataclass(frozen=True)
class Roles:
    """What each input of the file is.

    Args:
        condition: what is perturbed.
        held: input -> key of the data, or a value.
        items: who said so.
        target: θ, in a density.
        noise: z, in a sampler. base: its law, or a key of the data.
    """

    condition: str
    held: Mapping[str, str]
    items: tuple[Item, ...]
    target: str | None = None
    noise: str | None = None
    base: str | None = None


@dataclass(frozen=True)
class Head:
    """The family and how its parameters are read from the outputs.

    In the contracts density and transport the family is `implicit`, and its parameters
    are `log_prob` and `sample`. Where outputs hold those of several masks or members,
    `masks` is how many, and `axis` where they are, [N, S, …] for 1; `pooled`, whether
    each is a mixture itself, whose components are pooled.
    """

    family: str
    parameters: Mapping[str, Expression]
    options: Mapping[str, object]
    items: tuple[Item, ...]
    contract: str = "parameters"
    masks: int = 0
    axis: int = 1
    pooled: bool = False


def hold(value: str, port: Port) -> object:
    """Return the constant a held input is given as text; it must be YAML numbers.

    Raises:
        InputError: it is no number or list of numbers.
    """
    try:
        constant, _ = read_yaml(value)
        np.asarray(constant, dtype=np.float64)
        if np.asarray(constant).dtype.kind not in "biuf":  # too large for 64 bits
            constant = None
    except (ValueError, TypeError, OverflowError):
        constant = None
    if isinstance(constant, (int, float, list)):
        return constant
    raise InputError(
        f"The held input '{port.name}' was given as '{value}'",
        "Expected a key of the data file or a number (or a list of numbers)",
        f"Pass --held {port.name}=0 or --held {port.name}=KEY",
    )

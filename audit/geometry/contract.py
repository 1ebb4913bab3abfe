"""What a third party's divergence has to be: looked at where it is first used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from torch import Tensor

from audit.families.tensors import Tensors
from audit.ground.errors import BrokenPlugin
from audit.ground.plugins import fault, is_ours
from audit.linalg.stored import LinearOperator


class Row(Protocol):
    """What of a divergence is looked at."""

    @property
    def scale(self) -> float:
        """Its constant c."""

    @property
    def tensor(self) -> Tensors:
        """Which metric tensor it has."""

    @property
    def root(self) -> Callable[..., LinearOperator] | None:
        """Its own root."""

    @property
    def exact(self) -> Callable[..., Tensor | None]:
        """Its exact values."""


T = TypeVar("T", bound=Row)
_KIND = "divergences"


def lacks(found: object) -> Iterable[str]:
    """Yield what the object of an entry point lacks: it makes a divergence."""
    if not callable(found):
        yield "is no function that returns a Divergence (audit.plugins)"


def checked(made: object, make: Callable[..., object], base: type[T]) -> T:
    """Return what a function of the registry made, if it is a whole divergence.

    Raises:
        BrokenPlugin: it is something else, or its metric tensor is nobody's.
    """
    if not isinstance(made, base):
        raise fault(_KIND, make, f"makes {type(made).__name__}, not a Divergence")
    if (made.tensor is Tensors.OTHER) != (made.root is not None):
        own = "has no root" if made.root is None else "has a root of its own"
        raise fault(_KIND, make, f"names the tensor '{made.tensor.value}' and {own}")
    if not made.scale > 0:
        raise fault(_KIND, make, f"has the constant c = {made.scale:g}, not above 0")
    return made


def checked_root(divergence: Row, found: LinearOperator, phi: Tensor) -> LinearOperator:
    """Return the root that a divergence brings, if it is one of N laws [N, r, p].

    Raises:
        BrokenPlugin: it is no operator, or of another shape.
    """
    shape = getattr(found, "shape", None)
    if not hasattr(found, "matmat") or shape is None or len(shape) != 3:
        clause = f"gives a root of type {type(found).__name__}, not a LinearOperator"
        raise _fault(divergence, clause)
    n, p = phi.shape
    if (shape[0], shape[2]) != (n, p):
        clause = f"gives a root of shape {list(shape)}, not [{n}, r, {p}]"
        raise _fault(divergence, clause)
    return found


def checked_values(divergence: Row, found: object, phi: Tensor) -> None:
    """Look at exact values [N]; None says that they are not known.

    Raises:
        BrokenPlugin: they are something else.
    """
    if found is None:
        return
    shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
    if shape != [len(phi)]:
        clause = f"gives exact values of shape {shape}, not [{len(phi)}]"
        raise _fault(divergence, clause)


def _fault(divergence: Row, clause: str) -> BrokenPlugin:
    hooks = (divergence.root, divergence.exact)
    owner = next(
        (hook for hook in hooks if hook is not None and not is_ours(hook)),
        divergence.exact,
    )
    return fault(_KIND, owner, clause)

"""Products with a Jacobian that nobody stores, by the sweep of the imported program.

The program is linearised once for a block of inputs: partial derivatives are kept, and
no graph. Jᵀ U pulls all K columns of U back together (`Linear.rows`), J V pushes them
forward (`Linear.columns`): each step is one call for n · K vectors, where autograd
takes a pass for each column, and for J v one backward through the backward pass.

At opening both products are held against autograd's at one input; where they differ,
or a step has no rule, autograd stays.

Vectors that are very large or small are brought to size one before they take the
network's own type, and their lengths multiplied in afterwards in float64: no factor of
the law's root is lost to the range of float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from audit.ground.errors import AuditError
from audit.importer.sweep import Dense, Linear, NotSwept
from audit.importer.sweep.cut import Cut, narrowest
from audit.models.density import Values
from audit.models.head_products import HeadProducts, head_products
from audit.models.maps import ReverseJacobian
from audit.models.opened import OpenModel
from audit.models.products import ByProducts
from audit.models.swept import ByRules, graph_of_rows
from audit.models.swept_cut import (
    Hidden,
    apart,
    block_of,
    is_worth,
    sized,
    together,
)

_APART = {torch.float32: 1e-4, torch.float64: 1e-9}
"""How far a product may be from autograd's, of its length."""
_SEED = 43


@dataclass(frozen=True)
class SweptProducts(ByProducts):
    """J of φ at x by rules: every product takes all its columns at once.

    Args:
        linear: the graph at the inputs.
        head: φ as a function of the graph's outputs there.
    """

    linear: Linear
    head: HeadProducts

    @property
    def block(self) -> int:
        """How many vectors are best multiplied together."""
        return block_of(self.linear.way)

    def pulled(self, vectors: Tensor) -> Tensor:
        """Return Jᵀ U [N, d, K] in float64."""
        n, _, columns = vectors.shape
        unit, length = sized(vectors.mT)
        found = unit.new_empty(n, columns, self.x.shape[1])
        for part in self._parts(columns):
            cotangents = self.head.pulled(unit[:, part], self.x.dtype)
            out = self.x.new_empty(n, part.stop - part.start, self.x.shape[1])
            self.linear.rows([[Dense(0, g)] for g in cotangents], 0, n, out)
            found[:, part] = out
        return (found if length is None else found * length).mT

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return J V [N, p, K] in float64."""
        columns = vectors.shape[2]
        found = self.phi.new_empty(len(self.phi), columns, self.phi.shape[1])
        for part in self._parts(columns):
            unit, length = sized(vectors[:, :, part].mT)
            tangents = self.linear.columns(unit.to(self.x.dtype))
            pushed = self.head.pushed(tangents, unit.shape[:2])
            found[:, part] = pushed if length is None else pushed * length
        return found.mT

    def factors(self) -> tuple[Iterator[Tensor], Hidden] | None:
        """Return L, in parts, and J_h [N, w, d]; None where not worth it.

        The parts are [n, p, w] in float64, of some inputs after others.
        """
        way, (n, p, d) = self.linear.way, self.shape
        cut = narrowest(way)
        if cut is None or not is_worth(way, cut.width, p, d):
            return None
        parts = apart(n, p * cut.width)
        if self.head.taken(parts[0]) is None:  # all inputs, a pass for each column
            if p * cut.width > way.widest:
                return None
            parts = [slice(0, n)]
        left = (self._left(cut, part) for part in parts)
        return left, Hidden(self.linear, cut, self.x)

    def _left(self, cut: Cut, part: slice) -> Tensor:
        """Return L [n, p, w] at some inputs."""
        head = self.head.taken(part) or self.head
        tangents = cut.after(self.linear, self.x, part.start, part.stop)
        return head.pushed(tangents, (part.stop - part.start, cut.width)).mT

    def _parts(self, columns: int) -> list[slice]:
        numbers = len(self.x) * self.linear.way.widest
        return together(numbers, self.x.dtype, columns)


@dataclass(frozen=True)
class ProductsMap(ByRules):
    """x -> φ, and J by its products."""

    def linearize(self, x: Tensor, held: Values) -> tuple[Tensor, ReverseJacobian]:
        """Return φ [N, p] in float64, and J by its products.

        Where a file makes values of another shape of some inputs than it made at
        opening, these inputs are autograd's.
        """
        try:
            return self.swept(x, held)
        except NotSwept:
            phi, jacobian = self.oracle.linearize(x, held)
            assert isinstance(jacobian, ReverseJacobian)  # else it is not planned
            return phi, ByProducts(jacobian.phi, jacobian.x)

    def swept(self, x: Tensor, held: Values) -> tuple[Tensor, SweptProducts]:
        """Return the same by rules alone.

        Raises:
            NotSwept: a value has another shape than at opening.
        """
        given = x.detach().to(self.rows.dtype)
        named = {self.condition: given.reshape(-1, *self.event), **held}
        placed = self.layout.place(named)
        linear = self.rows.sweep.linearise([placed[name] for name in self.inputs])
        outputs = dict(zip(self.rows.outputs, linear.values, strict=True))
        phi, head = head_products(self.rows.parameters, outputs, self.rows.sources)
        return phi, SweptProducts(phi, given, linear, head)


def with_products(model: OpenModel) -> OpenModel:
    """Return a model with products by its sweep, where they agree with autograd's."""
    found = graph_of_rows(model)
    if isinstance(found, str):
        return model
    rows, names, layout = found
    if rows.sweep.alone or rows.sweep.worth > max(rows.size, model.density.d):
        return model
    subject = model.subject
    given = subject.condition, subject.event, layout, model.density.parameter_map
    made = ProductsMap(rows, names, *given)
    return replace(model, products=made) if _agrees(model, made) else model


def _agrees(model: OpenModel, made: ProductsMap) -> bool:
    """Tell whether both products are autograd's at the first input without NaN."""
    given = model.rows(model.probe_index()[:1])
    try:
        phi, ours = made.swept(*given)
        _, jacobian = made.oracle.linearize(*given)
        if not isinstance(jacobian, ReverseJacobian):
            return False
        theirs = ByProducts(jacobian.phi, jacobian.x)
        u, v = (_random(size, phi) for size in ours.shape[1:])
        pulled, pushed = theirs.pulled(u), theirs.matmat(v)
        pairs = [(ours.pulled(u), pulled), (ours.matmat(v), pushed)]
        if (factors := ours.factors()) is not None:
            lefts, hidden = factors
            left = torch.cat(list(lefts))
            pairs += [(hidden.rmatmat(left.mT @ u), pulled)]
            pairs += [(left @ hidden.matmat(v), pushed)]
    except (NotSwept, AuditError, RuntimeError, NotImplementedError):
        return False
    return all(_near(a, b, _APART[made.rows.dtype]) for a, b in pairs)


def _near(ours: Tensor, theirs: Tensor, least: float) -> bool:
    return bool((ours - theirs).norm() <= least * theirs.norm())


def _random(size: int, like: Tensor) -> Tensor:
    drawn = np.random.default_rng(_SEED).standard_normal((1, size, 1))
    return torch.from_numpy(drawn).to(like.device)

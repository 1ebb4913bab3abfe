"""A look around: radii lowered by values of D alone, on rays and beside the best one.

Where an ascent is not worth what it takes, or its gradients cost a value for each
parameter, a few values in all directions still tell whether v is far from the worst:

1.  Along the rays that a search for witnesses starts on (`starts`), ± the form's
    leading eigenvectors and random ones, D is taken at the radius that is known and at
    half of it. Where none is known, or one so large that a nearer one is likely, it is
    taken all along the rays instead: to ten times the input's own length (or ten), and
    ten times as far where the local law's radius is large. Where τ is not reached on
    these either, it is looked for closer to the highest ones.
2.  Beside the best direction so far D is taken at the radius in random directions,
    which come nearer in each round.

Of the smallest radius at which D ≥ τ was seen the direction with the largest D is
followed back to where τ is crossed first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.verify.critical import FAR
from audit.verify.crossing import REACH
from audit.verify.exact import Exact
from audit.verify.local import LocalLaw
from audit.verify.starts import LEADING, starts

REACHED = 1 - 2e-6
"""Of τ, as exact as a crossing is."""
ROUNDS = 3
CLOSER = 2
"""How often to look closer where no radius is known."""
_NEAR = (0.5, 1.0)  # of a radius that is known
_ALONG = 128  # values on all rays together, where none is known
_CHOSEN = [0, LEADING, 1, LEADING + 1, *range(2 * LEADING, 2 * LEADING + 4)]
_FINE = 2.0**-10  # of the farthest radius: the nearest of them
_FURTHER = 10.0  # times the reach of an input without a direction, at most
_BESIDE = 8  # directions of a round
_APART = (0.6, 0.3, 0.15)  # of a direction's length, by round
_PEAKS, _CLOSER = 4, 9  # places that are looked at closer, and radii of each
_STREAM = 31  # of the noise, and the next ones


@dataclass(frozen=True)
class Looked:
    """D at some radii of some rays of k inputs.

    Shapes: rows [k]; along [k, K, m]; radii [k, K, R], ascending; value [k, K, R], −∞
        where D is not known.
    """

    exact: Exact
    rows: Tensor
    along: Tensor
    radii: Tensor
    value: Tensor

    @classmethod
    def at(cls, exact: Exact, rows: Tensor, along: Tensor, radii: Tensor) -> Looked:
        """Return what D is along rays [k, K, m], at the radii [k, K, R]."""
        (k, rays, m), count = along.shape, radii.shape[2]
        u = (along.unsqueeze(2) * radii.unsqueeze(3)).reshape(k, rays * count, m)
        value = torch.nan_to_num(exact(rows, u)[0], nan=-torch.inf, posinf=torch.inf)
        return cls(exact, rows, along, radii, value.reshape(k, rays, count))

    def reached(self, tau: float) -> tuple[Tensor, Tensor]:
        """Return where D ≥ τ was seen [k], and the nearest place that it was [k, m].

        Of several that are as near, where D is largest.
        """
        radii = torch.where(self.value >= tau * REACHED, self.radii, torch.inf)
        least = radii.amin(dim=(1, 2))
        there = radii == least[:, None, None]
        best = torch.where(there, self.value, -torch.inf).flatten(1).argmax(dim=1)
        ray = best // radii.shape[2]
        u = self.along[torch.arange(len(ray), device=ray.device), ray]
        return least.isfinite(), u * least.unsqueeze(1)

    def closer(self) -> Looked:
        """Return what D is about the highest places seen: between their neighbours."""
        count = self.radii.shape[2]
        best = self.value.flatten(1).topk(_PEAKS, dim=1).indices
        ray, place = best // count, best % count
        radii = self.radii[torch.arange(len(ray), device=ray.device).unsqueeze(1), ray]
        low, high = (
            radii.gather(2, (place + step).clamp(0, count - 1).unsqueeze(2))
            for step in (-1, 1)
        )
        shares = torch.linspace(0, 1, _CLOSER).to(radii)
        along = self.along.gather(
            1, ray.unsqueeze(2).expand(*ray.shape, self.along.shape[2])
        )
        return Looked.at(self.exact, self.rows, along, low + (high - low) * shares)

    def take(self, chosen: Tensor) -> Looked:
        """Return those of some inputs."""
        parts = (self.rows, self.along, self.radii, self.value)
        return Looked(self.exact, *(part[chosen] for part in parts))


def followed(looked: Looked, tau: float, closer: int = 0) -> tuple[Tensor, Tensor]:
    """Return at which inputs [j] τ is reached on rays, and the nearest places [j, m].

    Args:
        looked: what was seen.
        tau: what has to be reached.
        closer: how often to look closer where it was not.
    """
    found, u = looked.reached(tau)
    rows, places = [looked.rows[found]], [u[found]]
    if closer and not bool(found.all()):
        again = followed(looked.take(~found).closer(), tau, closer - 1)
        rows, places = [*rows, again[0]], [*places, again[1]]
    return torch.cat(rows), torch.cat(places)


def rays_of(exact: Exact, local: LocalLaw) -> Tensor:
    """Return the directions [n, K, m] of a look around, of norm one."""
    return torch.nn.functional.normalize(starts(exact.site, local, 2.0), dim=2)


def near(exact: Exact, rows: Tensor, along: Tensor, radius: Tensor) -> Looked:
    """Look along rays [k, K, m] of inputs [k] whose radii are known [k]."""
    radii = radius[:, None, None] * radius.new_tensor(_NEAR)
    return Looked.at(exact, rows, along, radii.expand(*along.shape[:2], -1))


def everywhere(
    exact: Exact, rows: Tensor, along: Tensor, guess: Tensor, most: Tensor
) -> Looked:
    """Look all along rays [k, K, m] of inputs [k] whose first crossing is not known.

    Half of the radii are geometric and half of them in equal steps: D of a network of
    waves is large in windows that are equally wide.

    Args:
        exact: the divergence.
        rows: of the inputs.
        along: directions to choose from.
        guess: the local law's radii [k].
        most: radii [k] that are known; ∞ where none is.
    """
    along = along[:, _CHOSEN] if exact.site.free > 1 else _both_ways(along)
    reach = FAR * exact.site.lengths()[rows].clamp_min(1.0)
    guess = torch.nan_to_num(guess, nan=0.0, posinf=0.0)
    reach = torch.minimum(REACH * guess, _FURTHER * reach).maximum(reach)
    reach = reach.minimum(most)
    equal = torch.linspace(0, 1, _ALONG // along.shape[1] // 2 + 1)[1:].to(reach)
    shares = torch.cat([_FINE ** (1 - equal), equal]).sort().values
    radii = reach[:, None, None] * shares
    return Looked.at(exact, rows, along, radii.expand(*along.shape[:2], -1))


def beside(exact: Exact, rows: Tensor, u: Tensor, turn: int) -> Tensor:
    """Return unit directions [k, K, m] beside those of u [k, m], keyed by the input."""
    m = u.shape[1]
    drawn = exact.site.noise.normals((_BESIDE, m), _STREAM + turn, rows.tolist())
    away = drawn.to(u) / m**0.5
    middle = torch.nn.functional.normalize(u, dim=1).unsqueeze(1)
    return torch.nn.functional.normalize(middle + _APART[turn] * away, dim=2)


def _both_ways(along: Tensor) -> Tensor:
    """Return the two directions [n, 2, 1] that a single feature has."""
    return along.new_tensor([[1.0], [-1.0]]).expand(len(along), 2, 1)

"""Randomness keyed by (seed, input index).

Which numbers an input sees must not depend on the batch it is in, the worker or the
engine. So each input has its own counter-based generator, Philox with the key (seed,
index).

Points of the unit cube come in units that are independent of each other, so that the
spread of the units' means is an honest standard error:

    random       one point is a unit
    antithetic   u and 1 − u: odd functions of symmetric noise cancel
    sobol        32 copies of a Sobol net, its generating matrices scrambled once by
                 the seed, each copy shifted digitally by its own random number. Every
                 point of a copy is uniform, so a copy's mean is unbiased, and for
                 smooth functions far closer to the integral than random points are.

References:
    Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC11 (2011).
    L'Ecuyer & Lemieux, Recent advances in randomized quasi-Monte Carlo methods (2002),
    sections 4.2 and 5, for digital shifts and independent copies.

Some samplers know torch's global generator alone, which belongs to the process: two
threads that seed it would draw of each other's numbers. With `own_generator` one waits
for the other, and what it was before is put back.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.ground.errors import ConfigError

_ONE = threading.RLock()
COPIES = 32  # of a net: their means have 31 degrees of freedom
_LEAST = 8  # points of a net
_SOBOL_BITS, _BITS = 30, 53  # of torch's net, and of a float64 below one
_SOBOL_DIMENSIONS = 21201
_ANOTHER = 0x9E3779B97F4A7C15  # from a seed to one that nobody gives
_LOW, _HIGH = 2.0**-60, 1 - 2.0**-53


@dataclass(frozen=True)
class Points:
    """Points of the open unit cube.

    Args:
        values: [S, N, count] in float64.
        unit: consecutive points that are not independent of each other.
    """

    values: Tensor
    unit: int


@dataclass(frozen=True)
class Noise:
    """The randomness of some inputs.

    Args:
        seed: of the scan.
        index: the inputs' own indices [N].
        draws: S, how many draws each input gets.
        sampling: how `points` fill the cube: random, antithetic, sobol, or auto.
    """

    seed: int
    index: NDArray[np.int64]
    draws: int
    sampling: str = "random"

    def of(self, index: NDArray[np.int64]) -> Noise:
        """Return the noise of other inputs."""
        return replace(self, index=index)

    def with_draws(self, draws: int) -> Noise:
        """Return the noise with another number of draws."""
        return replace(self, draws=draws)

    def anew(self) -> Noise:
        """Return noise that is independent of this one, of the same inputs."""
        return replace(self, seed=(self.seed + _ANOTHER) % 2**64)

    def generator(self, row: int, stream: int) -> np.random.Generator:
        """Return the generator of one input; streams do not overlap."""
        key = np.array([self.seed % 2**64, self.index[row]], dtype=np.uint64)
        counter = np.array([0, 0, 0, stream], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=counter))

    def normals(
        self, shape: tuple[int, ...], stream: int, rows: Iterable[int] | None = None
    ) -> Tensor:
        """Return normal numbers [k, *shape] of some inputs [k], all by default."""
        wanted = range(len(self.index)) if rows is None else rows
        drawn = [self.generator(row, stream).standard_normal(shape) for row in wanted]
        return torch.from_numpy(np.stack(drawn))

    def uniforms(self, count: int, stream: int = 0) -> Tensor:
        """Return independent open-interval uniforms [S, N, count] in float64."""
        rows = [
            self.generator(row, stream).random((self.draws, count))
            for row in range(len(self.index))
        ]
        values = torch.from_numpy(np.stack(rows, axis=1))
        return values.clamp(_LOW, _HIGH)

    def points(self, count: int, stream: int = 0) -> Points:
        """Return points that fill the cube of `count` dimensions as `sampling` says.

        Raises:
            ConfigError: the number of draws does not suit the way of sampling.
        """
        match self.kind(count):
            case "sobol":
                return self._sobol(count, stream)
            case "antithetic":
                half = self.with_draws(self.draws // 2).uniforms(count, stream)
                pairs = torch.stack([half, (1 - half).clamp(_LOW, _HIGH)], dim=1)
                return Points(pairs.flatten(0, 1), 2)
            case _:
                return Points(self.uniforms(count, stream), 1)

    def kind(self, count: int) -> str:
        """Return how points of `count` dimensions are drawn.

        Raises:
            ConfigError: the number of draws does not suit what was asked for.
        """
        net = self.draws // COPIES
        fits = net * COPIES == self.draws and net & (net - 1) == 0 and net >= _LEAST
        fits = fits and count <= _SOBOL_DIMENSIONS
        if self.sampling == "auto":
            return "sobol" if fits else "random"
        if self.sampling == "sobol" and not fits:
            raise ConfigError(
                f"--sampling sobol was given, {self.draws} draws of {count} numbers",
                f"It needs {COPIES} copies of a net of 8, 16, 32, … points, in at most "
                f"{_SOBOL_DIMENSIONS} dimensions",
                f"Pass --draws-per-input {COPIES * 32}, or --sampling random",
            )
        if self.sampling == "antithetic" and self.draws % 2:
            raise ConfigError(
                f"--sampling antithetic was given with {self.draws} draws",
                "Its draws come in pairs",
                "Pass an even number to --draws-per-input",
            )
        return self.sampling

    def _sobol(self, count: int, stream: int) -> Points:
        net = _net(self.draws // COPIES, count, self.seed)  # [P, count]
        rows = [
            self.generator(row, stream).integers(2**_BITS, size=(COPIES, 1, count))
            for row in range(len(self.index))
        ]
        shifts = np.stack(rows, axis=2)  # [copies, 1, N, count]
        shifted = net[None, :, None, :] ^ shifts
        values = torch.from_numpy((shifted + 0.5) * 2.0**-_BITS)
        return Points(values.flatten(0, 1).clamp(_LOW, _HIGH), len(net))


@lru_cache(maxsize=8)
def _net(points: int, count: int, seed: int) -> NDArray[np.int64]:
    """Return a scrambled Sobol net [points, count] as integers of 53 bits."""
    make: Callable[..., Any] = torch.quasirandom.SobolEngine
    engine = make(count, scramble=True, seed=seed % 2**63)
    values: Tensor = engine.draw(points, dtype=torch.float64)
    whole: NDArray[np.int64] = np.rint(values.numpy() * 2**_SOBOL_BITS).astype(np.int64)
    return whole << (_BITS - _SOBOL_BITS)


@contextlib.contextmanager
def own_generator() -> Iterator[None]:
    """Have the global generator alone inside the block; seed it there."""
    with _ONE, torch.random.fork_rng(devices=[]):
        yield

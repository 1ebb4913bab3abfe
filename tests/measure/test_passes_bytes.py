"""What an input takes when it is measured by products: estimated, and counted.

Counted by torch itself: every storage that an operation makes, while it is alive. What
all inputs share, the weights, is in the peak of one and of four inputs alike.
"""

import weakref

import numpy as np
import pytest
import torch
from scans import written
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from audit.geometry.divergences import build_divergence
from audit.measure import measure
from audit.measure.matrix_free import passes_bytes
from audit.measure.preparation import prepare
from measure.test_matrix_free import WIDE, X, hidden, of, weights

BROAD, DEEP = 3000, 40
IN, OUT = weights(BROAD, 5), weights(WIDE, 6, BROAD)


def shallow(x):
    return {"loc": hidden(x, WIDE), "s": hidden(x, WIDE, 2)}


def deep(x):
    """Keep far more on the way than the Krylov space takes."""
    h = x @ IN / 4
    for _ in range(DEEP):
        h = torch.sin(h)
    return {"loc": h @ OUT / 30, "s": hidden(x, WIDE, 2)}


class Living(TorchDispatchMode):
    """Counts the bytes of storages that were made in the block and are alive."""

    def __init__(self):
        super().__init__()
        self.now, self.peak, self.sizes = 0, 0, {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, torch.Tensor):
                self.count(value.untyped_storage())
        return made

    def count(self, storage):
        place = storage.data_ptr()
        if place and place not in self.sizes:
            self.sizes[place] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.gone, place)

    def gone(self, place):
        self.now -= self.sizes.pop(place)


def peak(prepared, inputs):
    with Living() as living:
        index = np.arange(inputs)
        measure(prepared.model, prepared.questions, index, inputs)
    return living.peak


@pytest.mark.parametrize(
    ("function", "top"),
    [(shallow, 1), (deep, 1), pytest.param(shallow, 40, marks=pytest.mark.slow)],
)
def test_an_input_takes_what_is_estimated_at_the_most(tmp_path, function, top):
    law = of("normal", loc="loc", scale="exp(s)")
    options = {"divergences": ("kl",), "verify": 0, "method": "krylov", "top": top}
    prepared = prepare(written(tmp_path, function, X, law, **options), False)
    peak(prepared, 1)  # what is made once
    one = (peak(prepared, 3) - peak(prepared, 1)) / 2
    told = passes_bytes(top, prepared.model, (build_divergence("kl"),))
    assert one <= told <= 2.5 * one


def correlated(x):
    lower = torch.tril(hidden(x, 36).reshape(-1, 6, 6), -1)
    return {"loc": hidden(x, 6, 2), "l": lower + torch.eye(6, dtype=x.dtype)}


@pytest.mark.parametrize(
    ("function", "law", "stored"),
    [
        (correlated, of("multivariate_normal", loc="loc", scale_tril="l"), 27**2),
        (shallow, of("normal", loc="loc", scale="exp(s)"), 0),
    ],
)
def test_a_root_that_is_stored_is_counted_twice(tmp_path, function, law, stored):
    """Root and copy of 6 + 6·7/2 parameters in all of them; one by one, none."""
    options = {"divergences": ("kl",), "verify": 0, "method": "krylov"}
    model = prepare(written(tmp_path, function, X, law, **options), False).model
    without, asked = passes_bytes(1, model, ()), (build_divergence("kl"),)
    assert passes_bytes(1, model, asked) - without == 2 * stored * 8  # float64

"""One or more members of every registered family, N = 2 inputs each.

What each of them can do is in the table of `expected`; a family that is registered and
not listed in both fails `test_table`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from audit.families import build_family
from audit.families.interface import Family

from .expected import EXPECTED, Expected


@dataclass(frozen=True)
class Example:
    family_name: str
    values: dict[str, list]
    options: dict[str, object] = field(default_factory=dict)
    note: str = ""

    @property
    def label(self) -> str:
        return f"{self.family_name}({','.join(self.values)}){self.note}"

    @property
    def expected(self) -> Expected:
        return EXPECTED[self.label]

    @property
    def is_of_classes(self) -> bool:
        """Whether its `probs` are those of K classes, which sum to one."""
        return self.family_name in CLASSES

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {
            name: torch.tensor(value, dtype=torch.float64)
            for name, value in self.values.items()
        }

    @property
    def family(self) -> Family:
        shapes = {name: tuple(value.shape[1:]) for name, value in self.tensors.items()}
        return build_family(self.family_name, shapes, **self.options)

    @property
    def phi(self) -> Tensor:
        return self.family.pack(self.tensors)

    @property
    def first_coordinate(self) -> Example:
        """The law of the first coordinate alone, for independent coordinates."""
        values = {name: [row[0] for row in rows] for name, rows in self.values.items()}
        return Example(self.family_name, values, self.options, self.note)


CLASSES = ("categorical", "multinomial", "one_hot_categorical")
LOC = [[0.3, -1.2], [2.0, 0.1]]
SCALE = [[0.5, 1.4], [2.5, 0.8]]
SHAPE = [[0.7, 3.0], [8.0, 1.3]]
PROBS = [[0.2, 0.6], [0.85, 0.4]]
LOGITS = [[-1.2, 0.4], [2.0, 0.1]]
TRIL = [[[1.2, 0.0], [0.4, 0.7]], [[0.5, 0.0], [-0.8, 2.0]]]
COVARIANCE = [[[1.5, 0.4], [0.4, 0.7]], [[0.5, -0.3], [-0.3, 2.0]]]

EXAMPLES = [
    Example("bernoulli", {"probs": PROBS}),
    Example("bernoulli", {"logits": LOGITS}),
    Example("beta", {"concentration1": SHAPE, "concentration0": SCALE}),
    Example("binomial", {"probs": PROBS}, {"total_count": 7}),
    Example("binomial", {"logits": LOGITS}, {"total_count": "7"}),
    Example("categorical", {"probs": [[0.2, 0.5, 0.3], [0.7, 0.2, 0.1]]}),
    Example("categorical", {"logits": [[0.2, 1.5, -0.3], [0.7, 0.2, 3.0]]}),
    Example("cauchy", {"loc": LOC, "scale": SCALE}),
    Example("dirichlet", {"concentration": [[0.7, 2.5, 3.0], [7.0, 2.0, 1.2]]}),
    Example("exponential", {"rate": SCALE}),
    Example("gamma", {"concentration": SHAPE, "rate": SCALE}),
    Example("geometric", {"probs": PROBS}),
    Example("geometric", {"logits": LOGITS}),
    Example("gumbel", {"loc": LOC, "scale": SCALE}),
    Example("half_normal", {"scale": SCALE}),
    Example(
        "inverse_gamma", {"concentration": [[5.0, 3.5], [9.0, 4.5]], "rate": SCALE}
    ),
    Example("laplace", {"loc": LOC, "scale": SCALE}),
    Example("log_normal", {"loc": LOC, "scale": [[0.5, 0.3], [0.4, 0.2]]}),
    Example("logistic", {"loc": LOC, "scale": SCALE}),
    Example(
        "low_rank_multivariate_normal",
        {
            "loc": [[0.1, 0.2, 0.3], [1.0, -1.0, 0.0]],
            "cov_factor": [[[1.0], [0.5], [-0.2]], [[0.3], [0.3], [2.0]]],
            "cov_diag": [[0.5, 0.2, 1.0], [1.0, 2.0, 0.1]],
        },
    ),
    Example(
        "multinomial",
        {"probs": [[0.2, 0.5, 0.3], [0.7, 0.2, 0.1]]},
        {"total_count": 7},
    ),
    Example(
        "multinomial",
        {"logits": [[0.2, 1.5, -0.3], [0.7, 0.2, 3.0]]},
        {"total_count": 7},
    ),
    Example("multivariate_normal", {"loc": LOC, "scale_tril": TRIL}),
    Example("multivariate_normal", {"loc": LOC, "covariance_matrix": COVARIANCE}),
    Example("multivariate_normal", {"loc": LOC, "precision_matrix": COVARIANCE}),
    Example("negative_binomial", {"total_count": SHAPE, "probs": PROBS}),
    Example("negative_binomial", {"total_count": SHAPE, "logits": LOGITS}),
    Example("normal", {"loc": LOC, "scale": SCALE}),
    Example("one_hot_categorical", {"probs": [[0.2, 0.5, 0.3], [0.7, 0.2, 0.1]]}),
    Example("one_hot_categorical", {"logits": [[0.2, 1.5, -0.3], [0.7, 0.2, 3.0]]}),
    Example("pareto", {"alpha": [[6.5, 9.0], [5.0, 12.0]]}, {"scale": 1.5}),
    Example("pareto", {"scale": SCALE, "alpha": [[6.5, 9.0], [5.0, 12.0]]}),
    Example("poisson", {"rate": SHAPE}),
    Example(
        "quantile",
        {"quantiles": [[-1.0, 0.2, 0.9, 3.0], [0.0, 0.1, 0.2, 0.3]]},
        {"levels": (0.1, 0.4, 0.5, 0.9)},
        " linear",
    ),
    Example(
        "quantile",
        {"quantiles": [[[-1.0, 0.2, 0.9]] * 2, [[0.0, 0.1, 0.3]] * 2]},
        {"levels": "0.25, 0.5, 0.75", "interpolation": "step"},
        " step",
    ),
    Example("student_t", {"df": [[3.0, 5.0], [9.0, 30.0]], "loc": LOC, "scale": SCALE}),
    Example("uniform", {"low": LOC, "high": [[1.5, 0.2], [3.0, 0.7]]}),
    Example("von_mises", {"loc": LOC, "concentration": SHAPE}),
    Example("weibull", {"scale": SCALE, "concentration": [[1.5, 0.9], [2.0, 4.0]]}),
    Example(
        "mixture:normal",
        {
            "logits": [[0.2, -0.4], [1.0, 0.3]],
            "loc": LOC,
            "scale": SCALE,
        },
    ),
    Example(
        "mixture:gamma",
        {"probs": [[0.3, 0.7], [0.9, 0.1]], "concentration": SHAPE, "rate": SCALE},
    ),
    Example(
        "mixture:normal",
        {
            "logits": [[0.2, -0.4], [1.0, 0.3]],
            "loc": [[[0.1, 0.2], [1.0, 2.0]], [[0.0, 0.0], [0.3, -2.0]]],
            "scale": [[[1.0, 0.5], [1.0, 2.0]], [[0.4, 0.7], [1.3, 2.0]]],
        },
        note=" in two dimensions",
    ),
    Example(
        "mixture:bernoulli",
        {
            "probs": [[0.3, 0.7], [0.9, 0.1]],
            "component.logits": [[[0.1, 0.2], [1.0, 2.0]], [[0.0, 0.5], [0.3, -2.0]]],
        },
    ),
    Example(
        "mixture:poisson",
        {"probs": [[0.3, 0.7], [0.9, 0.1]], "rate": [[0.4, 2.0], [2.0, 3.0]]},
    ),
    Example(
        "mixture:negative_binomial",
        {
            "logits": [[0.2, -0.4], [1.0, 0.3]],
            "total_count": [[0.7, 3.0], [2.0, 1.3]],
            "component.probs": [[0.2, 0.6], [0.35, 0.4]],
        },
    ),
    Example("censored:normal", {"loc": LOC, "scale": SCALE}, {"low": 0.0, "high": 2.0}),
    Example("truncated:gamma", {"concentration": SHAPE, "rate": SCALE}, {"low": 0.5}),
    Example("hurdle:log_normal", {"probs": PROBS, "loc": LOC, "scale": SCALE}),
    Example(
        "hurdle:gamma", {"gate_logits": LOGITS, "concentration": SHAPE, "rate": SCALE}
    ),
    Example("zero_inflated:poisson", {"gate": PROBS, "rate": [[0.7, 2.0], [1.5, 1.3]]}),
    Example(
        "zero_inflated:negative_binomial",
        {
            "logits": LOGITS,
            "total_count": [[0.7, 3.0], [2.0, 1.3]],
            "component.probs": [[0.2, 0.6], [0.35, 0.4]],
        },
    ),
    Example(
        "transformed:student_t",
        {
            "df": [[3.0, 5.0], [9.0, 30.0]],
            "loc": LOC,
            "scale": SCALE,
            "target_loc": [[10.0, -3.0], [0.2, 1.5]],
            "target_scale": [[4.0, 0.5], [2.0, 1.0]],
        },
    ),
    Example(
        "transformed:gamma",
        {
            "concentration": SHAPE,
            "rate": SCALE,
            "target_scale": [[4.0, 0.5], [2.0, 1.0]],
        },
    ),
    Example(
        "transformed:normal",
        {"loc": LOC, "scale": [[0.5, 0.3], [0.4, 0.2]]},
        {"of": "log"},
        " of log",
    ),
    Example(
        "transformed:laplace",
        {"loc": LOC, "scale": SCALE, "target_loc": [[0.4, 0.1], [-0.3, 1.0]]},
        {"of": "logit"},
        " of logit",
    ),
    Example(
        "ordinal", {"loc": [0.3, -1.0], "cutpoints": [[-1.0, 0.2, 0.9], [0, 1, 4]]}
    ),
    Example("discrete_hazard", {"probs": [[0.2, 0.6, 0.1], [0.05, 0.4, 0.3]]}),
    Example("discrete_hazard", {"logits": [[-1.2, 0.4, 0.1], [2.0, 0.1, -3.0]]}),
    Example(
        "evidential",
        {
            "loc": LOC,
            "nu": SCALE,
            "alpha": [[1.5, 2.5], [1.8, 3.0]],
            "beta": [[0.8, 1.1], [2.0, 0.4]],
        },
    ),
    Example(
        "samples",
        {"samples": [[-1.0, 0.2, 0.9, 3.0], [0.1, 0.3, 2.0, 1.0]]},
    ),
    Example(
        "normal,gamma",
        {
            "0.loc": LOC,
            "0.scale": SCALE,
            "1.concentration": [2.0, 0.7],
            "1.rate": [1.0, 3.0],
        },
    ),
]


def each(examples: Sequence[Example]) -> pytest.MarkDecorator:
    """Run a test for each of them; no examples are an error, not a skipped test."""
    assert examples
    labels = [example.label for example in examples]
    return pytest.mark.parametrize("example", examples, ids=labels)


def each_where(applies: Callable[[Expected], bool]) -> pytest.MarkDecorator:
    """Run a test for each example for which the table says that it applies."""
    return each([example for example in EXAMPLES if applies(example.expected)])


each_example = each(EXAMPLES)

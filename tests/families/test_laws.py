"""Every registered family keeps the laws that `audit.testing` holds others' to."""

import pytest

from audit.families.checking import LAWS, subject_of

from .examples import EXAMPLES

CIRCLE = {  # laws of the real line; those of a circle are in `test_one_dimension`
    "fisher_is_the_sum_over_all_outcomes",
    "blocks_are_those_of_quadrature",
}
CASES = [
    pytest.param(
        example,
        law,
        id=f"{example.label}-{law.__name__}",
    )
    for example in EXAMPLES
    for law in LAWS
    if not (example.family_name == "von_mises" and law.__name__ in CIRCLE)
]


def subject(example):
    centred = "probs" in example.values and "categorical" in example.family_name
    tangent = (lambda step: step - step.mean(-1, keepdim=True)) if centred else None
    return subject_of(example.family, example.values, tangent=tangent)


@pytest.mark.parametrize(("example", "law"), CASES)
def test_a_family_keeps_the_law(example, law):
    law(subject(example))

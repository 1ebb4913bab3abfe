"""Every registered family keeps the laws that `audit.testing` holds others' to."""

import pytest

from audit.families.checking import LAWS, subject_of

from .examples import EXAMPLES

CIRCLE = {  # laws of the real line; those of a circle are in `test_one_dimension`
    "fisher_is_the_sum_over_all_outcomes",
    "blocks_are_those_of_quadrature",
}
MIXED = {  # an atom beside a density: neither a sum nor an integral is all of it
    "fisher_is_the_sum_over_all_outcomes",
    "kl_is_the_sum_over_all_outcomes",
    "other_values_are_sums_over_all_outcomes",
}  # they are held by sums and quadratures of their own, in `test_composed` and others
COSTLY = {  # seconds each for laws within limits, whose draws are found by bisection
    "kl_is_the_mean_log_ratio",  # `test_limited` has quadratures of scipy's densities
    "fisher_is_the_covariance_of_draws_scores",  # and such a covariance of its own
    "other_values_are_sums_over_all_outcomes",
}
TAILS = "distances_are_those_of_quadrature"  # thousands of panels of Student's tails
BUT = {"von_mises": CIRCLE, "hurdle": MIXED, "censored": MIXED}


def costly(example, law):
    limited = example.family_name.startswith(("censored", "truncated"))
    tails = example.family_name == "student_t" and law.__name__ == TAILS
    return tails or (limited and law.__name__ in COSTLY)


CASES = [
    pytest.param(
        example,
        law,
        id=f"{example.label}-{law.__name__}",
        marks=[pytest.mark.slow] if costly(example, law) else [],
    )
    for example in EXAMPLES
    for law in LAWS
    if law.__name__ not in BUT.get(example.family_name.partition(":")[0], ())
]


def subject(example):
    centred = "probs" in example.values and example.is_of_classes
    tangent = (lambda step: step - step.mean(-1, keepdim=True)) if centred else None
    return subject_of(example.family, example.values, tangent=tangent)


@pytest.mark.parametrize(("example", "law"), CASES)
def test_a_family_keeps_the_law(example, law):
    law(subject(example))

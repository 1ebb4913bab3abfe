"""An error of ours crosses to another process as it is."""

import pickle

import pytest

from audit.ground import errors

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.AuditError)
]
PARTS = ("a mean of 4 features was given", "Expected 10", "Write the moments\n  again")


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_its_kind_its_words_and_its_exit_code(kind):
    error = kind(*PARTS)
    other = pickle.loads(pickle.dumps(error))
    assert type(other) is kind
    assert (other.given, other.expected, other.next_step) == PARTS
    assert str(other) == str(error)
    assert other.exit_code == kind.exit_code

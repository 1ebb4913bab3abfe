"""What a record says of the rank of a form: no more than a law has parameters."""

import pytest
from scans import sample

from audit.measure.preparation import prepare
from audit.measure.records import divergence_infos


@pytest.mark.parametrize("name", ["linear_gaussian", "heteroscedastic", "digits_cnn"])
def test_a_law_of_fewer_parameters_than_features_leaves_some_free(name):
    prepared = prepare(sample(name, divergences=("kl",)), False)
    family, free = prepared.model.density.family, len(prepared.questions.frame.free)
    notes = divergence_infos(prepared)["kl"].notes
    told = [note for note in notes if note.startswith("rank at most")]
    some = f"rank at most {family.size} of {free}: "
    assert [note[: len(some)] for note in told] == [some] * (family.size < free)

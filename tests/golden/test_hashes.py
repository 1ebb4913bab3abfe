"""The frozen reports hold, on the machine class that they were frozen on."""

import json

import pytest

from tests.golden.hashes import FILE, ROOT, differences, machine, models

FROZEN = json.loads(FILE.read_text())
elsewhere = FROZEN["machine"] != machine()


def test_every_sample_model_is_frozen():
    assert {key.split(" ")[0] for key in FROZEN["hashes"]} == set(map(str, models()))


@pytest.mark.slow
@pytest.mark.skipif(elsewhere, reason=f"frozen on {FROZEN['machine']}")
@pytest.mark.parametrize("model", sorted(map(str, models())))
def test_reports_are_as_they_were(model, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert list(differences(FROZEN["hashes"], model)) == []

"""Classes first or classes last: asked where both are possible, and said."""

import numpy as np
import pytest
import torch

from audit.config import ModelConfig, ScanConfig
from audit.ground.errors import ConfigError
from audit.models.suggestions import suggest
from audit.run.inspection import inspect

from .saved import data_file, opened, trace_file

X = np.random.default_rng(1).normal(size=(4, 1, 3, 2)).astype(np.float32)
SAID = {"family": "categorical"}
W = torch.linspace(-2, 3, 5).reshape(1, 5, 1, 1)


def scores_of(x):
    """A convolution of width one."""
    return torch.sin(x * W.to(x))


def segmentation(x):
    """Five classes at each of 3 × 2 pixels, classes on the first axis."""
    return {"logits": scores_of(x)}


def sequence(x):
    return {"logits": scores_of(x)[:, :, :, 0]}


def file(tmp_path, head):
    return trace_file(tmp_path, head, torch.rand(2, 1, 3, 2)), data_file(tmp_path, x=X)


def test_logits_of_a_picture_are_refused_with_both_readings(tmp_path):
    path, data = file(tmp_path, segmentation)
    with pytest.raises(ConfigError, match=r"\[5, 3, 2\]") as caught:
        opened(path, data, **SAID)
    first = "logits=transpose(reshape(logits, 5, 6))"
    last = "logits=reshape(logits, 15, 2)"
    for text in (first, last):
        assert f'--param "{text}"' in caught.value.next_step

    def phi(text):
        said = {**SAID, "parameters": {"logits": text.removeprefix("logits=")}}
        model = opened(path, data, **said)
        assert not [code for code, _ in model.gates.warnings if code == "places"]
        law = model.density.family
        x, held = model.rows(np.arange(4))
        logits = law.unpack(model.density.parameter_map(x, held))["logits"]
        return law.places, logits

    scores = scores_of(torch.from_numpy(X).double())  # [n, class, row, column]
    places, logits = phi(first)
    assert places == (6,)
    for row in range(3):
        for column in range(2):
            found = logits[:, 2 * row + column]
            torch.testing.assert_close(
                found, scores[:, :, row, column], atol=1e-6, rtol=0
            )
    places, logits = phi(last)
    assert places == (15,)
    torch.testing.assert_close(logits, scores.reshape(4, 15, 2), atol=1e-6, rtol=0)


def test_a_sequence_is_read_with_classes_last_and_the_report_says_so(tmp_path):
    model = opened(*file(tmp_path, sequence), **SAID)
    assert model.density.family.places == (5,)
    (said,) = [text for code, text in model.gates.warnings if code == "places"]
    assert "logits [5, 3] of one input were read as 5 laws of 3 numbers each" in said
    assert '--param "logits=transpose(logits)"' in said


def test_a_suggestion_turns_a_picture_the_way_its_numbers_say():
    scores = scores_of(torch.from_numpy(X))  # [4, 5, 3, 2]
    first = {"logits": "transpose(reshape(logits, 5, 6))"}
    assert suggest({"logits": scores}).parameters == first
    for axis, text in (
        (1, "transpose(reshape(probs, 5, 6))"),
        (3, "reshape(probs, 15, 2)"),
    ):
        assert suggest({"probs": scores.softmax(axis)}).parameters == {"probs": text}


def test_inspect_prints_a_command_that_works_on_a_picture(tmp_path):
    path, data = file(tmp_path, segmentation)
    found = inspect(ScanConfig(ModelConfig(str(path)), str(data)))
    assert "--family categorical" in found.scan_command
    assert "transpose(reshape(logits, 5, 6))" in found.scan_command
    assert found.differentiable == "yes"

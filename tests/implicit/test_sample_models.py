"""The densities and samplers of sample_models, scanned without a flag.

References are in reference.npz, by quadrature and central differences through
onnxruntime (sample_models/implicit.py): no code of the audit takes part.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from audit.config import ModelConfig, ScanConfig
from audit.run.scan import scan

FOLDER = Path(__file__).parents[2] / "sample_models"
REFERENCE = np.load(FOLDER / "reference.npz")
ROWS = [tuple(range(0, 24, 3)), pytest.param(tuple(range(24)), marks=pytest.mark.slow)]
"""A third of the inputs that the reference knows by default, and all of them."""
FILES = {
    "choice_likelihood": ("choice_likelihood.onnx", "choice_likelihood.pt2"),
    "decoder": ("decoder.onnx", "decoder.pt2", "decoder_batch8.onnx"),
    "linear_posterior": ("linear_posterior.onnx",),
    "two_moons": ("two_moons.onnx",),
    "zuko_nsf": ("zuko_nsf.onnx", "zuko_nsf.pt2"),
}
FEW = {"index": (0, 3), "draws_per_input": 64}
ALL = [(name, file) for name, files in FILES.items() for file in files]
KNOWN = [(name, file) for name, file in ALL if f"{name}.trace" in REFERENCE.files]


@cache
def audited(name, file, **settings):
    config = ScanConfig(
        model=ModelConfig(path=str(FOLDER / file)),
        data=str(FOLDER / f"{name}.npz"),
        verify=0,
    )
    return scan(ScanConfig(**{**vars(config), **settings}))


def numbers(report):
    (name, *_) = report.ranked
    found = report.inputs.model_extra[name]
    return {key: np.array(values, float) for key, values in found.items()}


def plain(cases):
    """One file of each model by default; other formats, batches and flows are slow."""
    first = {files[0] for files in FILES.values()} - {"two_moons.onnx", "zuko_nsf.onnx"}
    return [
        pytest.param(*case, marks=[] if case[1] in first else [pytest.mark.slow])
        for case in cases
    ]


@pytest.mark.parametrize("index", ROWS, ids=len)
@pytest.mark.parametrize(("name", "file"), plain(KNOWN))
def test_every_file_has_the_reference_numbers_within_its_errors(name, file, index):
    found = numbers(audited(name, file, index=index))
    expected = REFERENCE[f"{name}.trace"][list(index)]
    error = found.get("trace_se", 0.0) + 0.005 * expected  # the reference's own
    assert (np.abs(found["trace"] - expected) < 4 * error).all()
    top = REFERENCE[f"{name}.eigenvalue"][list(index)]
    lower = found.get("eigenvalue_lower", found["eigenvalue"])
    upper = found.get("eigenvalue_upper", found["eigenvalue"])
    inside = (lower <= 1.01 * top) & (upper >= 0.99 * top)
    assert inside.mean() >= 0.9


@pytest.mark.parametrize(("name", "file"), plain(ALL))
def test_every_file_says_its_contract_and_needs_no_flag(name, file):
    report = audited(name, file, **FEW)
    assert report.model.contract in ("density", "transport")
    assert report.exit_code == 0
    assert report.data.n_skipped == 0
    assert set(report.model.origins.values()) >= {"metadata"}


@pytest.mark.slow
def test_two_formats_of_one_flow_say_the_same():
    one, other = (
        numbers(audited("zuko_nsf", file, **FEW)) for file in FILES["zuko_nsf"]
    )
    for quantity in ("trace", "eigenvalue", "score_mean"):
        np.testing.assert_allclose(one[quantity], other[quantity], rtol=2e-3)

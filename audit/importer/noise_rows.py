"""Where a draw has its rows, and files whose noise is of a whole call.

A draw whose first axis is open, or has the number that an input's first axis is fixed
at, has the rows there. Any other fixed shape is drawn once a call: so that each input
has noise of its own, the file is then given one row a call.
"""

from __future__ import annotations

import onnx
from onnx import ModelProto

from audit.ground.errors import NotInference
from audit.importer.drawing import Draw, Reading
from audit.importer.refused_draws import Axes


def is_call(draw: Draw, proto: ModelProto) -> bool:
    """Whether a shape has no axis for the rows: it is fixed, and no input's is."""
    if not draw.shape:
        return True
    first = draw.shape[0]
    fixed = {axes[0] for axes in given(proto).values() if axes}
    return isinstance(first, int) and first not in fixed


def of_a_row(draw: Draw, proto: ModelProto) -> list[int]:
    """Return the sizes of what a draw takes for each row of the input."""
    axes: Axes = draw.shape if is_call(draw, proto) else draw.shape[1:]
    return [axis for axis in axes if isinstance(axis, int)]


def given(proto: ModelProto) -> dict[str, Axes]:
    """Return the inputs that have to be given, and their shapes."""
    kept = {tensor.name for tensor in proto.graph.initializer}
    found = {}
    for info in proto.graph.input:
        if info.name not in kept:
            dims = info.type.tensor_type.shape.dim
            found[info.name] = tuple(
                int(d.dim_value) if d.HasField("dim_value") else d.dim_param or None
                for d in dims
            )
    return found


def fix_rows(proto: ModelProto, call: Draw, own: set[str]) -> None:
    """Fix the rows of a call at one, and see that this is what comes out.

    Args:
        proto: rewritten.
        call: an operator that draws once a call.
        own: the inputs that the file had before.

    Raises:
        NotInference: which axis has the rows is not told, or the outputs of one row
            have another number of them, such as that of the exporter's batch.
    """
    shapes = [i.type.tensor_type.shape for i in proto.graph.input if i.name in own]
    firsts = [shape.dim[0] for shape in shapes if shape.dim]
    open_ones = [dim for dim in firsts if not dim.HasField("dim_value")]
    names = {dim.dim_param for dim in open_ones}
    if len(names) > 1 or (len(open_ones) > 1 and "" in names):
        raise _no_rows(call, "several inputs have open axes of different names")
    for dim in open_ones:
        dim.dim_value = 1
    _forget_shapes(proto)
    known = Reading(onnx.shape_inference.infer_shapes(proto, data_prop=True))
    for output in proto.graph.output:
        axes = known.axes_of(output.name)
        if axes is None or not axes or axes[0] != 1:
            shown = "unknown" if not axes else str(axes[0] or "open")
            raise _no_rows(
                call, f"a call of one row gives '{output.name}' a first axis: {shown}"
            )


def _forget_shapes(proto: ModelProto) -> None:
    """Remove what was declared of tensors inside and of the outputs' first axes."""
    del proto.graph.value_info[:]
    for output in proto.graph.output:
        kind = output.type.tensor_type
        if kind.HasField("shape"):
            kind.ClearField("shape")


def _no_rows(draw: Draw, why: str) -> NotInference:
    return NotInference(
        f"{draw.label}: it draws {list(draw.shape)}, with no axis for the rows, and "
        f"{why}",
        "Expected noise for each row, or noise of a fixed size in a graph that gives "
        "one row for one row",
        "Export the model with a dynamic batch axis, its noise drawn like a tensor "
        "that has it (torch.randn_like, torch.randn(len(x), …))",
    )

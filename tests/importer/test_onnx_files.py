"""Files from strangers: external data, bombs, cycles, damage. Always a clear error."""

import os
import random
import time

import numpy as np
import onnx
import onnx_zoo
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from audit.ground.errors import AuditError, ModelError
from audit.importer import load_graph
from audit.importer.limits import MAX_ELEMENTS


def tiny(constants=None, nodes=None, opset=17):
    nodes = nodes or [helper.make_node("Mul", ["x", "w"], ["y"])]
    arrays = constants or {"w": np.arange(3, dtype=np.float32)}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


@pytest.fixture
def external(tmp_path):
    """A model whose weights lie in a file beside it."""
    path = tmp_path / "model.onnx"
    onnx.save(
        tiny(),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
        convert_attribute=False,
    )
    return path


def relocate(path, **entries):
    proto = onnx.load(path, load_external_data=False)
    (tensor,) = proto.graph.initializer
    for entry in tensor.external_data:
        if entry.key in entries:
            entry.value = entries[entry.key]
    path.write_bytes(proto.SerializeToString())


# --- reading --------------------------------------------------------------------------


def test_external_data_is_read(external):
    assert load_graph(external)(torch.ones(2, 3))[0].tolist() == [[0, 1, 2]] * 2


def test_missing_external_data_has_its_own_message(external):
    os.remove(external.parent / "weights.bin")
    with pytest.raises(ModelError, match=r"'weights\.bin' is missing.*Copy it there"):
        load_graph(external)


@pytest.mark.parametrize(
    "place", ["../weights.bin", "/etc/passwd", "a/../../weights.bin", "link", ""]
)
def test_external_data_may_not_leave_the_folder(external, place, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_bytes(bytes(12))
    (external.parent / "link").symlink_to(outside)
    relocate(external, location=place)
    with pytest.raises(ModelError, match="inside the model's own folder"):
        load_graph(external)


def test_external_data_of_a_model_proto_needs_a_path(external):
    proto = onnx.load(external, load_external_data=False)
    with pytest.raises(ModelError, match="Pass the path of the model file"):
        load_graph(proto)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"offset": "100000000000"}, "needs bytes up to"),
        ({"length": "1"}, "its entry says 1"),
        ({"offset": "-4"}, "external offset '-4'"),
    ],
)
def test_external_data_with_wrong_bounds(external, entry, words):
    proto = onnx.load(external, load_external_data=False)
    (tensor,) = proto.graph.initializer
    known = {e.key for e in tensor.external_data}
    for key in set(entry) - known:
        tensor.external_data.add(key=key, value="0")
    external.write_bytes(proto.SerializeToString())
    relocate(external, **entry)
    with pytest.raises(ModelError, match=words):
        load_graph(external)


def test_missing_file(tmp_path):
    with pytest.raises(ModelError, match="There is no file"):
        load_graph(tmp_path / "nothing.onnx")


@pytest.mark.parametrize("content", [b"", b"not a protobuf", b"\x80\x04\x95pickle"])
def test_not_a_model(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        load_graph(path)


def test_truncated(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny().SerializeToString()[:-20])
    with pytest.raises(ModelError, match="truncated"):
        load_graph(path)


@pytest.mark.parametrize("dims", [[10**6, 10**6], [4], [-3], [3, 2**62, 4]])
def test_a_tensor_that_lies_about_its_size(dims):
    proto = tiny()
    del proto.graph.initializer[0].dims[:]
    proto.graph.initializer[0].dims.extend(dims)
    with pytest.raises(ModelError, match="The tensor 'w'"):
        load_graph(proto)


# --- odd graphs -----------------------------------------------------------------------


def test_cycle():
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"]),
        helper.make_node("Exp", ["a"], ["b"]),
        helper.make_node("Neg", ["b"], ["y"]),
    ]
    with pytest.raises(ModelError, match="cycle"):
        load_graph(tiny(nodes=nodes))


def test_a_value_nobody_makes():
    with pytest.raises(ModelError, match="'ghost', which nothing makes"):
        load_graph(tiny(nodes=[helper.make_node("Exp", ["ghost"], ["y"])]))


def test_an_output_nobody_makes():
    with pytest.raises(ModelError, match="Nothing makes the value 'y'"):
        load_graph(tiny(nodes=[helper.make_node("Exp", ["x"], ["z"])]))


def test_a_value_made_twice():
    nodes = [helper.make_node(op, ["x"], ["y"]) for op in ("Exp", "Sin")]
    with pytest.raises(ModelError, match="made twice"):
        load_graph(tiny(nodes=nodes))


def test_a_long_graph_in_reverse_order_is_sorted_quickly():
    count = 20_000
    nodes = [helper.make_node("Neg", [f"h{i}"], [f"h{i + 1}"]) for i in range(count)]
    nodes[0].input[0], nodes[-1].output[0] = "x", "y"
    start = time.process_time()  # of this process: others may take the machine
    graph = load_graph(tiny(nodes=nodes[::-1]))
    assert time.process_time() - start < 10
    assert torch.equal(graph(torch.ones(1, 3))[0], torch.ones(1, 3))


# --- bombs ----------------------------------------------------------------------------

HUGE = np.array([2**20, 2**20])
BOMBS = {
    "ConstantOfShape": ([], {"s": HUGE}, ["s"], {}),
    "Expand": ([], {"s": np.array([2**20, 2**10, 1, 3])}, ["x", "s"], {}),
    "Tile": ([], {"s": np.array([2**20, 2**10])}, ["x", "s"], {}),
    "Range": (
        [],
        {"a": np.array(0), "b": np.array(10**12), "c": np.array(1)},
        ["a", "b", "c"],
        {},
    ),
    "Pad": ([], {"s": np.array([0, 0, 2**30, 2**10])}, ["x", "s"], {}),
    "Resize": (
        [],
        {"s": np.array([1e5, 1e5], np.float32)},
        ["x", "", "s"],
        {},
    ),
    "OneHot": (
        [],
        {"d": np.array(10**10), "v": np.float32([0, 1])},
        ["x", "d", "v"],
        {},
    ),
    "HannWindow": ([], {"s": np.array(10**11)}, ["s"], {}),
}


@pytest.mark.parametrize("op", BOMBS)
def test_a_bomb_is_refused_before_it_allocates(op):
    before, constants, inputs, attributes = BOMBS[op]
    nodes = [*before, helper.make_node(op, inputs, ["y"], **attributes)]
    with pytest.raises(ModelError, match=str(MAX_ELEMENTS)):
        load_graph(tiny(constants, nodes))(torch.ones(2, 3))


def test_doubling_chains_are_refused():
    """Each Concat doubles: small nodes, exponential size."""
    nodes = [
        helper.make_node("Concat", [f"h{i}", f"h{i}"], [f"h{i + 1}"], axis=0)
        for i in range(60)
    ]
    nodes[0].input[:] = ["x", "x"]
    nodes[-1].output[0] = "y"
    with pytest.raises(ModelError, match=str(MAX_ELEMENTS)):
        load_graph(tiny(nodes=nodes))(torch.ones(2, 3))


# --- fuzzing --------------------------------------------------------------------------

MUTATIONS = int(os.environ.get("ROBAUDIT_FUZZ", "500"))  # nightly: 20000


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    found = []
    for name in ("mlp", "gru", "arithmetic", "full_covariance"):
        module, shape = onnx_zoo.build(name)
        path = str(folder / f"{name}.onnx")
        onnx_zoo.export(module, shape, path, dynamo=False)
        with open(path, "rb") as file:
            found.append((file.read(), shape))
    return found


def mutate(content, rng):
    """Flip, overwrite, delete, insert or repeat bytes, a few times."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(len(data))
        length = rng.choice([1, 2, 4, 16])
        kind = rng.randrange(5)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = rng.randbytes(length)
        else:
            data[at:at] = data[at : at + length]
    return bytes(data)


def survive(content, shape):
    """Load and run; only our own errors may come out, and soon."""
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except Exception:
        return "unparsable"
    start = time.perf_counter()
    try:
        graph = load_graph(proto)
        inputs = [torch.ones(2, *shape) for _ in graph.inputs]
        graph(*inputs)
    except AuditError:
        return "refused"
    finally:
        assert time.perf_counter() - start < 10
    return "ran"


def test_mutated_bytes_never_crash(seeds):
    rng = random.Random(0)
    outcomes = []
    for _ in range(MUTATIONS):
        content, shape = rng.choice(seeds)
        outcomes.append(survive(mutate(content, rng), shape))
    assert {"refused", "ran", "unparsable"} >= set(outcomes)
    assert outcomes.count("refused") > MUTATIONS / 20


@settings(
    max_examples=int(os.environ.get("ROBAUDIT_STRUCTURES", "60")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(data=st.data())
def test_mutated_structure_never_crashes(seeds, data):
    """Rewire nodes, rename operators, change attributes and shapes."""
    content, shape = data.draw(st.sampled_from(seeds))
    proto = onnx.ModelProto.FromString(content)
    graph = proto.graph
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    ops = [*sorted({n.op_type for n in graph.node}), "Loop", "Attention", "Cast"]
    for _ in range(data.draw(st.integers(1, 4))):
        node = data.draw(st.sampled_from(list(graph.node)))
        kind = data.draw(st.sampled_from(["wire", "op", "attribute", "drop", "dims"]))
        if kind == "wire" and node.input:
            node.input[data.draw(st.integers(0, len(node.input) - 1))] = data.draw(
                st.sampled_from(names)
            )
        elif kind == "op":
            node.op_type = data.draw(st.sampled_from(ops))
        elif kind == "attribute" and node.attribute:
            attribute = data.draw(st.sampled_from(list(node.attribute)))
            attribute.i = data.draw(st.integers(-(2**63), 2**63 - 1))
            attribute.ints[:] = data.draw(
                st.lists(st.integers(-(2**31), 2**40), max_size=5)
            )
        elif kind == "drop":
            graph.node.remove(node)
        elif kind == "dims" and graph.initializer:
            tensor = data.draw(st.sampled_from(list(graph.initializer)))
            tensor.dims[:] = data.draw(st.lists(st.integers(-2, 2**50), max_size=4))
        if not graph.node:
            return
    survive(proto.SerializeToString(), shape)

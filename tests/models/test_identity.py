"""Two files with other constants have other hashes; storage and names are no matter."""

import warnings

import numpy as np
import onnx
import pytest
import torch
from google.protobuf.message import Message
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from torch import nn

from audit.importer import OnnxFile
from audit.models.exported import load as load_pt2
from audit.models.identity import onnx_hash
from audit.models.onnx_file import load as load_onnx
from audit.models.onnx_file import load_values
from audit.models.torchscript import load as load_script
from models.saved import graph as parsed
from models.saved import onnx_file, pt2_file, script_file

CPU, NONE = torch.device("cpu"), frozenset()

# --- ONNX -----------------------------------------------------------------------------


def tensor(name, values, kind=np.float32):
    return numpy_helper.from_array(np.array(values, kind), name)


def strings(name, values):
    return helper.make_tensor(name, TensorProto.STRING, [len(values)], values)


def sparse(name, values, indices):
    return helper.make_sparse_tensor(
        tensor(name, values), tensor(f"{name}_at", indices, np.int64), [3, 3]
    )


def constants(prefix):
    """A Constant node in each form that the standard knows."""
    forms = {
        "value": tensor("", [1.5, 2.5]),
        "sparse_value": sparse("sv", [1.5], [4]),
        "value_float": 1.5,
        "value_floats": [1.5, 2.5],
        "value_int": 3,
        "value_ints": [3, 4],
        "value_string": "low",
        "value_strings": ["low", "high"],
    }
    return [
        helper.make_node("Constant", [], [f"{prefix}{form}"], **{form: value})
        for form, value in forms.items()
    ]


def body(name, nodes, inputs=(), outputs=("r",), initializers=()):
    def info(each):
        return helper.make_tensor_value_info(each, TensorProto.FLOAT, None)

    return helper.make_graph(
        nodes, name, [*map(info, inputs)], [*map(info, outputs)], list(initializers)
    )


def rich_model():
    """A graph with every place that a constant can be in; it need not run."""
    deep = body("deep", constants("d_"), (), ["dw"], [tensor("dw", [7.0])])
    inner = helper.make_node("If", ["go"], ["r"], then_branch=deep, else_branch=deep)
    add = helper.make_node("Add", ["r", "sw"], ["sum"])
    scanned = body("scanned", [inner, add], ["s"], ["sum"], [tensor("sw", [8.0])])
    branch = body("branch", constants("b_"), (), ["bw"], [tensor("bw", [5.0, 6.0])])
    nodes = [
        *constants("m_"),
        helper.make_node("LeakyRelu", ["x"], ["l1"], alpha=0.25),
        helper.make_node("LeakyRelu", ["l1"], ["l2"]),
        helper.make_node(
            "LinearRegressor",
            ["l2"],
            ["lin"],
            domain="ai.onnx.ml",
            coefficients=[1.0, 2.0, 3.0],
            post_transform="NONE",
        ),
        helper.make_node("If", ["go"], ["u"], then_branch=branch, else_branch=branch),
        helper.make_node("Scan", ["x"], ["v"], body=scanned, num_scan_inputs=1),
        helper.make_node("Twice", ["x"], ["y"], domain="local", by=2.0),
        helper.make_node("Use", ["w", "k", "t", "sp"], ["all"], domain="local"),
    ]
    graph = helper.make_graph(
        nodes,
        "rich",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [tensor("w", [1.0, 2.0]), tensor("k", [4, 5], np.int64), strings("t", [b"a"])],
        sparse_initializer=[sparse("sp", [9.0, 8.0], [1, 2])],
    )
    by = helper.make_node("Constant", [], ["by"])
    attribute = AttributeProto(
        name="value_float", ref_attr_name="by", type=AttributeProto.FLOAT
    )
    by.attribute.append(attribute)
    imports = [helper.make_opsetid("", 17)]
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"],
        [by, *constants("f_"), helper.make_node("Mul", ["a", "by"], ["b"])],
        imports, attribute_protos=[helper.make_attribute("by", 3.0)],
    )  # fmt: skip
    return helper.make_model(
        graph, functions=[function], opset_imports=imports, ir_version=9
    )


def numbers_of(message):
    """Yield (message, field, position) of each number or text that is computed with.

    This walk knows nothing of graphs: it goes through every field of the file.
    """
    holds = isinstance(message, (TensorProto, AttributeProto))
    named = {"name", "doc_string", "type", "data_type", "ref_attr_name", "dims"}
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for item in [value] if isinstance(value, Message) else value:
                yield from numbers_of(item)
        elif holds and field.name not in named:
            many = not isinstance(value, (int, float, bytes, str))
            for place in range(len(value)) if many else [None]:
                yield message, field.name, place


def changed(message, field, place):
    """Change one number or text; the change turns it back."""
    values = getattr(message, field)
    old = values if place is None else values[place]
    if field == "raw_data":
        new = bytes([old[0] ^ 1]) + old[1:]
    else:
        new = old + (b"!" if isinstance(old, bytes) else 1)
    if place is None:
        setattr(message, field, new)
    else:
        values[place] = new
    return lambda: (
        setattr(message, field, old)
        if place is None
        else values.__setitem__(place, old)
    )


def hash_of(folder, model):
    onnx.save(model, folder / "h.onnx")
    return onnx_hash(OnnxFile(folder / "h.onnx"))


def test_every_number_and_text_in_a_file_counts(tmp_path):
    model = rich_model()
    seen = {hash_of(tmp_path, model)}
    places = list(numbers_of(model))
    assert len(places) > 80
    for place in places:
        back = changed(*place)
        found = hash_of(tmp_path, model)
        assert found not in seen, f"{place[1]} of {str(place[0])[:80]}"
        seen.add(found)
        back()
    assert hash_of(tmp_path, model) in seen


def test_a_constant_that_moves_to_another_node_counts(tmp_path):
    model = rich_model()
    before = hash_of(tmp_path, model)
    first, second = (n for n in model.graph.node if n.op_type == "LeakyRelu")
    second.attribute.extend(first.attribute)
    del first.attribute[:]
    assert hash_of(tmp_path, model) != before


def test_equal_numbers_that_an_exporter_shares_count_where_they_are_used(tmp_path):
    """Two times and one time 1.5, beside 2.5, under names that tell the value."""
    text = "g (float[n,3] x) => (float[n,3] y) "
    text += "{{ a = Mul(x, {})  b = Mul(a, {})  y = Mul(b, {}) }}"
    numbers = {"c15": np.float32(1.5), "c25": np.float32(2.5)}
    found = {
        hash_of(tmp_path, parsed(text.format(*names), **numbers))
        for names in (
            ("c15", "c25", "c15"), ("c25", "c15", "c15"), ("c15", "c15", "c25"),
            ("c25", "c25", "c15"),
        )
    }  # fmt: skip
    assert len(found) == 4


def test_names_descriptions_and_other_nodes_do_not_count(tmp_path):
    model = rich_model()
    before = hash_of(tmp_path, model)
    model.producer_name, model.doc_string = "another", "said"
    model.metadata_props.add(key="robaudit", value="family: normal")
    for node in model.graph.node:
        node.name, node.doc_string = f"renamed_{node.op_type}", "said"
        for attribute in node.attribute:
            attribute.doc_string = "said"
    model.graph.node.insert(0, helper.make_node("Identity", ["x"], ["same"]))
    assert hash_of(tmp_path, model) == before


def test_the_way_numbers_are_stored_does_not_count(tmp_path):
    value = np.arange(600, dtype=np.float32).reshape(20, 30)
    text = "g (float[n,20] x) => (float[n,30] y) { y = MatMul(x, w) }"
    model = parsed(text, w=value)
    found = {hash_of(tmp_path, model)}
    where = tmp_path / "beside.onnx"
    onnx.save(
        model, where, save_as_external_data=True, location="w.data", size_threshold=1
    )
    file = OnnxFile(where)
    digest = onnx_hash(file)
    assert [one.path.name for one in file.files] == ["beside.onnx", "w.data"]
    floats = helper.make_tensor("w", TensorProto.FLOAT, [20, 30], value.ravel())
    assert not floats.HasField("raw_data")
    model.graph.initializer[0].CopyFrom(floats)
    assert {digest, hash_of(tmp_path, model)} == found


def test_external_numbers_inside_a_branch_count_and_are_files_of_the_model(tmp_path):
    text = "g (float[n,3] x) => (float[n,3] y) { y = Add(x, c) }"
    branch = body("b", [helper.make_node("Add", ["x", "bw"], ["r"])])
    value = np.array([1, 2, 3], np.float32)
    branch.initializer.append(numpy_helper.from_array(value, "bw"))
    stored = branch.initializer[0]
    stored.ClearField("raw_data")
    stored.data_location = TensorProto.EXTERNAL
    stored.external_data.add(key="location", value="branch.data")
    model = parsed(text, c=value)
    model.graph.initializer.append(tensor("yes", True, bool))
    node = helper.make_node(
        "If", ["yes"], ["u"], then_branch=branch, else_branch=branch
    )
    model.graph.node.append(node)
    onnx.save(model, tmp_path / "m.onnx")
    hashes = []
    for numbers in (value, value + 1):
        (tmp_path / "branch.data").write_bytes(numbers.tobytes())
        network = load_onnx(tmp_path / "m.onnx", CPU, False, NONE)
        assert [f.path.name for f in network.files] == ["m.onnx", "branch.data"]
        hashes.append(network.weights_sha256)
    assert hashes[0] != hashes[1]


def test_the_hash_is_the_same_whoever_computes(tmp_path):
    text = "g (float[n,3] x) => (float[n,3] y) { y = Add(x, c) }"
    path = onnx_file(tmp_path, text, c=np.ones(3, np.float32))
    network = load_onnx(path, CPU, False, NONE)
    assert load_values(path, CPU, NONE).weights_sha256 == network.weights_sha256
    assert network.double().weights_sha256 == network.weights_sha256


# --- torch ----------------------------------------------------------------------------


class Inner(nn.Module):
    """Everything that a module may keep a number in; `which` of them is another."""

    def __init__(self, which=""):
        super().__init__()

        def number(place):
            return 1.5 + (place == which)

        self.weight = nn.Parameter(torch.full((3,), number("parameter")))
        self.register_buffer("kept", torch.full((3,), number("buffer")))
        loose = torch.full((3,), number("loose buffer"))
        self.register_buffer("loose", loose, persistent=False)
        self.tensor = torch.full((3,), number("tensor"))
        self.real, self.whole = number("real"), int(number("whole"))
        self.several = [2.5, number("list")]
        self.table = {"a": number("mapping")}

    def forward(self, x):
        y = (x * self.weight + self.kept + self.loose) * self.tensor
        return y * self.real + self.whole + self.several[1] + self.table["a"]


class Outer(nn.Module):
    def __init__(self, which=""):
        super().__init__()
        self.inner = Inner(which)

    def forward(self, x):
        return {"mean": self.inner(x), "std": torch.exp(x)}


class Written(nn.Module):
    """A number in the code."""

    def forward(self, x):
        return {"mean": x * 1.5, "std": torch.exp(x)}


class WrittenAgain(nn.Module):
    def forward(self, x):
        return {"mean": x * 2.5, "std": torch.exp(x)}


class Branching(nn.Module):
    def forward(self, x):
        y = x
        if bool(x.sum() > 0):
            y = x * 1.5
        return {"mean": y, "std": torch.exp(x)}


class BranchingAgain(nn.Module):
    def forward(self, x):
        y = x
        if bool(x.sum() > 0):
            y = x * 2.5
        return {"mean": y, "std": torch.exp(x)}


PLACES = (
    *("parameter", "buffer", "loose buffer", "tensor"),
    *("real", "whole", "list", "mapping"),
)


def script_hash(folder, module, frozen=False):
    scripted = torch.jit.script(module.eval())
    path = folder / "m.pt"
    (torch.jit.freeze(scripted) if frozen else scripted).save(str(path))
    return load_script(path, CPU, False, NONE).weights_sha256


@pytest.mark.parametrize("frozen", [False, True], ids=["plain", "frozen"])
def test_every_number_of_a_script_counts(tmp_path, frozen):
    found = [script_hash(tmp_path, Outer(which), frozen) for which in ("", *PLACES)]
    assert len(set(found)) == 1 + len(PLACES)
    assert script_hash(tmp_path, Outer(), frozen) == found[0]  # of another saving


@pytest.mark.parametrize("frozen", [False, True], ids=["plain", "frozen"])
def test_numbers_in_the_code_of_a_script_count(tmp_path, frozen):
    modules = (Written, WrittenAgain, Branching, BranchingAgain)
    assert len({script_hash(tmp_path, m(), frozen) for m in modules}) == 4


def test_packed_weights_of_a_script_count(tmp_path):
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        linear = nn.Sequential(nn.Linear(3, 3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            packed = torch.ao.quantization.quantize_dynamic(linear, {nn.Linear})
        path = script_file(tmp_path, packed)
        found.append(load_script(path, CPU, False, NONE).weights_sha256)
    assert found[0] == found[1] != found[2]


@torch.jit.interface
class Step(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pass


class Times(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.by


class Behind(nn.Module):
    """Calls a module through an interface, which cannot be inlined."""

    step: Step

    def __init__(self, by):
        super().__init__()
        self.step = Times(by)

    def forward(self, x):
        return {"mean": self.step.forward(x), "std": torch.exp(x)}


def test_numbers_behind_an_interface_count(tmp_path):
    found = [script_hash(tmp_path, Behind(by)) for by in (1.5, 1.5, 2.5)]
    assert found[0] == found[1] != found[2]


def pt2_hash(folder, module):
    path = pt2_file(folder, module.eval(), torch.ones(4, 3))
    return load_pt2(path, CPU, False, NONE).weights_sha256


def test_every_number_of_an_exported_program_counts(tmp_path):
    found = [pt2_hash(tmp_path, Outer(which)) for which in ("", *PLACES)]
    found += [pt2_hash(tmp_path, Written()), pt2_hash(tmp_path, WrittenAgain())]
    assert len(set(found)) == len(PLACES) + 3
    assert pt2_hash(tmp_path, Outer()) == found[0]


class Choosing(nn.Module):
    """A number inside a branch, which is a subgraph."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        mean = torch.cond(
            x.sum() > 0, lambda x: x * self.by, lambda x: torch.sin(x), (x,)
        )
        return {"mean": mean, "std": torch.exp(x)}


def test_numbers_in_a_branch_of_an_exported_program_count(tmp_path):
    found = [pt2_hash(tmp_path, Choosing(by)) for by in (1.5, 1.5, 2.5)]
    assert found[0] == found[1] != found[2]

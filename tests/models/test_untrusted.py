"""Files that could run code: every known route, with a payload that shows if it ran.

Each payload would create a file. The routes are proven to be real by loading the file
with torch itself (in another folder), then shown not to run through `open_model`.
"""

import io
import json
import pickle
import time
import zipfile
from contextlib import suppress

import numpy as np
import pytest
import sympy
import torch
from torch import nn
from torch.utils._sympy import functions

from audit.ground.errors import ModelError
from audit.ground.storage import StoredFile
from audit.models.untrusted import script
from audit.models.untrusted.archive import Archive
from audit.models.untrusted.exported import EXPORTED
from audit.models.untrusted.exported import exported_findings as in_exported
from audit.models.untrusted.formulas import is_formula, is_guard
from audit.models.untrusted.trees import with_plain_trees
from models.saved import Head, data_file, jacobian, opened, pt2_file, script_file


def exported_findings(path, trusted=False):
    return in_exported(Archive(StoredFile.at(path), EXPORTED, trusted))


def torchscript_findings(path):
    return script.torchscript_findings(
        Archive(StoredFile.at(path), script.SCRIPT, False)
    )


NORMAL = {"family": "normal", "parameters": {"loc": "loc", "scale": "exp(log_scale)"}}


class Opens:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def edit(path, change, add=None):
    """Rewrite a zip, its members changed by `change(name, bytes)`."""
    with zipfile.ZipFile(path) as archive:
        members = [(i.filename, archive.read(i)) for i in archive.infolist()]
    top = members[0][0].partition("/")[0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members:
            archive.writestr(name, change(name, content))
        for name, content in (add or {}).items():
            archive.writestr(f"{top}/{name}", content)


def refused(path, data, mark, found):
    with pytest.raises(ModelError) as error:
        opened(path, data, **NORMAL)
    assert f"'{path.name}' can run code when it is loaded: " in str(error.value)
    assert found in str(error.value)
    assert "pass --trust-model; else ask for ONNX" in str(error.value)
    assert not mark.exists()


# TorchScript


class Saves(Head):
    def __init__(self, path):
        super().__init__()
        self.path = str(path)

    @torch.jit.export
    def __getstate__(self):
        return self.a, self.b, self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, torch.Tensor, str, bool]):
        self.a, self.b, self.path, self.training = (
            state[0],
            state[1],
            state[2],
            state[3],
        )
        torch.save(self.a, self.path)


def test_a_scripted_setstate_does_not_run(tmp_path):
    mark, data = tmp_path / "ran", data_file(tmp_path)
    path = script_file(tmp_path, Saves(mark))
    mark.unlink(missing_ok=True)
    refused(path, data, mark, "in code/")
    torch.jit.load(str(path))
    assert mark.exists()  # the route is real


def scripted(tmp_path, line):
    """A module whose forward holds a further line of TorchScript."""
    path = script_file(tmp_path, Head())

    def change(name, content):
        if not name.endswith(".py"):
            return content
        return content.replace(b"    return ", f"    {line}\n    return ".encode(), 1)

    edit(path, change)
    return path


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("torch.save(x, '{mark}')", "save in code/"),
        ("torch . save(x, '{mark}')", "save in code/"),
        ("ops.aten.save(x, '{mark}')", "save in code/"),
        ("y = torch.from_file('{mark}')", "from_file in code/"),
        ("y = ops.mylib.act(x)", "torch.ops.mylib"),
        ("y = ops . mylib.act(x)", "torch.ops.mylib"),
        ("y = getattr(torch, 'whatever')(x)", "looked up by name"),
    ],
)
def test_code_that_touches_the_world_is_found(tmp_path, line, found):
    mark, data = tmp_path / "ran", data_file(tmp_path)
    path = scripted(tmp_path, line.format(mark=mark))
    refused(path, data, mark, found)


def test_names_differ_by_case_alone_to_us_but_not_to_torch(tmp_path):
    """Torch finds members whatever their case, so ours must be read as well."""
    path = scripted(tmp_path, f"torch.save(x, '{tmp_path / 'ran'}')")
    with zipfile.ZipFile(path) as archive:
        members = [(i.filename, archive.read(i)) for i in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members:
            top, _, inner = name.partition("/")
            inner = inner.upper() if name.endswith(".py") else inner
            archive.writestr(f"{top}/{inner}", content)
    refused(path, data_file(tmp_path), tmp_path / "ran", "save in code/")


def test_two_members_of_one_name_are_refused(tmp_path):
    path = script_file(tmp_path, Head())
    code = next(n for n in zipfile.ZipFile(path).namelist() if n.endswith(".py"))
    with (
        zipfile.ZipFile(path, "a") as archive,
        pytest.warns(UserWarning, match="Duplicate"),
    ):
        archive.writestr(code, b"")
    with pytest.raises(ModelError, match="two members of the same name"):
        opened(path, data_file(tmp_path), **NORMAL)


def test_what_a_user_trusts_is_loaded(tmp_path):
    path = script_file(tmp_path, Saves(tmp_path / "ran"))
    model = opened(path, data_file(tmp_path), trust_model=True, **NORMAL)
    assert model.head.family == "normal"


# torch.export


@pytest.fixture
def archive(tmp_path):
    return pt2_file(tmp_path, Head(), torch.ones(4, 3))


def program(archive, change):
    """Change the program's JSON document."""

    def edited(name, content):
        if "/models/" not in name:
            return content
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    edit(archive, edited)


def packed_in(kind, context):
    """The description of two tensors in a container."""
    leaf = {"type": None, "context": None, "children_spec": []}
    spec = {"type": kind, "context": context, "children_spec": [leaf, leaf]}
    return json.dumps([1, spec])


def first_size(document):
    values = document["graph_module"]["graph"]["tensor_values"]
    return next(s for v in values.values() for s in v["sizes"] if "as_expr" in s)


def test_a_pickled_sample_input_is_not_read(tmp_path, archive):
    mark = tmp_path / "ran"

    def change(name, content):
        return pickle.dumps(Opens(mark)) if "sample_inputs" in name else content

    edit(archive, change)
    refused(archive, data_file(tmp_path), mark, "a pickle in data/sample_inputs/")


def test_a_saved_object_in_the_sample_inputs_is_not_read(tmp_path, archive):
    mark, part = tmp_path / "ran", tmp_path / "part"
    torch.save(Opens(mark), part)
    content = part.read_bytes()
    edit(archive, lambda name, old: content if "sample_inputs" in name else old)
    refused(archive, data_file(tmp_path), mark, "a pickle in data/sample_inputs/")
    with suppress(Exception):
        torch.export.load(archive)
    assert mark.exists()  # the route is real


def test_a_shape_expression_is_not_evaluated(tmp_path, archive):
    mark = tmp_path / "ran"

    def change(document):
        first_size(document)["as_expr"]["expr_str"] = f"open('{mark}', 'w') and 3"

    program(archive, change)
    refused(archive, data_file(tmp_path), mark, "expr_str 'open(")
    with suppress(Exception):
        torch.export.load(archive)
    assert mark.exists()  # the route is real


def test_a_guard_is_not_executed(tmp_path, archive):
    mark = tmp_path / "ran"
    program(archive, lambda d: d.update(guards_code=[f"open('{mark}', 'w')"]))
    refused(archive, data_file(tmp_path), mark, "guards_code 'open(")
    torch.export.load(archive).module()(torch.ones(2, 3))
    assert mark.exists()  # the route is real


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["graph_module"]["graph"]["nodes"][0].update(
            target="torch.os.system"
        ),
        lambda d: d["graph_module"]["graph"]["nodes"][0].update(
            target="_operator.call"
        ),
        lambda d: d["graph_module"]["graph"]["nodes"][0].update(
            target="torch.ops.aten.save.default"
        ),
        lambda d: d["graph_module"]["graph"]["nodes"][0].update(name="a=print(1)"),
        lambda d: d["graph_module"]["module_call_graph"][0]["signature"].update(
            forward_arg_names=["x=print(1)"]
        ),
        lambda d: d["graph_module"]["module_call_graph"][0]["signature"].update(
            in_spec='[1, {"type": "antigravity.x", "context": "null"}]'
        ),
        # a key that is a member of an enumeration: torch imports its module
        lambda d: d["graph_module"]["module_call_graph"][0]["signature"].update(
            in_spec=packed_in(
                "builtins.dict", '[{"__enum__": true, "fqn": "antigravity:x"}]'
            )
        ),
        lambda d: d["graph_module"]["graph"]["tensor_values"].update({"a)(": {}}),
    ],
)
def test_texts_that_become_python_keep_their_form(tmp_path, archive, change):
    program(archive, change)
    refused(archive, data_file(tmp_path), tmp_path / "ran", "in models/model.json")


@pytest.mark.parametrize("document", [b"7", b'"text"', b"null", b"[1, [2]]"])
def test_a_description_that_describes_no_program_stays_as_it_is(document):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("m/models/model.json", document)
    assert with_plain_trees(file.getvalue()) == file.getvalue()


@pytest.mark.parametrize(
    ("context", "names"),
    [
        ('[["log_scale", "loc"], []]', {"log_scale": 0, "loc": 1}),  # a dataclass
        ('["loc", "log_scale"]', {"loc": 0, "log_scale": 1}),  # of Hugging Face
        ('{"kept": true}', {"output_0": 0, "output_1": 1}),
        ("null", {"output_0": 0, "output_1": 1}),
    ],
)
def test_a_class_of_the_author_is_read_by_its_fields(tmp_path, context, names):
    """As torch.export.register_dataclass has torch write it; nobody here knows it."""
    example = torch.from_numpy(np.load(data_file(tmp_path))["x"])
    path = pt2_file(tmp_path, Head(), example)

    def pack(document):
        signature = document["graph_module"]["module_call_graph"][0]["signature"]
        signature["out_spec"] = packed_in("someone.elses.Results", context)

    program(path, pack)
    loc, log_scale = names
    read = {"loc": loc, "scale": f"exp({log_scale})"}
    model = opened(path, data_file(tmp_path), family="normal", parameters=read)
    phi, _ = jacobian(model)
    x, _ = model.rows(model.probe_index())
    made = list(Head().double()(x.double()).values())
    expected = torch.cat([made[names[loc]], made[names[log_scale]].exp()], 1)
    assert torch.allclose(phi.double(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("member", "content", "found"),
    [
        ("data/aotinductor/model/x.so", b"\x7fELF", "the member data/aotinductor"),
        ("data/weights/model.pt", pickle.dumps(print), "a pickle in data/weights"),
        ("data/constants/x.pt", pickle.dumps(print), "a pickle in data/constants"),
        ("MODELS/OTHER.JSON", b'{"guards_code": ["print(1)"]}', "guards_code"),
        ("serialized_state_dict.pt", b"", "the member serialized_state_dict.pt"),
        (
            "data/constants/other_constants_config.json",
            b'{"config": {"c": {"path_name": "opaque_obj_0"}}}',
            "an object in data/constants",
        ),
        (
            "data/weights/other_weights_config.json",
            b'{"config": {"c": {"path_name": "weight_0", "use_pickle" : true}}}',
            "a pickle for weight_0",
        ),
    ],
)
def test_members_that_act_are_found(tmp_path, archive, member, content, found):
    edit(archive, lambda name, old: old, {member: content})
    refused(archive, data_file(tmp_path), tmp_path / "ran", found)


def test_trust_loads_what_was_found(tmp_path, archive):
    edit(archive, lambda name, old: old, {"notes/hello": b""})
    assert exported_findings(archive, True) == ["the member notes/hello"]
    assert opened(archive, data_file(tmp_path), trust_model=True, **NORMAL)


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(
            nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(24, 2)
        ),
        nn.Sequential(nn.Flatten(), nn.Linear(24, 8), nn.GELU(), nn.Softmax(1)),
    ],
)
def test_ordinary_files_are_not_suspected(tmp_path, module):
    module, x = module.eval(), torch.ones(4, 3, 8)
    path = tmp_path / "m.pt2"
    shapes = ({0: torch.export.Dim("n")},)
    torch.export.save(torch.export.export(module, (x,), dynamic_shapes=shapes), path)
    assert exported_findings(path) == []
    torch.jit.script(module).save(str(tmp_path / "m.pt"))
    assert torchscript_findings(tmp_path / "m.pt") == []


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s77', positive=True, integer=True)",
        "Mul(Integer(2), Symbol('s0', integer=True))",
        "Max(1, s0) + 2*s1",
        "FloorDiv(s0, 2)",
    ],
)
def test_formulas_are_numbers(text):
    assert is_formula(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "open('x')",
        "s0.__class__",
        "Symbol('__class__()')",
        "[s for s in ()]",
        "lambda: 0",
        "lambdify('x', 'y')",
        "s0[0]",
        "f'{s0}'",
        "(" * 500,
        "\x00",
        "Symbol(exec('x'))",
    ],
)
def test_anything_else_is_no_formula(text):
    assert not is_formula(text)
    assert not is_guard(text) or text == "s0[0]"


def test_guards_compare_sizes():
    assert is_guard("L['x'].size()[0] >= 2 and L['x'].size()[1] == 3")
    assert not is_guard("L['x'].__class__")
    assert not is_guard("L['x'].numpy()")


# Numbers without an end


@pytest.mark.parametrize(
    "text",
    [
        "Float('0.5', precision=53)*s0",
        "FloatPow(ToFloat(Symbol('s0', integer=True)), Float('0.5', precision=53))",
        "Pow(Add(Symbol('s0', positive=True, integer=True), Integer(-1)), Integer(2))",
        "Add(Rational(1, 2), Mul(Integer(3), Max(Integer(1), s0)))",
        "GreaterThan(Symbol('u0', integer=True), Integer(0))",
        "((s0 - 1)//2 + 1)*((s1 - 1)//2 + 1)*(s2 + 4 % s3)**2",
        "FloorDiv(" * 40 + "s0" + ", 2)" * 40,
    ],
)
def test_formulas_of_real_exports_are_small(text):
    assert is_formula(text)


def test_guards_of_real_exports_are_small():
    size = "L['x'].size()[1]"
    assert is_guard(f"((1 + (((-1) + {size}) // 2))*(1 + (((-1) + {size}) // 2))) != 1")
    assert is_guard(f"max(1, {size} // 2) > 1\n")


BOMBS = [
    "10**10**10",
    "10^10^10",
    "2**2**2**2**2**2",
    "((((9**16)**16)**16)**16)",
    "s0**s1",
    "s0**17",
    "Pow(s0, Pow(2, 100))",
    "Pow(10, Integer(10000000000))",
    "PowByNatural(10, s0)",
    "1 << 10000000000",
    "1e99999999",
    "1e-99999999",
    "Float('1e99999999', precision=53)",
    "Float('1.5', 1000000000)",
    "Float('1.5', precision=1000000000)",
    "Integer('9')",
    "9" * 30,
    "1_000_000",
    "0xFFFFFFFFFFFFFFFFFFFFF",
    "1j",
    "...",
    "b'x'",
    "(" * 60 + "s0" + ")//2" * 60,
    "-" * 60 + "s0",
    "-" * 4000 + "s0",
    "Mod(" * 60 + "s0" + ", 7)" * 60,
    "*".join(f"(s{i} + 1)" for i in range(20)),
    "(s0 + s1 + s2 + s3 + 1)**16",
    "*".join(["s0"] * 40),
    f"Max({', '.join(f's{i}' for i in range(60))})",
    "Max(" * 20 + "s0" + ", s1, s2)" * 20,
    " + ".join(f"s{i}" for i in range(200)),
    "s0 " + "+ 1 " * 2000,
    "s" * 5000,
    "sé",
]


@pytest.mark.parametrize("text", BOMBS)
def test_formulas_without_an_end_are_refused(text):
    began = time.process_time()
    assert not is_formula(text)
    assert not is_guard(text)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("text", BOMBS[:4] + BOMBS[-6:-4])
def test_a_file_with_such_a_formula_is_refused(tmp_path, archive, text):
    program(archive, lambda d: first_size(d)["as_expr"].update(expr_str=text))
    refused(archive, data_file(tmp_path), tmp_path / "ran", "expr_str '")


@pytest.mark.parametrize(
    "text",
    [
        "FloorDiv(" * 20
        + "*".join(f"(s{i} + 1)" for i in range(6))
        + ", s0 + s7)" * 20,
        "Mod(" * 40 + "(s0 + s1)*(s2 + 1)" + ", s3 + 1)" * 40,
        "Mod((s0 + s1 + 1)**6, s0 + s2)",
        f"Max({', '.join(f's{i} + {i}' for i in range(24))})",
        "Mod(s0**16, s0 + 1)",
        "((9**16)**16)//7",
        "sqrt(" * 40 + "s0 + 1" + ")" * 40,
    ],
)
def test_what_passes_is_read_by_torch_in_seconds(text):
    assert is_formula(text)
    names = {
        f"s{i}": sympy.Symbol(f"s{i}", integer=True, positive=True) for i in range(30)
    }
    names |= {name: getattr(functions, name) for name in ("FloorDiv", "Mod", "Max")}
    began = time.process_time()
    sympy.sympify(text, locals=names)
    assert time.process_time() - began < 10


def node_of(target, *arguments):
    given = [{"name": "x", "arg": argument, "kind": 1} for argument in arguments]
    return {
        "target": target,
        "inputs": given,
        "outputs": [{"as_sym_int": {"as_name": f"n{target}"}}],
        "metadata": {},
    }


def squared(times):
    """Nodes that square a size again and again."""
    nodes = []
    for i in range(times):
        name = {"as_sym_int": {"as_name": f"n{i - 1}" if i else "size"}}
        nodes.append(node_of("_operator.mul", name, name))
        nodes[-1]["outputs"] = [{"as_sym_int": {"as_name": f"n{i}"}}]
    return nodes


@pytest.mark.parametrize(
    "nodes",
    [
        squared(6),
        [node_of("_operator.pow", {"as_int": 10}, {"as_int": 10**10})],
        [node_of("_operator.pow", {"as_int": 10}, {"as_sym_int": {"as_name": "size"}})],
        [node_of("_operator.pow", {"as_int": 10}, {"as_sym_int": {"as_int": 99}})],
    ],
)
def test_sizes_that_grow_without_an_end_are_refused(tmp_path, archive, nodes):
    program(archive, lambda d: d["graph_module"]["graph"]["nodes"].extend(nodes))
    refused(
        archive, data_file(tmp_path), tmp_path / "ran", "numbers that are too large"
    )


def test_sizes_that_grow_a_little_are_not(archive):
    half = node_of("_operator.pow", {"as_int": 9}, {"as_float": 0.5})
    nodes = [*squared(5), node_of("_operator.pow", {"as_int": 9}, {"as_int": 2}), half]
    program(archive, lambda d: d["graph_module"]["graph"]["nodes"].extend(nodes))
    assert exported_findings(archive) == []


def test_a_deep_description_is_unreadable_and_no_crash(tmp_path, archive):
    def change(name, content):
        return b'{"a":' * 900 + b"1" + b"}" * 900 if "/models/" in name else content

    edit(archive, change)
    refused(
        archive,
        data_file(tmp_path),
        tmp_path / "ran",
        "an unreadable description in models/model.json",
    )

"""Pickles of TorchScript: what torch writes passes, what lies about its numbers not."""

import struct
import zipfile
from typing import Optional

import pytest
import torch
from torch import nn

from audit.ground.errors import ModelError
from audit.ground.storage import StoredFile
from audit.models.untrusted import checked_script
from audit.models.untrusted.pickles import check_pickle
from audit.models.untrusted.script import is_deep
from audit.models.untrusted.stand_ins import PickleFault
from models.saved import script_file

VIEW = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"


def number(value):
    return b"J" + struct.pack("<i", value)


def numbers(*values):
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(count, key=b"0", device=b"cpu"):
    said = key + b"X" + struct.pack("<I", len(device)) + device
    return STORAGE + said + number(count) + b"tQ"


def tensor(count, offset, shape, strides):
    rest = b"\x89ccollections\nOrderedDict\n)Rt"
    where = number(offset) + numbers(*shape) + numbers(*strides)
    return VIEW + b"(" + storage(count) + where + rest + b"R"


def pickled(body):
    return b"\x80\2" + body + b"."


SIZES = {"data/0": 24, "data/1": 8}  # six numbers and two


def accepted(body):
    check_pickle(pickled(body), "data", SIZES)


def refused(body, words):
    with pytest.raises(PickleFault, match=words):
        accepted(body)


# What torch writes


class Pieces(nn.Module):
    """Attributes of every kind that TorchScript keeps."""

    ints: list[int]
    flags: list[bool]
    floats: list[float]
    tensors: list[torch.Tensor]
    table: dict[str, torch.Tensor]
    nested: tuple[int, tuple[float, str]]
    maybe: Optional[torch.Tensor]  # noqa: UP045 (of an older TorchScript)

    def __init__(self):
        super().__init__()
        whole = torch.arange(12.0)
        self.ints, self.flags, self.floats = [1, -2, 2**40], [True], [0.5]
        self.tensors = [whole[2:5], whole.reshape(3, 4).T, torch.zeros(0, 3)]
        self.table = {"half": torch.ones(2).half(), "long": torch.tensor(3)}
        self.nested, self.maybe = (1, (2.0, "text" * 500)), None
        self.register_buffer("strided", whole[::3])
        self.register_buffer("wide", torch.ones(1).expand(1000))
        self.register_buffer("bits", torch.tensor([True, False]))
        self.register_buffer("brain", torch.ones(3, dtype=torch.bfloat16))
        self.register_buffer("plane", torch.ones(3, dtype=torch.complex64))
        self.device, self.imaginary = torch.device("cpu"), 2j

    def forward(self, x):
        return x + self.tensors[0].sum() + self.table["half"].sum() + self.nested[1][0]


@pytest.mark.parametrize(
    "module",
    [
        Pieces(),
        nn.Sequential(*(nn.Linear(2, 2) for _ in range(60))),
        nn.LSTM(3, 4, 2),
        nn.Sequential(nn.Embedding(5, 3), nn.LayerNorm(3), nn.Dropout()),
        nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.Tanh()),
    ],
    ids=["pieces", "deep", "recurrent", "embedding", "convolution"],
)
@pytest.mark.parametrize("frozen", [False, True])
def test_what_torch_writes_passes(tmp_path, module, frozen):
    scripted = torch.jit.script(module.eval())
    scripted = torch.jit.freeze(scripted) if frozen else scripted
    scripted.save(str(tmp_path / "m.pt"))
    assert checked_script(StoredFile.at(tmp_path / "m.pt"), False)


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_module_passes(tmp_path):
    module = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 2)))
    path = script_file(tmp_path, module)
    assert checked_script(StoredFile.at(path), False)


# What it would not


@pytest.mark.parametrize("keep", [16, 0, 32])
def test_a_storage_longer_or_shorter_than_its_record_is_refused(tmp_path, keep):
    """torch takes what lies behind the record in memory for the rest."""
    path = script_file(tmp_path, nn.Linear(3, 2))
    with zipfile.ZipFile(path) as archive:
        parts = [(i.filename, archive.read(i)) for i in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts:
            kept = data.ljust(keep, b"\0")[:keep]
            archive.writestr(name, kept if name.endswith("data/0") else data)
    torch.jit.load(str(path))  # the route is real
    with pytest.raises(ModelError, match=f"holds 6 numbers, and it has {keep} bytes"):
        checked_script(StoredFile.at(path), False)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (2, 3), (3, 1)),
        (0, (3, 2), (1, 3)),
        (5, (1,), (1,)),
        (2, (4,), (1,)),
        (6, (0,), (1,)),
        (0, (3, 0), (99, 99)),
        (0, (), ()),
        (0, (1000,), (0,)),
    ],
)
def test_a_tensor_within_its_storage_passes(offset, shape, strides):
    accepted(tensor(6, offset, shape, strides))


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (7,), (1,)),
        (3, (4,), (1,)),
        (6, (1,), (1,)),
        (6, (), ()),
        (0, (2, 3), (4, 1)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (-1,), (1,)),
        (0, (2, 3), (1,)),
        (0, (2**27, 2), (0, 0)),
    ],
)
def test_a_tensor_out_of_its_storage_is_refused(offset, shape, strides):
    refused(tensor(6, offset, shape, strides), "has a tensor|damaged")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (storage(5), "'data/0' holds 5 numbers, and it has 24 bytes"),
        (storage(-6), "another form"),
        (storage(1, key=b"7"), "'data/7' holds 1 numbers, and it has 0 bytes"),
        (storage(6, device=b"meta"), "another form"),
        (STORAGE + b"0X\3\0\0\0cpu\x88tQ", "another form"),
        (b"(X\1\0\0\0aNNNNtQ", "another form"),
        (b"cos\nsystem\nX\2\0\0\0ls\x85R", r"names os\.system"),
        (b"cbuiltins\neval\n", r"names builtins\.eval"),
        (b"ctorch.distributed.rpc\nrref\n", r"names torch\.distributed\.rpc\.rref"),
        (b"ctorch._utils\n_rebuild_sparse_tensor\n", "names torch._utils._rebuild_sp"),
        (
            b"c__torch__.torch.classes.c10d\nFileStore\n",
            r"names __torch__\.torch\.classes\.c10d",
        ),
        (b"N" + b"r\xff\xff\xff\x7f", "a memo with gaps"),
        (b"Nq\1", "a memo with gaps"),
        (b"h\0", "damaged"),
        (b"(", "does not end"),
        (b"NN", "does not end"),
        (b"", "does not end"),
        (b"t", "damaged"),
        (b"N\x87", "damaged"),
        (b"N\x86", "damaged"),
        (b"Na", "damaged"),
        (b"](Nu", "a key without a value"),
        (b"NNNs", "damaged"),
        (b"I1\n", "the instruction INT"),
        (b"\x8c\1a", "the instruction SHORT_BINUNICODE"),
        (b"X\xff\xff\xff\x7fa", "damaged"),
        (b"]q\0h\0a", "holds itself"),
        (b"]q\0\x85h\0\x86", None),
        (b")" + b"\x85" * 600, "nested too deep"),
        (b"]q\0" + b")" + b"\x85" * 499 + b"a", None),
        (b"K\1)R", "damaged"),
        (b"K\1}b", "damaged"),
        (b"c__torch__\nM\nK\1\x81", "no object of the program"),
        (b"ctorch\ndevice\n)\x81", "no object of the program"),
        (b"ctorch.jit._pickle\nbuild_intlist\nK\1\x85R", "has a list that is none"),
        (b"c__torch__\nM\n)\x81}b", None),
    ],
)
def test_pickles_that_are_not_torchs_are_refused(body, words):
    if words is None:
        accepted(body)
    else:
        refused(body, words)


def test_a_pickle_of_another_protocol_is_refused():
    for data in (b"N.", b"\x80\4N.", b"\x80\2\x80\2N.", b"\x80\2N.N.", b""):
        with pytest.raises(PickleFault):
            check_pickle(data, "data", SIZES)


@pytest.mark.parametrize(("lists", "deep"), [(400, False), (600, True)])
def test_nesting_through_the_memo_is_seen(lists, deep):
    """Empty lists, each put into the one before: no step makes anything deep."""

    def at(code, place):
        return code + struct.pack("<I", place)

    made = b"".join(b"]" + at(b"r", place) for place in range(lists))
    nested = b"".join(
        at(b"j", place - 1) + at(b"j", place) + b"a" for place in range(1, lists)
    )
    if deep:
        refused(b"(" + made + nested + b"t", "nested too deep")
    else:
        accepted(b"(" + made + nested + b"t")


def quantised(scales, zeros, axis):
    scheme = b"(ctorch\nper_channel_affine\n" + scales + zeros + number(axis) + b"t"
    where = storage(24).replace(b"Float", b"QInt8") + number(0)
    shape = numbers(2, 3) + numbers(3, 1)
    rest = b"\x89ccollections\nOrderedDict\n)Rt"
    return b"ctorch._utils\n_rebuild_qtensor\n(" + where + shape + scheme + rest + b"R"


def test_a_quantised_tensor_has_a_scale_for_each_channel():
    pair, triple = tensor(6, 0, (2,), (1,)), tensor(6, 0, (3,), (1,))
    accepted(quantised(pair, pair, 0))
    accepted(quantised(triple, triple, 1))
    for scales, zeros, axis in [
        (pair, pair, 1),
        (pair, triple, 0),
        (triple, triple, 0),
    ]:
        refused(quantised(scales, zeros, axis), "too few scales")
    refused(quantised(pair, pair, 2), "damaged")


def test_every_cut_of_a_pickle_is_refused(tmp_path):
    path = script_file(tmp_path, nn.Linear(3, 2))
    with zipfile.ZipFile(path) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("data.pkl"))
        whole = archive.read(name)
    check_pickle(whole, "data", SIZES)
    for length in range(len(whole)):
        with pytest.raises(PickleFault):
            check_pickle(whole[:length], "data", SIZES)


# Code


@pytest.mark.parametrize(
    ("line", "deep"),
    [
        ("x = " + "(" * 2000 + "y" + ")" * 2000, True),
        ("x = " + "-" * 2000 + "y", True),
        ("x = " + "not " * 2000 + "y", True),
        ("x = y" + " + y" * 2000, True),
        ("x = y" + " if y else y" * 2000, True),
        ("x = f(" + "g(" * 2000 + "y" + ")" * 2001, True),
        ("x = ['''" + '"' + "''', " + "[" * 2000 + "]" * 2000 + ", '\"']", True),
        ("# type: " + "(" * 2000 + ")" * 2000, True),
        (" " * 500 + "x = y", True),
        ("x = [" + "-1, " * 5000 + "]", False),
        ("x = [" + "(1, 2), " * 5000 + "]", False),
        ("x = y + y\n" * 5000, False),
        ("x = '" + "(" * 2000 + "'", False),
        ("# " + "(" * 2000, False),
        ("x = " + "f(" * 300 + "y" + ")" * 300, False),
    ],
)
def test_expressions_nested_too_deep_are_found(line, deep):
    assert is_deep(f"def forward(self, x):\n  {line}\n  return x\n") == deep


def test_code_that_would_end_the_process_is_refused(tmp_path):
    path = script_file(tmp_path, nn.Tanh())
    with zipfile.ZipFile(path) as archive:
        parts = [(i.filename, archive.read(i)) for i in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts:
            deep = b"return " + b"(" * 20_000 + b"input" + b")" * 20_000
            archive.writestr(name, data.replace(b"return torch.tanh(input)", deep))
    with pytest.raises(ModelError, match="an expression nested too deep in code/"):
        checked_script(StoredFile.at(path), False)

"""Files that a model names: which are read, by whom, and what is refused."""

import os
import socket
import threading

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from audit.ground.errors import ModelError
from audit.importer import OnnxFile, load_graph, source
from audit.importer.external import ExternalFiles
from audit.models.onnx_file import load, load_values
from audit.models.onnxruntime_file import Runtime

CPU = torch.device("cpu")
A = np.arange(12, dtype=np.float32).reshape(3, 4)
B = np.arange(4, dtype=np.float32)
X = torch.arange(6.0).reshape(2, 3)


def outside(name, array, location="data.bin", offset=0, **more):
    """A tensor whose numbers lie in a file."""
    tensor = numpy_helper.from_array(array, name)
    length = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    said = {"location": location, "offset": offset, "length": length} | more
    for key, value in said.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def linear(*tensors, nodes=()):
    """y = x A + B."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "a"], ["xa"]),
            helper.make_node("Add", ["xa", "b"], ["y"]),
            *nodes,
        ],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        list(tensors),
    )
    imports = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def saved(folder, proto, name="model.onnx"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(proto.SerializeToString())
    return folder / name


def usual(folder, name="model.onnx"):
    """A model with its data beside it, as exporters write them."""
    path = saved(folder, linear(outside("a", A), outside("b", B, offset=48)), name)
    (folder / "data.bin").write_bytes(A.tobytes() + B.tobytes())
    return path


def check(path, a=A):
    """Importer, referee and finite differences read the same numbers."""
    expected = X.numpy() @ a + B
    (ours,) = load_graph(path)(X)
    np.testing.assert_allclose(ours, expected)
    for network in (
        load(path, CPU, False, frozenset()),
        load_values(path, CPU, frozenset()),
    ):
        np.testing.assert_allclose(network.call({"x": X})["y"], expected)
        if network.reference is not None:
            np.testing.assert_allclose(network.reference({"x": X})["y"], expected)
    return network


def refused(path, words):
    """Whoever opens the file refuses it, and at once."""

    def attempt(read):
        try:
            read()
        except ModelError as error:
            said.append(str(error))

    readers = (
        lambda: load_graph(path),
        lambda: load(path, CPU, False, frozenset()),
        lambda: load_values(path, CPU, frozenset()),
        lambda: Runtime(OnnxFile(path))({"x": X}),
    )
    for read in readers:
        said = []
        thread = threading.Thread(target=attempt, args=(read,), daemon=True)
        thread.start()
        thread.join(30)
        assert len(said) == 1
        assert words in said[0], said


def test_data_beside_a_model_are_read_and_named(tmp_path):
    network = check(usual(tmp_path))
    assert [file.path.name for file in network.files] == ["model.onnx", "data.bin"]
    assert network.files[1].size == 64


def test_data_may_lie_below_and_be_used_twice(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w").write_bytes(A.tobytes() + bytes(4))
    place = {"location": "./sub/w"}
    path = saved(tmp_path, linear(outside("a", A, **place), outside("b", B, **place)))
    (ours,) = load_graph(path)(X)
    np.testing.assert_allclose(ours, X.numpy() @ A + B)


# Links


def hub(folder, model="../../blobs/m", data="../../blobs/d"):
    """The layout of model hubs: files are links into a store of blobs."""
    path = usual(folder / "blobs", "m")
    (folder / "blobs" / "data.bin").rename(folder / "blobs" / "d")
    snapshot = folder / "snapshots" / "rev"
    snapshot.mkdir(parents=True)
    (snapshot / "model.onnx").symlink_to(model)
    (snapshot / "data.bin").symlink_to(data)
    return snapshot / "model.onnx", path


def test_a_hubs_links_are_followed(tmp_path):
    path, _ = hub(tmp_path)
    network = check(path)
    assert network.files[1].path == path.parent / "data.bin"


def as_text(link):
    """Leave a link as a checkout without links does: a file that holds its target."""
    target = link.readlink()
    link.unlink()
    link.write_text(str(target))


def test_a_hubs_links_are_followed_where_they_have_become_text(tmp_path):
    path, _ = hub(tmp_path)
    for link in (path, path.parent / "data.bin"):
        as_text(link)
    network = check(path)
    assert network.files[1].path == tmp_path / "blobs" / "d"


@pytest.mark.parametrize("data", ["../../secret/d", "../../../secret"])
def test_text_is_no_way_out_of_both_folders(tmp_path, data):
    path, _ = hub(tmp_path / "hub", data=data)
    as_text(path)
    as_text(path.parent / "data.bin")
    (tmp_path / "hub" / "secret").mkdir()
    (tmp_path / "hub" / "secret" / "d").write_bytes(bytes(64))
    (tmp_path / "secret").write_bytes(bytes(64))
    refused(path, "Expected a file inside the model's own folder")


def test_a_hubs_links_are_followed_from_the_folder_they_lie_in(tmp_path, monkeypatch):
    path, _ = hub(tmp_path)
    monkeypatch.chdir(path.parent)
    check("model.onnx")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rev").symlink_to("snapshots/rev")
    check("rev/model.onnx")


def test_a_link_to_a_model_finds_the_data_of_either_folder(tmp_path):
    usual(tmp_path / "models" / "v3")
    latest = tmp_path / "latest.onnx"
    latest.symlink_to("models/v3/model.onnx")
    check(latest)
    (tmp_path / "data.bin").write_bytes((2 * A).tobytes() + B.tobytes())
    check(latest, 2 * A)  # whoever reads by path looks beside the link first


@pytest.mark.parametrize("data", ["../../secret/d", "../../../secret", "/etc/passwd"])
def test_a_data_link_out_of_both_folders_is_refused(tmp_path, data):
    path, _ = hub(tmp_path / "hub", data=data)
    (tmp_path / "hub" / "secret").mkdir()
    (tmp_path / "hub" / "secret" / "d").write_bytes(bytes(64))
    (tmp_path / "secret").write_bytes(bytes(64))
    refused(path, "Expected a file inside the model's own folder")


def test_a_model_that_is_no_link_keeps_its_data_in_its_folder(tmp_path):
    path = usual(tmp_path / "w")
    (tmp_path / "w" / "data.bin").rename(tmp_path / "cache")
    (tmp_path / "w" / "data.bin").symlink_to("../cache")
    refused(path, "Expected a file inside the model's own folder")


def test_a_link_to_a_link_is_judged_by_where_it_ends(tmp_path):
    path = usual(tmp_path / "w")
    (tmp_path / "w" / "data.bin").rename(tmp_path / "w" / "real")
    (tmp_path / "hop").symlink_to("w/real")
    (tmp_path / "w" / "data.bin").symlink_to("../hop")
    check(path)
    (tmp_path / "hop").unlink()
    refused(path, "is missing")
    (tmp_path / "hop").symlink_to("w/data.bin")
    refused(path, "cannot be read")  # in a circle


# Paths


@pytest.mark.parametrize(
    "place",
    [
        *("", "/etc/passwd", "/dev/zero", "../data.bin", "sub/../../data.bin"),
        *("sub/../data.bin", "a\0b", "..\\data.bin", "C:\\data.bin", "C:data.bin"),
        *("\\\\host\\share\\d", "\\data.bin", "//host/share/d"),
    ],
)
def test_paths_that_do_not_lead_down_are_refused(tmp_path, place):
    usual(tmp_path)
    usual(tmp_path / "sub")
    path = saved(tmp_path / "sub", linear(outside("a", A, place), outside("b", B)))
    refused(path, "Expected a file inside the model's own folder")


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a device", "a socket"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind):
    path = usual(tmp_path)
    beside = tmp_path / "data.bin"
    beside.unlink()
    if kind == "a pipe":
        os.mkfifo(beside)
    elif kind == "a folder":
        beside.mkdir()
    elif kind == "a device":
        beside.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(beside))
    words = "own folder" if kind == "a device" else f"cannot be read: it is {kind}"
    refused(path, words)


def test_a_tensor_that_nobody_uses_is_no_way_out(tmp_path):
    usual(tmp_path)
    unused = outside("unused", B, "../secret")
    (tmp_path / "secret").write_bytes(bytes(16))
    tensors = (numpy_helper.from_array(A, "a"), numpy_helper.from_array(B, "b"), unused)
    refused(saved(tmp_path / "w", linear(*tensors)), "points to '../secret'")


# Bounds, and files that change


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"offset": 4}, "needs bytes up to 52 of 'data.bin', which has 48"),
        ({"offset": 2**63}, "needs bytes up to"),
        ({"offset": -1}, "has the external offset '-1'"),
        ({"offset": "1e1"}, "has the external offset '1e1'"),
        ({"offset": "٣"}, "has the external offset '٣'"),
        ({"offset": "9" * 5000}, "has the external offset '999"),
        ({"length": 44}, "needs 48 bytes and its entry says 44"),
        ({"length": 0}, "needs 48 bytes and its entry says 0"),
    ],
)
def test_numbers_beyond_the_file_are_refused(tmp_path, more, words):
    tensors = outside("a", A, **more), numpy_helper.from_array(B, "b")
    path = saved(tmp_path, linear(*tensors))
    (tmp_path / "data.bin").write_bytes(A.tobytes())
    refused(path, words)


def test_bytes_are_not_taken_over_and_over(tmp_path, monkeypatch):
    """Tied weights share bytes; a thousand tensors on the same ones are a bomb."""
    monkeypatch.setattr(source, "FREE", 0)
    path = usual(tmp_path)
    check(path)
    uses = [outside(f"w{i}", A) for i in range(11)]
    tensors = (outside("a", A), outside("b", B, offset=48))
    refused(saved(tmp_path, linear(*tensors, *uses)), "at most 8 times")


def test_weights_that_do_not_fit_into_memory_are_refused_unread(tmp_path, monkeypatch):
    """A sparse file of 4 GiB takes none on the disk, and all of it when it is read."""
    tensor = outside("a", A, length=3 << 30)
    tensor.dims[:] = [3 << 28, 1]
    path = saved(tmp_path, linear(tensor, outside("b", B)))
    with (tmp_path / "data.bin").open("wb") as file:
        file.truncate(4 << 30)
    monkeypatch.setattr(source, "free_memory", lambda: 12 << 30)
    monkeypatch.setattr(
        ExternalFiles, "read", lambda *_: pytest.fail("its bytes were read")
    )
    for opened in (load_graph, lambda path: load(path, CPU, False, frozenset())):
        with pytest.raises(
            ModelError, match=r"take 3\.0 GiB.* 4 times.* the 12\.0 GiB"
        ):
            opened(path)
    monkeypatch.setattr(source, "free_memory", lambda: None)  # nothing tells
    with pytest.raises(pytest.fail.Exception):
        load_graph(path)


def test_a_tensor_that_says_two_places_is_refused(tmp_path):
    tensor = outside("a", A)
    tensor.external_data.add(key="location", value="other.bin")
    path = saved(tmp_path, linear(tensor, numpy_helper.from_array(B, "b")))
    (tmp_path / "data.bin").write_bytes(A.tobytes())
    refused(path, "says twice where its numbers are")


@pytest.mark.parametrize("name", ["model.onnx", "data.bin"])
def test_a_file_that_changes_is_not_read_again(tmp_path, name):
    file = OnnxFile(usual(tmp_path))
    load_graph(file)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b"\0")
    with pytest.raises(ModelError, match="it has changed since it was opened"):
        Runtime(file)({"x": X})


# The referee


def test_the_referee_opens_no_file_of_its_own(tmp_path, monkeypatch):
    """Decoys lie wherever onnxruntime could look by itself."""
    path = usual(tmp_path / "w")
    decoys = tmp_path / "decoys"
    decoys.mkdir()
    (decoys / "data.bin").write_bytes(bytes(64))
    monkeypatch.chdir(decoys)
    file = OnnxFile(path)
    proto, beside = file.whole()
    assert beside == []
    assert not any(t.data_location for t in proto.graph.initializer)
    np.testing.assert_allclose(Runtime(file)({"x": X})["y"], X.numpy() @ A + B)


def branches():
    """Tensors outside in a subgraph, in an attribute and in a function."""
    one = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    then = helper.make_graph(
        [helper.make_node("Add", ["x", "t"], ["o"])],
        "t",
        [],
        [one],
        [outside("t", B[:3], offset=48)],
    )
    constant = helper.make_node("Constant", [], ["k"], value=outside("k", B[:3]))
    other = helper.make_graph(
        [constant, helper.make_node("Sub", ["x", "k"], ["o"])], "e", [], [one]
    )
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Cast", ["s"], ["c"], to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["z"], then_branch=then, else_branch=other),
        helper.make_node("Shifted", ["z"], ["y"], domain="own"),
    ]
    shift = helper.make_node("Constant", [], ["w"], value=outside("w", B[1:2]))
    body = [shift, helper.make_node("Add", ["u", "w"], ["v"])]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "Shifted", ["u"], ["v"], body, imports[:1])
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
    )
    return helper.make_model(
        graph, opset_imports=imports, functions=[function], ir_version=8
    )


def test_the_referee_gets_tensors_wherever_they_hide(tmp_path):
    path = saved(tmp_path, branches())
    (tmp_path / "data.bin").write_bytes(A.tobytes() + B.tobytes())
    stored = np.frombuffer(A.tobytes() + B.tobytes(), np.float32)
    runtime = Runtime(OnnxFile(path))
    for x, branch in ((X, stored[12:15]), (0 * X, -stored[:3])):
        expected = x.numpy() + branch + stored[0]
        np.testing.assert_allclose(runtime({"x": x})["y"], expected)
        np.testing.assert_allclose(load_graph(path)(x)[0], expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, "bfloat16"])
def test_what_does_not_fit_in_a_message_goes_beside_it(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(source, "ROOM", 0)
    monkeypatch.setattr(source, "LARGE", 17)  # A is, B is not
    import ml_dtypes

    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    a = A.astype(kind)
    proto = linear(outside("w", a), outside("b", B, offset=a.nbytes))
    cast = helper.make_node("Cast", ["w"], ["a"], to=TensorProto.FLOAT)
    proto.graph.node.insert(0, cast)
    path = saved(tmp_path, proto)
    (tmp_path / "data.bin").write_bytes(a.tobytes() + B.tobytes())
    _, beside = OnnxFile(path).whole()
    assert [tensor.name for tensor in beside] == ["w"]
    np.testing.assert_allclose(
        Runtime(OnnxFile(path))({"x": X})["y"], X.numpy() @ A + B
    )


# Hashes


def test_weights_have_one_hash_wherever_they_lie(tmp_path):
    inside = linear(numpy_helper.from_array(A, "a"), numpy_helper.from_array(B, "b"))
    found = {
        load(path, CPU, False, frozenset()).weights_sha256
        for path in (usual(tmp_path / "out"), saved(tmp_path / "in", inside))
    }
    assert len(found) == 1


def test_strings_are_hashed_by_what_they_say(tmp_path):
    def digest(text):
        words = numpy_helper.from_array(np.array([text, "b"], object), "words")
        tensors = (numpy_helper.from_array(A, "a"), numpy_helper.from_array(B, "b"))
        read = helper.make_node("StringNormalizer", ["words"], ["read"])
        path = saved(tmp_path, linear(*tensors, words, nodes=[read]))
        return load(path, CPU, False, frozenset()).weights_sha256

    assert digest("a" * 40) == digest("a" * 40)
    assert digest("a" * 40) != digest("c" * 40)


def test_onnx_itself_would_follow_the_path(tmp_path):
    """The route is real: a tensor outside is read by whoever loads by path."""
    path = usual(tmp_path)
    loaded = onnx.load(path)
    np.testing.assert_array_equal(numpy_helper.to_array(loaded.graph.initializer[0]), A)

"""Archives with two readings: what is checked is what is loaded.

Each hostile file would create a file if it were loaded. That the route is real is shown
by loading it, or what torch sees of it, with torch itself.
"""

import io
import json
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from ground.storage.handmade import Zip, two_directories

from audit.ground.errors import AuditError, ModelError
from audit.ground.storage import StoredFile
from audit.models import LOADERS
from audit.models.untrusted import checked_program, checked_script
from models.saved import Head, data_file, opened, pt2_file, script_file
from models.test_untrusted import NORMAL, Opens, Saves

CHECKS = {".pt": checked_script, ".pt2": checked_program}
EACH = pytest.mark.parametrize("suffix", CHECKS)


def members(path):
    with zipfile.ZipFile(path) as archive:
        return [(n.partition("/")[2], archive.read(n)) for n in archive.namelist()]


def copied(content):
    """The members of the fresh archive."""
    return dict(members(io.BytesIO(content)))


def below(top, parts):
    return [(f"{top}/{name}", data) for name, data in parts]


def zipped(parts, method=0):
    archive = Zip()
    for name, data in parts:
        archive.add(name, data, method=method)
    return archive.ended()


@pytest.fixture
def honest(tmp_path, suffix):
    """The members of a file that nothing is wrong with."""
    head = Head()
    make = script_file if suffix == ".pt" else pt2_file
    arguments = () if suffix == ".pt" else (torch.ones(4, 3),)
    return members(make(tmp_path, head, *arguments, name=f"honest{suffix}"))


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "ran"


@pytest.fixture
def evil(tmp_path, suffix, honest, mark):
    """The same members, one of which creates a file when they are loaded."""
    if suffix == ".pt":
        found = members(script_file(tmp_path, Saves(mark), name="evil.pt"))
        mark.unlink(missing_ok=True)
        return found
    found = dict(honest)
    document = json.loads(found["models/model.json"])
    document["guards_code"] = [f"open('{mark}', 'w')"]
    found["models/model.json"] = json.dumps(document).encode()
    return list(found.items())


def load(suffix, source):
    if suffix == ".pt":
        torch.jit.load(source)
    else:
        torch.export.load(source).module()(torch.ones(2, 3))


def runs(suffix, mark, source):
    """The route is real: torch runs what is in the file."""
    with suppress(Exception):
        load(suffix, source)
    assert mark.exists()
    mark.unlink()


def refused(tmp_path, suffix, data, mark, words):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(data)
    for trusted in (False, True):  # no file with two readings is vouched for
        with pytest.raises(ModelError, match=words) as error:
            opened(path, data_file(tmp_path), trust_model=trusted, **NORMAL)
        assert error.value.exit_code == 3
        assert f"'{path.name}'" in str(error.value)
        assert not mark.exists()


def padded(parts, others):
    """Members in the order of others, and names for those that only one has."""
    known = dict(parts)
    names = dict.fromkeys([*(n for n, _ in others), *known])
    return [(name, known.get(name, b"")) for name in names]


# The four variants


@EACH
def test_of_two_directories_neither_is_loaded(tmp_path, suffix, honest, evil, mark):
    theirs, ours = padded(evil, honest), padded(honest, evil)
    data = two_directories(below("m", theirs), below("m", ours))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:  # Python sees the honest one
        assert {n: archive.read(f"m/{n}") for n, _ in honest} == dict(honest)
    path = tmp_path / f"two{suffix}"
    path.write_bytes(data)
    runs(suffix, mark, str(path))
    refused(tmp_path, suffix, data, mark, "in no member and not in its directory")


@EACH
def test_of_two_top_folders_neither_is_loaded(tmp_path, suffix, honest, evil, mark):
    data = zipped([*below("a", evil), *below("b", honest)])
    path = tmp_path / f"two{suffix}"
    path.write_bytes(data)
    if suffix == ".pt":  # the loader of .pt2 lists all members, and stumbles
        runs(suffix, mark, str(path))
    refused(tmp_path, suffix, data, mark, "not one top folder with everything in it")


@EACH
def test_of_two_members_of_one_name_neither_is_loaded(
    tmp_path, suffix, honest, evil, mark
):
    data = zipped([*below("m", evil), *below("m", honest)])
    refused(tmp_path, suffix, data, mark, "two members of the same name")
    upper = [(name.upper(), part) for name, part in honest]
    data = zipped([*below("m", honest[:1]), *below("m", upper[:1])])
    refused(tmp_path, suffix, data, mark, "two members of the same name, but for upper")
    data = zipped([*below("m", evil[2:]), *below("m", upper)])
    refused(tmp_path, suffix, data, mark, "two members of the same name, but for upper")


@EACH
def test_a_pickled_weight_is_not_unpickled(tmp_path, suffix, honest, mark):
    parts, saved = dict(honest), io.BytesIO()
    torch.save(Opens(mark), saved)
    if suffix == ".pt":
        parts["data.pkl"] = pickle.dumps(Opens(mark), 2)
        words = r"data\.pkl names (io|_io)\.open"
    else:
        name = "data/weights/model_weights_config.json"
        config = json.loads(parts[name])
        next(iter(config["config"].values()))["use_pickle"] = True
        parts[name] = json.dumps(config).encode()
        parts["data/weights/weight_0"] = saved.getvalue()
        words = "a pickle for weight_0"
    path = tmp_path / f"pickled{suffix}"
    path.write_bytes(zipped(below("m", parts.items())))
    if suffix == ".pt2":  # C++ runs no Python, whatever the pickle says
        runs(suffix, mark, str(path))
    with pytest.raises(ModelError, match=words) as error:
        opened(path, data_file(tmp_path), **NORMAL)
    assert error.value.exit_code == 3
    assert not mark.exists()


# Honest files


@EACH
@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("method", [0, 8])
def test_honest_files_load_and_compute_the_same(
    tmp_path, suffix, honest, trusted, method
):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(zipped(below("m", honest), method))
    model = opened(path, data_file(tmp_path), trust_model=trusted, **NORMAL)
    x = torch.randn(5, 3)
    direct = Head()(x)
    for network in (model.network, model.network.again()):
        for name, value in network.call({"x": x}).items():
            torch.testing.assert_close(value, direct[name])
    again = opened(tmp_path / f"honest{suffix}", data_file(tmp_path), **NORMAL)
    assert again.network.weights_sha256 == model.network.weights_sha256


@EACH
def test_torch_finds_in_the_copy_what_was_checked(tmp_path, suffix, honest):
    content = CHECKS[suffix](StoredFile.at(tmp_path / f"honest{suffix}"), False)
    reader = torch._C.PyTorchFileReader(io.BytesIO(content))
    seen = {name: reader.get_record(name) for name in reader.get_all_records()}
    assert seen == copied(content)
    pickled = {name for name in seen if "sample_inputs" in name}
    assert {n: d for n, d in seen.items() if n not in pickled} == {
        name: data
        for name, data in honest
        if not name.endswith(".debug_pkl") and name not in pickled
    }


@EACH
def test_a_file_that_changes_is_not_loaded_again(tmp_path, suffix, honest, evil, mark):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(zipped(below("m", honest)))
    network = LOADERS[suffix](path, torch.device("cpu"), False, frozenset())
    path.write_bytes(zipped(below("m", evil)))
    for load_more in (network.again, network.double):
        with pytest.raises(ModelError, match="it has changed since it was opened"):
            load_more()
    assert not mark.exists()


# Other archives


@EACH
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("code/../data.pkl", "no plain path"),
        ("./data.pkl", "no plain path"),
        ("code//x.py", "no plain path"),
        ("code\\x.py", "no plain path"),
        ("code/x\x1b.py", "no plain path"),
        ("folder/", "no plain path"),
    ],
)
def test_paths_that_could_mean_others_are_refused(
    tmp_path, suffix, honest, mark, name, words
):
    data = zipped(below("m", [*honest, (name, b"")]))
    refused(tmp_path, suffix, data, mark, words)


@EACH
@pytest.mark.parametrize("before", [b"#!/bin/sh\n", bytes(64)])
def test_bytes_before_an_archive_are_refused(tmp_path, suffix, honest, mark, before):
    archive = Zip()
    for name, data in below("m", honest):
        archive.add(name, data)
    refused(tmp_path, suffix, archive.ended(before=before), mark, "in no member")
    shifted = archive.ended(before=before, shift=len(before))
    refused(tmp_path, suffix, shifted, mark, "in no member")


@EACH
def test_members_that_are_written_and_never_read_are_left_out(tmp_path, suffix, honest):
    path, names = tmp_path / f"model{suffix}", ["extra/notes.txt"]
    names += ["code/x.py.debug_pkl", "bytecode.pkl"] if suffix == ".pt" else []
    parts = [*honest, *((name, b"\xff") for name in names)]
    path.write_bytes(zipped(below("m", parts)))
    found = copied(CHECKS[suffix](StoredFile.at(path), False))
    assert not {*names, "code/__torch__/models/saved.py.debug_pkl"} & set(found)
    assert set(names) <= set(copied(CHECKS[suffix](StoredFile.at(path), True)))


@EACH
@pytest.mark.parametrize("member", ["model.json", "notes/a", ".data/ts_code/code/x"])
def test_members_that_nobody_writes_are_refused(tmp_path, suffix, honest, member):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(zipped(below("m", [*honest, (member, b"\xff")])))
    with pytest.raises(ModelError, match=f"the member {member}"):
        CHECKS[suffix](StoredFile.at(path), False)
    assert member in copied(CHECKS[suffix](StoredFile.at(path), True))


@EACH
def test_a_bomb_is_not_unpacked(tmp_path, suffix, honest, mark, monkeypatch):
    monkeypatch.setattr("audit.models.untrusted.archive._ROOM", 1 << 20)
    parts = [
        *honest,
        ("data/0" if suffix == ".pt" else "data/weights/w", bytes(1 << 25)),
    ]
    data = zipped(below("m", dict(parts).items()), method=8)
    refused(tmp_path, suffix, data, mark, "unpacks to far more than its size")


@EACH
def test_a_changed_archive_is_the_same_program_or_is_refused(tmp_path, suffix, honest):
    """What is copied are the members that were written, whatever bytes changed."""
    whole, path = zipped(below("m", honest), 8), tmp_path / f"model{suffix}"
    for seed in range(300):
        rng = np.random.default_rng(seed)
        data = bytearray(whole)
        for start in rng.integers(0, len(data), 1 + seed % 3).tolist():
            data[start : start + int(rng.integers(0, 9))] = rng.bytes(seed % 4)
        path.write_bytes(data)
        with suppress(AuditError):
            content = CHECKS[suffix](StoredFile.at(path), False)
            for name, part in copied(content).items():
                assert "sample_inputs" in name or part == dict(honest)[name]


# Pickles within


@pytest.mark.parametrize("suffix", [".pt2"])
def test_pickles_within_are_saved_anew(tmp_path, suffix, honest):
    """The loader unpickles what torch saved of what was read, not what was there."""
    name, parts = "data/sample_inputs/model.pt", dict(honest)
    with zipfile.ZipFile(io.BytesIO(parts[name])) as archive:
        inside = [(each, archive.read(each)) for each in archive.namelist()]
    parts[name] = zipped([*inside, ("archive/unknown", b"")], method=8)
    path = tmp_path / "model.pt2"
    path.write_bytes(zipped(below("m", parts.items())))
    content = checked_program(StoredFile.at(path), False)
    saved = copied(content)[name]
    assert b"unknown" not in saved
    (arguments, keywords) = torch.load(io.BytesIO(saved), weights_only=True)
    torch.testing.assert_close(arguments, (torch.ones(4, 3),))
    assert keywords == {}
    assert opened(path, data_file(tmp_path), **NORMAL)


@pytest.mark.parametrize("suffix", [".pt2"])
def test_an_archive_within_with_two_readings_is_not_unpickled(
    tmp_path, suffix, honest, mark
):
    good, bad = io.BytesIO(), io.BytesIO()
    torch.save(((torch.ones(4, 3),), {}), good)
    torch.save(Opens(mark), bad)

    def inside(saved):
        with zipfile.ZipFile(saved) as archive:
            return {i.filename: archive.read(i) for i in archive.infolist()}

    ours, theirs = inside(good), inside(bad)
    both = two_directories(
        padded(theirs.items(), ours.items()), padded(ours.items(), theirs.items())
    )
    parts = dict(honest) | {"data/sample_inputs/model.pt": both}
    path = tmp_path / "model.pt2"
    path.write_bytes(zipped(below("m", parts.items())))
    with pytest.raises(ModelError, match="a pickle in data/sample_inputs/model"):
        opened(path, data_file(tmp_path), **NORMAL)
    assert not mark.exists()
    runs(suffix, mark, str(path))


@pytest.mark.parametrize("suffix", [".pt2"])
def test_weights_without_numbers_are_not_zeros(tmp_path, suffix, honest):
    parts = dict(honest) | {"data/weights/weight_0": b""}
    path = tmp_path / "model.pt2"
    path.write_bytes(zipped(below("m", parts.items())))
    with pytest.raises(ModelError, match="a tensor without numbers in data/weights"):
        opened(path, data_file(tmp_path), **NORMAL)


def test_a_pipe_is_no_model(tmp_path):
    import os

    for suffix in (".pt", ".pt2", ".onnx"):
        path = Path(tmp_path, f"pipe{suffix}")
        os.mkfifo(path)
        with pytest.raises(ModelError, match="is a pipe or a device"):
            opened(path, data_file(tmp_path))

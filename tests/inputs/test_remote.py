"""Data at addresses: the same numbers, and words for what goes wrong."""

import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import fsspec
import numpy as np
import pytest
from scans import SAMPLES, sample, scan

from audit.ground.errors import ConfigError, InputError
from audit.inputs import list_keys, open_inputs, remote
from audit.inputs.opening import open_file
from audit.inputs.remote import copied, is_remote
from audit.run.folder import check_options

DATA = SAMPLES / "counts.npz"


@pytest.fixture
def memory():
    """A file system in this process, with a file of the sample models."""
    store = fsspec.filesystem("memory")
    store.pipe("/robaudit/counts.npz", DATA.read_bytes())
    yield store
    store.rm("/robaudit", recursive=True)


@pytest.fixture
def server(tmp_path):
    """The address of a folder on this host."""
    (tmp_path / "counts.npz").write_bytes(DATA.read_bytes())
    serve = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    serve.func.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


@pytest.mark.parametrize(
    ("path", "remotely"),
    [
        ("s3://bucket/x.npz", True),
        ("https://host/x.npz?a=1", True),
        ("file:///tmp/x.npz", True),
        ("folder/x.npz", False),
        ("/x://y.npz", False),
        ("x.npz::key", False),
        ("C:\\x.npz", False),
    ],
)
def test_what_is_an_address(path, remotely):
    assert is_remote(path) == remotely


def test_an_address_gives_the_report_of_the_file(memory):
    here = scan(sample("counts", limit=20))
    config = replace(sample("counts", limit=20), data="memory://robaudit/counts.npz")
    there = scan(config)
    assert there.inputs == here.inputs
    assert there.divergences == here.divergences
    assert there.data.sha256 == here.data.sha256
    assert there.data.source == "memory://robaudit/counts.npz"


def test_a_key_behind_an_address(memory):
    with np.load(DATA) as arrays:
        key, expected = "x", arrays["x"]
    found = open_inputs(f"memory://robaudit/counts.npz::{key}", {"x": None})
    assert np.array_equal(found.take("x", slice(None)), expected)


def test_a_file_of_this_machine_is_read_where_it_lies():
    with copied(f"file://{DATA}") as local:
        assert Path(local) == DATA


def test_a_copy_is_made_once_and_anew_when_the_file_changes(memory, monkeypatch):
    made = []
    fetched = remote._fetched

    def counted(*given):
        made.append(given[0])
        return fetched(*given)

    monkeypatch.setattr(remote, "_fetched", counted)
    path = "memory://robaudit/new.csv"
    memory.pipe("/robaudit/new.csv", b"a,b\n1,2\n3,4\n")
    for _ in range(2):
        assert list_keys(path) == ("a", "b")
    assert made == [path]
    memory.pipe("/robaudit/new.csv", b"a,b,c\n1,2,3\n3,4,5\n")
    assert list_keys(path) == ("a", "b", "c")
    assert made == [path] * 2


@pytest.mark.skipif(find_spec("aiohttp") is None, reason="robaudit[remote]: aiohttp")
def test_a_web_server(server):
    with open_file(f"{server}/counts.npz?version=1") as file:
        assert "x" in file.keys
    with pytest.raises(InputError, match=r"gone\.npz' cannot be read .*credentials"):
        list_keys(f"{server}/gone.npz")


# Words


def test_what_is_damaged_is_named_by_its_address(memory):
    memory.pipe("/robaudit/bad.npz", DATA.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"'memory://robaudit/bad\.npz'") as caught:
        list_keys("memory://robaudit/bad.npz")
    assert "robaudit-data-" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("memory://robaudit/none.npz", "cannot be read"),
        ("nonsense://x/y.npz", r"cannot be read .*Protocol not known"),
        ("memory://robaudit", "is a folder"),
    ],
)
def test_what_cannot_be_read_is_said(memory, path, words):
    with pytest.raises(InputError, match=words):
        list_keys(path)


def test_a_missing_package_names_the_extra(monkeypatch):
    def lacking(path):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", lacking)
    with pytest.raises(ConfigError, match=r"Install s3fs.*robaudit\[remote\]"):
        list_keys("s3://bucket/x.npz")


def test_a_full_disk_is_said_and_half_a_copy_removed(memory, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(remote.shutil, "copyfileobj", full)
    memory.pipe("/robaudit/large.npz", b"1")
    with pytest.raises(InputError, match=r"finds no room .*No space left.*TMPDIR"):
        list_keys("memory://robaudit/large.npz")
    assert not list(remote._folder().glob("*large.npz"))


def test_a_run_folder_is_no_address():
    with pytest.raises(ConfigError, match="--run-dir is 's3://bucket/run'"):
        check_options(sample("counts", run_dir="s3://bucket/run"))

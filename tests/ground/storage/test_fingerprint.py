"""One pass gives the digest of a file and the checksums of what it stores."""

import hashlib
import os
import zlib

import numpy as np
import pytest

from audit.ground.storage import fingerprint as module
from audit.ground.storage import open_regular, read_members
from audit.ground.storage.fingerprint import fingerprint
from ground.storage.handmade import Zip


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of a few bytes, so that members begin and end anywhere in them."""
    monkeypatch.setattr(module, "CHUNK", 7)


@pytest.mark.parametrize("seed", range(20))
def test_the_sums_are_those_of_the_whole_and_of_each_member(
    tmp_path, seed, small_pieces
):
    rng, zipped = np.random.default_rng(seed), Zip()
    written = {f"m{i}": rng.bytes(int(rng.integers(0, 40))) for i in range(6)}
    for name, data in written.items():
        zipped.add(name, data, method=8 * int(rng.integers(0, 2)) * bool(data))
    path = tmp_path / "a.zip"
    path.write_bytes(zipped.ended())
    with open_regular(path) as file:
        listed = read_members(file)
        found = fingerprint(file, listed)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    stored = {member.name for member in listed if not member.method}
    assert found.crcs == {name: zlib.crc32(written[name]) for name in stored}


def test_a_pass_is_remembered_only_for_a_file_that_has_settled(tmp_path, monkeypatch):
    path, passes = tmp_path / "f", []
    monkeypatch.setattr(module, "_known", {})
    whole_pass = module._pass
    monkeypatch.setattr(module, "_pass", lambda *a: passes.append(1) or whole_pass(*a))

    def digest():
        with open_regular(path) as file:
            return fingerprint(file).sha256

    path.write_bytes(b"hello")
    assert digest() == digest()
    assert len(passes) == 2  # it could be written again in the same tick
    os.utime(path, (1, 1))
    assert digest() == digest()
    assert len(passes) == 3
    path.write_bytes(b"world")
    assert digest() == hashlib.sha256(b"world").hexdigest()


def test_a_file_that_changes_meanwhile_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(b"hello")

    def rewrite(*_):
        path.write_bytes(b"hello!")

    monkeypatch.setattr(module, "_pass", rewrite)
    with open_regular(path) as file, pytest.raises(OSError, match="it has changed"):
        fingerprint(file)

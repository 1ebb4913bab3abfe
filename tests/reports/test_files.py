"""Files appear whole or not at all."""

import os
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.formats import FORMATS, SUFFIXES, format_of
from audit.ground.errors import ConfigError, InputError
from audit.reports.files import atomic_file, check_writable, write_text


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_text_comes_back_as_it_was_written(text):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "[a] b.json")
        write_text(path, text)
        with open(path, "rb") as file:
            assert file.read().decode() == text
        assert os.listdir(folder) == ["[a] b.json"]


def write_then_fail(path, chunks):
    with atomic_file(path) as file:
        file.writelines(chunks)
        raise ZeroDivisionError


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(0, 5))
def test_a_failure_at_any_point_leaves_the_old_file(chunks, stop):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "r.bin")
        write_text(path, "old")
        with pytest.raises(ZeroDivisionError):
            write_then_fail(path, chunks[:stop])
        assert os.listdir(folder) == ["r.bin"]
        with open(path) as file:
            assert file.read() == "old"


def test_writers_of_one_file_never_mix(tmp_path):
    path = tmp_path / "r.json"
    contents = [letter * 200_000 for letter in "abcd"]
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda text: write_text(path, text), contents * 5):
            assert path.read_text() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_keeps_its_mode_and_a_new_one_follows_the_umask(tmp_path):
    path = tmp_path / "r.json"
    path.write_text("old")
    path.chmod(0o640)
    write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    mask = os.umask(0o027)
    try:
        write_text(tmp_path / "n.json", "new")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "n.json").stat().st_mode) == 0o640


def test_a_full_disk_is_an_error_with_words(tmp_path):
    with (
        pytest.raises(InputError, match="cannot be written: No space left"),
        atomic_file(tmp_path / "r.json"),
    ):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_found_before(tmp_path, monkeypatch):
    check_writable(tmp_path / "r.json")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="is a folder"):
        check_writable(tmp_path)
    with pytest.raises(ConfigError, match="there is no folder"):
        check_writable(tmp_path / "no" / "r.json")

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("audit.reports.files.temporary_file", refuse)
    with pytest.raises(ConfigError, match="cannot be written: Permission denied"):
        check_writable(tmp_path / "r.json")
    with pytest.raises(InputError, match="Permission denied"):
        write_text(tmp_path / "r.json", "x")


def test_formats_follow_the_extension():
    assert format_of("a/b.JSON") == "json"
    for suffix, name in SUFFIXES.items():
        assert format_of(f"report{suffix}") == name
        assert name in FORMATS
    with pytest.raises(ConfigError, match=r"'r.jsn' has an unknown ext.*mean '.json'"):
        format_of("r.jsn")


def test_every_format_renders_a_report(gated):
    for name in FORMATS:
        assert FORMATS[name](gated)

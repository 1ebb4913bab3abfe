"""Regular files alone are opened, without waiting, and known again."""

import os
import socket
import threading

import pytest

from audit.ground.storage import StoredFile, followed, open_regular


def test_a_file_is_opened_also_through_a_link(tmp_path):
    (tmp_path / "f").write_bytes(b"hello")
    (tmp_path / "link").symlink_to("f")
    for name in ("f", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"hello"


def test_a_link_that_a_checkout_left_as_text_is_followed(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/7f").write_bytes(b"hello")
    (tmp_path / "files").mkdir()
    (tmp_path / "files/model").write_text("../files/other")
    (tmp_path / "files/other").write_text("../blobs/7f")
    assert followed(tmp_path / "files/model") == tmp_path.resolve() / "blobs/7f"


@pytest.mark.parametrize(
    "text",
    ["../blobs/none", "/etc/passwd", "~/x", "../blobs/7f\n", "hello", "a" * 2000],
)
def test_other_text_is_no_link(tmp_path, text):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/7f").write_bytes(b"hello")
    (tmp_path / "model").write_text(text)
    assert followed(tmp_path / "model") == tmp_path.resolve() / "model"


def test_links_in_a_circle_lead_nowhere(tmp_path):
    (tmp_path / "a").write_text("./b")
    (tmp_path / "b").write_text("./a")
    with pytest.raises(OSError, match="links lead to links"):
        followed(tmp_path / "a")


def special(folder, kind):
    path = folder / kind
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    return path


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a device", "a socket"])
def test_anything_else_is_refused_at_once(tmp_path, kind):
    path, said = special(tmp_path, kind), []

    def attempt():
        try:
            open_regular(path).close()
        except OSError as error:
            said.append(error.strerror)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(10)
    assert said == [f"it is {kind}, not a file"]


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


def test_a_stored_file_knows_its_size_and_digest(tmp_path):
    import hashlib

    path = tmp_path / "f"
    path.write_bytes(b"hello")
    stored = StoredFile.at(path)
    assert (stored.path, stored.size) == (path, 5)
    assert stored.sha256 == hashlib.sha256(b"hello").hexdigest()


@pytest.mark.parametrize("how", ["longer", "replaced", "rewritten"])
def test_a_file_that_changed_is_not_read(tmp_path, how):
    path = tmp_path / "f"
    path.write_bytes(b"hello")
    os.utime(path, (1, 1))
    stored = StoredFile.at(path)
    if how == "longer":
        path.write_bytes(b"hello!")
    elif how == "replaced":
        (tmp_path / "g").write_bytes(b"world")
        os.utime(tmp_path / "g", (1, 1))
        os.replace(tmp_path / "g", path)
    else:
        path.write_bytes(b"world")
    with pytest.raises(OSError, match="it has changed"), stored.reading():
        pass
    with pytest.raises(OSError, match="it has changed"):
        _ = stored.sha256


def test_a_file_that_changes_while_it_is_read_is_not_believed(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"hello")
    with (  # noqa: PT012
        pytest.raises(OSError, match="it has changed"),
        StoredFile.at(path).reading() as file,
    ):
        file.read()
        path.write_bytes(b"hello!")

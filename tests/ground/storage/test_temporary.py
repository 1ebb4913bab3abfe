"""What a killed process left goes; what a living one writes stays."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from audit.ground.storage.temporary import (
    TemporaryFolder,
    sweep,
    sweep_for,
    temporary_file,
    temporary_name,
)

ROOT = str(Path(__file__).parents[3])
OWNER = """
import sys, time
from pathlib import Path
from audit.ground.storage.temporary import TemporaryFolder, temporary_file
here = Path(sys.argv[1])
folder = TemporaryFolder(here, ".rows-")
(folder.path / "deep").mkdir()
file = temporary_file(here / "r.json")
print("here", flush=True)
time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path):
    """A process that has a folder and a file."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    assert process.stdout.readline() == b"here\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def swept(folder):
    sweep(folder, ".rows-")
    sweep_for(folder / "r.json")
    return sorted(path.name.partition("-")[0] for path in folder.iterdir())


def aged(folder):
    """Make what is there look old."""
    for path in [*folder.rglob("*")]:
        os.utime(path, (0, 0))


def test_what_a_living_process_has_stays_and_goes_with_it(owner, tmp_path):
    aged(tmp_path)
    before = [path.name for path in tmp_path.iterdir()]
    swept(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == before
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert swept(tmp_path) == []


def test_a_new_folder_takes_the_place_of_those_of_the_dead(owner, tmp_path):
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    folder = TemporaryFolder(tmp_path, ".rows-")
    left = [path for path in tmp_path.iterdir() if path.name.startswith(".rows-")]
    assert left == [folder.path]
    folder.remove()


def test_one_that_died_and_that_nobody_asked_for_is_dead(owner, tmp_path):
    owner.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)  # a zombie
    assert swept(tmp_path) == []


def test_our_own_stays_though_we_look_ourselves(tmp_path):
    folder, (handle, path) = (
        TemporaryFolder(tmp_path, ".rows-"),
        temporary_file(tmp_path / "r.json"),
    )
    aged(tmp_path)
    sweep(tmp_path)
    assert folder.path.exists()
    assert path.exists()
    folder.remove()
    folder.remove()
    assert not folder.path.exists()
    os.close(handle)
    sweep(tmp_path)  # its owner lives, but it is old and nobody holds it
    assert not path.exists()


def test_a_process_of_the_same_number_does_not_keep_it(tmp_path):
    """Containers count from one: ours may have the number of the dead."""
    left = tmp_path / temporary_name(".rows-")
    left.mkdir()
    (left / "lock").touch()
    sweep(tmp_path, ".rows-")
    assert left.exists()  # it may be about to be locked
    aged(tmp_path)
    sweep(tmp_path, ".rows-")
    assert not left.exists()


def test_what_has_another_name_or_comes_from_elsewhere_stays(tmp_path):
    name = temporary_name(".rows-")
    number = re.search(r"\d+", name)[0]
    names = {
        name.replace(f"-{number}-", "-1-elsewhere_", 1),
        name.replace(".rows", ".cols"),
        name + "x",
        ".rows-",
        ".rows-abc",
        "rows",
        name.replace(number, "9" * 30),
    }
    for one in names:
        (tmp_path / one).touch()
    aged(tmp_path)
    sweep(tmp_path, ".rows-")
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_link_is_not_followed(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "lock").touch()
    link = tmp_path / temporary_name(".rows-")
    link.symlink_to(kept)
    aged(tmp_path)
    sweep(tmp_path, ".rows-")
    assert (kept / "lock").exists()


def test_a_folder_that_is_not_there_is_swept_already(tmp_path):
    sweep(tmp_path / "none")

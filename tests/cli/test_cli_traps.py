"""Where command lines usually break: odd names, odd terminals, odd disks."""

import json
import os
import pty
import select
import shutil
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from reports.synthetic import EIGENVALUES, LIMITS, report_of
from scans import SAMPLES
from typer.testing import CliRunner

from audit.cli import app
from audit.reports.json import to_json

ROOT = str(SAMPLES.parent)
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a saved report, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved.json").write_text(to_json(report_of(EIGENVALUES, *LIMITS)))
    return tmp_path


def environment(**variables):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ROBAUDIT_")}
    return {**clean, "PYTHONPATH": ROOT, **variables}


def start(*words, **variables):
    command = [sys.executable, "-m", "audit", *map(str, words)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**variables),
    )


def robaudit(*words, **variables):
    """Run a command and return its exit code, stdout and stderr."""
    process = start(*words, **variables)
    out, error = process.communicate(timeout=120)
    return process.returncode, out.decode(), error.decode()


def in_process(*words, **variables):
    """Run a command here, where its process is not the point."""
    done = CliRunner().invoke(app, [str(word) for word in words], env=variables)
    return done.exit_code, done.stdout, done.stderr


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


# Names


def test_names_with_brackets_go_through_a_whole_scan(folder):
    model, data = folder / "[red] m[1].onnx", folder / "d [/x].d" / "[0].npz"
    data.parent.parent.mkdir(parents=True)
    data.parent.mkdir()
    shutil.copy(SAMPLES / "heteroscedastic.onnx", model)
    shutil.copy(SAMPLES / "heteroscedastic.npz", data)
    suffixes = ("json", "html", "md", "xml", "sarif", "csv", "npz")
    files = [word for suffix in suffixes for word in ("-o", f"[b] r.{suffix}")]
    words = ("scan", model.name, f"{data}::x", "--limit", 5, "--verify", 0, *files)
    code, out, error = in_process(*words, COLUMNS="100")
    assert (code, error) == (0, "")
    assert "[red] m[1].onnx" in out
    assert "[0].npz" in out
    for suffix in suffixes:
        assert (folder / f"[b] r.{suffix}").stat().st_size > 0
    assert "[red] m[1].onnx" in (folder / "[b] r.html").read_text()


def test_a_terminal_that_speaks_ascii_only(folder):
    (folder / "café.yaml").write_text("max: {kl.trace.max: 1} # é\n", encoding="utf-8")
    for command in (("check",), ("render", "-o", "é.html", "-o", "é.md")):
        words = (command[0], "saved.json", *command[1:])
        code, out, error = robaudit(*words, **C_LOCALE)
        assert (code, error) == (1 if command == ("check",) else 0, ""), words
        assert out.isascii()
    assert "≤" in (folder / "é.html").read_text(encoding="utf-8")
    code, out, _ = robaudit("check", "saved.json", "--config", "café.yaml", **C_LOCALE)
    assert (code, "kl.trace.max" in out) == (1, True)
    code, _, error = robaudit("check", "ñ.json", **C_LOCALE)
    assert code == 2
    assert "cannot be read" in error


# Terminals


@pytest.mark.slow
def test_without_a_terminal_there_is_no_progress_and_no_colour(folder):
    shutil.copy(SAMPLES / "heteroscedastic.npz", folder / "d.npz")
    model = SAMPLES / "heteroscedastic.onnx"
    words = ("scan", model, "d.npz", "--limit", 3, "--verify", 0)
    code, out, error = robaudit(*words, TERM="xterm-256color")
    assert (code, error) == (0, "")
    assert "\x1b" not in out


def test_sixty_columns_are_enough_for_every_command(folder):
    commands = (
        ("check", "saved.json"),
        ("render", "saved.json"),
        ("render", "saved.json", "-v"),
        ("diff", "saved.json", "saved.json"),
        ("show", "saved.json", "--index", 6),
        ("explain", "radius"),
        ("explain",),
    )
    for words in commands:
        _, out, error = in_process(*words, COLUMNS="60")
        assert error == ""
        assert max(map(len, out.splitlines())) <= 60, words


PROGRESS = """
import sys, types
from audit.cli import app

class Late(types.ModuleType):
    def __getattr__(self, name):
        if name != 'scan':
            raise AttributeError(name)
        return self.run

    def run(self, config, progress, rows):
        input()
        progress(30, 100)
        input()
        raise KeyboardInterrupt

sys.modules['audit.run.scan'] = Late('audit.run.scan')
app(['scan', 'm', 'd'])
"""


def test_on_a_terminal_a_line_comes_first_then_rate_and_time_left(folder):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=environment(COLUMNS="100", TERM="xterm"),
    )
    os.close(theirs)
    # Nothing was loaded or measured: the scan is waiting for our first line.
    assert "opening the model" in seen_until(ours, "opening the model")
    process.stdin.write(b"\n")
    process.stdin.flush()
    said = seen_until(ours, "/s")
    assert "30/100" in said
    assert "inputs/s" in said
    process.stdin.write(b"\n")
    process.stdin.flush()
    assert "interrupted" in seen_until(ours, "interrupted")
    process.wait(20)
    os.close(ours)
    assert process.returncode == 130


def seen_until(terminal, words, patience=30):
    said = ""
    while words not in said and select.select([terminal], [], [], patience)[0]:
        said += os.read(terminal, 4096).decode(errors="replace")
    return said


# Disks


@contextmanager
def mounted(folder, options):
    """Mount a small file system in memory; skip where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(command, capture_output=True).returncode
    ):
        pytest.skip("a small file system cannot be mounted here (needs root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_old_report(folder):
    with mounted(folder / "small", "size=64k") as small:
        (small / "r.html").write_text("old")
        code, out, error = in_process("render", "saved.json", "-o", small / "r.html")
        assert (code, out) == (0, "")
        (small / "filler").write_bytes(b"x" * 12_000)
        (small / "r.html").write_text("old")
        large = report_of(np.random.default_rng(0).lognormal(size=3000))
        (folder / "large.json").write_text(to_json(large))
        for name in ("r.html", "r.json"):
            words = ("render", "large.json", "-o", small / name)
            code, out, error = in_process(*words)
            assert (code, out) == (3, "")
            assert "cannot be written: No space left on device" in error
        assert left_in(small) == ["filler", "r.html"]
        assert (small / "r.html").read_text() == "old"


@pytest.mark.slow
def test_a_full_disk_under_a_scan_is_no_verdict(folder):
    shutil.copy(SAMPLES / "heteroscedastic.npz", folder / "d.npz")
    model = SAMPLES / "heteroscedastic.onnx"
    with mounted(folder / "small", "size=16k") as small:
        words = ("scan", model, "d.npz", "--verify", 0, "-o", small / "rows.npz")
        code, _, error = robaudit(*words, "--max", "kl.trace.max=0.001")
        assert code == 3
        assert "No space left on device" in error
        assert left_in(small) == []


def test_a_read_only_folder_is_found_before_the_scan(folder):
    with mounted(folder / "locked", "size=64k,ro") as locked:
        words = ("scan", "no-such-model.onnx", "d.npz", "-o", locked / "r.json")
        code, out, error = robaudit(*words)
        assert (code, out) == (2, "")
        assert "cannot be written: Read-only file system" in error


@pytest.mark.slow
def test_two_processes_that_write_one_report_leave_one_of_them(folder):
    texts = []
    for name, factor in (("a", 1.0), ("b", 2.0)):
        texts.append(to_json(report_of(factor * np.ones(3000))))
        (folder / f"{name}.json").write_text(texts[-1])
    for _ in range(3):
        both = [start("render", f"{name}.json", "-o", "r.json") for name in "ab"]
        assert [process.wait(60) for process in both] == [0, 0]
        assert (folder / "r.json").read_text() in texts
        json.loads((folder / "r.json").read_text())
    assert left_in(folder) == ["a.json", "b.json", "r.json", "saved.json"]

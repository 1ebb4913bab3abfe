"""The exit code is the verdict's whatever the streams are, and JSON stays JSON."""

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from reports.synthetic import EIGENVALUES, LIMITS, report_of
from torch import nn

from audit.reports.json import to_json
from cli.test_cli_traps import ROOT, environment

AUDIT = f"{shlex.quote(sys.executable)} -m audit"
VERDICTS = {"": 1, "--max kl.gaussian.p95=1000 --accept-unverified": 0}
BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture
def folder(tmp_path):
    """A folder with a saved report that fails."""
    (tmp_path / "saved.json").write_text(to_json(report_of(EIGENVALUES, *LIMITS)))
    return tmp_path


def shell(folder, line, **streams):
    """Run a line of bash and return the exit code, stdout and stderr."""
    done = subprocess.run(
        ["bash", "-c", line.replace("robaudit", AUDIT)],
        cwd=folder,
        env=environment(),
        stdout=streams.get("stdout", subprocess.PIPE),
        stderr=streams.get("stderr", subprocess.PIPE),
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout or b"", done.stderr or b""


# Streams that are missing, full or gone


@pytest.mark.sweep(6)
@pytest.mark.parametrize(
    "closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"]
)
def test_missing_streams_change_no_verdict(folder, closed):
    for options, verdict in VERDICTS.items():
        line = f"robaudit check saved.json {options} -o r.junit.xml {closed}"
        code, _, error = shell(folder, line)
        assert (code, error) == (verdict, b""), error
        text = (folder / "r.junit.xml").read_text()
        assert text.startswith("<?xml")
        assert "robaudit:" not in text
    assert shell(folder, f"robaudit check none.json {closed}")[0] == 2


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    "words", ["--help", "scan --help", "version", "explain radius"]
)
def test_a_full_disk_under_any_output_is_3(folder, words):
    code, _, error = shell(folder, f"robaudit {words} > /dev/full")
    assert code == 3
    assert b"'standard output' cannot be written: No space left" in error


def test_a_full_disk_behind_stdout_is_3_though_files_are_written(folder):
    line = "robaudit check saved.json -o r.junit.xml > /dev/full"
    code, _, error = shell(folder, line)
    assert (code, b"No space left" in error) == (3, True)
    assert (folder / "r.junit.xml").exists()


def test_a_full_disk_behind_stderr_changes_nothing(folder):
    assert shell(folder, "robaudit check none.json 2> /dev/full")[0] == 2
    assert shell(folder, "robaudit check saved.json 2> /dev/full")[0] == 1
    assert shell(folder, "robaudit check saved.json --debug 2> /dev/full")[0] == 1


def test_a_reader_that_leaves_changes_nothing(folder):
    line = "robaudit check saved.json | head -c 1 > /dev/null; exit ${PIPESTATUS[0]}"
    assert shell(folder, line)[0] == 1
    line = "robaudit render saved.json -f json | true; exit ${PIPESTATUS[0]}"
    assert shell(folder, line)[0] == 0


def test_a_slow_reader_of_a_pipe_that_never_waits_gets_everything(folder):
    large = report_of(np.random.default_rng(0).lognormal(size=3000))
    (folder / "large.json").write_text(to_json(large))
    read, write = os.pipe()
    os.set_blocking(write, False)
    words = [sys.executable, "-m", "audit", "render", "large.json", "-f", "json"]
    process = subprocess.Popen(words, cwd=folder, env=environment(), stdout=write)
    os.close(write)
    time.sleep(1)
    with open(read, "rb") as file:
        assert file.read() == (folder / "large.json").read_bytes()
    assert process.wait(60) == 0


# Signals


LATE = """
import sys, types
sys.path.insert(0, {tests!r})
from reports.synthetic import EIGENVALUES, LIMITS, report_of
report = report_of(EIGENVALUES, *LIMITS)
def scan(config, progress, rows): return report
sys.modules['audit.run.scan'] = types.SimpleNamespace(scan=scan)
sys.argv = ['robaudit', 'scan', 'm', 'd', '-o', 'r.json']
from audit.__main__ import main
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sizes a pipe")
@BOTH
def test_a_signal_after_the_files_are_written_exits_with_the_verdict(folder, number):
    """Stdout is a pipe that is full: the table can never be printed."""
    read, write = os.pipe()
    os.write(write, b"x" * fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096))
    process = subprocess.Popen(
        [sys.executable, "-c", LATE.format(tests=f"{ROOT}/tests")],
        cwd=folder,
        env=environment(),
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    end = time.monotonic() + 60
    while not (folder / "r.json").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    os.close(read)
    assert (process.returncode, error) == (1, b"")
    assert json.loads((folder / "r.json").read_text())["exit_code"] == 1


# Models that print


class Prints(nn.Module):
    """A Gaussian that says something each time."""

    def forward(self, x: torch.Tensor):
        print("from the model\n::error::\x1b[31m")
        y = x.sum(1, keepdim=True)
        return y, torch.zeros_like(y)


def saved_printer(folder):
    """Save a model that prints and its data; return the words for its roles."""
    torch.jit.script(Prints()).save(str(folder / "m.pt"))
    np.savez(folder / "d.npz", x=np.eye(4, 3, dtype=np.float32))
    return "--family normal --param loc=output_0 --param 'scale=exp(output_1)'"


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_a_model_prints_goes_to_stderr_and_json_stays_json(folder, workers):
    roles = saved_printer(folder)
    options = f"--workers {workers} --batch-size 2 --verify 0 -f json"
    code, out, error = shell(folder, f"robaudit scan m.pt d.npz {roles} {options}")
    assert code == 0, error
    assert json.loads(out)["data"]["n_audited"] == 4
    assert b"from the model" in error
    assert b"\n::error::" not in error
    assert b"\x1b" not in error


@pytest.mark.slow
def test_so_it_does_under_inspect(folder):
    roles = saved_printer(folder)
    line = f"robaudit inspect m.pt d.npz {roles} --json"
    code, out, error = shell(folder, line)
    assert (code, b"from the model" in error) == (0, True)
    json.loads(out)


TRUSTED = """
import os, sys, types
def scan(config, progress, rows):
    print('python'); os.write(1, b'native\\n'); os.system('echo child')
    from audit.ground.errors import AuditError
    raise AuditError('given', 'expected', 'next')
sys.modules['audit.run.scan'] = types.SimpleNamespace(scan=scan)
sys.argv = ['robaudit', 'scan', 'm', 'd']
from audit.__main__ import main
main()
"""


def test_python_native_code_and_children_all_print_to_stderr(folder):
    done = subprocess.run(
        [sys.executable, "-c", TRUSTED],
        cwd=folder,
        env=environment(),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, b"")
    lines = done.stderr.decode().splitlines()
    assert sorted(lines) == [
        "child",
        "native",
        "python",
        "robaudit: given. expected. next.",
    ]


def test_a_model_that_ends_the_process_gives_no_verdict(folder):
    ends = TRUSTED.replace(
        "raise AuditError('given', 'expected', 'next')", "sys.exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", ends],
        cwd=folder,
        env=environment(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr

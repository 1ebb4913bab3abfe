"""Nothing hangs or kills the command: signals, deadlines and deaths in native code."""

import os
import platform
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from scans import SAMPLES, descendants
from torch import nn

from audit.config import ScanConfig
from audit.reports.build import settings
from audit.run.identity import identity

ROOT = str(SAMPLES.parent)
SECONDS = 4  # two are promised; a loaded machine gets as many again
BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def environment():
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ROBAUDIT_")}
    return {**clean, "PYTHONPATH": ROOT, "PYTHONUNBUFFERED": "1"}


def start(*command):
    return subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )


def command(body):
    """Start a command of which `body` is the work."""
    lines = (
        "import ctypes, os, signal, sys, time",
        "from audit.ground import watch",
        "from audit.cli.supervisor import supervised",
        "def deaf():",
        "    'Native code that waits for itself and keeps the interpreter.'",
        "    native, lock = ctypes.PyDLL(None), ctypes.create_string_buffer(256)",
        "    native.pthread_mutex_init(lock, None)",
        "    while True:",
        "        native.pthread_mutex_lock(lock)",
        "def work():",
        "    for number in watch.SIGNALS:",
        "        signal.signal(number, lambda *_: None)",
        *(f"    {line}" for line in body.splitlines()),
        "supervised(work)",
    )
    return start(sys.executable, "-c", "\n".join(lines))


def started(process):
    """Wait for the work to say that it goes on."""
    assert process.stdout.readline() == "here\n"


def ended(process, seconds=SECONDS):
    """Return the exit code and stderr of a process that ends in time."""
    began = time.monotonic()
    _, error = process.communicate(timeout=60)
    assert time.monotonic() - began < seconds
    return process.returncode, error


# The supervisor


def test_the_exit_code_is_that_of_the_work():
    for code in (0, 1, 2, 3, 4, 5, 130):
        assert ended(command(f"sys.exit({code})"), 20) == (code, "")


@BOTH
def test_a_native_loop_that_hears_nothing_is_ended(number):
    process = command("print('here', flush=True)\ndeaf()")
    started(process)
    process.send_signal(number)
    assert ended(process) == (130, "robaudit: interrupted, nothing was written.\n")


@BOTH
def test_work_that_hears_a_signal_ends_by_itself(number):
    handler = f"signal.signal({number:d}, lambda *_: sys.exit(130))"
    process = command(f"{handler}\nprint('here', flush=True)\ntime.sleep(60)")
    started(process)
    process.send_signal(number)
    assert ended(process) == (130, "")


def test_what_was_said_is_not_said_again():
    """An interpreter with large libraries may take longer to end than it has."""
    body = (
        "from audit.cli.door import Interrupted, guarded\n"
        "print('here', flush=True)\n"
        "def run():\n"
        "    while True:\n"
        "        time.sleep(0.01)\n"
        "def stop(*_):\n"
        "    raise Interrupted('go on with X')\n"
        "signal.signal(signal.SIGINT, stop)\n"
        "guarded(run)\n"
        "deaf()"
    )
    process = command(body)
    started(process)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "robaudit: go on with X\n")


def test_a_second_signal_is_not_patient():
    process = command("print('here', flush=True)\ndeaf()")
    started(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert ended(process, 1.2)[0] == 130


def test_a_signal_that_is_ignored_stays_ignored():
    lines = (
        "import signal, sys, time",
        "signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "from audit.cli.supervisor import supervised",
        "def work():",
        "    print('here', flush=True)",
        "    time.sleep(0.5)",
        "    sys.exit(4)",
        "supervised(work)",
    )
    process = start(sys.executable, "-c", "\n".join(lines))
    started(process)
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 4


def test_what_to_say_and_to_remove_comes_from_the_work(tmp_path):
    (tmp_path / "rows" / "deep").mkdir(parents=True)
    process = command(
        f"watch.tell(interrupted='go on with X', temporary={str(tmp_path / 'rows')!r})"
        "\nprint('here', flush=True)\ndeaf()"
    )
    started(process)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (130, "robaudit: go on with X\n")
    assert not (tmp_path / "rows").exists()


@pytest.mark.parametrize("code", [0, 1])
def test_a_settled_verdict_is_the_exit_code_whatever_comes(code):
    process = command(f"watch.settle({code})\nprint('here', flush=True)\ndeaf()")
    started(process)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (code, "")
    assert ended(command(f"watch.settle({code})\nos.abort()"))[0] == code


def test_a_file_that_does_not_open_in_time_is_given_up():
    code, error = ended(command("with watch.opening('m.onnx', 0.5):\n    deaf()"))
    assert code == 3
    assert error == (
        "robaudit: Opening 'm.onnx' took longer than 0.5 s. Expected it to load and to "
        "pass the gates within --open-timeout. Raise --open-timeout if the model is "
        "that large; do not use the file if you do not know it.\n"
    )


def test_a_file_that_is_open_in_time_has_all_the_time_afterwards():
    body = "with watch.opening('m.onnx', 0.5):\n    pass\ntime.sleep(1)\nsys.exit(4)"
    assert ended(command(body), 20) == (4, "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_time_in_which_it_was_stopped_does_not_count():
    body = "with watch.opening('m.onnx', 3):\n    print('here')\n    time.sleep(1.5)"
    process = command(f"{body}\nsys.exit(4)")
    started(process)
    both = [process.pid, *descendants(process.pid)]
    for number, pause in ((signal.SIGSTOP, 3.5), (signal.SIGCONT, 0)):
        for pid in both:
            os.kill(pid, number)
        time.sleep(pause)
    assert ended(process) == (4, "")


def test_without_a_watcher_the_deadline_is_held_when_the_block_ends():
    from audit.ground import watch
    from audit.ground.errors import AuditError

    with watch.opening("m.onnx", 5):
        pass
    with (
        pytest.raises(AuditError, match="took longer than"),
        watch.opening("m.onnx", 0.01),
    ):
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGFPE, "The process died (Floating point exception)"),
        (signal.SIGSEGV, "The process died (Segmentation fault)"),
        (signal.SIGABRT, "The process died (Aborted)"),
        (signal.SIGKILL, "The process was killed (SIGKILL). Expected enough memory"),
    ],
)
def test_death_by_a_signal_is_no_exit_code_of_its_own(number, words):
    code, error = ended(command(f"os.kill(os.getpid(), {number:d})"))
    assert (code, words in error) == (3, True), error


def test_the_work_ends_with_its_supervisor():
    process = command("print(os.getpid(), flush=True)\ndeaf()")
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    with suppress(ProcessLookupError):
        for _ in range(100):
            os.kill(child, 0)
            time.sleep(0.02)
        os.kill(child, signal.SIGKILL)
        pytest.fail("the work outlived its supervisor")


def test_standard_streams_that_are_closed_are_not_taken_for_pipes(tmp_path):
    script = (
        "from audit.cli.supervisor import supervised; import os, sys\n"
        "supervised(lambda: sys.exit(3 if os.path.exists('/dev/fd/1') else 5))"
    )
    line = f'{sys.executable} -c "{script}" <&- >&-'
    done = subprocess.run(["bash", "-c", line], env=environment(), check=False)
    assert done.returncode == 5


# Scans


class Stuck(nn.Module):
    """A Gaussian that computes for ever at inputs above a limit, and says so."""

    def __init__(self, limit: float):
        super().__init__()
        self.limit = limit

    def forward(self, x: torch.Tensor):
        y = x.sum(1, keepdim=True)
        if bool((x > self.limit).any()):
            print("here")
            while True:
                y = torch.sin(y)
        return y, torch.zeros_like(y)


LATE = 3000  # the row at which the model hangs: no gate looks there
PLACES = {"gates": -100.0, "measure": 50.0}


def scan_of(tmp_path, place, *options):
    """Start a scan whose model hangs in a place; all it says goes to a file."""
    torch.jit.script(Stuck(PLACES[place])).save(str(tmp_path / "m.pt"))
    x = np.zeros((LATE + 1, 3), np.float32)
    x[LATE] = 100.0
    np.savez(tmp_path / "d.npz", x=x)
    words = ("scan", tmp_path / "m.pt", tmp_path / "d.npz", "--family", "normal")
    roles = ("--param", "loc=output_0", "--param", "scale=exp(output_1)")
    command = (sys.executable, "-m", "audit", *words, *roles, *options)
    with (tmp_path / "said").open("w") as said:
        return subprocess.Popen(
            list(map(str, command)), stdout=said, stderr=said, env=environment()
        )


def stuck(process, tmp_path):
    """Wait until the model hangs."""
    for _ in range(600):
        if "here" in (tmp_path / "said").read_text():
            return
        assert process.poll() is None, (tmp_path / "said").read_text()
        time.sleep(0.05)
    pytest.fail("the model does not hang")


def given_up(process, tmp_path, seconds=SECONDS):
    """Return the exit code and the words of a scan that ends in time."""
    began = time.monotonic()
    code = process.wait(60)
    assert time.monotonic() - began < seconds
    return code, (tmp_path / "said").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("place", "number"),
    [
        pytest.param("gates", signal.SIGINT, marks=pytest.mark.slow),
        ("measure", signal.SIGTERM),
    ],
)
def test_a_scan_that_hangs_in_the_model_is_interrupted(tmp_path, place, number):
    rows = tmp_path / "rows.npz"
    process = scan_of(tmp_path, place, "-o", rows)
    stuck(process, tmp_path)
    assert list(tmp_path.glob(".robaudit-rows-*"))
    process.send_signal(number)
    code, said = given_up(process, tmp_path)
    assert code == 130
    assert said.removeprefix("here\n") == (
        "robaudit: interrupted, nothing was written. With --run-dir FOLDER it could be "
        "resumed.\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.npz", "m.pt", "said"]


def heavy(path):
    """A file whose constants take minutes to be computed."""
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["h0"])]
    for k in range(40):
        nodes.append(helper.make_node("MatMul", [f"h{k}", "h0"], [f"h{k + 1}"]))
    nodes.append(helper.make_node("ReduceSum", ["h40"], ["all"], keepdims=0))
    nodes.append(helper.make_node("Add", ["x", "all"], ["loc"]))
    graph = helper.make_graph(
        nodes,
        "heavy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("loc", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([4096, 4096]), "shape")],
    )
    imports = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=10), path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_file_that_takes_minutes_to_load_is_interrupted(tmp_path):
    heavy(tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 3), np.float32))
    words = ("scan", tmp_path / "m.onnx", tmp_path / "d.npz", "--param", "scale=1")
    process = start(sys.executable, "-m", "audit", *words, "--family", "normal")
    for _ in range(600):
        if sum(map(seconds_of, descendants(process.pid))) > 5:
            break
        time.sleep(0.05)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    code, error = ended(process)
    assert (code, error.startswith("robaudit: interrupted, nothing was")) == (130, True)


def seconds_of(pid):
    """The processor time of a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


class Divides(nn.Module):
    """A Gaussian that divides whole numbers made of its input."""

    def forward(self, x: torch.Tensor):
        y = x.sum(1, keepdim=True)
        whole = (y * 1e30).to(torch.int64)
        part = torch.div(whole, -torch.ones_like(whole), rounding_mode="trunc")
        return y + 0.0 * part, torch.zeros_like(y)


@pytest.mark.slow  # the signal alone: above
@pytest.mark.skipif(platform.machine() != "x86_64", reason="others do not trap")
def test_a_trap_in_the_model_is_no_exit_code_of_its_own(tmp_path):
    torch.jit.script(Divides()).save(str(tmp_path / "m.pt"))
    np.savez(tmp_path / "d.npz", x=np.ones((9, 3), np.float32))
    words = ("inspect", tmp_path / "m.pt", tmp_path / "d.npz", "--family", "normal")
    roles = ("--param", "loc=output_0", "--param", "scale=exp(output_1)")
    code, error = ended(start(sys.executable, "-m", "audit", *words, *roles), 30)
    assert (code, "The process died (Floating point exception)" in error) == (3, True)


@pytest.mark.slow  # without workers: the scan that hangs above
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_that_hang_end_with_the_scan(tmp_path):
    options = ("--workers", 2, "--batch-size", 512, "--run-dir", tmp_path / "run")
    process = scan_of(tmp_path, "measure", *options)
    stuck(process, tmp_path)
    family = descendants(process.pid)
    assert len(family) >= 3
    process.send_signal(signal.SIGTERM)
    code, said = given_up(process, tmp_path)
    assert code == 130
    assert f"Finished parts are kept in '{tmp_path / 'run'}'; go on with" in said
    time.sleep(0.5)
    assert not any(map(is_alive, family))


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.slow  # by the supervisor alone: above
def test_a_model_that_never_opens_is_given_up(tmp_path):
    process = scan_of(tmp_path, "gates", "--open-timeout", 1)
    code, said = given_up(process, tmp_path, 10)
    assert code == 3
    assert "m.pt' took longer than 1 s. Expected it to load" in said
    assert "Raise --open-timeout" in said


def test_the_time_to_open_is_no_part_of_what_is_measured():
    config = ScanConfig(open_timeout=7.0)
    assert "open_timeout" not in settings(config)
    assert identity(config, [], "", {}) == identity(ScanConfig(), [], "", {})

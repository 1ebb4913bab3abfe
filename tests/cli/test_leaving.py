"""The end of a command: what was asked for at the end is done, and nothing is lost."""

import subprocess
import sys

SLOW = "import threading, time"


def ended(*lines):
    """Run a process that leaves by `and_leave`; return its code and output."""
    body = ("import atexit, os, sys", "from audit.cli.leaving import and_leave", *lines)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(body)], capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def test_callbacks_are_called_in_their_order_and_the_streams_are_emptied():
    code, out, error = ended(
        "atexit.register(lambda: print('first asked for'))",
        "atexit.register(lambda: print('last asked for'))",
        "def work():",
        "    print('done', end=' ')",
        "    sys.stderr.write('said')",
        "    sys.exit(4)",
        "and_leave(work)",
    )
    assert (code, out, error) == (4, "done last asked for\nfirst asked for\n", "said")


def test_work_that_just_ends_is_a_success():
    assert ended("and_leave(lambda: print('x'))") == (0, "x\n", "")


def test_a_temporary_folder_is_removed():
    code, out, _ = ended(
        "import tempfile",
        "kept = tempfile.TemporaryDirectory()",
        "and_leave(lambda: print(kept.name))",
    )
    assert code == 0
    probe = subprocess.run(["ls", out.strip()], capture_output=True)
    assert probe.returncode != 0


def test_modules_are_not_taken_apart():
    lines = (
        "class Loud:",
        "    def __del__(self):",
        "        os.write(1, b'taken apart')",
        "kept = Loud()",
    )
    assert ended(*lines)[1] == "taken apart"
    assert ended(*lines, "and_leave(lambda: None)")[1] == ""


def test_an_error_is_shown_and_is_no_success():
    code, _, error = ended("and_leave(lambda: 1 / 0)")
    assert code == 1
    assert "ZeroDivisionError" in error


def test_an_exit_in_words_prints_them():
    assert ended("and_leave(lambda: sys.exit('no'))") == (1, "", "no\n")


def test_threads_that_work_are_waited_for():
    work = (
        "def late():",
        "    time.sleep(0.3)",
        "    print('late', flush=True)",
        "def work():",
        "    threading.Thread(target=late).start()",
        "    sys.exit(5)",
        "and_leave(work)",
    )
    assert ended(SLOW, *work) == (5, "late\n", "")

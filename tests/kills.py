"""Scans that are killed at any moment and resumed: `python tests/kills.py --count 100`.

A scan with workers, a rows file and a run folder is started, and `kill -9` hits the
process that watches, the one that works or a worker, at random times; then it is
resumed, and killed again. Whatever was hit, the report and the rows of the run that
comes to its end are those of one that nobody disturbed, and nothing else is left.
"""

import argparse
import collections
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from scans import SAMPLES, descendants

OUTPUTS = ("r.json", "rows.npz")
KILLS = 8  # of a scan, at most


def command(folder, *more):
    model, data = SAMPLES / "linear_gaussian.onnx", SAMPLES / "linear_gaussian.npz"
    words = ("scan", model, data, "--run-dir", "run", "--limit", 96, "--verify", 4)
    words += ("--workers", 2, "--batch-size", 8, "-q", *more)
    for name in OUTPUTS:
        words += ("-o", name)
    return subprocess.Popen(
        [sys.executable, "-m", "audit", *map(str, words)],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SAMPLES.parent)},
    )


def result_of(folder):
    """Return what a scan wrote, but for what tells one run from another."""
    report = json.loads((folder / "r.json").read_text())
    del report["run"]
    return json.dumps(report), (folder / "rows.npz").read_bytes()


def kill(process, rng, latest):
    """Kill one of the processes of a scan after a while; return which, or None."""
    time.sleep(rng.uniform(0, latest))
    family = [process.pid, *descendants(process.pid)]
    if process.poll() is not None:
        return None
    place = rng.randrange(min(3, len(family)))
    victim = family[place] if place < 2 else rng.choice(family[2:])
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    process.wait(60)
    wait_for(family)
    return ("watcher", "work", "worker")[place]


def wait_for(family, patience=20):
    """Wait until a family has ended: parents take their children with them."""
    end = time.monotonic() + patience
    while any(map(lives, family)):
        assert time.monotonic() < end, f"{family} outlived its parent"
        time.sleep(0.02)


def lives(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def ended(process):
    _, said = process.communicate(timeout=300)
    return process.returncode, said


def run(count, seed=0, tell=lambda *_: None):
    """Kill scans until there were `count` kills; return how often which was hit.

    Raises:
        AssertionError: a run that came to its end differs, or left something.
    """
    rng, hit = random.Random(seed), collections.Counter()
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        whole.mkdir()
        began = time.monotonic()
        assert ended(command(whole)) == (0, "")
        latest, expected = 1.1 * (time.monotonic() - began), result_of(whole)
        while sum(hit.values()) < count:
            folder = Path(tempfile.mkdtemp(dir=place))
            wanted = min(rng.randint(1, KILLS), count - sum(hit.values()))
            process = command(folder, "--resume")
            while wanted and (victim := kill(process, rng, latest)):
                wanted, hit[victim] = wanted - 1, hit[victim] + 1
                process = command(folder, "--resume")
            assert ended(process) == (0, "")
            check(folder, expected)
            tell(dict(hit))
    return hit


def check(folder, expected):
    """See that a folder holds the right outputs, the run, and nothing else."""
    assert result_of(folder) == expected
    found = sorted(path.name for path in folder.iterdir())
    assert found == [*OUTPUTS, "run"], found
    others = [path.name for path in (folder / "run").iterdir()]
    assert all(n == "manifest.json" or n.startswith("part-") for n in others), others


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--count", type=int, default=100)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    began = time.monotonic()
    hit = run(given.count, given.seed, lambda now: print(now, flush=True))
    print(
        f"{sum(hit.values())} kills in {time.monotonic() - began:.0f} s: {dict(hit)};"
    )
    print("every report and rows file byte-identical, nothing left")


if __name__ == "__main__":
    main()

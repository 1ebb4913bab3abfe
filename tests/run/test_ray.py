"""Ray: the same bytes as of this machine, whatever dies while they are computed.

Two nodes are two sets of processes on one host, which is what Ray's own tests use.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from rays import (
    PARTS,
    ROOT,
    STORE,
    command,
    make_deadly,
    make_greedy,
    make_slow,
    parts_of,
    result_of,
    slow_model,
    wait_for,
)
from scans import descendants

from audit.ground.errors import AuditError, InputError
from audit.reports.rows import RowsWriter
from audit.run.engines.checking import check_engine
from audit.run.engines.cluster import Cluster
from audit.run.jobs import make_worker
from audit.run.scan import scan

ray = pytest.importorskip("ray", reason="ray is not installed: robaudit[ray]")
from audit.run.engines.ray import run  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
NODE = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The folder of the slow model, and the results of a scan of this machine."""
    folder = tmp_path_factory.mktemp("plain")
    config = slow_model(folder)
    process = command(folder)
    assert ended(process) == (0, "")
    assert len(parts_of(folder)) == PARTS
    return config, folder, result_of(folder)


@pytest.fixture
def folder(plain, tmp_path):
    """A folder with the slow model and nothing else."""
    for name in ("head.pt", "head.npz"):
        (tmp_path / name).write_bytes((plain[1] / name).read_bytes())
    return tmp_path


@pytest.fixture
def nodes():
    """The address of a cluster of two nodes, and how to kill the second."""
    from ray.cluster_utils import Cluster as Nodes

    found = Nodes(initialize_head=True, head_node_args=NODE)
    second = found.add_node(**NODE)
    found.wait_for_nodes()
    yield found.address, partial(found.remove_node, second, allow_graceful=False)
    found.shutdown()


@pytest.fixture(scope="module")
def here():
    """Ray in this process, for engines alone."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", paths)  # for the workers
        ray.init(address="local", **{**NODE, "num_cpus": 2})
    yield
    ray.shutdown()


def ended(process):
    _, said = process.communicate(timeout=400)
    return process.returncode, said


def killed(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


# The engine alone


def test_it_keeps_the_laws_of_engines(here):
    check_engine(run)


def test_answers_larger_than_the_store_come_whole_and_writable(here):
    jobs = range(60)  # 190 MB in a store of 100
    for job, found in zip(jobs, run(make_greedy, jobs, 2), strict=True):
        assert found.shape == (400_000,)
        assert (found == job).all()
        found += 1


def test_a_lost_worker_loses_no_job(here):
    results = run(partial(make_slow, 0.05), range(60), 2)
    done, pids = [], []
    for place, (square, pid) in enumerate(results):
        done.append(square)
        pids.append(pid)
        if place in (5, 20):
            killed(pid)
    assert done == [job * job for job in range(60)]
    assert len(set(pids)) >= 3


def test_a_job_that_loses_every_worker_is_not_tried_for_ever(here):
    with pytest.raises(AuditError, match=r"Every worker that was given 3 was lost"):
        list(run(partial(make_deadly, 3), range(6), 2))


def test_a_worker_that_never_opens_is_not_waited_for(here):
    with pytest.raises(AuditError, match="3 workers in turn died while they opened"):
        list(run(partial(os._exit, 9), range(6), 2))
    with pytest.raises(AuditError, match=r"No worker was ready.*has 2 CPU, 0 GPU"):
        list(run(list, range(6), 2, Cluster(gpus=1, patience=1)))


def test_a_node_without_memory_is_said():
    script = (
        "from audit.run.engines import ENGINES\n"
        "from audit.run.engines.checking import make_square\n"
        "list(ENGINES['ray'](make_square, range(6), 2))"
    )
    limits = {
        "RAY_memory_usage_threshold": "0.001",
        "RAY_memory_monitor_refresh_ms": "50",
    }
    said = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **limits},
    ).stderr
    assert "(out of memory on its node)" in said


def test_what_a_worker_cannot_import_is_said(here):
    with pytest.raises(AuditError, match="does not begin on its node"):
        list(run(_nowhere(), range(6), 1))


def _nowhere():
    """Return a function that no other process can import."""
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    module = ModuleType("nowhere_at_all")
    module.__spec__ = ModuleSpec("nowhere_at_all", None)
    exec("def make():\n    return abs\n", module.__dict__)
    sys.modules["nowhere_at_all"] = module
    return module.make


# Scans


def test_the_parts_and_the_report_are_those_of_this_machine(plain, folder):
    assert ended(command(folder, "--engine", "ray", "--workers", 2)) == (0, "")
    assert result_of(folder) == plain[2]


def test_without_a_run_folder_too(plain, here, tmp_path):
    config = plain[0]
    results = []
    for engine in ("local", "ray"):
        path = tmp_path / f"{engine}.npz"
        with RowsWriter(str(path)) as rows:
            report = scan(replace(config, engine=engine, workers=2), rows=rows)
        results.append((report.inputs, report.divergences, path.read_bytes()))
    assert results[0] == results[1]


def test_a_node_that_dies_takes_nothing_with_it(plain, folder, nodes):
    address, kill = nodes
    words = ("--engine", "ray", "--ray-address", address, "--workers", 2)
    process = command(folder, *words)
    wait_for(lambda: len(parts_of(folder)) >= 6 or process.poll() is not None)
    kill()
    left = PARTS - len(parts_of(folder))
    assert ended(process)[0] == 0
    assert left > 5, "it was killed too late to tell"
    assert result_of(folder) == plain[2]


def test_a_killed_scan_is_resumed_and_leaves_no_process(plain, folder):
    process = command(folder, "--engine", "ray", "--workers", 2)
    wait_for(lambda: len(parts_of(folder)) >= 4 or process.poll() is not None)
    family = descendants(process.pid)
    assert len(family) > 3
    killed(family[0])  # the one that works; the first watches
    assert ended(process)[0] == 3
    assert 4 <= len(parts_of(folder)) < PARTS
    wait_for(lambda: not any(map(works, family)), 30)
    assert ended(command(folder)) == (0, "")
    assert result_of(folder) == plain[2]


def works(pid):
    """Tell whether a process is one of Ray's that is not a mere agent."""
    try:
        said = Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
    return "Agent" not in said and said != ""  # those look after each other each minute


def test_an_error_of_a_worker_is_that_of_a_scan(plain, here):
    make = partial(make_worker, replace(plain[0], data="gone.npz"), 1, False, ("", ""))
    with pytest.raises(InputError, match=r"There is no data file 'gone\.npz'"):
        list(run(make, [1], 1))

"""Threads share blocks, and nothing of that shows in a number."""

import itertools
import threading
import time
from dataclasses import replace

import pytest
import torch
from scans import sample, scan
from torch import nn

import audit
from audit.config import ScanConfig, override
from audit.config.settings import share_of
from audit.ground.errors import ConfigError, InputError
from audit.ground.machine import free_memory, usable_cores
from audit.measure import measure
from audit.measure.plan import KRYLOV, Choice, Plan
from audit.measure.preparation import prepare
from audit.models import opening
from audit.nodes.noise import own_generator
from audit.reports.json import to_json
from audit.reports.rows import RowsWriter
from audit.run.engines import local, over
from audit.run.engines.threads import AHEAD, in_order, torch_threads
from audit.run.jobs import make_worker, read_by
from audit.run.work import threads_inside, threads_of


def body(report):
    return to_json(report.model_copy(update={"run": {}}))


def of_threads():
    return [t for t in threading.enumerate() if t.name.startswith("robaudit")]


# Results come in order, a few ahead


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_are_in_the_order_of_the_jobs(threads):
    def late(job):
        time.sleep(0.002 * (job % 3))
        return job * job

    assert list(in_order(late, iter(range(40)), threads)) == [n * n for n in range(40)]
    assert list(in_order(late, iter(()), threads)) == []
    assert not of_threads()


def test_jobs_are_taken_only_a_few_ahead():
    taken = itertools.count()
    results = in_order(lambda job: job, (next(taken) for _ in range(10**9)), 2)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    results.close()
    assert next(taken) <= 5 + 2 * AHEAD


def test_jobs_are_done_at_the_same_time():
    both = threading.Barrier(2, timeout=20)
    assert list(in_order(lambda job: both.wait() in (0, 1), range(2), 2)) == [True] * 2


def test_an_error_comes_in_its_turn_and_ends_the_others():
    done = []

    def fail(job):
        if job == 2:
            raise InputError("An error of a test")
        done.append(job)
        return job

    results = in_order(fail, range(1000), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(InputError, match="of a test"):
        next(results)
    assert len(done) < 50
    assert not of_threads()


def test_who_does_not_wait_for_a_job_interrupts_it(capfd):
    begun, ended = threading.Event(), []

    def endless(job):
        if job == 0:
            return job
        begun.set()
        try:
            while True:
                time.sleep(0.01)
        except BaseException as error:
            ended.append(error)
            raise

    results = in_order(endless, range(3), 2)
    assert next(results) == 0
    assert begun.wait(20)
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 5
    assert 1 <= len(ended) <= 2
    assert all(isinstance(error, KeyboardInterrupt) for error in ended)
    assert not of_threads()
    assert "Exception" not in capfd.readouterr().err


def test_torch_has_its_threads_back():
    before = torch.get_num_threads()
    with torch_threads(1):
        seen = list(in_order(lambda _: torch.get_num_threads(), range(6), 3))
    assert seen == [1] * 6
    assert torch.get_num_threads() == before


def test_an_engine_lets_work_use_its_cores():
    class Work:
        def __call__(self, job):
            raise AssertionError("it is not asked one by one")

        def several(self, jobs):
            return [job + 1 for job in jobs]

    assert list(local.run(Work, iter(range(4)), 1)) == [1, 2, 3, 4]
    assert list(over(abs, [-1, 2])) == [1, 2]


# The same bytes


def files(folder, config):
    folder.mkdir()
    paths = [folder / f"rows.{suffix}" for suffix in ("npz", "csv")]
    with RowsWriter(*map(str, paths)) as rows:
        report = scan(config, rows=rows)
    return (
        body(report),
        [path.read_bytes() for path in paths],
        report.run.get("threads", 1),
    )


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".onnx", ".pt", ".pt2"])
def test_threads_and_workers_show_in_no_byte(tmp_path, suffix):
    config = sample("heteroscedastic", suffix, verify=4)
    one = files(tmp_path / "one", replace(config, threads=1))
    two = files(tmp_path / "two", replace(config, threads=2))
    assert (one[2], two[2]) == (1, 2)
    assert one[:2] == two[:2]
    if suffix == ".onnx":
        both = replace(config, threads=2, workers=2, batch_size=1)
        assert files(tmp_path / "both", both)[:2] == one[:2]


@pytest.mark.parametrize("name", ["posterior_forward_kl", "mixture", "sunspots_gru"])
def test_blocks_do_not_depend_on_threads(name):
    prepared = prepare(sample(name), True)
    blocks = [prepared.rows[at : at + 4] for at in range(0, 24, 4)]

    def do(rows):
        return measure(prepared.model, prepared.questions, rows, 4)

    with torch_threads(1):
        alone = [do(rows) for rows in blocks]
        shared = list(in_order(do, blocks * 2, 4))
    for one, other in zip(alone * 2, shared, strict=True):
        for divergence, found in one.columns.items():
            for quantity, values in found.items():
                twin = other.columns[divergence][quantity]
                assert values.numbers.tobytes() == twin.numbers.tobytes(), quantity
        for divergence, directions in one.directions.items():
            assert directions.tobytes() == other.directions[divergence].tobytes()


def test_the_global_generator_is_seeded_by_one_thread_at_a_time():
    def drawn(seed):
        with own_generator():
            torch.manual_seed(seed)
            return [float(torch.rand(())) for _ in range(50)]

    before = torch.random.get_rng_state()
    shared = list(in_order(drawn, list(range(20)) * 5, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    for seed, found in zip(list(range(20)) * 5, shared, strict=True):
        generator = torch.Generator().manual_seed(seed)
        assert found == [float(torch.rand((), generator=generator)) for _ in range(50)]


def test_an_interrupted_run_keeps_its_parts_and_goes_on(tmp_path):
    config = sample("heteroscedastic", memory=6000, verify=0, threads=2)
    plain = body(scan(replace(config, threads=1)))
    there = replace(config, run_dir=str(tmp_path / "run"))

    def stop(done, total):
        if done >= total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(there, progress=stop)
    kept = len(list((tmp_path / "run").glob("part-*.npz")))
    assert 0 < kept < 19
    assert body(scan(replace(there, resume=True))) == plain
    assert not of_threads()


# How many


def test_by_default_a_process_uses_its_cores(monkeypatch):
    prepared = replace(prepare(sample("heteroscedastic"), True), block=16)
    monkeypatch.setattr("audit.run.work.usable_cores", lambda: 6)
    assert threads_of(sample("heteroscedastic"), prepared) == 6
    assert threads_of(sample("heteroscedastic", workers=4), prepared) == 1
    assert threads_of(sample("heteroscedastic", threads=3), prepared) == 3
    assert threads_of(sample("heteroscedastic", threads=99), prepared) == 10  # blocks
    few = replace(prepared, held=2 * prepared.block)
    assert threads_of(sample("heteroscedastic"), few) == 2  # memory for two blocks
    inside = threads_inside(sample("heteroscedastic", threads=3), prepared, 7)
    assert inside == 1
    plan = Plan(Choice(KRYLOV, "as asked"))
    wide = replace(prepared, questions=replace(prepared.questions, plan=plan))
    assert threads_of(sample("heteroscedastic", threads=3), wide) == 1
    assert threads_inside(sample("heteroscedastic", threads=3), wide, 7) == 3
    assert threads_inside(sample("heteroscedastic"), wide, 7) == 7


def test_code_that_nobody_knows_has_one_thread():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(3, 4)), torch.randn(64, 3)
    heads = {"loc": "output[:, :2]", "scale": "exp(output[:, 2:])"}
    options = {"family": "normal", "parameters": heads, "verify": 0}
    report = audit.scan(net, x, **options)
    assert "threads" not in report.record.run
    with pytest.raises(ConfigError, match="threads=2 was given for a model that is"):
        audit.scan(net, x, threads=2, **options)


def test_workers_do_not_pass_the_gates_again(monkeypatch):
    config = sample("linear_gaussian")
    prepared = prepare(config, True)

    def closed(*_):
        raise AssertionError("a gate is passed")

    monkeypatch.setattr(opening, "examine", closed)
    gates = prepared.model.gates
    work = make_worker(config, 8, True, read_by(prepared), gates)
    assert work.prepared.model.gates == gates
    with pytest.raises(AssertionError, match="a gate is passed"):
        make_worker(config, 8, True, read_by(prepared))


# What the machine gives


def tree(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "proc", folder / "groups"


def test_a_quota_of_version_two_bounds_cores_and_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    places = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/jobs/one\n",
            "proc/meminfo": "MemTotal: 9000000 kB\nMemAvailable: 4000000 kB\n",
            "groups/jobs/one/cpu.max": "max 100000\n",
            "groups/jobs/cpu.max": "250000 100000\n",
            "groups/jobs/one/memory.max": "1000000\n",
            "groups/jobs/one/memory.current": "700000\n",
            "groups/jobs/one/memory.stat": "anon 5\ninactive_file 100000\n",
            "groups/jobs/memory.max": "max\n",
        },
    )
    assert usable_cores(*places) == 3  # two and a half
    assert free_memory(*places) == 400_000


def test_a_quota_of_version_one_bounds_them_too(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    places = tree(
        tmp_path,
        {
            "proc/self/cgroup": "3:cpu,cpuacct:/a\n4:memory:/b\n0::/\n",
            "proc/meminfo": "MemAvailable: 300 kB\n",
            "groups/cpu/a/cpu.cfs_quota_us": "100000",
            "groups/cpu/a/cpu.cfs_period_us": "100000",
            "groups/memory/b/memory.limit_in_bytes": "9223372036854771712",
            "groups/memory/b/memory.usage_in_bytes": "700000",
        },
    )
    assert usable_cores(*places) == 1
    assert free_memory(*places) == 300 * 1024


def test_without_a_word_from_the_kernel_the_mask_decides(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {1, 5})
    assert usable_cores(tmp_path, tmp_path) == 2
    assert free_memory(tmp_path, tmp_path) is None


@pytest.mark.parametrize(
    ("free", "share"),
    [
        (None, 2**30),
        (64 * 2**30, 2**30),
        (2 * 2**30, 2**30),
        (2 * 2**30 - 1, 2**29),
        (600 * 2**20, 2**28),
        (0, 2**26),
    ],
)
def test_a_scan_takes_half_of_what_is_free(free, share):
    assert share_of(free) == share


def test_the_default_memory_is_that_of_this_machine(monkeypatch):
    monkeypatch.setattr("audit.config.settings.free_memory", lambda: 600 * 2**20)
    assert ScanConfig().memory == 2**28
    found = override(ScanConfig(), "command line", memory="3GiB")
    assert found.memory == 3 * 2**30

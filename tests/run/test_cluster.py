"""What is said of a cluster before anything is opened, and parts from elsewhere."""

import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
from rays import ROOT
from scans import SAMPLES, sample

from audit.config import ModelConfig
from audit.ground.errors import AuditError, ConfigError, InputError
from audit.run import jobs
from audit.run.engines import cluster, ray_words
from audit.run.engines.cluster import Cluster, check_cluster, cluster_of
from audit.run.engines.ray_sharing import TRIES
from audit.run.folder import open_folder, refuse_open
from audit.run.keeping import Asked, begin
from audit.run.scan import scan


@pytest.fixture
def installed(monkeypatch):
    """Whether ray is there or not, these tests begin nothing with it."""
    monkeypatch.setattr(cluster, "find_spec", lambda _: object())


def asked(device="cpu", **options):
    return sample("counts", engine="ray", model={"device": device}, **options)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"not installed.*pip install 'robaudit\[ray"):
        scan(asked())


@pytest.mark.slow
def test_the_engine_itself_names_the_extra():
    script = (
        "import sys; sys.modules['ray'] = None\n"
        "from audit.run.engines import cluster\n"
        "cluster.find_spec = lambda _: None\n"
        "from audit.run.engines import ENGINES\n"
        "list(ENGINES['ray'](list, [1], 1))"
    )
    said = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
    ).stderr
    assert "ConfigError" in said
    assert "robaudit[ray]" in said


@pytest.mark.parametrize(
    ("option", "flag"),
    [("ray_address", "--ray-address"), ("gpus_per_worker", "--gpus-per-worker")],
)
def test_options_of_ray_are_for_ray(option, flag):
    config = sample("counts", workers=2, **{option: 1})
    with pytest.raises(ConfigError, match=f"{flag} was given with --engine local"):
        check_cluster(config)


@pytest.mark.parametrize("address", ["nonsense", ":6379", "a:b", "a:0", "a:70000", ""])
def test_what_is_no_address_is_said(installed, address):
    with pytest.raises(ConfigError, match="Expected HOST:PORT"):
        check_cluster(asked(ray_address=address))


def test_clients_from_outside_are_refused(installed):
    with pytest.raises(ConfigError, match="Expected to run on a node of the cluster"):
        check_cluster(asked(ray_address="ray://head:10001"))


def test_an_address_that_does_not_answer_is_said_at_once(installed):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        check_cluster(asked(ray_address=address))
    with pytest.raises(AuditError, match=r"does not answer \(Connection refused\)"):
        check_cluster(asked(ray_address=address))


@pytest.mark.parametrize(
    ("device", "gpus", "words"),
    [
        ("cpu", 1.0, "--gpus-per-worker 1 was given with --device cpu"),
        ("cuda", 1.5, "--gpus-per-worker is 1.5"),
        ("cuda:1", None, "Write --device cuda"),
    ],
)
def test_accelerators_that_nobody_can_have_are_refused(installed, device, gpus, words):
    with pytest.raises(ConfigError, match=words):
        check_cluster(asked(device, gpus_per_worker=gpus))


def test_a_worker_takes_an_accelerator_where_it_computes_on_one(installed):
    assert cluster_of(asked()) == Cluster(None, 0.0, 300.0)
    assert cluster_of(asked("cuda")).gpus == 1.0
    assert cluster_of(asked("cuda", gpus_per_worker=0.25)).gpus == 0.25
    for device, gpus in [("cuda", 0.25), ("cuda", 4.0), ("cuda", None), ("cpu", None)]:
        check_cluster(asked(device, gpus_per_worker=gpus))


def test_a_model_that_is_no_file_stays_here():
    with pytest.raises(ConfigError, match="--engine ray was given for a model that is"):
        refuse_open(asked())


# Words


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        ("Worker exit type: NODE_OUT_OF_MEMORY", "out of memory on its node"),
        ("The actor died unexpectedly", "The actor died unexpectedly"),
    ],
)
def test_why_a_worker_ended(raised, words):
    error = ray_words.loses_workers(jobs.Job(8, 16), "n1", RuntimeError(raised))
    assert f"rows 8 to 15 was lost, the last on the node n1 ({words})" in str(error)
    assert error.exit_code == 3


def test_a_node_with_other_versions_is_named():
    ours = {"robaudit": "1", "torch": "2"}
    ray_words.refuse_others("n1", ours, ours)
    with pytest.raises(ConfigError, match="node n1 has torch 3, here it is 2"):
        ray_words.refuse_others("n1", {**ours, "torch": "3"}, ours)


def test_a_cluster_without_room_says_what_it_has():
    said = str(ray_words.no_room({"CPU": 4.0}, Cluster("a:1", 0.5), 300.0))
    assert "the cluster has 4 CPU, 0 GPU" in said
    assert "takes 1 CPU and 0.5 GPU" in said


# Parts from a machine that does not see the folder of the run


@pytest.fixture
def kept(tmp_path):
    """A run that a scan of this machine has filled, and an empty one of the same."""
    config = sample("counts", memory=6000, run_dir=str(tmp_path / "a"))
    scan(config)
    prepared = jobs.prepare(config, False)
    config = replace(config, run_dir=str(tmp_path / "b"))
    run = begin(config, prepared, len(prepared.rows), None, Asked(config))
    return config, prepared, open_folder(str(tmp_path / "a")), run


def test_what_a_node_keeps_or_sends_is_what_a_scan_keeps(kept):
    config, prepared, done, run = kept
    assert len(run.jobs) > 3
    for seen, here in [(run.seen(), True), (None, False), ((1, 2), False)]:
        make = partial(jobs.make_sender, config, run, seen, jobs.read_by(prepared))
        do = make()
        answers = [do(job) for job in run.jobs[:3]]
        assert [one is None for one in answers] == [here] * 3
        assert [run.path(job).exists() for job in run.jobs[:3]] == [here] * 3
        rows = list(jobs.received(run, run.jobs[:3], iter(answers)))
        assert rows == [job.rows for job in run.jobs[:3]]
        for job in run.jobs[:3]:
            assert run.path(job).read_bytes() == done.path(job).read_bytes()
            run.path(job).unlink()


def test_a_node_that_reads_something_else_refuses(kept):
    config, _, _, run = kept
    with pytest.raises(InputError, match="changed while the scan ran"):
        jobs.make_sender(config, run, run.seen(), ("0" * 64, "0" * 64))


def test_a_folder_that_is_not_there_is_not_seen(kept, tmp_path):
    config, prepared, _, run = kept
    assert run.seen() == replace(run).seen()
    assert replace(run, folder=str(tmp_path / "nowhere")).seen() is None
    assert ModelConfig(str(SAMPLES / "counts.onnx")) == config.model
    assert prepared.rows.size
    assert TRIES == 3

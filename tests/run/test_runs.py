"""Runs on the disk: whatever ends a scan, going on gives the report of a plain one."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli.test_cli_traps import environment, mounted
from scans import SAMPLES, descendants, sample, scan
from typer.testing import CliRunner

from audit.cli import app
from audit.config import ScanConfig, Waiver, override
from audit.config.options import OPTIONS, command_line_options
from audit.ground.errors import AuditError, ConfigError, Incomplete
from audit.ground.storage.temporary import temporary_name
from audit.reports.json import read_report, to_json
from audit.reports.rows import RowsWriter
from audit.run import identity
from audit.run.commands import resume_command, without_run_options
from audit.run.folder import open_folder
from audit.run.manifest import plain_config, stored_config
from audit.run.parts import Damaged, read_part, write_part
from audit.run.plan import Job, Shard, cut, read_shard, spans
from audit.run.scan import merge, scan_shard

SLOW = pytest.mark.slow
MEMORY = 6000  # bytes: blocks of 8 inputs, so that 150 inputs are 19 parts
ROWS = ("npz", "parquet", "csv")


def body(report):
    """Return all of a report that must not differ from run to run."""
    return to_json(report.model_copy(update={"run": {}}))


def small(**options):
    return sample("heteroscedastic", memory=MEMORY, verify=2, **options)


def written(folder, config, run=scan, suffixes=ROWS, **options):
    """Run a scan with rows files; return its report and the files' bytes."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"rows.{suffix}" for suffix in suffixes]
    with RowsWriter(*map(str, paths)) as rows:
        report = run(config, rows=rows, **options)
    return body(report), [path.read_bytes() for path in paths]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The report and rows files of a scan without a run folder."""
    return written(tmp_path_factory.mktemp("plain"), small())


def parts_of(folder):
    return sorted(Path(folder).glob("part-*.npz"))


def stop_after(count):
    """Return a progress that is interrupted when `count` jobs are done."""
    told = []

    def tick(done, total):
        told.append(done)
        if len(told) > count:
            raise KeyboardInterrupt

    return tick


def interrupted(config, count, **options):
    with pytest.raises(KeyboardInterrupt):
        scan(config, progress=stop_after(count), **options)


# Whatever is done in between, the report is that of a plain scan


def test_a_run_without_interruption_gives_the_plain_report(tmp_path, plain):
    config = small(run_dir=str(tmp_path / "run"))
    assert body(scan(config)) == plain[0]
    assert len(parts_of(tmp_path / "run")) == 19


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    ("count", "options"),
    [
        (0, {}),
        (1, {"batch_size": 1, "memory": 10 * MEMORY}),
        (7, {"batch_size": 1000}),
        (18, {"workers": 2}),
    ],
)
def test_an_interrupted_run_goes_on(tmp_path, plain, count, options):
    config = small(run_dir=str(tmp_path / "run"))
    with RowsWriter(str(tmp_path / "lost.npz")) as rows:
        interrupted(config, count, rows=rows)
    before = {part: part.stat().st_mtime_ns for part in parts_of(config.run_dir)}
    assert len(before) == count
    again = replace(config, resume=True, **options)
    assert written(tmp_path, again) == plain
    assert len(parts_of(config.run_dir)) == 19
    for part, moment in before.items():
        assert part.stat().st_mtime_ns == moment, "a finished part is not done again"


@pytest.mark.slow  # an interrupted run, and workers that go on with it: above
def test_workers_can_be_interrupted(tmp_path, plain):
    config = small(run_dir=str(tmp_path / "run"), workers=2)
    interrupted(config, 5)
    assert 5 <= len(parts_of(config.run_dir)) < 19
    assert body(scan(replace(config, resume=True, workers=1))) == plain[0]


def test_csv_needs_no_directions_and_npz_does(tmp_path, plain):
    config = small(run_dir=str(tmp_path / "run"), resume=True)
    report, (csv,) = written(tmp_path, config, suffixes=("csv",))
    assert (report, csv) == (plain[0], plain[1][ROWS.index("csv")])
    with pytest.raises(ConfigError, match="keeps no directions, and a rows file"):
        written(tmp_path, config)


@pytest.mark.parametrize(
    "shards", [pytest.param(1, marks=SLOW), 3, pytest.param(25, marks=SLOW)]
)
def test_shards_in_any_order_are_merged(tmp_path, plain, shards):
    config = small(run_dir=str(tmp_path / "run"))
    done = []
    for number in reversed(range(1, shards + 1)):
        run, jobs = scan_shard(replace(config, shard=f"{number}/{shards}"))
        done += jobs
    assert sorted(done, key=lambda job: job.start) == run.jobs
    assert scan_shard(replace(config, shard=f"1/{shards}"))[1] == []
    assert written(tmp_path, config, merge) == plain
    assert body(scan(replace(config, resume=True))) == plain[0]


def test_rows_that_are_skipped_are_the_same_in_parts(tmp_path):
    x = np.load(SAMPLES / "heteroscedastic.npz")["x"].copy()
    x[8:17], x[40, 3], x[149] = np.nan, np.inf, np.nan
    np.savez(tmp_path / "dirty.npz", x=x)
    config = small(max_skipped=11)
    config = replace(config, data=str(tmp_path / "dirty.npz"))
    expected = written(tmp_path, config)
    assert len(json.loads(expected[0])["skipped"]) == 11
    config = replace(config, run_dir=str(tmp_path / "run"))
    assert written(tmp_path, config) == expected
    assert written(tmp_path, config, merge) == expected


def test_a_selection_is_resumed_as_it_was(tmp_path):
    config = small(sample=50, seed=4)
    expected = body(scan(config))
    config = replace(config, run_dir=str(tmp_path / "run"))
    interrupted(config, 2)
    assert body(scan(replace(config, resume=True))) == expected


# Parts


def test_a_part_holds_no_pickle_and_comes_back(tmp_path):
    tree = {
        "index": np.arange(3),
        "columns": {"kl": {"trace": np.array([1.0, np.nan, 2.0])}, "a/b:c=1": {}},
        "skipped": [[np.int64(4), "scale is not positive"]],
        "empty": np.zeros((0, 2, 3)),
    }
    path = tmp_path / "part.npz"
    write_part(path, tree)
    found = read_part(path)
    assert list(found) == list(tree)
    assert found["skipped"] == tree["skipped"]
    assert list(found["columns"]) == list(tree["columns"])
    np.testing.assert_array_equal(found["index"], tree["index"])
    np.testing.assert_array_equal(
        found["columns"]["kl"]["trace"], tree["columns"]["kl"]["trace"]
    )
    assert found["empty"].shape == (0, 2, 3)
    with np.load(path, allow_pickle=False) as archive:
        assert all(archive[name].dtype != object for name in archive.files)
    with pytest.raises(ValueError, match="allow_pickle"):
        write_part(path, {"bad": np.array([object()])})
    assert list(read_part(path)) == list(tree), "the old part is still there"


def test_no_damage_goes_unnoticed(tmp_path):
    path = tmp_path / "part.npz"
    values = np.random.default_rng(0).normal(size=20)
    write_part(path, {"run": "a", "values": values})
    whole = path.read_bytes()
    rng, noticed = np.random.default_rng(1), 0
    for place in range(0, len(whole), 3):
        broken = bytearray(whole)
        broken[place] ^= int(rng.integers(1, 256))
        path.write_bytes(broken)
        try:
            found = read_part(path)
        except Damaged:
            noticed += 1
        else:  # a date or another field that says nothing of the content
            assert found["run"] == "a"
            np.testing.assert_array_equal(found["values"], values)
    assert noticed > len(whole) / 6
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(Damaged):
            read_part(path)


def test_damaged_parts_are_measured_again(tmp_path, plain):
    config = small(run_dir=str(tmp_path / "run"), resume=True)
    scan(config)
    first, second, third, fourth, *_ = parts_of(config.run_dir)
    first.write_bytes(first.read_bytes()[:-100])
    content = bytearray(second.read_bytes())
    content[content.index(b"\x93NUMPY", len(content) // 2) + 130] ^= 1
    second.write_bytes(content)
    third.write_bytes(b"")
    shutil.copy(parts_of(config.run_dir)[-1], fourth)  # fewer rows than its name says
    missing = open_folder(config.run_dir).missing()
    assert [job.start for job in missing] == [0, 8, 16, 24]
    with pytest.raises(Incomplete, match="lacks 4 of 19 parts: rows 0 to 31 of 150"):
        merge(config)
    assert body(scan(config)) == plain[0]
    assert open_folder(config.run_dir).missing() == []


def test_a_part_of_another_run_is_not_taken(tmp_path):
    runs = [small(run_dir=str(tmp_path / str(seed)), seed=seed) for seed in (0, 1)]
    for config in runs:
        interrupted(config, 2)
    shutil.copy(parts_of(runs[1].run_dir)[0], parts_of(runs[0].run_dir)[0])
    assert open_folder(runs[0].run_dir).missing()[0] == Job(0, 8)


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path):
    config = small(run_dir=str(tmp_path / "run"))
    interrupted(config, 2)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [temporary_name(".part-0.npz.") for _ in range(2)]
    names[0] = names[0].replace(f"{os.getpid()}-", f"{dead.pid}-")
    gone, ours = (tmp_path / "run" / name for name in names)
    others = gone.with_name(gone.name.replace(f"{dead.pid}-", f"{dead.pid}-elsewhere_"))
    for path in (gone, ours, others):
        path.write_bytes(b"half")
    scan(replace(config, resume=True))
    assert [path.exists() for path in (gone, ours, others)] == [False, True, True]


# Partial reports


def test_a_partial_report_says_so_and_exits_4(tmp_path):
    config = small(run_dir=str(tmp_path / "run"))
    interrupted(config, 3)
    with pytest.raises(Incomplete, match="lacks 16 of 19 parts"):
        merge(config)
    report = merge(replace(config, resume=True, exit_zero=True), partial=True)
    assert (report.exit_code, report.data.n_audited) == (4, 24)
    (warning,) = [one for one in report.warnings if one.code == "partial"]
    assert "126 of 150 rows were not measured: 24 to 149" in warning.message
    for part in parts_of(config.run_dir):
        part.unlink()
    with pytest.raises(Incomplete, match="lacks 19 of 19 parts"):
        merge(replace(config, resume=True), partial=True)


# Refusals


@pytest.fixture
def begun(tmp_path):
    """A run of a copied model on copied data, with a mask, interrupted early."""
    for name in ("heteroscedastic.onnx", "heteroscedastic.npz"):
        shutil.copy(SAMPLES / name, tmp_path / name)
    np.save(tmp_path / "mask.npy", np.arange(10) < 9)
    config = small(mask=str(tmp_path / "mask.npy"), run_dir=str(tmp_path / "run"))
    config = override(
        replace(config, data=str(tmp_path / "heteroscedastic.npz")),
        "command line",
        model=str(tmp_path / "heteroscedastic.onnx"),
    )
    with np.load(config.data) as file:
        arrays = dict(file)
    np.savez(config.data, **arrays, y=arrays["x"] / 2)
    interrupted(config, 2)
    return replace(config, resume=True)


def other_model(config):
    shutil.copy(SAMPLES / "heteroscedastic_fisher.onnx", config.model.path)
    return config


def other_data(config):
    np.savez(config.data, x=np.load(SAMPLES / "heteroscedastic.npz")["x"] + 1)
    return config


def other_mask(config):
    np.save(config.mask, np.arange(10) < 8)
    return config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_model, r"The model is not the one of the run in '.*': its bytes differ"),
        (other_data, r"The data is not the one of the run in '.*': its bytes differ"),
        (other_mask, r"A file of --mask has changed since the run in '.*' began"),
        (lambda c: replace(c, seed=3), "has --seed 0, not 3"),
        (lambda c: replace(c, data=f"{c.data}::y"), "has --condition unset, not y"),
        (lambda c: replace(c, limit=9), "has --limit unset, not 9"),
        (lambda c: replace(c, divergences=("kl",)), r"has --divergence unset, not \["),
        (lambda c: replace(c, memory=2000), "--memory holds blocks of 2 inputs now"),
        (lambda c: replace(c, shard="1/2", tau=2.0), r"has --tau 1.0, not 2.0"),
    ],
)
def test_another_run_is_not_gone_on_with(begun, change, words):
    config = change(begun)
    run = scan_shard if config.shard else scan
    with pytest.raises(ConfigError, match=words) as caught:
        run(config)
    error = caught.value
    assert all((error.given, error.expected, error.next_step))


def test_merge_refuses_a_model_that_changed(begun):
    scan(begun)
    other_model(begun)
    with pytest.raises(ConfigError, match="The model is not the one of the run"):
        merge(begun)


def test_another_version_does_not_go_on(begun, monkeypatch):
    monkeypatch.setattr(identity, "__version__", "9.9")
    with pytest.raises(ConfigError, match=r"made with robaudit .*, this is 9\.9"):
        scan(begun)


def test_limits_and_resources_are_not_part_of_a_run(begun, monkeypatch):
    limits = override(begun, "command line", max={"kl.trace.max": 1e9})
    report = scan(replace(limits, batch_size=5, max_skipped=3, exit_zero=True))
    assert (report.verdict, report.exit_code) == ("pass", 0)


LIMITS_AND_RUN = {name for name in OPTIONS if OPTIONS[name].changes != "number"}
IGNORED = {*LIMITS_AND_RUN, "model", "data"} - {"device"}
CHANGES = {
    "parameters": "loc=mean",
    "options": "levels=[0.5]",
    "condition": "x=features",
    "held": "h=0",
    "attacks": "weak=gaussian:sigma=0.01",
    "index": "1,2",
    "trust_model": "yes",
    "unnormalised": "yes",
    "exit_zero": "yes",
    "accept_unverified": "yes",
    "resume": "yes",
    "max": "kl.trace.max=1",
    "min": "kl.trace.max=1",
    "max_increase": "kl.trace.max=5%",
    "max_decrease": "kl.trace.max=5%",
    "rel_error": "0.5",
    "tau": "0.5",
    "memory": "2MB",
    "device": "cuda:1",
}


def changed(name):
    """Return a configuration with one option set to something else."""
    option = OPTIONS[name]
    choices = option.read.schema.get("enum")
    value = CHANGES.get(name) or (choices[-1] if choices else "77")
    if isinstance(value, str) and option.many:
        value = [value]
    return override(ScanConfig(), "command line", **{name: value})


@pytest.mark.parametrize("name", command_line_options())
def test_every_option_that_can_change_a_number_is_part_of_a_run(name):
    def of(config):
        return identity.identity(config, ["m"], "d", {"torch": "2"})

    assert (of(changed(name)) == of(ScanConfig())) == (name in IGNORED)


@pytest.mark.parametrize("name", command_line_options())
def test_every_option_comes_back_from_a_manifest(name):
    waivers = (Waiver("kl.trace.max", "2030-01-01", "known"),)
    config = replace(changed(name), waivers=waivers)
    assert stored_config(json.loads(json.dumps(plain_config(config)))) == config


# Plans and commands


@pytest.mark.parametrize(("total", "size"), [(1, 8), (150, 8), (16, 8), (7, 100)])
def test_jobs_and_shards_cover_every_row_once(total, size):
    jobs = cut(total, size)
    rows = [row for job in jobs for row in range(job.start, job.stop)]
    assert rows == list(range(total))
    for shards in (1, 2, 3, 40):
        taken = [Shard(k, shards).take(jobs) for k in range(1, shards + 1)]
        together = [job for share in taken for job in share]
        assert sorted(together, key=lambda job: job.start) == jobs
        assert max(map(len, taken)) - min(map(len, taken)) <= 1


def test_ranges_are_joined_and_counted():
    assert spans(cut(40, 8)) == "0 to 39"
    assert spans(cut(40, 8)[::2]) == "0 to 7, 16 to 23, 32 to 39"
    assert spans(cut(400, 8)[::2], 2) == "0 to 7, 16 to 23, and 23 more ranges"


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/2/3"])
def test_a_shard_is_one_of_n(text):
    with pytest.raises(ConfigError, match="Expected I/N"):
        read_shard(text)


def test_commands_are_quoted_and_repeatable():
    words = ["scan", "my model.onnx", "d.npz::x y", "--shard", "1/4", "-a", "b:c=1"]
    once = resume_command(words)
    assert shlex.split(once) == ["robaudit", *words, "--resume"]
    assert resume_command(shlex.split(once)[1:]) == once
    assert resume_command(["scan", "--", "-m"]) == "robaudit scan --resume -- -m"
    assert without_run_options([*words, "--resume"]) == [*words[:3], *words[5:]]
    assert without_run_options(["scan", "--shard=1/4", "m"]) == ["scan", "m"]


# The command line


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a model and data, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ROBAUDIT_")]:
        monkeypatch.delenv(name)
    for suffix in ("onnx", "npz"):
        shutil.copy(SAMPLES / f"heteroscedastic.{suffix}", tmp_path / f"m.{suffix}")
    return tmp_path


SCAN = ("scan", "m.onnx", "m.npz", "--memory", f"{MEMORY}B", "--verify", "4")


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def reports_of(*names):
    return [body(read_report(name)) for name in names]


@pytest.mark.slow  # by functions: above
def test_a_run_is_sharded_and_merged(folder):
    limits = ("--max", "kl.trace.p95=1", "--max", "kl.rank.max=99")
    assert run(*SCAN, *limits, "-q", "-o", "plain.json", "-o", "plain.npz")[0] == 1
    share = (*SCAN, limits[0], limits[1], "--run-dir", "run dir", "--shard")
    code, out, _ = run(*share, "2/2")
    assert (code, out) == (
        0,
        "Shard 2/2: 9 parts measured; 'run dir' holds 9 of 19.\n",
    )
    code, out, error = run("merge", "run dir", "-o", "m.json")
    assert (code, out) == (4, "")
    assert "lacks 10 of 19 parts: rows 0 to 7, 16 to 23" in error
    shard = shlex.join([*share[:-1], "--shard", "1/2"])
    assert f"Measure them with robaudit {shard} or pass --partial" in error
    code, out, _ = run(*share, "1/2")
    assert "holds 19 of 19. All are there: robaudit merge 'run dir'" in out
    words = ("merge", "run dir", *limits[2:], "-q", "-o", "m.json", "-o", "m.npz")
    assert run(*words)[0] == 1
    assert reports_of("plain.json") == reports_of("m.json")
    assert (folder / "plain.npz").read_bytes() == (folder / "m.npz").read_bytes()


def test_merge_judges_by_the_limits_of_the_day(folder):
    (folder / "robaudit.yaml").write_text(
        "max: {kl.trace.max: 0.001}\n"
        "waivers: [{key: kl.trace.max, until: 2999-01-01, reason: known}]\n"
    )
    words = (*SCAN, "--limit", "40", "--run-dir", "run")
    assert run(*words, "-q", "-o", "a.json")[0] == 0
    assert run("merge", "run", "-q", "-o", "b.json")[0] == 0
    assert reports_of("a.json") == reports_of("b.json")
    assert run("merge", "run", "-q", "--max", "kl.trace.p95=1e-3")[0] == 1
    assert run("merge", "run", "-q", "--max", "kl.trce.p95=1")[0] == 2
    words = ("--baseline", "a.json", "--max-increase", "kl.trace.p95=5%")
    code, out, _ = run("merge", "run", "-f", "json", *words)
    checks = json.loads(out)["checks"]
    assert code == 0
    assert [check["key"] for check in checks] == ["kl.trace.max", "kl.trace.p95"]
    assert checks[0]["waiver"] == "waived until 2999-01-01: known"
    assert checks[1]["source"].startswith("--max-increase kl.trace.p95=5% from ")


def test_a_shard_says_whether_parts_are_missing(folder):
    words = (*SCAN, "--limit", "16", "--run-dir", "run", "--shard")
    assert run(*words, "1/2")[:2] == (
        0,
        "Shard 1/2: 1 parts measured; 'run' holds 1 of 2.\n",
    )
    assert run(*words, "2/2")[:2] == (
        0,
        "Shard 2/2: 1 parts measured; 'run' holds 2 of 2. "
        "All are there: robaudit merge run\n",
    )


def test_partial_is_asked_for_and_marked(folder):
    run(*SCAN, "--run-dir", "run", "--shard", "1/4")
    code, out, _ = run("merge", "run", "--partial", "-o", "p.json")
    assert code == 4
    assert "exit 4 (incomplete)" in out
    assert run("check", "p.json")[0] == 4


USAGE = [
    (("--resume",), "--resume was given without a folder"),
    (("--shard", "1/2"), "--shard was given without a folder"),
    (("--run-dir", "run", "--shard", "3/2"), "--shard is 3/2. Expected I/N"),
    (("--run-dir", "m.npz"), "--run-dir is 'm.npz', which is a file"),
    (("--run-dir", "no/run"), "there is no folder 'no'"),
    (("--run-dir", "run", "--shard", "1/2", "-o", "r.json"), "to robaudit merge run"),
    (("--run-dir", "run", "--shard", "1/2", "-f", "json"), "to robaudit merge run"),
]


@pytest.mark.parametrize(("words", "said"), USAGE)
def test_bad_ways_to_run(folder, words, said):
    code, out, error = run(*SCAN, *words)
    assert (code, out) == (2, "")
    assert said in error
    assert not (folder / "run").exists()


def test_a_finished_run_is_not_overwritten(folder):
    words = (*SCAN, "--limit", "40", "--run-dir", "run")
    assert run(*words, "-q")[0] == 0
    code, _, error = run(*words)
    assert code == 2
    assert "'run' already holds a run" in error
    assert "Pass --resume, or choose another --run-dir" in error
    assert run(*words, "--resume", "-q")[0] == 0


def test_merge_wants_a_run(folder):
    code, _, error = run("merge", "nothing")
    assert code == 2
    assert "'nothing' holds no run" in error
    (folder / "run").mkdir()
    for text in ("", "{}", '{"format": 2}', "\x00"):
        (folder / "run" / "manifest.json").write_text(text)
        code, _, error = run("merge", "run")
        assert (code, "is no manifest of this robaudit" in error) == (2, True)


def test_a_manifest_of_a_trillion_parts_is_refused(folder):
    assert run(*SCAN, "--run-dir", "run", "--limit", "9", "-q")[0] == 0
    path = folder / "run" / "manifest.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "total": 10**15, "job_rows": 1}))
    code, _, error = run("merge", "run")
    assert (code, "it has more than 10000000 parts" in error) == (2, True)


def test_merge_in_another_folder_says_where(folder, monkeypatch):
    run(*SCAN, "--limit", "9", "--run-dir", "run", "-q")
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    code, _, error = run("merge", "../run")
    assert code == 2
    assert f"The paths of the run lead from '{folder}'" in error


def test_several_scans_have_a_folder_each(folder):
    (folder / "robaudit.yaml").write_text(
        "data: m.npz\nverify: 0\nscans:\n  a: {model: m.onnx}\n  b: {model: m.onnx}\n"
    )
    code, _, error = run("scan", "--run-dir", "run")
    assert (code, "2 scans would all run in 'run'" in error) == (2, True)
    assert run("scan", "--run-dir", "run-{scan}", "-q")[0] == 0
    assert (folder / "run-a").is_dir()
    assert (folder / "run-b").is_dir()


# Processes


def start(*words):
    command = [sys.executable, "-m", "audit", *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )


@pytest.fixture
def long(folder):
    """A scan that takes some seconds, and its words; 94 parts."""
    x = np.load("m.npz")["x"]
    noise = np.random.default_rng(0).normal(size=(3_000, x.shape[1])) / 10
    np.savez("m.npz", x=(np.resize(x, noise.shape) + noise).astype(x.dtype))
    assert run(*SCAN, "-q", "-o", "plain.json")[0] == 0
    return (*SCAN, "--batch-size", "32", "--run-dir", "a run", "-o", "r.json", "-q")


def wait_for_parts(process, count):
    for _ in range(600):
        if len(parts_of("a run")) >= count or process.poll() is not None:
            break
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()


@SLOW
@pytest.mark.parametrize(
    ("number", "workers"),
    [
        (signal.SIGINT, 1),
        (signal.SIGTERM, 2),
        (signal.SIGKILL, 2),
    ],
)
def test_a_signal_in_the_middle_leaves_a_run_to_resume(long, number, workers):
    process = start(*long, "--workers", workers)
    wait_for_parts(process, 5)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    command = shlex.join(["robaudit", *long, "--workers", str(workers), "--resume"])
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert error.decode() == (
            "robaudit: interrupted. Finished parts are kept in 'a run'; go on with\n"
            f"  {command}\n"
        )
    kept = len(parts_of("a run"))
    time.sleep(0.5)
    assert kept <= len(parts_of("a run")) < 94, "nobody works on without a parent"
    assert not Path("r.json").exists()
    again = shlex.split(command)[1:] if workers == 1 else [*long, "--resume"]
    assert run(*again)[0] == 0
    assert reports_of("plain.json") == reports_of("r.json")


@SLOW
def test_a_worker_that_dies_leaves_a_run_to_resume(long):
    process = start(*long, "--workers", 2)
    wait_for_parts(process, 5)
    spawned = [
        pid
        for pid in descendants(process.pid)
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(spawned[0], signal.SIGKILL)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 3
    assert b"One of 2 worker processes died" in error
    assert b"Finished parts are kept in 'a run'; go on with" in error
    assert run(*long, "--resume")[0] == 0
    assert reports_of("plain.json") == reports_of("r.json")


@SLOW
def test_two_shards_at_the_same_time(folder):
    assert run(*SCAN, "-q", "-o", "plain.json")[0] == 0
    share = (*SCAN, "--run-dir", "run", "--shard")
    both = [start(*share, f"{number}/2") for number in (1, 2)]
    for process in both:
        out, error = process.communicate(timeout=120)
        assert (process.returncode, error) == (0, b"")
        assert out.startswith(b"Shard ")
    assert len(parts_of("run")) == 19
    assert run("merge", "run", "-q", "-o", "m.json")[0] == 0
    assert reports_of("plain.json") == reports_of("m.json")


def test_a_shard_of_something_else_is_refused(folder):
    assert run(*SCAN, "--run-dir", "run", "--shard", "1/2")[0] == 0
    code, _, error = run(*SCAN, "--run-dir", "run", "--shard", "2/2", "--seed", 1)
    assert code == 2
    assert "The run in 'run' has --seed 0, not 1" in error


# Disks


def test_a_read_only_folder_is_found_before_the_scan(folder):
    with mounted(folder / "locked", "size=64k,ro"):
        for run_dir in ("locked", "locked/run"):
            code, _, error = run("scan", "no.onnx", "m.npz", "--run-dir", run_dir)
            assert code == 2
            assert "cannot be written: Read-only file system" in error


def test_a_full_disk_leaves_what_is_finished(folder):
    with mounted(folder / "small", "size=64k") as disk:
        words = (*SCAN, "--run-dir", "small", "-q")
        code, _, error = run(*words)
        assert code == 3
        assert "No space left on device" in error
        assert "Finished parts are kept in 'small'; go on with" in error
        kept = len(parts_of(disk))
        assert 0 < kept < 19
        assert all(not path.name.startswith(".") for path in disk.iterdir())
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        assert run(*words, "--resume", "-o", "r.json")[0] == 0
    assert run(*SCAN, "-q", "-o", "plain.json")[0] == 0
    assert reports_of("plain.json") == reports_of("r.json")


def test_a_shard_has_no_report(tmp_path):
    with pytest.raises(AuditError, match="the report is of all of them"):
        scan(small(run_dir=str(tmp_path / "run"), shard="1/2"))

"""What CI systems read: the files parse, and the commands in them run as they stand."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from reports.synthetic import EIGENVALUES, LIMITS, report_of
from scans import SAMPLES
from typer.testing import CliRunner

from audit.cli import app
from audit.reports.json import to_json

ROOT = Path(__file__).parents[1]
SHELL = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
ACTION = ROOT / ".github" / "action.yml"
GITLAB = ROOT / ".github" / "ci" / "gitlab-ci.yml"
JENKINS = ROOT / ".github" / "ci" / "Jenkinsfile"
AZURE = ROOT / ".github" / "ci" / "azure-pipelines.yml"
DVC = ROOT / ".github" / "ci" / "dvc.yaml"
HOOKS = ROOT / ".pre-commit-hooks.yaml"
PRE_COMMIT = ROOT / ".github" / "ci" / "pre-commit-config.yaml"
INDEX = "https://download.pytorch.org/whl/cpu"
CONFIG = """\
data: inputs.npz
verify: 8
max: {kl.gaussian.p95: 0.01}
scans:
  plain: {model: plain.onnx}
  penalised: {model: penalised.onnx}
"""


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def action_step(name):
    steps = read(ACTION)["runs"]["steps"]
    return next(step for step in steps if step.get("name") == name)


def commands_of(text):
    """Return every robaudit command of a script, as words."""
    joined = re.sub(r"\\+\n\s*", " ", text)
    found = re.findall(r"(?:\.audit/bin/)?(robaudit (?:scan|check)[^\n|;&]*)", joined)
    return [shlex.split(command, comments=True)[1:] for command in found]


@pytest.fixture
def robaudit(tmp_path):
    """A folder with a `robaudit` that runs this checkout, for PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "robaudit"
    python = shlex.quote(sys.executable)
    script.write_text(f'#!/bin/sh\nexec {python} -m audit "$@"\n')
    script.chmod(0o755)
    return str(folder)


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "work space"
    folder.mkdir()
    (folder / "robaudit.yaml").write_text(CONFIG)
    shutil.copy(SAMPLES / "heteroscedastic.npz", folder / "inputs.npz")
    shutil.copy(SAMPLES / "heteroscedastic.onnx", folder / "plain.onnx")
    shutil.copy(SAMPLES / "heteroscedastic_fisher.onnx", folder / "penalised.onnx")
    return folder


def run(script, folder, path, **variables):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ROBAUDIT_")}
    environment = {**clean, "PYTHONPATH": str(ROOT), **variables}
    environment["PATH"] = f"{path}:{environment['PATH']}"
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True
    )


def audited(workspace, robaudit, tmp_path):
    """Run the step of the action that scans; its summary and outputs stay."""
    files = {"GITHUB_STEP_SUMMARY": "summary.md", "GITHUB_OUTPUT": "output"}
    return run(
        action_step("Audit")["run"],
        workspace,
        robaudit,
        CONFIG="robaudit.yaml",
        ARGUMENTS="-d kl",
        RUNNER_TEMP=str(tmp_path),
        **{name: str(tmp_path / file) for name, file in files.items()},
    )


def annotated(tmp_path):
    """Return the names of the scans that the step for annotations speaks of."""
    annotate = action_step("Annotate")
    assert annotate["shell"] == "python"
    done = subprocess.run(
        [sys.executable, "-c", annotate["run"]],
        env={**os.environ, "REPORTS": str(tmp_path / "robaudit")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(line.startswith("::error title=robaudit::") for line in lines)
    return {line.split("::")[2].partition(":")[0] for line in lines}


@SHELL
def test_the_action_fails_with_the_verdict_writes_the_summary_and_annotates(
    robaudit, workspace, tmp_path
):
    done = audited(workspace, robaudit, tmp_path)
    assert done.returncode == 1, done.stderr
    summary = (tmp_path / "summary.md").read_text()
    assert "**FAIL: 1 of 1 limit broken · exit 1**" in summary
    assert "**PASS: 1 limit held · exit 0**" in summary
    reports = tmp_path / "robaudit"
    assert (tmp_path / "output").read_text() == f"exit-code=1\nreports={reports}\n"
    assert {path.suffix for path in reports.iterdir()} == {
        *(".json", ".html", ".md", ".xml", ".sarif")
    }
    assert annotated(tmp_path) == {"plain"}


@SHELL
@pytest.mark.slow
def test_the_action_annotates_what_is_undecided(robaudit, workspace, tmp_path):
    text = CONFIG.replace("0.01", "1.0").replace("verify: 8", "verify: 0")
    (workspace / "robaudit.yaml").write_text(text)
    audited(workspace, robaudit, tmp_path)
    assert annotated(tmp_path) == {"plain", "penalised"}


def test_the_action_takes_no_input_as_code():
    action = read(ACTION)
    assert action["runs"]["using"] == "composite"
    for step in action["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        assert ("run" in step) == ("shell" in step)
    used = set(re.findall(r"inputs\.([\w-]+)", ACTION.read_text()))
    assert used == set(action["inputs"])
    assert ACTION.with_name("..").joinpath("pyproject.toml").exists()


@pytest.mark.parametrize(
    "path", [GITLAB, JENKINS, AZURE, DVC], ids=lambda path: path.name
)
def test_the_commands_of_the_snippets_exist(path, workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    (workspace / "reports").mkdir()
    (words,) = commands_of(path.read_text())
    # A name that is not in the file stops the scan after all options were read.
    result = CliRunner().invoke(app, [*words, "--scan", "none"])
    assert result.exit_code == 2
    assert "'none' is not among the scans" in result.stderr


def whole_script(path):
    """Return all that a template runs, and the variables that it sets."""
    if path == JENKINS:
        text = path.read_text()
        (script,) = re.findall(r"\'\'\'(.*?)\'\'\'", text, re.DOTALL)
        variables = dict(re.findall(r"^ +([A-Z_]+) = '([^']*)'", text, re.MULTILINE))
        return script.replace("\\\\", "\\").replace(".audit/bin/", ""), variables
    job = read(path)
    if path == AZURE:
        return job["steps"][1]["script"], job["variables"]
    if path == ACTION:
        names = {"torch-index": "TORCH_INDEX", "package": "AUDIT_PACKAGE"}
        given = {v: job["inputs"][name]["default"] for name, v in names.items()}
        return action_step("Install")["run"], given
    if path == DVC:
        variables = {k.upper(): v for one in job["vars"] for k, v in one.items()}
        text = "\n".join(job["stages"]["robaudit"]["cmd"][:-1])
        for name in variables:
            text = text.replace(name.lower(), name)
        return text, variables
    return "\n".join(job["robaudit"]["script"]), job["robaudit"]["variables"]


def script_of(path):
    """Return the lines that a template runs, without those that install."""
    text, _ = whole_script(path)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return "\n".join(line for line in lines if "pip install" not in line)


@SHELL
@pytest.mark.parametrize("path", [ACTION, GITLAB, JENKINS, AZURE, DVC], ids=str)
@pytest.mark.parametrize("index", [INDEX, ""])
@pytest.mark.parametrize(
    "package", ["", "git+https://host/robaudit@v1", "../check out"]
)
def test_a_template_installs_torch_for_cpus_first_and_what_it_is_told(
    path, index, package, workspace, tmp_path
):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, line in (("pip", 'printf "%s|" "$@"; echo'), ("python", "true")):
        (tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (tools / name).chmod(0o755)
    script, variables = whole_script(path)
    assert variables["TORCH_INDEX"] == INDEX
    wanted = package or variables["AUDIT_PACKAGE"]
    given = variables | {"TORCH_INDEX": index, "AUDIT_PACKAGE": wanted}
    lines = re.sub(r"\\\n\s*", " ", script).splitlines()
    script = "\n".join(line for line in lines if "robaudit scan" not in line)
    plain = {"PATH": f"{tools}:/usr/bin:/bin", "GITHUB_ACTION_PATH": "/action/.github"}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=workspace,
        env=given | plain,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = [line.split("|")[:-1] for line in done.stdout.splitlines()]
    assert told[-1] == ["install", "--quiet", wanted or "/action/.github/.."]
    torch = [["install", "--quiet", "--index-url", INDEX, "torch"]] if index else []
    assert told[:-1] == torch


def test_the_hooks_of_the_template_are_ours_and_take_torch_for_cpus():
    (repository,) = read(PRE_COMMIT)["repos"]
    ids = [hook["id"] for hook in repository["hooks"]]
    assert ids == [hook["id"] for hook in read(HOOKS)]
    for hook in repository["hooks"]:
        assert hook["additional_dependencies"] == [f"--extra-index-url={INDEX}"]


EACH_TEMPLATE = pytest.mark.parametrize(
    "path", [GITLAB, JENKINS, AZURE], ids=lambda path: path.name
)
STAND_IN = """#!/bin/sh
echo "$@" > words
exit $CODE
"""


@SHELL
@EACH_TEMPLATE
@pytest.mark.parametrize("code", [0, 1, 4])
def test_a_template_ends_with_the_exit_code_of_the_scan(
    path, code, workspace, tmp_path
):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in (("robaudit", STAND_IN), ("python", "#!/bin/sh\n")):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    done = run(script_of(path), workspace, str(folder), CODE=str(code))
    assert done.returncode == code, done.stderr
    assert (workspace / "words").read_text().startswith("scan ")
    assert (workspace / "reports").is_dir()


@SHELL
@pytest.mark.slow
@EACH_TEMPLATE
@pytest.mark.parametrize(("limit", "code"), [(0.01, 1), (1.0, 0), (None, 4)])
def test_a_template_passes_fails_and_does_not_pass_what_is_undecided(
    path, limit, code, robaudit, workspace
):
    text = CONFIG if limit is None else CONFIG.replace("0.01", str(limit))
    if limit is None:  # nothing is checked, so nothing bears the limit out
        text = text.replace("verify: 8", "verify: 0")
    (workspace / "robaudit.yaml").write_text(text)
    done = run(script_of(path), workspace, robaudit)
    assert done.returncode == code, done.stderr
    reports = workspace / "reports"
    assert {one.name for one in reports.glob("*.xml")} == {"plain.xml", "penalised.xml"}


@SHELL
@pytest.mark.slow
@pytest.mark.parametrize(("limit", "code"), [(0.01, 1), (1.0, 0)])
def test_the_stage_of_dvc_writes_its_metrics(limit, code, robaudit, workspace):
    single = "data: inputs.npz\nmodel: plain.onnx\nverify: 8\n"
    single += f"max: {{kl.gaussian.p95: {limit}}}\n"
    (workspace / "robaudit.yaml").write_text(single)
    stage = read(DVC)["stages"]["robaudit"]
    done = run("set -e\n" + "\n".join(stage["cmd"]), workspace, robaudit)
    assert done.returncode == code, done.stderr
    assert stage["always_changed"]
    for kind in ("outs", "metrics"):
        for name, settings in (pair for one in stage[kind] for pair in one.items()):
            assert (workspace / name).exists()
            assert settings == {"cache": False}


def test_no_template_lets_an_exit_code_pass():
    for path in (GITLAB, JENKINS, AZURE, DVC):
        text = path.read_text()
        assert not re.search(
            r"allow_failure|continueOnError|\|\| *true|exit_zero", text
        )


def test_gitlab_and_jenkins_read_what_is_written():
    job = read(GITLAB)["robaudit"]
    assert job["artifacts"]["reports"]["junit"] == "reports/*.xml"
    assert "-o 'reports/{scan}.xml'" in job["script"][-1]
    text = JENKINS.read_text()
    assert text.count("{") == text.count("}")
    assert "junit testResults: 'reports/*.xml'" in text


def test_the_hooks_check_what_they_are_given(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    (workspace / "report.json").write_text(to_json(report_of(EIGENVALUES, *LIMITS)))
    files = ["robaudit.yaml", "report.json", "a/baseline-2.json", "package.json"]
    for hook, taken in zip(read(HOOKS), (files[:1], files[1:3]), strict=True):
        assert {"id", "name", "entry", "language", "files"} <= set(hook)
        assert [f for f in files if re.search(hook["files"], f)] == taken
        _, *words = shlex.split(hook["entry"])
        (workspace / "other").mkdir(exist_ok=True)
        monkeypatch.chdir(workspace / "other")
        result = CliRunner().invoke(app, [*words, f"../{taken[0]}"])
        assert result.exit_code == (0 if taken == files[:1] else 1), result.stderr

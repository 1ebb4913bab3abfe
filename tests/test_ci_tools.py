"""Each template read by its own tool, and run by it in a scratch repository.

The tools are the extra `gates`: schemas of CI systems (check-jsonschema), a parser of
Groovy, pre-commit, and DVC. Where one is missing its tests are skipped with the reason.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from scans import SAMPLES

ROOT = Path(__file__).parents[1]
CI = ROOT / ".github" / "ci"
SCHEMAS = {
    ".github/action.yml": ["vendor.github-actions"],
    ".github/workflows/ci.yml": ["vendor.github-workflows"],
    ".github/ci/gitlab-ci.yml": ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
    ".github/ci/azure-pipelines.yml": [
        *("vendor.azure-pipelines", "--data-transform", "azure-pipelines"),
    ],
    ".github/CITATION.cff": ["vendor.citation-file-format"],
}
UNCHECKED = "verify: 0\n"
CASES = [("1.0", "", True), ("0.001", "", False), ("1.0", UNCHECKED, False)]
"""(limit, more settings, whether it passes): held, broken, and not borne out."""
pytestmark = pytest.mark.slow


def tool(name):
    """The command of a tool of this environment."""
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed (pip install 'robaudit[gates]')")
    return [sys.executable, "-m", name]


def run(words, folder, path=""):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ROBAUDIT_")}
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org"}
    who |= {name.replace("AUTHOR", "COMMITTER"): v for name, v in who.items()}
    here = {"PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1", "HOME": str(folder)}
    environment = {**kept, **alone, **who, **here}
    environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True
    )


def git(folder, *words):
    done = run(["git", *words], folder)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def repository(tmp_path):
    """A git repository with a model, its data and a `robaudit` for PATH."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in ("heteroscedastic.onnx", "heteroscedastic.npz"):
        shutil.copy(SAMPLES / name, folder)
    commands = tmp_path / "bin"
    commands.mkdir()
    script = commands / "robaudit"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m audit "$@"\n')
    script.chmod(0o755)
    git(folder, "init", "--quiet", "--initial-branch=main")
    return folder, str(commands)


def configure(folder, limit, more):
    text = "model: heteroscedastic.onnx\ndata: heteroscedastic.npz\n"
    text += f"limit: 20\nverify: 8\nmax: {{kl.gaussian.p95: {limit}}}\n"
    text = text.replace("verify: 8\n", more or "verify: 8\n")
    (folder / "robaudit.yaml").write_text(text)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_template_keeps_the_schema_of_its_system(name):
    words = [*tool("check_jsonschema"), "--builtin-schema", *SCHEMAS[name]]
    done = run([*words, str(ROOT / name)], ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_template_that_breaks_a_schema_would_be_found(tmp_path):
    job = yaml.safe_load((CI / "gitlab-ci.yml").read_text(encoding="utf-8"))
    job["robaudit"]["artifacts"]["when"] = "sometimes"
    path = tmp_path / ".gitlab-ci.yml"
    path.write_text(yaml.safe_dump(job))
    words = [*tool("check_jsonschema"), "--builtin-schema", "vendor.gitlab-ci"]
    assert run([*words, str(path)], tmp_path).returncode == 1


def leaves(tree):
    """The words of a parsed Groovy file, in order."""
    if "leaf" in tree:
        return [tree["value"]]
    return [word for child in tree.get("children", ()) for word in leaves(child)]


def test_the_jenkinsfile_is_groovy():
    tool("groovy_parser")
    from groovy_parser.parser import parse_and_digest_groovy_content

    text = (CI / "Jenkinsfile").read_text(encoding="utf-8")
    words = leaves(parse_and_digest_groovy_content(text))
    assert words[0] == "pipeline"
    for name in ("agent", "stages", "steps", "sh", "post", "always", "junit"):
        assert name in words
    with pytest.raises(Exception, match=r"."):
        parse_and_digest_groovy_content(text.replace("stages {", "stages { {{"))


def test_the_hooks_are_a_manifest_of_pre_commit():
    words = [*tool("pre_commit"), "validate-manifest", ".pre-commit-hooks.yaml"]
    done = run(words, ROOT)
    assert done.returncode == 0, done.stdout


def test_the_template_of_pre_commit_is_a_configuration():
    words = [*tool("pre_commit"), "validate-config"]
    done = run([*words, ".github/ci/pre-commit-config.yaml"], ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("limit", "more", "passes"), CASES)
def test_pre_commit_runs_the_hooks_to_a_verdict(repository, limit, more, passes):
    words = [*tool("pre_commit"), "run", "--all-files"]
    folder, path = repository
    configure(folder, limit, more)
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    for hook in hooks:  # an environment of its own would take PyTorch anew
        hook["language"] = "system"
    local = {"repos": [{"repo": "local", "hooks": hooks}]}
    (folder / ".pre-commit-config.yaml").write_text(yaml.safe_dump(local))
    scan = run(["robaudit", "scan", "-q", "-o", "report.json"], folder, path)
    assert scan.returncode == (0 if passes else 4 if more else 1), scan.stderr
    git(folder, "add", "--all")
    done = run(words, folder, path)
    assert (done.returncode == 0) == passes, done.stdout + done.stderr
    assert done.stdout.count("Passed") == (2 if passes else 1)


@pytest.mark.parametrize(("limit", "more", "passes"), CASES)
def test_dvc_runs_the_stage_to_a_verdict(repository, limit, more, passes):
    dvc = tool("dvc")
    folder, path = repository
    configure(folder, limit, more)
    shutil.copy(CI / "dvc.yaml", folder)
    assert run([*dvc, "init", "--quiet"], folder, path).returncode == 0
    done = run([*dvc, "repro"], folder, path)
    assert (done.returncode == 0) == passes, done.stdout + done.stderr
    shown = run([*dvc, "metrics", "show", "--json"], folder, path)
    (read,) = json.loads(shown.stdout)[""]["data"].values()
    report = json.loads((folder / "report.json").read_text())
    summary = report["divergences"]["kl"]["summary"]["gaussian"]
    for statistic in ("p05", "p50", "mean", "p95", "max"):
        assert read["data"]["kl"]["gaussian"][statistic] == summary[statistic]
    assert read["data"]["verdict"] == report["verdict"]
    assert len((folder / "report.metrics.json").read_text()) < 4000


def test_dvc_audits_a_model_that_changed_under_the_same_settings(repository):
    dvc = tool("dvc")
    folder, path = repository
    configure(folder, "0.006", "")
    shutil.copy(
        SAMPLES / "heteroscedastic_fisher.onnx", folder / "heteroscedastic.onnx"
    )
    shutil.copy(CI / "dvc.yaml", folder)
    assert run([*dvc, "init", "--quiet"], folder, path).returncode == 0
    assert run([*dvc, "repro"], folder, path).returncode == 0
    shutil.copy(SAMPLES / "heteroscedastic.onnx", folder)
    assert run([*dvc, "repro"], folder, path).returncode != 0

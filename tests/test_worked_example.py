"""A model's life under the gate, in a git repository of its own.

The penalised model is released and its report committed as the baseline. A change then
brings the plainly trained network, which is worse; the job fails and names the inputs.
The change is mended, or waived for a while; when the waiver has expired it fails again.
"""

import json
import os
import shutil
import subprocess
import sys
from datetime import date, timedelta
from xml.etree import ElementTree

import pytest
from scans import SAMPLES

ROOT = str(SAMPLES.parent)
CONFIG = """\
model: model.onnx
data: inputs.npz
baseline: baseline.json
max_increase:
  kl.gaussian.p95: 10%
"""
WAIVER = """\
waivers:
  - key: kl.gaussian.p95
    until: {until}
    reason: retrained next week, issue 41
"""
KNOWN_AS = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org"}
KNOWN_AS |= {name.replace("AUTHOR", "COMMITTER"): v for name, v in KNOWN_AS.items()}
NO_SETTINGS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


class Repository:
    """A folder under git, in which commands run as a CI job would run them."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words):
        environment = {**os.environ, **KNOWN_AS, **NO_SETTINGS}
        done = subprocess.run(
            ["git", *words], cwd=self.folder, env=environment, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def commit(self, message, **files):
        """Copy or write files (name_ext="text" or a path) and commit them."""
        for name, content in files.items():
            target = self.folder / name.replace("_", ".")
            if isinstance(content, str):
                target.write_text(content)
            else:
                shutil.copy(content, target)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def robaudit(self, *words):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("ROBAUDIT_")}
        environment = {**clean, "PYTHONPATH": ROOT, "COLUMNS": "100"}
        return subprocess.run(
            [sys.executable, "-m", "audit", *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
        )


def waiver(days):
    return WAIVER.format(until=date.today() + timedelta(days=days))


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
@pytest.mark.slow
def test_a_worse_model_is_stopped_mended_or_waived(tmp_path):
    repository = Repository(tmp_path / "a [model] repository")
    good, worse = (
        SAMPLES / f"{name}.onnx"
        for name in ("heteroscedastic_fisher", "heteroscedastic")
    )
    inputs = SAMPLES / "heteroscedastic.npz"

    # The release: a report of the good model becomes the baseline.
    repository.commit("Add the model", model_onnx=good, inputs_npz=inputs)
    released = repository.robaudit(
        "scan", "model.onnx", "inputs.npz", "-q", "-o", "baseline.json"
    )
    assert (released.returncode, released.stderr) == (0, "")
    repository.commit("Add the gate", robaudit_yaml=CONFIG)
    assert "baseline.json" in repository.git("ls-files").split()

    # The change: a worse model fails the job, and the summary names the inputs.
    repository.commit("Retrain the model", model_onnx=worse)
    outputs = ("-o", "report.json", "-o", "junit.xml", "-o", "report.sarif")
    failed = repository.robaudit("scan", *outputs, "-f", "github")
    assert failed.returncode == 1, failed.stderr
    assert "FAIL: 1 of 1 limit broken · exit 1" in failed.stdout
    report = json.loads((repository.folder / "report.json").read_text())
    (check,) = report["checks"]
    assert check["value"] > 3 * check["limit"]
    assert check["offenders"][0] == 115
    named = ", ".join(map(str, check["offenders"][:5]))
    assert f"{check['n_offending']} inputs ({named})" in failed.stdout
    suite = ElementTree.parse(repository.folder / "junit.xml").getroot()
    assert "beyond it: 115, " in suite.find(".//failure").get("message")
    sarif = json.loads((repository.folder / "report.sarif").read_text())
    (result,) = sarif["runs"][0]["results"]
    (location,) = result["locations"]
    place = location["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "robaudit.yaml"
    assert place["region"]["startLine"] == 5

    # The same verdict from the stored report, which git can tell from the baseline.
    again = repository.robaudit("check", "report.json")
    assert again.returncode == 1
    assert "✗ kl.gaussian.p95 = " in again.stdout
    assert "beyond it: 115, " in " ".join(again.stdout.split())
    assert ": change = 337 % > 10 %" in again.stdout
    moved = repository.robaudit("diff", "baseline.json", "report.json")
    assert moved.returncode == 0
    assert "the new model is more sensitive" in moved.stdout

    # A waiver lets it pass, and says so; it expires.
    repository.commit("Waive it", robaudit_yaml=CONFIG + waiver(7))
    waived = repository.robaudit("check", "report.json")
    assert waived.returncode == 0, waived.stdout
    assert "issue 41" in waived.stdout
    repository.commit("A week later", robaudit_yaml=CONFIG + waiver(-1))
    expired = repository.robaudit("check", "report.json")
    assert expired.returncode == 1
    assert "expired" in expired.stdout

    # The mended model passes.
    repository.commit("Mend it", model_onnx=good, robaudit_yaml=CONFIG)
    mended = repository.robaudit("scan", "-o", "report.json")
    assert mended.returncode == 0, mended.stdout
    assert "PASS: 1 limit held · exit 0" in mended.stdout

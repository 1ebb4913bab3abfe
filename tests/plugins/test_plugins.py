"""Four third-party packages and two stubs: proved by the kit, used by entry point."""

import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch

import audit.testing as kit
from audit.config import AttackConfig, ModelConfig, ScanConfig
from audit.formats import FORMATS, glossary, rendered
from audit.geometry.divergences import DIVERGENCES, build_divergence
from audit.ground.errors import ConfigError, NoTransport
from audit.ground.plugins import plugged
from audit.models import names
from audit.plugins import Tensors
from audit.reports.json import to_json
from audit.run.scan import scan

from . import installed
from .conftest import ROWS

SCALES = {"scale": [[0.5, 2.0], [1.3, 0.8]]}


def module_of(package):
    return import_module(package.replace("-", "_"))


@pytest.mark.parametrize("package", installed.PACKAGES)
def test_a_package_is_small(package):
    (source,) = (installed.HERE / package).glob("*.py")
    assert len(source.read_text().splitlines()) < 50


def test_the_family_keeps_the_laws():
    kit.check_law(module_of("robaudit-rayleigh").Rayleigh, SCALES)


def test_the_divergence_keeps_the_laws():
    made = module_of("robaudit-mean-gap").mean_gap
    kit.check_divergence(made)
    law = module_of("robaudit-rayleigh").Rayleigh({"scale": (2,)})
    kit.check_divergence(made, law, torch.tensor(SCALES["scale"]).double())


def test_the_attack_keeps_the_laws():
    kit.check_attack(module_of("robaudit-sparse").Sparse(0.3))


def test_the_format_keeps_the_laws():
    kit.check_render(module_of("robaudit-prometheus").render)


def test_the_reader_keeps_the_laws(document):
    reader = module_of("robaudit-json-inputs").JsonFile
    kit.check_reader(reader, document, {"x": ROWS})


def test_the_engine_keeps_the_laws():
    kit.check_engine(module_of("robaudit-one-by-one").run)


def config_of(model, data, **options):
    return ScanConfig(
        model=ModelConfig(model, family="rayleigh"),
        data=data,
        divergences=("kl", "quantile", "mean_gap"),
        attacks=(AttackConfig("sparse", "sparse", {"size": "0.01"}),),
        engine="one_by_one",
        **options,
    )


def test_a_scan_uses_all_of_them(model, document):
    report = scan(config_of(model, document))
    assert report.model.family == "rayleigh"
    assert report.data.n_audited == len(ROWS)
    divergence = report.divergences["mean_gap"]
    assert (divergence.unit, divergence.estimator) == ("θ²", "closed_form")
    # E θ = σ √(π/2) and the quantile distance is 2 (σ − σ')²: one is π/4 of the other
    columns = report.inputs.columns
    gap, quantile = (np.array(columns[n]["trace"]) for n in ("mean_gap", "quantile"))
    np.testing.assert_allclose(gap, np.pi / 4 * quantile, rtol=1e-6)
    for name in ("kl", "quantile", "mean_gap"):
        summary = report.divergences[name].summary
        ratio = summary["sparse_realised"].mean / summary["sparse"].mean
        assert ratio == pytest.approx(1, abs=0.05)
        assert summary["critical_radius"].mean > 0


def test_names_match_plugged_families_as_they_do_built_in_ones(model, document):
    config = config_of(model, document)
    unnamed = ModelConfig(model)
    with pytest.raises(ConfigError, match=r"could be those of .*rayleigh"):
        scan(ScanConfig(model=unnamed, data=config.data, divergences=("kl",)))


def test_every_format_shows_a_scan_by_plug_ins(model, document):
    report = scan(config_of(model, document))
    for name in FORMATS:
        text = rendered(name, report)
        assert "mean_gap" in text.replace("\\", "") or name in ("junit", "sarif")
    assert 'robaudit_trace{divergence="mean_gap",statistic="mean"}' in rendered(
        "prom", report
    )


def test_a_law_without_means_is_refused_by_the_divergence(tmp_path):
    from audit.families import build_family

    law = build_family("quantile", {"quantiles": (3,)}, levels=(0.1, 0.5, 0.9))
    phi = torch.tensor([[0.0, 1.0, 2.0]]).double()
    with pytest.raises(NoTransport, match="The mean of quantile is not known"):
        build_divergence("mean_gap").require(law, phi)


@pytest.mark.parametrize("package", installed.PACKAGES)
def test_a_plug_in_is_explained(package):
    ((kind, places),) = installed.entry_points(package).items()
    (name,) = places
    ((title, text),) = glossary.explain(name)
    noun = glossary.names()[name]
    assert title == f"{name} ({noun})"
    assert f"From the package {package}." in text
    assert plugged(kind)[name].package == package
    assert f"{name} " in glossary.render(None)


def test_the_formula_and_the_reading_of_a_plug_in_are_shown():
    text = glossary.render("mean_gap.sparse.p95")
    assert "‖E_q θ − E_q' θ‖² ≈ δᵀ Jᵀ J δ" in text
    assert "in θ²" in text
    assert "c size² tr G / d" in text
    assert "single broken sensor" in text


@pytest.mark.slow  # in process: test_a_scan_uses_all_of_them
def test_the_command_line_knows_them(plugins, model, document, tmp_path):
    words = [
        *("scan", model, document, "--family", "rayleigh", "-d", "mean_gap"),
        *("-a", "sparse:size=0.01", "--engine", "one_by_one", "--workers", "2"),
        *(
            "--verify",
            "2",
            "-o",
            "report.prom",
            "-o",
            "report.json",
            "--max",
            "mean_gap.sparse.p95=9",
        ),
    ]
    done = run_audit(words, plugins, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mean_gap" in done.stdout
    assert "robaudit_sparse{" in (tmp_path / "report.prom").read_text()
    done = run_audit(["explain"], plugins, tmp_path)
    assert all(name in done.stdout for name in ("mean_gap", "rayleigh", ".json"))


def run_audit(words, paths, folder, python=sys.executable):
    root = str(installed.HERE.parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*paths, root])}
    return subprocess.run(
        [python, "-m", "audit", *words],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        check=False,
    )


@pytest.mark.slow
def test_they_work_in_a_fresh_environment(model, document, tmp_path):
    """Installed by pip, each for itself; torch and the rest are those of this one."""
    import sysconfig
    import venv

    fresh = tmp_path / "fresh"
    venv.create(fresh, with_pip=False)
    python = str(fresh / "bin" / "python")
    site = next((fresh / "lib").glob("python*")) / "site-packages"
    (site / "ours.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    sources = [str(installed.HERE / package) for package in installed.PACKAGES]
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", *sources], check=True, cwd=tmp_path
    )
    words = ["scan", model, document, "--family", "rayleigh", "-d", "mean_gap"]
    words += ["-a", "sparse:size=0.01", "--engine", "one_by_one", "-f", "prom"]
    done = run_audit(words, [], tmp_path, python)
    assert done.returncode == 0, done.stderr
    assert "robaudit_sparse{" in done.stdout
    done = run_audit(["explain", "rayleigh"], [], tmp_path, python)
    assert "From the package robaudit-rayleigh." in done.stdout


def drawn_kl():
    """KL, with its metric tensor from draws that the divergence makes itself."""
    from audit.families.draws import sampled_fisher_root
    from audit.geometry.divergences import kl

    made = kl()
    return replace(made, tensor=Tensors.OTHER, root=sampled_fisher_root)


def test_a_tensor_of_its_own_may_come_from_draws(monkeypatch, model, document):
    places = DIVERGENCES._places | {"drawn_kl": f"{__name__}:drawn_kl"}
    monkeypatch.setattr(DIVERGENCES, "_places", places)
    config = replace(
        config_of(model, document, draws_per_input=2048), divergences=("kl", "drawn_kl")
    )
    report = scan(config)
    drawn = report.divergences["drawn_kl"]
    assert (drawn.estimator, drawn.draws) == ("monte_carlo", 2048)
    exact, found, error = (
        np.array(report.inputs.columns[name][quantity])
        for name, quantity in (
            ("kl", "trace"),
            ("drawn_kl", "trace"),
            ("drawn_kl", "trace_se"),
        )
    )
    assert (error > 0).all()
    assert (np.abs(found - exact) < 5 * error).all()
    assert drawn.summary["sparse_ratio"].mean == pytest.approx(1, abs=0.1)


def test_memory_is_kept_for_the_rows_of_a_root_from_draws():
    law = module_of("robaudit-rayleigh").Rayleigh({"scale": (2,)})
    phi = torch.tensor(SCALES["scale"]).double()
    assert drawn_kl().kept_rows(law, phi, 2048) == 2048
    assert build_divergence("mean_gap").kept_rows(law, phi, 2048) == 0


def test_outputs_named_like_a_plugged_parameter_are_taken_for_it(model):
    assert names.theirs() == {"scale": "scale"}
    assert names.said_by("head/Tilt:0", {"tilt": "Tilt"}) == ("Tilt", "")
    assert names.said_by("log_std", {"log_std": "log_std"}) == ("scale", "exp")
    assert "rayleigh" in names.families_with({"scale"})
    assert names.parameters_by_name("rayleigh", ["scale"]) == {"scale": "scale"}
    assert names.parameters_by_name("pareto", ["head/Alpha"]) == {
        "alpha": '"head/Alpha"'
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("inspect", "MODEL", "DATA", "--family", "rayleigh"), "rayleigh"),
        (("check", "report.json", "--max", "mean_gap.sparse.p95=9"), "mean_gap.sparse"),
        (("diff", "report.json", "report.json"), "mean_gap"),
        (("show", "report.json", "--index", "2"), "mean_gap"),
        (("render", "report.json", "-f", "prom"), "robaudit_sparse{"),
        (("explain", "mean_gap.sparse.p95"), "single broken sensor"),
        (("init", "--from", "report.json"), "Wrote robaudit.yaml"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_every_command_knows_them(plugins, model, document, tmp_path, words, said):
    report = scan(config_of(model, document))
    (tmp_path / "report.json").write_text(to_json(report))
    given = {"MODEL": model, "DATA": document}
    done = run_audit([given.get(w, w) for w in words], plugins, tmp_path)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout

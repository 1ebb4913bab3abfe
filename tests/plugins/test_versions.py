"""A run goes on with the packages that it began with."""

import shutil
from dataclasses import replace

import pytest

from audit.config import AttackConfig, ModelConfig, ScanConfig
from audit.ground import plugins
from audit.ground.errors import ConfigError
from audit.run.identity import packages
from audit.run.scan import scan


def config_of(model, document, folder):
    return ScanConfig(
        model=ModelConfig(model, family="rayleigh"),
        data=document,
        divergences=("mean_gap",),
        attacks=(AttackConfig("sparse", "sparse", {"size": "0.01"}),),
        run_dir=str(folder),
        verify=0,
    )


def test_the_packages_of_a_scan_are_those_that_compute(model, document):
    config = config_of(model, document, "runs")
    theirs = {"rayleigh", "mean-gap", "sparse", "json-inputs"}
    expected = {f"robaudit-{name}": "1.0" for name in theirs}
    assert packages(config, "rayleigh") == expected
    assert packages(config, "hurdle:rayleigh") == expected
    del expected["robaudit-rayleigh"]
    assert packages(config, "normal,rayleigh_like") == expected
    plain = ScanConfig(model=ModelConfig("m.onnx"), data="d.npz")
    assert packages(plain, "normal") == packages(plain, None) == {}


@pytest.mark.parametrize("package", ["rayleigh", "mean_gap", "sparse", "json_inputs"])
def test_a_run_does_not_go_on_with_another_version(
    plugins, model, document, tmp_path, monkeypatch, package
):
    config = config_of(model, document, tmp_path / "run")
    scan(config)
    scan(replace(config, resume=True))  # the same version: all is there
    newer = tmp_path / "newer"
    name = f"robaudit_{package}-1.0.dist-info"
    shutil.copytree(f"{plugins[0]}/{name}", newer / name.replace("1.0", "1.1"))
    metadata = newer / name.replace("1.0", "1.1") / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.0", "1.1"))
    monkeypatch.syspath_prepend(str(newer))
    words = f"made with robaudit-{package.replace('_', '-')} 1.0, this is 1.1"
    with pytest.raises(ConfigError, match=words):
        scan(replace(config, resume=True))


class _Nameless:
    """What the backport of importlib.metadata says of metadata without a version."""

    name = "strange"

    @property
    def version(self):
        raise KeyError("Metadata field Version not present")


def test_a_package_without_a_version_has_none():
    assert plugins._version(_Nameless()) == ""

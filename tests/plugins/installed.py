"""The packages of this folder, as if they were installed."""

import tomllib
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = sorted(path.parent.name for path in HERE.glob("*/pyproject.toml"))


def entry_points(package):
    """Return kind -> {name: place} as the package's pyproject.toml says."""
    project = tomllib.loads((HERE / package / "pyproject.toml").read_text())["project"]
    return {k.removeprefix("robaudit."): v for k, v in project["entry-points"].items()}


def write_metadata(folder, package, points):
    """Write what an installer leaves of a package: its name and its entry points."""
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    words = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
    (info / "METADATA").write_text(words)
    lines = []
    for kind, places in points.items():
        lines += [f"[robaudit.{kind}]", *(f"{n} = {p}" for n, p in places.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def paths(folder, packages=PACKAGES):
    """Return what to put on the path to have some packages installed in a folder."""
    for package in packages:
        write_metadata(folder, package, entry_points(package))
    return [str(folder), *(str(HERE / package) for package in packages)]

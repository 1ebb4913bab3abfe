"""The bytes of every sample model's report, in every format, as hashes.

`python -m tests.golden.hashes` compares them with `hashes.json`; `--write` freezes
them. A refactoring holds them; a change of bytes is a commit of its own that says why.

What may change from run to run (`run`) is set to that of the first report. Sums of
floats depend on the processor and on torch, so hashes hold on the machine class that
is kept beside them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from audit.config import ModelConfig, ScanConfig
from audit.formats import FORMATS
from audit.reports.report import Report
from audit.reports.rows import RowsWriter
from audit.run.scan import scan

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("hashes.json")
DATA = {
    "heteroscedastic_jacobian": "heteroscedastic",
    "heteroscedastic_fisher": "heteroscedastic",
    "heteroscedastic_legacy": "heteroscedastic",
    "posterior_forward_kl": "posterior",
    "posterior_reverse_kl": "posterior",
    "sunspots_gru": "sunspots",
    "sunspots_gru_batch1": "sunspots",
    "sunspots_quantiles": "sunspots",
    "decoder_batch8": "decoder",
}
SLOW = {"mixture", "linear_posterior", "zuko_nsf", "two_moons", "choice_likelihood"}
VARIANTS = {"": {}, "batch 3": {"batch_size": 3}, "2 workers": {"workers": 2}}


def machine() -> str:
    """Return what floating point sums depend on."""
    kind = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}, {platform.machine()} {kind}, {_processor()}"


def _processor() -> str:
    """Name the processor by its numbers too: virtual ones may all be called alike."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    pairs = (line.partition(":") for line in lines)
    found = {key.strip(): value.strip() for key, _, value in reversed(list(pairs))}
    told = ("model name", "cpu family", "model", "stepping")
    return " ".join(found[key] for key in told if key in found)


def models() -> list[Path]:
    """Return every saved sample model, relative to the root."""
    folder = ROOT / "sample_models"
    found = [p for p in folder.iterdir() if p.suffix in (".onnx", ".pt", ".pt2")]
    return sorted(path.relative_to(ROOT) for path in found)


def settings(model: Path, **variant: object) -> ScanConfig:
    """Return a scan of a few inputs with the default questions."""
    slow = model.stem in SLOW
    return ScanConfig(
        model=ModelConfig(str(model)),
        data=str(model.with_name(f"{DATA.get(model.stem, model.stem)}.npz")),
        limit=4 if slow else 10,
        verify=2 if slow else 6,
        **variant,
    )


def hashes(model: Path) -> Iterator[tuple[str, str]]:
    """Yield "model format variant" -> hash of each report of a model."""
    for variant, options in VARIANTS.items():
        if variant and model.suffix != ".onnx":
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows = Path(folder) / "rows.npz"
            with RowsWriter(str(rows)) as writer:
                report = scan(settings(model, **options), rows=writer)
            yield " ".join((str(model), "rows", variant)).strip(), _hash(rows)
        report = still(report)
        for name in FORMATS:
            text = FORMATS[name](report).encode()
            yield " ".join((str(model), name, variant)).strip(), _sha(text)


def still(report: Report) -> Report:
    """Return a report without what changes from run to run, or from plan to plan."""
    plain = report.model_dump()
    run = {key: type(value)() for key, value in plain["run"].items() if key != "plan"}
    return Report.model_validate(plain | {"run": run | {"batch_size": None}})


def _hash(path: Path) -> str:
    return _sha(path.read_bytes())


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def differences(frozen: dict[str, str], only: str = "") -> Iterator[str]:
    """Yield what is not as it was frozen, of the models that `only` names in part."""
    for model in (m for m in models() if only == str(m) or only in m.stem):
        found = dict(hashes(model))
        known = {k: v for k, v in frozen.items() if k.split(" ")[0] == str(model)}
        yield from sorted(k for k in {*found, *known} if found.get(k) != known.get(k))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    os.chdir(ROOT)
    if options.write:
        found = {k: v for model in models() for k, v in hashes(model)}
        kept = {"machine": machine(), "hashes": found}
        FILE.write_text(json.dumps(kept, indent=0, sort_keys=True) + "\n")
        return
    changed = list(differences(json.loads(FILE.read_text())["hashes"], options.only))
    print("\n".join(changed) or "all as they were")
    sys.exit(bool(changed))


if __name__ == "__main__":
    main()

"""One small scan, written by hand: six inputs of four features, two divergences.

So few inputs have no interval of a mean. `report_of` gives them Student's, so that what
is done with one can be seen.
"""

import math
from dataclasses import replace
from unittest.mock import patch

import numpy as np

from audit.config import ModelConfig, ScanConfig, Threshold
from audit.ground.student import student_quantile
from audit.reports.audited import Derivative, Model, Tensor
from audit.reports.build import build_report
from audit.reports.found import File, Verification
from audit.reports.listing import UNCHECKED
from audit.reports.means import mean_interval
from audit.reports.measured import (
    Checks,
    DataRecord,
    DivergenceInfo,
    Means,
    Measured,
    Worst,
)
from audit.reports.quantities import FEWEST_VALUES
from audit.reports.sampling import Sample
from audit.reports.values import Values


def limit(key, op, value, level="error"):
    return Threshold(key, op, value, source=f"--{key}", level=level)


CONFIG = ScanConfig(
    model=ModelConfig(path="models/[old]/net.onnx", family="normal"),
    data="data.npz",
    divergences=("kl", "quantile"),
    origins={"family": "command line", "model": "command line"},
)
EIGENVALUES = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 40.0])
LIMITS = (
    limit("kl.gaussian.p95", "<=", 0.05),
    limit("kl.radius.min", ">=", 0.1),
    limit("quantile.trace.mean", "<=", 2.5, level="warn"),
)


def report_of(eigenvalues, *limits, **options):
    """Build the judged report of a scan with these KL eigenvalues."""
    config = replace(CONFIG, thresholds=limits, **{"max_skipped": 1, **options})
    with patch("audit.reports.statistics.mean_interval", by_student):
        return build_report(measured_of(eigenvalues), config)


def by_student(values):
    """Return mean ± t s/√n of a few positive values, ours of more; None with ∞."""
    if len(values) >= FEWEST_VALUES:
        return mean_interval(values)
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    half = (
        student_quantile(len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    )
    return max(float(values.mean() - half), 0.0), float(values.mean() + half)


def values_of(columns):
    """Return numbers with nothing to explain as values."""
    return {name: Values.of(numbers) for name, numbers in columns.items()}


def measured_of(kl_eigenvalue):
    """Build a scan whose KL eigenvalues are given; all else follows from them."""
    n = len(kl_eigenvalue)
    directions = np.eye(4)[:2]
    kl = {
        "trace": 1.5 * kl_eigenvalue,
        "eigenvalue": kl_eigenvalue,
        "gap": np.full(n, 0.5),
        "radius": np.sqrt(2 / kl_eigenvalue),
        "effective_rank": np.full(n, 1.8),
        "rank": np.full(n, 2.0),
        "gaussian": 0.005 * 1.5 * kl_eigenvalue,
        "uniform_norm": 0.01 * kl_eigenvalue / 6,
        "model_norm": np.full(n, 2.0),
        "map_norm": kl_eigenvalue,
        "jacobian_norm": 1.2 * kl_eigenvalue,
        "von_neumann": 1.6 * kl_eigenvalue,
        "alignment": np.full(n, 1.5 / 1.6),
        "angle": np.linspace(10, 80, n),
        "attained": np.linspace(0.9, 0.2, n),
    }
    quantile = {
        "trace": 0.3 * kl_eigenvalue,
        "eigenvalue": 0.2 * kl_eigenvalue,
        "radius": np.sqrt(5 / kl_eigenvalue),
        "gaussian": 0.003 * kl_eigenvalue,
    }
    top = np.argsort(-kl_eigenvalue, kind="stable")[:3]
    columns = {"kl": values_of(kl), "quantile": values_of(quantile)}
    places = np.arange(1, n, max(2, n // 64))
    for quantity, exact in (
        ("gaussian_realised", 0.008 * kl_eigenvalue),
        ("critical_radius", np.sqrt(1.9 / kl_eigenvalue)),
    ):
        unchecked = Values.unmeasured(n, UNCHECKED)
        columns["kl"][quantity] = unchecked.placed(places, Values.of(exact[places]))
    return Measured(
        index=np.arange(n) + 1,
        columns=columns,
        divergences={
            "kl": DivergenceInfo(0.5, "nat"),
            "quantile": DivergenceInfo(1.0, "θ²", notes=["transport: location-scale"]),
        },
        worst=[
            Worst(
                int(row + 1),
                {"kl": directions, "quantile": directions},
                {"kl": kl_eigenvalue[row] * np.array([1.0, 0.5])},
            )
            for row in top
        ],
        checks=Checks(
            Sample(places, np.full(len(places), n / max(1, len(places))), 0 * places),
            {"kl": frozenset({"gaussian_realised", "critical_radius"})},
            {
                "kl": {
                    "radius": Verification(3, 0, 0.97, 0.975, 0.98, 0, 0.975),
                    "gaussian": Verification(3, 1, 0.98, 1.066, 1.2, 0, 1.06),
                    "uniform_norm": Verification(3, 0, 0.99, 1.0, 1.01, 0, 1.0),
                },
                "quantile": {
                    "gaussian": Verification(3, 0, 1.0, 1.0, 1.0, 0, 1.0),
                },
            },
        ),
        skipped=[(0, "input 'x' holds nan at [2]")],
        warnings=[("parted", "1 of 3 checked inputs part by more than 10 %")],
        model=Model(
            format="onnx",
            files=[File("models/[old]/net.onnx", 918, "ab" * 32)],
            weights_sha256="cd" * 32,
            contract="parameters",
            family="normal",
            parameters={"loc": "mean", "scale": "exp(log_std)"},
            inputs=[Tensor(name="x", dtype="float32", shape=[None, 4])],
            outputs=[Tensor(name="mean", dtype="float32", shape=[None, 2])],
            derivative=Derivative(method="reverse mode", forward_error=1.2e-7),
            origins={"family": "command line"},
        ),
        data=DataRecord("data.npz", "ef" * 32, n + 1, (4,)),
        run={"seconds": 0.1, "started": "2026-11-22T15:00:00Z"},
        features={"kl": Means(n, np.array([0.9, 0.3, 0.05, 0.0]) if n else None, None)},
        spectra={"kl": kl_eigenvalue[:, None] * np.array([1.0, 0.5, 0.1])},
    )

"""From a trained estimator to a file that a scan needs no flags for.

    from audit.export import export_posterior
    export_posterior(flow, "posterior.onnx", x=simulated[:100])

Flows and mixtures of zuko, flows of nflows and what sbi trains are taken apart without
being required: none of the three is imported unless the estimator comes from it. Where
to find things: `estimators`, `densities`, `mixtures` and `splines` know the libraries,
`writing` the formats, `checking` reads a file back.
"""

from __future__ import annotations

from audit.export.posterior import export_posterior
from audit.export.sampler import export_sampler

__all__ = ["export_posterior", "export_sampler"]

"""How often 95 % intervals hold the truth, over repetitions of laws in closed form.

Run: python -m tests.benchmarks.bench_coverage [--repetitions 1000]

Prints, with the bound that each must reach,

    realised   E[KL] of a normal law with a log-linear scale under white noise, by as
               many pairs of perturbations as the audit takes (at least 93 %)
    pooled     realised over predicted, pooled over 64 inputs: how often it is flagged
               where predictions are 2 times off (always), where the form is exact
               (never), and where the true pooled ratio is one (at most 5 %)
    sampled    the trace's interval (at least 92 %) and the bracket of λ_max (at least
               95 %) of flows and a sampler, at few draws

and exits with 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import sys

import torch

from audit.linalg.intervals.means import Interval
from audit.linalg.intervals.pooled import pooled_ratio
from audit.linalg.sampled import decompose_sampled
from tests.linalg.intervals.laws import SAMPLED, Law, LogLinear, held

REALISED, TRACE, BRACKET, ALARMS = 0.93, 0.92, 0.95, 0.05
SIZES, SIGMAS = (3, 10, 20, 35, 50), (0.05, 0.2)
DIMENSIONS = (2, 10, 50)
DRAWS = ((20, "random"), (64, "random"), (256, "random"), (256, "sobol"))
INPUTS, TOLERANCE = 64, 0.1


def realised(repetitions: int) -> bool:
    good = True
    print("realised: d, sigma, true ratio; covered, truth above, below; pairs, width")
    for d in SIZES:
        for sigma in SIGMAS:
            law = LogLinear(d, sigma, repetitions)
            found = law.realised()
            interval, truth = found.interval, law.truth
            share = held((interval.lower, interval.upper), truth)
            above, below = (
                float(side.double().mean())
                for side in (interval.upper < truth, interval.lower > truth)
            )
            width = float(((interval.upper - interval.lower) / 2 / truth).median())
            ratio = float((truth / law.predicted).median())
            print(
                f"  {d:3} {sigma:4} {ratio:6.3f}   {share:.3f} {above:.3f} {below:.3f}"
                f"   {float(found.pairs.double().mean()):5.0f} ±{width:.1%}"
            )
            good &= share >= REALISED
    return good


def flagged(found: Interval, against: torch.Tensor) -> tuple[float, float]:
    """Return how often groups of inputs are called apart, and miss one."""
    parts = [
        part.reshape(-1, INPUTS).numpy()
        for part in (found.value, against, found.standard_error)
    ]
    pools = [pooled_ratio(*group) for group in zip(*parts, strict=True)]
    apart = [pool.apart(TOLERANCE) for pool in pools]
    misses = [not pool.lower <= 1 <= pool.upper for pool in pools]
    return sum(apart) / len(pools), sum(misses) / len(pools)


def pooled(repetitions: int) -> bool:
    print(f"pooled over {INPUTS} inputs: called apart, one not in the interval")
    law = LogLinear(50, 0.2, INPUTS * repetitions)
    found = law.realised().interval
    straight = LogLinear(50, 0.2, INPUTS * repetitions, bent=False)
    twice, ones, exact = (
        flagged(found, law.predicted),
        flagged(found, law.truth),
        flagged(straight.realised().interval, straight.predicted),
    )
    print("  predictions 2 times off    {:.3f} {:.3f}".format(*twice))
    print("  the true ratio is one      {:.3f} {:.3f}".format(*ones))
    print("  the form is exact          {:.3f} {:.3f}".format(*exact))
    return twice[0] == 1 and ones[0] <= ALARMS and exact[0] == 0


def sampled(repetitions: int) -> bool:
    good = True
    print(
        "sampled: law, divergence, d, draws; trace: covered, above; bracket: the same"
    )
    for kind, divergence in SAMPLED:
        for d in DIMENSIONS:
            law = Law(kind, d)
            tensor = law.tensor(divergence)
            trace, largest = tensor.trace(), torch.linalg.eigvalsh(tensor)[-1]
            for draws, sampling in DRAWS:
                root = law.root(divergence, draws, sampling, repetitions)
                found = decompose_sampled(root, None, 1)
                assert found.trace.interval is not None
                assert found.top.interval is not None
                shares = []
                for interval, truth in (
                    (found.trace.interval, trace),
                    (found.top.interval, largest),
                ):
                    above = float((interval[1] < truth).double().mean())
                    shares += [held(interval, truth), above]
                print(
                    f"  {kind:10} {divergence:8} {d:2} {draws:3} {sampling:6}"
                    "   {:.3f} {:.3f}   {:.3f} {:.3f}".format(*shares)
                )
                good &= shares[0] >= TRACE and shares[2] >= BRACKET
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=1000)
    repetitions = parser.parse_args().repetitions
    torch.set_num_threads(1)
    good = [realised(repetitions), pooled(repetitions // 5), sampled(repetitions)]
    sys.exit(not all(good))


if __name__ == "__main__":
    main()

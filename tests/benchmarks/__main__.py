"""W1 to W6 from saved files beside what a user would run instead, in one run.

    python -m tests.benchmarks [--only W1,W5] [--rounds 7] [--few]

Every workload's methods run in turn, round by round in shuffled order, on one
processor; times are CPU time, ratios are medians of ratios within a round. The table is
printed, and written with date and machine into RESULTS.md beside this file; with --few,
which takes a few inputs to see that all of it works, it is only printed. JAX and scipy
take part where they are installed.
"""

from __future__ import annotations

from tests.benchmarks.machine import load, one_processor, peak, versions

one_processor()  # before torch

import argparse  # noqa: E402
import random  # noqa: E402
import statistics  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from importlib.util import find_spec  # noqa: E402
from pathlib import Path  # noqa: E402

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from audit.measure.preparation import Prepared, prepare  # noqa: E402
from tests.benchmarks import peers, peers_jax, product  # noqa: E402
from tests.benchmarks.nets import NETS, Net, saved  # noqa: E402
from tests.golden.hashes import machine  # noqa: E402

FILE = Path(__file__).with_name("RESULTS.md")
OURS, WHOLE = "robaudit", "robaudit, all columns"
JAX, STEPS = "JAX + Gram", "JAX, Lanczos"
BUSY = 0.7  # processes beside ours; more, and no number is to be quoted
HEAD = (
    "| workload | method | inputs | CPU ms an input | robaudit ÷ it | GFLOP/s "
    "| of the peak | first call, s | λ₁ off |\n|---|---|---|---|---|---|---|---|---|"
)


@dataclass
class Method:
    """One way to answer a workload's question.

    Args:
        run: on the first n inputs. n: how many it is given.
    """

    name: str
    run: Callable[[int], Tensor]
    n: int
    seconds: list[float] = field(default_factory=list)
    """Of CPU, for an input, round by round; the first call is not among them."""
    first: float = 0.0
    values: Tensor = field(default_factory=lambda: torch.zeros(0))

    def call(self) -> float:
        """Run once; return the CPU seconds for an input."""
        began = time.process_time()
        self.values = self.run(self.n).double()
        return (time.process_time() - began) / self.n


def methods(net: Net, prepared: Prepared, model: object, x: Tensor) -> list[Method]:
    """Return ours and the peers' that are installed."""
    n = len(x)
    found = [
        Method(OURS, lambda _: product.bare(prepared), n),
        Method(WHOLE, lambda _: product.whole(prepared), n),
    ]
    if find_spec("jax"):
        name = STEPS if net.kind == "categorical" else JAX
        found.append(Method(name, peers_jax.gram(net, model, x), n))
    for name, (build, most) in peers.PEERS[net.name].items():
        if "scipy" not in name or find_spec("scipy"):
            found.append(Method(name, build(net, model, x), min(n, most)))
    return found


def compared(net: Net, n: int, rounds: int, folder: Path) -> list[Method]:
    """Run a workload's methods in turn."""
    model, x = net.made(n)
    prepared = prepare(saved(net, model, x, folder), True)
    found = methods(net, prepared, model, x)
    order = random.Random(net.name)
    for method in found:
        began = time.perf_counter()
        method.call()
        method.first = time.perf_counter() - began
    for _ in range(rounds):
        for method in order.sample(found, len(found)):
            method.seconds.append(method.call())
    return found


def reference(net: Net, found: list[Method]) -> Tensor | None:
    """Return the top eigenvalues of a few inputs, computed by torch in double.

    Of sampled forms, whose draws differ, there is none: their means are compared.
    """
    if net.draws:
        return None
    few = 1 if net.kind == "categorical" else 2
    model, x = net.made(found[0].n)
    build = {
        "categorical": peers.lanczos,
        "normal": peers.summed if net.name == "W5" else peers.mapped,
    }[net.kind]
    return build(net, model.double(), x[:few].double())(few)[:, 0]


def off(net: Net, method: Method, exact: Tensor | None, ours: Tensor) -> str:
    """Return how far a method's top eigenvalues are from the exact ones, relative."""
    if exact is not None:
        few = min(len(exact), len(method.values))
        apart = (method.values[:few, 0] / exact[:few] - 1).abs().max()
        return f"{apart:.0e}"
    few = min(len(ours), len(method.values))
    means = (one[:few].sum(dim=1).mean() for one in (method.values, ours))
    theirs, own = means
    return f"mean {theirs / own - 1:+.1%}"


def rows(net: Net, found: list[Method], best: float) -> list[str]:
    """Return the lines of a workload's table."""
    exact, ours = reference(net, found), found[0]
    lines = []
    for method in found:
        seconds = statistics.median(method.seconds)
        pairs = zip(ours.seconds, method.seconds, strict=True)
        ratio = statistics.median(own / theirs for own, theirs in pairs)
        speed = net.mflop / seconds / 1e3
        cells = (
            *(net.name, method.name, str(method.n), f"{1e3 * seconds:.4g}"),
            *(f"{ratio:.2f}", f"{speed:.1f}", f"{speed / best:.0%}"),
            *(f"{method.first:.1f}", off(net, method, exact, ours.values)),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def heading(best: float, rounds: int, before: float) -> str:
    """Return what a table is of: when, where, and how busy it was there."""
    packages = versions("torch", "onnxruntime", "jax", "scipy", "zuko", "numpy")
    busy = (
        f"\n\n**The machine was busy (load {before:.1f} before): do not quote these.**"
        if before > BUSY
        else ""
    )
    return (
        f"# Benchmarks\n\n`python -m tests.benchmarks`, {time.strftime('%Y-%m-%d')}: "
        f"{machine()}; {packages}. One processor, {rounds} rounds; a product of "
        f"matrices reaches {best:.0f} GFLOP/s (the peak). GFLOP/s are those of the "
        f"least arithmetic that answers the question.{busy}\n"
    )


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(NETS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--few", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    before, best = load(), peak()
    lines = [heading(best, options.rounds, before), HEAD]
    print("\n".join(lines), flush=True)
    for name in options.only.split(","):
        net = NETS[name.strip()]
        with tempfile.TemporaryDirectory() as folder:
            n = net.few if options.few else net.n
            found = compared(net, n, options.rounds, Path(folder))
        more = rows(net, found, best)
        print("\n".join(more), flush=True)
        lines += more
    if not options.few:
        FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

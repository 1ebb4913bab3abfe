"""The command that holds witnesses against their model once more: `replay`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from audit.cli.flags import argument, option
from audit.ground import streams
from audit.ground.printable import printable

if TYPE_CHECKING:
    from audit.run.replay import Replay

VERDICT = 1


def replay(
    witness: Annotated[str, argument(metavar="WITNESS")],
    model: Annotated[str, argument(metavar="MODEL")],
    trust_model: Annotated[
        bool, option("--trust-model", help="Open a file that can run code of its own.")
    ] = False,
    device: Annotated[
        str, typer.Option("--device", metavar="DEVICE", help="Where the model runs.")
    ] = "cpu",
) -> None:
    """Compute the witnesses of a scan once more, by another run of the model.

    WITNESS is the file that `scan --witness FILE` wrote. An ONNX model is run by
    onnxruntime, others are loaded afresh. Exits 1 if a witness does not hold.
    """
    streams.divert()
    from audit.cli.terminal import emit
    from audit.run.replay import replay_file

    found = replay_file(witness, model, trust_model, device)
    emit(printable(said(found), lines=True))
    raise typer.Exit(0 if found.holds else VERDICT)


def said(found: Replay) -> str:
    """Return a line for each divergence, norm and size, and one about all."""
    lines = [
        f"{group.divergence}, {_norm(group.p)} {group.size:g}: "
        f"{group.count - group.failed} of {group.count} hold{_blurred(group.blurred)}, "
        f"worst relative deviation {group.worst:.1e}"
        + "".join(f"\n    {why}" for why in group.wrong)
        for group in found.groups
    ]
    total = sum(group.count for group in found.groups)
    failed = sum(group.failed for group in found.groups)
    verdict = "all hold" if not failed else f"{failed} do not hold"
    lines.append(
        f"{total} witnesses by {found.referee}: {verdict} (to 1e-05 of D, and what the "
        "last digits of the predictions can do to it)"
    )
    return "\n".join(lines)


def _blurred(count: int) -> str:
    return f" ({count} only to the last digits of the predictions)" if count else ""


def _norm(p: float) -> str:
    return "norm" if p == 2 else f"norm p={'inf' if math.isinf(p) else f'{p:g}'}"


COMMANDS = (replay,)

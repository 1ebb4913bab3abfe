"""Ensembles: an axis of the outputs that counts members, `--members AXIS`.

M networks, or heads, or passes, come out as one output [N, M, …] or [M, N, …]. What
they say together is the mixture of equal weights of what each says,

    q(θ|x) = (1/M) Σ_m q(θ; φ_m(x)),

the same law as that over masks (`masks`), which puts it together. With `--members 0`
the rows are on axis 1, unless `--batch-axis` says another.

Source: Lakshminarayanan, Pritzel & Blundell, NeurIPS (2017), section 2.4.
"""

from __future__ import annotations

from audit.ground.errors import ConfigError
from audit.models.contract import Head, Settings
from audit.models.network import Values


def rows_axis(settings: Settings) -> int | None:
    """Return the axis of the rows in the outputs; None where nothing says it.

    Raises:
        ConfigError: the axis of the members is that of the rows.
    """
    rows, members = settings.model.batch_axis, settings.model.members
    if members is None:
        return rows
    found = rows if rows is not None else int(members == 0)
    if found == members:
        raise ConfigError(
            f"--members {members} was given, and the rows are on that axis",
            "Expected another axis: a member is no row",
            "Correct --members or --batch-axis; robaudit inspect shows the shapes",
        )
    return found


def members_axis(settings: Settings) -> int | None:
    """Return the axis of the members once the rows are first; None for no ensemble."""
    members = settings.model.members
    if members is None:
        return None
    rows = rows_axis(settings) or 0
    return members + 1 if members < rows else members


def count_members(settings: Settings, head: Head, outputs: Values) -> int:
    """Return how many members the outputs that the head reads have.

    Args:
        settings: with `members`.
        head: as stated.
        outputs: of the file on some rows, rows first.

    Raises:
        ConfigError: an output has no such axis, or they differ.
    """
    axis = members_axis(settings)
    assert axis is not None
    read = read_by(head, outputs)
    sizes = {
        name: value.shape[axis] if value.dim() > axis else 0
        for name, value in read.items()
    }
    if len(set(sizes.values())) == 1 and min(sizes.values()) > 0:
        return int(min(sizes.values()))
    shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in read.items())
    raise ConfigError(
        f"--members {settings.model.members} was given, and the outputs (rows first) "
        f"are {shapes}",
        "Expected every output that is read to have that axis, with the same members",
        "Correct --members; robaudit inspect shows the shapes",
    )


def read_by(head: Head, outputs: Values) -> Values:
    """Return the outputs that the head's expressions read."""
    names = {name for text in head.parameters.values() for name in text.names}
    read = names | {name.removeprefix("@") for name in names}
    return {name: value for name, value in outputs.items() if name in read}

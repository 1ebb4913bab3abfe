"""What a column is of its quantity: the value, an error, what was realised, a bound.

A column's name is its quantity's, `@` and a size where it is measured at several
(`witness@0.1`), and a suffix for each role: `weak_realised_se` is the error of what was
realised of the attack `weak`. Names are made (`named`) and read (`parsed`) here alone.
"""

from __future__ import annotations

from dataclasses import dataclass

AT = "@"
"""Between a quantity and the size that it is measured at."""
ATTACK = "attack"


@dataclass(frozen=True)
class Role:
    """What a column says of its quantity; {0} stands for the quantity's name.

    Args:
        suffix: of the column's name.
        unit: of the column; None: the quantity's own.
        formula, reading: as `robaudit explain` shows them.
        of: what has such a column: "attack", the name of a quantity; "" for any.
    """

    suffix: str
    unit: str | None
    formula: str
    reading: str
    of: str = ""


ERROR = Role(
    "_se",
    None,
    "Monte-Carlo standard error of {0}",
    "How far {0} may be off because it was sampled.",
)
LOWER = Role(
    "_lower",
    None,
    "lower end of the 95 % interval of {0}",
    "{0} is sampled; it lies above this, in 39 of 40 cases.",
)
UPPER = Role(
    "_upper",
    None,
    "upper end of the 95 % interval of {0}",
    "{0} is sampled; it lies below this, in 39 of 40 cases.",
)
REALISED = Role(
    "_realised",
    None,
    "{0} with the exact divergence in place of c δᵀ G δ",
    "What really happens at the attack's own size; {0} is the second-order "
    "prediction of it.",
    of=ATTACK,
)
RATIO = Role(
    "_ratio",
    "",
    "{0}_realised / {0}",
    "Near 1 the prediction holds at the attack's own size.",
    of=ATTACK,
)
PARTED = Role(
    "_parted",
    "",
    "1 where {0}_realised is surely more than 10 % from {0}, else 0",
    "The mean is the share of inputs whose prediction of {0} is not to be believed "
    "at the attack's own size.",
    of=ATTACK,
)
UNIVERSAL = Role(
    "_universal",
    None,
    "{0} with the exact divergence along ±v̄, v̄ the top eigenvector of mean G",
    "What one and the same perturbation costs, of {0}'s size, with the sign that is "
    "worse for all inputs together.",
    of=ATTACK,
)
ALONG = Role(
    "_along",
    None,
    "{0} along the worst direction v alone, on its worse side",
    "How far the worst direction alone takes: {0} is below it where witnesses of other "
    "directions were found nearer.",
    of="critical_radius",
)
CERTIFICATE = Role(
    "_certificate",
    None,
    "B ≥ the exact divergence anywhere in the ball of {0}",
    "No perturbation of the ball exceeds this: proven.",
    of=ATTACK,
)
ROLES = (ERROR, LOWER, UPPER, REALISED, RATIO, PARTED, UNIVERSAL, ALONG, CERTIFICATE)
_BOUND = "_bound"
"""Ends the names of quantities that bound another: rows of their own."""


def named(quantity: str, *roles: Role) -> str:
    """Return the name of a column: of `weak`, REALISED, ERROR `weak_realised_se`."""
    return quantity + "".join(role.suffix for role in roles)


def certificate_name(label: str) -> str:
    """Return the column of an attack's certificate: `certificate` of `certified`."""
    name = named(label, CERTIFICATE)
    return name.removeprefix("certified_") if label == "certified" else name


def at_size(quantity: str, size: float) -> str:
    """Return the name of a quantity at one of several sizes: `witness@0.1`."""
    return f"{quantity}{AT}{size:g}"


def sized(name: str) -> tuple[str, float] | None:
    """Return the quantity and the size of a name that holds one."""
    quantity, at, text = name.partition(AT)
    try:
        return (quantity, float(text)) if at else None
    except ValueError:
        return None


def parsed(name: str) -> tuple[str, tuple[Role, ...]]:
    """Return a column's quantity and its roles, the outer one last."""
    for role in ROLES:
        if name.endswith(role.suffix):
            quantity, roles = parsed(name.removesuffix(role.suffix))
            return quantity, (*roles, role)
    return name, ()


def base_name(name: str) -> str:
    """Return a column's quantity: `weak` of `weak_realised_se`."""
    return parsed(name)[0]


def is_detail(name: str) -> bool:
    """Tell whether a column says something of another, and is shown on request."""
    return bool(parsed(name)[1]) or AT in name or name.endswith(_BOUND)

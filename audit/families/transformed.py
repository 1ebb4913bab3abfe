"""A law of a coordinate of θ: shifted and stretched, of its log, of its logit.

Networks predict in coordinates of their own. A forecaster divides by a level and says
how far the quotient goes; another predicts the log of an amount, or the logit of a
share. With y a draw of the component,

    θ = g(a + b y),     a = `target_loc`, b = `target_scale` > 0,
    g = identity, or e^y (`--option of=log`: the component's is ln θ), or 1/(1 + e^−y)
    (`--option of=logit`)

g is fixed, so divergences and Fisher information are those of a + b y (`mapped`). a and
b are outputs, and may move with the input: they are parameters of the law. a + b y
stays in the component's family, with parameters ψ'(ψ, a, b) (`affine`). A bijection
that two laws share changes no divergence, so both are seen in the coordinate of the
first, (· − a₁)/b₁, where it is ψ₁ itself and a large common level costs no digits:

    D(q₁ ‖ q₂) = D(f_ψ₁ ‖ f_ψ'),    ψ' = ψ'(ψ₂, (a₂ − a₁)/b₁, b₂/b₁)
    F = Sᵀ F_f(ψ) S,                S = ∂ψ'/∂(ψ, a, b) = [1, ∂ψ'/∂a / b, ∂ψ'/∂b / b]
                                    at a = 0, b = 1

Distances are in units of θ: G = Sᵀ G_g(ψ'(ψ, a, b)) S. Where nothing has a second
moment a step of a location alone has a finite price: it moves all draws alike.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch import distributions as td

from audit.families import FAMILIES
from audit.families.affine import Affine
from audit.families.continuous import Continuous
from audit.families.mapped import CHARTS, HOW, Mapped
from audit.families.parameters import Shapes, check_finite, either
from audit.families.roles import Role
from audit.families.roots import rows
from audit.families.univariate import Parameters, Univariate, broadcast
from audit.ground.errors import ConfigError
from audit.nodes.lines import REAL
from audit.nodes.special import times

LEVELS = ("target_loc", "target_scale")


class Transformed(Univariate):
    """Independent coordinates θ = g(target_loc + target_scale · y), y of a component.

    Density: f(y) / (b |g'(a + b y)|), θ = g(a + b y), a = `target_loc`, b =
    `target_scale`; f the component's.

    Fisher information: Sᵀ F S, F the component's, S the derivatives of its parameters
    in θ's coordinate; g, being fixed, changes nothing.

    Args:
        component: a registered family with a density of real or positive numbers.
        shapes: its parameters, and `target_loc` and `target_scale` if they are there.
        options: `of`, `log` or `logit`, and those of the component.

    Raises:
        ConfigError: nothing is transformed, or the component does not take it.
    """

    def __init__(self, component: str, shapes: Shapes, **options: object) -> None:
        own = {name: value for name, value in options.items() if name != "of"}
        inner = {name: shape for name, shape in shapes.items() if name not in LEVELS}
        made = _component(component, inner, **own)
        self.made_of = (component,)
        self.levels = tuple(name for name in LEVELS if name in shapes)
        self.parameters = (*made.parameters, *self.levels)
        self.shapes = {name: tuple(shapes[name]) for name in self.parameters}
        self.settings = dict(options)
        self.of = _coordinate(options.get("of"), made, self.levels)
        _check_levels(made, self.levels)
        self._event_shape = broadcast("transformed laws", self.shapes)
        self.line = type(made)(dict.fromkeys(made.parameters, self.event_shape), **own)
        self.image = Mapped(self.line, self.of) if self.of else self.line
        self.least_index = self.image.least_index  # type: ignore[misc]  # its own
        unit = f"theta = {HOW[self.of]}" if self.of else "theta, not of the draw inside"
        self.transport_name = f"increasing map of each coordinate, in units of {unit}"

    def role(self, name: str) -> Role | None:
        """Return what a parameter is for: a level's own, or that in the component."""
        levels = dict(zip(LEVELS, (Role.LOCATION, Role.SCALE), strict=True))
        return levels[name] if name in levels else self.line.role(name)

    @property
    def name(self) -> str:
        """The kind, a colon and the component's name."""
        return f"transformed:{self.line.name}"

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return those of the component, and a scale that is not positive."""
        own, _, b = self._opened(self.split(phi))
        found = either(self.line.violations(torch.cat(own, -1)), check_finite(phi))
        if "target_scale" in self.levels:
            found["target_scale is not positive"] = (b <= 0).any(-1)
        return found

    # one coordinate

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the law of one coordinate."""
        return self.image.law(self.absolute(parameters))

    def absolute(self, parameters: Parameters) -> Parameters:
        """Return the component's parameters ψ' of a + b y."""
        own, a, b = self._opened(parameters)
        return self._moved(own, a, b)

    def slopes(self, own: Parameters, b: Tensor) -> Tensor:
        """Return S = ∂ψ' / ∂(ψ, a, b) [..., q, q + levels] at ψ and b."""
        lines = []
        for place, (name, value) in enumerate(
            zip(self.line.parameters, own, strict=True)
        ):
            first, *rest = self._affine(name).slopes(value, b)
            line = [torch.zeros_like(first) for _ in own]
            line[place] = first
            named = dict(zip(LEVELS, rest, strict=True))
            lines.append((*line, *(named[level] for level in self.levels)))
        return rows(*lines)

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the component's root, pulled back in its own coordinate."""
        own, _, b = self._opened(parameters)
        one = torch.ones_like(b)
        units = [one] * len(own) + [1 / b] * len(self.levels)
        slopes = self.slopes(own, one) * torch.stack(units, dim=-1).unsqueeze(-2)
        return self.line.fisher_block(own) @ slopes

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Return the image's root, pulled back; infinite where that is."""
        own, a, b = self._opened(parameters)
        root = self.image.transport_block(self._moved(own, a, b))
        slopes = self.slopes(own, b)
        known = torch.isfinite(root).flatten(-2).all(-1)[..., None, None]
        found = torch.where(known, root, 0.0) @ slopes
        wild = times(slopes.unsqueeze(-3), root.unsqueeze(-1)).sum(-2)
        return torch.where(known, found, wild)

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return the component's KL, in the left one's coordinate."""
        return self.line.relative_entropy(*self.relative(left, right))

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return the component's divergence, in the left one's coordinate."""
        return self.line.renyi_divergence(*self.relative(left, right), alpha)

    def jensen_shannon(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the component's [N] for one coordinate, else None."""
        pair = self.relative(self.split(phi), self.split(other))
        return self.line.jensen_shannon(*(torch.cat(each, -1) for each in pair))

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return E‖T − T'‖² [N], in units of θ; where g is 1 without a common a."""
        (ours, a, b), (theirs, c, d) = map(
            self._opened, (self.split(phi), self.split(other))
        )
        base = a if not self.of else torch.zeros_like(a)
        pair = self._moved(ours, a - base, b), self._moved(theirs, c - base, d)
        return self.image.transport_distance(*(torch.cat(each, -1) for each in pair))

    def tail_index(self, parameters: Parameters) -> Tensor | None:
        """Return that of the image."""
        return self.image.tail_index(self.absolute(parameters))

    def relative(
        self, left: Parameters, right: Parameters
    ) -> tuple[Parameters, Parameters]:
        """Return the component's parameters of both, in the left one's coordinate."""
        (ours, a, b), (theirs, other_a, other_b) = map(self._opened, (left, right))
        return ours, self._moved(theirs, (other_a - a) / b, other_b / b)

    def _moved(self, own: Parameters, a: Tensor, b: Tensor) -> Parameters:
        named = zip(self.line.parameters, own, strict=True)
        return tuple(self._affine(name).moved(value, a, b) for name, value in named)

    def _affine(self, name: str) -> Affine:
        return self.line.under_affine.get(name, Affine.STAYS)

    def _opened(self, parameters: Parameters) -> tuple[Parameters, Tensor, Tensor]:
        """Return the component's parameters, a and b [...]."""
        named = dict(zip(self.parameters, parameters, strict=True))
        first = parameters[0]
        a = named.get("target_loc", torch.zeros_like(first))
        b = named.get("target_scale", torch.ones_like(first))
        return parameters[: len(parameters) - len(self.levels)], a, b


def _component(name: str, shapes: Shapes, **options: object) -> Continuous:
    """Return the law that is transformed."""
    made = FAMILIES[name](shapes, **options)
    if isinstance(made, Continuous) and math.isinf(made.limit):
        return made
    raise ConfigError(
        f"The family transformed:{name} is not one of numbers on a line",
        "transformed: takes a family with a density, such as normal or student_t",
        "Choose another component",
    )


def _coordinate(of: object, line: Continuous, levels: tuple[str, ...]) -> str:
    """Return `log`, `logit` or "": the coordinate of θ whose law the component is."""
    if of is None and levels:
        return ""
    if of not in CHARTS:
        raise ConfigError(
            f"The family transformed:{line.name} was given "
            + ("no transformation" if of is None else f"the option of={of!r}"),
            "It takes the parameters target_loc and target_scale, or one of them, "
            f"and --option of={' or of='.join(CHARTS)} (the coordinate of theta whose "
            "law the component is), or both",
            "Give --param target_scale=EXPRESSION or --option of=log",
        )
    if line.chart is not REAL:
        raise ConfigError(
            f"The family transformed:{line.name} has a component that is not a law of "
            "all real numbers",
            f"of={of} takes one, such as normal, student_t, laplace or logistic",
            "Choose another component, or leave --option of out",
        )
    return str(of)


def _check_levels(line: Continuous, levels: tuple[str, ...]) -> None:
    """Raise where a level takes it out of its family, or moves its support."""
    moves = set(line.under_affine.values())
    if "target_loc" in levels and Affine.SHIFTS not in moves:
        raise ConfigError(
            f"The family transformed:{line.name} was given target_loc",
            f"A {line.name} law begins at a fixed place, and the parameter would move "
            "it: there is no Fisher information, and KL is infinite",
            "Leave target_loc out, or choose a component on the whole line",
        )
    if "target_scale" in levels and not moves - {Affine.SHIFTS}:
        raise ConfigError(
            f"The family transformed:{line.name} was given target_scale",
            f"A stretched {line.name} law is none of its family",
            "Write the scaling into the parameters, or choose another component",
        )

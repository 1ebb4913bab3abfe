"""A file whose noise is fixed: `--noise-in-graph` where outputs are parameters.

Monte Carlo dropout calls a network several times, its masks drawn anew, and takes the
mean of the laws that come out. So the law of an input is a mixture

    q(θ|x) = (1/S) Σ_s q(θ; φ(x, z_s)),        s = 1 … S,

over noise z_s. Here S and the z_s are fixed: they are drawn once, by the seed alone,
and all inputs share them. Then q is one function of x, its derivatives are those of
this mixture, and so are its exact values. It is the mixture of these S masks; that of
all masks is its limit, which S masks approach as 1/√S.

A mixture of categorical laws is one again, its probabilities the mean of theirs, and
is measured as such, without draws. Other families keep their components.

The members of an ensemble are mixed alike (`members`). A mixture of mixtures is a
mixture of all their components, with weights π_k / S.

A file that returns samples [N, S, …] has its noise fixed in the same way, with a
single z for all inputs.

Source: Gal & Ghahramani, Dropout as a Bayesian approximation (2016), equation 6.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from audit.families import FAMILIES
from audit.ground.errors import ConfigError
from audit.models.contract import Head, Item, Settings
from audit.models.expressions import Expression
from audit.models.fixed_noise import points_of, with_noise
from audit.models.kinds import told_by
from audit.models.members import count_members, members_axis, read_by
from audit.models.network import Network, Values, carried
from audit.models.probing import Probe

MASKS = 16  # laws in the mixture, at most
WEIGHTS = "probs"
MIXTURE = "mixture:"
AVERAGED = ("categorical", "one_hot_categorical")  # their mixtures are of their kind


def fixed(settings: Settings, network: Network) -> Network:
    """Return a file of samples with its noise fixed at one z for all inputs."""
    return with_noise(network, points_of(network, 1), stacked=False)


def over_masks(settings: Settings, network: Network) -> Network:
    """Return a file whose outputs [N, S, …] are those of S masks.

    Raises:
        ConfigError: it is asked for something that a mixture over masks has not.
    """
    if settings.model.space == "parameters":
        raise ConfigError(
            "--space parameters was given with --noise-in-graph",
            "The parameters of a mixture over masks are those of every mask, and no "
            "perturbation of them is one of the model",
            "Leave --space out",
        )
    count = min(MASKS, settings.draws)
    if count < 2:
        raise ConfigError(
            f"--draws-per-input {settings.draws} was given with --noise-in-graph",
            f"A mixture over masks takes at least 2, and at most {MASKS}",
            f"Pass --draws-per-input {MASKS}, or leave it out",
        )
    points = points_of(network, count)
    note = (
        f"{network.details['exposed']}: the law is the equal-weight mixture over "
        f"S = {count} masks, the same for all inputs; over all masks it is another, as "
        "another seed shows"
    )
    return carried(
        with_noise(network, points, stacked=True),
        lambda each: replace(each, details={**each.details, "exposed": note}),
    )


def masks_of(network: Network) -> int:
    """Return the number of masks that its outputs hold; 0 for none."""
    return int(str(network.details.get("masks", 0)))


def mixed(settings: Settings, head: Head, probe: Probe) -> Head:
    """Return the head of the mixture of what each mask, or each member, gives.

    Raises:
        ConfigError: the family cannot be mixed.
    """
    axis = members_axis(settings)
    option, what = ("members", "members") if axis else ("noise_in_graph", "masks")
    _refuse_family(head.family, option, what)
    if axis:
        count = count_members(settings, head, probe.outputs)
    else:
        count = masks_of(probe.network)
    item = Item("mixture", f"{count} {what} of equal weight", told_by(option, settings))
    head = replace(
        head,
        items=(*head.items, item),
        masks=count,
        axis=axis or 1,
        pooled=head.family.startswith(MIXTURE),
    )
    if head.pooled or _is_averaged(head, probe):
        return head
    parameters = {
        f"component.{name}" if name in ("probs", "logits") else name: text
        for name, text in head.parameters.items()
    }
    weights = Expression(repr(1 / count))
    return replace(
        head,
        family=f"mixture:{head.family}",
        parameters={WEIGHTS: weights, **parameters},
    )


def _refuse_family(family: str, option: str, what: str) -> None:
    """Refuse a family of which a mixture is none that is known."""
    one = family.removeprefix(MIXTURE)
    if one in FAMILIES and one not in ("samples", "quantile"):
        return
    raise ConfigError(
        f"--{option.replace('_', '-')} was given with the family {family}",
        f"The {what} make a mixture of one named family, or of mixtures of it: of a "
        "product, another law of laws or of quantiles it would be another law",
        f"Export the model in eval mode, or the mean of its {what}",
    )


def _is_averaged(head: Head, probe: Probe) -> bool:
    """Whether the mixture is one categorical law, of a single choice."""
    if head.family not in AVERAGED:
        return False
    wide = {name: value.double() for name, value in probe.outputs.items()}
    values = _each(head, wide)
    if set(values) not in ({"probs"}, {"logits"}):
        raise ConfigError(
            f"The family {head.family} was given {', '.join(values)}",
            "Expected probs or logits, one of the two",
            "Pass --param probs=NAME or --param logits=NAME",
        )
    (value,) = values.values()
    return value.dim() == 3  # [N, S, K]


def by_mask(head: Head, outputs: Values) -> dict[str, Tensor]:
    """Return the parameters of the mixture from outputs [N, S, …].

    They are [N, S, …], or the mean probabilities [N, K] of a categorical law; of
    mixtures [N, S K, …].
    """
    found = _each(head, outputs)
    if head.pooled:
        return _pooled(found)
    if head.family not in AVERAGED:
        return found
    ((name, value),) = found.items()
    shares = value.softmax(-1) if name == "logits" else value / value.sum(-1, True)
    return {WEIGHTS: shares.mean(1)}


def _pooled(found: Values) -> dict[str, Tensor]:
    """Return parameters [N, S K, …] of all components of S mixtures [N, S, K, …].

    What has no axis of components is shared by those of its mixture.
    """
    count = max((v.shape[2] for v in found.values() if v.dim() > 2), default=1)
    pooled = {}
    for name, value in found.items():
        if value.dim() == 2:
            value = value.unsqueeze(-1).expand(*value.shape, count)
        if name == "logits":
            value = value.log_softmax(-1)
        if name == WEIGHTS:
            value = value / value.sum(-1, True) / value.shape[1]
        pooled[name] = value.flatten(1, 2)
    return pooled


def _each(head: Head, outputs: Values) -> dict[str, Tensor]:
    """Return the parameters [N, S, …] of outputs, each mask read alone."""
    flat = {
        name: value.movedim(head.axis, 1).flatten(0, 1)
        for name, value in read_by(head, outputs).items()
    }
    found = {name: text(flat) for name, text in head.parameters.items()}
    rows = len(next(iter(flat.values()))) // head.masks
    return {
        name: value.expand(rows, head.masks)
        if value.dim() == 0
        else value.reshape(rows, head.masks, *value.shape[1:])
        for name, value in found.items()
    }

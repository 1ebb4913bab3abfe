"""Which family the outputs belong to, and how its parameters are read from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audit.ground.errors import ConfigError
from audit.models.contract import Head, Item, Settings
from audit.models.expressions import Expression
from audit.models.names import (
    NAMES,
    NORMAL_SCALES,
    doubt_of,
    families_with,
    options_of,
    parameters_by_name,
    said_by,
    stem_of,
    theirs,
)
from audit.models.network import Network


def resolve_head(settings: Settings, network: Network, outputs: Sequence[str]) -> Head:
    """Decide the family and its parameters.

    Raises:
        ConfigError: something is missing or ambiguous; the message lists what was
            seen and the option to give.
    """
    parameters, origin = _stated_parameters(settings, network)
    family = _family(settings, network, parameters, outputs)
    if not parameters:
        parameters, origin = parameters_by_name(family.value, outputs), "names"
    others = by_position(outputs)
    read = {name: Expression(text).renamed(others) for name, text in parameters.items()}
    parameters = {name: str(text) for name, text in read.items()}
    options = _options(settings, network, family.value)
    items = (
        family,
        *(Item(f"param {name}", text, origin) for name, text in parameters.items()),
        *(
            Item(f"option {name}", str(value), source)
            for name, (value, source) in options.items()
        ),
    )
    expressions = {name: Expression(text) for name, text in parameters.items()}
    check_outputs(expressions, outputs, family.value)
    values = {name: value for name, (value, _) in options.items()}
    return Head(family.value, expressions, values, items)


def by_position(outputs: Sequence[str]) -> dict[str, str]:
    """Return output_0, output_1, … (and `output` for the only one) -> the real name."""
    if any(name.partition("_")[0] == "output" for name in outputs):
        return {}
    places = {f"output_{i}": name for i, name in enumerate(outputs)}
    return places | ({"output": outputs[0]} if len(outputs) == 1 else {})


def check_outputs(
    expressions: Mapping[str, Expression], outputs: Sequence[str], family: str = ""
) -> None:
    """Refuse a number that could be an output, and a head that reads no output.

    Args:
        expressions: by parameter, as they were written.
        outputs: of the file.
        family: of the head, whose options are no parameters; "" for none.

    Raises:
        ConfigError: the message says how to write what is meant.
    """
    for expression in expressions.values():
        expression.refuse_ambiguous(outputs)
    if not any(expression.names for expression in expressions.values()):
        said = ", ".join(f"{name}={text}" for name, text in expressions.items())
        raise ConfigError(
            f"No parameter reads an output of the file: {said}",
            "Expected one that does: a constant has nothing to audit"
            + (f"; the outputs are {', '.join(outputs)}" if outputs else ""),
            "Name an output in --param NAME=EXPRESSION"
            + _as_options(expressions, family),
        )


def _as_options(expressions: Mapping[str, Expression], family: str) -> str:
    """Return what to write for constants that the family takes as options."""
    known = options_of(family) if family else ()
    words = [f"--option {n}={text}" for n, text in expressions.items() if n in known]
    return f" and {' '.join(words)}: an option of {family}" if words else ""


def _stated_parameters(
    settings: Settings, network: Network
) -> tuple[dict[str, str], str]:
    if settings.model.parameters:
        return dict(settings.model.parameters), settings.origin("parameters")
    stated = network.metadata.get("parameters")
    if settings.model.family is None and isinstance(stated, Mapping):
        return {str(n): str(text) for n, text in stated.items()}, "metadata"
    if (
        isinstance(stated, Mapping)
        and network.metadata.get("family") == settings.model.family
    ):
        return {str(n): str(text) for n, text in stated.items()}, "metadata"
    return {}, ""


def _options(
    settings: Settings, network: Network, family: str
) -> dict[str, tuple[object, str]]:
    """Return the family's options and who stated each."""
    known = options_of(family)
    stated = {
        name: (value, "metadata")
        for name, value in network.metadata.items()
        if name in known
    }
    origin = settings.origin("options")
    return stated | {n: (value, origin) for n, value in settings.model.options.items()}


def _family(
    settings: Settings,
    network: Network,
    parameters: Mapping[str, str],
    outputs: Sequence[str],
) -> Item:
    if settings.model.family is not None:
        return Item("family", settings.model.family, settings.origin("family"))
    if "family" in network.metadata:
        return Item("family", str(network.metadata["family"]), "metadata")
    stems = [name for name in map(stem_of, outputs) if name in NAMES]
    others = theirs()
    said = {said_by(output, others)[0] for output in outputs} - {""}
    named = set(parameters) or said
    fits = families_with(named)
    if "normal" in fits and any(stem in NORMAL_SCALES for stem in stems):
        fits = ["normal"]
    alone = named == {"scale"} and len(outputs) > 1  # of which law, nothing says
    doubt = doubt_of(fits[0], outputs) if len(fits) == 1 and not parameters else ""
    if len(fits) == 1 and not doubt and not (alone and not parameters):
        return Item("family", fits[0], "names")
    could = (
        f"they could be those of {doubt or ', '.join(fits)}"
        if fits
        else "their names are those of no family"
    )
    seen = ", ".join(outputs) or "not known without data"
    raise ConfigError(
        f"The file does not say its family. Its outputs are {seen}; {could}",
        "A family is needed to read the outputs as a distribution",
        f"Pass --family {fits[0] if fits else 'normal'} (or another), and --param "
        "NAME=EXPRESSION for each of its parameters",
    )

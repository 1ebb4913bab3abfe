"""Names that say what a number is, and what a family takes.

Names are taken only where they leave no doubt: `mean` with `log_std` is a normal head,
since a standard deviation is what a normal law is written in; `loc` with `scale` could
be six families, and is an error that lists them.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence, Set

from audit.families import FAMILIES, KIND_OPTIONS, KIND_PARAMETERS, composed_of
from audit.ground.errors import ConfigError
from audit.models.expressions import quoted

_PLAIN = (
    *("logits", "rate", "concentration", "concentration0", "concentration1"),
    *("total_count", "scale_tril", "covariance_matrix", "precision_matrix"),
    *("cov_factor", "cov_diag", "quantiles", "low", "high"),
)
# Output name (lower case) -> (parameter, link). The name says what the number is.
NAMES: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("loc", "mean", "mu", "gpmean"), ("loc", "")),
    **dict.fromkeys(("scale", "std", "sigma", "stddev"), ("scale", "")),
    **dict.fromkeys(("sd", "stdev", "std_dev", "gpcovstd"), ("scale", "")),
    **dict.fromkeys(("log_scale", "log_std", "log_sigma", "logstd"), ("scale", "exp")),
    **dict.fromkeys(("log_stddev", "log_sd", "log_std_dev"), ("scale", "exp")),
    **dict.fromkeys(("log_var", "logvar", "log_variance"), ("scale", "half_exp")),
    **dict.fromkeys(("log_sigma2", "log_sigma_squared"), ("scale", "half_exp")),
    **dict.fromkeys(("var", "variance"), ("scale", "sqrt")),
    **dict.fromkeys(("sigma2", "sigma_squared"), ("scale", "sqrt")),
    **dict.fromkeys(("covariance", "cov"), ("covariance_matrix", "")),
    **dict.fromkeys(("log_rate", "log_lambda"), ("rate", "exp")),
    **dict.fromkeys(("log_probs", "log_probabilities", "logprobs"), ("probs", "exp")),
    **dict.fromkeys(("df", "nu", "degrees_of_freedom"), ("df", "")),
    **dict.fromkeys(("probs", "probabilities", "probability"), ("probs", "")),
    **dict.fromkeys(("samples", "sample", "draws"), ("samples", "")),
    **{name: (name, "") for name in _PLAIN},
}
_LINKED = {"": "{}", "exp": "exp({})", "half_exp": "exp(0.5 * {})", "sqrt": "sqrt({})"}
IMPLICIT = "implicit"  # the family of densities and samplers
NORMAL_SCALES = {"std", "stddev", "log_std", "logstd", "var", "variance", "log_var"}
NORMAL_SCALES |= {"logvar", "log_variance", "sd", "stdev", "std_dev", "gpcovstd"}
NORMAL_SCALES |= {"log_stddev", "log_sd", "log_std_dev"}
# What textbooks call parameters: said to the user, who has to agree, and never taken.
TEXTBOOK = {
    "gamma": {"alpha": "concentration", "shape": "concentration", "beta": "rate"},
    "inverse_gamma": {"alpha": "concentration", "beta": "rate"},
    "beta": {
        **dict.fromkeys(("alpha", "a"), "concentration1"),
        **dict.fromkeys(("beta", "b"), "concentration0"),
    },
    "weibull": {"shape": "concentration", "k": "concentration", "lambda": "scale"},
}


def doubt_of(family: str, outputs: Sequence[str]) -> str:
    """Return which laws the names of a family's parameters may also mean; "" for none.

    Libraries write gamma, inverse gamma and Weibull laws in a concentration and a
    scale. The scale of a Student's t is √((ν − 2)/ν) of its standard deviation.
    """
    if family == "weibull":
        return "gamma (rate=1 / scale), inverse_gamma (rate=scale) or weibull"
    spread = next((n for n in outputs if stem_of(n) in NORMAL_SCALES), "")
    if family == "student_t" and spread:
        return f"student_t, if '{spread}' is its scale and not its standard deviation"
    return ""


def families_with(named: set[str]) -> list[str]:
    """Return the families that take exactly these parameters."""
    return [
        name
        for name, _ in FAMILIES.sound()
        if named
        and name != "mixture"
        and any(set(known) == named for known in parameterizations(name))
    ]


def parameters_by_name(family: str, outputs: Sequence[str]) -> dict[str, str]:
    """Match the family's parameters with outputs whose names say what they are."""
    if family == "samples" and len(outputs) == 1:
        return {"samples": quoted(outputs[0])}
    others = theirs()
    said = {output: said_by(output, others) for output in outputs}
    for known in parameterizations(family):
        found = {name: _expressions_for(name, said) for name in known}
        if all(found.values()):
            return {name: _only(name, texts) for name, texts in found.items()}
    wanted = " or ".join(", ".join(known) for known in parameterizations(family))
    raise ConfigError(
        f"The outputs {', '.join(outputs)} do not name the parameters of {family}",
        f"The family {family} takes {wanted}",
        f"Pass {_hint(family, outputs)}",
    )


def _hint(family: str, outputs: Sequence[str]) -> str:
    """Return the options that would name the parameters."""
    single = all(len(known) == 1 for known in parameterizations(family))
    if len(outputs) == 1 and single:
        names = [known[0] for known in parameterizations(family)]
        text = shlex.quote(quoted(outputs[0]))
        return " or ".join(f"--param {name}={text}" for name in names)
    textbook = TEXTBOOK.get(family, {})
    said = {n: (textbook.get(stem_of(n), ""), "") for n in outputs}
    read = {n: said[n] if said[n][0] else said_by(n, {}) for n in outputs}
    if {name for name, _ in read.values()} in map(set, parameterizations(family)):
        flags = [
            f"--param {shlex.quote(f'{name}={_LINKED[link].format(quoted(n))}')}"
            for n, (name, link) in read.items()
        ]
        return " ".join(flags) + " if that is what they are"
    return "--param NAME=EXPRESSION for each of them"


def named_expression(output: str) -> tuple[str, str] | None:
    """Return the parameter that an output's name says it is, and how it is read."""
    known = NAMES.get(stem_of(output))
    return known and (known[0], _LINKED[known[1]].format(quoted(output)))


def _expressions_for(parameter: str, said: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return the outputs that are a parameter: by the table, or by its very name."""
    texts = []
    for output, (known, link) in said.items():
        own = known != parameter and stem_of(output) == parameter.lower()
        if own or known == parameter:
            texts.append(_LINKED["" if own else link].format(quoted(output)))
    return texts


def _only(parameter: str, texts: list[str]) -> str:
    if len(texts) > 1:
        raise ConfigError(
            f"Two outputs could be '{parameter}': {' and '.join(texts)}",
            "Expected one",
            f"Choose with --param {parameter}=EXPRESSION",
        )
    return texts[0]


def theirs() -> dict[str, str]:
    """Return the parameters of third parties' families by their names in lower case."""
    families = (family for _, family in FAMILIES.theirs())
    names = (n for one in families for known in one.parameterizations for n in known)
    return {name.lower(): name for name in names}


def said_by(output: str, others: Mapping[str, str]) -> tuple[str, str]:
    """Return the parameter that an output's name says it is, and the link; "" if none.

    Args:
        output: its name.
        others: see `theirs`; a name of the table says more.
    """
    stem = stem_of(output)
    return NAMES.get(stem) or (others.get(stem, ""), "")


def stem_of(output: str) -> str:
    """Return the name without scopes and indices: 'head/mean:0' -> 'mean'."""
    return output.rpartition("/")[2].partition(":")[0].lower()


def options_of(family: str) -> tuple[str, ...]:
    """Return the options a family takes; those of a product are named by position."""
    if family == IMPLICIT:
        return ()
    if "," in family:
        return tuple(
            f"{i}.{name}"
            for i, part in enumerate(family.split(","))
            for name in options_of(part.strip())
        )
    kind, _, component = family.rpartition(":")
    return FAMILIES[component].options + KIND_OPTIONS.get(kind, ())


def parameterizations(family: str) -> tuple[tuple[str, ...], ...]:
    """Return the sets of parameters a family can be given by.

    A mixture adds its weights to those of the component; a product of families has
    none that names could tell.
    """
    if "," in family:
        return ()
    kind, component = composed_of(family)
    if not component:
        return FAMILIES[kind].parameterizations
    inner = FAMILIES[component].parameterizations
    if kind in KIND_PARAMETERS:
        extra = KIND_PARAMETERS[kind]
        sets = (extra, *((one,) for one in reversed(extra)), ())
        return tuple((*known, *levels) for levels in sets for known in inner)
    if kind in KIND_OPTIONS:
        return inner
    gates = ("logits", "probs") + (() if kind == "mixture" else ("gate", "gate_logits"))
    return tuple((gate, *known) for gate in gates for known in inner)


def unread_levels(family: str, outputs: Sequence[str], read: Set[str]) -> list[str]:
    """Return sentences on outputs that say how draws are shifted and stretched."""
    levels = {name for names in KIND_PARAMETERS.values() for name in names}
    left = [name for name in outputs if stem_of(name) in levels and name not in read]
    if family not in FAMILIES:
        return []
    return [
        f"the output '{name}' is not read: where draws of {family} are shifted and "
        f"stretched to be those of the target, pass --family transformed:{family}"
        for name in left
    ]

"""Does what the file computes look like the parameters it is read as?

Two looks at φ, which need neither θ nor a derivative:

- **Members.** If no row is a member of the family, the expressions are wrong, and the
  reason tells how: a scale below zero is the logarithm of one, "probabilities" that
  are negative or do not sum to one are logits.
- **Probabilities read as logits.** Any vector is a vector of logits, so nothing is
  violated: softmax(p) of a probability vector p is a law, only flat (between 1 and e
  to one). Logits have an arbitrary shift and no reason to sum to one; rows that are
  all non-negative and sum to one within 1e-4 are probabilities. For two numbers or
  more that is a coincidence of measure zero, so one row would do; four are asked for.
  A Bernoulli's single logit lies in [0, 1] for many honest models, so there all
  values of at least 32 must do so *and* come within 0.02 of both ends; or the file
  has to make it by a sigmoid, where one can look into it (ONNX).
- **A softmax of probabilities.** q = softmax(p) read as probabilities is such a law
  too. log q is p up to a shift, and the shift is known, for p sums to one: p = log q −
  mean log q + 1/K. Of an honest q these need not be probabilities, and where they are
  (a flat law's are) they come near no corner: q_i/q_j has no reason to end at e. So
  of at least 16 rows of K ≥ 3 classes all must be probabilities, and at least four
  within 0.02 of corners, of two classes or more.
"""

from __future__ import annotations

from torch import Tensor

from audit.models.logits import READ_THROUGH
from audit.verify.selftest.finding import Finding, failed, inapplicable, passed
from audit.verify.selftest.subject import Subject, outside

MEMBERS, LOGITS = "members", "probabilities_as_logits"
_ROWS, _VALUES = 4, 32
_SUM, _END = 1e-4, 0.02
_SOFT_ROWS = 16
_VECTORS = ("categorical", "one_hot_categorical", "mixture")
_HINTS = {
    "probs": "logits are probably read as probabilities: use logits=NAME, or "
    "probs=softmax(NAME) or sigmoid(NAME)",
    "scale": "the output is probably the logarithm of a scale: use scale=exp(NAME)",
    "rate": "the output is probably the logarithm of a rate: use rate=exp(NAME)",
    "concentration": "the output is probably a logarithm: use concentration=exp(NAME)",
    "quantiles": "give --option levels in the order of the outputs",
}
_UNKNOWN = "look at the expressions of --param: robaudit inspect shows every range"


def members(it: Subject) -> Finding:
    """Look at whether the rows tried are parameters of the family."""
    phi = it.outputs() if it.family.parametric else _phi(it)
    wrong = outside(it.family, phi)
    share = float(wrong.double().mean())
    if share == 0:
        said = f"all {len(phi)} rows tried are parameters of {it.family.name}"
        return passed(MEMBERS, said, outside=0.0)
    reasons = [why for why, rows in it.family.violations(phi).items() if rows.any()]
    why = reasons[0] if reasons else "a parameter is not finite"
    said = f"{int(wrong.sum())} of {len(phi)} rows tried are no {it.family.name}: {why}"
    if share < 1:
        more = "those rows are skipped; " + said
        return passed(MEMBERS, more, outside=share)
    hint = next((h for name, h in _HINTS.items() if why.startswith(name)), _UNKNOWN)
    return failed(MEMBERS, said, hint, outside=share)


def _phi(it: Subject) -> Tensor:
    model = it.model
    return model.density.parameter_map(*model.rows(model.probe_index()))


def probabilities_as_logits(it: Subject) -> Finding:
    """Look for logits that are probabilities."""
    if not it.family.parametric:
        return inapplicable(LOGITS, "the file names no parameters")
    values = it.family.unpack(it.outputs())
    vectors = it.family.name.partition(":")[0] in _VECTORS
    for name in ("probs",) if vectors and "probs" in values else ():
        if _is_softened(values[name]):
            return _twice(name, "TENSOR")
    found = [name for name in values if name.rpartition(".")[2] == "logits"]
    if not found:
        return inapplicable(LOGITS, "no parameter is read as logits")
    for name in found:
        logits = values[name]
        vector = vectors and "." not in name
        if (
            _is_simplex(logits)
            if vector
            else _is_unit(logits) or _is_made_by_a_sigmoid(it, name)
        ):
            inside, meant = _read_through(it, name), name.replace("logits", "probs")
            if inside:
                return _twice(meant, inside)
            return failed(
                LOGITS,
                f"'{name}' is never negative and "
                + ("sums to one in every row" if vector else "never above one")
                + ": probabilities are read as logits",
                f"use {meant}=NAME instead of {name}=NAME",
                least=float(logits.min()),
                largest=float(logits.max()),
            )
    return passed(LOGITS, f"{' and '.join(found)} are no probabilities")


def _is_made_by_a_sigmoid(it: Subject, name: str) -> bool:
    """Whether the file says so: its output is a sigmoid, and nothing is done to it."""
    expression, behind = it.model.head.parameters[name], it.model.network.behind
    output = expression.output(sliced=True)
    return bool(output and behind and behind(output, "sigmoid", 0))


def _read_through(it: Subject, name: str) -> str:
    """Return the logits that are read for probabilities in the file; "" for none."""
    said = {item.name: item for item in it.model.head.items}.get(f"param {name}")
    return said.value if said is not None and READ_THROUGH in said.origin else ""


def _twice(name: str, before: str) -> Finding:
    return failed(
        LOGITS,
        f"'{name}' is the softmax of probabilities: the law is flat, no class e times "
        "as likely as another, for a softmax is applied twice",
        f"read what is before it, --param {name}={before}, or export the model with "
        "one softmax",
    )


def _is_softened(probs: Tensor) -> bool:
    """Whether rows [n, ..., K] are softmax(p) of vectors of probabilities p."""
    logs = probs.double().log()
    p = (logs - logs.mean(dim=-1, keepdim=True) + 1 / logs.shape[-1]).flatten(0, -2)
    if logs.shape[-1] < 3 or len(probs) < _SOFT_ROWS or not bool((p > -_SUM).all()):
        return False
    corners = p.argmax(dim=-1)[p.amax(dim=-1) > 1 - _END]
    return len(corners) >= _ROWS and len(set(corners.tolist())) > 1


def _is_simplex(logits: Tensor) -> bool:
    """Whether every row [n, ..., K] is a vector of probabilities."""
    sums = logits.sum(dim=-1)
    near = ((sums - 1).abs() < _SUM).all()
    return len(logits) >= _ROWS and bool((logits >= 0).all() & near)


def _is_unit(logits: Tensor) -> bool:
    """Whether many numbers fill [0, 1] and none is beyond."""
    inside = bool(((logits >= 0) & (logits <= 1)).all())
    ends = float(logits.min()) < _END and float(logits.max()) > 1 - _END
    return logits.numel() >= _VALUES and inside and ends

"""What `robaudit explain expressions` says: the language of `--param NAME=EXPRESSION`.

The functions themselves are in `audit.models.functions`; a test holds that both know
the same ones and that every example has a value.
"""

from __future__ import annotations

# Function -> (what it gives, an example).
FUNCTIONS: dict[str, tuple[str, str]] = {
    "exp": ("e to the power of each number", "scale=exp(log_std)"),
    "expm1": ("exp(v) − 1, sharp near 0", "rate=expm1(out)"),
    "log": ("natural logarithm", "logits=log(probs)"),
    "log1p": ("log(1 + v), sharp near 0", "loc=log1p(square(out))"),
    "sqrt": ("square root", "scale=sqrt(var)"),
    "square": ("v²", "covariance_matrix=diag(square(std))"),
    "softplus": ("log(1 + exp(v))", "scale=softplus(out[..., 1]) + 1e-3"),
    "elu": ("v above 0, exp(v) − 1 below", "scale=elu(out) + 1"),
    "sigmoid": ("1 / (1 + exp(−v))", "probs=sigmoid(out[..., 0])"),
    "logit": ("log(v / (1 − v))", "logits=logit(probs)"),
    "tanh": ("hyperbolic tangent", "loc=3 * tanh(out)"),
    "sin": ("sine", "loc=sin(out)"),
    "cos": ("cosine", "loc=cos(out)"),
    "abs": ("absolute value", "scale=abs(out) + 1e-6"),
    "identity": ("the numbers themselves", "loc=identity(mean)"),
    "atan2": ("angle of the point (x, y): atan2(y, x)", "loc=atan2(out, std)"),
    "power": ("x to the power of y, as x ** y", "scale=power(std, 0.5)"),
    "clamp": (
        "numbers below min and above max replaced by it: clamp(v, min=…, max=…)",
        "scale=exp(clamp(log_std, -5, 3))",
    ),
    "softmax": ("exp(v) over its sum along an axis", "probs=softmax(out)"),
    "cumsum": (
        "running sum along an axis",
        "quantiles=cumsum(cat(mean[:, :1], exp(log_std)))",
    ),
    "cumprod": ("running product along an axis", "probs=1 - cumprod(1 - probs)"),
    "sum": ("sum along an axis, the last by default", "rate=sum(exp(out), axis=-1)"),
    "mean": ("mean along an axis", "loc=mean(cube, axis=1)"),
    "cat": (
        "values side by side, along the last axis by default; a number is one more",
        "logits=cat(out, 0)",
    ),
    "stack": (
        "values along a new axis, the first after the batch by default",
        "loc=stack(mean, -mean)",
    ),
    "pad": (
        "so many constants before and after: pad(v, 1, 0)",
        "logits=pad(out, 1, 0)",
    ),
    "reshape": (
        "each input's numbers in another shape, row by row",
        "loc=reshape(out, 3, 2)",
    ),
    "diag": ("a diagonal matrix of each vector", "scale_tril=diag(std)"),
    "tril": (
        "a lower triangle, filled row by row from n(n+1)/2 numbers, or below the "
        "diagonal from n(n−1)/2 with strict=true; diagonal= is a function or a number",
        "scale_tril=tril(out, diagonal=softplus)",
    ),
    "transpose": ("rows and columns of a matrix exchanged", "loc=transpose(cube)"),
    "matmul": (
        "product of matrices, or of a matrix and a vector",
        "precision_matrix=matmul(transpose(tril(out)), tril(out))",
    ),
}
GRAMMAR = (
    "--param NAME=EXPRESSION makes a parameter of the family of the file's outputs:\n"
    'mean, "head/out:0" (a name in quotes), @name (a tensor inside an ONNX graph),\n'
    "target_scale (an input of the file), numbers, + − * / **, and the functions below."
)
SHAPES = (
    "The first axis is the batch: out[:, :3], out[..., 1], out[:, ::-1], v[:, None].\n"
    "A number for each input goes with every number of that input; other shapes must\n"
    "fit from the right, in one way only; a constant fits everything.\n"
    "axis counts as an index does: 1 is the first after the batch, -1 the last."
)


def paragraph() -> tuple[str, str]:
    """Return the title and the text about the language."""
    rows = [
        f"{name}(): {meaning}\n    {example}"
        for name, (meaning, example) in FUNCTIONS.items()
    ]
    return "expressions (language)", "\n".join([GRAMMAR, SHAPES, *rows])

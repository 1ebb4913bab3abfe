"""What torch modules return, by name.

Dictionaries and named tuples bring names; tuples and lists get output_0, output_1, …,
a single tensor is called output.
"""

from __future__ import annotations

from torch import Tensor

from audit.ground.errors import ModelError


def name_outputs(result: object) -> dict[str, Tensor]:
    """Return a module's result as named tensors.

    Raises:
        ModelError: something other than a tensor came out.
    """
    named = _named(result)
    for name, value in named.items():
        if not isinstance(value, Tensor):
            raise ModelError(
                f"The output '{name}' is a {type(value).__name__}",
                "Expected a tensor, or a tuple or dictionary of tensors",
                "Save a module that returns tensors only",
            )
    return named  # type: ignore[return-value]


def _named(result: object) -> dict[str, object]:
    if isinstance(result, dict):
        return {str(name): value for name, value in result.items()}
    if isinstance(result, (tuple, list)):
        fields = getattr(result, "_fields", None)
        names = fields or [f"output_{i}" for i in range(len(result))]
        return dict(zip(names, result, strict=True))
    return {"output": result}

"""What the classes of a classifier are called.

Names come from the first source that speaks: `--classes` (a list, or a text file of one
name a line), the metadata in the model file (`classes: [cat, dog]`), the key `classes`
of the data file (an array of strings). The k-th name is that of the k-th answer of the
law: of logit or probability k, of false and true. They are names only: no number hangs
on them, so they are no part of what a scan measures.

Of several places with classes each (a picture of labels) no answer is listed, and no
name is taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from os.path import isfile

from torch import Tensor

from audit.families.interface import Family
from audit.ground.errors import (
    AuditError,
    ConfigError,
    InputError,
    ModelError,
    boundary,
)
from audit.ground.storage import open_regular
from audit.models.contract import Item, Settings
from audit.models.opened import OpenModel

OPTION, KEY, DATA = "classes", "classes", "data"
LONGEST = 80
"""Characters of a name; the rest of it is cut."""
_ERRORS: dict[str, type[AuditError]] = {"metadata": ModelError, DATA: InputError}
_SHOWN, _BYTES = 3, 1 << 20
_SUM = 1e-4  # of masses from one, in float32
_EXPECTED = "Expected names with commas between them, or a file of one name a line"
_STEP = "Give --classes cat,dog, or the path of a text file in UTF-8"


def with_class_names(settings: Settings, model: OpenModel) -> OpenModel:
    """Return an open model that knows the names of its classes, where some are given.

    Raises:
        ConfigError, ModelError, InputError: there are too few or too many, two are
            alike, or they were asked for and the law has no classes.
    """
    found = _stated(settings, model)
    if found is None:
        return model
    names, where, origin = found
    size = _classes(model)
    error = _ERRORS.get(origin, ConfigError)
    if size is None and error is not ConfigError:
        return model  # a word of theirs that means something else there
    if size is None:
        raise ConfigError(
            f"{where} names {len(names)} classes, and the law is {model.head.family}",
            "Expected one that answers one class, such as categorical or bernoulli",
            "Leave the names out, or correct --family",
        )
    _check(names, where, size, error)
    item = Item(OPTION, ", ".join(names), origin)
    return replace(model, class_names=tuple(names), items=(*model.items, item))


def _stated(settings: Settings, model: OpenModel) -> tuple[list[str], str, str] | None:
    """Return the names, where they are written, and who says so; None without any."""
    given = settings.model.classes
    if given is not None:
        return (*_given(given), settings.origin(OPTION))
    told = model.network.metadata.get(KEY)
    if isinstance(told, list):
        where = f"'{KEY}' in the file's metadata"
        return _cut(told), where, "metadata"
    named = model.inputs.class_names(settings.memory)
    return None if named is None else (_cut(named), f"'{KEY}' in the data", DATA)


def _given(given: str | Sequence[str]) -> tuple[list[str], str]:
    """Return the names of an option, and where they are written."""
    if not isinstance(given, str):
        return _cut(given), "--classes"
    if isfile(given):  # names in a row may be longer than a path
        return _cut(_lines(given)), f"--classes '{given}'"
    if "," not in given:
        raise ConfigError(
            f"--classes '{given}' is no file, and one name",
            _EXPECTED,
            _STEP,
        )
    return _cut([name.strip() for name in given.split(",")]), "--classes"


def _lines(path: str) -> list[str]:
    """Return the lines of a text file that are not empty.

    Raises:
        ConfigError: it cannot be read, or is no text.
    """
    with (
        boundary(f"--classes '{path}' cannot be read", _EXPECTED, _STEP, ConfigError),
        open_regular(path) as file,
    ):
        lines = file.read(_BYTES).decode("utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _cut(names: Sequence[object]) -> list[str]:
    return [str(name)[:LONGEST] for name in names]


def _classes(model: OpenModel) -> int | None:
    """Return how many classes the law answers one of; None for any other law."""
    phi: Tensor = model.density.parameter_map(*model.rows(model.probe_index()[:1]))
    return classes_of(model.density.family, phi)


def classes_of(law: Family, phi: Tensor) -> int | None:
    """Return how many classes a law answers one of; None for any other law.

    Args:
        law: the family.
        phi: of some inputs [n, p].
    """
    if law.most_likely(phi) is None:
        return None
    try:
        listed = law.distribution(phi).enumerate_support(expand=False)
    except NotImplementedError:
        return _true_or_false(law, phi)
    places = listed.shape[2:].numel()
    one_hot = places == len(listed) and bool((listed.sum(dim=-1) == 1).all())
    return len(listed) if places == 1 or one_hot else None


def _true_or_false(law: Family, phi: Tensor) -> int | None:
    """Return 2 for a law of one place whose masses of 0 and 1 are all there is."""
    if math.prod(law.event_shape) != 1:
        return None  # many places with classes each
    both = phi.new_tensor([0.0, 1.0]).reshape(2, 1, *law.event_shape)
    answers = both.expand(2, len(phi), *law.event_shape)
    masses = law.log_likelihood(answers, phi).exp().sum(dim=0)
    return 2 if bool(((masses - 1).abs() < _SUM).all()) else None


def _check(
    names: Sequence[str], where: str, size: int, error: type[AuditError]
) -> None:
    if len(names) != size:
        shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
        raise error(
            f"{where} names {len(names)} classes ({shown})",
            f"Expected {size}: so many answers the law has",
            "Give a name for each class, in the order of the outputs",
        )
    for name in names:
        if not name.strip() or names.count(name) > 1:
            given = (
                f"names two classes '{name}'" if name.strip() else "leaves one empty"
            )
            raise error(
                f"{where} {given}",
                "Expected names that tell the classes apart",
                "Give each class a name of its own",
            )

"""`robaudit replay`: witnesses of a scan once more, by the referee of the model alone.

The file of witnesses is the data: it holds the inputs of the model under their names.
Whether a model may be trusted, and where it is, is for whoever replays it to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from audit.config import ModelConfig
from audit.ground.errors import InputError, boundary
from audit.models.contract import Settings
from audit.models.opening import open_unchecked
from audit.verify.replaying import Replayed, replay
from audit.verify.witness_file import WitnessFile, read_witness


@dataclass(frozen=True)
class Replay:
    """What became of a file of witnesses.

    Args:
        groups: by divergence, norm and size. referee: who computed it.
    """

    groups: tuple[Replayed, ...]
    referee: str

    @property
    def holds(self) -> bool:
        """Whether every witness holds."""
        return not any(group.failed for group in self.groups)


def replay_file(
    witness: str, model: str, trust: bool = False, device: str = "cpu"
) -> Replay:
    """Return what became of the witnesses in a file.

    Args:
        witness: the file.
        model: the model that it is of.
        trust: whether the model's file may run code of its own.
        device: where a file without a runtime of its own runs.

    Raises:
        InputError: the file is none of witnesses, is broken, or is of another model.
        AuditError: the model cannot be opened on it.
    """
    file = read_witness(witness)
    settings = _settings(file, model, trust, device)
    opened = open_unchecked(settings, witness)
    groups, referee = replay(file, opened)
    return Replay(tuple(groups), referee)


def _settings(file: WitnessFile, model: str, trust: bool, device: str) -> Settings:
    """Return how the model was read when the witnesses were found."""
    given = f"The file of witnesses '{file.path}' does not say how its model was read"
    parts = "Expected what robaudit scan writes", "Write it again with --witness"
    with boundary(given, *parts, InputError):
        asked: Mapping[str, Any] = dict(file.about["asked"])
        known = {field.name for field in fields(ModelConfig)}
        if unknown := sorted(set(asked) - known):
            said = f"{given} (there is no option '{unknown[0]}')"
            raise InputError(said, *parts)
        here = {"path": model, "trust_model": trust, "device": device}
        config = ModelConfig(**{**asked, **here})
        return Settings(config, {}, str(file.about["method"]))

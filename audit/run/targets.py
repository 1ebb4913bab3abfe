"""The data's own θ, where `--target-key` names it: read, and held against the model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit.config import ScanConfig
from audit.ground import stages
from audit.ground.errors import ConfigError
from audit.measure import Answers
from audit.measure.preparation import Prepared
from audit.models.targets import read_targets
from audit.reports.found import UnderAttack
from audit.verify import Ladder
from audit.verify.selftest import misread_targets
from audit.verify.under_attack import under_attack

MOST_INPUTS = 2048
"""More inputs are a random sample of the audited ones."""
MOST_OF_A_FILE = 128
"""Of a law that a file computes: each draw takes a pass of it."""


def refuse_early(config: ScanConfig, prepared: Prepared) -> None:
    """Refuse θ that is missing, has another shape, or cannot be used, before the scan.

    Raises:
        AuditError: as `held_against`.
    """
    if config.target_key is None:
        return
    if not prepared.model.density.family.follows:
        raise ConfigError(
            "Coverage under attack was asked for (--target-key), and the draws of θ "
            "are those of the inputs as they are",
            "Expected draws of the law at the moved input: a sampler in the file, or a "
            "law on one or two coordinates",
            "Leave --target-key out, or give the model's own --sampler",
        )
    read_targets(
        prepared.model, config.target_key, np.zeros(0, np.int64), config.memory
    )


def held_against(
    config: ScanConfig,
    prepared: Prepared,
    answers: Answers,
    ladder: Ladder,
) -> tuple[UnderAttack | None, list[tuple[str, str]]]:
    """Return how well the model knows the data's θ; None where nobody asked.

    With it comes a warning (code, message) where these θ say that the law is misread.

    Args:
        config: with the key of θ.
        prepared: the open model.
        answers: of the audited inputs.
        ladder: the sizes, and how worst cases are searched.

    Raises:
        AuditError: θ is missing, does not fit, or the law has no likelihood.
    """
    if config.target_key is None:
        return None, []
    stages.stage(stages.ATTACK)
    index = inputs_of(config, prepared, answers)
    model, questions = prepared.model, prepared.questions
    theta = read_targets(model, config.target_key, index, config.memory)
    found = under_attack(model, questions, index, theta, ladder)
    misread = misread_targets(model, questions, index, theta.cpu().numpy())
    return found.record(config.target_key), misread


def inputs_of(
    config: ScanConfig, prepared: Prepared, answers: Answers
) -> NDArray[np.int64]:
    """Return the inputs [n], ascending, that are held against their θ."""
    parametric = prepared.model.density.family.parametric
    most = MOST_INPUTS if parametric else MOST_OF_A_FILE
    index = answers.index
    if len(index) <= most:
        return index
    rng = np.random.Generator(np.random.Philox(key=config.seed % 2**64))
    return np.sort(index[rng.choice(len(index), size=most, replace=False)])

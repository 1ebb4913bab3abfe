"""What a caller in Python needs beside a scan and an inspection."""

from __future__ import annotations

from audit.config import ScanConfig
from audit.measure import QuadraticForm
from audit.measure.local_form import local_form
from audit.measure.preparation import prepare, settings_of
from audit.models.contract import Settings
from audit.models.network import Network
from audit.reports.keys import check_config
from audit.reports.planned import with_plan

__all__ = ["QuadraticForm", "form_of", "model_settings"]


def model_settings(config: ScanConfig) -> Settings:
    """Return what a configuration says about the model."""
    return settings_of(config)


def form_of(config: ScanConfig, network: Network | None = None) -> QuadraticForm:
    """Return the local form of the first divergence at the inputs of the data.

    Args:
        config: the model, the data, the divergence.
        network: the model, where it is open already; None: the file of `config`.

    Raises:
        AuditError: one of its kinds, for whatever is wrong with them.
    """
    check_config(config)
    config = with_plan(config)
    return local_form(prepare(config, False, network))

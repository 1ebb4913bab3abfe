"""What a scan is asked to do, and who asked for it.

Four layers, the first that speaks wins: command line (or the keywords of a Python
call, without the next two), environment (`ROBAUDIT_*`),
file (`robaudit.yaml` or `[tool.robaudit]`), default. `ScanConfig.origins` remembers
which layer set each option; the report prints it.
"""

from audit.config.layers import (
    from_call,
    from_environment,
    has_settings,
    override,
    read_config,
    read_scans,
)
from audit.config.settings import (
    AttackConfig,
    ModelConfig,
    ScanConfig,
    Threshold,
    Waiver,
)
from audit.config.waivers import with_waivers

__all__ = [
    "AttackConfig",
    "ModelConfig",
    "ScanConfig",
    "Threshold",
    "Waiver",
    "from_call",
    "from_environment",
    "has_settings",
    "override",
    "read_config",
    "read_scans",
    "with_waivers",
]

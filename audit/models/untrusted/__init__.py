"""Look into a torch archive before anything in it may run.

Loading TorchScript runs a scripted `__setstate__`, which can write files; loading a
torch.export archive unpickles, and evaluates shape expressions, guards and argument
names as Python. So the zip is read as text and data first, and what could act is named.
What is not known to be harmless counts as a finding: the lists are of what may pass.
"""

from audit.models.untrusted.archive import refuse_untrusted
from audit.models.untrusted.exported import exported_findings
from audit.models.untrusted.script import torchscript_findings

__all__ = ["exported_findings", "refuse_untrusted", "torchscript_findings"]

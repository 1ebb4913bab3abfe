"""The laws of robaudit's own suite, to run over a third party's class.

    from audit.testing import check_law
    check_law(Rayleigh, {"scale": [[0.5], [2.0]]})

Each raises `LawBroken`, an AssertionError that says which law does not hold, at which
parameters, what was expected and what was found. They need no test runner.
"""

from typing import TYPE_CHECKING

from audit.ground.lazy import handed_on

if TYPE_CHECKING:
    from audit.attacks.checking import check_attack
    from audit.families.checking import check_law
    from audit.formats.checking import check_render
    from audit.geometry.checking import check_divergence
    from audit.ground.checking import LawBroken
    from audit.inputs.checking import check_reader
    from audit.models.checking import check_loader
    from audit.run.engines.checking import check_engine

__all__ = ["LawBroken", "check_attack", "check_divergence", "check_engine", "check_law"]
__all__ += ["check_loader", "check_reader", "check_render"]
__getattr__, __dir__ = handed_on(__name__)

"""What plug-ins are made of, kind by kind: see `robaudit explain plugins`."""

from typing import TYPE_CHECKING

from audit.ground.lazy import handed_on

if TYPE_CHECKING:
    from audit.attacks.bases import Attack, DirectedAttack, RandomAttack
    from audit.families import build_family
    from audit.families.continuous import Continuous
    from audit.families.interface import Family, Law, check_finite
    from audit.families.summed import Lattice, Summed
    from audit.families.tensors import Estimation, RowCost, Tensors
    from audit.families.univariate import Parameters, Univariate
    from audit.formats import Render
    from audit.geometry.divergence import Divergence
    from audit.ground.errors import ConfigError, InputError, NoFisher, NoTransport
    from audit.ground.storage import StoredFile
    from audit.inputs.readers import Field, InputReader
    from audit.linalg.averaged import Sampled
    from audit.linalg.operators import Diagonal
    from audit.linalg.quadratic_form import QuadraticForm
    from audit.linalg.spectrum import Estimate, Spectrum
    from audit.linalg.stored import LinearOperator, Matrix
    from audit.models import Loader
    from audit.models.network import Network, Port
    from audit.nodes.lines import POSITIVE, REAL, UNIT
    from audit.nodes.noise import Noise
    from audit.reports.report import Report
    from audit.run.engines import Engine

__all__ = ["POSITIVE", "REAL", "UNIT", "Attack", "ConfigError", "Continuous", "Engine"]
__all__ += ["Diagonal", "DirectedAttack", "Divergence", "Estimate", "Estimation", "Law"]
__all__ += ["Family", "Field", "InputError", "InputReader", "Lattice", "LinearOperator"]
__all__ += ["Loader", "Matrix", "Network", "NoFisher", "NoTransport", "Noise", "Port"]
__all__ += ["Parameters", "QuadraticForm", "RandomAttack", "Render", "Report", "Summed"]
__all__ += ["RowCost", "Sampled", "Spectrum", "StoredFile", "Tensors", "Univariate"]
__all__ += ["build_family", "check_finite"]
__getattr__, __dir__ = handed_on(__name__)

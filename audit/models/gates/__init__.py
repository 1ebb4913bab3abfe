"""Gates that every file passes before a number of it is reported.

(a) `parity`: the same values as an independent run of the file, at several batch sizes;
(b) `derivative`: the same derivative as central differences;
(c) `independence`: rows that do not interact, without which a summed gradient mixes
    the rows of a batch (batch norm in training mode, attention over the batch);
(d) `gradient`: a gradient that arrives, is finite, and is not zero because of an
    operator that lets none through.

One derivative is never trusted alone: each of these has caught something silent.
"""

from audit.models.gates.referee import examine
from audit.models.gates.subject import Findings, Subject

__all__ = ["Findings", "Subject", "examine"]

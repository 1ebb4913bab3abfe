"""Programs that compute each number once, and only those that somebody reads.

    program = spared(graph, values)      a few rows of every input
    (theta,) = program(values)           any number of rows

`seen` runs a few rows, `following` gives every number a name (`numbering`), `demand`
says which are needed and where they are made, `assembly` puts operands together and
`building` writes the calls (`emitted`).
"""

from audit.importer.spare.building import spared
from audit.importer.spare.emitted import Emitted
from audit.importer.spare.seen import NotSpared

__all__ = ["Emitted", "NotSpared", "spared"]

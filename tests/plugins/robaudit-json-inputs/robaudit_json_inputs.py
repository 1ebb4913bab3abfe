"""Inputs from a JSON document: an array for each name."""

import hashlib
import json
from pathlib import Path

import numpy as np

from audit.plugins import Field


class JsonFile:
    """Inputs from a JSON document, as float64."""

    def __init__(self, path):
        self.bytes = Path(path).read_bytes()
        found = json.loads(self.bytes).items()
        self.arrays = {name: np.array(rows, float) for name, rows in found}

    def fields(self):
        return {n: Field(a.shape, str(a.dtype)) for n, a in self.arrays.items()}

    def window(self, name, start, stop):
        return self.arrays[name][start:stop]

    def fingerprint(self):
        return hashlib.sha256(self.bytes).hexdigest()

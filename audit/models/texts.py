"""Inputs of text: held from the data or at a value, and given to the file by code.

All of the tool is tensors, and there are none of text. So an input that a file declares
as text becomes one of integers, codes of a vocabulary (`audit.inputs.texts`), and is
spelled out where the file is called, by the importer and by its referee alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from torch import Tensor

from audit.ground.errors import ConfigError
from audit.inputs.texts import Vocabulary
from audit.models.network import TEXT, Call, Network, Values, carried


def text_inputs(network: Network) -> frozenset[str]:
    """Return the inputs that are declared as text."""
    return frozenset(port.name for port in network.inputs if port.dtype == TEXT)


def refuse_texts(network: Network, contract: str) -> None:
    """Refuse a file with inputs of text, where they are not spelled out.

    Raises:
        ConfigError: there is one.
    """
    for name in sorted(text_inputs(network)):
        raise ConfigError(
            f"The input '{name}' of a {contract} file holds text",
            "Text is held in files whose outputs are parameters of a family",
            "Export the file with the looked-up numbers for an input",
        )


def spelling(network: Network, known: Mapping[str, Vocabulary]) -> Network:
    """Return the network with codes for the texts of some inputs.

    Args:
        network: the opened file.
        known: input -> what its codes stand for.
    """
    if not known:
        return network
    spelled = _Spelled(dict(known))
    return carried(network, spelled.network)


@dataclass(frozen=True)
class _Spelled:
    """Spells out codes for a file."""

    known: Mapping[str, Vocabulary]

    def network(self, network: Network) -> Network:
        """Return the network, taking integers."""
        ports = tuple(
            replace(port, dtype="int64", coded=True)
            if port.name in self.known
            else port
            for port in network.inputs
        )
        return network.rewired(self.call, inputs=ports)

    def call(self, call: Call) -> Call:
        """Return the call, given codes."""

        def spelled(values: Values) -> dict[str, Tensor]:
            return call({n: self._spell(n, value) for n, value in values.items()})

        return spelled

    def _spell(self, name: str, value: Tensor) -> Tensor:
        if name not in self.known:
            return value
        words = np.array(self.known[name], dtype=object)
        if len(words) == 1:
            found = np.full(tuple(value.shape), words[0], dtype=object)
        else:
            found = words[value.detach().cpu().numpy()]
        return cast(Tensor, found)  # an array, where the file takes no tensor


def held_texts(
    names: Iterable[str], constants: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, Vocabulary]]:
    """Return constants with a code for each text, and what it stands for."""
    known: dict[str, Vocabulary] = {
        name: (constants[name],) for name in names if name in constants
    }
    return {**constants, **dict.fromkeys(known, "0")}, known

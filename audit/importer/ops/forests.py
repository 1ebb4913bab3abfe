"""Tree ensembles as flat arrays: the leaf that a row reaches, and what leaves vote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audit.importer.limits import check_elements, check_listed
from audit.importer.values import Host

MODES = (  # in the order of their numbers in opset 5
    "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ",
    "BRANCH_MEMBER", "LEAF",
)  # fmt: skip
LEAF, MEMBER = 7, 6


@dataclass(frozen=True)
class Forest:
    """All nodes of all trees in flat arrays, children as positions in them."""

    roots: Host
    modes: Host
    features: Host
    splits: Host
    yes: Host
    no: Host
    nan_is_yes: Host
    members: dict[int, set[float]]

    def leaves(self, x: Host) -> Host:
        """Return the leaf that each row reaches in each tree."""
        check_listed((len(x), len(self.roots)), "The leaves of a tree ensemble")
        at = np.broadcast_to(self.roots, (len(x), len(self.roots))).copy()
        rows = np.arange(len(x))[:, None]
        for _ in range(len(self.modes) + 1):
            inner = self.modes[at] != LEAF
            if not inner.any():
                return at
            value = x[rows, self.features[at]]
            goes = self._goes(value, at)
            at = np.where(inner, np.where(goes, self.yes[at], self.no[at]), at)
        msg = "a tree has a cycle"
        raise ValueError(msg)

    def _goes(self, value: Host, at: Host) -> Host:
        split, mode = self.splits[at], self.modes[at]
        tests = [
            value <= split,
            value < split,
            value >= split,
            value > split,
            value == split,
            value != split,
        ]
        goes = np.select([mode == i for i in range(len(tests))], tests, False)
        for node, members in self.members.items():
            inside = np.isin(value, list(members))
            goes = np.where(at == node, inside, goes)
        tracked = self.nan_is_yes[at].astype(bool) | goes
        return np.asarray(np.where(np.isnan(value), tracked, goes))


def planted(
    tree_ids: list[int],
    node_ids: list[int],
    modes: list[str],
    features: list[int],
    splits: Host,
    yes: list[int],
    no: list[int],
    nan_is_yes: list[int] | None,
) -> tuple[Forest, dict[tuple[int, int], int]]:
    """Build a forest from the attributes of opsets 1 to 3."""
    place = {key: i for i, key in enumerate(zip(tree_ids, node_ids, strict=True))}
    kinds = np.array([MODES.index(mode) for mode in modes])

    def children(ids: list[int]) -> Host:
        found = [
            place[tree, child] if kind != LEAF else 0
            for tree, child, kind in zip(tree_ids, ids, kinds, strict=True)
        ]
        return np.array(found)

    firsts = dict(zip(reversed(tree_ids), reversed(range(len(tree_ids))), strict=True))
    roots = np.array([firsts[tree] for tree in sorted(firsts)])
    missing = nan_is_yes or [0] * len(modes)
    forest = Forest(
        roots,
        kinds,
        np.array(features),
        np.asarray(splits),
        children(yes),
        children(no),
        np.array(missing),
        {},
    )
    return forest, place


def voted(
    leaves: Host, votes: list[tuple[int, int, float]], targets: int, how: str
) -> Host:
    """Add up (or average, ...) what the reached leaves vote for."""
    table: dict[int, list[tuple[int, float]]] = {}
    for leaf, target, weight in votes:
        table.setdefault(leaf, []).append((target, weight))
    check_elements((len(leaves), targets), "The scores of a tree ensemble")
    start = {"MIN": np.inf, "MAX": -np.inf}.get(how, 0.0)
    scores = np.full((len(leaves), targets), start)
    join = {"MIN": np.minimum, "MAX": np.maximum}.get(how, np.add)
    for row, reached in enumerate(leaves):
        for leaf in reached:
            for target, weight in table.get(int(leaf), ()):
                scores[row, target] = join(scores[row, target], weight)
    scores = np.where(np.isinf(scores), 0.0, scores)
    return scores / leaves.shape[1] if how == "AVERAGE" else scores

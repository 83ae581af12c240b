"""Answers for a LightGBM ensemble with plain arrays: the same figures as `Booster.predict`, at a fraction of its cost.

A tree ensemble is constant between neighbouring thresholds. With few features and few thresholds it is therefore a
table, made once; an answer is a look-up. Knows numeric features only, none missing and
none nearer to 0 than 1e-35 but 0 itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class _Tree:
    """One tree as arrays; node 0 is the root, a negative child -n-1 is leaf n."""

    feature: IntArray
    threshold: FloatArray
    left: IntArray
    right: IntArray
    leaf_value: FloatArray
    leaf_weight: FloatArray
    depth: int


class Ensemble:
    """A trained regression ensemble.

    Args:
        booster: The trained model. Its features are numeric.

    Raises:
        ValueError: The model splits a feature by category.
    """

    def __init__(self, booster: lightgbm.Booster) -> None:
        dumped = booster.dump_model()
        self._features = int(dumped["max_feature_idx"]) + 1
        self._trees = [_parsed(each["tree_structure"]) for each in dumped["tree_info"]]

    def thresholds(self) -> list[FloatArray]:
        """Return the thresholds by feature, ascending and each once."""
        return [
            np.unique(np.concatenate([np.empty(0), *(t.threshold[t.feature == index] for t in self._trees)]))
            for index in range(self._features)
        ]

    def values(self, rows: FloatArray) -> FloatArray:
        """Return the sum of the trees for every row (rows x features)."""
        total = np.zeros(len(rows))
        for tree in self._trees:
            total += tree.leaf_value[_leaves(tree, rows)]
        return total

    def weights(self, rows: FloatArray) -> FloatArray:
        """Return the weight of the training rows that share a row's leaf, as a mean over trees."""
        total = np.zeros(len(rows))
        for tree in self._trees:
            total += tree.leaf_weight[_leaves(tree, rows)]
        return total / max(1, len(self._trees))


@dataclass(frozen=True, slots=True)
class Lattice:
    """The cells into which thresholds part the space of features.

    Attributes:
        thresholds: Thresholds by feature, ascending.
    """

    thresholds: tuple[FloatArray, ...]

    @classmethod
    def of(cls, ensembles: Sequence[Ensemble]) -> "Lattice":
        """Return the lattice on whose cells all the ensembles are constant."""
        by_feature = zip(*(ensemble.thresholds() for ensemble in ensembles), strict=True)
        return cls(tuple(np.unique(np.concatenate(each)) for each in by_feature))

    @property
    def cells(self) -> int:
        """Number of cells."""
        return int(np.prod([len(each) + 1 for each in self.thresholds], dtype=float))

    def representatives(self) -> FloatArray:
        """Return one row of each cell (cells x features), in the order of `cell`."""
        points = [
            np.append(
                each, each[-1] + 1.0 if len(each) else 0.0
            )  # a threshold itself belongs to the cell below it
            for each in self.thresholds
        ]
        grid = np.meshgrid(*points, indexing="ij")
        return np.stack([axis.ravel() for axis in grid], axis=1)

    def cell(self, columns: Sequence[FloatArray]) -> IntArray:
        """Return the number of each row's cell; the columns, one per feature, broadcast against each other."""
        number: IntArray = np.zeros((), dtype=np.intp)
        for thresholds, column in zip(self.thresholds, columns, strict=True):
            number = number * (len(thresholds) + 1) + _position(thresholds, column)
        return number


def _position(thresholds: FloatArray, column: FloatArray) -> IntArray:
    if not len(thresholds):
        return np.zeros((), dtype=np.intp)
    return np.searchsorted(thresholds, column, side="left")


def _leaves(tree: _Tree, rows: FloatArray) -> IntArray:
    at = np.zeros(len(rows), dtype=np.intp)
    if not len(tree.feature):
        return at
    every = np.arange(len(rows))
    for _ in range(tree.depth):
        inner = np.maximum(at, 0)
        goes_left = rows[every, tree.feature[inner]] <= tree.threshold[inner]
        at = np.where(at < 0, at, np.where(goes_left, tree.left[inner], tree.right[inner]))
    return -at - 1


def _parsed(structure: dict[str, Any]) -> _Tree:
    features: list[int] = []
    thresholds: list[float] = []
    children: list[list[int]] = []
    leaves: list[tuple[float, float]] = []

    def add(node: dict[str, Any]) -> tuple[int, int]:
        """Add a node and what is below it; return its number and depth."""
        if "leaf_value" in node:
            leaves.append((float(node["leaf_value"]), float(node.get("leaf_weight", 0.0))))
            return -len(leaves), 0
        if node["decision_type"] != "<=":
            raise ValueError(f"only numeric splits are known, not {node['decision_type']}")
        number = len(features)
        features.append(int(node["split_feature"]))
        thresholds.append(float(node["threshold"]))
        children.append([0, 0])
        (left, left_depth), (right, right_depth) = add(node["left_child"]), add(node["right_child"])
        children[number] = [left, right]
        return number, 1 + max(left_depth, right_depth)

    _, depth = add(structure)
    sides = np.array(children, dtype=np.intp).reshape(-1, 2)
    values = np.array(leaves)
    return _Tree(
        feature=np.array(features, dtype=np.intp),
        threshold=np.array(thresholds, dtype=float),
        left=sides[:, 0],
        right=sides[:, 1],
        leaf_value=values[:, 0],
        leaf_weight=values[:, 1],
        depth=depth,
    )

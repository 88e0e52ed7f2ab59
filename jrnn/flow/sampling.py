"""Which sequences and times stand for all, where looking at each would cost too much. For the host."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np


def even_sample(items: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the items, evenly spread, the last one always among them."""
    if len(items) <= most:
        return items
    return items[np.unique(np.linspace(len(items) - 1, 0, most).round().astype(int))]


def chosen_sequences(lengths: np.ndarray, lag: int, most: int, order: np.ndarray | None = None) -> np.ndarray:
    """At most `most` of the sequences that have a way back of `lag` steps: lengths [S] -> indices.

    The first ones in `order`, if any of these is long enough; else evenly spread.
    """
    if order is not None and (lengths[order] > lag).any():
        return order[lengths[order] > lag][:most]
    able = np.flatnonzero(lengths > lag)
    if not len(able):
        able = np.flatnonzero(lengths == lengths.max(initial=0))
    return even_sample(able, most)


def taken(tree: Any, *index: Any) -> Any:
    """Those entries of every array, as NumPy arrays: JAX would compile several programs for each shape."""
    return jax.tree.map(lambda array: np.asarray(array)[index], tree)


def affordable(cost: float, budget: float, most: int) -> int:
    """How many sequences of this cost each fit in the budget: at least 1, at most `most`."""
    return int(min(max(budget // max(cost, 1.0), 1), most))

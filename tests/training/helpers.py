"""Small data, and what several tests compare with."""

import jax
import numpy as np


def cases(count=20, steps=6, features=3, classes=3, *, each=False, lengths=True, seed=0, numbers=None):
    """A data set as `fit` takes it; with `numbers` the targets are that many numbers instead of a class."""
    rng = np.random.default_rng(seed)
    lead = (count, steps) if each else (count,)
    y = rng.integers(0, classes, lead) if numbers is None else rng.normal(size=(*lead, numbers))
    data = {"x": rng.normal(size=(count, steps, features)), "y": y}
    return {**data, "lengths": rng.integers(0, steps + 1, count)} if lengths else data


def assert_same_bits(ours, theirs):
    """Two pytrees of arrays are equal in structure, dtype and every bit."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()

"""The parameters of a Flax module that holds a cell: their dtypes, and the annotations of how they are partitioned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells import mixed_precision
from jrnn.types import InputError, Params


def in_dtypes(cell: Any, input_size: int | None, dtype: Any, param_dtype: Any) -> Any:
    """The cell, computing in `dtype` with parameters kept in `param_dtype`; each by default the cell's own."""
    if dtype is None and param_dtype is None:
        return cell
    leaves = jax.tree.leaves(jax.eval_shape(lambda key: cell.init(key, input_size), jax.random.key(0)))
    own = sorted({str(leaf.dtype) for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)})
    if len(own) != 1 and None in (dtype, param_dtype):
        raise InputError("dtype", f"a cell of dtypes {own}, and not both", "dtype and param_dtype")
    dtypes = {"dtype": dtype, "param_dtype": param_dtype}
    return mixed_precision(cell, **{name: own[0] if given is None else given for name, given in dtypes.items()})


def annotated(params: Params, sharding: Mapping[str, Any] | None, box: Callable[[Any, tuple | None], Any]) -> Params:
    """box(leaf, names of its axes) for every leaf: the names that `sharding` has for its path ("0/w_in") or the end of
    it ("w_in"), or None.

    Raises:
      InputError: a name that no leaf has, or too many or few axes.
    """
    names = {} if sharding is None else dict(sharding)
    used: set[str] = set()

    def leaf(path: Any, array: Any) -> Any:
        parts = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        ends = ["/".join(parts[i:]) for i in range(len(parts))]
        found = next((end for end in ends if end in names), None)
        if found is None:
            return box(array, None)
        used.add(found)
        if not isinstance(names[found], tuple) or len(names[found]) != jnp.ndim(array):
            given = f"{names[found]!r} for {found!r} of shape {jnp.shape(array)}"
            raise InputError("sharding", given, "a tuple with a name of a mesh axis, or None, for each axis")
        return box(array, names[found])

    made = jax.tree_util.tree_map_with_path(leaf, params)
    if unknown := sorted(names.keys() - used):
        known = sorted(
            jax.tree_util.keystr(path, simple=True, separator="/")
            for path, _ in jax.tree_util.tree_leaves_with_path(params)
        )
        raise InputError("sharding", f"{unknown[0]!r}", f"names of the parameters: {', '.join(known)}")
    return made

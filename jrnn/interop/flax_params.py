"""The parameters of a Flax module that holds a cell: their dtypes, and the annotations of how they are partitioned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells import mixed_precision
from jrnn.cures.within import rebuilt
from jrnn.types import Array, InputError, Params, Shape

Strip = Callable[[Any], tuple[Any, tuple | None]]
"""What an initialiser gave -> (the array, the names of its axes or None)."""


@dataclass(frozen=True)
class Stripped:
    """An initialiser without the box that `with_partitioning` puts around what it draws."""

    init: Callable[..., Any]
    strip: Strip

    def __call__(self, key: Array, shape: Shape, dtype: Any) -> Array:
        return self.strip(self.init(key, shape, dtype))[0]


def unboxed(cell: Any, strip: Strip) -> tuple[Any, dict[str, tuple]]:
    """(the cell with plain initialisers, {name of a parameter: names of its axes} of those that had a box)."""
    found: dict[str, tuple] = {}

    def change(bare: Any) -> Any:
        plain = {}
        for name in getattr(bare, "initialisers", ()):
            init = getattr(bare, name)
            if not hasattr(init, "__wrapped__"):  # what `with_partitioning` makes has it; others may mind the shape
                continue
            shape = (2,) if name == "bias" else (2, 2)
            names = strip(init(jax.random.key(0), shape, jnp.float32))[1]
            if names is None:
                continue
            if found.setdefault(name, names) != names:
                given = f"{found[name]!r} and {names!r} for {name!r} of several layers"
                raise InputError("cell", given, 'sharding={"0/w_in": ..., "1/w_in": ...}, which tells layers apart')
            plain[name] = Stripped(init, strip)
        return replace(bare, **plain) if plain else bare

    return rebuilt(cell, change), found


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

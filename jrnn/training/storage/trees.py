"""Pytrees as lists of NumPy arrays with a JSON layout, and back: by that layout, or by a template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.training.storage.descriptions import named_tuples
from jrnn.types import InputError


def like_template(tree: dict[str, Any], template: Any, argument: str, where: Path) -> Any:
    """The stored leaves in the structure of `template`; InputError for the first path, shape or dtype that differs."""
    paths, treedef = jax.tree_util.tree_flatten_with_path(template)
    expected = [(jax.tree_util.keystr(path), *to_fact(leaf)) for path, leaf in paths]
    given = [(leaf["path"], leaf["kind"], leaf["dtype"], tuple(leaf["shape"])) for leaf in tree["leaves"]]
    for ours, theirs in zip(expected, given, strict=False):
        if ours != theirs:
            raise InputError(argument, spell(ours), f"{spell(theirs)}, as in {where}")
    if len(expected) != len(given):
        raise InputError(argument, f"{len(expected)} arrays", f"{len(given)} arrays, as in {where}")
    leaves = [to_device(array, leaf) for array, leaf in zip(tree["arrays"], tree["leaves"], strict=True)]
    return jax.tree.unflatten(treedef, leaves)


def as_written(tree: dict[str, Any]) -> Any:
    """The stored tree rebuilt from its own description; InputError if it holds containers that need a template."""
    leaves = iter([to_device(array, leaf) for array, leaf in zip(tree["arrays"], tree["leaves"], strict=True)])

    def build(layout: Any) -> Any:
        if layout is None:
            return None
        if layout == "array":
            return next(leaves)
        if "dict" in layout:
            return {key: build(item) for key, item in layout["dict"]}
        if "list" in layout:
            return [build(item) for item in layout["list"]]
        if "tuple" in layout:
            return tuple(build(item) for item in layout["tuple"])
        if layout.get("named") in named_tuples():
            return named_tuples()[layout["named"]](*[build(item) for item in layout["fields"]])
        kind = layout.get("named") or layout.get("other")
        raise InputError("like", "none", f"parameters of the same structure: the stored ones hold a {kind}")

    return build(tree["layout"])


def layout_of(tree: Any) -> Any:
    """The containers of a pytree as JSON, dict keys in JAX's order; those of other classes by name only."""
    if tree is None:
        return None
    if type(tree) is dict and all(isinstance(key, str) for key in tree):
        return {"dict": [[key, layout_of(tree[key])] for key in sorted(tree)]}
    if type(tree) in (list, tuple):
        return {type(tree).__name__: [layout_of(item) for item in tree]}
    if named_tuples().get(type(tree).__name__) is type(tree):
        return {"named": type(tree).__name__, "fields": [layout_of(item) for item in tree]}
    return "array" if jax.tree_util.treedef_is_leaf(jax.tree.structure(tree)) else {"other": type(tree).__qualname__}


def to_host(leaf: Any) -> tuple[np.ndarray, str]:
    """A leaf as a NumPy array, and what it was: "array", or the name of a PRNG key's implementation."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return np.asarray(jax.random.key_data(leaf)), str(jax.random.key_impl(leaf))
    array = np.asarray(leaf)
    if type(leaf) in (
        bool,
        int,
        float,
        complex,
    ):  # as JAX would have it, so that it can be loaded under the same setting
        narrow = array.astype(jnp.result_type(leaf))
        return (narrow if narrow.dtype.kind != "i" or narrow == array else array), "array"
    return array, "array"


def to_device(array: np.ndarray, leaf: dict[str, Any]) -> jax.Array:
    """The stored leaf as a JAX array of the same dtype, or InputError where JAX is set not to have it."""
    if leaf["kind"] != "array":
        return jax.random.wrap_key_data(jnp.asarray(array), impl=leaf["kind"])
    result = jnp.array(array)
    if result.dtype != array.dtype:
        raise InputError("directory", f"{array.dtype} arrays", 'jax.config.update("jax_enable_x64", True) to load them')
    return result


def facts(array: np.ndarray) -> dict[str, Any]:
    """Shape and dtype, as JSON."""
    return {"shape": list(array.shape), "dtype": array.dtype.name}


def to_fact(leaf: Any) -> tuple[str, str, tuple[int, ...]]:
    """(kind, dtype, shape) of a leaf as it would be stored."""
    array, kind = to_host(leaf)
    return kind, array.dtype.name, array.shape


def spell(fact: tuple[str, str, str, tuple[int, ...]]) -> str:
    """path dtype[shape]."""
    return f"{fact[0]} {fact[2]}{list(fact[3])}"

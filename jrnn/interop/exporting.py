"""Functions with jrnn inside as StableHLO programs, for processes that do not have jrnn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import export

from jrnn.types import InputError


def to_stablehlo(function: Callable, *arguments: Any, platforms: Sequence[str] | None = None) -> export.Exported:
    """`function` as a program that `jax.export` serialises and any process with JAX runs, with or without jrnn.

        program = to_stablehlo(lambda p, h, x: jrnn.step(cell, p, h, x), params, state, x)
        Path("step.exported").write_bytes(program.serialize())         # serialising needs the package flatbuffers
        state, y = jax.export.deserialize(data).call(params, state, x)   # elsewhere; `state` a plain tuple

    A saved forecaster that takes and gives numbers in the user's unit, its scaling inside, is
    `to_stablehlo(saved.stepper(), saved.weights, saved.first_state(), x)`.

    NamedTuples, such as jrnn's states and `Unrolled`, are plain tuples in the program's arguments and results, their
    fields in the same order: (h, c) for an LSTM.

    Args:
      function: of arrays and pytrees; `jax.jit` of it is exported. The compiled kernel is left out by
        `jrnn.unroll(..., implementation="xla")` and `RNN(..., implementation="xla")`: its calls have no meaning
        where jrnn is not loaded.
      arguments: examples, or `jax.ShapeDtypeStruct`s, whose sizes may be symbols of `jax.export.symbolic_shape`: one
        program for every batch size.
      platforms: what it is for, ("cpu", "cuda", "tpu"); by default where JAX runs now.
    Returns:
      A `jax.export.Exported`. Its results differ from those of `function` by no more than compilation does.
    Raises:
      InputError: the function runs the compiled kernel.
    """
    structure = jax.tree.structure(arguments)

    def program(*given: Any) -> Any:
        return plain(function(*jax.tree.unflatten(structure, jax.tree.leaves(given))))

    try:
        return export.export(jax.jit(program), platforms=platforms)(*plain(arguments))
    except ValueError as error:
        if "jrnn_forward" not in str(error) and "jrnn_backward" not in str(error):
            raise
        needed = '`implementation="xla"` in its calls of jrnn.unroll and its RNN modules'
        raise InputError("function", "one that runs the compiled kernel", needed) from error


def plain(tree: Any) -> Any:
    """A pytree with tuples in the place of NamedTuples."""

    def named(node: Any) -> bool:
        return isinstance(node, tuple) and hasattr(node, "_fields")

    return jax.tree.map(lambda node: tuple(map(plain, node)) if named(node) else node, tree, is_leaf=named)

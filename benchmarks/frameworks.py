"""The forward pass and the training step in each framework. Imports a framework only when asked for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.contenders import LACKS
from benchmarks.problem import Problem

GEMM_SIZE = 1024
KINDS = ("forward", "step")
"""What is timed: the outputs alone, as in inference; the gradient of all parameters."""


class Built(NamedTuple):
    """A layer that is ready to run; every function has finished when it returns."""

    run: dict[str, Callable[[], Any]]
    """A function for each of KINDS."""
    results: Callable[[], dict[str, np.ndarray]]
    """outputs [T, B, H] and the gradients, named and laid out as the weights of a `Problem`."""
    gemm: Callable[[], Any]
    """A float32 product of two [GEMM_SIZE, GEMM_SIZE] matrices."""
    compile_seconds: dict[str, float] | None
    """Tracing, lowering and compiling of each of KINDS; None where nothing is compiled."""
    device: str
    """Where it runs."""
    device_peak: Callable[[], int | None]
    """The most bytes the device has held, libraries aside; None for a CPU."""
    chosen: str | None = None
    """jrnn: the implementation it takes, and why not those before."""


def build(framework: str, problem: Problem, one_thread: bool = False) -> Built:
    """The layer of `problem` in one framework; `one_thread` is PyTorch's."""
    if framework == "torch":
        from benchmarks.torch_layer import build_torch

        return build_torch(problem, one_thread)
    return build_jax(framework, problem)


def build_jax(framework: str, problem: Problem) -> Built:
    """A layer of a JAX library, compiled ahead of time."""
    import jax
    import jax.numpy as jnp

    from benchmarks.jax_layers import LAYERS

    layer = LAYERS[framework](problem.cell, problem.size)  # first, as programs import what they use before they run
    device = jax.devices()[0]
    if device.platform != "cpu":  # there float32 products are rounded to fewer bits unless this is asked for
        jax.config.update("jax_default_matmul_precision", "highest")
    square = jnp.ones((GEMM_SIZE, GEMM_SIZE), jnp.float32)
    product = jax.jit(jnp.matmul).lower(square, square).compile()  # before the clock: it wakes the compiler
    weights = jax.tree.map(jnp.asarray, problem.weights)
    params, back = jax.vjp(layer.convert, weights)
    xs, cotangent = jnp.asarray(problem.xs), jnp.asarray(problem.cotangent)

    def loss(params: Any, xs: Any, cotangent: Any) -> Any:
        return jnp.mean(layer.unroll(params, xs) * cotangent)

    forward, forward_seconds = compiled(layer.unroll, params, xs)
    gradient, step_seconds = compiled(jax.grad(loss), params, xs, cotangent)

    def results() -> dict[str, np.ndarray]:
        found = {"outputs": forward(params, xs), **back(gradient(params, xs, cotangent))[0]}
        lacks = LACKS.get((framework, problem.cell), ())
        return {name: np.asarray(value) for name, value in found.items() if name not in lacks}

    def device_peak() -> int | None:
        return None if device.platform == "cpu" else (device.memory_stats() or {}).get("peak_bytes_in_use")

    return Built(
        run={
            "forward": lambda: jax.block_until_ready(forward(params, xs)),
            "step": lambda: jax.block_until_ready(gradient(params, xs, cotangent)),
        },
        results=results,
        gemm=lambda: product(square, square).block_until_ready(),
        compile_seconds={"forward": forward_seconds, "step": step_seconds},
        device=device.device_kind,
        device_peak=device_peak,
        chosen=layer.chosen,
    )


def compiled(function: Callable, *arguments: Any) -> tuple[Callable, float]:
    """The function compiled for these arguments, and how long that took."""
    import jax

    start = time.perf_counter()
    made = jax.jit(function).lower(*arguments).compile()
    return made, time.perf_counter() - start

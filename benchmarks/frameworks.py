"""One training step in each framework, on given weights. Imports a framework only when it is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.problem import GATES, Problem

PACKAGES = {"jrnn": "jrnn", "flax.linen": "flax", "flax.nnx": "flax", "torch": "torch"}
"""Framework -> the package it needs. The first is what the others are compared with."""

LACKS = {("flax.nnx", "gru"): ("bias_rec",)}
"""(framework, cell) -> weights it does not have."""

GEMM_SIZE = 1024


class Built(NamedTuple):
    """A training step that is ready to run."""

    step: Callable[[], Any]
    """One step; finished when it returns."""
    results: Callable[[], dict[str, np.ndarray]]
    """outputs [T, B, H] and the gradients, named and laid out as the weights of a `Problem`."""
    gemm: Callable[[], Any]
    """A float32 product of two [GEMM_SIZE, GEMM_SIZE] matrices; finished when it returns."""
    compile_seconds: float | None
    """Tracing, lowering and compiling; None where nothing is compiled."""


def build(framework: str, problem: Problem) -> Built:
    """The step of `problem` in one framework."""
    return BUILDERS[framework](problem)


def build_jrnn(problem: Problem) -> Built:
    """`jrnn.unroll`."""
    import jrnn

    cell = {"elman": jrnn.elman, "lstm": jrnn.lstm, "gru": jrnn.gru}[problem.cell](problem.cotangent.shape[-1])
    return build_jax(lambda params, xs: jrnn.unroll(cell, params, xs).outputs, problem.weights, problem, dict)


def build_linen(problem: Problem) -> Built:
    """`flax.linen.RNN`; one kernel a gate."""
    from flax import linen

    from benchmarks import linen_layout

    cells = {"elman": linen.SimpleCell, "lstm": linen.OptimizedLSTMCell, "gru": linen.GRUCell}
    layer = linen.RNN(cells[problem.cell](problem.cotangent.shape[-1]), time_major=True)
    params = {"params": {"cell": linen_layout.to_linen(problem.cell, problem.weights)}}
    return build_jax(
        layer.apply, params, problem, lambda grads: linen_layout.from_linen(problem.cell, grads["params"]["cell"])
    )


def build_nnx(problem: Problem) -> Built:
    """`flax.nnx.RNN`; its GRU has no recurrent bias."""
    from flax import nnx

    cells = {"elman": nnx.SimpleCell, "lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}
    sizes = problem.xs.shape[-1], problem.cotangent.shape[-1]
    layer = nnx.RNN(cells[problem.cell](*sizes, rngs=nnx.Rngs(0)), time_major=True)
    graph, params, rest = nnx.split(layer, nnx.Param, ...)
    bias_owner = "dense_h" if problem.cell == "lstm" else "dense_i"
    paths = {
        "w_in": ("dense_i", "kernel"),
        "w_rec": ("dense_h", "kernel"),
        "bias": (bias_owner, "bias"),
    }
    given = {"dense_i": {}, "dense_h": {}}
    for name, (owner, leaf) in paths.items():
        given[owner][leaf] = problem.weights[name]
    nnx.replace_by_pure_dict(params, {"cell": given})

    def from_nnx(grads: Any) -> dict[str, Any]:
        pure = nnx.to_pure_dict(grads)["cell"]
        return {name: pure[owner][leaf] for name, (owner, leaf) in paths.items()}

    def apply(params: Any, xs: Any) -> Any:
        # the carry is zero whatever the key, but nnx counts keys and lets no outer counter change under a trace
        return nnx.merge(graph, params, rest)(xs, rngs=nnx.Rngs(0))

    return build_jax(apply, params, problem, from_nnx)


def build_jax(apply: Callable, params: Any, problem: Problem, to_weights: Callable) -> Built:
    """The jitted gradient of a JAX layer `apply(params, xs) -> outputs`, compiled ahead of time."""
    import jax
    import jax.numpy as jnp

    def loss(params: Any, xs: Any, cotangent: Any) -> Any:
        return jnp.mean(apply(params, xs) * cotangent)

    arguments = jax.tree.map(jnp.asarray, (params, problem.xs, problem.cotangent))
    start = time.perf_counter()
    gradient = jax.jit(jax.grad(loss)).lower(*arguments).compile()
    compile_seconds = time.perf_counter() - start
    square = jnp.ones((GEMM_SIZE, GEMM_SIZE), jnp.float32)
    product = jax.jit(jnp.matmul)

    def results() -> dict[str, np.ndarray]:
        found = {"outputs": jax.jit(apply)(*arguments[:2]), **to_weights(gradient(*arguments))}
        return {name: np.asarray(value) for name, value in found.items()}

    return Built(
        step=lambda: jax.block_until_ready(gradient(*arguments)),
        results=results,
        gemm=lambda: product(square, square).block_until_ready(),
        compile_seconds=compile_seconds,
    )


def build_torch(problem: Problem) -> Built:
    """`torch.nn.RNN`, `LSTM`, `GRU` with PyTorch's default threads; of its two biases the second is zero."""
    import torch

    modules = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
    hidden = problem.cotangent.shape[-1]
    layer = modules[problem.cell](problem.xs.shape[-1], hidden)
    second = np.zeros(GATES[problem.cell] * hidden, np.float32)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.from_numpy(problem.weights["w_in"].T.copy()))
        layer.weight_hh_l0.copy_(torch.from_numpy(problem.weights["w_rec"].T.copy()))
        layer.bias_ih_l0.copy_(torch.from_numpy(problem.weights["bias"]))
        if "bias_rec" in problem.weights:
            second[2 * hidden :] = problem.weights["bias_rec"]
        layer.bias_hh_l0.copy_(torch.from_numpy(second))
    xs, cotangent = torch.from_numpy(problem.xs), torch.from_numpy(problem.cotangent)
    square = torch.ones(GEMM_SIZE, GEMM_SIZE)

    def step() -> Any:
        layer.zero_grad(set_to_none=True)
        outputs, _ = layer(xs)
        (outputs * cotangent).mean().backward()
        return outputs

    def results() -> dict[str, np.ndarray]:
        found = {
            "outputs": step().detach(),
            "w_in": layer.weight_ih_l0.grad.T,
            "w_rec": layer.weight_hh_l0.grad.T,
            "bias": layer.bias_ih_l0.grad,
        }
        if "bias_rec" in problem.weights:
            found["bias_rec"] = layer.bias_hh_l0.grad[2 * hidden :]
        return {name: value.numpy().copy() for name, value in found.items()}

    return Built(step, results, lambda: square @ square, None)


BUILDERS = {"jrnn": build_jrnn, "flax.linen": build_linen, "flax.nnx": build_nnx, "torch": build_torch}

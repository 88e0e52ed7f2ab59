"""What the full credit map costs: `gradient_flow` against one vector-Jacobian product per output, vmapped."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.processes import ask
from benchmarks.tables import number, table
from benchmarks.timing import seconds

CELLS = ("elman", "gru", "lstm")
SIZE = {"steps": 256, "batch": 32, "features": 32, "hidden": 128}
QUICK = {"steps": 12, "batch": 3, "features": 2, "hidden": 5}
AT_ONCE = 16
"""Outputs pulled back together by the peer that does not hold all of them at once."""


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """A process for each cell; rounds in it alternate between all variants."""
    size, cells, rounds = (QUICK, ("elman",), 1) if quick else (SIZE, CELLS, 5)
    cases = []
    for cell in cells:
        say(f"flow_cost {cell}: {rounds} alternating rounds")
        cases.append({"cell": cell, **ask({"job": "flow_cost", "cell": cell, "size": size, "rounds": rounds})})
    return {"size": size, "rounds": rounds, "cases": cases}


def measure(cell_name: str, size: dict[str, int], rounds: int) -> dict[str, Any]:
    """Seconds of each variant in each round, XLA's temporary memory, and how far the credit maps are apart.

    flow: `gradient_flow`, which also gives G_tau's norm, cosine and share at every lag; all: every output's product at
    once; some: AT_ONCE at a time, norms kept only; backward: one plain backward pass, for scale.
    """
    import jax
    import jax.numpy as jnp

    import jrnn

    T, B, F, H = (size[name] for name in ("steps", "batch", "features", "hidden"))
    cell = {"elman": jrnn.elman, "lstm": jrnn.lstm, "gru": jrnn.gru}[cell_name](H)
    params = cell.init(jax.random.key(0), F)
    xs, weight = jax.random.normal(jax.random.key(1), (T, B, F)), jax.random.normal(jax.random.key(2), (T, B, H))

    def loss(run: Any) -> Any:
        return jnp.sum(jnp.tanh(run.outputs) ** 2 * weight)

    def pullback(params: Any, xs: Any) -> tuple[Any, Any]:
        tap = jrnn.unroll(cell, params, xs, return_states=True)
        zeros = jax.tree.map(jnp.zeros_like, tap.states)
        outputs, pull = jax.vjp(lambda tap: jrnn.unroll(cell, params, xs, state_tap=tap).outputs, zeros)
        g = jax.grad(lambda y: loss(tap._replace(outputs=y)))(outputs)

        def size_of_part(row: Any) -> Any:
            one = (jnp.arange(T) == row)[:, None, None]
            return jnp.linalg.norm(jrnn.ravel_state(pull(jnp.where(one, g, 0.0))[0], 2), axis=-1)

        return size_of_part, jnp.arange(T)

    def every(params: Any, xs: Any) -> Any:
        of_row, rows = pullback(params, xs)
        return jax.vmap(of_row)(rows)

    def some(params: Any, xs: Any) -> Any:
        of_row, rows = pullback(params, xs)
        return jax.lax.map(of_row, rows, batch_size=AT_ONCE)

    jitted = {
        "flow": jax.jit(lambda p, x: jrnn.gradient_flow(cell, p, x, loss, lag_gradients=False)),
        "all": jax.jit(every),
        "some": jax.jit(some),
        "backward": jax.jit(jax.grad(lambda p, x: loss(jrnn.unroll(cell, p, x)))),
    }
    compiled = {name: function.lower(params, xs).compile() for name, function in jitted.items()}
    answers = {name: jax.block_until_ready(function(params, xs)) for name, function in compiled.items()}
    flow = answers["flow"]
    apart = {
        name: float(jnp.max(jnp.abs(flow.credit - answers[name])) / jnp.max(flow.credit)) for name in ("all", "some")
    }
    times: dict[str, list[float]] = {name: [] for name in compiled}
    for _ in range(rounds):
        for name, function in compiled.items():
            times[name].append(seconds(lambda function=function: jax.block_until_ready(function(params, xs))))
    return {
        "seconds": times,
        "temp_bytes": {name: function.memory_analysis().temp_size_in_bytes for name, function in compiled.items()},
        "apart": apart,
        "sum_error": float(flow.sum_error),
    }


def show(report: dict[str, Any]) -> str:
    """The table and how to read it; no ratio where the credit maps differ."""
    head = (
        "cell",
        "flow s",
        "all / flow",
        "some / flow",
        "flow / backward",
        "flow MiB",
        "all MiB",
        "some MiB",
        "apart",
    )
    rows = []
    for case in report["cases"]:
        taken = case["seconds"]
        agrees = max(case["apart"].values()) < 1e-4

        def ratio(a: str, b: str, taken: Any = taken, agrees: bool = agrees) -> str:
            return number(median(x / y for x, y in zip(taken[a], taken[b]))) if agrees else "differ"

        rows.append(
            (
                case["cell"],
                number(median(taken["flow"])),
                ratio("all", "flow"),
                ratio("some", "flow"),
                ratio("flow", "backward"),
                *(number(case["temp_bytes"][name] / 2**20) for name in ("flow", "all", "some")),
                f"{max(case['apart'].values()):.0e}",
            )
        )
    size = ", ".join(f"{name} {value}" for name, value in report["size"].items())
    return table(head, rows) + (
        f"\n{size}; float32. All: one product per output, vmapped over all outputs; some: {AT_ONCE} outputs at a time. "
        "Both give the credit map alone, flow also the parameter gradient by lag.\nRatios: medians over rounds."
    )

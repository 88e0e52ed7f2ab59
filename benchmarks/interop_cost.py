"""What a Flax module around `jrnn.unroll` costs: nothing but its own lines; Flax's own RNN modules beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.agreement import admitted, compare
from benchmarks.processes import ask
from benchmarks.tables import number, table
from benchmarks.timing import filling, seconds

PLAIN = "jrnn.unroll"
OWN = ("jrnn in nnx", "jrnn in linen")
FLAX = ("nnx.RNN", "linen.RNN")
FIGURES = ("forward", "step", "compile")
TARGET = 1.05
"""What a module of jrnn may cost at most, over `jrnn.unroll` alone."""
BLOCK_SECONDS = 0.02


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """A process for each cell and size; rounds in it alternate between all ways."""
    sizes, cells, rounds = (("quick",), ("lstm",), 1) if quick else (("S", "M"), ("elman", "lstm", "gru"), 25)
    cases = []
    for size in sizes:
        for cell in cells:
            say(f"interop_cost {cell} {size}: {rounds} alternating rounds")
            cases.append(ask({"job": "interop_cost", "cell": cell, "size": size, "rounds": rounds}))
    return {"rounds": rounds, "target": TARGET, "cases": cases}


def measure(cell_name: str, label: str, rounds: int) -> dict[str, Any]:
    """Seconds of each way and figure in each round, in this process, and whose answers agree with `jrnn.unroll`'s.

    forward: outputs; step: gradients of all parameters; compile: tracing and compiling the step, with empty caches, in
    a fifth of the rounds.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from benchmarks.jax_layers import LAYERS, jrnn_in_linen, jrnn_in_nnx
    from benchmarks.problem import QUICK_SIZES, SIZES, problem

    size = {**SIZES, **QUICK_SIZES}[label]
    made = problem(cell_name, size)
    xs, cotangent = jnp.asarray(made.xs), jnp.asarray(made.cotangent)
    makers = (LAYERS["jrnn"], jrnn_in_nnx, jrnn_in_linen, LAYERS["flax.nnx"], LAYERS["flax.linen"])
    layers = {way: make(cell_name, size) for way, make in zip((PLAIN, *OWN, *FLAX), makers, strict=True)}
    calls: dict[tuple[str, str], Callable[[], Any]] = {}
    answers: dict[str, dict[str, np.ndarray]] = {}
    steps: dict[str, Callable[[], Any]] = {}
    for way, layer in layers.items():
        weights = {name: jnp.asarray(array) for name, array in made.weights.items()}
        params = layer.convert(weights)

        def loss(params: Any, layer: Any = layer) -> Any:
            return jnp.mean(layer.unroll(params, xs) * cotangent)

        forward, step = jax.jit(lambda params, layer=layer: layer.unroll(params, xs)), jax.jit(jax.grad(loss))
        calls[way, "forward"] = lambda forward=forward, params=params: jax.block_until_ready(forward(params))
        calls[way, "step"] = lambda step=step, params=params: jax.block_until_ready(step(params))
        steps[way] = lambda loss=loss, params=params: jax.jit(jax.grad(lambda p: loss(p))).lower(params).compile()
        found = jax.grad(lambda weights, layer=layer, loss=loss: loss(layer.convert(weights)))(weights)
        answers[way] = {"outputs": np.asarray(forward(params)), **jax.tree.map(np.asarray, found)}
    comparisons = {
        way: compare(answers[way], answers[PLAIN], ("bias_rec",) if way == "nnx.RNN" else ())
        for way in layers
        if way != PLAIN
    }
    if "bias_rec" in answers["nnx.RNN"]:  # it has none: its gradient is zero
        comparisons["nnx.RNN"].errors.pop("bias_rec", None)
    repeats = {key: filling(call, BLOCK_SECONDS) for key, call in calls.items()}
    times: dict[str, dict[str, list[float]]] = {way: {figure: [] for figure in FIGURES} for way in layers}
    names = list(layers)
    for i in range(rounds):
        for way in [*names[i % len(names) :], *names[: i % len(names)]]:
            for figure in ("forward", "step"):
                times[way][figure].append(seconds(calls[way, figure], repeats[way, figure]))
    for i in range(max(1, rounds // 5)):
        for way in [*names[i % len(names) :], *names[: i % len(names)]]:
            jax.clear_caches()
            start = time.perf_counter()
            steps[way]()
            times[way]["compile"].append(time.perf_counter() - start)
    agree = sorted(admitted(comparisons, PLAIN))
    return {"cell": cell_name, "size": label, **size._asdict(), "seconds": times, "agree": agree}


def ratio(case: dict[str, Any], way: str, figure: str) -> float | None:
    """A way's time over `jrnn.unroll`'s, paired by round, then the median; None where the answers differ."""
    if way not in case["agree"]:
        return None
    above, below = case["seconds"][way][figure], case["seconds"][PLAIN][figure]
    return median(a / b for a, b in zip(above, below, strict=True))


def show(report: dict[str, Any]) -> str:
    """Two rows a way: none where the answers differ."""
    head = ("case", "figure", f"{PLAIN} ms", *OWN, *FLAX, "target")
    rows = []
    for case in report["cases"]:
        for figure in FIGURES:
            found = {way: ratio(case, way, figure) for way in (*OWN, *FLAX)}
            over = [way for way in OWN if found[way] is None or found[way] > report["target"]]
            rows.append(
                (
                    f"{case['cell']} {case['size']}",
                    figure,
                    number(1e3 * median(case["seconds"][PLAIN][figure])),
                    *(number(value) for value in found.values()),
                    f"missed: {', '.join(over)}" if over else "met",
                )
            )
    return (
        table(head, rows) + f"\nTimes over {PLAIN}'s of the same round, medians over {report['rounds']} alternating "
        f"rounds (compile: a fifth of them); '-' where outputs or gradients differ.\nTarget: {report['target']} for "
        "jrnn's modules."
    )

"""One sequence, one step a call: `jrnn.step` in a jitted loop against the peers' cells in the same loop."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks import probes
from benchmarks.agreement import admitted, compare
from benchmarks.case_results import describe, paired
from benchmarks.contenders import JAX, REFERENCE, SCAN, TORCH, XLA, contenders, own_cell
from benchmarks.problem import GATES, Size, problem
from benchmarks.processes import CPU, ask
from benchmarks.tables import number, table
from benchmarks.timing import filling, seconds

FEATURES, HIDDEN, CALLS = 32, 64, 1000
TARGETS = {"lstm": 2.0}
"""Microseconds a step of jrnn shall take at most."""


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """A process for each cell, contender and round, in an order that turns."""
    known = contenders(on_cpu=True)
    names = [name for name in (*JAX, TORCH) if name not in (XLA, SCAN) and known[name].here]
    calls, rounds, samples = (5, 1, 1) if quick else (CALLS, 3, 5)
    names = [name for name in names if not quick or name in (REFERENCE, "flax.linen")]
    cases = []
    for cell in ("lstm",) if quick else GATES:
        say(f"streaming {cell}: {rounds} rounds of {', '.join(names)}")
        own = {name: found for name in names if (found := own_cell(known[name], cell))}
        turns: dict[str, list[dict]] = {name: [] for name in own}
        for i in range(rounds):
            for name in list(own)[i % len(own) :] + list(own)[: i % len(own)]:
                job = {"job": "streaming", "framework": known[name].framework, "cell": own[name], "calls": calls}
                turns[name].append(ask(job | {"samples": samples}, {**CPU, **dict(known[name].environment)}))
        job = {"job": "streaming", "framework": REFERENCE, "calls": calls, "samples": 0}
        others = {other: ask(job | {"cell": other}) for other in set(own.values()) - {cell}}
        cases.append(judge(cell, own, turns, others))
    return {"features": FEATURES, "hidden": HIDDEN, "calls": calls, "rounds": rounds, "cases": cases}


def measure(framework: str, cell: str, calls: int, samples: int) -> dict[str, Any]:
    """Seconds a step in this process, and the last output."""
    given = problem(cell, Size(calls, 1, FEATURES, HIDDEN))
    if framework == "torch":
        from benchmarks.torch_layer import stream_torch

        call = stream_torch(given)
    else:
        call = stream_jax(framework, given)
    last = np.asarray(call())
    repeats = filling(call, 0.03) if samples else 0
    cores = [probes.cores()] if samples else []
    times = [seconds(call, repeats) / calls for _ in range(samples)]
    return {"seconds": times, "cores": cores, "last": last.ravel().tolist()}


def stream_jax(framework: str, given: Any) -> Callable[[], Any]:
    """The steps of a cell in one jitted loop that keeps the state and the last output."""
    import jax
    import jax.numpy as jnp

    from benchmarks.jax_layers import LAYERS

    layer = LAYERS[framework](given.cell, given.size)
    params, xs = layer.convert(jax.tree.map(jnp.asarray, given.weights)), jnp.asarray(given.xs)
    first = jax.eval_shape(layer.step, params, layer.start, xs[0])[1]

    @jax.jit
    def loop(params: Any, xs: Any) -> Any:
        def body(carry: Any, x: Any) -> tuple[Any, None]:
            return layer.step(params, carry[0], x), None

        return jax.lax.scan(body, (layer.start, jnp.zeros(first.shape, first.dtype)), xs)[0][1]

    return lambda: loop(params, xs).block_until_ready()


def judge(
    cell: str, own: dict[str, str], turns: dict[str, list[dict]], others: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The comparison of the last outputs, and for those that agree microseconds a step and ratios by round."""
    last = {name: {"last": np.array(of_name[0]["last"])} for name, of_name in turns.items()}
    reference = {other: {"last": np.array(found["last"])} for other, found in others.items()}
    reference[cell] = last[REFERENCE]
    comparisons = {name: compare(last[name], reference[own[name]]) for name in own if name != REFERENCE}
    allowed = admitted(comparisons, REFERENCE)
    times = {name: [median(turn["seconds"]) for turn in turns[name]] for name in own if name in allowed}
    return {
        "cell": cell,
        "disagreements": [describe(name, found) for name, found in comparisons.items() if name not in allowed],
        "cores": median(value for of_name in turns.values() for turn in of_name for value in turn["cores"]),
        "microseconds": {name: 1e6 * median(of_name) for name, of_name in times.items()},
        "speed_of_jrnn": {name: paired(of_name, times[REFERENCE]) for name, of_name in times.items()},
        "target": TARGETS.get(cell),
    }


def disagreements(report: dict[str, Any]) -> list[str]:
    """All of them, with the cell they belong to."""
    return [f"{case['cell']}: {line}" for case in report["cases"] for line in case["disagreements"]]


def show(report: dict[str, Any]) -> str:
    """The table and how to read it."""
    rows = []
    for case in report["cases"]:
        for name, taken in case["microseconds"].items():
            target = case["target"] if name == REFERENCE else None
            wanted = "" if target is None else f" ({target:g}){' !' if taken > target else ''}"
            ratio = "-" if name == REFERENCE else number(case["speed_of_jrnn"][name])
            rows.append((case["cell"], name, number(taken) + wanted, ratio, number(case["cores"])))
    text = table(("cell", "contender", "us a step", "/ jrnn", "cores"), rows) + (
        f"\nB = 1, F = {report['features']}, H = {report['hidden']}, {report['calls']} steps in one jitted loop "
        "(PyTorch: its cells in a loop of Python); on the CPU.\n(target), ! missed; cores: arithmetic on all threads "
        "over that on one."
    )
    return "\n".join([text, *(f"DISAGREEMENT, no speed printed: {line}" for line in disagreements(report))])

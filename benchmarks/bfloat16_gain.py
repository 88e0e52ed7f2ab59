"""What operands of 16 bits gain: forward pass and training step with bfloat16 against float32, jrnn's own choice."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks import probes
from benchmarks.agreement import relative_error
from benchmarks.case_results import paired
from benchmarks.problem import GATES, QUICK_SIZES, SIZES, Size, problem
from benchmarks.processes import ask
from benchmarks.tables import number, table
from benchmarks.timing import filling, seconds

KINDS, DTYPES = ("forward", "step"), ("float32", "bfloat16")
FASTER, NEAR = 1.5, 5e-3
"""Where the CPU multiplies pairs of bfloat16: how many times faster; how near the gradients are anywhere."""


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """A process for each cell, size, dtype and round, in an order that turns."""
    sizes = QUICK_SIZES if quick else {label: SIZES[label] for label in ("L", "X")}
    rounds, samples, cases = 1 if quick else 3, 1 if quick else 5, []
    for label, size in sizes.items():
        for cell in ("lstm",) if quick else GATES:
            say(f"bfloat16_gain {cell} {label}: {rounds} rounds")
            turns: dict[str, list[dict]] = {dtype: [] for dtype in DTYPES}
            for i in range(rounds):
                for dtype in DTYPES[:: 1 - 2 * (i % 2)]:
                    job = {"job": "bfloat16_gain", "cell": cell, "size": size, "dtype": dtype, "samples": samples}
                    turns[dtype].append(ask(job))
            cases.append({"cell": cell, "size": label, **judge(turns, aims=not quick)})
    return {"rounds": rounds, "samples": samples, "cases": cases}


def measure(cell_name: str, size: list[int], dtype: str, samples: int) -> dict[str, Any]:
    """Seconds of each of KINDS in this process; of bfloat16 also how far the gradients are from float32's."""
    import jax
    import jax.numpy as jnp

    import jrnn

    given = problem(cell_name, Size(*size))
    make = {"elman": jrnn.elman, "lstm": jrnn.lstm, "gru": jrnn.gru}[cell_name]
    rounded = jax.tree.map(lambda a: jnp.asarray(a, "bfloat16"), (dict(given.weights), given.xs))
    cotangent = jnp.asarray(given.cotangent)

    def calls(dtype: str) -> tuple[dict[str, Any], Any]:
        cell = make(Size(*size).hidden, dtype=dtype)
        params, xs = jax.tree.map(lambda a: a.astype(dtype), rounded)

        def unrolled(params: Any, xs: Any) -> Any:
            return jrnn.unroll(cell, params, xs).outputs

        def loss(params: Any, xs: Any, cotangent: Any) -> Any:
            return jnp.mean(unrolled(params, xs).astype(jnp.float32) * cotangent)

        forward, step = jax.jit(unrolled), jax.jit(jax.grad(loss))
        chosen = jrnn.kernels.explain(cell, params).chosen
        return {"forward": lambda: forward(params, xs), "step": lambda: step(params, xs, cotangent)}, chosen

    ready, chosen = calls(dtype)
    run = {kind: lambda call=call: jax.block_until_ready(call()) for kind, call in ready.items()}
    repeats = {kind: (call(), filling(call, 0.03))[1] for kind, call in run.items()}
    found: dict[str, Any] = {"seconds": {kind: [] for kind in KINDS}, "cores": []}
    for _ in range(samples):
        found["cores"].append(probes.cores())
        for kind, call in run.items():
            call()  # the probe emptied the caches
            found["seconds"][kind].append(seconds(call, repeats[kind]))
    found["chosen"] = f"native {jrnn.kernels.implementations.native.instructions()}" if chosen == "native" else chosen
    if dtype != "float32":
        exact, grads = calls("float32")[0]["step"](), run["step"]()
        found["error"] = max(relative_error(np.float32(grads[name]), np.asarray(exact[name])) for name in exact)
    return found


def judge(turns: dict[str, list[dict]], aims: bool) -> dict[str, Any]:
    """Milliseconds, float32's time over bfloat16's of the same round, the gradients' error, the targets missed."""
    times = {
        dtype: {kind: [median(turn["seconds"][kind]) for turn in turns[dtype]] for kind in KINDS} for dtype in DTYPES
    }
    chosen, error = turns["bfloat16"][0]["chosen"], max(turn["error"] for turn in turns["bfloat16"])
    gain = {kind: paired(times["float32"][kind], times["bfloat16"][kind]) for kind in KINDS}
    pairs = aims and chosen.endswith("bf16")
    return {
        "milliseconds": {dtype: {kind: 1e3 * median(times[dtype][kind]) for kind in KINDS} for dtype in DTYPES},
        "gain": gain,
        "target": FASTER if pairs else None,
        "missed": [kind for kind in KINDS if pairs and gain[kind] < FASTER],
        "error": error,
        "chosen": chosen,
        "cores": median(value for of_dtype in turns.values() for turn in of_dtype for value in turn["cores"]),
    }


def disagreements(report: dict[str, Any]) -> list[str]:
    """Gradients that are not as near to float32's as they should be."""
    return [
        f"{case['cell']} {case['size']}: gradients {case['error']:.1e} from float32's (allowed: {NEAR:g})"
        for case in report["cases"]
        if not case["error"] <= NEAR
    ]


def show(report: dict[str, Any]) -> str:
    """The table and how to read it."""
    rows = []
    for case in report["cases"]:
        for kind in KINDS:
            wanted = f" ({case['target']:g})" if case["target"] else ""
            gain = number(case["gain"][kind]) + wanted + (" !" if kind in case["missed"] else "")
            times = [number(case["milliseconds"][dtype][kind]) for dtype in DTYPES]
            error = f"{case['error']:.1e}" if kind == "step" else "-"
            rows.append((f"{case['cell']} {case['size']}", kind, *times, gain, error, number(case["cores"])))
    head = ("case", "what", "float32 ms", "bfloat16 ms", "times faster", "gradients' error", "cores")
    chosen = sorted({case["chosen"] for case in report["cases"]})
    text = table(head, rows) + f"\nbfloat16 took: {', '.join(chosen)}. (target), ! missed; it is one where the CPU "
    text += "multiplies pairs of bfloat16.\ncores: arithmetic on all threads over that on one."
    return "\n".join([text, *(f"DISAGREEMENT: {line}" for line in disagreements(report))])

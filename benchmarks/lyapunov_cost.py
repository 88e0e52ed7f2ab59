"""What a Lyapunov spectrum costs: jrnn against a NumPy loop with explicit Jacobians, and jacfwd with a QR in JAX."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks.processes import ask
from benchmarks.tables import number, table
from benchmarks.timing import seconds

GAIN = 2.0
NAMES = ("jrnn", "numpy", "jacfwd")
CASES = (  # N, k, steps: so few that chaos does not pull the runs apart
    (64, 8, 100),
    (64, 64, 100),
    (256, 8, 40),
    (256, 256, 16),
    (1024, 8, 16),
    (1024, 128, 8),
    (1024, 1024, 3),
)
QUICK_CASES = ((16, 4, 10), (16, 16, 10))
TOLERANCE = {"float64": 1e-8, "float32": 1e-2}
"""Largest difference of an exponent, in nats per step, that counts as the same answer; of the leading 8 in float32."""
BLOCK_SECONDS = 0.05
"""A sample repeats a short run for about this long."""


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """A process for each size and dtype."""
    cases = []
    for size, k, steps in QUICK_CASES if quick else CASES:
        for dtype in ("float64",) if quick else ("float64", "float32"):
            say(f"lyapunov_cost N = {size}, k = {k}, {dtype}")
            job = {"size": size, "k": k, "steps": steps, "dtype": dtype, "rounds": 2 if quick else 7}
            cases.append(judge(ask({"job": "lyapunov_cost", **job})))
    return {"gain": GAIN, "cases": cases}


def measure(size: int, k: int, steps: int, dtype: str, rounds: int) -> dict[str, Any]:
    """Exponents, seconds a step of each round, and bytes of each contender in this process; rounds alternate."""
    import jax

    jax.config.update("jax_enable_x64", dtype == "float64")
    contenders, temporary = built(size, k, steps, dtype)
    exponents = {name: np.asarray(call(), np.float64).tolist() for name, call in contenders.items()}
    repeats = {name: max(1, int(BLOCK_SECONDS / seconds(call))) for name, call in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in NAMES}
    for i in range(rounds):
        for name in (*NAMES[i % 3 :], *NAMES[: i % 3]):
            times[name].append(seconds(contenders[name], repeats[name]) / steps)
    tracemalloc.start()
    contenders["numpy"]()
    temporary["numpy"] = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    case = {"size": size, "k": k, "steps": steps, "dtype": dtype}
    return case | {"exponents": exponents, "seconds": times, "temp_bytes": temporary}


def built(size: int, k: int, steps: int, dtype: str) -> tuple[dict[str, Callable[[], Any]], dict[str, int]]:
    """The contenders, compiled, on one random tanh network from one start; and what XLA allocates beside arguments."""
    import jax
    import jax.numpy as jnp

    import jrnn

    cell = jrnn.elman(size, w_rec=jrnn.initializers.gaussian(GAIN), dtype=dtype)
    params = cell.init(jax.random.key(1), None)
    start = jax.random.normal(jax.random.key(2), (size,), dtype)
    q = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (size, k), dtype))[0]  # jrnn's own first directions

    def own(params: Any, start: Any) -> Any:
        options = dict(length=steps, k=k, initial_state=jrnn.ElmanState(start))
        return jrnn.lyapunov_spectrum(cell, params, **options).exponents

    def step(params: Any, h: Any) -> Any:
        return cell.step(params, jrnn.ElmanState(h), None).h

    def by_jacfwd(params: Any, start: Any) -> Any:
        def one(carry: tuple, _: None) -> tuple:
            h, q = carry
            q, r = jnp.linalg.qr(jax.jacfwd(step, argnums=1)(params, h) @ q)
            return (step(params, h), q), jnp.log(jnp.abs(jnp.diagonal(r)))

        return jax.lax.scan(one, (start, q), None, length=steps)[1].mean(axis=0)

    weights, first, directions = (np.asarray(a) for a in (params["w_rec"], start, q))

    def by_numpy() -> np.ndarray:
        h, q, total = first, directions, np.zeros(k)
        for _ in range(steps):
            h = np.tanh(h @ weights)
            q, r = np.linalg.qr(((1 - h**2)[:, None] * weights.T) @ q)
            total += np.log(np.abs(np.diagonal(r)))
        return total / steps

    compiled = {
        name: jax.jit(function).lower(params, start).compile()
        for name, function in (("jrnn", own), ("jacfwd", by_jacfwd))
    }
    calls: dict[str, Callable[[], Any]] = {
        name: lambda program=program: jax.block_until_ready(program(params, start))
        for name, program in compiled.items()
    }
    memory = {name: program.memory_analysis().temp_size_in_bytes for name, program in compiled.items()}
    return calls | {"numpy": by_numpy}, memory


def judge(answer: dict[str, Any]) -> dict[str, Any]:
    """Medians and ratios paired by round, of the contenders that agree with jrnn; else what they differ by."""
    exponents = {name: np.asarray(values) for name, values in answer["exponents"].items()}
    kept = slice(8 if answer["dtype"] == "float32" else None)
    errors, ratios = {}, {}
    for name in NAMES[1:]:
        difference = np.abs(exponents[name][kept] - exponents["jrnn"][kept]).max()
        errors[name] = float(difference) if np.isfinite(difference) else float("inf")
        if errors[name] <= TOLERANCE[answer["dtype"]]:
            pairs = zip(answer["seconds"][name], answer["seconds"]["jrnn"], strict=True)
            ratios[name] = median(peer / own for peer, own in pairs)
    medians = {name: median(times) for name, times in answer["seconds"].items()}
    case = {name: answer[name] for name in ("size", "k", "steps", "dtype", "temp_bytes")}
    return case | {"seconds": medians, "errors": errors, "speed_of_jrnn": ratios}


def show(report: dict[str, Any]) -> str:
    """The table and how to read it."""
    head = (
        "dtype",
        "N",
        "k",
        "us a step: jrnn",
        "numpy",
        "jacfwd",
        "numpy / jrnn",
        "jacfwd / jrnn",
        "MiB: jrnn",
        "numpy",
    )
    rows, wrong = [], []
    for case in report["cases"]:
        ratios, memory = case["speed_of_jrnn"], case["temp_bytes"]
        known = [name for name in NAMES if name == "jrnn" and ratios or name in ratios]
        times = [number(1e6 * case["seconds"][name] if name in known else None) for name in NAMES]
        gains = [number(ratios.get(name)) for name in NAMES[1:]]
        bytes_ = [number(memory[name] / 2**20) for name in NAMES]
        rows.append((case["dtype"], str(case["size"]), str(case["k"]), *times, *gains, *bytes_))
        wrong += [
            f"DISAGREEMENT N = {case['size']}, k = {case['k']}, {case['dtype']}: {name} by {error:.1e} nats per step"
            for name, error in case["errors"].items()
            if name not in ratios
        ]
    lines = [table((*head, "jacfwd"), rows), *wrong]
    return "\n".join(
        [
            *lines,
            f"Random tanh network, g = {report['gain']:g}, without input, one sequence, QR every step; all start from "
            "the same directions.",
            "Ratios are medians over alternating rounds. MiB: temporary memory, of XLA or as NumPy allocates it.",
        ]
    )

"""Cells whose gates read x alone: a training step's time against an LSTM's, and the credit map without derivatives."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.processes import ask
from benchmarks.tables import number, table
from benchmarks.timing import seconds

CELLS = ("min_gru", "min_lstm", "rg_lru", "lru")
STEP = {"features": 64, "steps": 1024, "batch": 32, "hidden": 256}
CREDIT = {"features": 64, "steps": 1024, "batch": 2, "hidden": 128}
QUICK = {"features": 3, "steps": 40, "batch": 2, "hidden": 5}
TOLERANCE = {"step": 2e-4, "credit": 1e-4}
"""Largest relative difference from the scan of the cell's own step, or between two credit maps, in float32."""


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """A process for each comparison; rounds in it alternate between all that are compared."""
    rounds, sizes = (1, {"step": QUICK, "credit": QUICK}) if quick else (7, {"step": STEP, "credit": CREDIT})
    found = {}
    for what, size in sizes.items():
        say(f"gated_linear {what}: {rounds} alternating rounds")
        found[what] = ask({"job": "gated_linear", "what": what, "size": size, "rounds": rounds})
    return {"sizes": sizes, "rounds": rounds, **found}


def measure(what: str, size: dict[str, int], rounds: int) -> dict[str, Any]:
    """Seconds of every program in each round, and how far each is from what it should find."""
    programs, apart = {"step": steps, "credit": credit_maps}[what](*size.values())
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            times[name].append(seconds(program))
    return {"seconds": times, "apart": apart}


def steps(F: int, T: int, B: int, H: int) -> tuple[dict[str, Callable], dict[str, float]]:
    """Forward and backward of one layer, all gradients of the parameters, by the implementation that is taken."""
    import jax
    import jax.numpy as jnp

    import jrnn

    xs, pull = jax.random.normal(jax.random.key(1), (T, B, F)), jax.random.normal(jax.random.key(2), (T, B, H)) / T
    programs, apart = {}, {}
    for name in ("lstm", *CELLS):
        cell = getattr(jrnn, name)(H) if name == "lstm" else getattr(jrnn, name)(H, t_max=200)
        params = cell.init(jax.random.key(0), F)

        def gradient(p: Any, xs: Any, pull: Any, way: str | None = None, cell: Any = cell) -> Any:
            return jax.grad(lambda p: jnp.vdot(jrnn.unroll(cell, p, xs, implementation=way).outputs, pull))(p)

        few = params, xs[:, :2], pull[:, :2]
        found, wanted = (jax.jit(lambda *args, way=way: gradient(*args, way))(*few) for way in (None, "reference"))  # noqa: B023
        apart[name] = largest_difference(found, wanted)
        compiled = jax.jit(gradient).lower(params, xs, pull).compile()
        programs[name] = lambda run=compiled, p=params: jax.block_until_ready(run(p, xs, pull))
        programs[name]()
    return programs, apart


def credit_maps(F: int, T: int, B: int, H: int) -> tuple[dict[str, Callable], dict[str, float]]:
    """`gradient_flow` of min_gru: all of it lag by lag, the credit alone lag by lag, the credit by factors."""
    import jax
    import jax.numpy as jnp

    import jrnn

    cell = jrnn.min_gru(H, t_max=200)
    plain = jrnn.from_functions(
        init=cell.init, initial_state=cell.initial_state, step=cell.step, output=cell.output
    )  # says nothing of its Jacobians
    params = cell.init(jax.random.key(0), F)
    xs, weight = jax.random.normal(jax.random.key(1), (T, B, F)), jax.random.normal(jax.random.key(2), (T, B, H))

    def flow(cell: Any, by_lag: bool) -> Callable:
        def of(params: Any, xs: Any) -> Any:
            pulled = jrnn.gradient_flow(
                cell, params, xs, lambda u: jnp.sum(jnp.tanh(u.outputs) ** 2 * weight),
                output_times=jnp.arange(1, T + 1) if T * (T + 1) * B > 2**22 else None,
                by_lag=by_lag, lag_gradients=False,
            )  # fmt: skip
            return pulled.credit, pulled.lag_norms

        return jax.jit(of).lower(params, xs).compile()

    compiled = {"lags": flow(cell, True), "credit by lags": flow(plain, False), "credit by factors": flow(cell, False)}
    found = {name: jax.block_until_ready(run(params, xs))[0] for name, run in compiled.items()}
    apart = {name: largest_difference(found[name], found["lags"]) for name in found}
    return {name: lambda run=run: jax.block_until_ready(run(params, xs)) for name, run in compiled.items()}, apart


def largest_difference(found: Any, wanted: Any) -> float:
    """Of all arrays, relative to the largest entry of each."""
    import jax
    import jax.numpy as jnp

    pairs = zip(*map(jax.tree.leaves, (found, wanted)), strict=True)
    return max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in pairs)


def show(report: dict[str, Any]) -> str:
    """Two tables; no ratio where the answers differ."""
    step, credit = report["step"], report["credit"]
    rows = [
        (name, number(1e3 * median(taken)), ratio(step, "lstm", name, "step"), f"{step['apart'][name]:.0e}")
        for name, taken in step["seconds"].items()
    ]
    maps = [
        (name, number(1e3 * median(taken)), ratio(credit, "lags", name, "credit"), f"{credit['apart'][name]:.0e}")
        for name, taken in credit["seconds"].items()
    ]
    sizes = {what: ", ".join(f"{n} {value}" for n, value in size.items()) for what, size in report["sizes"].items()}
    return (
        table(("forward and backward", "ms", "LSTM's time over it", "apart"), rows)
        + "\n\n"
        + table(("credit of min_gru", "ms", "time of lags over it", "apart"), maps)
        + f"\n\nFloat32. Step: {sizes['step']}; apart: from the scan of the cell's step. Credit: {sizes['credit']};\n"
        "lags: credit and the parameter gradient by lag, one product with the inputs a lag; credit by lags: without "
        "those products;\nby factors: no step is differentiated. Ratios: medians over rounds."
    )


def ratio(report: dict[str, Any], first: str, name: str, what: str) -> str:
    """The first one's time over that of `name`, round by round; '-' where the answers differ."""
    if max(report["apart"][first], report["apart"][name]) > TOLERANCE[what]:
        return "-"
    return number(median(a / b for a, b in zip(report["seconds"][first], report["seconds"][name], strict=True)))

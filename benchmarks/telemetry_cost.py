"""What it costs to see the gradient while training: dL/dh_t from the same backward pass, and the metrics of `fit`."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.processes import ask
from benchmarks.tables import number, table
from benchmarks.timing import seconds

CELLS = ("elman", "lstm", "gru")
PAIRS = {
    "dL/dh_t": ("plain", "dL/dh_t"),
    "all gradients": ("plain", "all gradients"),
    "fit, measured": ("fit off", "fit measured"),
    "probe": ("own loop", "own loop, probed"),
    "probe, lags": ("own loop", "own loop, lags"),
}
"""Figure -> (what is divided by, what is divided)."""
BLOCK_SECONDS = 0.01
"""Short blocks and many rounds: on a shared machine neighbours in time are alike, later rounds are not."""
TARGETS = {"dL/dh_t": 1.15, "fit": 1.10, "probe": 1.10}
LAGS = (1, 10, 100)


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """A process for each cell and size; rounds in it alternate between all variants."""
    sizes, cells, rounds = (("quick",), ("elman",), 3) if quick else (("S", "M"), CELLS, 61)
    cases = []
    for size in sizes:
        for cell in cells:
            say(f"telemetry_cost {cell} {size}: {rounds} alternating rounds")
            cases.append(ask({"job": "telemetry_cost", "cell": cell, "size": size, "rounds": rounds}))
    return {"rounds": rounds, "targets": TARGETS, "cases": cases}


def measure(cell_name: str, label: str, rounds: int) -> dict[str, Any]:
    """Seconds of each variant in each round, in this process.

    plain: value_and_grad of all parameters by `jrnn.unroll`; "dL/dh_t": loss, parameter gradients and states of
    `value_and_grads`; "all gradients": all it returns; "fit off", "fit measured": `fit`'s jitted step with Adam and
    clipping, one that does not measure where the gradient goes and one that does; "own loop": a step of one's own with
    the same chain, by value_and_grad, by `probe`, and by a `probe` that measures LAGS with 4 outputs in this step.
    """
    import jax
    import jax.numpy as jnp
    import optax

    import jrnn
    from benchmarks.problem import QUICK_SIZES, SIZES, problem
    from jrnn.cures import clip_by_global_norm, skip_nonfinite
    from jrnn.training.batches import source_of
    from jrnn.training.fit_step import make_step
    from jrnn.training.telemetry.tangent_probe import EVERY
    from jrnn.training.training_step import TrainingStep
    from jrnn.training.weights import first_carry

    size = {**SIZES, **QUICK_SIZES}[label]
    made = problem(cell_name, size)
    cell = {"elman": jrnn.elman, "lstm": jrnn.lstm, "gru": jrnn.gru}[cell_name](size.hidden)
    params = {name: jnp.asarray(weight) for name, weight in made.weights.items()}
    xs, cotangent = jnp.asarray(made.xs), jnp.asarray(made.cotangent)

    def loss(run: Any) -> Any:
        return jnp.mean(run.outputs * cotangent)

    def with_delta(params: Any, xs: Any) -> Any:
        value, grads = jrnn.value_and_grads(cell, params, xs, loss)
        return value, grads.params, grads.states

    plain = jax.jit(lambda p, x: jax.value_and_grad(lambda p: loss(jrnn.unroll(cell, p, x)))(p))
    delta = jax.jit(with_delta)
    everything = jax.jit(lambda p, x: jrnn.value_and_grads(cell, p, x, loss))
    kinds: dict[str, Callable[[], Any]] = {
        "plain": lambda: jax.block_until_ready(plain(params, xs)),
        "dL/dh_t": lambda: jax.block_until_ready(delta(params, xs)),
        "all gradients": lambda: jax.block_until_ready(everything(params, xs)),
    }
    batch = {"x": made.xs}
    for name, measured in (("fit off", False), ("fit measured", True)):
        objective = lambda _, run, batch: loss(run)  # noqa: E731
        tx = skip_nonfinite(optax.chain(clip_by_global_norm(1.0), optax.adam(1e-3)))
        source = source_of(lambda step: batch, objective, size.batch, 0)
        step = make_step(TrainingStep(cell, objective, tx), source, 0, 1.0, None)
        kinds[name] = stepping(step, first_carry({"cell": params, "loss": None}, tx), {"x": xs}, measured)
    kinds |= own_loop(lambda params, xs: loss(jrnn.unroll(cell, params, xs)), params, xs)
    repeats = {name: max(1, int(BLOCK_SECONDS / seconds_once(call))) for name, call in kinds.items()}
    times: dict[str, list[float]] = {name: [] for name in kinds}
    names = list(kinds)
    for i in range(rounds):
        for name in [*names[i % len(names) :], *names[: i % len(names)]]:
            times[name].append(seconds(kinds[name], repeats[name]))
    return {"cell": cell_name, "size": label, **size._asdict(), "flow_every": EVERY, "seconds": times}


def own_loop(loss: Callable, params: Any, xs: Any) -> dict[str, Callable[[], Any]]:
    """A training step of one's own, without `jrnn.probe` and with it."""
    import jax
    import optax

    import jrnn

    tx = optax.chain(jrnn.clip_by_global_norm(1.0), optax.adam(1e-3))
    state = tx.init(params)
    ways: dict[str, Callable] = {
        "own loop": lambda params, state: (*jax.value_and_grad(loss)(params, xs), {}),
        "own loop, probed": lambda params, state: jrnn.probe(loss, params, xs, opt_state=state),
        "own loop, lags": lambda params, state: jrnn.probe(loss, params, xs, opt_state=state, lags=LAGS),
    }

    def stepped(way: Callable) -> Callable[[], Any]:
        @jax.jit
        def step(params: Any, state: Any) -> Any:
            value, grads, metrics = way(params, state)
            with jax.numpy_dtype_promotion("standard"):  # Adam's own
                updates, after = tx.update(grads, state, params)
            return optax.apply_updates(params, updates), after, value, metrics

        return lambda: jax.block_until_ready(step(params, state))

    return {name: stepped(way) for name, way in ways.items()}


def stepping(step: Callable, carry: Any, arguments: Any, measured: bool) -> Callable[[], None]:
    """One more step of `fit` at each call."""
    import numpy as np

    state, index = [carry], np.int32(0)

    def call() -> None:
        state[0], metrics = step(state[0], index, arguments, measured)
        metrics["loss"].block_until_ready()
        for leaf in state[0][0]["cell"].values():
            leaf.block_until_ready()

    return call


def seconds_once(call: Callable[[], Any]) -> float:
    """The time of the second call; the first one compiles."""
    call()
    return seconds(call)


def ratios(times: dict[str, list[float]], every: int) -> dict[str, float]:
    """The median over rounds of each figure's ratio within a round; "fit" is the mean over `every` steps, one of them
    measured."""
    found = {
        figure: median(b / a for a, b in zip(times[below], times[above], strict=True))
        for figure, (below, above) in PAIRS.items()
    }
    return found | {"fit": (every - 1 + found["fit, measured"]) / every}


def show(report: dict[str, Any]) -> str:
    """The table and how to read it."""
    rows = []
    for case in report["cases"]:
        found, times = ratios(case["seconds"], case["flow_every"]), case["seconds"]
        missed = [figure for figure, target in report["targets"].items() if found[figure] > target]
        rows.append(
            (
                f"{case['cell']} {case['size']}",
                number(1e3 * median(times["plain"])),
                *(f"{value:.3f}" for value in found.values()),
                number(1e3 * median(times["fit off"])),
                "missed: " + ", ".join(missed) if missed else "met",
            )
        )
    head = ("case", "plain ms", *PAIRS, "fit", "fit off ms", "target")
    return table(head, rows) + (
        f"\nMedians over {report['rounds']} alternating rounds of the ratio within a round. Targets: "
        + ", ".join(f"{figure} {target}" for figure, target in report["targets"].items())
        + ".\ndL/dh_t, all gradients: against the plain step. fit, measured: a step of `fit` (Adam, clipping) that "
        "measures where the gradient goes, against one that does not; fit: the mean over a run, which measures every "
        f"{report['cases'][0]['flow_every']} updates. probe: a step of one's own with `jrnn.probe` in the place of "
        "value_and_grad, against one with the latter; with lags: one that measures 3 lags from 4 outputs."
    )

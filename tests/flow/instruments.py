"""Every public instrument that takes a network, as one table: name -> what it says of a `Case`, as a pytree of numbers.

Shared by the tests over dtypes, under `jax_debug_nans` and over runs without steps or sequences. What hangs on a random
draw, which differs from dtype to dtype, is under "drawn". Singular values are given instead of their logarithms, and
kappa as 1 / kappa: the errors of those are bounded by that of the matrix.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jrnn
from jrnn.training import delta_metrics, tangent_growth

CELLS = {
    "elman": lambda dtype: jrnn.elman(3, dtype=dtype),
    "lstm": lambda dtype: jrnn.lstm(2, dtype=dtype),
    "gru": lambda dtype: jrnn.gru(3, dtype=dtype),
    "gru of the paper": lambda dtype: jrnn.gru(3, reset_after=False, dtype=dtype),
    "linear": lambda dtype: jrnn.linear(3, dtype=dtype),
    "stack": lambda dtype: jrnn.stack(jrnn.elman(2, dtype=dtype), jrnn.gru(2, dtype=dtype)),
}


@dataclass(frozen=True)
class Case:
    """A network and its run."""

    cell: Any
    params: Any
    xs: Any
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        """Whether there is a way back of two steps to judge."""
        return self.xs.shape[0] > 2 and self.xs.shape[1] > 0

    def only(self, *names: str) -> dict[str, Any]:
        """The options that an instrument takes."""
        return {name: value for name, value in self.options.items() if name in names}


def a_case(make: Any, dtype: str, steps: int = 5, sequences: int = 3) -> Case:
    """Sequences of all lengths down to 0, with a reset and a step that did not happen."""
    cell = make(dtype)
    xs = jax.random.normal(jax.random.key(1), (steps, sequences, 2), "float32").astype(dtype)
    flags = np.zeros((steps, sequences), bool)
    resets, skipped = flags.copy(), flags.copy()
    resets[2:3, :1] = skipped[1:2, 1:2] = True
    options = {
        "lengths": jnp.asarray([steps, min(3, steps), 0, *[steps] * sequences][:sequences], jnp.int32),
        "resets": jnp.asarray(resets),
        "mask": jnp.asarray(~skipped),
    }
    return Case(cell, cell.init(jax.random.key(0), 2), xs, options)


def in_float64(case: Case, make: Any) -> Case:
    """The same numbers in float64."""
    params, xs = jax.tree.map(lambda a: a.astype("float64"), (case.params, case.xs))
    return Case(make("float64"), params, xs, case.options)


def loss(run: Any) -> jax.Array:
    """Every output and the last one, each with a weight of its own."""
    steps = jnp.arange(1, len(run.outputs) + 1).reshape(-1, *[1] * (run.outputs.ndim - 1))
    weighted = run.outputs * jnp.broadcast_to(steps, run.outputs.shape).astype(run.outputs.dtype)
    return jnp.sum(weighted) / 8 + jnp.sum(run.last * run.last)


def value_and_grads(case: Case) -> Any:
    value, grads = jax.jit(jrnn.value_and_grads, static_argnums=(0, 3))(
        case.cell, case.params, case.xs, loss, **case.options
    )
    return {"value": value, **grads._asdict()}


def gradient_flow(case: Case) -> Any:
    flow = jrnn.gradient_flow(case.cell, case.params, case.xs, loss, parts=True, **case.options)
    said = {}
    if case.runs:
        judged = flow.verdict(lag=2)
        assert judged.sentence and judged.change and judged.caution == "", judged
        said = {"arriving": judged.arriving, "mean": judged.mean, "peak": judged.peak}
    return flow._asdict() | said | {"effective_horizon": flow.effective_horizon()}


def sampled_flow(case: Case) -> Any:
    """Of two outputs only; ||G_tau||^2, for it is an inner product of two halves."""
    found = jrnn.gradient_flow(case.cell, case.params, case.xs, loss, max_pairs=1, **case.options)._asdict()
    gates = {gate: norms**2 for gate, norms in found["lag_norms_by_gate"].items()}
    return found | {"lag_norms": found["lag_norms"] ** 2, "lag_norms_by_gate": gates}


def jacobians(case: Case) -> Any:
    return jrnn.jacobians(case.cell, case.params, case.xs, **case.options)


def of_products(case: Case) -> Any:
    J = jacobians(case)
    scaled = jrnn.scaled_jacobian_product(J, 0, len(J))
    return {
        "product": jrnn.jacobian_product(J, 0, len(J)),
        "singular_values": jnp.exp(scaled.log_singular_values()),
        "spectral_radius": jrnn.spectral_radius(J),
        "1 / kappa": 1 / jrnn.condition_number(J),
    }


def explicit_windows(case: Case) -> Any:
    return windows(case)


def free_windows(case: Case) -> Any:
    return windows(case, top=1, method="matrix_free", iterations=20)


def windows(case: Case, **how: Any) -> Any:
    steps = len(case.xs)
    found = jrnn.window_singular_values(
        case.cell, case.params, case.xs, [(0, steps), (steps // 2, steps), (0, 0)], **case.options, **how
    )
    return {"singular_values": jnp.exp(found.log_singular_values), "1 / kappa": jnp.exp(-found.log_condition_number)}


def lyapunov_spectrum(case: Case) -> Any:
    return spectrum_of(case, warmup=min(1, max(len(case.xs) - 1, 0)))


def renewed_seldom(case: Case) -> Any:
    return spectrum_of(case, every=2, k=1)


def spectrum_of(case: Case, **how: Any) -> Any:
    found = jrnn.lyapunov_spectrum(case.cell, case.params, case.xs, **case.only("lengths", "mask"), **how)
    assert all(isinstance(said, str) for said in found.warnings())
    derived = {
        name: getattr(found, name)
        for name in ("smoothed_exponents", "kaplan_yorke_dimension", "entropy_rate", "condition_growth", "overshoot")
    }
    if case.runs:
        derived["finite time"] = found.finite_time(2)
    drawn = {name: getattr(found, name) for name in ("exponents", "standard_errors", "log_r")} | derived
    return {"drawn": drawn} | ({} if how.get("k") else {"determinant": jnp.exp(jnp.sum(found.log_r, axis=-1))})


def clipping_proof(case: Case) -> Any:
    return jrnn.clipping_proof(case.cell, case.params, case.xs, loss, max_norm=0.125, **case.options)._asdict()


def clipped_updates(case: Case) -> Any:
    grads = jrnn.value_and_grads(case.cell, case.params, case.xs, loss, **case.options)[1].params
    optimizer = jrnn.skip_nonfinite(optax.chain(jrnn.clip_by_global_norm(0.125), optax.sgd(0.5)))
    updates, state = jax.jit(optimizer.update)(grads, optimizer.init(case.params), case.params)
    clip = state.inner_state[0]
    return {"updates": updates, "norm": clip.norm, "factor": clip.factor, "rate": clip.rate, "skipped": state.skipped}


def clipped_states(case: Case) -> Any:
    cell = jrnn.clip_state_gradient(case.cell, 0.125)
    return jrnn.state_gradients(cell, case.params, case.xs, loss, **case.options)


def telemetry(case: Case) -> Any:
    @jax.jit
    def measured(params: Any, xs: Any, options: Any) -> Any:
        run = jrnn.unroll(case.cell, params, xs, **options)
        delta = jrnn.state_gradients(case.cell, params, xs, loss, **options)
        return delta_metrics(case.cell, delta, run.mask)

    return measured(case.params, case.xs, case.options)


def probe(case: Case) -> Any:
    return {"drawn": tangent_growth(case.cell, case.params, case.xs, jax.random.key(1), **case.options)}


def summarise(case: Case) -> Any:
    if not case.runs:
        return {}
    found = jrnn.flow.summarise(case.cell, case.params, case.xs, loss, lag=2, **case.only("lengths"))
    assert found.spectrum is not None and found.windows is not None
    names = ("arriving", "singular_values", "credit", "lag_norms", "lag_shares")
    drawn = {"exponents": found.spectrum.exponents, "windows": found.windows.log_singular_values}
    return {name: getattr(found, name) for name in names} | {"drawn": drawn}


OFTEN = (value_and_grads, gradient_flow, of_products, explicit_windows, lyapunov_spectrum, telemetry)
"""Quick to compile: for every cell."""
ONCE = (
    jacobians, sampled_flow, free_windows, renewed_seldom, clipping_proof, clipped_updates, clipped_states, probe,
    summarise,
)  # fmt: skip
"""For some."""
INSTRUMENTS = {f.__name__: f for f in (*OFTEN, *ONCE)}


def as_float64(tree: Any) -> dict[str, np.ndarray]:
    """Every number by its path."""
    return {
        jax.tree_util.keystr(path): np.asarray(leaf).astype(np.float64)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }

"""One table of cells that every property test runs over: `from tests.cells.cases import CASES`.

Sizes are tiny, odd and all different where they may be, so that a swapped axis cannot fit by accident. `CASES` holds
cells (they can step); `SEQUENCES` adds the descriptions that only `unroll` takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jrnn


@dataclass(frozen=True)
class Case:
    """A cell with the sizes that follow from it."""

    name: str
    cell: Any
    input_size: int | None
    state_size: int
    """N."""
    output_size: int
    """K."""
    smooth: bool = True
    """Infinitely differentiable; False for ReLU, which has no second derivative worth a test."""
    noisy: bool = False
    """Behaves differently with a key."""

    def __str__(self) -> str:
        return self.name

    def params(self, seed: int = 0) -> Any:
        """Random parameters in the shapes of `init`: its zero biases and unit scales would hide mistakes."""
        shapes = jax.eval_shape(lambda key: self.cell.init(key, self.input_size), jax.random.key(0))
        return normal_like(shapes, seed, 0.6)

    def state(self, batch_shape: tuple[int, ...] = (), seed: int = 2) -> Any:
        """A random state h_{t-1}, leaves [*B, ...]."""
        return normal_like(self.shapes(batch_shape), seed)

    def shapes(self, batch_shape: tuple[int, ...] = ()) -> Any:
        """The shapes and dtypes of a state, nothing computed."""
        return jax.eval_shape(lambda params: self.cell.initial_state(params, batch_shape), self.params())

    def inputs(self, lead: tuple[int, ...] = (), seed: int = 3) -> Any:
        """x [*lead, F]; None for an autonomous cell."""
        return None if self.input_size is None else np.random.default_rng(seed).normal(size=(*lead, self.input_size))


def normal_like(tree: Any, seed: int, scale: float = 1.0) -> Any:
    """Normal draws in the shapes and dtypes of a pytree; by NumPy, which compiles nothing."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: (scale * rng.normal(size=a.shape)).astype(a.dtype), tree)


def inner(a: Any, b: Any) -> jax.Array:
    """The inner product of two pytrees, a scalar."""
    parts = [jnp.sum(x * y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]
    return jnp.sum(jnp.stack(parts))


# A user's own recurrences, at module level so that cells made of them compare equal.


def leaky_init(key: jax.Array, input_size: int) -> dict[str, jax.Array]:
    one, two = jax.random.split(key)
    return {
        "a": jax.random.normal(one, (4, 4)) / 2,
        "b": jax.random.normal(two, (input_size, 4)),
        "rate": jnp.zeros(()),
    }


def leaky_start(params: dict, batch_shape: tuple[int, ...]) -> dict[str, jax.Array]:
    return {"fast": jnp.zeros((*batch_shape, 4)), "slow": jnp.zeros((*batch_shape, 2, 2))}


def leaky_step(params: dict, state: dict, x: jax.Array) -> dict[str, jax.Array]:
    """Two leaves of different rank that drive each other: nothing that a named cell looks like."""
    slow = state["slow"].reshape(*state["fast"].shape)
    keep = jax.nn.sigmoid(params["rate"])
    fast = jnp.tanh(state["fast"] @ params["a"] + x @ params["b"] + slow)
    return {"fast": fast, "slow": (keep * slow + (1 - keep) * fast).reshape(state["slow"].shape)}


def leaky_output(params: dict, state: dict, x: jax.Array) -> jax.Array:
    return jnp.concatenate([state["fast"], jnp.sin(x)], axis=-1)


def carry_init(key: jax.Array, input_size: int) -> dict[str, jax.Array]:
    one, two = jax.random.split(key)
    return {"u": jax.random.normal(one, (3, 3)) / 2, "w": jax.random.normal(two, (input_size, 3))}


def carry_start(params: dict) -> tuple[jax.Array, jax.Array]:
    return jnp.zeros(3), jnp.zeros(())


def carry_step(params: dict, state: tuple, x: jax.Array) -> tuple[tuple, jax.Array]:
    """The body of a scan for one sequence: the output is no function of the new state alone."""
    h, count = state
    z = jnp.tanh(h @ params["u"] + x @ params["w"])
    return (z, jnp.sin(count) + jnp.sum(z)), h[:2] * z[1:] + count


OWN = jrnn.from_functions(init=leaky_init, initial_state=leaky_start, step=leaky_step, output=leaky_output)
FOREIGN = jrnn.from_step(carry_step, init=carry_init, initial_state=carry_start, batched=False)

CASES = (
    Case("elman_tanh", jrnn.elman(5), 3, 5, 5),
    Case("elman_relu", jrnn.elman(5, "relu", w_rec="identity"), 3, 5, 5, smooth=False),
    Case("elman_identity", jrnn.elman(4, "identity"), 3, 4, 4),
    Case("elman_one_unit", jrnn.elman(1), 1, 1, 1),
    Case("elman_autonomous", jrnn.elman(3), None, 3, 3),
    Case("elman_orthogonal", jrnn.elman(4, "modrelu", w_rec=jrnn.orthogonal_map("cayley")), 3, 4, 4, smooth=False),
    Case("lstm", jrnn.lstm(3), 2, 6, 3),
    Case("gru_reset_after", jrnn.gru(3), 2, 3, 3),
    Case("gru_reset_before", jrnn.gru(3, reset_after=False), 2, 3, 3),
    Case("lstm_refined", jrnn.lstm(3, refine=True), 2, 6, 3),
    Case("gru_refined", jrnn.gru(3, reset_after=False, refine=True), 2, 3, 3),
    Case("linear", jrnn.linear(5), 3, 5, 5),
    Case("cornn", jrnn.cornn(3, dt=0.3), 2, 6, 3),
    Case("unicornn", jrnn.unicornn(3, dt=0.7, alpha=0.5), 2, 6, 3),
    Case("lem", jrnn.lem(3, dt=0.8), 2, 6, 3),
    Case("antisymmetric", jrnn.antisymmetric(5, epsilon=0.3, gamma=0.6), 3, 5, 5),
    Case("indrnn", jrnn.indrnn(5, "tanh", t_max=3), 3, 5, 5),
    Case("min_gru", jrnn.min_gru(5, candidate="tanh"), 3, 5, 5),
    Case("min_lstm", jrnn.min_lstm(3), 2, 3, 3),
    Case("rg_lru", jrnn.rg_lru(3), 2, 3, 3),
    Case("lru", jrnn.lru(3, outputs=5), 2, 6, 5),
    Case("stack_of_two", jrnn.stack(jrnn.elman(3), jrnn.elman(5)), 2, 8, 5),
    Case("stack_of_three", jrnn.stack(jrnn.gru(3), jrnn.lstm(2), jrnn.linear(5)), 4, 12, 5),
    Case("residual", jrnn.residual(jrnn.gru(3)), 3, 3, 3),
    Case("layer_norm_output", jrnn.layer_norm(jrnn.lstm(3)), 2, 6, 3),
    Case("layer_norm_hidden", jrnn.layer_norm(jrnn.lstm(3), on="hidden"), 2, 6, 3),
    Case("learnable_initial_state", jrnn.learnable_initial_state(jrnn.lstm(3)), 2, 6, 3),
    Case("leaky_elman", jrnn.leaky(jrnn.elman(5), 9), 3, 5, 5),
    Case("leaky_lstm", jrnn.leaky(jrnn.lstm(3), 9), 2, 6, 3),
    Case("clip_state_gradient", jrnn.clip_state_gradient(jrnn.gru(3), 1e6), 2, 3, 3),
    Case("scale_gradient", jrnn.cures.scale_gradient(jrnn.lstm(3), 1.0), 2, 6, 3),
    Case("teacher_forced", jrnn.cures.teacher_forced(jrnn.elman(5), 2), 4, 5, 2),
    Case("zoneout", jrnn.zoneout(jrnn.lstm(3), 0.3, memory=0.6), 2, 6, 3),
    Case("dropout", jrnn.dropout(jrnn.lstm(5), outputs=0.4, recurrent=0.3), 2, 10, 5, noisy=True),
    Case(
        "dropout_stack",
        jrnn.dropout(jrnn.stack(jrnn.gru(5), jrnn.elman(3)), outputs=0.2, recurrent=0.3, between=0.4),
        2,
        8,
        3,
        noisy=True,
    ),
    Case(
        "nested",
        jrnn.stack(
            jrnn.layer_norm(jrnn.elman(3)),
            jrnn.residual(jrnn.stack(jrnn.layer_norm(jrnn.gru(2), on="hidden"), jrnn.elman(3))),
            jrnn.learnable_initial_state(jrnn.linear(2)),
        ),
        2,
        10,
        2,
    ),
    Case("from_functions", OWN, 3, 8, 7),
    Case("from_step", FOREIGN, 3, 4, 2),
)

SEQUENCES = (
    *CASES,
    Case("bidirectional", jrnn.Bidirectional(jrnn.lstm(2), jrnn.gru(3)), 3, 7, 5),
    Case(
        "bidirectional_stack",
        jrnn.stack(jrnn.Bidirectional(jrnn.elman(2)), jrnn.gru(3), jrnn.Bidirectional(jrnn.elman(2))),
        3,
        11,
        4,
    ),
)

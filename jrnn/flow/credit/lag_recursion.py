"""The recursion over lags: every output's gradient followed one step further back at once.

With D_0(t) = dL/dy_t pulled back to h_t and D_{tau+1}(t) = J_{t-tau}^T D_tau(t), D_tau(t) = part(t, t - tau), and what
all D_tau together leave in the parameters is G_tau. One lag is one backward step of all (output, sequence) pairs side
by side: large matrix products, and memory for one lag only.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.cells import draw_noise
from jrnn.types import Array, Params, Shape, State, widened
from jrnn.unrolling.schedule import Schedule, zero_unless
from jrnn.unrolling.step_rule import Entered, enter, reads_previous

BLOCK = 64  # the least lags in one of up to 4 blocks: the further back, the fewer outputs still have a state there


class Run(NamedTuple):
    """What does not change from step to step."""

    cell: Any
    params: list[Array]
    """The floating leaves alone: what gradients are taken with respect to."""
    whole: Callable[[list[Array]], Params]
    batch_shape: Shape
    begin: Callable[[list[Array]], tuple[State, State]]
    """Floating leaves -> (initial state, reset state), [*B, ...]."""
    key: Array | None


class Steps(NamedTuple):
    """The steps k = 1..T in reading order and what each output pulls on; leaves [T, *B, ...]."""

    time: Array
    """[T]: what noise is drawn with."""
    entering: State
    """h_{k-1}, before a reset."""
    after: State
    """h_k."""
    x: Any
    schedule: Schedule
    g_outputs: Any
    """dL/dy_k."""
    g_states: State
    """dL/d final_state at the step it came from."""


def entered(run: Run, now: Steps, params: list, entering: State, restart: State) -> Entered:
    """The step at one time, as `unroll` takes it."""
    whole = run.whole(params)
    noise = draw_noise(run.cell, whole, run.key, now.time, run.batch_shape)
    return enter(run.cell, whole, entering, now.x, now.schedule, restart, noise)


def pull_through(run: Run, steps: Steps) -> Callable[[State], tuple[list, State, State]]:
    """Cotangents of h_k for all k -> (summed over k: of params; of h_{k-1} for all k; summed: of the reset state)."""

    def all_at_once(params: list, entering: State, restart: State) -> State:
        return jax.vmap(lambda now, h: entered(run, now, params, h, restart).after())(steps, entering)

    return jax.vjp(all_at_once, run.params, steps.entering, run.begin(run.params)[1])[1]


class Seeds(NamedTuple):
    """What the outputs themselves pull on."""

    here: State
    """D_0 [T, *B, ...]."""
    params: list[Array]
    """dL/dparams through `output` alone: part of G_0."""
    before: State
    """What they pull on h_{k-1}, part of D_1; zero unless the output reads the state before the step."""
    restart: State
    """The same for the reset state [*B, ...]."""


def seeds(run: Run, steps: Steps) -> Seeds:
    """One product for all outputs."""

    def all_at_once(params: list, entering: State, restart: State, after: State) -> Any:
        def output(now: Steps, h: State, end: State) -> Any:
            return entered(run, now, params, h, restart).output(end)

        return jax.vmap(output)(steps, entering, after)

    start = run.begin(run.params)[1]
    pull = jax.vjp(all_at_once, run.params, steps.entering, start, steps.after)[1]
    params, before, restart, here = pull(steps.g_outputs)
    return Seeds(jax.tree.map(jnp.add, here, steps.g_states), params, before, restart)


def follow(run: Run, steps: Steps, outputs: Array | None, account: Callable[[State, list], Any]) -> tuple:
    """(`account(D, G_tau)` for tau = 0..T stacked along a leading lag axis, (sum over tau of D or None, of G)).

    With outputs None, all of them: D [n+1, *B, ...] has D[k] = part(k + tau, k), cut off where no output has a part.
    With outputs [R] (indices of steps): D [R, *B, ...] has D[r] = part(t, t - tau) of output r, and G_tau is of these
    outputs alone.
    """
    count = len(steps.time)
    no_G = [jnp.zeros_like(widened(leaf)) for leaf in run.params]  # sums in 16 bits would stop growing
    if outputs is not None:
        rows = jax.tree.map(lambda a: a[outputs], steps)
        seed = seeds(run, rows)
        carry = (jnp.zeros((), jnp.int32), seed.here, jax.tree.map(jnp.zeros_like, seed.restart), (None, no_G))
        split = partial(at_outputs, run, steps, outputs)
        body = partial(one_lag, run, account, seed, True, split)
        carry, rows = jax.lax.scan(body, carry, None, length=count + 1)
        return rows, carry[3]
    seed = seeds(run, steps)
    D = jax.tree.map(lambda a: jnp.concatenate([jnp.zeros_like(a[:1]), a]), seed.here)
    no_D = jax.tree.map(lambda d: jnp.zeros_like(widened(d)), D)
    carry = (jnp.zeros((), jnp.int32), D, jax.tree.map(jnp.zeros_like, seed.restart), (no_D, no_G))
    rows_of_blocks = []
    blocks = min(4, max(1, count // BLOCK))
    edges = [count * i // blocks for i in range(blocks)] + [count + 1]
    for start, stop in zip(edges, edges[1:], strict=False):
        n = count - start
        carry = (carry[0], jax.tree.map(lambda a, n=n: a[: n + 1], carry[1]), *carry[2:])
        split = partial(at_states, pull_through(run, jax.tree.map(lambda a, n=n: a[:n], steps)))
        body = partial(one_lag, run, account, seed, start == 0, split)
        carry, rows = jax.lax.scan(body, carry, None, length=stop - start)
        rows_of_blocks.append(rows)
    return jax.tree.map(lambda *blocks: jnp.concatenate(blocks), *rows_of_blocks), carry[3]


def one_lag(
    run: Run, account: Callable, seed: Seeds, first_block: bool, split: Callable, carry: tuple, _: None
) -> tuple[tuple, Any]:
    """One step further back: (tau, D_tau, cotangent of the reset state, sums so far) -> the same for tau + 1."""
    tau, D, restart, (D_sum, G_sum) = carry
    first, later, pull, place = split(D, tau)
    G, back, next_restart = pull(later)
    G = jax.tree.map(jnp.add, G, jax.vjp(run.begin, run.params)[1]((first, restart))[0])
    D_next = place(back)
    if first_block:
        here = tau == 0
        G = jax.tree.map(jnp.add, G, zero_unless(here, seed.params))
        if reads_previous(run.cell):
            more = zero_unless(here, (place(seed.before), seed.restart))
            D_next, next_restart = jax.tree.map(jnp.add, (D_next, next_restart), more)
    D_sum = None if D_sum is None else jax.tree.map(lambda a, d: a.at[: len(d)].add(widened(d)), D_sum, D)
    sums = D_sum, jax.tree.map(jnp.add, G_sum, jax.tree.map(widened, G))
    return (tau + 1, D_next, next_restart, sums), account(D, G)


def at_states(pull: Callable, D: State, tau: Array) -> tuple[State, State, Callable, Callable]:
    """All outputs: D lies along the states, and one step back is one place to the left."""

    def place(back: State) -> State:
        return jax.tree.map(lambda a: jnp.concatenate([a, jnp.zeros_like(a[:1])]), back)

    return jax.tree.map(lambda a: a[0], D), jax.tree.map(lambda a: a[1:], D), pull, place


def at_outputs(run: Run, steps: Steps, outputs: Array, D: State, tau: Array) -> tuple[State, State, Callable, Callable]:
    """Some outputs: D lies along them; each lag gathers the steps reached and linearises them again."""
    k = outputs + 1 - tau
    first = jax.tree.map(lambda a: jnp.sum(a, axis=0), zero_unless(k == 0, D))
    there = jax.tree.map(lambda a: a[jnp.maximum(k - 1, 0)], steps)
    return first, zero_unless(k >= 1, D), pull_through(run, there), lambda back: back

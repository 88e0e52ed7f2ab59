"""A soak of `unroll`: random cells, shapes and options, and derivatives on derivatives, against the plain loop.

    python -m tests.unrolling.fuzz --cases 1500 --seed 0

Each case draws a cell, T, *B, lengths, resets, masks, reading order, truncation, rematerialisation, taps, carried
states, the time axis and an implementation, and one of 31 ways to look: the values; by grad, jit, vmap, jvp or jacrev;
or by one of these of another. float64, 1e-9 of the largest entry. What disagrees is named with its number and seed.
"""

import argparse
import sys
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jrnn

from .brute_force import PAIR, plant, random_like
from .plain_loop import loop

FOREIGN = jrnn.from_step(
    lambda params, h, x: (jnp.tanh(h @ params["w"] + x @ params["in"]), jnp.sin(h)),
    init=lambda key, size: {"w": jax.random.normal(key, (2, 2)), "in": jax.random.normal(key, (size, 2))},
    initial_state=lambda params, batch: jnp.full((*batch, 2), 0.2),
)
LEARNT = jrnn.learnable_initial_state(jrnn.lstm(2))
CELLS = {
    "elman": jrnn.elman(3),
    "relu": jrnn.elman(2, "relu"),
    "lstm": jrnn.lstm(2),
    "gru": jrnn.gru(3),
    "gru, reset before": jrnn.gru(2, reset_after=False),
    "linear": jrnn.linear(3, decay=(-0.9, 0.9)),
    "min_gru": jrnn.min_gru(3, candidate="tanh"),
    "rg_lru": jrnn.rg_lru(2),
    "lru": jrnn.lru(2, outputs=3),
    "learnt": LEARNT,
    "normed": jrnn.layer_norm(jrnn.gru(3), on="hidden"),
    "residual": jrnn.residual(jrnn.elman(2)),
    "stack": jrnn.stack(jrnn.gru(2), LEARNT, jrnn.linear(2)),
    "both": jrnn.Bidirectional(LEARNT, jrnn.gru(2)),
    "stack of both": jrnn.stack(jrnn.Bidirectional(jrnn.gru(2)), jrnn.layer_norm(jrnn.lstm(2))),
    "of functions": PAIR,
    "of a step": FOREIGN,
}
TOLERANCE = 1e-9


class Case(NamedTuple):
    """One drawn call."""

    name: str
    look: tuple[str, ...]  # transformations, the inner one first
    args: dict[str, Any]  # what derivatives are taken of: params, xs, start, restart, tap
    options: dict[str, Any]  # of the loop: steps, batch, lengths, resets, mask, reverse, truncate
    further: dict[str, Any]  # of `unroll` alone
    time_axis: int

    def __str__(self):
        flags = [name for name in ("lengths", "resets", "mask") if self.options[name] is not None]
        given = [name for name in ("start", "restart", "tap") if self.args[name] is not None]
        o = self.options
        return (
            f"{self.name}, T={o['steps']}, B={o['batch']}, {' '.join([*flags, *given]) or 'nothing'}, "
            f"reverse={o['reverse']}, truncate={o['truncate']}, {self.further}, time_axis={self.time_axis}, "
            f"{' of '.join(self.look[::-1]) or 'values'}"
        )


WAYS = ("grad", "jit", "vmap", "jvp", "jacrev")
LOOKS = [(), *((way,) for way in WAYS), *product(WAYS, WAYS)]


def draw(rng):
    """A random case."""
    name = str(rng.choice(list(CELLS)))
    cell, steps = CELLS[name], int(rng.integers(0, 7)) if rng.random() < 0.9 else int(rng.integers(7, 20))
    batch = [(), (1,), (2,), (3,), (1, 2), (0,)][rng.choice(6, p=[0.25, 0.2, 0.25, 0.15, 0.1, 0.05])]

    def often(p):
        return bool(rng.random() < p)

    params = cell.init(jax.random.key(int(rng.integers(1000))), 2)
    params = jax.tree.map(lambda a: a + 0.1 * jnp.asarray(rng.normal(size=a.shape)), params)
    xs = jnp.asarray(rng.normal(size=(steps, *batch, 2)))
    xs = {"value": xs, "gain": jnp.asarray(rng.normal(size=(steps, *batch, 1)))} if name == "of functions" else xs
    lengths = rng.integers(0, steps + 1, batch) if often(0.5) else None
    mask = rng.random((steps, *batch)) < 0.7 if often(0.4) else None
    read = np.ones((steps, *batch), bool) if mask is None else mask
    read = read & (np.arange(steps).reshape(-1, *(1,) * len(batch)) < (steps if lengths is None else lengths))
    if often(0.3):
        xs = jax.tree.map(lambda a: jnp.asarray(plant(rng, np.asarray(a), ~read)), xs)
    state = partial(random_like, rng)
    start, restart = (state(cell.initial_state(params, batch)) if often(p) else None for p in (0.6, 0.3))
    tap = state(cell.initial_state(params, (steps + 1, *batch))) if often(0.4) else None
    options = dict(
        steps=steps, batch=batch, lengths=lengths, mask=mask, reverse=often(0.4),
        resets=rng.random((steps, *batch)) < 0.35 if often(0.6) else None,
        truncate=int(rng.integers(1, 4)) if often(0.3) else None,
    )  # fmt: skip
    further = {}
    if often(0.4):
        further["remat"] = ("step", "sqrt", 2, 3)[rng.integers(4)]
    if often(0.3):
        further["unroll"] = 2
    if often(0.4):
        further["implementation"] = [str(rng.choice(["native", "associative", "xla"])), "reference"]
    args = dict(params=params, xs=xs, start=start, restart=restart, tap=tap)
    look, axis = LOOKS[rng.integers(len(LOOKS))], int(rng.integers(len(batch) + 1))
    return Case(name, look, args, options, further, axis)


def by_library(case, args):
    """(outputs, final_state, last, states), time first."""
    axis, o = case.time_axis, case.options

    def turned(tree, there=False):
        return jax.tree.map(lambda a: jnp.moveaxis(a, *((0, axis) if there else (axis, 0))), tree)

    run = jrnn.unroll(
        CELLS[case.name],
        args["params"],
        turned(args["xs"], True),
        initial_state=args["start"],
        reset_state=args["restart"],
        state_tap=turned(args["tap"], True),
        resets=turned(o["resets"], True),
        mask=turned(o["mask"], True),
        return_states=True,
        time_axis=axis,
        **{name: o[name] for name in ("lengths", "reverse", "truncate")},
        **case.further,
    )
    return turned(run.outputs), run.final_state, run.last, turned(run.states)


def by_loop(case, args):
    return loop(CELLS[case.name], *(args[n] for n in ("params", "xs", "start", "restart", "tap")), **case.options)


def weighed(tree, count):
    """`count` numbers that every entry of a pytree has a part in, each in its own way."""
    totals = [jnp.zeros(())] * count
    for leaf in jax.tree.leaves(tree):
        weights = [jnp.asarray(np.cos(np.arange(leaf.size) + i)).reshape(leaf.shape) for i in range(count)]
        totals = [total + jnp.sum(w * jnp.sin(leaf)) for total, w in zip(totals, weights, strict=True)]
    return jnp.stack(totals)


def transform(way, f, direction, plain):
    """`way` of f(args) as a function of args again; in the plain version without vmap and jit."""

    def moved(args, by):
        return jax.tree.map(lambda a, d: a + by * d, args, direction)

    if way == "jit":
        return f if plain else jax.jit(f)
    if way == "vmap" and plain:
        return lambda args: jax.tree.map(lambda *a: jnp.stack(a), *(f(moved(args, by)) for by in (0.0, 0.5)))
    if way == "vmap":
        return lambda args: jax.vmap(lambda by: f(moved(args, by)))(jnp.array([0.0, 0.5]))
    if way == "jvp":
        return lambda args: jax.jvp(f, (args,), (direction,))
    if way == "grad":
        return jax.grad(lambda args: weighed(f(args), 1)[0])
    return jax.jacrev(lambda args: weighed(f(args), 2))


def error(case, seed):
    """How far the library is from the loop: the largest difference, relative to 1 + the largest entry of its array."""
    direction = random_like(np.random.default_rng(seed), case.args)
    found = []
    for f, plain in ((by_library, False), (by_loop, True)):
        f = partial(f, case)
        for way in case.look:
            f = transform(way, f, direction, plain)
        found.append(f(case.args))
    assert jax.tree.structure(found[0]) == jax.tree.structure(found[1])
    off = [0.0]
    for got, wanted in zip(*map(jax.tree.leaves, found), strict=True):
        got, wanted = np.asarray(got), np.asarray(wanted)
        assert got.shape == wanted.shape, (got.shape, wanted.shape)
        if got.size:
            off.append(np.max(np.abs(got - wanted)) / (1 + np.max(np.abs(wanted))))
    return np.max(off)  # NaN where there is one, which Python's `max` would pass over


def fuzz(cases, seed, first=0):
    """How many disagree; each is named."""
    failed, worst = 0, 0.0
    for number in range(first, first + cases):
        case = draw(np.random.default_rng([seed, number]))
        try:
            off = error(case, number)
            said = f"{off:.1e}"
        except Exception as wrong:  # a crash is a finding like any other, and the other cases are run all the same
            off, said = np.inf, f"{type(wrong).__name__}: {wrong}"
        if not off <= TOLERANCE:
            failed += 1
            print(f"case {number} of seed {seed}: {said}: {case}", flush=True)
        worst = max(worst, off if np.isfinite(off) else worst)
        if number % 100 == 99:
            jax.clear_caches()  # every case is a program of its own
            print(f"{number}: {case}", flush=True)
    print(f"{cases} cases of seed {seed}: {failed or 'none'} disagree, the largest difference {worst:.1e}")
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case, to look at one again")
    asked = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)
    sys.exit(min(fuzz(asked.cases, asked.seed, asked.first), 1))

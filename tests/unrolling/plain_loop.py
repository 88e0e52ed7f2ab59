"""`unroll` as a loop: sequence after sequence, step after step, every decision an `if` of plain Python.

It reads `cell.step`, `cell.output` and `cell.initial_state` and shares nothing else with the library. Any of JAX's
derivatives can be taken through it.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.cells import Bidirectional, BidirectionalState, Stack


def loop(cell, params, xs, start, restart, tap, *, steps, batch, lengths, resets, mask, reverse, truncate):
    """(outputs, final_state, last, states) as `unroll` returns them, time first; None is what `unroll` makes of it."""
    found = []
    for b in np.ndindex(*batch) if all(batch) else [None]:

        def one(tree, times, b=b):
            take = (lambda a: a[(slice(None),) * times + b]) if b is not None else (lambda a: empty(a, times, batch))
            return jax.tree.map(take, tree)

        own = cell.initial_state(params, ())
        when = dict(
            length=steps if lengths is None else int(one(lengths, 0)),
            resets=np.zeros(steps, bool) if resets is None else one(resets, 1),
            mask=np.ones(steps, bool) if mask is None else one(mask, 1),
            reverse=reverse,
            truncate=truncate,
        )
        begins = own if start is None else one(start, 0)
        found.append(alone(cell, params, one(xs, 1), begins, own if restart is None else one(restart, 0),
                           one(tap, 1), steps, when))  # fmt: skip
    times = (1, 0, 0, 1)  # leading time axes of what is returned
    if not all(batch):
        return tuple(
            jax.tree.map(lambda a, n=n: jnp.zeros((*a.shape[:n], *batch, *a.shape[n:]), a.dtype), tree)
            for tree, n in zip(found[0], times, strict=True)
        )
    return tuple(
        jax.tree.map(lambda *a, n=n: jnp.stack(a, n).reshape(*a[0].shape[:n], *batch, *a[0].shape[n:]), *trees)
        for trees, n in zip(zip(*found, strict=True), times, strict=True)
    )


def empty(array, times, batch):
    """One sequence of zeros, for shapes where there is none."""
    return np.zeros(array.shape[:times] + array.shape[times + len(batch) :], array.dtype)


def alone(cell, params, xs, start, restart, tap, steps, when):
    """One sequence, in any combination of directions and layers."""
    if isinstance(cell, Bidirectional):
        sides = []
        for name, reverse in (("forward", when["reverse"]), ("backward", not when["reverse"])):
            of = [None if tree is None else getattr(tree, name) for tree in (start, restart, tap)]
            sides.append(alone(getattr(cell, name), params[name], xs, *of, steps, {**when, "reverse": reverse}))
        (y, h, last, hs), (z, g, first, gs) = sides
        beside = [jnp.concatenate(pair, axis=-1) for pair in ((y, z), (last, first))]
        return beside[0], BidirectionalState(h, g), beside[1], BidirectionalState(hs, gs)
    if isinstance(cell, Stack) and not cell.causal:
        layers = []
        for i, layer in enumerate(cell.cells):
            of = [None if tree is None else tree[i] for tree in (start, restart, tap)]
            layers.append(alone(layer, params[i], xs, *of, steps, when))
            xs = layers[-1][0]
        return layers[-1][0], tuple(one[1] for one in layers), layers[-1][2], tuple(one[3] for one in layers)
    return stepwise(cell, params, xs, start, restart, tap, steps, **when)


def stepwise(cell, params, xs, start, restart, tap, steps, *, length, resets, mask, reverse, truncate):
    """One sequence of a causal cell."""

    def pulled(h, row):
        return h if tap is None else jax.tree.map(lambda a, pull: a + pull[row], h, tap)

    def at(t):
        return jax.tree.map(lambda a: a[t], xs)

    h = pulled(start, steps if reverse else 0)
    x = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), xs)
    silence = jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), jax.eval_shape(cell.output, params, h, x))
    outputs, states, last = [silence] * steps, [h] * (steps + 1), silence
    for n, t in enumerate(reversed(range(length)) if reverse else range(length)):
        if truncate is not None and n > 0 and n % truncate == 0:
            h = jax.lax.stop_gradient(h)
        if (t + 1 < length and resets[t + 1]) if reverse else resets[t]:
            h = restart
        before, row = h, t if reverse else t + 1
        if mask[t]:
            h = cell.step(params, h, at(t))
        h = states[row] = pulled(h, row)
        if mask[t]:
            outputs[t] = last = cell.output(params, before if getattr(cell, "reads_previous", False) else h, at(t))
    if not reverse:
        states[length + 1 :] = [h] * (steps - length)
    ys = jax.tree.map(lambda *y: jnp.stack(y), *outputs) if steps else jax.tree.map(lambda y: y[None][:0], silence)
    return ys, h, last, jax.tree.map(lambda *a: jnp.stack(a), *states)

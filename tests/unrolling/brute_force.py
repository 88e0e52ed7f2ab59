"""The oracle: one sequence and one step at a time, gradients from explicit Jacobians, time in plain Python and NumPy.

It reads `cell.step` and `cell.output` and shares nothing else with the library: no scan, no schedule, no flattening.
`compare` holds a run of the library against it, values and all gradients, with random cotangents on everything.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jrnn.cells import elman, from_functions, gru, linear, lstm, stack
from jrnn.unrolling import unroll


class Point(NamedTuple):
    """What one step of one sequence is at one point: values and every partial derivative, flattened."""

    h: np.ndarray
    y: np.ndarray
    J: np.ndarray  # dh'/dh
    h_params: np.ndarray
    h_x: np.ndarray
    y_h: np.ndarray  # dy/dh'
    y_params: np.ndarray
    y_x: np.ndarray


@partial(jax.jit, static_argnums=0)
def look(cell, params, state, x):
    unflat = [ravel_pytree(tree)[1] for tree in (params, state, x)]
    at = [ravel_pytree(tree)[0] for tree in (params, state, x)]

    def step(p, h, x):
        return ravel_pytree(cell.step(unflat[0](p), unflat[1](h), unflat[2](x)))[0]

    def output(p, h, x):
        return ravel_pytree(cell.output(unflat[0](p), unflat[1](h), unflat[2](x)))[0]

    h = step(*at)
    y = output(at[0], h, at[2])
    h_params, J, h_x = jax.jacrev(step, argnums=(0, 1, 2))(*at)
    y_params, y_h, y_x = jax.jacrev(output, argnums=(0, 1, 2))(at[0], h, at[2])
    return Point(h, y, J, h_params, h_x, y_h, y_params, y_x)


def flat(tree):
    """A pytree of one sequence's arrays as one NumPy vector, leaves in pytree order."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)] or [np.zeros(0)])


def like(tree, vector):
    """The inverse of `flat`."""
    leaves, treedef = jax.tree.flatten(tree)
    cuts = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
    return jax.tree.unflatten(
        treedef, [part.reshape(np.shape(leaf)) for part, leaf in zip(np.split(vector, cuts), leaves, strict=True)]
    )


def at(tree, index):
    """The leaves of a pytree at one index, as NumPy."""
    return jax.tree.map(lambda a: np.asarray(a)[index], tree)


class Tape(NamedTuple):
    """One sequence, run."""

    outputs: np.ndarray
    final: np.ndarray
    states: np.ndarray
    happened: np.ndarray
    last: np.ndarray
    read: list  # (t, cut, edge, Point or None) in reading order


def forward(cell, params, xs, start, restart, *, steps, length, resets, mask, reverse=False, truncate=None):
    """One sequence: xs leaves [T, ...], start and restart states without batch axes."""
    h = flat(start)
    states = np.zeros((steps + 1, h.size))
    first = steps if reverse else 0
    states[first] = h
    outputs, last, read, happened = {}, None, [], np.zeros(steps, bool)
    for n, t in enumerate(reversed(range(length)) if reverse else range(length)):
        cut = truncate is not None and n > 0 and n % truncate == 0
        edge = bool(t + 1 < length and resets[t + 1]) if reverse else bool(resets[t])
        if edge:
            h = flat(restart)
        point = None
        if mask[t]:
            point = jax.tree.map(np.asarray, look(cell, params, like(start, h), at(xs, t)))
            h, outputs[t], last, happened[t] = point.h, point.y, point.y, True
        read.append((t, cut, edge, point))
        states[t if reverse else t + 1] = h
    if reverse:
        states[length:] = flat(start)
    else:
        states[length + 1 :] = h
    size = next(iter(outputs.values())).size if outputs else output_size(cell, params, start, xs)
    ys = np.zeros((steps, size))
    for t, y in outputs.items():
        ys[t] = y
    return Tape(ys, h, states, happened, np.zeros(size) if last is None else last, read)


def at_abstract(xs):
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), xs)


def output_size(cell, params, start, xs):
    y = jax.eval_shape(cell.output, params, jax.tree.map(jnp.asarray, start), at_abstract(xs))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(y))


class Pulled(NamedTuple):
    """Gradients of one sequence, flattened."""

    params: np.ndarray
    xs: np.ndarray
    start: np.ndarray
    restart: np.ndarray
    states: np.ndarray


def backward(tape, sizes, g_outputs, g_final, g_last, g_states, reverse=False):
    """The recursion delta_{t-1} = J_t^T delta_t + g_{t-1} with explicit Jacobians; sizes = (params, x)."""
    steps, length = len(tape.outputs), len(tape.read)
    of_params, of_xs = np.zeros(sizes[0]), np.zeros((steps, sizes[1]))
    of_restart, deltas = np.zeros_like(tape.final), np.zeros_like(tape.states)
    delta = g_final.copy()
    if not reverse:
        delta = delta + g_states[length + 1 :].sum(0)  # padding holds h_length
    newest = [t for t, _, _, point in tape.read if point is not None]
    for t, cut, edge, point in reversed(tape.read):
        row = t if reverse else t + 1
        delta = delta + g_states[row]
        if point is not None:
            g = g_outputs[t] + (g_last if t == newest[-1] else 0)
            delta = delta + point.y_h.T @ g
            of_params = of_params + point.y_params.T @ g
            of_xs[t] += point.y_x.T @ g
        deltas[row] = delta
        if point is not None:
            of_params = of_params + point.h_params.T @ delta
            of_xs[t] += point.h_x.T @ delta
            delta = point.J.T @ delta
        if edge:
            of_restart, delta = of_restart + delta, np.zeros_like(delta)
        if cut:
            delta = np.zeros_like(delta)
    delta = delta + (g_states[length:].sum(0) if reverse else g_states[0])
    deltas[steps if reverse else 0] = delta
    return Pulled(of_params, of_xs, delta, of_restart, deltas)


STATIC = ("reverse", "remat", "truncate", "unroll", "length")


@partial(jax.jit, static_argnums=0, static_argnames=STATIC)
def library(cell, params, xs, start, restart, tap, cotangents, lengths, resets, mask, **static):
    """The library's run and its vector-Jacobian product: (outputs, final, last, states), mask, gradients."""

    def of(params, xs, start, restart, tap):
        run = unroll(
            cell,
            params,
            xs,
            initial_state=start,
            reset_state=restart,
            state_tap=tap,
            lengths=lengths,
            resets=resets,
            mask=mask,
            return_states=True,
            **static,
        )
        return (run.outputs, run.final_state, run.last, run.states), run.mask

    values, pull, happened = jax.vjp(of, params, xs, start, restart, tap, has_aux=True)
    return values, happened, pull(cotangents)


def random_like(rng, tree):
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), tree)


def compare(
    cell,
    params,
    xs,
    *,
    steps,
    batch,
    lengths=None,
    resets=None,
    mask=None,
    own_restart=False,
    poison=True,
    seed=0,
    tol=1e-11,
    **static,
):
    """Asserts that the library equals the oracle; lengths [*B], resets and mask [T, *B] as NumPy or None.

    With `own_restart` no `reset_state` is given: resets go to the cell's own. With `poison` the inputs that are not
    read are NaN and Inf in the library's run.
    """
    rng = np.random.default_rng(seed)
    start, restart = (random_like(rng, cell.initial_state(params, batch)) for _ in range(2))
    alone, pull_own = jax.vjp(lambda p: cell.initial_state(p, ()), params)
    goes_to = jax.tree.map(lambda h: jnp.broadcast_to(h, (*batch, *h.shape)), alone) if own_restart else restart
    every = np.full(batch, steps) if lengths is None else np.asarray(lengths)
    on = np.ones((steps, *batch), bool) if mask is None else np.asarray(mask)
    off = np.zeros((steps, *batch), bool) if resets is None else np.asarray(resets)
    unread = ~on | (np.arange(steps).reshape(-1, *(1,) * len(batch)) >= every)
    given = jax.tree.map(lambda a: plant(rng, np.asarray(a), unread), xs) if poison else xs
    tap_like = cell.initial_state(params, (steps + 1, *batch))
    tap = jax.tree.map(jnp.zeros_like, tap_like)
    shapes = jax.eval_shape(
        lambda p: unroll(
            cell, p, xs, initial_state=start, return_states=True, length=static.get("length"), lengths=lengths
        ),
        params,
    )
    cotangents = random_like(rng, (shapes.outputs, shapes.final_state, shapes.last, shapes.states))
    convert = partial(jax.tree.map, jnp.asarray)
    values, happened, grads = library(
        cell,
        params,
        convert(given),
        start,
        None if own_restart else restart,
        tap,
        cotangents,
        *convert((lengths, resets, mask)),
        **static,
    )
    outputs, final, last, states = values
    sizes = flat(params).size, sum(int(np.prod(np.shape(a)[1 + len(batch) :])) for a in jax.tree.leaves(xs))
    total = np.zeros(sizes[0])
    for b in np.ndindex(*batch):
        tape = forward(
            cell,
            params,
            at(xs, (slice(None), *b)),
            at(start, b),
            at(goes_to, b),
            steps=steps,
            length=int(every[b]),
            resets=off[(slice(None), *b)],
            mask=on[(slice(None), *b)],
            reverse=static.get("reverse", False),
            truncate=static.get("truncate"),
        )
        close = partial(np.testing.assert_allclose, rtol=tol, atol=tol)
        close(rows(outputs, b, steps), tape.outputs, err_msg="outputs")
        close(flat(at(final, b)), tape.final, err_msg="final_state")
        close(flat(at(last, b)), tape.last, err_msg="last")
        close(rows(states, b, steps + 1), tape.states, err_msg="states")
        np.testing.assert_array_equal(np.asarray(happened)[(slice(None), *b)], tape.happened)
        cts = [rows(cotangents[0], b, steps), flat(at(cotangents[1], b)), flat(at(cotangents[2], b))]
        want = backward(tape, sizes, *cts, rows(cotangents[3], b, steps + 1), static.get("reverse", False))
        total = total + want.params
        if own_restart:
            total = total + flat(pull_own(jax.tree.map(jnp.asarray, like(alone, want.restart)))[0])
        close(rows(grads[1], b, steps), want.xs, err_msg="xs")
        close(flat(at(grads[2], b)), want.start, err_msg="initial_state")
        if not own_restart:
            close(flat(at(grads[3], b)), want.restart, err_msg="reset_state")
        kept = ~np.isin(np.arange(steps + 1), padding_rows(steps, int(every[b]), static.get("reverse", False)))
        got = rows(grads[4], b, steps + 1)
        close(got[kept], want.states[kept], err_msg="state_tap")
        np.testing.assert_array_equal(got[~kept], 0.0, err_msg="state_tap on padding")
    np.testing.assert_allclose(flat(grads[0]), total, rtol=tol, atol=tol * (1 + steps), err_msg="params")
    return values, grads


def padding_rows(steps, length, reverse):
    return np.arange(length, steps) if reverse else np.arange(length + 1, steps + 1)


def rows(tree, b, steps):
    """Leaves [T, *B, ...] of a pytree, at one sequence, as a matrix [T, n]."""
    leaves = [np.asarray(leaf)[(slice(None), *b)] for leaf in jax.tree.leaves(tree)]
    leaves = [leaf.reshape(steps, int(np.prod(leaf.shape[1:]))) for leaf in leaves]
    return np.concatenate(leaves, axis=1) if leaves else np.zeros((steps, 0))


def plant(rng, array, where):
    """NaN and Inf at the steps that are not read."""
    bad = rng.choice(np.array([np.nan, np.inf, -np.inf]), size=array.shape)
    return np.where(where.reshape(where.shape + (1,) * (array.ndim - where.ndim)), bad, array)


# --- the table of cells that the property tests run over ------------------------------------------------------------


class Pair(NamedTuple):
    """A state of two arrays of different rank."""

    position: Any  # [*B, 2]
    grid: Any  # [*B, 2, 1]


def pair_init(key, size):
    one, two = jax.random.split(key)
    return {"a": jax.random.normal(one, (2, 2)) / 2, "b": jax.random.normal(two, (size,))}


def pair_start(params, batch):
    return Pair(jnp.zeros((*batch, 2)), jnp.ones((*batch, 2, 1)))


def pair_step(params, state, x):
    drive = jnp.broadcast_to((x["value"] @ params["b"])[..., None], state.position.shape)
    position = jnp.sin(state.position @ params["a"] + drive + state.grid[..., 0])
    return Pair(position, state.grid * 0.5 + (x["gain"] * jnp.cos(position))[..., None])


def pair_output(params, state, x):
    return {"sum": state.position + 2 * state.grid[..., 0], "seen": state.position[..., :1] * x["value"][..., :1]}


PAIR = from_functions(init=pair_init, initial_state=pair_start, step=pair_step, output=pair_output)


CELLS = {
    "elman": elman(3),
    "lstm": lstm(2, bias="pytorch"),
    "gru": gru(3, bias="pytorch"),
    "gru_before": gru(2, reset_after=False, bias="pytorch"),
    "linear": linear(3, decay=(-0.9, 0.9), bias="pytorch"),
    "stack": stack(gru(2), elman(3)),
    "pair": PAIR,
}


def make(name, features=2, seed=1):
    """(cell, params) with every parameter away from zero."""
    cell = CELLS[name] if isinstance(name, str) else name
    params = cell.init(jax.random.key(seed), features)
    rng = np.random.default_rng(seed)
    return cell, jax.tree.map(lambda a: jnp.asarray(np.asarray(a) + rng.normal(size=a.shape) * 0.1, a.dtype), params)


def inputs(name, steps, batch, features=2, seed=2):
    """xs as the cell reads them, NumPy."""
    rng = np.random.default_rng(seed)
    xs = rng.normal(size=(steps, *batch, features))
    if name == "pair":
        return {"gain": rng.normal(size=(steps, *batch, 1)), "value": xs}
    return xs

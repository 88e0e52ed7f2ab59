"""dL/dh_t for every t and all gradients of one backward pass, against explicit per-step Jacobians and differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jrnn.cells import Bidirectional, elman, from_functions, gru, learnable_initial_state
from jrnn.types import InputError
from jrnn.unrolling import state_gradients, unroll, value_and_grads

from ..unrolling.brute_force import at, backward, flat, forward, inputs, make, random_like, rows

close = partial(assert_allclose, rtol=1e-11, atol=1e-12)
STEPS, BATCH = 5, (3,)
LENGTHS = np.array([5, 0, 3])


def loss(unrolled):
    """Not additive over time, and through every field that a loss may use."""
    final = jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(unrolled.final_state)], 1)
    mixed = jnp.sum(jnp.tanh(unrolled.outputs), axis=0) ** 2
    return jnp.sum(mixed * jnp.sin(unrolled.last)) + jnp.sum(final**3) + jnp.mean(unrolled.outputs)


def wanted(cell, params, xs, start, unrolled, lengths, resets, mask, **options):
    """delta by the recursion with explicit Jacobians, all gradients, from dL/dy taken once by autodiff of the loss."""
    pulls = jax.grad(
        lambda y, final, last: loss(unrolled._replace(outputs=y, final_state=final, last=last)), argnums=(0, 1, 2)
    )(unrolled.outputs, unrolled.final_state, unrolled.last)
    total, found = 0.0, []
    for b in range(BATCH[0]):
        tape = forward(
            cell,
            params,
            at(xs, (slice(None), b)),
            at(start, b),
            cell.initial_state(params, ()),
            steps=STEPS,
            length=int(lengths[b]),
            resets=resets[:, b],
            mask=mask[:, b],
            **options,
        )
        cotangents = [rows(pulls[0], (b,), STEPS), flat(at(pulls[1], b)), flat(at(pulls[2], b))]
        sizes = flat(params).size, xs.shape[-1]
        none = np.zeros((STEPS + 1, tape.final.size))
        found.append(backward(tape, sizes, *cotangents, none, options.get("reverse", False)))
        total = total + found[-1].params
    return total, found


CASES = {
    "plain": {},
    "lengths": {"lengths": LENGTHS},
    "all": {
        "lengths": LENGTHS,
        "resets": np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 1]], bool),
        "mask": np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], bool),
    },
    "reverse": {"lengths": LENGTHS, "reverse": True},
    "truncated": {"truncate": 2},
}


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("elman", "plain"),
        ("lstm", "plain"),
        ("lstm", "all"),
        ("stack", "lengths"),
        ("gru", "reverse"),
        ("gru", "truncated"),
    ],
)
def test_one_backward_pass_gives_all_gradients(name, case):
    cell, params = make(name)
    xs, options = inputs(name, STEPS, BATCH), CASES[case]
    start = random_like(np.random.default_rng(1), cell.initial_state(params, BATCH))
    value, grads = value_and_grads(cell, params, xs, loss, initial_state=start, **options)
    unrolled = unroll(cell, params, xs, initial_state=start, **options)
    close(value, loss(unrolled))
    lengths = options.get("lengths", np.full(BATCH, STEPS))
    resets = options.get("resets", np.zeros((STEPS, *BATCH), bool))
    mask = options.get("mask", np.ones((STEPS, *BATCH), bool))
    more = {k: v for k, v in options.items() if k in ("reverse", "truncate")}
    of_params, by_sequence = wanted(cell, params, xs, start, unrolled, lengths, resets, mask, **more)
    close(flat(grads.params), of_params, rtol=1e-10)
    for b, want in enumerate(by_sequence):
        close(rows(grads.states, (b,), STEPS + 1), want.states)  # zero on padding, there as here
        close(rows(grads.xs, (b,), STEPS), want.xs)
        close(flat(at(grads.initial_state, b)), want.start)
    assert_array_equal(
        flat(state_gradients(cell, params, xs, loss, initial_state=start, **options)), flat(grads.states)
    )
    assert grads.loss_params is None


def test_central_differences_of_every_gradient():
    cell, params = make("lstm")
    xs, rng = jnp.asarray(inputs("lstm", 3, (2,))), np.random.default_rng(0)
    start = random_like(rng, cell.initial_state(params, (2,)))
    head = {"w": jnp.asarray(rng.normal(size=(2, 2)))}
    lengths = np.array([3, 2])

    def with_head(head, unrolled):
        return jnp.sum(jnp.cos(unrolled.outputs @ head["w"])) + jnp.sum(unrolled.final_state.c**2)

    value, grads = value_and_grads(cell, params, xs, with_head, loss_params=head, initial_state=start, lengths=lengths)

    @jax.jit
    def at_point(params, head, xs, start, tap):
        run = unroll(cell, params, xs, initial_state=start, lengths=lengths, state_tap=tap)
        return with_head(head, run)

    tap = jax.tree.map(jnp.zeros_like, grads.states)
    point = (params, head, xs, start, tap)
    close(value, at_point(*point))
    for _ in range(3):
        direction = random_like(rng, point)
        for i, grad in enumerate(grads):
            moved = []
            for sign in (1e-5, -1e-5):
                shifted = list(point)
                shifted[i] = jax.tree.map(lambda a, d: a + sign * d, point[i], direction[i])  # noqa: B023
                moved.append(at_point(*shifted))
            slope = sum(jnp.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (grad, direction[i])), strict=True))
            assert_allclose((moved[0] - moved[1]) / 2e-5, slope, rtol=1e-7, atol=1e-8)


def test_taps_displace_the_states():
    # the definition: delta_t is the derivative with respect to something added to h_t
    cell, params = make("gru")
    xs = inputs("gru", 4, (2,))
    run = unroll(cell, params, xs, return_states=True)
    tap = random_like(np.random.default_rng(0), run.states)
    moved = unroll(cell, params, xs, return_states=True, state_tap=tap)
    h = cell.initial_state(params, (2,))
    h = h._replace(h=h.h + tap.h[0])
    for t in range(4):
        close(moved.states.h[t], h.h)
        h = cell.step(params, h, jnp.asarray(xs[t]))
        h = h._replace(h=h.h + tap.h[t + 1])
        close(moved.outputs[t], h.h)


def test_gradient_flows_to_a_learnable_initial_state():
    cell = learnable_initial_state(gru(2))
    params = make(cell)[1]
    xs, resets = inputs("gru", 4, (3,)), np.zeros((4, 3), bool)
    resets[2, 0] = True
    _, grads = value_and_grads(cell, params, xs, lambda u: jnp.sum(u.outputs**2), resets=resets)
    close(grads.initial_state.h, grads.states.h[0])  # of the first segment; the parameter hears both
    _, later = value_and_grads(cell, params, xs[2:, 0], lambda u: jnp.sum(u.outputs**2))
    assert np.abs(later.initial_state.h).max() > 1e-3
    close(grads.params["initial_state"].h, grads.initial_state.h.sum(0) + later.initial_state.h)


def test_integer_inputs_have_no_gradient():
    table = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2)))
    cell = from_functions(
        initial_state=lambda params, batch: jnp.zeros((*batch, 2)),
        step=lambda params, h, x: jnp.tanh(0.5 * h + params[x["token"]] + x["extra"]),
        input_ndim=0,
    )
    tokens = {"token": np.array([[1, 2], [4, 0], [3, 3]]), "extra": np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])}

    def step(params, h, x):
        return jnp.tanh(0.5 * h + params[x["token"]] + jnp.broadcast_to(x["extra"][..., None], h.shape))

    cell = from_functions(initial_state=cell.initial_state_fn, step=step, input_ndim=0)
    _, grads = value_and_grads(cell, table, tokens, lambda u: jnp.sum(u.last))
    assert grads.xs["token"] is None
    assert grads.xs["extra"].shape == (3, 2)
    assert np.abs(grads.params).min() > 0
    only = from_functions(initial_state=cell.initial_state_fn, step=lambda p, h, x: jnp.tanh(h + p[x]), input_ndim=0)
    assert value_and_grads(only, table, tokens["token"], lambda u: jnp.sum(u.last))[1].xs is None


def test_time_axis_and_bidirectional():
    cell = Bidirectional(elman(2))
    params = make(cell)[1]
    xs = inputs("elman", 4, (3,))
    value, grads = value_and_grads(cell, params, xs, lambda u: jnp.sum(u.outputs**2), lengths=np.array([4, 0, 2]))
    turned, moved = value_and_grads(
        cell, params, np.swapaxes(xs, 0, 1), lambda u: jnp.sum(u.outputs**2), lengths=np.array([4, 0, 2]), time_axis=1
    )
    close(turned, value)
    close(moved.xs, jnp.swapaxes(grads.xs, 0, 1))
    jax.tree.map(lambda a, b: close(a, jnp.swapaxes(b, 0, 1)), moved.states, grads.states)
    direct = jax.grad(lambda p: jnp.sum(unroll(cell, p, xs, lengths=np.array([4, 0, 2])).outputs ** 2))(params)
    jax.tree.map(close, grads.params, direct)


def test_under_jit_and_vmap_and_without_steps():
    cell, params = make("gru")
    xs = inputs("gru", 3, (2,))

    def call(params, xs):
        return value_and_grads(cell, params, xs, lambda u: jnp.sum(u.outputs**2) + jnp.sum(u.final_state.h))

    wanted = call(params, xs)
    jax.tree.map(close, jax.jit(call)(params, xs), wanted)
    one_by_one = jax.vmap(call, in_axes=(None, 1))(params, xs)
    close(one_by_one[0].sum(), wanted[0])
    close(one_by_one[1].states.h, jnp.swapaxes(wanted[1].states.h, 0, 1))
    for steps, batch in ((0, 2), (3, 0)):
        _, empty = call(params, xs[:steps, :batch])
        assert empty.states.h.shape == (steps + 1, batch, 3)
    close(call(params, xs[:0])[1].initial_state.h, 1.0)


@pytest.mark.parametrize(
    "bad",
    [lambda u: u.last, lambda u: (jnp.sum(u.last), 1), lambda u: None, lambda u: 1, lambda u: jnp.sum(u.mask)],
    ids=["vector", "tuple", "none", "int", "count"],
)
def test_a_loss_that_is_no_real_number_is_refused(bad):
    cell, params = make("gru")
    with pytest.raises(InputError, match="loss.*one real number"):
        value_and_grads(cell, params, inputs("gru", 2, (2,)), bad)


def test_a_tap_is_refused():
    cell, params = make("gru")
    with pytest.raises(InputError, match="state_tap"):
        value_and_grads(cell, params, inputs("gru", 2, (2,)), loss, state_tap=jnp.zeros(3))

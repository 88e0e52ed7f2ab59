"""Which output's gradient reaches which state: against explicit Jacobians of every step, and sum rules."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jrnn.cells import Bidirectional, elman, gru, linear
from jrnn.flow import gradient_flow
from jrnn.types import InputError
from jrnn.unrolling import state_gradients, unroll

from ..unrolling.brute_force import at, backward, flat, forward, inputs, make, random_like, rows

close = partial(assert_allclose, rtol=1e-11, atol=1e-13)
STEPS, BATCH = 4, (3,)
LENGTHS = np.array([4, 0, 2])
RESETS = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]], bool)
MASK = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]], bool)


def total(tree):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))


LOSSES = {
    "outputs": lambda u: jnp.sum(jnp.tanh(u.outputs) ** 2),
    "last": lambda u: jnp.sum(jnp.sin(u.last)),
    "final_state": lambda u: total(u.final_state),
    "not additive": lambda u: jnp.sum(jnp.exp(jnp.sum(u.outputs, axis=0)) * u.last) + total(u.final_state) ** 2,
}


def parts(cell, params, xs, start, loss, options):
    """part[t, k, b] as vectors: the gradient of one output alone, followed back by explicit Jacobians."""
    run = unroll(cell, params, xs, initial_state=start, **options)
    pulls = jax.grad(
        lambda y, final, last: loss(run._replace(outputs=y, final_state=final, last=last)), argnums=(0, 1, 2)
    )(run.outputs, run.final_state, run.last)
    reverse = options.get("reverse", False)
    found = []
    for b in range(BATCH[0]):
        length = int(options.get("lengths", np.full(BATCH, STEPS))[b])
        tape = forward(
            cell, params, at(xs, (slice(None), b)), at(start, b), cell.initial_state(params, ()), steps=STEPS,
            length=length, resets=options.get("resets", np.zeros((STEPS, *BATCH), bool))[:, b],
            mask=options.get("mask", np.ones((STEPS, *BATCH), bool))[:, b],
            reverse=reverse,
        )  # fmt: skip
        # dL/d last belongs to the output read last, dL/d final_state to the last step inside (at length 0: row 0)
        read_last = [t for t, _, _, point in tape.read if point is not None][-1:]
        end = tape.read[-1][0] if tape.read else 0
        g, g_final, g_last = rows(pulls[0], (b,), STEPS), flat(at(pulls[1], b)), flat(at(pulls[2], b))
        for t in read_last:
            g[t] += g_last
        by_output = []
        for t in range(STEPS):
            one = np.where(np.arange(STEPS)[:, None] == t, g, 0.0)
            none = np.zeros((STEPS + 1, tape.final.size))
            pulled = backward(
                tape, (flat(params).size, xs.shape[-1]), one, g_final * (t == end), 0 * g_last, none, reverse
            )
            by_output.append(pulled.states)
        found.append(by_output)
    return np.moveaxis(np.array(found), 0, 2)  # [T, T+1, B, N]


@pytest.mark.parametrize(
    ("name", "loss", "options"),
    [
        ("lstm", "outputs", {}),
        ("gru", "last", {"lengths": LENGTHS}),
        ("stack", "final_state", {"lengths": LENGTHS}),
        ("lstm", "not additive", {"lengths": LENGTHS, "resets": RESETS, "mask": MASK}),
        ("gru", "not additive", {"lengths": LENGTHS, "reverse": True}),
    ],
    ids=["outputs", "last", "final", "all", "reverse"],
)
def test_parts_by_explicit_jacobians(name, loss, options):
    cell, params = make(name)
    xs = inputs(name, STEPS, BATCH)
    start = random_like(np.random.default_rng(1), cell.initial_state(params, BATCH))
    want = parts(cell, params, xs, start, LOSSES[loss], options)
    flow = jax.jit(lambda params: gradient_flow(cell, params, xs, LOSSES[loss], initial_state=start, **options))(params)
    size = np.linalg.norm(want, axis=-1)
    close(flow.credit, size)
    assert_array_equal(flow.output_times, np.arange(1, STEPS + 1))
    whole = state_gradients(cell, params, xs, LOSSES[loss], initial_state=start, **options)
    by_sequence = np.stack([rows(whole, (b,), STEPS + 1) for b in range(BATCH[0])], 1)
    assert_array_equal(flow.state_gradients.shape, by_sequence.shape)
    close(flow.state_gradients, by_sequence)
    # the parts sum to the whole, whatever the loss; relative to the sum of their norms, for parts may cancel
    gap = np.linalg.norm(want.sum(0) - by_sequence, axis=-1)
    assert (gap <= 1e-12 * size.sum(0)).all()
    for t in range(STEPS):
        unreachable = slice(0, t) if options.get("reverse") else slice(t + 2, None)
        assert_array_equal(flow.credit[t, unreachable], 0.0)
    assert flow.credit.max() > 0


@pytest.mark.thorough
def test_chosen_outputs():
    cell, params = make("gru")
    xs = inputs("gru", STEPS, ())
    every = gradient_flow(cell, params, xs, LOSSES["outputs"])
    some = gradient_flow(cell, params, xs, LOSSES["outputs"], output_times=[4, 1])
    close(some.credit, every.credit[np.array([3, 0])])
    assert_array_equal(some.output_times, [4, 1])
    close(some.state_gradients, every.state_gradients)
    assert gradient_flow(cell, params, xs, LOSSES["outputs"], output_times=[]).credit.shape == (0, STEPS + 1)


def test_truncated_parts_stop_at_the_cut():
    cell, params = make("gru")
    xs = inputs("gru", STEPS, ())
    whole = gradient_flow(cell, params, xs, LOSSES["outputs"])
    cut = gradient_flow(cell, params, xs, LOSSES["outputs"], truncate=2)
    assert_array_equal(cut.credit[2:, :3], 0.0)
    close(cut.credit[2:, 3:], whole.credit[2:, 3:])


@pytest.mark.thorough
def test_loss_parameters_and_empty_runs():
    cell, params = make("gru")
    xs = inputs("gru", STEPS, BATCH)
    head = jnp.asarray(np.random.default_rng(0).normal(size=(3, 1)))
    flow = gradient_flow(cell, params, xs, lambda head, u: jnp.sum((u.outputs @ head) ** 2), loss_params=head)
    bound = gradient_flow(cell, params, xs, lambda u: jnp.sum((u.outputs @ head) ** 2))
    close(flow.credit, bound.credit)
    empty = gradient_flow(cell, params, xs[:0], LOSSES["final_state"])
    assert empty.credit.shape == (0, 1, 3) and empty.state_gradients.shape == (1, 3, 3)
    assert gradient_flow(cell, params, xs[:, :0], LOSSES["outputs"]).credit.shape == (STEPS, STEPS + 1, 0)


def test_small_parts_do_not_underflow_in_the_norm():
    # a part of 1e-30 is a float32; its square is not
    cell = linear(2, dtype=jnp.float32)
    params = {"w_in": jnp.ones((1, 2)), "bias": jnp.zeros(2), "w_rec": jnp.full(2, 1e-10)}
    params = jax.tree.map(lambda a: a.astype(jnp.float32), params)
    flow = gradient_flow(cell, params, np.ones((4, 1), np.float32), lambda u: jnp.sum(u.last))
    assert_allclose(flow.credit[-1], np.sqrt(2) * 10.0 ** np.array([-40, -30, -20, -10, 0]), rtol=1e-5, atol=1e-39)


@pytest.mark.parametrize("times", [[0], [5], [1, -1], [1.5], 3, [[1]]], ids=str)
def test_output_times_out_of_range_are_refused(times):
    cell, params = make("gru")
    with pytest.raises(InputError, match="output_times"):
        gradient_flow(cell, params, inputs("gru", STEPS, ()), LOSSES["outputs"], output_times=times)


def test_what_is_refused():
    cell, params = make("gru")
    xs = inputs("gru", STEPS, ())
    for option in ({"time_axis": 1}, {"return_states": True}, {"state_tap": None}):
        with pytest.raises(InputError, match=next(iter(option))):
            gradient_flow(cell, params, xs, LOSSES["outputs"], **option)
    with pytest.raises(InputError, match="loss.*one real number"):
        gradient_flow(cell, params, xs, lambda u: u.last)
    both = Bidirectional(elman(2), gru(2))
    with pytest.raises(InputError, match="causal"):
        gradient_flow(both, make(both)[1], xs, LOSSES["outputs"])

"""Jacobians of the states and their products, against autodiff in a Python loop, differences and closed forms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import jrnn
from jrnn.cells import Bidirectional, dropout, elman, from_functions, gru, lstm
from jrnn.flow import jacobian_product, jacobians, scaled_jacobian_product
from jrnn.types import InputError, ravel_state
from jrnn.unrolling import unroll

from ..unrolling.brute_force import at, flat, forward, inputs, like, make, random_like

close = partial(assert_allclose, rtol=1e-12, atol=1e-12)
STEPS = 4


def explicit(cell, params, xs, start, b, **when):
    """J of one sequence, step by step, identity where nothing happens and zero behind a reset."""
    steps = jax.tree.leaves(xs)[0].shape[0]
    length = when.get("length", steps)
    resets, mask = when.get("resets", np.zeros(steps, bool)), when.get("mask", np.ones(steps, bool))
    reverse = when.get("reverse", False)
    restart = cell.initial_state(params, ())
    tape = forward(
        cell, params, at(xs, (slice(None), *b)), at(start, b), restart, steps=steps, length=length, resets=resets,
        mask=mask, reverse=reverse,
    )  # fmt: skip
    size = tape.final.size
    J = np.broadcast_to(np.eye(size), (steps, size, size)).copy()
    for t, _, edge, point in tape.read:
        if point is not None:
            J[t] = point.J
        if edge:
            J[t] = 0
    return J


@pytest.mark.parametrize(
    ("name", "batch"), [("elman", ()), ("lstm", (2,)), ("gru_before", (2,)), ("stack", (2,)), ("pair", (1, 2))], ids=str
)
def test_every_cell_over_the_whole_state(name, batch):
    cell, params = make(name)
    xs = inputs(name, STEPS, batch)
    start = random_like(np.random.default_rng(0), cell.initial_state(params, batch))
    J = jacobians(cell, params, xs, initial_state=start)
    size = flat(at(start, (0,) * len(batch))).size
    assert J.shape == (STEPS, *batch, size, size)
    for b in np.ndindex(*batch):
        close(J[(slice(None), *b)], explicit(cell, params, xs, start, b))


def test_tanh_in_closed_form_and_by_differences():
    cell, params = make("elman")
    xs = jnp.asarray(inputs("elman", STEPS, ()))
    run = unroll(cell, params, xs, return_states=True)
    J = jacobians(cell, params, xs)
    for t in range(STEPS):
        close(J[t], np.diag(1 - run.states.h[t + 1] ** 2) @ params["w_rec"].T)
        for i in range(3):
            shift = 1e-6 * np.eye(3)[i]
            up, down = (cell.step(params, cell.initial_state(params)._replace(h=run.states.h[t] + s), xs[t]).h
                        for s in (shift, -shift))  # fmt: skip
            assert_allclose(J[t][:, i], (up - down) / 2e-6, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("reverse", [False, True])
def test_identity_in_padding_and_mask_zero_at_resets(reverse):
    cell, params = make("lstm")
    rng = np.random.default_rng(0)
    lengths, mask, resets = np.array([4, 0, 2]), rng.random((STEPS, 3)) < 0.6, rng.random((STEPS, 3)) < 0.4
    resets[3, 0] = resets[3, 2] = mask[1, 2] = True
    mask[3, 0] = False  # a reset on a masked step still cuts
    xs = inputs("lstm", STEPS, (3,))
    start = random_like(rng, cell.initial_state(params, (3,)))
    given = np.where((mask & (np.arange(STEPS)[:, None] < lengths))[..., None], xs, np.nan)
    J = jacobians(cell, params, given, initial_state=start, lengths=lengths, mask=mask, resets=resets, reverse=reverse)
    for b in range(3):
        want = explicit(
            cell, params, xs, start, (b,), length=int(lengths[b]), mask=mask[:, b], resets=resets[:, b], reverse=reverse
        )
        close(J[:, b], want)
    close(J[2:, 2], np.broadcast_to(np.eye(4), (2, 4, 4)))


def test_noise_is_the_runs_own():
    cell = dropout(gru(3), recurrent=0.5)
    params, key = make(cell)[1], jax.random.key(3)
    xs = jnp.asarray(inputs("gru", STEPS, ()))
    start = random_like(np.random.default_rng(0), cell.initial_state(params, ()))
    J = jacobians(cell, params, xs, initial_state=start, key=key)
    composed = jax.jacfwd(lambda h: unroll(cell, params, xs, initial_state=start._replace(h=h), key=key).final_state.h)
    close(jacobian_product(J, 0, STEPS), composed(start.h))


def test_product_is_the_jacobian_of_the_composed_scan():
    cell, params = make("lstm")
    xs = jnp.asarray(inputs("lstm", 5, ()))
    run = unroll(cell, params, xs, return_states=True)
    J = jacobians(cell, params, xs)
    for k, t in ((0, 5), (1, 4), (2, 5), (3, 4)):
        start = jax.tree.map(lambda h: h[k], run.states)  # noqa: B023

        def onward(vector):
            state = like(start, vector)  # noqa: B023
            return ravel_state(unroll(cell, params, xs[k:t], initial_state=state).final_state)  # noqa: B023

        close(jacobian_product(J, k, t), jax.jacfwd(onward)(ravel_state(start)))
        scaled = scaled_jacobian_product(J, k, t)
        close(scaled.matrix * np.exp(scaled.log_scale), jacobian_product(J, k, t))
        assert_allclose(np.abs(scaled.matrix).max(), 1.0, rtol=1e-15)


def test_later_factors_stand_on_the_left():
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 4, 7, 8):
        J = rng.normal(size=(count, 2, 3, 3))
        want = np.broadcast_to(np.eye(3), (2, 3, 3))
        for factor in J:
            want = factor @ want
        close(jacobian_product(J, 0, count), want)
        scaled = scaled_jacobian_product(J, 0, count)
        close(scaled.matrix * np.exp(scaled.log_scale)[:, None, None], want)
        if count > 1:
            turned = np.broadcast_to(np.eye(3), (2, 3, 3))
            for factor in J:
                turned = turned @ factor
            assert np.abs(turned - want).max() > 0.1, "the order matters here"
    eye = jacobian_product(J, 3, 3)
    assert_array_equal(eye, np.broadcast_to(np.eye(3), (2, 3, 3)))
    assert_array_equal(scaled_jacobian_product(J, 8, 8).log_scale, np.zeros(2))
    close(jacobian_product(J, 2, 5), J[4] @ J[3] @ J[2])


@pytest.mark.parametrize(("k", "t"), [(-1, 2), (2, 1), (0, 5), (0, 1.5), (True, 2), (0, "a")])
def test_bad_times_are_refused(k, t):
    for product in (jacobian_product, scaled_jacobian_product):
        with pytest.raises(InputError, match=r"k, t: .*0 <= k <= t <= T = 4"):
            product(np.zeros((4, 2, 2)), k, t)
    with pytest.raises(InputError, match=r"J: got shape \(4, 2, 3\)"):
        jacobian_product(np.zeros((4, 2, 3)), 0, 1)


@pytest.mark.parametrize("growth", [0.5, -0.5])
def test_finite_in_float32_over_a_hundred_thousand_steps(growth):
    steps = 100_000
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    J = jnp.asarray(np.broadcast_to(np.exp(growth) * turn, (steps, 3, 3)), jnp.float32)
    product = jax.jit(lambda J: scaled_jacobian_product(J, 0, steps))(J)
    logs = product.log_singular_values()
    assert product.matrix.dtype == logs.dtype == jnp.float32
    assert_allclose(logs, np.full(3, growth * steps), rtol=2e-6)  # +-50,000 nats; float32 holds e^88
    assert not np.isfinite(jacobian_product(J, 0, steps)).all() or not np.any(jacobian_product(J, 0, steps))


def test_diagonal_map_in_closed_form():
    # the exponents of diag(1.1, 0.8) are ln 1.1 and ln 0.8
    J = np.broadcast_to(np.diag([1.1, 0.8]), (20, 2, 2))
    assert_allclose(scaled_jacobian_product(J, 0, 20).log_singular_values(), 20 * np.log([1.1, 0.8]), rtol=1e-13)


def test_a_dead_direction_is_minus_infinity():
    J = np.full((6, 3, 2, 2), 0.5)
    J[:, 1] = np.diag([2.0, 0.0])
    J[3, 2] = 0
    logs = scaled_jacobian_product(J, 0, 6).log_singular_values()
    assert_allclose(logs[1], [6 * np.log(2), -np.inf])
    assert_array_equal(logs[2], [-np.inf, -np.inf])
    assert not np.isnan(logs).any()


def test_overflow_in_a_factor_is_not_hidden():
    J = np.ones((3, 2, 2))
    J[1, 0, 0] = np.inf
    assert not np.isfinite(scaled_jacobian_product(J, 0, 3).matrix).all()


def test_an_orthogonal_linear_network_keeps_every_length():
    cell = elman(4, "identity", w_rec="orthogonal")
    params = cell.init(jax.random.key(0), 2)
    J = jacobians(cell, params, np.random.default_rng(0).normal(size=(1000, 2)))
    for k, t in ((0, 1000), (3, 777)):
        sigma = np.linalg.svd(jacobian_product(J, k, t), compute_uv=False)
        assert_allclose(sigma, np.ones(4), atol=1e-11)


def test_lstm_without_recurrent_weights_in_closed_form():
    cell, params = lstm(2), make("lstm")[1]
    params = params | {"w_rec": jnp.zeros((2, 8))}
    xs = jnp.asarray(inputs("lstm", 3, ()))
    run = unroll(cell, params, xs, return_states=True)
    J = jacobians(cell, params, xs)
    for t in range(3):
        gates = 1 / (1 + np.exp(-(xs[t] @ params["w_in"] + params["bias"])))
        f, o = gates[2:4], gates[6:]
        of_c = np.diag(f)
        want = np.block([[np.zeros((2, 2)), np.diag(o / np.cosh(run.states.c[t + 1]) ** 2) @ of_c],
                         [np.zeros((2, 2)), of_c]])  # fmt: skip
        close(J[t], want)


def test_a_users_map():
    # the Henon map: the determinant of every Jacobian is -b, so the exponents sum to ln b
    def henon(params, state, x):
        a, b = params
        return jnp.stack([1 - a * state[..., 0] ** 2 + state[..., 1], b * state[..., 0]], axis=-1)

    cell = from_functions(initial_state=lambda params, batch: jnp.full((*batch, 2), 0.1), step=henon)
    J = jacobians(cell, (jnp.asarray(1.4), jnp.asarray(0.3)), None, length=2000)
    assert J.shape == (2000, 2, 2)
    _, logs = np.linalg.slogdet(np.asarray(J))
    assert_allclose(logs.mean(), np.log(0.3), atol=1e-12)
    growth = scaled_jacobian_product(J, 0, 2000).log_singular_values()[0] / 2000
    assert abs(growth - 0.419) < 0.02


def test_empty_jit_and_vmap():
    cell, params = make("gru")
    xs = inputs("gru", STEPS, (2,))
    assert jacobians(cell, params, xs[:0]).shape == (0, 2, 3, 3)
    assert jacobians(cell, params, xs[:, :0]).shape == (STEPS, 0, 3, 3)
    J = jacobians(cell, params, xs)
    close(jax.jit(lambda x: jacobians(cell, params, x))(xs), J)
    close(jax.vmap(lambda x: jacobians(cell, params, x), in_axes=1, out_axes=1)(xs), J)


def test_what_is_refused():
    cell, params = make("gru")
    with pytest.raises(InputError, match="method"):
        jacobians(cell, params, inputs("gru", 2, ()), method="analytic")
    both = Bidirectional(gru(2))
    with pytest.raises(InputError, match="each direction"):
        jacobians(both, make(both)[1], inputs("gru", 2, ()))


CLOSED = [
    *(jrnn.elman(3, activation) for activation in ("tanh", "relu", "identity")),
    jrnn.lstm(3),
    jrnn.gru(3),
    jrnn.gru(3, reset_after=False),
    jrnn.linear(3),
    jrnn.cornn(3, dt=0.3),
    jrnn.unicornn(3, dt=0.7),
    jrnn.lem(3, dt=0.8),
    jrnn.antisymmetric(3, epsilon=0.3, gamma=0.6),
    jrnn.indrnn(3, t_max=5),
    jrnn.leaky(jrnn.lstm(3), 9),
    jrnn.elman(4, "modrelu", w_rec=jrnn.orthogonal_map()),
    *(jrnn.min_gru(3, candidate=candidate) for candidate in ("identity", "tanh", "positive")),
    jrnn.min_lstm(3, candidate="tanh"),
    jrnn.rg_lru(3),
    jrnn.lru(3),
    jrnn.stack(jrnn.lstm(2), jrnn.gru(3), jrnn.elman(2)),
    jrnn.stack(jrnn.gru(2, reset_after=False), jrnn.linear(3), jrnn.lstm(2)),
    jrnn.stack(jrnn.min_gru(2), jrnn.rg_lru(3)),
]


@pytest.mark.parametrize("cell", CLOSED, ids=lambda cell: type(cell).__name__)
@pytest.mark.parametrize("batch", [(), (2, 3)], ids=str)
def test_closed_forms_equal_jacfwd(cell, batch):
    """J and dh_t/dx_t, with biases and parameters that are nowhere zero, any batch, padding, no input."""
    keys = jax.random.split(jax.random.key(3), 4)
    params = jax.tree.map(lambda p: p + 0.3, cell.init(keys[0], 2))
    xs = jax.random.normal(keys[1], (5, *batch, 2))
    lengths = jnp.full(batch, 4)
    closed, defined = (jrnn.jacobians(cell, params, xs, lengths=lengths, method=m) for m in ("closed_form", "jacfwd"))
    np.testing.assert_allclose(closed, defined, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(closed, jrnn.jacobians(cell, params, xs, lengths=lengths))
    alone = cell.initial_state(params, ())
    state = jax.tree.map(lambda h: h + 0.4 * jax.random.normal(keys[2], h.shape), alone)
    of_input = jax.jacfwd(lambda x: jrnn.ravel_state(cell.step(params, state, x)))(xs[0][(0,) * len(batch)])
    np.testing.assert_allclose(
        cell.jacobian(params, state, xs[0][(0,) * len(batch)])[1], of_input, rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize(
    "cell",
    [
        jrnn.residual(jrnn.elman(2)),
        jrnn.leaky(jrnn.residual(jrnn.elman(2)), 9),
        jrnn.stack(jrnn.stack(jrnn.gru(2)), jrnn.gru(2)),
    ],
    ids=str,
)
def test_closed_form_is_refused_where_there_is_none(cell, key):
    assert jrnn.jacobians(cell, cell.init(key, 2), jnp.zeros((3, 2))).shape[0] == 3
    with pytest.raises(jrnn.InputError, match=f"{type(cell).__name__} has no closed form"):
        jrnn.jacobians(cell, cell.init(key, 2), jnp.zeros((3, 2)), method="closed_form")

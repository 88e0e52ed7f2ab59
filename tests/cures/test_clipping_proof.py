"""The lags under a global and under a per-step clip, against loops over explicit Jacobians in NumPy (notes, checks 11
and 17; Graves 2013, section 2; Pascanu, Mikolov, Bengio 2013, section 3.2)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import jrnn
from jrnn import InputError, clip_state_gradient, clipping_proof, unroll
from jrnn.cures import proving
from jrnn.training.storage.descriptions import described, restored
from tests.unrolling.brute_force import at, flat, like, look

close = partial(assert_allclose, rtol=1e-11, atol=1e-13)


STEPS, BATCH, FEATURES = 5, 3, 2
LENGTHS = np.array([5, 0, 3])
XS = np.random.default_rng(0).normal(size=(STEPS, BATCH, FEATURES))
HEAD = np.random.default_rng(1).normal(size=(3, 2))
CELLS = {"elman": jrnn.elman(3), "lstm": jrnn.lstm(3)}


def parameters(cell, scale=0.7):
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), FEATURES))
    rng = np.random.default_rng(2)
    return jax.tree.map(lambda a: jnp.asarray(scale * rng.normal(size=a.shape)), shapes)


def loss(head, u):
    """Not additive over time."""
    return jnp.sum(jnp.sin(2 * u.outputs @ head)) * (1 + jnp.sum(u.last**2)) + jnp.sum(u.final_state.h)


def pulls(cell, params, lengths):
    """dL/dy_t [T, B, K] and dL/dh_T, each taken once from the loss alone."""
    run = unroll(cell, params, XS, lengths=lengths)
    of = partial(lambda y, f, e: loss(HEAD, run._replace(outputs=y, final_state=f, last=e)))
    return jax.tree.map(np.asarray, jax.grad(of, argnums=(0, 1, 2))(run.outputs, run.final_state, run.last))


def by_loops(cell, params, lengths, limit):
    """(G_tau without a clip, with one of delta to `limit` at every step [T+1, P]; c_t, ||delta_t|| [T, B])."""
    g, g_final, g_last = pulls(cell, params, lengths)
    free, clipped = np.zeros((2, STEPS + 1, flat(params).size))
    c, plain = np.ones((STEPS, BATCH)), np.zeros((STEPS, BATCH))
    for b, length in enumerate(lengths):
        h, points = flat(cell.initial_state(params, ())), []
        for t in range(length):
            points.append(at(look(cell, params, like(cell.initial_state(params, ()), h), XS[t, b]), ()))
            h = points[-1].h
        here = [p.y_h.T @ (g[t, b] + g_last[b] * (t == length - 1)) for t, p in enumerate(points)]
        if points:
            here[-1] = here[-1] + flat(at(g_final, b))
        delta = unclipped = np.zeros_like(h)
        for t in reversed(range(length)):  # delta_{t-1} = J_t^T c_t delta_t + g_{t-1}
            delta, unclipped = delta + here[t], unclipped + here[t]
            c[t, b], plain[t, b] = min(1, limit / np.linalg.norm(delta)), np.linalg.norm(unclipped)
            delta, unclipped = points[t].J.T @ (c[t, b] * delta), points[t].J.T @ unclipped
        for t in range(length):
            part = scaled = here[t]
            for k in reversed(range(t + 1)):
                scaled = c[k, b] * scaled
                free[t - k] += points[k].h_params.T @ part
                clipped[t - k] += points[k].h_params.T @ scaled
                part, scaled = points[k].J.T @ part, points[k].J.T @ scaled
    return free, clipped, c, plain


def norms(G):
    return np.linalg.norm(G, axis=1)


@pytest.mark.thorough
@pytest.mark.parametrize("name", CELLS)
def test_every_lag_by_explicit_jacobians(name):
    cell, max_norm, limit = CELLS[name], 0.7, 1.5
    params = parameters(cell)
    prove = partial(clipping_proof, cell, xs=XS, loss=loss, loss_params=HEAD, max_norm=max_norm, lengths=LENGTHS)
    proof = jax.jit(lambda p: prove(params=p, step_max_norm=limit))(params)
    free, clipped, c, plain = by_loops(cell, params, LENGTHS, limit)
    close(proof.lag_norms, norms(free))
    close(proof.per_step_lag_norms, norms(clipped))
    close(proof.step_coefficients, c)
    assert 0 < np.mean(c < 1) < 1, "some steps are clipped, some are not"
    # what training would see: the gradient of cell and head together, clipped by Optax
    both = jax.grad(lambda w: loss(w[1], unroll(cell, w[0], XS, lengths=LENGTHS)))((params, jnp.asarray(HEAD)))
    close(flat(both[0]), free.sum(0))
    theirs = optax.clip_by_global_norm(max_norm).update(both, optax.EmptyState())[0]
    factor = max_norm / np.linalg.norm(flat(both))
    close(flat(theirs[0]), factor * free.sum(0))
    close(proof.coefficient, factor)
    close(proof.clipped_lag_norms, norms(factor * free))
    assert proof.coefficient_spread < 1e-14 and proof.largest_difference <= 1e-12
    # both sets of pieces are those of the gradients, relative to the sum of their norms
    assert proof.sum_error < 1e-14 and proof.per_step_sum_error < 1e-14 and proof.exact
    wrapped = clip_state_gradient(cell, limit)
    trained = jax.jit(jax.grad(lambda p: loss(HEAD, unroll(wrapped, p, XS, lengths=LENGTHS))))(params)
    assert np.linalg.norm(flat(trained) - clipped.sum(0)) <= 1e-12 * norms(clipped).sum()
    # the per-step clip weighs the lags anew
    profile = norms(clipped) / norms(clipped)[0], norms(free) / norms(free)[0]
    close(proof.largest_per_step_difference, np.max(abs(profile[0] - profile[1]) / np.maximum(1, profile[1])))
    assert proof.largest_per_step_difference > 0.01
    close(proof.profile(proof.lag_norms), profile[1])
    if name == "elman":
        proof = prove(params=params)
        close(proof.step_max_norm, np.median(plain[plain > 0]))
        close(proof.per_step_lag_norms, norms(by_loops(cell, params, LENGTHS, float(proof.step_max_norm))[1]))


@pytest.mark.thorough
def test_a_doubling_map_in_closed_form():
    # h_t = 2 h_{t-1} + b, L = h_T: lag tau gives dL/db 2^tau; clipped to 1 at every step, each lag gives 1
    cell, T = jrnn.linear(1), 20
    params = {"w_in": jnp.zeros((1, 1)), "bias": jnp.ones(1), "w_rec": jnp.full(1, 2.0)}

    def last(u):
        return jnp.sum(u.last)

    grads = jax.grad(lambda p: last(unroll(clip_state_gradient(cell, 1.0), p, np.zeros((T, 1)))))(params)
    close(grads["bias"], [T])
    for max_norm in (1.0, 1e9):
        proof = clipping_proof(cell, params, np.zeros((T, 1)), last, max_norm=max_norm, step_max_norm=1.0)
        h = 2.0 ** np.arange(T)[::-1] - 1  # h_{k-1} at lag T - k, what w_rec hears
        close(proof.lag_norms[:T], 2.0 ** np.arange(T) * np.hypot(1, h))
        close(proof.per_step_lag_norms[:T], np.hypot(1, h))
        close(proof.step_coefficients, [0.5] * (T - 1) + [1.0])
        assert proof.largest_difference <= 1e-12 and proof.coefficient_spread < 1e-14
        assert (proof.coefficient == 1.0) == (max_norm == 1e9)
        assert max_norm < 1e9 or (proof.clipped_lag_norms == proof.lag_norms).all()


@pytest.mark.thorough
def test_the_proof_can_fail(monkeypatch):
    # a clip of each entry is no multiplication by one number, and does change the profile
    cell = CELLS["elman"]
    monkeypatch.setattr(proving, "clip_by_global_norm", optax.clip)
    monkeypatch.setattr(proving, "as_a_whole", proving.as_a_whole.__wrapped__)  # the norm is traced: no trace is kept
    proof = clipping_proof(cell, parameters(cell), XS, loss, loss_params=HEAD, max_norm=0.4321, lengths=LENGTHS)
    assert proof.coefficient_spread > 0.1 and proof.largest_difference > 1e-3
    assert proof.sum_error < 1e-14, "its pieces are still the pieces of what it returned"


@pytest.mark.parametrize(("steps", "dtype"), [(0, "float64"), (1, "float32"), (4, "float32")])
def test_without_batch_and_short(steps, dtype):
    cell = CELLS["elman"]
    params = jax.tree.map(lambda a: a.astype(dtype), parameters(cell))
    tolerance = 1e-5 if dtype == "float32" else 1e-12

    def total(u):
        return jnp.sum(u.outputs) + jnp.sum(u.final_state.h)

    xs = XS[:steps, 0].astype(dtype)
    proof = jax.jit(lambda p: clipping_proof(cell, p, xs, total, max_norm=0.1))(params)
    assert {leaf.dtype for leaf in proof._replace(exact=None) if leaf is not None} == {np.dtype(dtype)}
    assert proof.lag_norms.shape == proof.per_step_lag_norms.shape == (steps + 1,)
    assert proof.step_coefficients.shape == (steps,)
    assert all(np.isfinite(field).all() for field in proof._replace(step_max_norm=0.0))
    for error in (proof.coefficient_spread, proof.sum_error, proof.per_step_sum_error, proof.largest_difference):
        assert error <= tolerance
    if steps == 1:  # there is one lag: nothing to weigh anew
        assert proof.lag_norms[0] > 0 == proof.lag_norms[1] and proof.largest_per_step_difference == 0
    if steps == 4:
        assert proof.largest_per_step_difference > 1e-3
    if steps == 0:
        assert proof.coefficient == 1 and not proof.lag_norms.any()


def test_sampled_outputs_keep_their_profile_too():
    cell = CELLS["elman"]
    prove = jax.jit(
        lambda p: clipping_proof(cell, p, XS, loss, loss_params=HEAD, max_norm=0.5, max_pairs=2 * (STEPS + 1) * BATCH)
    )
    proof = prove(parameters(cell))
    assert not proof.exact and float(proof.coefficient) < 1
    assert float(proof.largest_difference) <= 1e-12
    close(proof.clipped_lag_norms, proof.coefficient * proof.lag_norms)


@pytest.mark.thorough
def test_a_gradient_of_zero():
    cell = jrnn.elman(3, "relu", bias=lambda key, shape, dtype: jnp.full(shape, -9.0, dtype))
    params = cell.init(jax.random.key(0), FEATURES)
    proof = clipping_proof(cell, params, XS, lambda u: jnp.sum(u.outputs), max_norm=1.0)
    assert not proof.lag_norms.any() and not proof.per_step_lag_norms.any()
    assert proof.coefficient == 1 and proof.largest_difference == proof.sum_error == 0
    assert all(np.isfinite(field).all() for field in proof)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "options",
    [{"reverse": True}, {"truncate": 2, "remat": "sqrt", "resets": np.eye(STEPS, BATCH, dtype=bool)}],
    ids=["reverse", "truncated with resets"],
)
def test_its_pieces_are_those_of_any_run(options):
    cell = jrnn.learnable_initial_state(jrnn.gru(3))
    params = parameters(cell)

    @jax.jit
    def prove(params):
        return clipping_proof(
            cell, params, XS, lambda u: jnp.sum(jnp.sin(2 * u.outputs)) + jnp.sum(u.last), max_norm=0.5,
            step_max_norm=0.8, lengths=LENGTHS, **options,
        )  # fmt: skip

    proof = prove(params)
    assert max(proof.sum_error, proof.per_step_sum_error, proof.largest_difference) <= 1e-12
    assert proof.largest_per_step_difference > 1e-3


def test_bad_input_is_named():
    cell = CELLS["elman"]
    params = parameters(cell)
    for bad in (0, -1.0, float("nan"), None, True):
        with pytest.raises(InputError, match=r"^max_norm: .*a number above 0"):
            clipping_proof(cell, params, XS, loss, max_norm=bad)
        with pytest.raises(InputError, match=r"^max_norm: .*a number above 0"):
            clip_state_gradient(cell, bad)
    with pytest.raises(InputError, match="^step_max_norm"):
        clipping_proof(cell, params, XS, loss, max_norm=1.0, step_max_norm=0.0)
    with pytest.raises(InputError, match="clip_state_gradient around the cell of each direction"):
        clip_state_gradient(jrnn.Bidirectional(cell), 1.0)
    wrapped = clip_state_gradient(cell, 1.0)
    for one in (wrapped, jrnn.stack(jrnn.gru(2), wrapped), jrnn.residual(wrapped)):
        with pytest.raises(InputError, match=r"clip_state_gradient.*clipping_proof"):
            jrnn.gradient_flow(one, params, XS, loss)


def test_forwards_nothing_changes():
    cell, wrapped = CELLS["lstm"], clip_state_gradient(CELLS["lstm"], 0.01)
    params = parameters(cell)
    assert_array_equal(
        unroll(wrapped, params, XS).outputs, unroll(cell, params, XS, implementation="reference").outputs
    )
    close(jrnn.jacobians(wrapped, params, XS), jrnn.jacobians(cell, params, XS))  # by jacfwd, under vmap
    turn = jax.tree.map(jnp.ones_like, params)
    slopes = [
        jax.jvp(lambda p, c=c: jnp.sum(unroll(c, p, XS, lengths=LENGTHS).outputs ** 2), (params,), (turn,))
        for c in (cell, wrapped)
    ]
    close(slopes[0], slopes[1])
    assert wrapped == clip_state_gradient(jrnn.lstm(3), 0.01) != clip_state_gradient(jrnn.lstm(3), 0.02)
    assert hash(wrapped) == hash(clip_state_gradient(jrnn.lstm(3), 0.01))
    assert restored(described(wrapped)) == wrapped  # it can be saved


@pytest.mark.thorough
def test_the_gradient_as_vmap_remat_and_differences_see_it():
    cell = clip_state_gradient(CELLS["lstm"], 1.0)
    params = parameters(cell)

    @partial(jax.jit, static_argnames="remat")
    def gradient(p, xs=XS, remat=None):
        return jax.grad(lambda p: jnp.sum(jnp.sin(3 * unroll(cell, p, xs, remat=remat).outputs)))(p)

    whole = gradient(params)
    jax.tree.map(close, gradient(params, remat="sqrt"), whole)
    # each sequence has a clip of its own: batch, mapped batch, one after the other
    mapped = jax.vmap(gradient, (None, 1))(params, jnp.asarray(XS))
    jax.tree.map(lambda a, b: close(a.sum(0), b), mapped, whole)
    jax.tree.map(lambda a, b: close(a[1], b), mapped, gradient(params, XS[:, 1]))
    two = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)
    jax.tree.map(lambda a, b: close(a[1], b), jax.vmap(gradient)(two), gradient(jax.tree.map(lambda a: 2 * a, params)))
    # the clipped gradient is a field like any other: its derivative is its slope
    turn = jax.tree.map(lambda a: jnp.asarray(np.random.default_rng(3).normal(size=a.shape)), params)
    slope = jax.jvp(gradient, (params,), (turn,))[1]
    ends = [gradient(jax.tree.map(lambda a, d, s=s: a + s * d, params, turn)) for s in (1e-5, -1e-5)]
    jax.tree.map(lambda s, a, b: assert_allclose(s, (a - b) / 2e-5, rtol=1e-6, atol=1e-7), slope, *ends)
    loose = clip_state_gradient(CELLS["lstm"], float("inf"))
    plain = [
        jax.grad(lambda p, c=c: jnp.sum(unroll(c, p, XS, implementation="reference").outputs))(params)
        for c in (loose, CELLS["lstm"])
    ]
    jax.tree.map(assert_array_equal, *plain)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_squares_do_not_overflow(dtype):
    # a pull of 1e30 has squares past float32's range; with no recurrence delta is that pull
    cell = clip_state_gradient(jrnn.elman(3, "identity", w_rec="zeros", dtype=dtype), 2.0)
    params = cell.init(jax.random.key(0), FEATURES)
    xs = jnp.asarray(XS[:1], dtype)
    grads = jax.grad(lambda p: jnp.sum(unroll(cell, p, xs).outputs) * jnp.asarray(1e30, dtype))(params)
    assert grads["bias"].dtype == dtype
    # each of the three sequences pulls with norm 2 on three units
    assert_allclose(np.asarray(grads["bias"], float), BATCH * 2 / np.sqrt(3), rtol=1e-6 if dtype == "float32" else 0.02)

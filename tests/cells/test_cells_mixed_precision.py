"""`mixed_precision`: the arithmetic of a 16-bit cell with parameters and gradients in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests.interop.economy import drawn, jit, params_of

XS = drawn((7, 2, 3), dtype=np.float32)


def layers(hidden, **options):
    return jrnn.stack(jrnn.layer_norm(jrnn.gru(hidden, **options)), jrnn.elman(2, **options))


@pytest.mark.parametrize("make", [jrnn.lstm, layers])
def test_it_is_the_16_bit_cell_with_gradients_in_float32(make):
    """Values and gradients are those of the bfloat16 cell on rounded parameters, to the bit; kernels included."""
    cell, narrow = jrnn.mixed_precision(make(3)), make(3, dtype="bfloat16")
    shapes = jax.eval_shape(lambda key: cell.init(key, 3), jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    params = params_of(cell, 3)
    rounded = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)

    def loss(params, cell):
        run = jrnn.unroll(cell, params, XS, lengths=np.array([7, 4]))
        return jnp.sum(run.outputs.astype(jnp.float32) ** 2), run

    @jit
    def both(params, rounded):
        return [jax.value_and_grad(loss, has_aux=True)(*each) for each in ((params, cell), (rounded, narrow))]

    (ours, grads), (theirs, wanted) = both(params, rounded)
    for a, b in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a.astype(float), b.astype(float))
    for a, b in zip(*map(jax.tree.leaves, (grads, wanted)), strict=True):
        assert a.dtype == jnp.float32 and np.any(a)
        np.testing.assert_array_equal(a, b.astype(jnp.float32))
    assert jrnn.kernels.explain(cell, params).chosen == jrnn.kernels.explain(narrow, rounded).chosen


def test_small_updates_add_up():
    """8 updates of 2^-10 move 1 to 1 + 2^-7; in bfloat16 each would be rounded away."""
    cell = jrnn.mixed_precision(jrnn.linear(1))
    params = jax.tree.map(jnp.ones_like, params_of(cell, 1))
    for _ in range(8):
        params = jax.tree.map(lambda p: p + 2.0**-10, params)
    assert cell.prepared(params)["w_in"].astype(float) == 1 + 2.0**-7
    assert jnp.bfloat16(1) + jnp.bfloat16(2.0**-10) == 1


def test_the_frequencies_of_an_lru_are_not_rounded():
    """lam = exp(-exp(nu) + i exp(theta)), in NumPy, to float32's digits; inside other cells too."""
    lru, nu, theta = jrnn.lru(3), np.float32([-6, -7.3, -8]), np.float32([0.7, 0.3, -0.9])
    params = params_of(lru, 1) | {"nu": jnp.asarray(nu), "theta": jnp.asarray(theta)}
    cells = lru, jrnn.residual(lru), jrnn.layer_norm(jrnn.residual(lru))
    lam = np.exp(-np.exp(nu.astype(float)) + 1j * np.exp(theta.astype(float)))
    for cell, own in zip(cells, (params, params, {"cell": params, "scale": 1.0, "bias": 0.0}), strict=True):
        cell = jrnn.mixed_precision(cell)
        state = cell.initial_state(own)
        assert state.re.dtype == jnp.bfloat16
        np.testing.assert_allclose(cell.factors(own, state, jnp.zeros(1)), lam, rtol=1e-6)


def test_functions_of_ones_own_compute_in_16_bits():
    """h_t, states of float32 as they make them, noise in float32: a loop in bfloat16, to the bit."""
    given = {
        "init": lambda key, size: {"w": jnp.eye(3, dtype=jnp.float32) / 3},
        "initial_state": lambda params, lead: jnp.zeros((*lead, 3), jnp.float32),
        "noise": lambda params, key, t, lead: jax.random.normal(jax.random.fold_in(key, t), (*lead, 3), jnp.float32),
        "step": lambda params, h, x, noise: jnp.tanh(h @ params["w"] + (x if noise is None else x + noise)),
    }
    cell, key, narrow = jrnn.mixed_precision(jrnn.from_functions(**given)), jax.random.key(1), jnp.bfloat16
    params = cell.init(None, 3)
    run = jrnn.unroll(cell, params, XS, key=key)
    h, w = jnp.zeros((2, 3), narrow), params["w"].astype(narrow)
    for t, x in enumerate(XS):
        h = jnp.tanh(h @ w + (x.astype(narrow) + given["noise"](params, key, t, (2,)).astype(narrow)))
    assert run.outputs.dtype == run.final_state.dtype == narrow and params["w"].dtype == jnp.float32
    np.testing.assert_array_equal(run.final_state.astype(float), h.astype(float))


def test_bad_input_is_named():
    for call, match in (
        (lambda: jrnn.mixed_precision(jrnn.gru(2), dtype="int8"), "dtype: got 'int8'"),
        (lambda: jrnn.mixed_precision(jrnn.gru(2), param_dtype=None), "param_dtype: got None"),
        (lambda: jrnn.mixed_precision(jrnn.gru), "cell: got function"),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            call()

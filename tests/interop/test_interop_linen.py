"""jrnn's linen modules inside nn.scan, nn.remat and nn.vmap, with TrainState, an Optax chain and dropout."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization
from flax.training.train_state import TrainState

import jrnn
from jrnn.interop.linen import RNN
from tests.interop.economy import drawn, jit, variables_of

D = jnp.float64
XS = drawn((2, 6, 3))


def test_parameters_of_another_size_are_refused():
    rnn = RNN(jrnn.lstm(4))
    variables = RNN(jrnn.lstm(5)).init(jax.random.key(0), jnp.zeros((2, 3, 6)))
    with pytest.raises(jrnn.InputError, match="w_in.*16"):
        rnn.apply(variables, jnp.zeros((2, 3, 6)))


def test_scan_over_chunks_carries_the_state():
    """nn.scan of an RNN over chunks of a sequence equals the RNN over all of it."""
    plain = RNN(jrnn.lstm(4), return_carry=True)
    variables = variables_of(plain, XS)

    class Chunks(nn.Module):
        @nn.compact
        def __call__(self, carry, chunks):
            def body(rnn, carry, x):
                return rnn(x, initial_carry=carry)

            over = nn.scan(body, variable_broadcast="params", split_rngs={"params": False})
            return over(RNN(jrnn.lstm(4), return_carry=True, name="rnn"), carry, chunks)

    zeros, chunks = np.zeros((2, 4)), np.stack([XS[:, :3], XS[:, 3:]])

    @jit
    def both(v):
        return Chunks().apply({"params": {"rnn": v["params"]}}, (zeros, zeros), chunks), plain.apply(v, XS)

    (carry, ys), wanted = both(variables)
    for a, b in zip(carry, wanted[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(np.concatenate(list(ys), axis=1), wanted[1], rtol=1e-12)


def test_remat_and_every_implementation_have_the_same_gradient():
    rnn, again = RNN(jrnn.gru(4)), nn.remat(RNN)(jrnn.gru(4), implementation="xla")
    variables = variables_of(rnn, XS)
    grads = [jax.grad(lambda v, m=m: jnp.sum(jnp.sin(m.apply(v, XS)))) for m in (rnn, again)]
    one, other = jit(lambda v: [grad(v) for grad in grads])(variables)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)


def test_vmap_makes_an_ensemble():
    many = nn.vmap(RNN, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=None, axis_size=2)

    @jit
    def run(key):
        variables = many(jrnn.lstm(4)).init(key, XS)
        members = [jax.tree.map(lambda w, i=i: w[i], variables) for i in range(2)]
        return many(jrnn.lstm(4)).apply(variables, XS), [RNN(jrnn.lstm(4)).apply(v, XS) for v in members]

    ys, alone = run(jax.random.key(0))
    assert ys.shape == (2, 2, 6, 4) and not np.allclose(ys[0], ys[1])
    np.testing.assert_allclose(ys, alone, rtol=1e-11, atol=1e-14)


def test_train_state_with_a_chain_of_jrnns():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, xs):
            cell = jrnn.lstm(3)
            return nn.Dense(1, param_dtype=D)(RNN(cell, name="rnn")(xs))

    model = Model()
    params = variables_of(model, XS)["params"]
    chain = optax.chain(jrnn.clip_by_global_norm(1.0), optax.sgd(0.3, momentum=0.9))
    state = TrainState.create(apply_fn=model.apply, params=params, tx=chain)

    @jit
    def step(state):
        def loss_fn(params):
            return jnp.mean((state.apply_fn({"params": params}, XS) - jnp.sin(XS[..., :1])) ** 2)

        loss, grads = jax.value_and_grad(loss_fn)(state.params)
        return state.apply_gradients(grads=grads), loss

    losses = []
    for _ in range(30):
        state, loss = step(state)
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]
    back = serialization.from_bytes(state, serialization.to_bytes(state))
    for a, b in zip(jax.tree.leaves(back.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_dropout_draws_from_its_stream():
    rnn = RNN(jrnn.dropout(jrnn.gru(4), outputs=0.5))
    variables = variables_of(rnn, XS)
    keys = [jax.random.key(seed) for seed in (1, 1, 2)]

    @jit
    def all_calls(v, keys):
        quiet = rnn.apply(v, XS, deterministic=True, rngs={"dropout": keys[0]})
        plain = jrnn.unroll(rnn.cell, v["params"]["cell"], XS, time_axis=1).outputs
        return quiet, plain, [rnn.apply(v, XS, rngs={"dropout": key}) for key in keys]

    quiet, plain, (one, same, other) = all_calls(variables, keys)
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(quiet, plain)
    assert not np.allclose(one, other) and not np.allclose(one, plain)
    with pytest.raises(jrnn.InputError, match="rngs: got no stream `dropout`.*deterministic=True"):
        rnn.apply(variables, XS)


def test_cells_without_dropout_take_no_stream():
    rnn = RNN(jrnn.residual(jrnn.gru(3)))
    variables = variables_of(rnn, XS)
    given = rnn.apply(variables, XS, rngs={"dropout": jax.random.key(1)})
    np.testing.assert_array_equal(given, rnn.apply(variables, XS))

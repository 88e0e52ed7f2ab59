"""jrnn's linen modules inside nn.scan, nn.remat and nn.vmap, with TrainState, an Optax chain and dropout."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import serialization
from flax.training.train_state import TrainState

import jrnn
from jrnn.interop.linen import RNN

D = jnp.float64
XS = jax.random.normal(jax.random.key(1), (2, 6, 3), D)


def test_scan_over_chunks_carries_the_state():
    """nn.scan of an RNN over chunks of a sequence equals the RNN over all of it."""
    plain = RNN(jrnn.lstm(4), return_carry=True)
    variables = plain.init(jax.random.key(0), XS)

    class Chunks(nn.Module):
        @nn.compact
        def __call__(self, carry, chunks):
            def body(rnn, carry, x):
                return rnn(x, initial_carry=carry)

            over = nn.scan(body, variable_broadcast="params", split_rngs={"params": False})
            return over(RNN(jrnn.lstm(4), return_carry=True, name="rnn"), carry, chunks)

    zeros = jnp.zeros((2, 4), D)
    chunks = jnp.stack([XS[:, :3], XS[:, 3:]])
    carry, ys = jax.jit(Chunks().apply)({"params": {"rnn": variables["params"]}}, (zeros, zeros), chunks)
    wanted = plain.apply(variables, XS)
    for a, b in zip(carry, wanted[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(jnp.concatenate(list(ys), axis=1), wanted[1], rtol=1e-12)


def test_remat_has_the_same_gradient():
    rnn, again = RNN(jrnn.gru(4)), nn.remat(RNN)(jrnn.gru(4))
    variables = rnn.init(jax.random.key(0), XS)
    one, other = (jax.jit(jax.grad(lambda v, m=m: jnp.sum(jnp.sin(m.apply(v, XS)))))(variables) for m in (rnn, again))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)


def test_vmap_makes_an_ensemble():
    many = nn.vmap(RNN, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=None, axis_size=3)
    variables = many(jrnn.lstm(4)).init(jax.random.key(0), XS)
    ys = many(jrnn.lstm(4)).apply(variables, XS)
    assert ys.shape == (3, 2, 6, 4) and not np.allclose(ys[0], ys[1])
    for i in range(3):
        alone = RNN(jrnn.lstm(4)).apply(jax.tree.map(lambda w, i=i: w[i], variables), XS)
        np.testing.assert_allclose(ys[i], alone, rtol=1e-11, atol=1e-14)


def test_train_state_with_a_chain_of_jrnns():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, xs):
            cell = jrnn.lstm(3)
            return nn.Dense(1, param_dtype=D)(RNN(cell, name="rnn")(xs))

    model = Model()
    params = model.init(jax.random.key(0), XS)["params"]
    chain = optax.chain(jrnn.clip_by_global_norm(1.0), optax.sgd(0.3, momentum=0.9))
    state = TrainState.create(apply_fn=model.apply, params=params, tx=chain)

    @jax.jit
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
    variables = rnn.init(jax.random.key(0), XS)
    plain = rnn.apply(variables, XS)
    one, same, other = (rnn.apply(variables, XS, rngs={"dropout": jax.random.key(s)}) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other) and not np.allclose(one, plain)

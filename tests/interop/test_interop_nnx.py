"""jrnn's nnx modules under nnx's transformations, an optimiser, dropout and Orbax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx

import jrnn
from jrnn.interop.nnx import RNN, Bidirectional, Stack

D = jnp.float64
XS = jax.random.normal(jax.random.key(1), (2, 5, 3), D)


class Model(nnx.Module):
    """A user's model with an RNN inside."""

    def __init__(self, rngs, between=0.0):
        cell = jrnn.stack(jrnn.lstm(4), jrnn.gru(3))
        self.rnn = RNN(jrnn.dropout(cell, between=between) if between else cell, 3, rngs=rngs)
        self.head = nnx.Linear(3, 1, param_dtype=D, rngs=rngs)

    def __call__(self, xs, **options):
        return self.head(self.rnn(xs, **options))


def loss_fn(model, xs):
    return jnp.mean((model(xs) - jnp.sin(xs[..., :1])) ** 2)


def test_jit_grad_and_split_are_those_of_unroll():
    model = Model(nnx.Rngs(0))
    loss, grads = nnx.jit(nnx.value_and_grad(loss_fn))(model, XS)

    def pure(params, head):
        ys = jrnn.unroll(model.rnn.cell, params, XS, time_axis=1).outputs @ head["kernel"] + head["bias"][None, None]
        return jnp.mean((ys - jnp.sin(XS[..., :1])) ** 2)

    head = nnx.to_pure_dict(nnx.state(model.head))
    wanted, by = jax.jit(jax.value_and_grad(pure, argnums=(0, 1)))(model.rnn.cell_params, head)
    np.testing.assert_allclose(loss, wanted, rtol=1e-12)
    for a, b in zip(jax.tree.leaves((grads.rnn, grads.head)), jax.tree.leaves((by[0], by[1])), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)
    graphdef, state = nnx.split(model)
    assert nnx.split(Model(nnx.Rngs(1)))[0] == graphdef, "another seed is the same program"
    assert not jax.tree.leaves(nnx.state(model, nnx.RngState)), "no random state is kept"
    np.testing.assert_array_equal(jax.jit(lambda s, x: nnx.merge(graphdef, s)(x))(state, XS), nnx.jit(model)(XS))


def test_an_optimizer_trains_it():
    model = Model(nnx.Rngs(0))
    chain = optax.chain(jrnn.clip_by_global_norm(1.0), optax.sgd(0.3, momentum=0.9))
    optimizer = nnx.Optimizer(model, chain, wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        loss, grads = nnx.value_and_grad(loss_fn)(model, XS)
        optimizer.update(model, grads)
        return loss

    losses = [float(step(model, optimizer)) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


def test_vmap_over_an_ensemble():
    @nnx.split_rngs(splits=3)
    @nnx.vmap
    def make(rngs):
        return Model(rngs)

    models = make(nnx.Rngs(0))
    together = nnx.vmap(lambda model, xs: model(xs), in_axes=(0, None))(models, XS)
    graphdef, state = nnx.split(models)
    for i in range(3):
        alone = nnx.merge(graphdef, jax.tree.map(lambda w, i=i: w[i], state))(XS)
        np.testing.assert_allclose(together[i], alone, rtol=1e-10, atol=1e-13)


def test_dropout_draws_from_the_stream_that_is_given():
    model = Model(nnx.Rngs(0), between=0.5)
    plain = model(XS)
    dropped = [model(XS, rngs=nnx.Rngs(dropout=seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert not np.allclose(dropped[0], dropped[2]) and not np.allclose(dropped[0], plain)


def test_orbax_restores_it(tmp_path):
    rngs = nnx.Rngs(0)
    model = Stack([Bidirectional(RNN(jrnn.lstm(2), 3, rngs=rngs), RNN(jrnn.gru(2), 3, rngs=rngs))])
    graphdef, state = nnx.split(model)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "model", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "model", jax.tree.map(jnp.zeros_like, state))
    np.testing.assert_array_equal(nnx.merge(graphdef, restored)(XS), model(XS))


def test_the_cell_stays_static_and_wrong_streams_are_refused():
    model = Model(nnx.Rngs(0))
    assert hash(nnx.split(model)[0]) == hash(nnx.split(Model(nnx.Rngs(0)))[0])
    with pytest.raises(jrnn.InputError, match="input_size"):
        RNN(jrnn.lstm(2), -1, rngs=nnx.Rngs(0))

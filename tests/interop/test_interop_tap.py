"""dL/dh_t of the RNN inside a whole Flax model, against perturbations added by hand and finite differences."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jrnn
import jrnn.interop.linen
import jrnn.interop.nnx
from jrnn.interop import tap_linen, tap_nnx

D = jnp.float64
B, T, F, H = 2, 5, 3, 4
XS = jax.random.normal(jax.random.key(0), (B, T, F), D)
LENGTHS = jnp.array([5, 3])


class Perturbed(nn.GRUCell):
    """A GRU whose state is perturbed at every step."""

    @nn.compact
    def __call__(self, carry, x):
        h, _ = super().__call__(carry, x)
        h = self.perturb("h", h)
        return h, h


class Whole(nn.Module):
    """A model with layers below and above its RNN."""

    cell: type = nn.GRUCell

    @nn.compact
    def __call__(self, xs):
        xs = nn.tanh(nn.Dense(F, param_dtype=D)(xs))
        rnn = nn.RNN(self.cell(H, param_dtype=D, name="core"), name="rnn", variable_axes={"perturbations": 1})
        return nn.Dense(1, param_dtype=D)(rnn(xs))


def test_linen_state_gradients_are_those_of_perturb():
    variables = Whole(Perturbed).init(jax.random.key(1), XS)
    params, zeros = variables["params"], variables["perturbations"]

    def perturbed(zeros):
        return jnp.sum(jnp.sin(Whole(Perturbed).apply({"params": params, "perturbations": zeros}, XS)))

    wanted = jax.tree.leaves(jax.jit(jax.grad(perturbed))(zeros))[0]  # [B, T, H]
    plain = {"params": params}
    tapped = tap_linen(lambda v: jnp.sum(jnp.sin(Whole().apply(v, XS))), plain)
    look = jax.jit(lambda p, x: jrnn.gradient_flow(tapped.cell, p, x, tapped.loss, **tapped.options))
    flow = look(tapped.params, tapped.xs)
    np.testing.assert_allclose(flow.state_gradients[1:], jnp.swapaxes(wanted, 0, 1), rtol=1e-10, atol=1e-13)
    assert flow.sum_error < 1e-12


class Inner(nnx.Module):
    """A model with jrnn's RNNs, two of them, one in a list."""

    def __init__(self, rngs):
        self.below = nnx.Linear(F, F, param_dtype=D, rngs=rngs)
        self.rnns = nnx.List([jrnn.interop.nnx.RNN(jrnn.lstm(H), F, rngs=rngs)])
        self.top = jrnn.interop.nnx.RNN(jrnn.gru(3), H, rngs=rngs)

    def __call__(self, xs):
        carry, ys = self.rnns[0](self.below(xs), seq_lengths=LENGTHS, return_carry=True, reverse=True)
        return self.top(ys, seq_lengths=LENGTHS), carry


def inner_loss(model):
    ys, (c, h) = model(XS)
    return jnp.sum(jnp.sin(ys)) + jnp.sum(jnp.cos(c) * h)


def test_nnx_state_gradients_are_finite_differences():
    """With lengths, in reverse, through the outputs and the carry."""
    model = Inner(nnx.Rngs(0))
    tapped = tap_nnx(inner_loss, model, name="rnns.0")
    assert (
        tapped.cell == jrnn.lstm(H) and tapped.xs.shape == (T, B, F) and set(tapped.options) == {"lengths", "reverse"}
    )
    run = jax.jit(lambda tap: jrnn.unroll(tapped.cell, tapped.params, tapped.xs, state_tap=tap, **tapped.options))
    zeros = jax.tree.map(lambda h: jnp.zeros((T + 1, B, H), D), tapped.cell.initial_state(tapped.params, (B,)))
    loss = jax.jit(lambda tap: tapped.loss(run(tap)))
    np.testing.assert_allclose(loss(zeros), inner_loss(model), rtol=1e-12)
    grads = jax.jit(jax.grad(lambda tap: tapped.loss(run(tap))))(zeros)
    for t, b in ((1, 0), (4, 0), (2, 1)):
        ahead, back = (zeros._replace(c=zeros.c.at[t, b, 2].set(sign * 1e-6)) for sign in (1, -1))
        difference = (loss(ahead) - loss(back)) / 2e-6
        np.testing.assert_allclose(difference, grads.c[t, b, 2], rtol=1e-6, atol=1e-9)


def test_flaxs_own_nnx_rnn():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.rnn = nnx.RNN(nnx.OptimizedLSTMCell(F, H, param_dtype=D, rngs=rngs), rngs=rngs)
            self.head = nnx.Linear(H, 1, param_dtype=D, rngs=rngs)

        def __call__(self, xs):
            return self.head(self.rnn(xs, rngs=nnx.Rngs(0)))

    model = Model(nnx.Rngs(0))
    tapped = tap_nnx(lambda m: jnp.sum(jnp.sin(m(XS))), model)
    run = jrnn.unroll(tapped.cell, tapped.params, tapped.xs)
    np.testing.assert_allclose(tapped.loss(run), jnp.sum(jnp.sin(model(XS))), rtol=1e-12)
    deltas = jrnn.state_gradients(tapped.cell, tapped.params, tapped.xs, tapped.loss)
    assert [delta.shape for delta in deltas] == 2 * [(T + 1, B, H)] and np.any(deltas[0][0])


def test_jrnns_linen_modules_are_found_by_name():
    room = jrnn.interop.linen
    model = room.Stack([room.Bidirectional(room.RNN(jrnn.gru(2)), room.RNN(jrnn.gru(2))), room.RNN(jrnn.elman(3))])
    variables = model.init(jax.random.key(0), XS)

    def loss_fn(variables):
        return jnp.sum(jnp.sin(model.apply(variables, XS, seq_lengths=LENGTHS)))

    tapped = tap_linen(loss_fn, variables, name="layers_0/backward_rnn")
    run = jrnn.unroll(tapped.cell, tapped.params, tapped.xs, **tapped.options)
    np.testing.assert_allclose(tapped.loss(run), loss_fn(variables), rtol=1e-12)
    assert tapped.options["reverse"] is True
    for call, match in (
        (lambda: tap_linen(loss_fn, variables), r"name: got None; need one of .*layers_0/backward_rnn.*layers_1"),
        (lambda: tap_linen(loss_fn, variables, name="rnn"), "name: got 'rnn'"),
        (lambda: tap_linen(lambda v: jnp.zeros(()), variables), "a model with an RNN module in it"),
        (lambda: tap_nnx(inner_loss, Inner(nnx.Rngs(0))), r"name: got None; need one of .*'rnns.0', 'top'"),
        (lambda: tap_nnx(lambda m: jnp.zeros(()), Inner(nnx.Rngs(0)), name="top"), "loss_fn: got one that does not"),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            call()

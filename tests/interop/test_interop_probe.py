"""`probe` in Flax: the gradient and the changes of state are Flax's own, the figures those of `jrnn.probe`."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jrnn
import jrnn.interop.linen
import jrnn.interop.nnx
from tests.interop.economy import drawn, jit, module_of, variables_of
from tests.interop.test_interop_modules import linen_params

D = jnp.float64
B, T, F, H = 2, 6, 3, 4
XS = drawn((B, T, F))
DONE = np.zeros((B, T), bool)
DONE[0, 3] = DONE[1, 4] = True


class Centred(nnx.Module):
    """A running mean, in float64 as Flax's is not."""

    def __init__(self):
        self.mean = nnx.BatchStat(jnp.zeros(F, D))

    def __call__(self, xs):
        self.mean[...] = 0.9 * self.mean[...] + 0.1 * jnp.mean(xs, axis=(0, 1))
        return xs - self.mean[...][None, None]


class Model(nnx.Module):
    """Running means and random streams beside two RNNs, one of them inside a transformation."""

    def __init__(self, rngs):
        self.centred = Centred()
        self.noise = nnx.Dropout(0.3, rngs=rngs)
        self.rnns = nnx.List([jrnn.interop.nnx.RNN(jrnn.gru(H), F, rngs=rngs)])
        self.top = nnx.RNN(nnx.GRUCell(H, H, param_dtype=D, rngs=rngs), rngs=rngs)

    def __call__(self, xs):
        xs = self.noise(self.centred(xs))
        return self.top(nnx.remat(lambda rnn, xs: rnn(xs))(self.rnns[0], xs))


def loss_fn(model, xs, rngs):
    noise = jax.random.normal(rngs.noise(), xs.shape, D)
    ys = model(xs + 0.1 * noise)
    return jnp.sum(jnp.sin(ys)), ys


def test_nnx_the_step_is_that_of_value_and_grad():
    """Value, aux, gradient, running means, random streams of the model and of an argument; both RNNs are seen."""

    def step(differentiate):
        model = module_of(Model)
        rngs, optimizer = nnx.Rngs(noise=7), optax.chain(jrnn.clip_by_global_norm(0.5), optax.sgd(0.1))
        optimizer = nnx.Optimizer(model, optimizer, wrt=nnx.Param)
        value, grads, *metrics = differentiate(model, rngs, optimizer)
        optimizer.update(model, grads)
        keys, state = nnx.state(model, nnx.RngKey), nnx.state(model, nnx.Not(nnx.RngKey))
        return value, grads, state, rngs.noise.count[...], jax.tree.map(jax.random.key_data, keys), *metrics

    probed = functools.partial(jrnn.interop.nnx.probe, loss_fn, has_aux=True, lags=(1,), outputs=2)

    @jit
    def both():
        ours = step(lambda model, rngs, optimizer: probed(model, XS, rngs, optimizer=optimizer))
        return ours, step(lambda model, rngs, _: nnx.value_and_grad(loss_fn, has_aux=True)(model, XS, rngs))

    (*ours, metrics), wanted = both()
    for a, b in zip(*map(jax.tree.leaves, (tuple(ours), wanted)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    figures = ("delta_early", "delta_late", "delta_growth", "arrival_1")
    named = {f"{at}/{name}" for at in ("rnns.0", "scan") for name in figures}
    assert set(metrics) == named | {"grad_norm", "clip_rate"}
    assert all(np.isfinite(value) for value in metrics.values())
    assert metrics["grad_norm"] == jrnn.cures.global_norm(wanted[1])


class Scanned(nn.Module):
    """The idiom of recurrent agents: a GRU in a scan that starts anew where an episode does."""

    remember: bool = False

    @functools.partial(nn.scan, variable_broadcast="params", in_axes=0, out_axes=0, split_rngs={"params": False})
    @nn.compact
    def __call__(self, carry, inputs):
        x, done = inputs
        carry = jnp.where(done[:, None], jnp.zeros_like(carry), carry)
        cell = nn.remat(nn.GRUCell) if self.remember else nn.GRUCell
        return cell(H, param_dtype=D, name="gru")(carry, x)


def test_linen_a_cell_scanned_by_hand_is_seen_as_jrnns_module_is():
    """With resets; the module inside nn.remat, the cell plain and checkpointed."""
    ours = nn.remat(jrnn.interop.linen.RNN)(jrnn.gru(H), name="rnn")
    params = variables_of(ours, XS)["params"]["cell"]
    theirs = {"params": {"gru": linen_params("gru", params)}}
    names = list(params)

    def of_ours(xs, params):
        return jnp.sum(jnp.sin(ours.apply({"params": {"cell": params}}, xs, resets=DONE)))

    def of_scan(remember):
        def loss(xs):
            time_first = jnp.swapaxes(xs, 0, 1), DONE.T
            return jnp.sum(jnp.sin(Scanned(remember).apply(theirs, jnp.zeros((B, H)), time_first)[1]))

        return loss

    probe = jrnn.interop.linen.probe

    @jit
    def all_of_them(xs):
        return probe(of_ours, xs, params), probe(of_scan(False), xs), probe(of_scan(True), xs)

    first, *others = all_of_them(XS)
    assert set(first[2]) == {"delta_early", "delta_late", "delta_growth", "grad_norm"} and "w_in" in names
    for other in others:
        for a, b in zip(*map(jax.tree.leaves, (first, other)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_a_loss_without_an_rnn_is_refused():
    model = module_of(lambda rngs: nnx.Linear(F, 1, param_dtype=D, rngs=rngs))
    with pytest.raises(jrnn.InputError, match="loss_fn: got one without a recurrence in sight"):
        jrnn.interop.nnx.probe(lambda model: jnp.sum(model(XS)), model)

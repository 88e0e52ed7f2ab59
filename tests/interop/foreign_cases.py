"""Every recurrent cell that Flax, Equinox and Haiku ship, some of a user's own, and one call of each."""

from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jrnn.interop import from_equinox, from_haiku, from_linen, from_nnx
from tests.interop.economy import filled, module_of, variables_of

D = jnp.float64
F, H, T, B = 3, 4, 5, 2
IMAGE = (3, 2, 1)


class Case(NamedTuple):
    cell: Any
    params: Any
    one: Any  # (params, state, x [B, F]) -> (state, y), the library's own call
    start: Any  # () -> the library's own initial state for B sequences
    shape: tuple = (F,)


class NnxPassing(nnx.Module):
    """A user's cell: state in a dict, dropout that is switched off, a head on the new state."""

    def __init__(self, rngs):
        self.into, self.head = nnx.Linear(F, H, param_dtype=D, rngs=rngs), nnx.Linear(H, 2, param_dtype=D, rngs=rngs)
        self.decay = nnx.Param(jnp.linspace(0.5, 0.9, H, dtype=D))
        self.dropout = nnx.Dropout(0.5, deterministic=True, rngs=rngs)
        self.num_feature_axes = 1

    def initialize_carry(self, input_shape, rngs):
        return {"h": jnp.full((*input_shape[:-1], H), 0.1, D), "last": jnp.zeros((*input_shape[:-1], F), D)}

    def __call__(self, carry, x):
        h = jnp.tanh(self.into(x + carry["last"])) + carry["h"] * jnp.broadcast_to(self.decay[...], carry["h"].shape)
        return {"h": h, "last": x}, jax.nn.relu(self.head(self.dropout(h)))


class LinenSubclass(nn.GRUCell):
    """A user's subclass: a skip from the input into the output."""

    @nn.compact
    def __call__(self, carry, x):
        carry, h = super().__call__(carry, x)
        return carry, nn.Dense(2, param_dtype=D)(h) * jnp.sum(x, axis=-1, keepdims=True)


class EquinoxOwn(eqx.Module):
    """A user's module: state in a dict."""

    weight: jax.Array
    slope: float = 0.3

    def __call__(self, x, state):
        return {"h": jnp.tanh(self.weight @ jnp.concatenate([x, state["h"]])) + self.slope * state["h"]}


def nnx_case(make):
    module = module_of(make)
    cell, params = from_nnx(module)
    graphdef, rest, rngs = nnx.split(module, nnx.Not(nnx.RngState), nnx.RngState)

    def start():
        return module.initialize_carry((B, F), rngs=nnx.Rngs(0))

    return Case(cell, params, lambda p, h, x: nnx.merge(graphdef, p, rngs)(h, x), start)


def linen_case(module, shape=(F,)):
    def start():
        return module.initialize_carry(jax.random.key(0), (B, *shape))

    variables = variables_of(module, start(), np.ones((B, *shape)))
    cell, params = from_linen(module, variables, input_shape=None if len(shape) == 1 else shape)
    return Case(cell, params, module.apply, start, shape)


def equinox_case(make, alone, **options):
    module = eqx.filter_eval_shape(make)
    is_shape = lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct)  # noqa: E731
    shapes, rest = eqx.partition(module, is_shape)
    module = eqx.combine(filled(shapes), rest)
    cell, params = from_equinox(module, **options)
    static = eqx.filter(module, eqx.is_array, inverse=True)

    def one(params, state, x):
        after = jax.vmap(lambda x, h: eqx.combine(params, static)(x, h))(x, state)
        return after, jax.tree.leaves(after)[0]

    return Case(cell, params, one, lambda: jax.tree.map(lambda h: jnp.zeros((B, *h.shape), D), alone))


def haiku_case(make_core, shape=(F,)):
    def core_step(x, state):
        core = make_core()
        return core(x, core.initial_state(B) if state is None else state)

    transformed = hk.without_apply_rng(hk.transform(core_step))
    params = filled(jax.eval_shape(transformed.init, jax.random.key(0), np.ones((B, *shape)), None))
    cell, params = from_haiku(make_core, params, input_ndim=len(shape))
    start = hk.transform(lambda: make_core().initial_state(B))
    return Case(
        cell, params, lambda p, h, x: transformed.apply(p, x, h)[::-1], lambda: start.apply(params, None), shape
    )


vector = jax.ShapeDtypeStruct((H,), D)
CASES = {
    "nnx.SimpleCell": lambda: nnx_case(
        lambda rngs: nnx.SimpleCell(F, H, dtype=D, param_dtype=D, residual=True, rngs=rngs)
    ),
    "nnx.LSTMCell": lambda: nnx_case(lambda rngs: nnx.LSTMCell(F, H, param_dtype=D, rngs=rngs)),
    "nnx.OptimizedLSTMCell": lambda: nnx_case(lambda rngs: nnx.OptimizedLSTMCell(F, H, param_dtype=D, rngs=rngs)),
    "nnx.GRUCell": lambda: nnx_case(lambda rngs: nnx.GRUCell(F, H, param_dtype=D, rngs=rngs)),
    "nnx, own": lambda: nnx_case(NnxPassing),
    "linen.SimpleCell": lambda: linen_case(nn.SimpleCell(H, param_dtype=D)),
    "linen.LSTMCell": lambda: linen_case(nn.LSTMCell(H, param_dtype=D)),
    "linen.OptimizedLSTMCell": lambda: linen_case(nn.OptimizedLSTMCell(H, param_dtype=D)),
    "linen.GRUCell": lambda: linen_case(nn.GRUCell(H, param_dtype=D)),
    "linen.MGUCell": lambda: linen_case(nn.MGUCell(H, param_dtype=D)),
    "linen.ConvLSTMCell": lambda: linen_case(nn.ConvLSTMCell(2, (2, 2), param_dtype=D), IMAGE),
    "linen, own": lambda: linen_case(LinenSubclass(H, param_dtype=D)),
    "equinox.GRUCell": lambda: equinox_case(lambda: eqx.nn.GRUCell(F, H, dtype=D, key=jax.random.key(0)), vector),
    "equinox.LSTMCell": lambda: equinox_case(
        lambda: eqx.nn.LSTMCell(F, H, dtype=D, key=jax.random.key(0)), (vector, vector)
    ),
    "equinox, own": lambda: equinox_case(
        lambda: EquinoxOwn(jnp.zeros((H, F + H), D)),
        {"h": vector},
        initial_state={"h": vector},
        output=lambda params, state, x: state["h"],
    ),
    "haiku.VanillaRNN": lambda: haiku_case(lambda: hk.VanillaRNN(H)),
    "haiku.LSTM": lambda: haiku_case(lambda: hk.LSTM(H)),
    "haiku.GRU": lambda: haiku_case(lambda: hk.GRU(H)),
    "haiku.Conv2DLSTM": lambda: haiku_case(lambda: hk.Conv2DLSTM(IMAGE[:2], 2, 2), IMAGE),
    "haiku.DeepRNN": lambda: haiku_case(lambda: hk.DeepRNN([hk.LSTM(H), jax.nn.relu, hk.GRU(3), hk.Linear(2)])),
    "haiku, skips": lambda: haiku_case(lambda: hk.deep_rnn_with_skip_connections([hk.LSTM(H), hk.VanillaRNN(3)])),
}

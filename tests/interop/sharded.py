"""A program for a process of its own: data-parallel steps on 4 CPU devices; prints the largest relative errors."""

import os

os.environ["JAX_NUM_CPU_DEVICES"] = "4"

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jrnn
import jrnn.interop.linen
import jrnn.interop.nnx

jax.config.update("jax_disable_most_optimizations", True)
B, T, F, H = 8, 5, 3, 4
XS = jax.random.normal(jax.random.key(0), (B, T, F))
LENGTHS = jnp.array([5, 0, 3, 4, 5, 1, 2, 5])
cell = jrnn.lstm(H)
flat = cell.init(jax.random.key(1), F)
linen = jrnn.interop.linen.RNN(cell)
graphdef, state = nnx.split(jrnn.interop.nnx.RNN(cell, F, rngs=nnx.Rngs(0)))
optimizer = optax.sgd(0.1, momentum=0.9)

MODELS = {
    "unroll": (flat, lambda p, x, n: jrnn.unroll(cell, p, x, lengths=n, time_axis=1).outputs),
    "linen": ({"params": {"cell": flat}}, lambda p, x, n: linen.apply(p, x, seq_lengths=n)),
    "nnx": (state, lambda p, x, n: nnx.merge(graphdef, p)(x, seq_lengths=n)),
}


def loss_fn(params, xs, lengths):
    """The three side by side: one program."""
    return sum(jnp.mean(jnp.sin(3 * apply(params[name], xs, lengths))) for name, (_, apply) in MODELS.items())


@jax.jit
def train(params, moments, xs, lengths):
    grads = jax.grad(loss_fn)(params, xs, lengths)
    updates, moments = optimizer.update(grads, moments)
    return optax.apply_updates(params, updates), moments, grads


results = []
for devices in (1, 2, 4):
    mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
    by_batch, everywhere = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
    xs, lengths = jax.device_put((XS, LENGTHS), by_batch)
    params = {name: params for name, (params, _) in MODELS.items()}
    params, moments = jax.device_put((params, optimizer.init(params)), everywhere)
    for _ in range(2):
        params, moments, grads = train(params, moments, xs, lengths)
    assert all(len(leaf.sharding.device_set) == devices for leaf in jax.tree.leaves(grads))
    results.append({name: [np.asarray(a) for a in jax.tree.leaves((params[name], grads[name]))] for name in MODELS})
for devices, result in zip((2, 4), results[1:], strict=True):
    for name, leaves in result.items():
        pairs = zip(leaves, results[0][name], strict=True)
        print(name, devices, max(np.max(np.abs(a - b)) / np.max(np.abs(b)) for a, b in pairs))

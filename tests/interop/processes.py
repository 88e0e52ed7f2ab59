"""Data-parallel training, the batch shared by all processes; as a program, one of several that work together."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jrnn
import jrnn.interop.nnx

B, T, F, H = 6, 5, 3, 4


def trained(devices):
    """Parameters, as NumPy arrays, after 3 updates of an nnx module; this process feeds its own sequences."""
    rng = np.random.default_rng(0)
    mine = np.array_split(np.arange(B), jax.process_count())[jax.process_index()] if len(devices) > 1 else np.arange(B)
    xs, lengths = rng.normal(size=(B, T, F))[mine], np.array([5, 0, 3, 4, 1, 2])[mine]
    mesh = Mesh(np.array(devices), ("data",))
    by_batch, everywhere = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
    xs, lengths = (jax.make_array_from_process_local_data(by_batch, a) for a in (xs, lengths))
    graphdef, shapes = nnx.split(nnx.eval_shape(lambda: jrnn.interop.nnx.RNN(jrnn.lstm(H), F, rngs=nnx.Rngs(0))))
    start = jax.tree.map(lambda leaf: 0.5 * rng.normal(size=leaf.shape), shapes)
    chain = optax.chain(jrnn.clip_by_global_norm(0.1), optax.sgd(0.5, momentum=0.9))

    def loss_fn(params, xs, lengths):
        return jnp.mean(jnp.sin(3 * nnx.merge(graphdef, params)(xs, seq_lengths=lengths)))

    @jax.jit
    def train(params, state, xs, lengths):
        updates, state = chain.update(jax.grad(loss_fn)(params, xs, lengths), state, params)
        return optax.apply_updates(params, updates), state

    params, state = jax.jit(lambda params: (params, chain.init(params)), out_shardings=everywhere)(start)
    for _ in range(3):
        params, state = train(params, state, xs, lengths)
    leaves = jax.tree.leaves(params)
    assert all(len(leaf.sharding.device_set) == len(devices) for leaf in leaves)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(start)], [np.asarray(leaf) for leaf in leaves]


if __name__ == "__main__":
    address, processes, index, out = sys.argv[1:]
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)
    jax.config.update("jax_num_cpu_devices", 1)
    jax.distributed.initialize(address, int(processes), int(index))
    assert jax.process_count() == int(processes)
    np.savez(out, *trained(jax.devices())[1])

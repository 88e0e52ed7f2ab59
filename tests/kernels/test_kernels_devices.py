"""The recurrence on two devices: `shard_map`, plain `jit`, meshes whose axes are part of the types."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jrnn

from .cases import IMPLEMENTATIONS, Case, close, kernel, make, replaced

EVERYONE = (*IMPLEMENTATIONS, "reference")


def test_shard_map_and_the_sum_over_devices():
    """Each device takes its own sequences; gradients of the weights are summed over them."""
    case = Case("gru", 1, 4, 6, 2, 3)
    operands, events = make(case)
    mesh = Mesh(np.asarray(jax.devices()[:2]), ("batch",))

    def loss(w_rec, xs, start):
        return jnp.sum(kernel(case.scan)(replaced(operands, w_rec=w_rec, xs=xs, start=start), events).states[0] ** 2)

    def local(w_rec, xs, start):
        return jax.lax.psum(loss(w_rec, xs, start), "batch")

    rows, state = PartitionSpec(None, None, "batch"), PartitionSpec(None, "batch")
    mapped = jax.shard_map(local, mesh=mesh, in_specs=(PartitionSpec(), rows, state), out_specs=PartitionSpec())
    arguments = operands.weights.w_rec, operands.xs, operands.start
    close(jax.jit(jax.grad(mapped))(*arguments), jax.grad(loss)(*arguments), tol=1e-12)


@pytest.mark.parametrize("name", EVERYONE)
def test_shard_map_of_both_directions(name):
    cell = jrnn.Bidirectional(jrnn.lstm(3))
    params, xs = cell.init(jax.random.key(0), 2), jax.random.normal(jax.random.key(1), (5, 4, 2))
    lengths = jnp.array([5, 0, 3, 1])
    mesh = Mesh(np.asarray(jax.devices()[:2]), ("batch",))

    def loss(params, xs, lengths):
        return jnp.sum(jrnn.unroll(cell, params, xs, lengths=lengths, implementation=name).outputs ** 2)

    def local(*arguments):
        return jax.lax.psum(loss(*arguments), "batch")

    where = PartitionSpec(), PartitionSpec(None, "batch"), PartitionSpec("batch")
    mapped = jax.shard_map(local, mesh=mesh, in_specs=where, out_specs=PartitionSpec())
    grads = (jax.jit(jax.grad(f, argnums=(0, 1)))(params, xs, lengths) for f in (mapped, loss))
    close(*grads, tol=1e-12)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_plain_jit_splits_the_sequences_over_devices(name):
    """With sequences that lie on two devices: the same values and gradients, nothing gathered, gradients in place."""
    cell = jrnn.stack(jrnn.lstm(4), jrnn.gru(3))
    params, xs = cell.init(jax.random.key(0), 2), jax.random.normal(jax.random.key(1), (5, 6, 3, 2))
    lengths = jnp.asarray(np.random.default_rng(0).integers(0, 6, (6, 3)))

    @jax.jit
    @partial(jax.value_and_grad, argnums=(0, 1))
    def run(params, xs, lengths):
        found = jrnn.unroll(cell, params, xs, lengths=lengths, implementation=name)
        return jnp.sum(found.outputs**2) + jnp.sum(found.last)

    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    placed = [
        jax.device_put(array, NamedSharding(mesh, PartitionSpec(*where)))
        for array, where in ((params, ()), (xs, (None, "batch")), (lengths, ("batch",)))
    ]
    assert "all-gather" not in run.lower(*placed).compile().as_text()
    found = run(*placed)
    close(found, run(params, xs, lengths), tol=1e-12)
    assert found[1][1].sharding.spec[:2] == (None, "batch")


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("cut", ["first", "last", "more"])
def test_sequences_that_two_devices_cannot_share_equally(name, cut):
    """A part of a split batch, or more than it: XLA pads the last device's share, which counts for nothing."""
    cell = jrnn.Bidirectional(jrnn.lstm(4))
    params, xs = cell.init(jax.random.key(0), 3), jax.random.normal(jax.random.key(1), (6, 6, 3))
    of = {
        "first": lambda xs: xs[:, :5],
        "last": lambda xs: xs[:, 3:],
        "more": lambda xs: jnp.concatenate([xs, xs[:, :3]], axis=1),
    }[cut]

    @jax.jit
    @partial(jax.value_and_grad, argnums=(0, 1))
    def run(params, xs):
        return jnp.sum(jrnn.unroll(cell, params, of(xs), implementation=name).outputs ** 2)

    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    placed = [
        jax.device_put(a, NamedSharding(mesh, PartitionSpec(*w))) for a, w in ((params, ()), (xs, (None, "batch")))
    ]
    close(run(*placed), run(params, xs), tol=1e-12)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("two_ways", [False, True])
def test_plain_jit_splits_an_ensemble_over_devices(name, two_ways):
    """Members that lie on two devices stay there, both directions of each; what all share is summed over them."""
    cell = jrnn.Bidirectional(jrnn.gru(4)) if two_ways else jrnn.gru(4)
    params = jax.vmap(lambda key: cell.init(key, 2))(jax.random.split(jax.random.key(0), 6))
    xs = jax.random.normal(jax.random.key(1), (5, 3, 2))

    @jax.jit
    @partial(jax.value_and_grad, argnums=(0, 1))
    def run(params, xs):
        found = jax.vmap(lambda p: jrnn.unroll(cell, p, xs, implementation=name).outputs)(params)
        return jnp.sum(found**2)

    mesh = jax.make_mesh((2,), ("members",), axis_types=(jax.sharding.AxisType.Auto,))
    placed = [jax.device_put(a, NamedSharding(mesh, PartitionSpec(*w))) for a, w in ((params, ("members",)), (xs, ()))]
    assert "all-gather" not in run.lower(*placed).compile().as_text()
    found = run(*placed)
    close(found, run(params, xs), tol=1e-12)
    assert all(leaf.sharding.spec[0] == "members" for leaf in jax.tree.leaves(found[1][0]))


@pytest.mark.parametrize("axis", ["time", "features"])
def test_plain_jit_gathers_what_is_split_elsewhere(axis):
    """Right all the same."""
    case = Case("lstm", 1, 4, 3, 4, 3, "lengths resets tap")
    operands, events = make(case)
    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = PartitionSpec(None, "x") if axis == "time" else PartitionSpec(None, None, None, "x")
    grad = jax.jit(jax.grad(lambda o: jnp.sum(kernel(case.scan)(o, events).states[0] ** 2)))
    split = operands._replace(xs=jax.device_put(operands.xs, NamedSharding(mesh, spec)))
    close(grad(split), grad(operands), tol=1e-12)


OPTIONS = [{"lengths": True}, {"remat": "sqrt"}, {"remat": "step"}, {}]


@pytest.mark.parametrize(
    "name, options",
    [(name, OPTIONS[(2 * i + j) % len(OPTIONS)]) for i, name in enumerate(EVERYONE) for j in range(2)],
    ids=str,
)
def test_unroll_inside_shard_map(name, options):
    """With its check of what differs between devices: values, gradients, Hessian-vector products."""
    cell = jrnn.lstm(4, dtype="float64")
    params = cell.init(jax.random.key(0), 3)
    xs = jax.random.normal(jax.random.key(1), (5, 6, 3), jnp.float64)
    lengths = jnp.arange(6) % 5

    def run(params, xs, lengths):
        given = options | ({"lengths": lengths} if "lengths" in options else {})
        return jrnn.unroll(cell, params, xs, implementation=name, **given).outputs

    mesh, rows = jax.make_mesh((2,), ("b",), axis_types=(jax.sharding.AxisType.Auto,)), PartitionSpec(None, "b")
    split = jax.shard_map(run, mesh=mesh, in_specs=(PartitionSpec(), rows, PartitionSpec("b")), out_specs=rows)

    def all_of(run):
        grad = jax.grad(lambda params: jnp.sum(run(params, xs, lengths) ** 2))
        return jax.jit(lambda p: (run(p, xs, lengths), grad(p), jax.jvp(grad, (p,), (p,))[1]))(params)

    close(all_of(split), all_of(run), tol=1e-12)


SPLIT = [((6,), (None, "b")), ((2, 6), (None, None, "b")), ((2, 6), (None, "b"))]


@pytest.mark.parametrize(
    "name, batch, where",
    [(name, *SPLIT[(2 * i + j) % len(SPLIT)]) for i, name in enumerate(EVERYONE) for j in range(2)],
    ids=str,
)
def test_meshes_with_explicit_axes(name, batch, where):
    cell = jrnn.gru(4, dtype="float64")
    params = cell.init(jax.random.key(0), 3)
    xs = jax.random.normal(jax.random.key(1), (5, *batch, 3), jnp.float64)

    @jax.jit
    @partial(jax.value_and_grad, argnums=(0, 1))
    def run(params, xs):
        return jnp.sum(jrnn.unroll(cell, params, xs, implementation=name).outputs ** 2)

    mesh = jax.make_mesh((2,), ("b",), axis_types=(jax.sharding.AxisType.Explicit,))
    placed = [jax.device_put(a, NamedSharding(mesh, PartitionSpec(*w))) for a, w in ((params, ()), (xs, where))]
    wanted = run(params, xs)
    with jax.set_mesh(mesh):
        close(run(*placed), wanted, tol=1e-12)
    if name in IMPLEMENTATIONS and len(batch) == 1:  # outside, JAX 0.12 forgets how the constants of a scan are split
        close(run(*placed), wanted, tol=1e-12)

"""Calls of the kernels for GPUs as users make them, by the emulator; what the launcher asks of the driver."""

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jrnn
from jrnn.kernels import IMPLEMENTATIONS, RECURRENCES
from jrnn.kernels.implementations import CallFacts, cuda
from jrnn.kernels.primitives import forward

from . import emulator
from .cases import Case, make

pytestmark = pytest.mark.skipif(emulator.WHY is not None, reason=str(emulator.WHY))


@pytest.fixture(autouse=True)
def a_gpu(monkeypatch):
    """The emulated GPU in the place of a real one, tried first."""
    before = dict(IMPLEMENTATIONS)
    IMPLEMENTATIONS.clear()
    IMPLEMENTATIONS.update({"cuda": emulator.EmulatedCuda()} | {k: v for k, v in before.items() if k != "cuda"})
    yield
    IMPLEMENTATIONS.clear()
    IMPLEMENTATIONS.update(before)


def setting(cell, sequences=5):
    return cell.init(jax.random.key(0), 3), jax.random.normal(jax.random.key(1), (6, sequences, 3), jnp.bfloat16)


def near(found, wanted, tol=1e-2):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert np.linalg.norm(a - b) <= tol * np.linalg.norm(b)


def test_it_waits_to_be_named_until_it_is_checked(monkeypatch):
    cell = jrnn.lstm(20, dtype="bfloat16")
    params, _ = setting(cell)
    explained = jrnn.kernels.explain(cell, params)
    assert (
        explained.chosen != "cuda"
        and "lstm in bfloat16 have not yet run on a GPU of compute capability 9.0; name it" in explained.refused["cuda"]
    )
    assert jrnn.kernels.explain(cell, params, "cuda").chosen == "cuda"
    monkeypatch.setitem(cuda.CHECKED, ((9, 0), "lstm", "bfloat16"), "2026-12-01, H100")
    assert jrnn.kernels.explain(cell, params).chosen == "cuda"
    other = jrnn.gru(20, dtype="bfloat16")
    assert jrnn.kernels.explain(other, setting(other)[0]).chosen != "cuda"


@pytest.mark.parametrize("kind, units", [("lstm", 1024), ("gru", 768), ("tanh", 2048)])
def test_what_does_not_fit_is_refused_with_its_numbers(kind, units):
    facts = CallFacts(RECURRENCES[kind], "bfloat16", "cpu", units=units)
    why = IMPLEMENTATIONS["cuda"].refuses(facts)
    assert f"{units} units do not fit" in why and "232,448" in why
    assert IMPLEMENTATIONS["cuda"].refuses(facts._replace(units=512)) is None


def test_unroll_and_its_gradient():
    """A stack with both directions: groups, lengths, resets, the final state."""
    cell = jrnn.stack(jrnn.Bidirectional(jrnn.lstm(20, dtype="bfloat16")), jrnn.gru(20, dtype="bfloat16"))
    params, xs = setting(cell)
    lengths, resets = jnp.asarray([6, 0, 3, 5, 6]), jnp.zeros((6, 5), bool).at[2, 1:3].set(True)

    def loss(name, params, xs):
        found = jrnn.unroll(cell, params, xs, lengths=lengths, resets=resets, implementation=name)
        ends = sum(jnp.sum(a.astype(jnp.float32)) for a in jax.tree.leaves(found.final_state))
        return jnp.sum(jnp.sin(found.outputs.astype(jnp.float32))) + ends

    def grads(name):
        return jax.jit(jax.value_and_grad(partial(loss, name), (0, 1)))(params, xs)

    near(grads("cuda"), grads("reference"), tol=2e-2)


def test_gradients_of_all_states():
    cell = jrnn.gru(20, dtype="bfloat16")
    params, xs = setting(cell)
    one, other = (
        jrnn.value_and_grads(
            cell, params, xs, lambda u: jnp.sum(jnp.sin(u.outputs.astype("float32"))), implementation=n
        )
        for n in ("cuda", "reference")
    )
    near(one, other, tol=2e-2)


def test_an_ensemble_and_forward_mode():
    cell = jrnn.elman(20, dtype="bfloat16")
    params = jax.vmap(lambda key: cell.init(key, 3))(jax.random.split(jax.random.key(0), 3))
    _, xs = setting(cell)

    def outputs(name, params):
        return jrnn.unroll(cell, params, xs, implementation=name).outputs

    def both(name):
        members = jax.vmap(partial(outputs, name))
        return jax.jit(lambda p: (members(p), jax.jvp(members, (p,), (p,))[1]))(params)

    near(both("cuda"), both("reference"))


def test_each_device_takes_its_own_sequences():
    cell = jrnn.lstm(20, dtype="bfloat16")
    params, xs = setting(cell, sequences=6)

    @jax.jit
    @partial(jax.value_and_grad, argnums=(0, 1))
    def run(params, xs):
        return jnp.sum(jnp.sin(jrnn.unroll(cell, params, xs, implementation="cuda").outputs.astype(jnp.float32)))

    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    placed = [
        jax.device_put(a, NamedSharding(mesh, PartitionSpec(*where)))
        for a, where in ((params, ()), (xs, (None, "batch")))
    ]
    assert "all-gather" not in run.lower(*placed).compile().as_text()
    near(run(*placed), run(params, xs))


def test_the_precision_is_that_of_the_call():
    """Of the values and of the gradients, set inside of a compiled function or around it."""
    cell = jrnn.lstm(20, dtype="float32")
    params, xs = cell.init(jax.random.key(0), 3), jax.random.normal(jax.random.key(1), (6, 5, 3), jnp.float32)

    def loss(params):
        return jnp.sum(jnp.sin(jrnn.unroll(cell, params, xs, implementation="cuda").outputs))

    def inside(params):
        with jax.default_matmul_precision("highest"):
            return loss(params)

    within, coarse = (jax.jit(jax.value_and_grad(f))(params) for f in (inside, loss))
    with jax.default_matmul_precision("highest"):
        around = jax.jit(jax.value_and_grad(loss))(params)
    jax.tree.map(np.testing.assert_array_equal, within, around)
    assert not np.array_equal(within[1]["w_rec"], coarse[1]["w_rec"])


def test_nothing_is_compiled_for_shapes(monkeypatch):
    """And of a gradient only the kernels that it runs."""
    asked, code = [], emulator.Emulated.code
    monkeypatch.setattr(emulator.Emulated, "code", staticmethod(lambda plan: asked.append(plan) or code(plan)))
    cell = jrnn.gru(21, dtype="bfloat16")
    params, xs = setting(cell)

    def loss(params):
        return jnp.sum(jrnn.unroll(cell, params, xs, implementation="cuda").outputs.astype(jnp.float32))

    jax.eval_shape(jax.grad(loss), params)
    jax.make_jaxpr(jax.grad(loss))(params)
    assert not asked
    jax.jit(jax.grad(loss)).lower(params)
    assert {plan.direction for plan in asked} == {"forward", "backward"} and len(set(asked)) == 2


@pytest.mark.thorough
def test_inside_of_shard_map():
    """Both directions in one call; the gradients of the weights are summed over the devices."""
    cell = jrnn.Bidirectional(jrnn.gru(20, dtype="bfloat16"))
    params, xs = setting(cell, sequences=6)
    lengths = jnp.asarray([6, 0, 3, 5, 6, 1])

    def loss(params, xs, lengths):
        found = jrnn.unroll(cell, params, xs, lengths=lengths, implementation="cuda").outputs
        return jnp.sum(jnp.sin(found.astype(jnp.float32)))

    where = PartitionSpec(), PartitionSpec(None, "batch"), PartitionSpec("batch")
    mapped = jax.shard_map(
        lambda *given: jax.lax.psum(loss(*given), "batch"),
        mesh=Mesh(np.asarray(jax.devices()[:2]), ("batch",)),
        in_specs=where,
        out_specs=PartitionSpec(),
    )
    one, other = (jax.jit(jax.grad(f, argnums=(0, 1)))(params, xs, lengths) for f in (mapped, loss))
    near(one, other)


def test_a_program_with_it_is_exported_only_if_the_user_says_so():
    """As with the compiled kernel; then for any number of sequences, too."""
    cell = jrnn.elman(20, dtype="bfloat16")
    params, xs = setting(cell)
    run = jax.jit(lambda params, xs: jrnn.unroll(cell, params, xs, implementation="cuda").outputs)
    with pytest.raises(ValueError, match="no compatibility guarantees"):
        export.export(run)(params, xs)
    (batch,) = export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((6, batch, 3), jnp.bfloat16)
    allowed = export.DisabledSafetyCheck.custom_call(emulator.Emulated.call)
    exported = export.export(run, disabled_checks=[allowed])(params, shape)
    np.testing.assert_array_equal(exported.call(params, xs), run(params, xs))


def run(case, **sizes):
    operands, events = make(case, jnp.bfloat16)
    emulated = emulator.EmulatedCuda(**sizes)
    return jax.jit(lambda o: emulated.forward(case.scan, o, events, True, False).states)(operands)


def test_what_the_driver_is_asked_for():
    case = Case("tanh", 3, 2, 17, 2, 70)
    emulator.begin(0)
    jax.block_until_ready(run(case, cluster=4, tiles=1))
    seen = emulator.seen()
    plan = emulator.EmulatedCuda(cluster=4).plan("forward", case.scan.recurrence, "bfloat16", 70)
    # three groups of three tiles of 8 sequences, four blocks each
    assert (seen["launches"], seen["blocks"], seen["cluster"], seen["threads"]) == (1, 36, 4, plan.threads)
    assert seen["bytes"] == plan.shared and not seen["large"]


def test_the_driver_is_asked_for_more_shared_memory_than_all_kernels_have():
    emulator.begin(0)
    jax.block_until_ready(run(Case("tanh", 1, 2, 2, 2, 250), cluster=1, held=2))
    seen = emulator.seen()
    assert seen["launches"] == 1 and seen["shared"] == seen["bytes"] > 49152  # else the launch fails


def test_a_gpu_without_room_for_large_clusters_is_a_reason():
    implementation = IMPLEMENTATIONS["cuda"]
    plan = emulator.EmulatedCuda(cluster=16).plan("forward", RECURRENCES["tanh"], "bfloat16", 250)
    emulator.begin(0, largest_cluster=8)
    assert "250 units need 16 blocks side by side, and this GPU has no room" in implementation.refuses_plan(plan)
    emulator.begin(0)
    assert implementation.refuses_plan(plan) is None
    jax.block_until_ready(run(Case("tanh", 1, 2, 2, 2, 250), cluster=16))
    assert emulator.seen()["large"] == 1


@pytest.mark.parametrize("steps, rows", [(0, 3), (2, 0)])
def test_no_steps_and_no_sequences(steps, rows):
    case = Case("lstm", 1, steps, rows, 2, 20)
    operands, events = make(case, jnp.bfloat16)
    emulated = emulator.EmulatedCuda(cluster=2)

    def ends(operands):
        return emulated.forward(case.scan, operands, events, True, False).last

    found = jax.jit(ends)(operands)
    assert [a.shape for a in found] == [(1, rows, 20)] * 2
    jax.tree.map(np.testing.assert_array_equal, found, operands.start)  # of no sequences there is none to compare

    def loss(start):
        last = forward(case.scan, operands._replace(start=start), events, emulated).last
        return sum(jnp.sum(part) for part in last)

    for gradient in jax.jit(jax.grad(loss))(operands.start):
        np.testing.assert_array_equal(gradient, jnp.ones_like(gradient))


@pytest.mark.parametrize(
    "driver, why", [("nowhere.so", "not found: nowhere.so"), ("libm.so.6", "too old: it has no cu")]
)
def test_a_driver_that_is_missing_or_too_old(driver, why):
    emulator.host()
    program = f"import ctypes; l = ctypes.CDLL({str(emulator.host()._name)!r}); f = l.jrnn_cuda_missing"
    program += "; f.restype = ctypes.c_char_p; print(f().decode())"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"JRNN_CUDA_DRIVER": driver}, capture_output=True, text=True
    )
    assert why in done.stdout, done

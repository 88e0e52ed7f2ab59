"""The kernels for GPUs, run by an emulator on a CPU: values and gradients against the spec, under random schedules."""

import ctypes
import shutil
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrnn.kernels.cuda import build
from jrnn.kernels.implementations import reference
from jrnn.kernels.primitives import forward

from . import emulator
from .cases import ALL, Case, close, cotangents_like, fields, make, pulled, replaced

pytestmark = pytest.mark.skipif(emulator.WHY is not None, reason=str(emulator.WHY))

# (case, blocks of a cluster, tiles of 8 sequences, k-steps in registers or None for as many as fit, gates saved)
BFLOAT16 = [
    (Case("tanh", 1, 5, 5, 3, 20), 1, 1, None, True),
    (Case("tanh", 2, 5, 11, 3, 20, ALL + " reverse"), 2, 1, None, False),
    (Case("relu", 1, 4, 9, 2, 70, "lengths tap_is_zero"), 4, 1, None, False),
    (Case("identity", 1, 6, 3, 2, 33, "mask resets"), 2, 2, 2, True),
    (Case("tanh", 1, 1, 1, 1, 1, "lengths"), 4, 1, None, True),
    (Case("lstm", 1, 5, 5, 3, 20), 1, 1, None, True),
    (Case("lstm", 2, 5, 11, 3, 20, ALL + " reverse"), 2, 1, None, True),
    (Case("lstm", 1, 5, 19, 3, 70, "lengths resets tap_is_zero"), 4, 2, 2, False),
    (Case("gru", 1, 5, 5, 0, 20), 1, 1, None, False),
    (Case("gru", 2, 5, 11, 3, 20, ALL), 2, 1, None, True),
    (Case("gru", 1, 3, 7, 3, 70, "cuts tap_is_zero"), 4, 1, 2, True),
    (Case("gru_reset_before", 1, 5, 5, 3, 20), 1, 1, None, True),
    (Case("gru_reset_before", 2, 5, 11, 3, 20, ALL + " reverse"), 2, 1, None, False),
    (Case("gru_reset_before", 1, 4, 17, 3, 70, "lengths resets"), 4, 2, 2, True),
]
FLOAT32 = [
    (Case("tanh", 2, 5, 11, 3, 20, ALL + " reverse"), 2, 1, None, True),
    (Case("tanh", 1, 5, 3, 3, 20, "lengths tap_is_zero"), 1, 1, None, True),
    (Case("lstm", 2, 5, 11, 3, 20, ALL + " reverse"), 2, 1, None, True),
    (Case("gru", 1, 5, 7, 3, 40, "lengths resets"), 1, 1, 2, False),
    (Case("gru_reset_before", 1, 5, 11, 3, 20, ALL), 2, 2, None, True),
]


def found_and_wanted(case, dtype, cluster, tiles, held, save_gates, spec_in=None):
    """(values and gradients by the kernels, those of the spec), of random cotangents."""
    operands, events = make(case, dtype)
    implementation = emulator.EmulatedCuda(cluster=cluster, tiles=tiles, held=held)
    spec = partial(reference.run, case.scan)
    cotangents = cotangents_like(jax.eval_shape(spec, operands, events))

    def kernels(operands, events):
        return forward(case.scan, operands, events, implementation, True, save_gates)._replace(gates=None)

    def both(run, *given):
        return jax.jit(lambda o, e, c: (run(o, e), jax.grad(pulled(run, c))(o, e)))(*given)

    wide = jax.tree.map(lambda a: a.astype(spec_in or dtype), (operands, cotangents))
    return both(kernels, operands, events, cotangents), both(spec, wide[0], events, wide[1])


@pytest.mark.parametrize("case, cluster, tiles, held, save_gates", BFLOAT16, ids=str)
def test_bfloat16(case, cluster, tiles, held, save_gates):
    found, wanted = found_and_wanted(case, jnp.bfloat16, cluster, tiles, held, save_gates)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), found) == jax.tree.map(lambda a: (a.shape, a.dtype), wanted)
    for a, b in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert np.linalg.norm(a - b) <= 1e-2 * np.linalg.norm(b)  # one rounding is 2e-3


@pytest.mark.thorough
@pytest.mark.parametrize("case, cluster, tiles, held, save_gates", FLOAT32, ids=str)
def test_float32(case, cluster, tiles, held, save_gates):
    """By three products of TF32, as near to float64 as float32 is."""
    with jax.default_matmul_precision("highest"):
        found, wanted = found_and_wanted(case, jnp.float32, cluster, tiles, held, save_gates, jnp.float64)
    close(jax.tree.map(lambda a: a.astype(jnp.float64), found), wanted, tol=2e-6)


def test_float32_of_long_sums():
    """A tensor core cuts off: where all terms have one sign, nothing evens that out."""
    case = Case("identity", 1, 4, 3, 1, 256)
    operands, events = make(case, jnp.float32)
    weights = operands.weights._replace(w_rec=jnp.abs(operands.weights.w_rec) / 16)
    operands = replaced(operands._replace(weights=weights), start=jax.tree.map(jnp.abs, operands.start))
    emulated = emulator.EmulatedCuda(cluster=4)
    with jax.default_matmul_precision("highest"):
        found = jax.jit(lambda o: emulated.forward(case.scan, o, events, True, False).last[0])(operands)
    wide = jax.tree.map(lambda a: a.astype(jnp.float64), operands)
    wanted = np.asarray(reference.run(case.scan, wide, events).last[0])
    assert np.linalg.norm(np.asarray(found, np.float64) - wanted) <= 3e-7 * np.linalg.norm(wanted)


@pytest.mark.parametrize(
    "name, function, ulps", [("tanh", np.tanh, 8), ("sigmoid", lambda x: 1 / (1 + np.exp(-x)), 12)]
)
def test_the_functions_of_the_gates(name, function, ulps):
    """Against float64, with the errors of the device's instructions."""
    source = f"""#include <numbers.cuh>
extern "C" void of(const float* x, float* y, int n) {{ for (int i = 0; i < n; ++i) y[i] = jrnn::{name}(x[i]); }}
    """
    compiled = ctypes.CDLL(str(emulator.compile(source)))
    x = np.concatenate([np.geomspace(1e-6, 20, 5000), np.linspace(0.05, 1, 5000)]).astype(np.float32)
    x, pointer = np.concatenate([x, -x]), ctypes.POINTER(ctypes.c_float)
    y = np.empty_like(x)
    compiled.of(x.ctypes.data_as(pointer), y.ctypes.data_as(pointer), len(x))
    wanted = function(x.astype(np.float64))
    assert np.max(np.abs(y - wanted) / np.abs(wanted)) <= ulps * 2.0**-23


@pytest.mark.thorough
def test_float32_by_one_product_where_the_setting_allows_it():
    case = Case("lstm", 1, 5, 7, 3, 20, "lengths")
    with jax.default_matmul_precision("tensorfloat32"):
        found, wanted = found_and_wanted(case, jnp.float32, 2, 1, None, True, jnp.float64)
    found = jax.tree.map(lambda a: a.astype(jnp.float64), found)
    close(found, wanted, tol=2e-3)
    with pytest.raises(AssertionError):
        close(found, wanted, tol=2e-6)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "kind, place, dtype",
    [
        ("lstm", "xs", "bfloat16"),
        ("gru", "w_rec", "bfloat16"),
        ("relu", "start", "bfloat16"),
        ("gru", "cotangent", "bfloat16"),
        ("relu", "start", "float32"),
        ("lstm", "w_rec", "float32"),
    ],
)
def test_what_is_not_finite_goes_where_the_spec_sends_it(kind, place, dtype):
    """Padded units and other sequences stay finite; an infinity stays one."""
    case = Case(kind, 1, 5, 3, 3, 21)  # on padding the spec lets 0 * NaN in, the kernel does not
    operands, events = make(case, jnp.dtype(dtype))
    # the second parts of these numbers of TF32 are 0
    operands = replaced(operands, start=jax.tree.map(jnp.ones_like, operands.start))
    spec, implementation = partial(reference.run, case.scan), emulator.EmulatedCuda(cluster=2)
    cotangents = cotangents_like(jax.eval_shape(spec, operands, events))
    if place == "cotangent":
        cotangents[0] = cotangents[0].at[0, 2, 1, 3].set(np.nan)
    else:
        array = fields(operands)[place]
        planted = (
            (array[0].at[0, 1, 3].set(np.inf), *array[1:])
            if place == "start"
            else array.at[(0,) * array.ndim].set(np.inf)
        )
        operands = replaced(operands, **{place: planted})

    def places(run):
        found = jax.jit(lambda o, e, c: (run(o, e), jax.grad(pulled(run, c))(o, e)))(operands, events, cotangents)
        values, gradients = (list(map(partial(np.asarray, dtype=np.float32), jax.tree.leaves(a))) for a in found)
        # a gradient's sum over time may be infinite or, by another order, NaN
        return [np.where(np.isfinite(a), 0, a) for a in values] + [~np.isfinite(a) for a in gradients]

    with jax.default_matmul_precision("highest"):
        found, wanted = places(lambda o, e: forward(case.scan, o, e, implementation)._replace(gates=None)), places(spec)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(np.any(a) for a in found)


@cache
def program(implementation, kind):
    """A function that finds (all states, dL/dxs) with the implementation."""
    case = Case(kind, 1, 6, 11, 2, 70, "lengths resets")
    operands, events = make(case, jnp.bfloat16)

    def run(operands):
        return forward(case.scan, operands, events, implementation).states[0].astype(jnp.float32)

    return jax.jit(lambda: (run(operands), jax.grad(lambda o: jnp.sum(jnp.sin(run(o))))(operands).xs))


def of_states(implementation, seed, kind):
    """What `program` finds, threads in an order drawn from `seed`."""
    emulator.begin(seed)
    return jax.tree.map(lambda a: np.asarray(a, np.float32), program(implementation, kind)())


@pytest.mark.thorough
def test_the_order_of_threads_and_stores_changes_no_bit():
    implementation = emulator.EmulatedCuda(cluster=4)
    first = of_states(implementation, 0, "gru_reset_before")
    for seed in range(1, 4):
        jax.tree.map(np.testing.assert_array_equal, of_states(implementation, seed, "gru_reset_before"), first)


FAULTS = {  # a mistake in the exchange: (file, what is there, what the mistake is)
    "no wait": ("exchange.cuh", "arrivals_wait(barriers + 8 * slot, (received >> 1) & 1);", ""),
    "the wrong parity": ("exchange.cuh", "(received >> 1) & 1);", "received & 1);"),
    "the wrong slot": ("exchange.cuh", "offset = slot * kSlot", "offset = (1 - slot) * kSlot"),
    "a slice that is not sent": ("exchange.cuh", "turn = 0; turn", "turn = 1; turn"),
    "a barrier that expects too little": (
        "exchange.cuh",
        "columns0 * S::kBytes, more",
        "columns0 * S::kBytes - 128, more",
    ),
    "lanes that do not wait": ("exchange.cuh", "warp_barrier();\n      UNROLL for (int first", "UNROLL for (int first"),
    "no second announcement": ("exchange.cuh", "received + 2 < total", "received + 2 < 0"),
    "blocks that do not wait": ("exchange.cuh", "      cluster_barrier();\n    }\n  }", "    }\n  }"),
    "one block whose warps do not wait": ("exchange.cuh", "      block_barrier();\n    }\n    ++", "    }\n    ++"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen(fault, tmp_path):
    """A wrong value, a thread that waits for ever or an address beyond memory, under one of some schedules."""
    name, right, wrong = FAULTS[fault]
    cluster = 1 if "one block" in fault else 4
    sources = tmp_path / "sources"
    shutil.copytree(build.PLACE, sources)
    text = (sources / name).read_text()
    assert text.count(right) == 1, "the source has changed: plant the fault again"
    (sources / name).write_text(text.replace(right, wrong))

    class Faulty(emulator.Emulated):
        @staticmethod
        def code(plan):
            return str(emulator.compile(plan.source, sources=sources)).encode()

    right = of_states(emulator.EmulatedCuda(cluster=cluster), 0, "gru")
    faulty = emulator.EmulatedCuda(cluster=cluster, device=Faulty)

    def is_seen(seed):
        try:
            found = of_states(faulty, seed, "gru")
        except jax.errors.JaxRuntimeError as error:
            return "the kernel was not launched" in str(error)
        return not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(found, right))

    assert any(is_seen(seed) for seed in range(8))

"""Programs with jrnn inside, exported as StableHLO and run by a fresh process that does not import jrnn."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

import jrnn
import jrnn.interop.nnx
from jrnn.interop import to_stablehlo
from tests.interop.economy import drawn, module_of, params_of

B, T, F = 3, 5, 2
XS, LENGTHS = drawn((T, B, F)), np.array([5, 0, 3])
CELL = jrnn.stack(jrnn.lstm(4), jrnn.gru(3))
PARAMS = params_of(CELL, F)


def unrolled(params, xs, lengths):
    """The whole run and the training gradient."""

    def loss(params):
        run = jrnn.unroll(CELL, params, xs, lengths=lengths, implementation="xla")
        return jnp.sum(run.last**2), run

    return jax.value_and_grad(loss, has_aux=True)(params)


def streamed(params, state, x):
    return jrnn.step(CELL, params, state, x)


def flax_model():
    def make(rngs):
        below = jrnn.interop.nnx.RNN(jrnn.lstm(4), F, implementation="xla", rngs=rngs)
        return nnx.Sequential(below, nnx.Linear(4, 1, param_dtype=jnp.float64, rngs=rngs))

    return module_of(make)


@pytest.mark.thorough
def test_a_fresh_process_computes_the_same(tmp_path):
    pytest.importorskip("flatbuffers", reason="serialising needs flatbuffers")
    programs = {
        "unroll": (unrolled, (PARAMS, XS, LENGTHS)),
        "step": (streamed, (PARAMS, CELL.initial_state(PARAMS, (B,)), XS[0])),
        "flax": (flax_model(), (np.swapaxes(XS, 0, 1),)),  # its weights inside the program
    }
    wanted = {}
    for name, (function, arguments) in programs.items():
        (tmp_path / f"{name}.exported").write_bytes(to_stablehlo(function, *arguments).serialize())
        np.savez(tmp_path / f"{name}.given.npz", *jax.tree.leaves(arguments))
        wanted[name] = jax.tree.leaves(jax.jit(function)(*arguments))
    program = Path(__file__).parent / "reloaded.py"
    done = subprocess.run([sys.executable, "-W", "error", program, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, arrays in wanted.items():
        with np.load(tmp_path / f"{name}.made.npz") as made:
            assert len(made) == len(arrays)
            for i, array in enumerate(arrays):
                np.testing.assert_array_equal(made[f"arr_{i}"], array, err_msg=name)


@pytest.mark.parametrize("steps", [T, T - 1], ids=["batch", "batch and time"])
def test_one_program_serves_every_size(steps):
    b, t = export.symbolic_shape("b, t")
    like = jax.ShapeDtypeStruct((T if steps == T else t, b, F), XS.dtype), jax.ShapeDtypeStruct((b,), LENGTHS.dtype)
    program = to_stablehlo(unrolled, PARAMS, *like)
    given = XS[:steps, 1:], LENGTHS[1:]
    found, wanted = program.call(PARAMS, *given), jax.jit(unrolled)(PARAMS, *given)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_the_compiled_kernel_is_refused():
    cell = jrnn.lstm(4)
    params = params_of(cell, F)
    if jrnn.kernels.explain(cell, params).chosen != "native":
        pytest.skip("the compiled kernel is not there")
    with pytest.raises(jrnn.InputError, match='function: got one that runs the compiled kernel; need.*"xla"'):
        to_stablehlo(lambda p, xs: jrnn.unroll(cell, p, xs).outputs, params, XS).serialize()

"""What only a TPU shows, beside `test_kernels_values.py`: many sequences, and products at the default precision."""

import datetime
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrnn.kernels.implementations import reference, tpu

from .cases import ALL, EMULATED, Case, close, cotangents_like, make

ON_A_TPU = jax.default_backend() == "tpu"


def all_of(implementation, case, operands, events, cotangents):
    """(results, gradients), by the functions themselves."""
    needed = jax.tree.map(lambda _: True, operands)
    result = implementation.forward(case.scan, operands, events, True, True)
    grads = implementation.backward(case.scan, needed, operands, events, result, cotangents)
    return result._replace(gates=None), grads


needs_a_tpu = pytest.mark.skipif(not ON_A_TPU, reason="needs a TPU")


@pytest.mark.parametrize("precision", ["highest", pytest.param("default", marks=needs_a_tpu)])
def test_many_sequences(precision):
    """300 sequences are three tiles. At the default precision a TPU rounds both factors of a product to bfloat16."""
    case = Case("lstm", 1, 9, 300, 3, 20, ALL)
    operands, events = make(case, jnp.float32)
    spec = jax.eval_shape(partial(reference.run, case.scan), operands, events)
    given = operands, events, jax.tree.unflatten(jax.tree.structure(spec), cotangents_like(spec))
    with jax.default_matmul_precision(precision):
        found = jax.jit(partial(all_of, EMULATED["tpu"], case))(*given)
    with jax.default_matmul_precision("highest"):
        wanted = jax.jit(partial(all_of, reference.REFERENCE, case))(*given)
    if precision == "highest":
        close(found, wanted, tol=2e-5)
        return
    for a, b in zip(map(np.asarray, jax.tree.leaves(found)), map(np.asarray, jax.tree.leaves(wanted)), strict=True):
        assert np.linalg.norm(a - b) <= 2e-2 * np.linalg.norm(b)


@needs_a_tpu
def test_where_this_runs():
    assert not EMULATED["tpu"].interpret
    print(f"CHECKED: {jax.devices()[0].device_kind!r}: {datetime.date.today().isoformat()!r},", tpu.CHECKED)

"""The TPU's kernel where there is no TPU: interpreted step by step with its memory watched, lowered, refused, split.

That it computes the right thing stands in `test_kernels_values.py`; that it compiles, in `tests/proofs/tpu.py`.
"""

from functools import partial

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import NamedSharding, PartitionSpec

import jrnn
from jrnn.kernels import IMPLEMENTATIONS, RECURRENCES
from jrnn.kernels.implementations import CallFacts, reference, tpu
from jrnn.kernels.pallas_scan import kernel as pallas_kernel
from jrnn.kernels.pallas_scan import plan

from .cases import ALL, EMULATED, KINDS, Case, close, cotangents_like, kernel, make, pulled

SLOPED = [kind for kind in KINDS if kind != "linear"]


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 4 steps and 8 sequences: more than one of each, the last one not full."""
    monkeypatch.setattr(plan, "BLOCKS", (4,))
    monkeypatch.setattr(plan, "MOST_ROWS", 8)


def watched(case, cores=2):
    """(whether results and gradients are those of the spec, whether accesses raced), on a TPU of several cores.

    By the functions themselves: the interpreter's callbacks do not pass through a primitive.
    """
    from jax._src.pallas.mosaic.interpret import interpret_pallas_call as interpreter

    watching = tpu.Tpu(interpret=pltpu.InterpretParams(detect_races=True, num_cores_or_threads=cores))
    operands, events = make(case, jnp.float32)
    spec = jax.eval_shape(partial(reference.run, case.scan), operands, events)
    cotangents = jax.tree.unflatten(jax.tree.structure(spec), cotangents_like(spec))
    needed = jax.tree.map(lambda _: True, operands)

    def all_of(implementation, operands, events, cotangents):
        result = implementation.forward(case.scan, operands, events, True, True)
        grads = implementation.backward(case.scan, needed, operands, events, result, cotangents)
        return result._replace(gates=None), grads

    given = operands, events, cotangents
    found = jax.block_until_ready(jax.jit(partial(all_of, watching))(*given))
    races = getattr(interpreter, "get_races", lambda: interpreter.races)().races_found  # by its name in each JAX
    try:
        close(found, jax.jit(partial(all_of, reference.REFERENCE))(*given), tol=2e-5)
    except AssertionError:
        return False, races
    return True, races


WATCHED = [Case(kind, 1, 6, 9, 2, 3, ALL if kind != "gru" else ALL + " reverse") for kind in SLOPED]


@pytest.mark.parametrize("case", WATCHED, ids=str)
def test_no_races_and_nothing_read_that_was_not_written(case, small_blocks):
    """Memory is full of NaN; two cores share the tiles of sequences."""
    assert watched(case) == (True, False)




@pytest.mark.thorough
def test_a_state_that_is_not_set_is_seen(monkeypatch, small_blocks):
    monkeypatch.setattr(pallas_kernel, "copy", lambda refs, values: None)
    assert watched(Case("tanh", 1, 6, 9, 2, 3), cores=1)[0] is False

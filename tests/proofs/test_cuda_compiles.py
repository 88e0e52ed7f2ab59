"""The kernels for GPUs through NVRTC, for GPUs that are not there: registers, spills and shared memory."""

import re

import pytest

from jrnn.kernels.cuda import build
from jrnn.kernels.cuda.plan import Plan, Target, choose

pytestmark = pytest.mark.skipif(isinstance(build.compiler(), str), reason=str(build.compiler()))

HOPPER, BLACKWELL, AMPERE = Target((9, 0)), Target((10, 0), 148), Target((8, 0), 108)
CONSUMER = (8, 6), (8, 7), (8, 9), (12, 0), (12, 1)
TANH, LSTM, GRU, GRU_BEFORE = 0, 3, 4, 5

# (kind, dtype, products, units, GPU, tiles of 8 sequences)
KERNELS = [
    *((kind, "bfloat16", 1, units, HOPPER, 1) for kind in (TANH, LSTM, GRU, GRU_BEFORE) for units in (64, 256, 512)),
    (TANH, "bfloat16", 1, 1024, HOPPER, 1),
    (LSTM, "bfloat16", 1, 100, HOPPER, 1),
    *((kind, "bfloat16", 1, 256, HOPPER, 60) for kind in (TANH, LSTM, GRU)),
    *((kind, "float32", 3, 256, HOPPER, 1) for kind in (TANH, LSTM, GRU, GRU_BEFORE)),
    (LSTM, "float32", 1, 256, HOPPER, 1),
    *((kind, "bfloat16", 1, 256, BLACKWELL, 1) for kind in (LSTM, GRU)),
    *((kind, "bfloat16", 1, 128, AMPERE, 1) for kind in (LSTM, GRU)),
    (TANH, "bfloat16", 1, 256, AMPERE, 1),
    *((LSTM, "bfloat16", 1, 128, Target(each), 1) for each in CONSUMER + ((10, 3),)),
]
MOST_SPILLED = 64
"""Bytes of a thread that may go to memory: float32 needs registers for the parts of its numbers, and 16 sequences twice
those of 8; consumers' GPUs have their own compiler's choices; 0 elsewhere."""


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("kind, dtype, products, units, target, tiles", KERNELS, ids=str)
def test_a_kernel_compiles(kind, dtype, products, units, target, tiles, direction):
    plan = choose(direction, kind, dtype, products, units, target, tiles)
    assert isinstance(plan, Plan), plan
    compiler = build.compiler()
    # the source itself asserts that shared memory and threads are those of the plan
    made, said = compiler.compile(plan.source, build.headers(), *build.options(target), "--ptxas-options=-v")
    assert made[:4] == b"\x7fELF"
    (stack, stored, loaded) = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+)", said)[0]
    bound = MOST_SPILLED if dtype == "float32" or plan.tiles > 1 or target.capability in CONSUMER else 0
    assert max(int(stack), int(stored), int(loaded)) <= bound, (plan, said)


def test_a_kernel_that_gives_up_waiting_compiles(monkeypatch):
    plan = choose("forward", LSTM, "bfloat16", 1, 256, HOPPER)
    monkeypatch.setenv("JRNN_CUDA_WAIT", "1000")
    assert build.compiler().compile(plan.source, build.headers(), *build.options(HOPPER))[0][:4] == b"\x7fELF"


def test_what_the_compiler_is_told_must_be_true():
    """The test of the test: a plan that is wrong about its memory does not compile."""
    plan = choose("forward", TANH, "bfloat16", 1, 64, HOPPER)
    wrong = plan.source.replace(f"kShared == {plan.shared}", f"kShared == {plan.shared + 16}")
    with pytest.raises(RuntimeError, match="as in plan.py"):
        build.compiler().compile(wrong, build.headers(), *build.options(HOPPER))

"""The proofs of the TPU's kernels: how they read what the compiler leaves, and, where libtpu is at hand, themselves."""

import subprocess
import sys
from pathlib import Path

import pytest

from .tpu import LIMIT, TYPES, bundles_of_loop, why_not

ROOT = Path(__file__).parents[2]

SCHEDULE = """
LB: loop body
     0x0   :  { %s1 = smov 0 }
    0x10 LB: > { %s2 = sld [smem:[#allocation1]] }
    0x11   : > { %v1 = vmov 0 }
    0x20 LB: >> { %v2 = vld [vmem:[#allocation2]] }
    0x21   : >> { %v3 = vmatmul }
    0x22   : > { %v9 = vst, from after the loop }
    0x23   : >> { %v4 = vst }
    0x24 PF: > { %s3 = sadd }
    0x25   :  {}
"""


def test_the_innermost_loop_is_found():
    assert bundles_of_loop(SCHEDULE) == 4
    assert bundles_of_loop(SCHEDULE.replace(">>", ">").replace("0x10 LB", "0x10   ")) == 5  # a kernel of one block
    with pytest.raises(ValueError):
        bundles_of_loop(SCHEDULE.replace("LB", "  "))


@pytest.mark.thorough
@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_the_kernels_compile_for_tpus_that_are_not_here():
    command = [sys.executable, "-m", "tests.proofs.tpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=len(TYPES) * LIMIT)
    assert done.returncode == 0 and "bundles a step" in done.stdout, done.stderr[-2000:]

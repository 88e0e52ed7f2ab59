"""Random calls of the kernels for GPUs, by the emulator, against the spec: `python -m tests.kernels.emulator`.

Each is printed before it runs; the first that differs ends the run.
"""

import argparse
import random
import time

import jax
import jax.numpy as jnp
import numpy as np

from tests.kernels import emulator
from tests.kernels.cases import Case
from tests.kernels.test_kernels_cuda import found_and_wanted

KINDS = ("tanh", "relu", "identity", "lstm", "gru", "gru_reset_before")
UNITS = (1, 3, 8, 17, 31, 32, 33, 50, 64, 65, 90, 128)


def drawn(rng):
    """(case, dtype, cluster, tiles, held, whether gates are saved)."""
    events = [event for event in ("lengths", "mask", "resets", "cuts", "reverse") if rng.random() < 0.4]
    events.append(rng.choice(("", "tap", "tap_is_zero")))
    sizes = rng.choice((1, 1, 2, 3)), rng.choice((1, 2, 3, 7)), rng.choice((1, 2, 7, 8, 9, 17)), rng.choice((0, 1, 5))
    case = Case(rng.choice(KINDS), *sizes, rng.choice(UNITS), " ".join(events).strip())
    dtype = rng.choice((jnp.bfloat16, jnp.bfloat16, jnp.float32))
    return (
        case,
        dtype,
        rng.choice((1, 2, 4, 8)),
        rng.choice((1, 1, 2)),
        rng.choice((None, None, 2, 4)),
        rng.random() < 0.5,
    )


def run(seed, seconds):
    rng, begun = random.Random(seed), time.monotonic()
    while time.monotonic() - begun < seconds:
        case, dtype, *how = drawn(rng)
        print(case, dtype.__name__, *how, flush=True)
        emulator.begin(rng.randrange(1000))
        with jax.default_matmul_precision("highest"):
            found, wanted = found_and_wanted(case, dtype, *how)
        most = 3e-2 if dtype == jnp.bfloat16 else 3e-6  # sums of gradients over time are rounded at every step
        for a, b in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
            a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
            assert np.linalg.norm(a - b) <= most * np.linalg.norm(b), (case, how, a.shape)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.kernels.emulator", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="which calls")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    run(options.seed, options.seconds)

"""A run in a process of its own, to be killed: worker.py OUT STEPS SLOW [resume]."""

import resource
import signal
import sys
import time
from pathlib import Path

import jax
import numpy as np

import jrnn
from jrnn.training import Objective, fit

sys.path.insert(0, str(Path(__file__).parent))
from helpers import cases  # noqa: E402

DATA = cases()


class Batches:
    """data(step), slow enough to be killed in the middle; from step 4 on no file may have more than `limit` bytes."""

    def __init__(self, slow, limit=None):
        self.slow, self.limit = slow, limit

    def __call__(self, step):
        time.sleep(self.slow)
        if self.limit is not None and step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, resource.RLIM_INFINITY))
        rows = [(step * 7 + i) % 20 for i in range(8)]
        return {name: (value[rows].swapaxes(0, 1) if name == "x" else value[rows]) for name, value in DATA.items()}


def run(out, steps, slow=0.0, resume=False, limit=None, **options):
    """`fit` with parameters that cost nothing to draw."""
    shapes = {"w_in": (3, 4), "w_rec": (4, 4), "bias": (4,), "w": (4, 3)}
    rng = np.random.default_rng(0)
    drawn = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    head = {"w": drawn.pop("w"), "bias": np.zeros(3)}
    return fit(
        jrnn.elman(4),
        Objective("classify", 3),
        Batches(slow, limit),
        steps=steps,
        params=drawn,
        loss_params=head,
        out=out,
        resume=resume,
        checkpoint_every=3,
        log_every=2,
        **options,
    )


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell script runs in the background
    jax.config.update("jax_enable_x64", True)
    print("ready", flush=True)
    fitted = run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), bool(sys.argv[4:]))
    print("interrupted" if fitted.interrupted else "done", fitted.step, flush=True)

"""Several processes at once: one seed each, started by spawn and never by fork.

JAX runs threads. A child of fork has none of them, so what it compiles or computes may wait for ever; JAX warns of it.
`spawn` starts each process afresh: what it runs must be a function of a module, and its arguments must pickle.

Run: python examples/many_processes.py [--short]
"""

import multiprocessing
import os
import sys

LAG = 100


def arriving(seed: int) -> tuple[int, float, float]:
    """(process, what arrives LAG steps back by default, and with the time constants of the lag), as shares."""
    import jax
    import jax.numpy as jnp

    import jrnn

    xs = jax.random.normal(jax.random.key(seed), (2 * LAG, 4, 1))
    found = []
    for bias in ("unit_forget", jrnn.initializers.chrono(2 * LAG)):
        cell = jrnn.lstm(16, bias=bias)
        params = cell.init(jax.random.key(seed), 1)
        flow = jrnn.gradient_flow(cell, params, xs, lambda run: jnp.sum(run.last**2), output_times=[2 * LAG])
        found.append(flow.verdict(lag=LAG).arriving)
    return os.getpid(), *found


if __name__ == "__main__":  # a spawned process imports this file: only the first one may start others
    seeds = range(2 if "--short" in sys.argv else 6)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.map(arriving, seeds, chunksize=1)
    print(f"what arrives {LAG} steps back in an LSTM of 16 units")
    for seed, (process, plain, chrono) in zip(seeds, results, strict=True):
        print(f"  seed {seed}: {100 * plain:.1e} %, with chrono({2 * LAG}) {100 * chrono:.1f} %  (process {process})")

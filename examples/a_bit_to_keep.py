"""A bit that must be kept for 100 steps: see that the gradient does not get there, find what helps, train with it.

1. SEE: a GRU as it starts. Of the gradient of the answer next to nothing arrives at the step that shows the bit.
2. It does not learn: after hundreds of updates its loss is that of a guess.
3. FIX: `jrnn.prescribe` races what is known to help against the GRU as it is, and says what does.
4. The recipe, with the seed that the race reports, and what the gradient does now.

Run: python examples/a_bit_to_keep.py [--short]
"""

import sys

import jax
import jax.numpy as jnp

import jrnn
from jrnn.training import Objective, evaluate, fit

SHORT = "--short" in sys.argv
LAG, UNITS, UPDATES, CANDIDATES = (20, 8, 18, ["chrono:20"]) if SHORT else (100, 32, 180, None)
task = jrnn.data.marked_bit(LAG)
data = task.dataset(cases=300 if SHORT else 6000)
train, test = data.subset(data.train), data.subset(data.test)
objective, cell = Objective.of(task), jrnn.gru(UNITS)
OPTIONS = {"learning_rate": 2e-3, "batch_size": 50, "max_norm": 1.0}


def verdict(cell, params):
    """Of a random pull on the last output, over 16 held-out sequences."""
    xs = jnp.swapaxes(test["x"][:16], 0, 1)
    v = jax.random.normal(jax.random.key(0), (16, UNITS))
    flow = jrnn.gradient_flow(cell, params, xs, lambda run: jnp.sum(run.last * v), output_times=[LAG + 1])
    return flow.verdict(LAG)


start = verdict(cell, cell.init(jax.random.key(0), 2))
print(f"1. {start.sentence}\n   {jrnn.cures.advise(cell, start).sentence}\n")

plain = fit(cell, objective, train, steps=UPDATES, **OPTIONS)
loss = evaluate(plain.cell, plain.params, objective, plain.loss_params, test)["loss"]
print(f"2. As it is, after {UPDATES} updates: loss {loss:.3f}; a guess has {task.plateau:.3f}.\n")

found = jrnn.prescribe(cell, data, objective, updates=UPDATES, candidates=CANDIDATES, say=print, **OPTIONS)
print(f"3. {found.sentence}\n   {found.evidence}\n")
print(f"   {'arm':18} {'rate':>8} {'arrives':>10} {'solved':>7} {'loss':>7}")
for row in found.table:
    solved = f"{row.solved}/{row.seeds}"
    print(f"   {row.cure:18} {row.learning_rate:8.2g} {row.arriving:10.1e} {solved:>7} {row.loss:7.3f}")

options = OPTIONS | {"learning_rate": found.learning_rate, "seed": found.best.seed}
mended = fit(cell, objective, train, steps=found.updates, cures=found.cures, **options)
loss = evaluate(mended.cell, mended.params, objective, mended.loss_params, test)["loss"]
print(
    f"\n4. {found.recipe or 'Nothing to change.'}\n   loss {loss:.3f}. {verdict(mended.cell, mended.params).sentence}"
)

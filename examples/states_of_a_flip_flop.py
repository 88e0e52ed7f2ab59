"""How trained networks hold three bits: their fixed points, as Sussillo and Barak (2013) found them.

1. Five LSTMs of eight units, one a seed, learn the 3-bit flip-flop in one program.
2. Without input the state of each rests at eight stable fixed points, one for each combination of bits. Saddles stand
   between them: their one unstable direction leads from one combination to its neighbour.
3. What all seeds have in common: the dimension of their states, and their Lyapunov exponents.

Run: python examples/states_of_a_flip_flop.py [--short]     (the figures: in pictures/ beside this file)
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jrnn
from jrnn.report import plot_fixed_points, plot_over_seeds
from jrnn.training import Objective, fit

SHORT = "--short" in sys.argv
task = jrnn.data.flip_flop(8)
cell = jrnn.lstm(8)


def batch(step):
    return task.batch(jax.random.fold_in(jax.random.key(0), step), 32)


print("1. Five seeds in one program")
fitted = fit(
    cell, Objective.of(task), batch, seed=range(5), steps=20 if SHORT else 400, learning_rate=0.03, flow_every=None
)
print(f"   {fitted}; without memory the loss is {task.plateau:.3f}")

print("\n2. Where the state rests without input")
xs = task.batch(jax.random.key(5), 32)["x"]
for i, seed in enumerate(fitted.seeds):
    one = fitted.member(i)
    starts = jrnn.flow.sample_states(cell, one.params, xs, 300, key=jax.random.key(seed), noise=0.5)
    found = jrnn.flow.fixed_points(cell, one.params, jnp.zeros(3), starts)
    print(f"   seed {seed}: {found}")
print("\n   those of the last seed:")
print("       bits  starts  unstable  time constants (steps)")
readout = fitted.member(-1).loss_params
bits = np.asarray(found.states.h @ np.asarray(readout["w"]) + np.asarray(readout["bias"]))
for i in np.flatnonzero(found.converged):
    said = " ".join(f"{value:+.0f}" if abs(value) > 0.5 else " 0" for value in bits[i])
    times = ", ".join(f"{time:.1f}" for time in found.time_constants[i, :3])
    print(f"   {said} {found.starts[i]:7d} {found.unstable_dimension[i]:9d}  {times}, ...")

print("\n3. Over seeds")
states = jax.vmap(lambda params: jrnn.unroll(cell, params, xs, return_states=True).states)(fitted.params)
dimensions = jax.vmap(jrnn.flow.participation_ratio)(states)
print(f"   dimension of the states (participation ratio): {', '.join(f'{value:.2f}' for value in dimensions)}")
exponents = jax.vmap(lambda params: jrnn.lyapunov_spectrum(cell, params, xs).exponents.mean(axis=0))(fitted.params)
print(f"   largest Lyapunov exponent (nats per step): {', '.join(f'{value:+.2f}' for value in exponents[:, 0])}")

figure = Figure(figsize=(12, 4), layout="constrained")
left, middle, right = figure.subplots(1, 3)
plot_over_seeds(fitted, ax=left, title="Training")
plot_over_seeds(exponents, ax=middle, title="Lyapunov spectrum", xlabel="direction", ylabel="nats per step")
plot_fixed_points(found, jax.tree.map(lambda leaf: leaf[-1], states), ax=right, title="Fixed points of one network")
if not SHORT:
    figure.savefig(Path(__file__).parent / "pictures" / "flip_flop.png", dpi=110)

"""How a trained network holds three bits: its fixed points, as Sussillo and Barak (2013) found them.

An LSTM of eight units learns the 3-bit flip-flop in a few seconds. Without input its state rests at eight stable fixed
points, one for each combination of bits; between them lie saddles, on whose ridges the network decides.

    python examples/states_of_a_flip_flop.py            # writes flip_flop.png
"""

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from jrnn.report import plot_fixed_points
from jrnn.training import Objective, fit

task = jrnn.data.flip_flop(8)
cell = jrnn.lstm(8)


def batch(step: int) -> dict[str, jax.Array]:
    return task.batch(jax.random.fold_in(jax.random.key(0), step), 32)


fitted = fit(cell, Objective.of(task), batch, steps=400, learning_rate=0.03, flow_every=None)
xs = task.batch(jax.random.key(5), 64)["x"]
starts = jrnn.flow.sample_states(cell, fitted.params, xs, 500, key=jax.random.key(1), noise=0.5)
found = jrnn.flow.fixed_points(cell, fitted.params, jnp.zeros(3), starts)
print(fitted)
print(found)

bits = jnp.asarray(found.states.h) @ fitted.loss_params["w"] + fitted.loss_params["bias"]
print("bits       starts  unstable  slowest time constant (steps)")
for i in range(len(found)):
    if found.converged[i]:
        said = " ".join(f"{value:+.0f}" if abs(value) > 0.5 else " 0" for value in np.asarray(bits[i]))
        slowest = found.time_constants[i, 0]
        print(f"{said:9s} {found.starts[i]:7d} {found.unstable_dimension[i]:9d}  {slowest:8.2f}")

states = jrnn.unroll(cell, fitted.params, xs, return_states=True).states
print(f"dimension of the states (participation ratio): {float(jrnn.flow.participation_ratio(states)):.2f}")
plot_fixed_points(found, states, title="A 3-bit flip-flop").figure.savefig("flip_flop.png", dpi=150)

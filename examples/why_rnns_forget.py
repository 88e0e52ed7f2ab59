"""Why recurrent networks forget, on a small network, step by step.

1. Backpropagation through time (BPTT) is one recursion:  delta_{t-1} = J_t^T delta_t + g_{t-1}.
2. So an early state is reached through a product of Jacobians, dh_T/dh_k = J_T ... J_{k+1}.
3. Its size is gain^(T-k): below 1 the gradient vanishes, above 1 it explodes, in the end to NaN.
4. Clipping (gradient, norm, clip, optimizer step, in that order) keeps an exploding run alive, and moves no
   information: every lag is multiplied by the same number.
5. LSTM and GRU change the product itself.

Run: python examples/why_rnns_forget.py [--short]
"""

import sys

import jax
import jax.numpy as jnp
import optax

import jrnn

T, H = 100, 32
SHORT = "--short" in sys.argv
key = jax.random.key(0)
xs = jax.random.normal(jax.random.fold_in(key, 1), (T, 1)) * 0.1


def loss(unrolled):
    """The network should end with this mean: only the last output is asked for anything."""
    return jnp.mean((unrolled.last - 0.5) ** 2)


print("1. One backward pass gives dL/dh_t for every t")
cell = jrnn.elman(H, "tanh")
params = cell.init(key, 1)
value, grads = jrnn.value_and_grads(cell, params, xs, loss)
plain = jax.grad(lambda p: loss(jrnn.unroll(cell, p, xs)))(params)
same = jax.tree.map(lambda a, b: bool(jnp.allclose(a, b, atol=1e-6)), grads.params, plain)
print(f"   loss {value:.4f}; the parameter gradient is jax.grad's: {all(jax.tree.leaves(same))}")

print("\n2. The recursion, and the product of Jacobians behind it")
J = jrnn.jacobians(cell, params, xs)  # [T, N, N], J[i] = dh_{i+1}/dh_i
delta = jrnn.ravel_state(grads.states)  # [T+1, N]
residue = jnp.abs(delta[:-1] - jnp.einsum("tij,ti->tj", J, delta[1:]))[: T - 1].max()
far = jrnn.jacobian_product(J, 0, T)
print(f"   largest |delta_(t-1) - J_t^T delta_t|: {residue:.1e};   |dh_T/dh_0| = {jnp.linalg.norm(far):.1e}")

print("\n3. Vanishing and exploding: a linear network with W = gain * orthogonal")
print("   gain    |dL/dh_T| |dL/dh_T-50|    |dL/dh_0|    ln|dh_T/dh_0| / T")
for gain in (0.9, 1.0, 1.1):
    linear = jrnn.elman(H, "identity", w_rec=jrnn.initializers.orthogonal(gain))
    p = linear.init(key, 1)
    d = jnp.linalg.norm(jrnn.state_gradients(linear, p, xs, loss).h, axis=-1)
    growth = jrnn.scaled_jacobian_product(jrnn.jacobians(linear, p, xs), 0, T).log_singular_values()[0] / T
    norms = "".join(f"{float(d[t]):13.2e}" for t in (T, T - 50, 0))
    print(f"   {gain:.1f} {norms}    {growth:+.4f} nats (ln gain {jnp.log(gain):+.4f})")


def train(cell, optimizer, steps):
    """Plain gradient steps on one sequence; the losses, the last parameters and the optimizer's state."""
    params = cell.init(key, 1)
    state = optimizer.init(params)

    @jax.jit
    def update(params, state):
        value, g = jax.value_and_grad(lambda p: loss(jrnn.unroll(cell, p, xs)))(params)
        updates, state = optimizer.update(g, state, params)
        return optax.apply_updates(params, updates), state, value

    losses = []
    for _ in range(steps):
        params, state, value = update(params, state)
        losses.append(float(value))
    return losses, params, state


print("\n4. Clipping is a bandage")
steps = 20 if SHORT else 300
wild = jrnn.elman(H, "relu", w_rec=jrnn.initializers.orthogonal(1.6))
losses, _, _ = train(wild, optax.sgd(0.01), steps)
first_nan = next((i for i, value in enumerate(losses) if not jnp.isfinite(value)), None)
print(f"   without clipping: the loss is {losses[0]:.1e}, then {losses[1]:.1e}; not finite from update {first_nan}")
clipped = optax.chain(jrnn.clip_by_global_norm(1.0), optax.sgd(0.01))
losses, tamed, state = train(wild, clipped, steps)
seen = state[0]
print(
    f"   with clipping:    {losses[0]:.1e} -> {losses[-1]:.1e}, finite; clipped {seen.clipped} of {seen.steps} updates"
)
flow = jrnn.gradient_flow(wild, wild.init(key, 1), xs, loss, output_times=[T])
g = jax.grad(lambda p: loss(jrnn.unroll(wild, p, xs)))(wild.init(key, 1))
factor = jrnn.clip_by_global_norm(1.0).update(g, jrnn.clip_by_global_norm(1.0).init(g))[1].factor
ratio = flow.credit[0, T] / flow.credit[0, T - 50]
print(f"   clipping multiplies every lag by {factor:.1e}: lag 0 against lag 50 is {ratio:.1e} before and after")

print("\n5. What gates change: how much of dL/dy_T arrives")
print("   cell            lag 10    lag 50    lag 99")
for name, cell in {
    "elman": jrnn.elman(H, w_rec=jrnn.initializers.gaussian(0.9)),
    "gru": jrnn.gru(H),
    "lstm": jrnn.lstm(H),
    "lstm, chrono": jrnn.lstm(H, bias=jrnn.initializers.chrono(T)),
}.items():
    credit = jrnn.gradient_flow(cell, cell.init(key, 1), xs, loss, output_times=[T]).credit[0]
    print(f"   {name:14s}" + "".join(f"{float(credit[T - lag] / credit[T]):10.1e}" for lag in (10, 50, 99)))
print("\nA gate holds the state: J stays near the identity in some directions, and the product does not die.")

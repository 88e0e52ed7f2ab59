"""Recurrent PPO on a T-maze, with jrnn's layer in the agent and `probe` in the place of `value_and_grad`.

The first step of an episode shows which way to turn; a corridor follows that looks the same all along; at its end the
agent turns, and is paid 1 where it turns the right way (Bakker 2002). Only a gradient that reaches back along the
corridor can teach it. Episodes follow each other in one rollout: done flags are the RNN's `resets`. With a corridor of
12 steps every turn is right after 40 updates. At the end the update is timed beside the usual agent's, a GRUCell that
`nn.scan` steps by hand; jrnn's takes half as long.

Run: python examples/recurrent_ppo.py [--short]
"""

import functools
import sys
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import jrnn
from jrnn.interop.linen import RNN, probe

SHORT = "--short" in sys.argv
CORRIDOR, ENVS, STEPS, HIDDEN, UPDATES = (4, 8, 16, 8, 2) if SHORT else (12, 64, 64, 32, 241)
EPOCHS, GAMMA, LAMBDA, CLIP, ENTROPY = 4, 0.99, 0.95, 0.2, 0.02
ON, LEFT, RIGHT = range(3)


def new_episode(key):
    """(place in the corridor, which way to turn) of every environment."""
    return jnp.zeros(ENVS, jnp.int32), jax.random.randint(key, (ENVS,), LEFT, RIGHT + 1)


def look(place, way):
    """[ENVS, 4]: left and right, shown at the start alone; the end of the corridor; a constant."""
    shown = place == 0
    seen = shown & (way == LEFT), shown & (way == RIGHT), place == CORRIDOR, jnp.ones(ENVS, bool)
    return jnp.stack(seen, axis=-1).astype(jnp.float32)


def act(world, action, key):
    """(the world afterwards, reward, done): turning ends the episode at the end, and is a bump before it."""
    place, way = world
    turned = (place == CORRIDOR) & (action != ON)
    reward = jnp.where(turned, jnp.where(action == way, 1.0, -0.1), jnp.where(action == ON, 0.0, -0.1))
    place = jnp.where((action == ON) & (place < CORRIDOR), place + 1, place)
    fresh = new_episode(key)
    return tuple(jnp.where(turned, new, old) for new, old in zip(fresh, (place, way), strict=True)), reward, turned


class ScannedGRU(nn.Module):
    """The usual idiom: one step, scanned over time, which starts anew where an episode does."""

    @functools.partial(nn.scan, variable_broadcast="params", in_axes=1, out_axes=1, split_rngs={"params": False})
    @nn.compact
    def __call__(self, carry, inputs):
        x, first = inputs
        carry = jnp.where(first[:, None], jnp.zeros_like(carry), carry)
        return nn.GRUCell(HIDDEN)(carry, x)


class Agent(nn.Module):
    """(carry, observations [B, T, 4], first steps [B, T]) -> (carry, logits [B, T, 3], values [B, T])."""

    by_hand: bool = False

    @nn.compact
    def __call__(self, carry, seen, first):
        x = nn.tanh(nn.Dense(HIDDEN)(seen))
        if self.by_hand:
            carry, h = ScannedGRU()(carry, (x, first))
        else:
            rnn = RNN(jrnn.gru(HIDDEN, t_max=2 * CORRIDOR), name="memory")
            carry, h = rnn(x, initial_carry=carry, resets=first, return_carry=True)
        return carry, nn.Dense(3)(h), nn.Dense(1)(h)[..., 0]


def rollout(agent, params, start, key):
    """STEPS steps of every environment, (what was seen and done [ENVS, STEPS], where it ended)."""

    def step(state, key):
        world, carry, first = state
        for_action, for_world = jax.random.split(key)
        seen = look(*world)
        carry, logits, value = agent.apply(params, carry, seen[:, None], first[:, None])
        action = jax.random.categorical(for_action, logits[:, 0])
        chance = jax.nn.log_softmax(logits[:, 0])[jnp.arange(ENVS), action]
        world, reward, done = act(world, action, for_world)
        made = {"seen": seen, "first": first, "action": action, "chance": chance, "value": value[:, 0]}
        return (world, carry, done), made | {"reward": reward, "done": done}

    end, made = jax.lax.scan(step, start, jax.random.split(key, STEPS))
    world, carry, first = end
    last = agent.apply(params, carry, look(*world)[:, None], first[:, None])[2][:, 0]

    def advantage(state, inputs):  # generalised advantage estimation
        after, later = state
        value, reward, done = inputs
        surprise = reward + GAMMA * jnp.where(done, 0.0, after) - value
        own = surprise + GAMMA * LAMBDA * jnp.where(done, 0.0, later)
        return (value, own), own

    inputs = made["value"], made["reward"], made["done"]
    _, advantages = jax.lax.scan(advantage, (last, jnp.zeros(ENVS)), inputs, reverse=True)
    batch = made | {"advantage": advantages, "worth": advantages + made["value"]}
    return jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), batch), end


def loss_fn(params, agent, carry, batch):
    """PPO's clipped objective, the values' errors and the entropy."""
    _, logits, values = agent.apply(params, carry, batch["seen"], batch["first"])
    chances = jax.nn.log_softmax(logits)
    ratio = jnp.exp(jnp.take_along_axis(chances, batch["action"][..., None], axis=-1)[..., 0] - batch["chance"])
    gain = (batch["advantage"] - batch["advantage"].mean()) / (batch["advantage"].std() + 1e-8)
    surrogate = jnp.minimum(ratio * gain, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * gain).mean()
    entropy = -(jnp.exp(chances) * chances).sum(-1).mean()
    return 0.5 * ((values - batch["worth"]) ** 2).mean() - surrogate - ENTROPY * entropy


OPTIMIZER = optax.chain(jrnn.clip_by_global_norm(0.5), optax.adam(2e-3))


def learn(agent, params, opt_state, carry, batch, step):
    """EPOCHS updates on one rollout, and the figures of the last one."""

    def update(state, _):
        params, opt_state = state
        given = {"lags": (1, CORRIDOR), "every": 20, "step": step, "opt_state": opt_state}
        _, grads, metrics = probe(loss_fn, params, agent, carry, batch, **given)
        updates, opt_state = OPTIMIZER.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), metrics

    state, metrics = jax.lax.scan(update, (params, opt_state), length=EPOCHS)
    return *state, jax.tree.map(lambda values: values[-1], metrics)


@functools.partial(jax.jit, static_argnums=0)
def iterate(agent, params, opt_state, start, step):
    """A rollout and the updates on it."""
    batch, end = rollout(agent, params, start, jax.random.fold_in(jax.random.key(1), step))
    params, opt_state, metrics = learn(agent, params, opt_state, start[1], batch, step)
    turns = batch["done"].sum()
    right = (batch["done"] & (batch["reward"] > 0)).sum() / jnp.maximum(turns, 1)
    return params, opt_state, end, metrics | {"right": right}


def begin(agent):
    """Parameters, the optimiser's state, and where the environments start."""
    start = new_episode(jax.random.key(0)), jnp.zeros((ENVS, HIDDEN)), jnp.ones(ENVS, bool)
    seen = jnp.zeros((ENVS, 1, 4)), jnp.zeros((ENVS, 1), bool)
    params = agent.init(jax.random.key(2), start[1], *seen)
    return params, OPTIMIZER.init(params), start


def train():
    """The run, with a line now and then."""
    params, opt_state, start = begin(Agent())
    for step in range(UPDATES):
        params, opt_state, start, metrics = iterate(Agent(), params, opt_state, start, step)
        if step % 20 == 0:  # where the lags are measured
            told = ("delta_early", "delta_growth", f"arrival_{CORRIDOR}", "clip_rate")
            figures = (f" {name} {float(metrics[name]):.2g}" for name in told)
            print(f"{step:4d}  {metrics['right']:4.0%} right ", *figures, flush=True)


def time_updates():
    """The updates of one rollout, in turn: jrnn's layer against the cell scanned by hand, both probed."""
    calls = {}
    for name, agent in (("jrnn's layer", Agent()), ("nn.scan over a GRUCell", Agent(by_hand=True))):
        params, opt_state, start = begin(agent)
        batch, _ = jax.jit(functools.partial(rollout, agent))(params, start, jax.random.key(3))
        update = jax.jit(functools.partial(learn, agent))
        calls[name] = functools.partial(update, params, opt_state, start[1], batch, 1)
        jax.block_until_ready(calls[name]())
    times = {name: [] for name in calls}
    for _ in range(3 if SHORT else 40):
        for name, call in calls.items():
            since = time.perf_counter()
            jax.block_until_ready(call())
            times[name].append(time.perf_counter() - since)
    taken = {name: 1e3 * sorted(each)[len(each) // 2] for name, each in times.items()}
    print("updates of one rollout:", ", ".join(f"{name} {each:.1f} ms" for name, each in taken.items()))


train()
time_updates()

"""Clipping is a bandage: it saves a run, and moves no gradient from lag to lag. Real data: digits, pixel by pixel.

1. The gradient split by lag, G_tau. Clipping the whole gradient multiplies every G_tau by one number: the profile
   ||G_tau|| / ||G_0|| stays what it was, before and after training. A clip of dL/dh_t at every step changes it.
2. Whole runs, with and without clipping, from the same weights on the same batches: how many end in NaN, and how far
   back the gradient of the last output reaches afterwards.

Run: python examples/clipping_is_a_bandage.py [--short]     (the figure: in pictures/ beside this file)
"""

import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import jrnn
from jrnn.data import load

SHORT = "--short" in sys.argv
STEPS, SEEDS, SEEN = (12, 2, 8) if SHORT else (400, 12, 32)
HIDDEN, BATCH, MAX_NORM, LAG = 32, 32, 1.0, 16
GAUSSIAN = jrnn.initializers.gaussian(1.0)
SETTINGS = (  # recurrent weights at the start, learning rate of plain SGD
    ("Gaussian", GAUSSIAN, 0.01),
    ("Gaussian", GAUSSIAN, 0.03),
    ("Gaussian", GAUSSIAN, 0.3),
    ("identity", "identity", 0.1),
)[:: 3 if SHORT else 1]
jax.config.update("jax_enable_x64", True)  # for part 1; part 2 trains in float32, as one does
data = load("digits")
x, y = jnp.asarray(data.x[data.train]), jnp.asarray(data.y[data.train])
seen, labels = np.moveaxis(data.x[data.test][:SEEN], 0, 1), data.y[data.test][:SEEN]
T = seen.shape[0]


def loss(head, unrolled, labels):
    """Cross-entropy of the class, asked for after the last pixel."""
    logits = unrolled.last @ head["w"] + head["b"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def on_seen(head, unrolled):
    return loss(head, unrolled, labels)


def network(w_rec, dtype):
    return jrnn.elman(HIDDEN, "relu", w_rec=w_rec, dtype=dtype)


def weights(cell, seed):
    key = jax.random.key(seed)
    w = jax.random.normal(jax.random.fold_in(key, 1), (HIDDEN, 10), jnp.float32) / HIDDEN**0.5
    return {"cell": cell.init(key, 1), "head": {"w": w, "b": jnp.zeros(10, jnp.float32)}}


def train(cell, optimizer, start):
    """Plain updates, nothing skipped; (the last weights, the optimizer's state) of all seeds side by side."""

    def one(w, seed):
        def update(carry, i):
            w, state = carry
            rows = jax.random.randint(jax.random.fold_in(jax.random.key(seed), i), (BATCH,), 0, len(x))
            xs = jnp.moveaxis(x[rows], 0, 1)
            g = jax.grad(lambda w: loss(w["head"], jrnn.unroll(cell, w["cell"], xs), y[rows]))(w)
            step, state = optimizer.update(g, state, w)
            return (optax.apply_updates(w, step), state), None

        return jax.lax.scan(update, (w, optimizer.init(w)), jnp.arange(STEPS))[0]

    return jax.jit(jax.vmap(one))(start, jnp.arange(SEEDS))


@jax.jit
def proof_at(w):
    cell = network(GAUSSIAN, "float64")
    return jrnn.clipping_proof(cell, w["cell"], seen, on_seen, loss_params=w["head"], max_norm=MAX_NORM)


def prove(title, w):
    """Part 1, at one set of weights: the three lag profiles, in float64."""
    proof = proof_at(jax.tree.map(lambda a: a.astype(jnp.float64), w))
    p, q, r = (proof.profile(n) for n in (proof.lag_norms, proof.clipped_lag_norms, proof.per_step_lag_norms))
    print(f"   {title}: clipped to {MAX_NORM:g}, which multiplied by {proof.coefficient:.4g}")
    print(f"      (from entry to entry that differs by {proof.coefficient_spread:.0e}; the pieces sum to the clipped")
    print(f"      gradient to {proof.sum_error:.0e}, under the per-step clip to {proof.per_step_sum_error:.0e})")
    print("      lag                     1         4        16        32")
    for name, profile in (("unclipped", p), ("clipped as a whole", q), ("clipped every step", r)):
        print(f"      {name:18s}" + "".join(f"{float(profile[tau]):10.2e}" for tau in (1, 4, 16, 32)))
    print(f"      largest difference of profiles: {proof.largest_difference:.1e} by the global clip, "
          f"{proof.largest_per_step_difference:.1e} by the per-step clip")  # fmt: skip
    return p, q, r


def measure(cell, many):
    """[seeds, 3]: the largest lag where 1 % arrives, ln(arriving) / LAG at LAG steps, the loss; NaN if not finite."""
    flow_of = jax.jit(
        lambda w: jrnn.gradient_flow(
            cell, w["cell"], seen, on_seen, loss_params=w["head"], output_times=jnp.array([T]), lag_gradients=False
        )
    )
    found = np.full((SEEDS, 3), np.nan)
    for i in range(SEEDS):
        w = jax.tree.map(lambda a, i=i: a[i], many)
        value = on_seen(w["head"], jrnn.unroll(cell, w["cell"], seen))
        if all(np.isfinite(leaf).all() for leaf in (*jax.tree.leaves(w), value)):
            verdict = flow_of(w).verdict(LAG)
            found[i] = verdict.reach, np.log(verdict.arriving) / LAG, value
    return found


def spread(values, form):
    """median (least to largest) of those that are finite."""
    values = values[np.isfinite(values)]
    if not len(values):
        return "-"
    return f"{np.median(values):{form}} ({values.min():{form}} to {values.max():{form}})"


print(f"Digits, {T} pixels one after the other; ReLU, {HIDDEN} units.\n1. The lags of one gradient")
sgd = {False: optax.sgd, True: lambda rate: optax.chain(jrnn.clip_by_global_norm(MAX_NORM), optax.sgd(rate))}
profiles, trained, results = [], None, []
for name, w_rec, rate in SETTINGS:
    cell = network(w_rec, "float32")
    start = jax.vmap(lambda seed, cell=cell: weights(cell, seed))(jnp.arange(SEEDS))
    ends = {clip: train(cell, sgd[clip](rate), start) for clip in (False, True)}
    if trained is None:
        trained = jax.tree.map(lambda a: a[0], ends[True][0])
        prove("before training", jax.tree.map(lambda a: a[0], start))
        prove("after training (seed 0, clipped)", trained)
        profiles = prove(
            "an exploding start, gain 2.5", weights(network(jrnn.initializers.gaussian(2.5), "float32"), 0)
        )
        print(f"\n2. {SEEDS} seeds, {STEPS} updates each, with and without a clip to {MAX_NORM:g}: median (range)")
    before = measure(cell, start)
    after = {clip: measure(cell, ends[clip][0]) for clip in ends}
    bound = jrnn.cures.clip_rate(ends[True][1])
    print(f"   {name} start, learning rate {rate:g}: clipping had something to clip in {bound.mean():.0%} of updates")
    print("                      not finite  loss                   reach, steps        nats per step to lag 16")
    for title, rows in (("before training", before), ("without clipping", after[False]), ("clipped", after[True])):
        dead = f"{np.isnan(rows[:, 2]).sum()} of {SEEDS}"
        print(f"      {title:16s}  {dead:>8s}    {spread(rows[:, 2], '.2f'):22s} {spread(rows[:, 0], '.0f'):18s}  "
              f"{spread(rows[:, 1], '+.3f')}")  # fmt: skip
    both = np.isfinite(after[False][:, 2] + after[True][:, 2])
    gap = (after[True] - after[False])[both]
    longer, shorter = (gap[:, 0] > 0).sum(), (gap[:, 0] < 0).sum()
    print(f"      clipped - without, the {both.sum()} seeds where both live: reach {spread(gap[:, 0], '+.0f')} "
          f"(longer in {longer}, shorter in {shorter}), "
          f"growth {spread(gap[:, 1], '+.3f')}\n")  # fmt: skip
    results.append((f"{name[:8]}\n{rate:g}", before, after[False], after[True]))

alive = [np.isfinite([stage[:, 2] for stage in stages]) for _, *stages in results]
pairs = [after - plain for (_, _, plain, after), ok in zip(results, alive, strict=True) if ok[1].any()]
gap = np.concatenate(pairs or [np.zeros((0, 3))])[:, 0]
runs = SEEDS * len(results)
print(f"   Of {runs} runs {sum(int(ok[1].sum()) for ok in alive)} stayed finite without clipping and "
      f"{sum(int(ok[2].sum()) for ok in alive)} with it.")  # fmt: skip
print(
    f"   Reach, clipped - without, the {np.isfinite(gap).sum()} runs that lived both ways: {spread(gap, '+.0f')} steps."
)
print("   A clip leaves the lags of each gradient as they are (1). It does change which way training takes, and so, to")
print("   either side, the reach that training ends with (2): no cure of the flow itself.")

figure = Figure(figsize=(9, 4), layout="constrained")
FigureCanvasAgg(figure)
left, right = figure.subplots(1, 2)
styles = (
    ("unclipped", "#0072B2", "-", 4),
    ("clipped as a whole", "#F0E442", "--", 2),
    ("every step", "#D55E00", "-", 2),
)
for (title, colour, line, width), profile in zip(styles, profiles, strict=True):
    left.semilogy(np.asarray(profile[:T]), line, color=colour, lw=width, label=title)
left.set(xlabel="lag, steps", ylabel="||G_lag|| / ||G_0||", title="One exploding gradient, clipped in two ways")
left.legend(frameon=False)
for place, (_, *stages) in enumerate(results):
    for shift, rows, colour, mark in zip((-0.2, 0, 0.2), stages, ("#6b7480", "#D55E00", "#0072B2"), "os^", strict=True):
        right.plot(np.full(SEEDS, place + shift), rows[:, 0], mark, color=colour, alpha=0.7, ms=5)
for title, colour, mark in zip(("before", "trained", "trained, clipped"), ("#6b7480", "#D55E00", "#0072B2"), "os^"):
    right.plot([], [], mark, color=colour, label=title)
right.set(xticks=range(len(results)), ylabel="reach, steps", title="How far back 1 % arrives; one mark a seed")
right.set_xticklabels([name for name, *_ in results])
right.legend(frameon=False, loc="lower right")
path = (Path(tempfile.mkdtemp()) if SHORT else Path(__file__).parent / "pictures") / "clipping_is_a_bandage.png"
figure.savefig(path, dpi=120)
print(f"figure: {path}")

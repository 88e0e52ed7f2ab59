"""Bad input to the cures; nothing here is compiled."""

from functools import cache

import jax
import numpy as np

import jrnn
from jrnn import cures, interop

from .rows import Call

CELL = jrnn.elman(2)
GRU = jrnn.gru(2)
BOTH = jrnn.cells.Bidirectional(CELL)
KEY = jax.random.key(0)
NAN, INF = float("nan"), float("inf")
XS = np.ones((4, 3, 2), np.float32)
NO_COUNT = (0, -1, 1.5, True, None, "3")
NO_WEIGHT = (-1.0, NAN, INF, "1", None, True)
NO_SHARE = (-0.1, 1.1, NAN, "half", None, True)


@cache
def params(cell=CELL):
    with jax.ensure_compile_time_eval():  # the first row to ask may be under jit
        return cell.init(jax.random.key(0), 2)


def tuned(cell=CELL, xs=XS, **options):
    return cures.tune_gain(cell, params(), xs, **options)


def flossed(cell=CELL, xs=XS, **options):
    return cures.floss(cell, params(), xs, **options)


def opened(lag=20, cell=GRU, key=KEY):
    return cures.open_gates(cell, params(GRU), lag, key=key)


def counting():
    """A cell whose state is an integer."""
    return jrnn.from_functions(
        init=None, initial_state=lambda p, b: np.zeros((*b, 1), np.int32), step=lambda p, s, x: s + p["w_rec"]
    )


def holding():
    """A cell without weights."""
    return jrnn.from_functions(init=None, initial_state=lambda p, b: np.zeros((*b, 1)), step=lambda p, s, x: s)


def each(name, argument, call, values, *words):
    """One row for each value."""
    # a function is told by its name: pytest's workers must agree on the names of the tests
    spelled = [getattr(value, "__name__", f"{value!r:.40}") for value in values]
    return [
        Call(f"{name} {text}", argument, lambda value=value: call(value), words) for value, text in zip(values, spelled)
    ]


ROWS = [
    # tune_gain and floss
    *[
        row
        for name, call in (("tune_gain", tuned), ("floss", flossed))
        for row in (
            Call(f"{name}, a name for a cell", "cell", lambda call=call: call("gru"), ("a cell such as",)),
            Call(f"{name}, both directions", "cell", lambda call=call: call(BOTH), ("each direction",)),
            Call(f"{name}, no steps", "xs", lambda call=call: call(xs=XS[:0]), ("(0, 3)", "at least one step")),
            Call(f"{name}, no sequence", "xs", lambda call=call: call(xs=XS[:, :0]), ("(4, 0)",)),
            Call(f"{name}, text", "xs", lambda call=call: call(xs="abc"), ("numbers",)),
            Call(f"{name}, lengths above T", "lengths", lambda call=call: call(lengths=[1, 9, 2]), ("T = 4",)),
            Call(f"{name}, a seed", "key", lambda call=call: call(key=3), ("jax.random.key",)),
            *each(f"{name}, target", "target", lambda v, call=call: call(target=v), (NAN, INF, "0", None, [0.0])),
        )
    ],
    Call("tune_gain, an integer state", "cell",
         lambda: cures.tune_gain(counting(), {"w_rec": np.ones((1, 1))}, XS), ("int32",)),
    Call("tune_gain, no recurrent weights", "cell", lambda: cures.tune_gain(holding(), {"a": XS}, XS), ("w_rec",)),
    Call("tune_gain, a warm-up of the whole run", "warmup", lambda: tuned(warmup=4), ("T = 4",)),
    *each("tune_gain, warm-up", "warmup", lambda v: tuned(warmup=v), (-1, 1.5, True, "1")),
    *each("tune_gain, tolerance", "tolerance", lambda v: tuned(tolerance=v), (0, -1.0, NAN, INF, "a", None)),
    *each("floss, k", "k", lambda v: flossed(k=v), NO_COUNT),
    *each("floss, window", "window", lambda v: flossed(window=v), NO_COUNT),
    *each("floss, steps", "steps", lambda v: flossed(steps=v), (-1, 1.5, True, None)),
    *each("floss, rate", "learning_rate", lambda v: flossed(learning_rate=v), (0, -1.0, NAN, INF, "a", None)),
    # penalties
    *[
        row
        for penalty in (cures.omega, cures.activation_penalty, cures.temporal_activation_penalty,
                        cures.norm_stabilizer, cures.lyapunov_penalty)
        for row in each(f"{penalty.__name__}, weight", "weight", penalty, NO_WEIGHT)
    ],
    *each("omega, form", "form", lambda v: cures.omega(form=v), ("eq9", None, 2)),
    *each("lyapunov_penalty, k", "k", lambda v: cures.lyapunov_penalty(k=v), NO_COUNT),
    *each("lyapunov_penalty, every", "every", lambda v: cures.lyapunov_penalty(every=v), NO_COUNT),
    *each("lyapunov_penalty, target", "target", lambda v: cures.lyapunov_penalty(target=v), (NAN, "0", None)),
    # wrappers
    *each("scale_gradient, cell", "cell", cures.scale_gradient, ("gru", None, jrnn.gru)),
    *each("scale_gradient, h", "h", lambda v: cures.scale_gradient(GRU, h=v), (-0.5, NAN, INF, "1", None, True)),
    *each("h_detach, p", "p", lambda v: cures.h_detach(GRU, v), NO_SHARE),
    *each("zoneout, cell", "cell", jrnn.zoneout, ("gru", None, jrnn.gru)),
    *each("zoneout, rate", "rate", lambda v: jrnn.zoneout(GRU, v), NO_SHARE),
    *each("zoneout, memory", "memory", lambda v: jrnn.zoneout(GRU, memory=v), (-0.1, 1.1, NAN, "half", True)),
    # open_gates
    *each("open_gates, lag", "lag", opened, (2, 1.0, 0, -5, NAN, INF, "200", None, True), "above 2"),
    *each("open_gates, cell", "cell", lambda v: cures.open_gates(v, params(), 9, key=KEY),
          (CELL,), "jrnn.lstm, jrnn.gru", "jrnn.leaky"),
    Call("open_gates, a name", "cell", lambda: opened(cell="lstm"), ("a cell such as",)),
    Call("open_gates, no key", "key", lambda: opened(key=None), ("jax.random.key",)),
    *each("interop.open_gates, lag", "lag", lambda v: interop.open_gates({}, v, key=KEY), (2, NAN, "200")),
    *each("interop.open_gates, weights", "weights", lambda v: interop.open_gates(v, 9, key=KEY),
          ({}, [1], None, {"kernel": XS}), "LSTMCell", "nn.GRU"),
    # teacher forcing
    *each("teacher_forced, cell", "cell", lambda v: cures.teacher_forced(v, 1), ("gru", None, BOTH)),
    *each("teacher_forced, observed", "observed", lambda v: cures.teacher_forced(GRU, v), NO_COUNT),
    *each("teacher_forced, too few features", "input_size",
          lambda v: cures.teacher_forced(GRU, 2).init(KEY, v), (None, 2), "3 or more"),
    *each("forcing, every", "every", lambda v: cures.forcing(XS, every=v), (0, -1, 1.5, True, "3", None)),
    *each("forcing, alpha", "alpha", lambda v: cures.forcing(XS, alpha=v), (-0.1, 1.1, NAN, "half", True)),
    Call("forcing, both", "every", lambda: cures.forcing(XS, every=2, alpha=0.5), ("one of the two",)),
    *each("forcing, series", "series", lambda v: cures.forcing(v, every=2), ("abc", np.ones(3), np.ones((3, 2), int))),
    Call("measured_alpha, a bare cell", "cell", lambda: cures.measured_alpha(CELL, params(), XS), ("teacher_forced",)),
    Call("measured_alpha, mean", "mean", lambda: cures.measured_alpha(cures.teacher_forced(CELL, 1), params(), XS,
                                                                      mean="median"), ("geometric",)),
    # clips
    *each("auto_clip, percentile", "percentile", cures.auto_clip, (-1, 101, NAN, "10", None, True)),
    *each("auto_clip, window", "window", lambda v: cures.auto_clip(window=v), NO_COUNT),
    *each("z_clip, threshold", "threshold", cures.z_clip, (0, -1.0, NAN, INF, "2", None)),
    *each("z_clip, decay", "decay", lambda v: cures.z_clip(decay=v), (-0.1, 1.0, NAN, "1", None)),
    *each("z_clip, warmup", "warmup", lambda v: cures.z_clip(warmup=v), NO_COUNT),
    *each("z_clip, max_norm", "max_norm", lambda v: cures.z_clip(max_norm=v), (0, -1.0, NAN, "1", None)),
]  # fmt: skip

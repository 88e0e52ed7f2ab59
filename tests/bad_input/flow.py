"""Bad input to the instruments, to theory, to the proof about clipping and to the report."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from jrnn import flow, report
from jrnn.cures import clipping_proof
from jrnn.flow.verdicts.verdict import judge

from ..report import samples
from .rows import Call

CELL = jrnn.elman(2)
BOTH = jrnn.cells.Bidirectional(CELL)
T, S, F = 4, 3, 2
J = np.zeros((T, S, 2, 2), np.float32)
NAN, INF = float("nan"), float("inf")


@cache
def params():
    with jax.ensure_compile_time_eval():  # the first row to ask may be under jit
        return CELL.init(jax.random.key(0), F)


@cache
def xs():
    return np.ones((T, S, F), np.float32)


def last(u):
    return jnp.sum(u.last)


@cache
def measured():
    """A flow of 3 steps back, as the instrument would give it."""
    credit = np.ones((1, T + 1, S), np.float32)
    nothing = {name: None for name in flow.GradientFlow._fields}
    known = dict(
        credit=credit, output_times=np.array([T]), lag_norms=np.ones(T + 1), segments=np.zeros((T + 1, S), int),
        reverse=np.array(False), state_norms=credit[0], sum_error=np.float32(0), exact=np.array(True),
    )  # fmt: skip
    return flow.GradientFlow(**(nothing | known))


@cache
def spectrum():
    """Of 3 renewals."""
    nothing = {name: None for name in flow.LyapunovSpectrum._fields}
    return flow.LyapunovSpectrum(**(nothing | {"log_r": np.zeros((3, 2)), "size": 2}))


def split(loss=last, cell=CELL, x=None, **options):
    return jrnn.gradient_flow(cell, params(), xs() if x is None else x, loss, **options)


def summed(x=None, lag=1, **options):
    return flow.summarise(CELL, params(), xs() if x is None else x, last, lag=lag, **options)


def followed(x=None, **options):
    return jrnn.lyapunov_spectrum(CELL, params(), xs() if x is None else x, **options)


def windowed(windows=((0, 1),), **options):
    return jrnn.window_singular_values(CELL, params(), xs(), windows, **options)


def rested(starts=((0.0, 0.0),), x=(0.0, 0.0), cell=CELL, **options):
    return flow.fixed_points(cell, params(), np.array(x), np.array(starts), **options)


def drawn(count=3, x=None, **options):
    return flow.sample_states(CELL, params(), xs() if x is None else x, count, **{"key": jax.random.key(0), **options})


def proved(max_norm=1.0, **options):
    return clipping_proof(CELL, params(), xs(), last, max_norm=max_norm, **options)


def traced(call):
    """`call` of a number that only exists under jit."""
    return lambda: jax.jit(lambda number: call(number) and number)(1)


def each(name, argument, call, values, *words):
    """One row a value."""
    return [
        Call(f"{name} {value!r:.30}", argument, (lambda value=value: call(value)), (*words,))
        for value in values
    ]  # fmt: skip


NO_COUNT = (0, -1, 1.5, NAN, INF, True, "3", None, [2], np.float32(2))
NO_POSITIVE = (0, -1.0, NAN, True, "1", [1.0, 2.0], 1j, np.array([1.0]), np.bool_(True))
NO_VARIANCE = (-1, NAN, INF, True, "0", None, [0.1])

ROWS = [
    # gradient_flow
    Call("a name for a cell", "cell", lambda: split(cell="lstm"), ("a cell such as",)),
    Call("a class for a cell", "cell", lambda: split(cell=type(CELL)), ("a cell such as",)),
    Call("two directions at once", "cell", lambda: split(cell=BOTH), ("each direction",)),
    Call("a clip inside the cell", "cell", lambda: split(cell=jrnn.clip_state_gradient(CELL, 1.0)), ("proof",)),
    Call("a flow of one number a step", "xs", lambda: split(x=np.ones(3)), ("*B",)),
    Call("a flow of text", "xs", lambda: split(x=np.array([["a"]])), ("numbers",)),
    *each("a flow of", "output_times", lambda t: split(output_times=t),
          ([0], [T + 1], [-1], [1.0], [True], [[1, 2]], [1, 1], 2, "last", [1, "b"], [NAN])),
    *each("so many pairs:", "max_pairs", lambda n: split(max_pairs=n), NO_COUNT),
    Call("pairs under jit", "max_pairs", traced(lambda n: split(max_pairs=n)), ("positive number",)),
    *[Call(f"a flow with {name}", name, lambda name=name: split(**{name: 1}), ("time-major",))
      for name in ("time_axis", "return_states", "state_tap")],
    Call("a loss of no output", "loss", lambda: split(loss=lambda u: jnp.zeros(())), ("depends on the outputs",)),
    Call("states that are no numbers", "params, xs", lambda: split(x=np.full((T, S, F), np.nan)), ("finite states",)),
    # verdicts
    *each("the verdict at lag", "lag", lambda lag: measured().verdict(lag),
          (-1, T, 1.5, NAN, INF, True, "3", None, [1], np.float64(1)), f"0 to {T - 1}"),
    Call("a lag under jit", "lag", traced(lambda lag: measured().verdict(lag)), ("0 to 3",)),
    *each("a confidence of", "level", lambda level: measured().verdict(1, level=level),
          (0, 1, -0.5, 95, NAN, True, "0.9", None, [0.9], 1j), "between 0 and 1"),
    Call("a confidence under jit", "level", traced(lambda level: measured().verdict(1, level=level))),
    Call("a confidence for judge", "level", lambda: judge(measured().arrival(), 1, True, "high")),
    Call("a verdict under jit", "flow", traced(lambda c: measured()._replace(credit=c).verdict(1)), ("values",)),
    *each("a horizon of", "share", lambda share: measured().effective_horizon(share),
          (0, -1, 2, NAN, INF, True, "0.5", None, [0.5], 95), "above 0 and at most 1"),
    Call("a horizon under jit", "share", traced(lambda share: measured().effective_horizon(share)), ("not traced",)),
    # summarise
    *each("a summary at lag", "lag", lambda lag: summed(lag=lag), (-1, T, 1.5, NAN, True, "1", None), "0 to T - 1"),
    *each("a summary of outputs:", "max_outputs", lambda n: summed(max_outputs=n), (0, -1, 1.5, NAN, True, "all")),
    *each("a summary of Jacobians:", "max_jacobians", lambda n: summed(max_jacobians=n), NO_COUNT),
    Call("a summary of one sequence without its axis", "xs", lambda: summed(x=np.ones((T, F))), ("[T, S, F]",)),
    Call("a summary of nothing", "xs", lambda: summed(x=np.ones((T, 0, F))), ("at least one",)),
    Call("a summary of lengths beyond T", "lengths", lambda: summed(lengths=[1, 2, 9]), ("0 to T",)),
    Call("a summary of half lengths", "lengths", lambda: summed(lengths=[1.5, 2, 3]), ("integers",)),
    Call("a summary under jit", "params, xs", lambda: jax.jit(lambda x: summed(x).at_lag)(xs()), ("host",)),
    # Jacobians and their products
    *each("Jacobians by", "method", lambda how: jrnn.jacobians(CELL, params(), xs(), method=how), ("reverse", None, 3)),
    Call("Jacobians of two directions", "cell", lambda: jrnn.jacobians(BOTH, params(), xs()), ("each direction",)),
    Call("Jacobians of a module", "cell", lambda: jrnn.jacobians(np, params(), xs())),
    *each("a product from and to", "k, t", lambda pair: jrnn.jacobian_product(J, *pair),
          ((2, 1), (-1, 1), (0, 5), (0.0, 1), (0, 2.5), (True, 2), (NAN, 1), ("0", 1), (None, 1), ([0], 1)),
          "0 <= k <= t"),
    Call("a product under jit", "k, t", traced(lambda t: jrnn.jacobian_product(J, 0, t)), ("static under jit",)),
    *each("a scaled product", "k, t", lambda pair: flow.scaled_jacobian_product(J, *pair), ((2, 1), (0, INF))),
    *[Call(f"{name} of {what}", "J", lambda of=of, bad=bad: of(bad), (word,))
      for name, of in {"a product": lambda J: jrnn.jacobian_product(J, 0, 1), "the radius": jrnn.spectral_radius,
                       "a scaled product": lambda J: flow.scaled_jacobian_product(J, 0, 1),
                       "the condition": jrnn.condition_number}.items()
      for what, bad, word in (("no square", np.ones((2, 2, 3)), "N, N]"), ("a vector", np.ones(3), "N, N]"),
                              ("size 0", np.ones((2, 0, 0)), "N >= 1"), ("text", "J", "numbers"), ("None", None, "J"),
                              ("integers", np.ones((2, 2, 2), int), "floating"),
                              ("complex numbers", np.ones((2, 2, 2), complex), "floating"),
                              ("ragged rows", [[1.0, 2.0], [3.0]], "numbers"))],
    # windows
    *each("windows", "windows", windowed,
          ([(3, 1)], [(0, T + 1)], [(-1, 1)], [(0.0, 2)], [(True, 2)], [(0, NAN)], [("0", 1)], None, 5, [1, 2],
           [(0, 1, 2)])),
    Call("windows under jit", "windows", traced(lambda t: windowed([(0, t)])), ("static under jit",)),
    *each("windows with top", "top", lambda top: windowed(top=top), (0, -1, 3, 1.5, NAN, True, "1"), "N = 2"),
    *each("windows by", "method", lambda method: windowed(method=method), ("svd", None, 3), "'auto'"),
    *each("windows with iterations", "iterations", lambda n: windowed(iterations=n), (0, 1.5, NAN, True, None)),
    # Lyapunov exponents
    *each("exponents every", "every", lambda n: followed(every=n), NO_COUNT, "positive number of steps"),
    *each("exponents after", "warmup", lambda n: followed(warmup=n), (-1, T, 100, 1.5, NAN, INF, True, "1", None)),
    *each("so many exponents:", "k", lambda k: followed(k=k), (0, -1, 3, 1.5, NAN, True, "2", [1]), "N = 2"),
    *[Call(f"exponents with {name} under jit", name, traced(lambda n, name=name: followed(**{name: n})))
      for name in ("every", "warmup", "k")],
    *each("an autonomous run of", "length", lambda n: jrnn.lyapunov_spectrum(CELL, params(), length=n),
          (None, -1, 2.0, NAN, True, "9"), "number of steps"),
    *each("exponents with key", "key", lambda key: followed(key=key), (3, "seed", 0.5), "PRNG key"),
    Call("exponents of two directions", "cell", lambda: jrnn.lyapunov_spectrum(BOTH, params(), xs())),
    Call("exponents of lengths beyond T", "lengths", lambda: followed(lengths=[1, 2, 9]), ("0 to T",)),
    Call("exponents of too few lengths", "lengths", lambda: followed(lengths=[1, 2]), ("one length a sequence",)),
    *each("exponents in windows of", "window", lambda n: spectrum().finite_time(n), (*NO_COUNT, 4)),
    # fixed points
    Call("fixed points of two directions", "cell", lambda: rested(cell=BOTH), ("each direction",)),
    *each("fixed points from", "starts", rested, ((), ((0.0,),), 0.0, ((1, 2),), ((1j, 0),), ((("a", "b"),)))),
    Call("fixed points from a state", "starts", lambda: flow.fixed_points(
        CELL, params(), np.zeros(2), jrnn.ElmanState(jnp.zeros((3, 4)))), ("[3, 4]", "[3, 2]")),
    Call("fixed points under jit", "starts", traced(lambda n: rested(cell=CELL) if n is None else flow.fixed_points(
        CELL, params(), np.zeros(2), jnp.full((1, 2), 1.0) * n)), ("known values",)),
    *each("fixed points at", "x", lambda x: rested(x=x), (0.0, ((0.0, 0.0),), (((0.0, 0.0),),))),
    *each("fixed points within", "tolerance", lambda t: rested(tolerance=t), (0, -1.0, NAN, INF, "1", True)),
    *each("fixed points apart", "unique", lambda d: rested(unique=d), (-1.0, NAN, INF, "1", None, True)),
    *each("fixed points in steps", "iterations", lambda n: rested(iterations=n), NO_COUNT),
    *each("states to draw:", "count", drawn, NO_COUNT),
    *each("states with noise", "noise", lambda n: drawn(noise=n), (-1.0, NAN, INF, "1", None, True)),
    *each("states with key", "key", lambda key: drawn(key=key), (3, "seed", None), "PRNG key"),
    Call("states of no step", "xs", lambda: drawn(x=xs()[:0]), ("no step",)),
    Call("states of padding", "xs", lambda: drawn(lengths=np.zeros(S, int)), ("no step",)),
    *each("a dimension of", "states", flow.participation_ratio, (np.zeros((3, 2), int), np.float32(1), ["a"], None)),
    *each("a dimension with", "mask", lambda mask: flow.participation_ratio(np.zeros((3, 2)), mask=mask),
          (np.ones((3, 2), bool), np.ones(3), np.ones(2, bool))),
    # theory
    *each("a mean field of gain", "gain", flow.mean_field, (*NO_POSITIVE, INF, None), "positive number"),
    *each("a mean field of variance", "input_variance", lambda s: flow.mean_field(1.0, s), NO_VARIANCE, "at least 0"),
    *each("a critical gain of variance", "input_variance", flow.critical_gain, NO_VARIANCE, "at least 0"),
    *each("a Gaussian product of sigma", "sigma", lambda s: flow.gaussian_product_exponents(3, s), (*NO_POSITIVE, INF)),
    *each("a Gaussian product of size", "size", flow.gaussian_product_exponents, NO_COUNT, "positive matrix size"),
    *each("errors of size", "size", lambda n: flow.gaussian_product_errors(n, 5), NO_COUNT, "positive matrix size"),
    *each("errors of factors:", "factors", lambda n: flow.gaussian_product_errors(5, n), NO_COUNT, "of matrices"),
    *each("a mean field of", "activation", lambda name: flow.mean_field(1.0, 0.0, name), ("gelu", None, 3, ["tanh"])),
    *each("a critical gain of", "activation", lambda name: flow.critical_gain(0.1, name), ("gelu", None, ["tanh"])),
    *each("a norm bound of", "activation", lambda name: flow.norm_bound(np.eye(2), name), ("gelu", None, 3, ["tanh"])),
    *each("a norm bound of weights", "w_rec", flow.norm_bound,
          (3.0, np.ones((2, 3)), np.ones((0, 0)), np.ones(3), np.full((2, 2), NAN), [[1, 2], [3]], "w", None,
           np.full((2, 2), 1j), np.full((1, 1), INF))),
    *each("a half-life of", "gate", flow.gate_half_life,
          (0.5, [], [[]], [1.5], [-0.1], [NAN], ["0.5"], [0.5j], None, [[0.5], [0.5, 1.0]])),
    *[Call(f"theory under jit: {name}", name, traced(call)) for name, call in {
        "gain": flow.mean_field, "input_variance": flow.critical_gain, "size": flow.gaussian_product_exponents,
        "sigma": lambda sigma: flow.gaussian_product_exponents(3, sigma),
        "factors": lambda factors: flow.gaussian_product_errors(3, factors),
        "w_rec": lambda n: flow.norm_bound(jnp.full((2, 2), n)), "gate": lambda n: flow.gate_half_life(jnp.full(2, n)),
    }.items()],
    # the proof about clipping
    *each("a proof at", "max_norm", proved, NO_POSITIVE + (None, "all")),
    *each("a proof at every step at", "step_max_norm", lambda limit: proved(step_max_norm=limit), NO_POSITIVE),
    Call("a proof at a traced complex norm", "max_norm", traced(lambda n: proved(n * 1j))),
    Call("a proof of pairs", "max_pairs", lambda: proved(max_pairs=0)),
    Call("a proof of a name", "cell", lambda: clipping_proof("lstm", params(), xs(), last, max_norm=1.0)),
    # the report
    *each("report: fixed points of", "found", report.plot_fixed_points, (None, ((0.0, 0.0),))),
    Call("report: no fixed points", "found", lambda: report.plot_fixed_points(rested()[:0]), ("no points",)),
    Call("report: other paths", "trajectories", lambda: report.plot_fixed_points(rested(), np.ones((4, 3))), ("[T,",)),
    *each("report: over seeds", "values", report.plot_over_seeds,
          (None, {}, "loss", np.zeros(3), np.zeros((0, 3)), {"a": [[1.0], [1.0, 2.0]]})),
    Call("report: x over seeds", "x", lambda: report.plot_over_seeds(np.zeros((2, 3)), np.zeros(2)), ("(3,)",)),
    *[Call(f"report: {name} of {value!r:.20}", "measured" if name.startswith("plot") else "diagnosis",
           lambda name=name, value=value: getattr(report, name)(value))
      for name in report.__all__ if name.startswith("plot") or name in ("print_report", "to_json")
      if name not in ("plot_fixed_points", "plot_over_seeds")
      for value in (None, {"stages": ()}, report.Diagnosis("no stages", {}, {}, ()))],
    *each("report: read", "report", report.read_report, (None, 3, "nowhere", "")),
    *each("report: axes", "ax", lambda ax: report.plot_lag_profile(samples.diagnosis(), ax=ax), ("left", 3, [])),
    *each("report: a page of", "diagnosis", lambda bad: report.write_report(bad, "out"), (None, "digits", [])),
]  # fmt: skip

"""Values and every gradient of every implementation against the spec, `reference.run`, by XLA's autodiff."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrnn.kernels.implementations import native, reference

from .cases import (
    CASES,
    EMULATED,
    IMPLEMENTATIONS,
    KINDS,
    Case,
    able,
    close,
    cotangents_like,
    fields,
    kernel,
    make,
    pulled,
    replaced,
)

SUMMED = ("w_in", "w_rec", "bias", "bias_rec", "theta", "reset_state")
needs_kernel = pytest.mark.skipif(isinstance(native.library(), str), reason=str(native.library()))

IN_FLOAT32 = {
    *(
        "tanh-1x6x5x3x4",
        "leaky_tanh-1x6x5x3x4",
        "linear-1x6x5x3x4",
        "gru_reset_before-1x6x5x3x4",
        "gru-1x5x8x17x33-resets-reverse",
    ),
    *("tanh-3x3x7x0x9-tap", "tanh-1x40x9x2x130-cuts-lengths", "tanh-1x3x2x160x301"),
    *(f"gru-1x{shape}-lengths-mask-resets-cuts-tap-reverse" for shape in ("7x3x2x5", "270x2x12x83")),
    *("gru_reset_before-2x3x40x4x6-lengths-mask-resets-cuts-tap", "gru_reset_before-2x40x9x0x70-mask-resets"),
}
assert IN_FLOAT32 <= set(map(str, CASES))


def ways(cases):
    """(case, save_gates): all gates are saved for the backward pass, or the states alone, in turn for each kind."""
    found = []
    for kind in dict.fromkeys(case.kind for case in cases):
        rows = [case for case in cases if case.kind == kind]
        found += [(case, i % 2 == 0) for i, case in enumerate(rows if len(rows) > 1 else rows * 2)]
    return found


BOTH_WAYS = ways(CASES)
MOST_STEPS = {"cuda": 100}
"""Longer ones take an emulator of every thread too long; `test_kernels_cuda.py` has its own cases."""
LARGE = [case for case in CASES if case.events and (case.units > 16 or case.groups > 1 or case.kind in ("lstm", "gru"))]
IN_BFLOAT16 = [(case, not save_gates) for case, save_gates in BOTH_WAYS if case in LARGE]
IN_BFLOAT16 += [(Case(kind, 1, 9, 5, 6, 20, "lengths"), i % 2 == 0) for i, kind in enumerate(KINDS)]


def cast(tree, dtype):
    return jax.tree.map(lambda a: a.astype(dtype), tree)


def everyone(case, dtype, specs, save_gates=True, names=None):
    """((results, gradients) of each implementation), those of the spec on the same operands in each of some dtypes."""
    operands, events, cotangents = given(case, dtype)
    names = able(case.kind, jnp.dtype(dtype).name) if names is None else names
    names = [name for name in names if case.steps < MOST_STEPS.get(name, case.steps + 1)]
    each = [program(case, name, save_gates)(operands, events, cotangents) for name in names]
    own = {d: (operands, cotangents) if d == dtype else cast((operands, cotangents), d) for d in specs}
    return each, *(program(case, "spec")(own[d][0], events, own[d][1]) for d in specs)


def given(case, dtype):
    """(operands, events, cotangents) of random numbers."""
    operands, events = make(case, dtype)
    return operands, events, cotangents_like(jax.eval_shape(partial(reference.run, case.scan), operands, events))


@cache
def program(case, name, save_gates=True):
    """A function that finds (results, gradients), compiled once for all tests of the case."""
    run = partial(reference.run, case.scan) if name == "spec" else kernel(case.scan, save_gates, name=name)
    return jax.jit(lambda o, e, c: (run(o, e), jax.grad(pulled(run, c))(o, e)))


@pytest.mark.parametrize("case, save_gates", BOTH_WAYS, ids=str)
def test_float64(case, save_gates):
    each, wanted = everyone(case, jnp.float64, [jnp.float64], save_gates)
    for found in each:
        close(found, wanted, tol=1e-12)


@pytest.mark.parametrize("case", [case for case in CASES if str(case) in IN_FLOAT32], ids=str)
def test_float32(case):
    each, wanted = everyone(case, jnp.float32, [jnp.float64])
    for found in each:
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(found))
        close(cast(found, jnp.float64), wanted, tol=2e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("case, save_gates", [way for way in BOTH_WAYS if way[0].kind != "linear"], ids=str)
def test_float32_emulated(case, save_gates, emulated):
    names = [name for name in emulated if name in able(case.kind, "float32")]
    with jax.default_matmul_precision("highest"):
        each, wanted = everyone(case, jnp.float32, [jnp.float64], save_gates, names)
    for found in each:
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(found))
        close(cast(found, jnp.float64), wanted, tol=2e-5)


@pytest.mark.parametrize("case, save_gates", IN_BFLOAT16, ids=str)
def test_bfloat16(case, save_gates, emulated):
    """Operands of 16 bits, sums in float32, states rounded at every step: the spec rounds in the same places.

    Over hundreds of steps it sums the gradients of what all steps share in 16 bits, which the implementations do
    not: those must be as near to float32 as the spec's are, and 2e-2.
    """
    each, spec = everyone(case, jnp.bfloat16, [jnp.bfloat16], save_gates)
    for found in each:
        assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(found[0]))
        assert jax.tree.map(jnp.result_type, found[1]) == jax.tree.map(jnp.result_type, make(case, jnp.bfloat16)[0])
        (outcome, grads), (wanted, right) = (
            jax.tree.map(lambda a: np.asarray(a, np.float64), each) for each in (found, spec)
        )
        for a, b in zip(*map(jax.tree.leaves, (outcome, wanted)), strict=True):
            assert np.linalg.norm(a - b) <= 1e-2 * np.linalg.norm(b)  # one rounding is 2e-3
        for name, *leaves in zip(fields(grads), *(fields(g).values() for g in (grads, right))):
            for i, (a, b) in enumerate(zip(*map(jax.tree.leaves, leaves), strict=True)):
                if np.linalg.norm(a - b) > 1e-2 * np.linalg.norm(b):
                    assert name in SUMMED, name
                    x = np.asarray(jax.tree.leaves(fields(in_float32(case)[1])[name])[i], np.float64)
                    assert np.linalg.norm(a - x) <= min(np.linalg.norm(b - x), 2e-2 * np.linalg.norm(x)), name


def in_float32(case):
    """(results, gradients) of the spec in float32, of the same 16-bit operands."""
    operands, events, cotangents = given(case, jnp.bfloat16)
    return program(case, "spec")(cast(operands, jnp.float32), events, cast(cotangents, jnp.float32))


def test_bfloat16_gradients_are_near_those_of_float32():
    case = Case("lstm", 1, 9, 5, 6, 20)
    operands, events = make(case, jnp.bfloat16)
    wide = jax.tree.map(lambda a: a.astype(jnp.float32), operands)

    def grads(operands):
        return jax.grad(lambda o: jnp.sum(kernel(case.scan)(o, events).states[0].astype(jnp.float32) ** 2))(operands)

    for a, b in zip(jax.tree.leaves(grads(operands)), jax.tree.leaves(grads(wide)), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert np.linalg.norm(a - b) <= 5e-3 * np.linalg.norm(b)


@pytest.mark.parametrize("kind", ["lstm", "gru", "gru_reset_before", "tanh", "relu", "leaky_relu"])
@pytest.mark.parametrize("place", ["xs", "w_in", "w_rec", "bias", "start", "cotangent"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.bfloat16])
def test_what_is_not_finite_goes_where_the_spec_sends_it(kind, place, value, dtype):
    """In bfloat16 numbers of features, units and rows are odd: pairs have a second half that is nobody's."""
    case, operands, events, cotangents = not_finite(kind, place, value, dtype)
    wanted = settled(program(case, "spec")(operands, events, cotangents))
    for name in IMPLEMENTATIONS:
        found = settled(program(case, name)(operands, events, cotangents))
        for a, b in zip(map(np.asarray, jax.tree.leaves(found)), map(np.asarray, jax.tree.leaves(wanted)), strict=True):
            if name == "xla":  # XLA's own products make NaN of an Inf here and there, as it likes
                np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
                a, b = np.where(np.isfinite(a), a, 0), np.where(np.isfinite(b), b, 0)
            if dtype == jnp.float64:
                np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)  # NaN and Inf in the same places
                continue
            a, b = a.astype(np.float64), b.astype(np.float64)
            np.testing.assert_array_equal(np.where(np.isfinite(a), 0, a), np.where(np.isfinite(b), 0, b))
            a, b = np.where(np.isfinite(a), a, 0), np.where(np.isfinite(b), b, 0)
            assert np.linalg.norm(a - b) <= 3e-2 * np.linalg.norm(b)


@pytest.mark.parametrize("kind", ["lstm", "gru", "gru_reset_before", "tanh", "relu", "leaky_relu"])
@pytest.mark.parametrize("place", ["xs", "w_in", "w_rec", "bias", "start", "cotangent"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_emulated(kind, place, value, emulated):
    """The zeros that fill units up to whole tiles let nothing in: of 9 units 119 are nobody's."""
    case, *arrays = not_finite(kind, place, value, jnp.float32)
    wanted = settled(program(case, "spec")(*arrays))
    for name in [name for name in emulated if name != "cuda"]:  # test_kernels_cuda.py says what its split numbers make
        found = settled(program(case, name)(*arrays))
        for a, b in zip(map(np.asarray, jax.tree.leaves(found)), map(np.asarray, jax.tree.leaves(wanted)), strict=True):
            np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b), err_msg=name)
            a, b = np.where(np.isfinite(a), a, 0), np.where(np.isfinite(b), b, 0)
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * (1 + np.max(np.abs(b), initial=0)))


def not_finite(kind, place, value, dtype):
    """(a case, its operands, events and cotangents) with one number that is not finite."""
    features = 2 if place == "cotangent" else 3  # with 3 the spec's own product, by XLA, makes NaN of an Inf there
    case = Case(kind, 1, 5, 3, features, 9)  # on padding the spec lets 0 * NaN in, the kernel does not
    operands, events, cotangents = given(case, dtype)
    if place == "cotangent":
        cotangents[0] = cotangents[0].at[0, 2, 1, 3].set(value)
    else:
        array = fields(operands)[place]
        planted = (array[0].at[0, 1, 3].set(value), *array[1:]) if place == "start" else plant(array, value)
        operands = replaced(operands, **{place: planted})
    return case, operands, events, cotangents


def settled(result):
    """NaN for an infinite gradient of theta: the spec sums what meets the old state and what is new apart."""
    outcome, grads = result
    if "theta" not in fields(grads):
        return result
    theta = jnp.where(jnp.isfinite(grads.weights.theta), grads.weights.theta, jnp.nan)
    return outcome, replaced(grads, theta=theta)


@pytest.mark.parametrize("place", ["xs", "cotangent"])
@pytest.mark.parametrize("flag", ["resets", "cuts"])
def test_a_prefix_scan_is_cut_for_what_is_not_finite_too(place, flag):
    """0 times infinity is no number: a reset must select, not multiply."""
    case = Case("linear", 1, 9, 3, 2, 4, "resets cuts")
    operands, events = make(case)
    events = events._replace(**{name: None if name != flag else events.resets for name in ("resets", "cuts")})
    operands = operands._replace(reset_state=operands.reset_state if flag == "resets" else None)
    cotangents = cotangents_like(jax.eval_shape(partial(reference.run, case.scan), operands, events))
    if place == "cotangent":
        cotangents[0] = cotangents[0].at[0, 4].set(np.inf)
    else:
        operands = operands._replace(xs=operands.xs.at[0, 4].set(np.inf))

    def all_of(run):
        return run(operands, events), jax.grad(pulled(run, cotangents))(operands, events)

    found, wanted = all_of(kernel(case.scan)), all_of(partial(reference.run, case.scan))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
    assert not all(np.isfinite(a).all() for a in jax.tree.leaves(found))


def plant(array, value):
    return array.at[(0,) * array.ndim].set(value)


@pytest.mark.parametrize(
    "name, dtype", [*((name, jnp.float64) for name in IMPLEMENTATIONS), *((name, jnp.float32) for name in EMULATED)]
)
def test_padding_may_hold_anything(name, dtype, emulated):
    """NaN in inputs beyond the lengths changes nothing, gradients included."""
    case = Case("lstm", 1, 5, 4, 3, 6, "lengths")
    operands, events = make(case, dtype)
    bad = operands._replace(xs=jnp.where(events.valid[..., None], operands.xs, jnp.nan))
    run = kernel(case.scan, name=name)
    cotangents = cotangents_like(jax.eval_shape(run, operands, events))
    grads = jax.grad(pulled(run, cotangents))
    close(run(bad, events), run(operands, events), tol=1e-15)
    close(grads(bad, events), grads(operands, events), tol=1e-15)


def ulps(found, exact, dtype):
    """Distance in units in the last place of the exact value."""
    exact_in = exact.astype(dtype)
    spacing = np.maximum(np.spacing(np.abs(exact_in)), np.finfo(dtype).tiny)
    return np.max(np.abs(found.astype(np.longdouble) - exact) / spacing)


@needs_kernel
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_and_sigmoid_within_4_ulp(dtype):
    """Over the whole range where the result is a normal number, from both sides of 0, against long doubles."""
    low = -87.0 if dtype == np.float32 else -708.0
    size = np.concatenate([np.logspace(-30, 0, 20000), np.linspace(1, -low, 40000)])
    z = np.concatenate([-size[::-1], [0.0], size]).astype(dtype)
    exact = z.astype(np.longdouble)
    one, units = jnp.ones((1, 1, 1), dtype), jnp.asarray(z)[None, None, :, None]  # [E, T, B, F]

    def run(kind, w_in, start):
        wide = w_in.shape[-1]
        operands = Operands_of(units, w_in, jnp.zeros((1, 1, wide), dtype), jnp.zeros((1, wide), dtype), start)
        return kernel(Case(kind, 1, 1, 1, 1, 1).scan)(operands, no_events)

    from jrnn.kernels import Dense, Events, Operands

    def Operands_of(xs, w_in, w_rec, bias, start):
        return Operands(xs, Dense(w_in, w_rec, bias), start, None, None)

    no_events = Events()
    nothing = jnp.zeros((1, len(z), 1), dtype)
    found = np.asarray(run("tanh", one, (nothing,)).states[0])[0, 0, :, 0]
    assert ulps(found, np.tanh(exact), dtype) <= 4
    assert np.all(np.signbit(found) == np.signbit(z))
    # c' = sigmoid(f) * 1 + sigmoid(0) tanh(0)
    forget = jnp.asarray([[[0, 1, 0, 0]]], dtype)
    found = np.asarray(run("lstm", forget, (nothing, nothing + 1)).states[1])[0, 0, :, 0]
    assert ulps(found, 1 / (1 + np.exp(-exact)), dtype) <= 4
    assert run("tanh", one * np.inf, (nothing,)).states[0][0, 0, -1, 0] == 1

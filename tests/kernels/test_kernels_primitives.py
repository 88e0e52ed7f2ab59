"""The primitive under every transformation, against the same transformation of the spec."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.kernels.implementations import reference

from .cases import IMPLEMENTATIONS, Case, close, cotangents_like, fields, kernel, make, pulled, replaced

CASES = [
    Case("lstm", 1, 4, 3, 2, 3, "lengths resets tap"),
    Case("gru", 2, 3, 2, 2, 2),
    Case("tanh", 1, 5, 2, 3, 4, "cuts"),
    Case("gru_reset_before", 1, 3, 2, 2, 3, "resets"),
    Case("linear", 1, 5, 2, 3, 4, "lengths resets"),
]


@pytest.fixture(params=CASES, ids=str)
def problem(request):
    return problem_of(request.param)


def problem_of(case):
    """(operands, loss by the kernel, loss by the spec): functions of the operands."""
    operands, events = make(case)

    def spec(operands, events):
        return reference.run(case.scan, operands, events)

    cotangents = cotangents_like(jax.eval_shape(spec, operands, events))

    def curved(run):  # squared, so that second derivatives see the cotangents too
        return lambda operands: pulled(run, cotangents)(operands, events) ** 2

    return operands, curved(kernel(case.scan)), curved(spec)


def tangents_like(tree, seed=3, lead=()):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=(*lead, *a.shape)), a.dtype), tree)


def test_jvp_and_linearize(problem):
    operands, loss, spec = problem
    moved = tangents_like(operands)
    close(jax.jit(lambda: jax.jvp(loss, (operands,), (moved,)))(), jax.jvp(spec, (operands,), (moved,)), tol=1e-12)
    close(jax.linearize(loss, operands)[1](moved), jax.jvp(spec, (operands,), (moved,))[1], tol=1e-12)


def test_jacfwd_and_jacrev(problem):
    operands, loss, spec = problem
    wanted = jax.jit(jax.grad(spec))(operands)
    close(jax.jit(jax.jacfwd(loss))(operands), wanted, tol=1e-12)
    close(jax.jit(jax.jacrev(loss))(operands), wanted, tol=1e-12)


@pytest.mark.parametrize("case", [CASES[0], CASES[4]], ids=str)
def test_second_derivatives(case):
    """Forward over reverse, reverse over forward, reverse over reverse, along a direction."""
    operands, loss, spec = problem_of(case)
    moved = tangents_like(operands)

    def inner(gradient):
        return sum(jnp.sum(a * b) for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(moved), strict=True))

    wanted = jax.jit(lambda: jax.jvp(jax.grad(spec), (operands,), (moved,))[1])()
    close(jax.jit(lambda: jax.jvp(jax.grad(loss), (operands,), (moved,))[1])(), wanted, tol=1e-11)
    close(jax.jit(jax.grad(lambda o: inner(jax.grad(loss)(o))))(operands), wanted, tol=1e-11)
    close(jax.jit(jax.grad(lambda o: jax.jvp(loss, (o,), (moved,))[1]))(operands), wanted, tol=1e-11)


@pytest.mark.thorough
def test_hessian():
    case = CASES[2]
    operands, events = make(case)

    def of(run):
        return lambda bias: jnp.sum(run(replaced(operands, bias=bias), events).states[0] ** 2)

    wanted = jax.hessian(of(lambda o, e: reference.run(case.scan, o, e)))(operands.weights.bias)
    close(jax.hessian(of(kernel(case.scan)))(operands.weights.bias), wanted, tol=1e-12)


MAPPED = {
    "data": ("xs", "start"),
    "weights": ("w_in", "w_rec", "bias"),
    "all": ("xs", "w_in", "w_rec", "bias", "bias_rec", "start", "reset_state", "tap"),
    "one weight": ("w_rec",),
    "start": ("start",),
}
PAIRS = [(CASES[0], mapped) for mapped in MAPPED]
PAIRS += [(case, mapped) for case, mapped in zip(CASES[1:], ["data", "weights", "all", "one weight"])]
PAIRS += [(case, mapped) for case, mapped in zip(CASES[1:], ["all", "start", "weights", "data"])]


@pytest.mark.parametrize("case, mapped", PAIRS, ids=str)
def test_vmap(case, mapped):
    """Over sequences, over an ensemble's parameters, over both: values and gradients (per example too)."""
    operands, loss, spec = problem_of(case)
    chosen = MAPPED[mapped]
    assert set(fields(operands)) <= set(MAPPED["all"])
    axes = {"xs": 2, "start": 0, "w_rec": 1}  # not all in front
    values, where = {}, {}
    for name, old in fields(operands).items():
        values[name] = old
        where[name] = jax.tree.map(lambda _: None, old)
        if name in chosen and old is not None:
            axis = axes.get(name, 0)
            values[name] = jax.tree.map(lambda a, i=axis: jnp.moveaxis(a, 0, i), tangents_like(old, lead=(4,)))
            where[name] = jax.tree.map(lambda _, i=axis: i, old)
    many, where = replaced(operands, **values), replaced(operands, **where)
    found, wanted = (
        jax.jit(lambda many, f=f: [jax.vmap(of(f), in_axes=(where,))(many) for of in (lambda f: f, jax.grad)])(many)
        for f in (loss, spec)
    )
    close(found, wanted, tol=1e-11)


def test_vmap_of_gradients_of_the_sequences_alone(problem):
    """Nothing is summed over sequences, which the new axis joins; at one point, with several cotangents, the groups."""
    operands, loss, spec = problem
    xs, start = tangents_like((operands.xs, operands.start), lead=(4,))

    def of(loss):
        grad = jax.grad(lambda xs, start: loss(operands._replace(xs=xs, start=start)), argnums=(0, 1))
        scaled = jax.vjp(lambda xs: loss(operands._replace(xs=xs)), xs[0])[1]
        return jax.jit(lambda: (jax.vmap(grad)(xs, start), jax.vmap(scaled)(jnp.arange(3.0))))()

    close(of(loss), of(spec), tol=1e-11)


def test_vmap_repeats_no_operands():
    """What all share of both directions is copied at once, whatever the length of the new axis."""
    cell = jrnn.Bidirectional(jrnn.gru(3))
    params, xs = cell.init(jax.random.key(0), 2), jax.random.normal(jax.random.key(1), (100, 4, 2))

    def loss(params, xs):
        return jnp.sum(jrnn.unroll(cell, params, xs, implementation="xla").outputs ** 2)

    for argument in (0, 1):
        grads = jax.jit(jax.vmap(jax.grad(loss, argument), in_axes=(None, 0)))
        text = grads.lower(params, xs).as_text()
        assert max(line.count("%") for line in text.splitlines() if "concatenate" in line) < 10
        alone = [jax.grad(loss, argument)(params, x) for x in xs[:3]]
        first = jax.tree.map(lambda a: a[:3], grads(params, xs))
        close(first, jax.tree.map(lambda *a: jnp.stack(a), *alone), tol=1e-5)


def test_vmap_twice():
    case = Case("lstm", 1, 3, 2, 2, 3)
    operands, events = make(case)
    xs, w = tangents_like(operands.xs, lead=(3,)), tangents_like(operands.weights.w_rec, lead=(2,))

    def of(run):
        def loss(w, xs):
            return jnp.sum(run(replaced(operands, w_rec=w, xs=xs), events).states[0] ** 2)

        return jax.vmap(jax.vmap(jax.grad(loss), in_axes=(None, 0)), in_axes=(0, None))(w, xs)

    close(of(kernel(case.scan)), of(lambda o, e: reference.run(case.scan, o, e)), tol=1e-12)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_gradients_that_nobody_reads_are_not_computed(name):
    """The gradient of xs, asked for and dropped, leaves no trace in the program."""
    cell = jrnn.lstm(4)
    params, xs = cell.init(jax.random.key(0), 2), jnp.ones((5, 3, 2))

    def loss(params, xs):
        return jnp.sum(jrnn.unroll(cell, params, xs, implementation=name).outputs ** 2)

    def cost(grad):
        compiled = jax.jit(grad).lower(params, xs).compile()
        calls = [
            line.split("custom-call(")[0].split("=", 1)[1]
            for line in compiled.as_text().splitlines()
            if 'custom_call_target="jrnn_backward"' in line
        ]
        return calls, compiled.cost_analysis()["flops"]

    dropped = cost(lambda params, xs: jax.grad(loss, argnums=(0, 1))(params, xs)[0])
    assert dropped == cost(jax.grad(loss)) != cost(jax.grad(loss, argnums=(0, 1)))
    found = jax.jit(lambda params, xs: jax.grad(loss, argnums=(0, 1))(params, xs)[0])(params, xs)
    close(found, jax.jit(jax.grad(loss))(params, xs), tol=1e-6)


def by(name, loss):
    """`loss(params, x)` of a GRU's states, by an implementation; its parameters; 3 sequences."""
    cell = jrnn.gru(4, dtype="float64")
    params, xs = cell.init(jax.random.key(0), 2), jax.random.normal(jax.random.key(1), (3, 5, 2), jnp.float64)
    return lambda params, x: loss(jrnn.unroll(cell, params, x, implementation=name).outputs), params, xs


DERIVATIVES = {
    "gradient penalty": lambda f, p, xs: jax.grad(
        lambda p: jnp.sum(jax.vmap(jax.grad(f, 1), in_axes=(None, 0))(p, xs) ** 2)
    )(p),
    "adapted": lambda f, p, xs: jax.grad(
        lambda p: jnp.sum(jax.vmap(lambda x: f(jax.tree.map(jnp.subtract, p, jax.grad(f)(p, x)), x))(xs))
    )(p),
    "one direction": lambda f, p, xs: jax.vmap(lambda x: jax.jvp(f, (p, x), (p, xs[0]))[1])(xs),
    "many directions": lambda f, p, xs: jax.vmap(lambda v: jax.jvp(f, (p, xs[0]), (p, v))[1])(xs),
    "one direction, members": lambda f, p, xs: jax.vmap(
        lambda s: jax.jvp(lambda p: f(p, xs[0]), (jax.tree.map(lambda a: s * a, p),), (p,))[1]
    )(jnp.arange(3.0)),
    "Hessian-vector": lambda f, p, xs: jax.vmap(
        lambda x: jax.jvp(jax.grad(f, 1), (p, x), (jax.tree.map(jnp.zeros_like, p), xs[0]))[1]
    )(xs),
    "transposed": lambda f, p, xs: jax.vmap(
        lambda x: jax.linear_transpose(jax.vjp(lambda p: f(p, x), p)[1], jnp.ones(()))((p,))
    )(xs),
    "no examples": lambda f, p, xs: jax.vmap(jax.value_and_grad(f, (0, 1)), in_axes=(None, 0))(p, xs[:0]),
}


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("curved", [False, True], ids=["linear", "curved"])
def test_derivatives_under_vmap(derivative, curved):
    """What differs between examples and what all share: points, directions and cotangents."""
    loss = (lambda y: jnp.sum(y[-1] ** 2)) if curved else (lambda y: jnp.sum(y[-1]))
    names = (
        IMPLEMENTATIONS[list(DERIVATIVES).index(derivative) % len(IMPLEMENTATIONS) :][:1] if curved else IMPLEMENTATIONS
    )
    (found, wanted) = (
        [jax.jit(partial(DERIVATIVES[derivative], f))(p, xs) for f, p, xs in (by(name, loss) for name in some)]
        for some in (names, ("reference",))
    )
    for each in found:
        close(each, *wanted, tol=1e-12)


def test_inside_scan_and_checkpoint(problem):
    operands, loss, spec = problem

    def repeated(loss):
        def body(carry, _):
            scaled = jax.tree.map(lambda a: a * carry, operands)
            return carry + 0.01 * jax.checkpoint(loss)(scaled), None

        return lambda start: jax.lax.scan(body, start, None, length=3)[0]

    close(jax.grad(repeated(loss))(1.0), jax.grad(repeated(spec))(1.0), tol=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_gradients_that_nobody_asked_for(name):
    """One operand at a time: what is not asked for is not computed, what is, is right."""
    case = Case("lstm", 1, 4, 3, 2, 3, "resets tap")
    operands, events = make(case)

    def of(run, field):
        return jax.grad(lambda v: jnp.sum(run(replaced(operands, **{field: v}), events).states[0] ** 2))

    for field, value in fields(operands).items():
        if value is not None:
            found, wanted = (
                of(run, field)(value)
                for run in (kernel(case.scan, name=name), lambda o, e: reference.run(case.scan, o, e))
            )
            close(found, wanted, tol=1e-12)


@pytest.mark.parametrize("name", ["xla", "reference"])
def test_products_are_as_precise_as_where_the_call_stands(name):
    """`jax.default_matmul_precision` around the call alone, which is lowered, backwards too, outside of it."""
    cell = jrnn.lstm(2, dtype="float32")
    params, xs = cell.init(jax.random.key(0), 3), jnp.ones((4, 2, 3), jnp.float32)

    def loss(params, precision):
        with jax.default_matmul_precision(precision):
            return jnp.sum(jrnn.unroll(cell, params, xs, implementation=name).outputs ** 2)

    programs = [jax.jit(jax.grad(partial(loss, precision=p))).lower(params).as_text() for p in ("highest", "default")]
    products = [program.count("dot_general") for program in programs]
    assert products[0] == products[1] > 3
    # a product names a precision for each of its factors
    assert programs[0].count("HIGHEST") >= 2 * products[0] and not programs[1].count("HIGHEST")

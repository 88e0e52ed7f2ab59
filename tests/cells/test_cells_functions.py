"""Recurrences of a user's own, through `from_functions` and `from_step`, against plain Python loops."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.cells import advance
from tests.cells.cases import FOREIGN, OWN, Case, leaky_output, leaky_start, leaky_step

T = 5
SAME = {"rtol": 1e-13, "atol": 1e-14}


def close(got, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **SAME), got, expected)


def stacked(trees):
    return jax.tree.map(lambda *a: np.stack(a), *trees)


class Pair(NamedTuple):
    h: jax.Array
    count: jax.Array


def test_from_functions_is_the_plain_loop():
    case = Case("", OWN, 3, 8, 7)
    params, state, xs = case.params(), case.state((2,)), case.inputs((T, 2))
    unrolled = jrnn.unroll(OWN, params, xs, initial_state=state, return_states=True)
    states, ys = [state], []
    for x in xs:
        states.append(leaky_step(params, states[-1], x))
        ys.append(leaky_output(params, states[-1], x))  # y_t from h_t
    close(unrolled.outputs, np.stack(ys))
    close(unrolled.states, stacked(states))
    close(unrolled.final_state, states[-1])
    close(
        jrnn.unroll(OWN, params, xs).outputs[0, 0],
        leaky_output(params, leaky_step(params, leaky_start(params, ()), xs[0, 0]), xs[0, 0]),
    )


@pytest.mark.parametrize("kind", ["named", "bare", "tuple_of_one"])
def test_the_default_output_is_the_hidden_part(kind):
    wrap = {"named": lambda h: Pair(h, h[..., :1]), "bare": lambda h: h, "tuple_of_one": lambda h: (h,)}[kind]
    first = {"named": lambda s: s.h, "bare": lambda s: s, "tuple_of_one": lambda s: s[0]}[kind]
    cell = jrnn.from_functions(
        initial_state=lambda params, batch: wrap(jnp.zeros((*batch, 2))),
        step=lambda params, state, x: wrap(jnp.tanh(params * first(state) + x)),
    )
    xs = np.random.default_rng(0).normal(size=(T, 3, 2))
    h, ys = np.zeros((3, 2)), []
    for x in xs:
        h = np.tanh(0.5 * h + x)
        ys.append(h)
    close(jrnn.unroll(cell, 0.5, xs).outputs, np.stack(ys))


def test_a_state_without_hidden_part_needs_an_output():
    cell = jrnn.from_functions(
        initial_state=lambda params, batch: {"a": jnp.zeros((*batch, 2)), "b": jnp.zeros((*batch, 2))},
        step=lambda params, state, x: state,
    )
    with pytest.raises(jrnn.InputError, match="^output: got none, and a state of type dict; need an `output` function"):
        jrnn.unroll(cell, None, jnp.zeros((T, 2)))


def scan_body(params, carry, x):
    """A scan body in the carry-and-output style; its y reads the carry that came in."""
    return jnp.tanh(carry * params + x), jnp.sin(carry) * 2 + x[..., :2]


def test_from_step_reads_the_state_before():
    cell = jrnn.from_step(scan_body, initial_state=lambda params, batch: jnp.zeros((*batch, 2)))
    assert cell.reads_previous
    params, xs = np.array([0.5, -0.7]), np.random.default_rng(0).normal(size=(T, 3, 2))
    carry = start = np.random.default_rng(1).normal(size=(3, 2))
    ys = []
    for x in xs:
        carry, y = scan_body(np.tile(params, (3, 1)), carry, x)
        ys.append(y)
    wide = jnp.tile(params, (3, 1))
    unrolled = jrnn.unroll(cell, wide, xs, initial_state=start)
    close(unrolled.outputs, np.stack(ys))
    close(unrolled.final_state, carry)
    close(unrolled.outputs[0], np.sin(start) * 2 + xs[0])  # y_1 depends on h_0 ...
    sensitivity = jax.jacfwd(lambda h: cell.output(wide, h, xs[0]))(start)
    assert np.all(np.abs(np.diagonal(np.diagonal(sensitivity, axis1=0, axis2=2), axis1=0, axis2=1)) > 0)
    after, y = advance(cell, wide, start, xs[0])  # ... and streaming says the same
    close((after, y), scan_body(wide, start, xs[0]))


def test_the_credit_of_a_foreign_output_goes_to_the_state_it_read():
    """The loss is y_3 alone: dL/dh_2 is the output's own derivative, dL/dh_3 is zero (it comes too late)."""
    cell = jrnn.from_step(scan_body, initial_state=lambda params, batch: jnp.zeros((*batch, 2)))
    params, xs = jnp.array([0.5, -0.7]), np.random.default_rng(0).normal(size=(T, 2))
    states = jrnn.unroll(cell, params, xs, return_states=True).states
    delta = jrnn.state_gradients(cell, params, xs, lambda unrolled: jnp.sum(unrolled.outputs[2]))
    close(delta[2], 2 * np.cos(states[2]))
    close(delta[3:], np.zeros((T + 1 - 3, 2)))
    close(delta[1], (1 - states[2] ** 2) * params * delta[2])


def test_an_output_function_moves_it_to_the_state_after():
    cell = jrnn.from_step(
        scan_body,
        initial_state=lambda params, batch: jnp.zeros((*batch, 2)),
        output=lambda params, state, x: state * 3 + x,
    )
    assert not cell.reads_previous
    params, xs = jnp.array([0.5, -0.7]), np.random.default_rng(0).normal(size=(T, 2))
    carry, ys = np.zeros(2), []
    for x in xs:
        carry = np.tanh(carry * np.asarray(params) + x)
        ys.append(carry * 3 + x)
    close(jrnn.unroll(cell, params, xs).outputs, np.stack(ys))


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)], ids=str)
def test_an_unbatched_step_is_mapped_over_any_batch(batch):
    case = Case("", FOREIGN, 3, 4, 2)
    params, state, xs = case.params(), case.state(batch), case.inputs((T, *batch))
    unrolled = jrnn.unroll(FOREIGN, params, xs, initial_state=state)
    assert jax.tree.map(jnp.shape, FOREIGN.initial_state(params, batch)) == ((*batch, 3), batch)
    for b in np.ndindex(*batch):
        (h, count), ys = jax.tree.map(lambda a, b=b: a[b], state), []
        for x in xs[(slice(None), *b)]:
            z = np.tanh(h @ params["u"] + x @ params["w"])
            ys.append(h[:2] * z[1:] + count)
            h, count = z, np.sin(count) + np.sum(z)
        close(unrolled.outputs[(slice(None), *b)], np.stack(ys))
        close(jax.tree.map(lambda a, b=b: a[b], unrolled.final_state), (h, count))


def test_an_unbatched_step_with_an_output_function():
    cell = jrnn.from_step(
        lambda p, s, x: (jnp.tanh(p @ s + x), s),
        initial_state=lambda p: jnp.ones(2),
        output=lambda p, s, x: jnp.dot(s, x)[None],
        batched=False,
    )
    params, xs = np.array([[0.3, -0.5], [0.2, 0.9]]), np.random.default_rng(0).normal(size=(T, 3, 2))
    h, ys = np.ones((3, 2)), []
    for x in xs:
        h = np.tanh(h @ params.T + x)
        ys.append(np.sum(h * x, axis=-1, keepdims=True))
    close(jrnn.unroll(cell, params, xs).outputs, np.stack(ys))


class Module:
    """Something like a Flax module: an apply that takes variables, a carry and inputs, and gives (carry, y)."""

    def apply(self, variables, carry, x):
        c, h = carry
        c = 0.5 * c + jnp.tanh(x @ variables["params"]["kernel"])
        h = jnp.tanh(c + h)
        return (c, h), h

    def initialize_carry(self, variables, batch_shape):
        return (jnp.zeros((*batch_shape, 2)), jnp.zeros((*batch_shape, 2)))


def test_a_module_with_carry_and_output():
    """Its y is its new h; `output` says so, and credit goes where it belongs."""
    module = Module()
    variables = {"params": {"kernel": jnp.asarray(np.random.default_rng(0).normal(size=(3, 2)))}}
    xs = np.random.default_rng(1).normal(size=(T, 4, 3))
    _, expected = jax.lax.scan(partial(module.apply, variables), module.initialize_carry(variables, (4,)), xs)
    parts = {"step": module.apply, "initial_state": module.initialize_carry}
    before = jrnn.from_step(**parts)
    after = jrnn.from_step(**parts, output=lambda variables, carry, x: carry[1])
    close(jrnn.unroll(before, variables, xs).outputs, expected)
    close(jrnn.unroll(after, variables, xs).outputs, expected)
    assert jrnn.from_step(**parts) == before

    def last(unrolled):
        return jnp.sum(unrolled.outputs[-1])

    # h_T itself gets the whole gradient of y_T, where the foreign form can only give it to h_{T-1}
    close(jrnn.state_gradients(after, variables, xs, last)[1][-1], np.ones((4, 2)))
    close(jrnn.state_gradients(before, variables, xs, last)[1][-1], np.zeros((4, 2)))
    # and both give the parameters the same gradient
    grads = [jrnn.value_and_grads(cell, variables, xs, last)[1].params for cell in (before, after)]
    close(*grads)


def test_scalar_inputs():
    """Tokens and other inputs without a feature axis: xs [T, *B] of integers, looked up in a table."""
    cell = jrnn.from_functions(
        initial_state=lambda table, batch: jnp.zeros((*batch, 2)),
        step=lambda table, h, token: jnp.tanh(0.5 * h + table[token]),
        input_ndim=0,
    )
    table = np.random.default_rng(0).normal(size=(7, 2))
    tokens = np.random.default_rng(1).integers(0, 7, size=(T, 3))
    h, ys = np.zeros((3, 2)), []
    for token in tokens:
        h = np.tanh(0.5 * h + table[token])
        ys.append(h)
    close(jrnn.unroll(cell, jnp.asarray(table), tokens).outputs, np.stack(ys))
    close(jrnn.unroll(cell, jnp.asarray(table), tokens[:, 1]).outputs, np.stack(ys)[:, 1])
    assert jrnn.output_size(cell, 7, jnp.asarray(table)) == 2
    # as the lowest layer of a stack it feeds the next
    network = jrnn.stack(cell, jrnn.elman(4))
    top = jrnn.elman(4).init(jax.random.key(0), 2)
    expected = jrnn.unroll(jrnn.elman(4), top, np.stack(ys)).outputs
    close(jrnn.unroll(network, (jnp.asarray(table), top), tokens).outputs, expected)


def test_unbatched_scalar_inputs():
    cell = jrnn.from_step(
        lambda p, s, x: (0.5 * s + x * p, s), initial_state=lambda p: jnp.zeros(2), batched=False, input_ndim=0
    )
    xs, params = np.random.default_rng(0).normal(size=(T, 3)), np.array([1.0, -2.0])
    h, ys = np.zeros((3, 2)), []
    for x in xs:
        ys.append(h)
        h = 0.5 * h + x[:, None] * params
    close(jrnn.unroll(cell, params, xs).outputs, np.stack(ys))


def test_image_inputs():
    """A state that is an image, moved by a convolution-like sum of neighbours; three trailing axes a step."""

    def step(params, state, x):
        return jnp.tanh(params * (jnp.roll(state, 1, axis=-3) + jnp.roll(state, 1, axis=-2)) + x)

    cell = jrnn.from_functions(
        initial_state=lambda params, batch: jnp.zeros((*batch, 2, 3, 1)), step=step, input_ndim=3
    )
    xs = np.random.default_rng(0).normal(size=(T, 4, 2, 3, 1))
    h, ys = np.zeros((4, 2, 3, 1)), []
    for x in xs:
        h = np.tanh(0.3 * (np.roll(h, 1, axis=1) + np.roll(h, 1, axis=2)) + x)
        ys.append(h)
    close(jrnn.unroll(cell, 0.3, xs).outputs, np.stack(ys))
    # padding holds an image state too
    padded = jrnn.unroll(cell, 0.3, xs, lengths=np.array([2, 0, 5, 1]))
    close(padded.final_state[0], ys[1][0])
    close(padded.final_state[1], np.zeros((2, 3, 1)))


def test_pytree_inputs():
    cell = jrnn.from_functions(
        initial_state=lambda params, batch: jnp.zeros((*batch, 2)),
        step=lambda params, h, x: jnp.tanh(params * h + x["a"] + x["b"][0][..., :2]),
    )
    rng = np.random.default_rng(0)
    xs = {"a": rng.normal(size=(T, 3, 2)), "b": (rng.normal(size=(T, 3, 4)),)}
    h, ys = np.zeros((3, 2)), []
    for t in range(T):
        h = np.tanh(0.4 * h + xs["a"][t] + xs["b"][0][t][:, :2])
        ys.append(h)
    close(jrnn.unroll(cell, 0.4, xs).outputs, np.stack(ys))
    _, grads = jrnn.value_and_grads(cell, 0.4, xs, lambda unrolled: jnp.sum(unrolled.outputs))
    assert jax.tree.map(jnp.shape, grads.xs) == {"a": (T, 3, 2), "b": ((T, 3, 4),)}


def test_autonomous_cells():
    case = Case("", jrnn.elman(3), None, 3, 3)
    params, state = case.params(), case.state((2,))
    h, ys = np.asarray(state.h), []
    for _ in range(T):
        h = np.tanh(h @ params["w_rec"] + params["bias"])
        ys.append(h)
    unrolled = jrnn.unroll(case.cell, params, None, length=T, initial_state=state)
    close(unrolled.outputs, np.stack(ys))
    logistic = jrnn.from_functions(
        initial_state=lambda params, batch: jnp.full((*batch, 1), 0.4), step=lambda params, h, x: params * h * (1 - h)
    )
    x, orbit = 0.4, []
    for _ in range(T):
        x = 3.7 * x * (1 - x)
        orbit.append([x])
    close(jrnn.unroll(logistic, 3.7, None, length=T).outputs, np.array(orbit))


def test_own_cells_in_a_stack():
    """A user's cell between two built-in layers; two foreign steps, which both read the state before."""
    network = jrnn.stack(jrnn.elman(3), OWN, jrnn.lstm(2))
    case = Case("", network, 2, 0, 0)
    params, xs = case.params(), case.inputs((T, 2))
    y = xs
    for cell, own in zip(network.cells, params, strict=True):
        y = jrnn.unroll(cell, own, y).outputs
    close(jrnn.unroll(network, params, xs).outputs, y)

    foreign = jrnn.stack(FOREIGN, FOREIGN)
    assert foreign.reads_previous
    case = Case("", foreign, 3, 8, 2)
    with pytest.raises(TypeError):  # FOREIGN hands on 2 features and here reads 3
        jrnn.unroll(foreign, (params, params), case.inputs((T,)))
    one, two = Case("", FOREIGN, 3, 4, 2).params(), Case("", FOREIGN, 2, 4, 2).params(1)
    xs = case.inputs((T, 2))
    expected = jrnn.unroll(FOREIGN, two, jrnn.unroll(FOREIGN, one, xs).outputs).outputs
    close(jrnn.unroll(foreign, (one, two), xs).outputs, expected)


def test_layers_that_read_different_states_do_not_mix():
    with pytest.raises(jrnn.InputError, match="^cells: got outputs that read h_t in some layers and h_{t-1} in others"):
        jrnn.stack(FOREIGN, jrnn.elman(3))


def test_init_may_be_left_out():
    """Parameters of one's own need none; asking for them says what is missing."""
    for cell in (
        jrnn.from_functions(initial_state=leaky_start, step=leaky_step),
        jrnn.from_step(scan_body, initial_state=leaky_start),
    ):
        with pytest.raises(
            jrnn.InputError, match="^init: got None; need an `init` function, or parameters of your own"
        ):
            cell.init(jax.random.key(0), 3)


@pytest.mark.parametrize("make", [jrnn.from_functions, jrnn.from_step])
@pytest.mark.parametrize("name", ["init", "initial_state", "step", "output"])
def test_functions_must_be_functions(make, name):
    parts = {"initial_state": leaky_start, "step": leaky_step} | {name: 3}
    with pytest.raises(jrnn.InputError, match=f"^{name}: got int; need a function"):
        make(**parts)


def test_a_step_that_changes_the_state_is_named():
    cell = jrnn.from_functions(
        initial_state=lambda params, batch: jnp.zeros((*batch, 2)), step=lambda params, h, x: h[..., :1]
    )
    with pytest.raises(jrnn.InputError, match=r"^cell: got a step from float64\[2\] to float64\[1\]; need a step that"):
        jrnn.unroll(cell, None, jnp.zeros((T, 2)))


def test_a_python_number_among_the_parameters_takes_the_states_dtype():
    cell = jrnn.from_functions(
        initial_state=lambda params, batch: jnp.zeros((*batch, 1), jnp.float32), step=lambda p, h, x: p * h + x
    )
    xs = jnp.ones((3, 1), jnp.float32)
    for run in (jrnn.unroll, jax.jit(jrnn.unroll, static_argnums=0)):
        final = run(cell, 0.5, xs).final_state
        assert final[0] == 1.75 and final.dtype == jnp.float32

"""Bad input at the cells' boundary: the argument is named, with what was given and what is needed."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.cures import h_detach, scale_gradient
from jrnn.types import hidden_part, with_hidden

KEY = jax.random.key(0)
GATED = [jrnn.min_gru, jrnn.min_lstm, jrnn.rg_lru, jrnn.lru]
MAKE = [jrnn.elman, jrnn.lstm, jrnn.gru, jrnn.linear, *GATED]
MAKE += [jrnn.cornn, jrnn.unicornn, jrnn.lem, jrnn.antisymmetric, jrnn.indrnn]
BOTH = jrnn.Bidirectional(jrnn.gru(3))


def short(value):
    """A test's name without an address in it, the same in every process."""
    return getattr(value, "__name__", repr(value))


@pytest.mark.parametrize("hidden", [0, -1, 2.5, True, "3", None, 3.0, (3,)], ids=repr)
@pytest.mark.parametrize("make", MAKE)
def test_hidden(make, hidden):
    with pytest.raises(jrnn.InputError) as caught:
        make(hidden)
    assert str(caught.value) == f"hidden: got {hidden!r}; need a positive integer"
    assert caught.value.argument == "hidden" and isinstance(caught.value, ValueError)


@pytest.mark.parametrize("features", [0, 2.5, True], ids=repr)
def test_features(features):
    with pytest.raises(jrnn.InputError, match="^features: got .*; need a positive integer"):
        jrnn.dense(features)


@pytest.mark.parametrize("input_size", [-1, 2.5, True, "3"], ids=repr)
@pytest.mark.parametrize("make", [*MAKE, jrnn.dense])
def test_input_size(make, input_size):
    with pytest.raises(jrnn.InputError, match="^input_size: got .*; need the number of input features"):
        make(3).init(KEY, input_size)


@pytest.mark.parametrize("activation", ["sigmoid", "Tanh", None, jnp.tanh, ["tanh"], 5], ids=short)
def test_activation(activation):
    with pytest.raises(
        jrnn.InputError, match=r"^activation: got .*; need one of \['identity', 'modrelu', 'relu', 'tanh'\]"
    ):
        jrnn.elman(3, activation)


@pytest.mark.parametrize("reset_after", [32, 1, None, "no"], ids=repr)
def test_gru_takes_no_input_size(reset_after):
    """gru(64, 32) in the manner of other libraries must not become a GRU of 64 units in silence."""
    with pytest.raises(jrnn.InputError, match="^reset_after: got .*; need True or False"):
        jrnn.gru(64, reset_after)


@pytest.mark.parametrize(
    "decay", [0.9, (0.9,), (0.9, 0.5), "12", (0.1, 0.2, 0.3), (0.1, float("nan")), (0, float("inf"))], ids=repr
)
def test_decay(decay):
    with pytest.raises(jrnn.InputError, match=r"^decay: got .*; need two numbers \(low, high\) with low <= high"):
        jrnn.linear(3, decay=decay)


@pytest.mark.parametrize("make, name, needed", [
    *((make, "dt", "a positive number") for make in (jrnn.cornn, jrnn.unicornn, jrnn.lem)),
    (jrnn.antisymmetric, "epsilon", "a positive number"),
    (jrnn.lem, "t_max", "a longest time scale above 2 steps"),
    (jrnn.indrnn, "t_max", "a longest time scale above 2 steps"),
    *((make, name, "a finite number, 0 or more") for make, name in (
        (jrnn.cornn, "gamma"), (jrnn.cornn, "epsilon"), (jrnn.unicornn, "alpha"), (jrnn.antisymmetric, "gamma"),
    )),
])  # fmt: skip
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "1", True, (1.0,)], ids=repr)
def test_held_numbers(make, name, needed, value):
    with pytest.raises(jrnn.InputError, match=f"^{name}: got .*; need {needed}"):
        make(3, **{name: value})
    good = make(3, **{name: np.float32(2.5)})
    assert getattr(good, name) == 2.5 and good == make(3, **{name: 2.5})


def test_time_scales_of_two_steps_and_below():
    for t_max in (0, 1, 2, 2.0):
        with pytest.raises(jrnn.InputError, match="^t_max: got .*; need a longest time scale above 2 steps"):
            jrnn.indrnn(3, t_max=t_max)
    with pytest.raises(
        jrnn.InputError, match=r"^activation: got 'sigmoid'; need one of \['identity', 'relu', 'tanh'\]"
    ):
        jrnn.indrnn(3, "sigmoid")


@pytest.mark.parametrize("t_max", [2, 1.5, -1, float("nan"), float("inf"), "200", True], ids=repr)
@pytest.mark.parametrize("make", [*GATED, jrnn.linear])
def test_t_max(make, t_max):
    with pytest.raises(jrnn.InputError, match="^t_max: got .*; need a longest time scale above 2 steps"):
        make(3, t_max=t_max)


def test_t_max_beside_what_it_draws():
    for make in (jrnn.min_gru, jrnn.min_lstm, jrnn.lem):
        with pytest.raises(jrnn.InputError, match=r"^t_max: got 9(\.0)? beside bias='zeros'; need one of the two"):
            make(3, t_max=9, bias="zeros")
    for make in (jrnn.rg_lru, jrnn.lru, jrnn.linear):
        with pytest.raises(jrnn.InputError, match=r"^t_max: got 9 beside decay=\(0.5, 0.9\); need one of the two"):
            make(3, t_max=9, decay=(0.5, 0.9))
    with pytest.raises(jrnn.InputError, match=r"^t_max: got 9 beside decay=\(0.9, 0.999\); need one of the two"):
        jrnn.linear(3, t_max=9, decay=(0.9, 0.999))
    assert jrnn.linear(3) == jrnn.linear(3, decay=(0.9, 0.999))


@pytest.mark.parametrize("value", [1.0, 0.0, -0.5, 1.5])
@pytest.mark.parametrize("make", [jrnn.rg_lru, jrnn.lru])
def test_decays_that_are_none(make, value):
    with pytest.raises(jrnn.InputError, match=f"^decay: got values from {value:g} to .*; need decays between 0 and 1"):
        make(3, decay=jrnn.initializers.constant(value)).init(KEY, 2)


def test_biases_of_gates_that_a_cell_lacks():
    """They would be zeros; in a GRU the candidate's second bias is none of theirs, and a minimal GRU admits alone."""
    forget, chrono, uniform = "unit_forget", jrnn.initializers.chrono(200), jrnn.initializers.uniform_gate(200)
    for make, biases in (
        (jrnn.rg_lru, (forget, chrono, uniform)), (jrnn.lem, (forget, chrono)), (jrnn.min_gru, (forget,)),
    ):  # fmt: skip
        for bias in biases:
            with pytest.raises(
                jrnn.InputError, match="^bias: got .* for the blocks .*; need a cell with a gate that k"
            ):
                make(3, bias=bias).init(KEY, 2)
    for make in (jrnn.gru, jrnn.lstm, jrnn.min_lstm):
        assert all(np.any(make(3, bias=bias).init(KEY, 2)["bias"]) for bias in (forget, chrono))


@pytest.mark.parametrize(
    "decay", [0.9, (0.9,), (0.9, 0.5), (0.5, 1.0), (0, 0.9), "ring", jrnn.initializers.ring], ids=short
)
@pytest.mark.parametrize("make", [jrnn.rg_lru, jrnn.lru])
def test_decay_of_the_ring(make, decay):
    with pytest.raises(jrnn.InputError, match="^(decay|low|high): got "):
        make(3, decay=decay)


def test_further_arguments_of_gated_cells():
    for make in (jrnn.min_gru, jrnn.min_lstm):
        for candidate in ("relu", None, ["tanh"]):
            with pytest.raises(jrnn.InputError, match="^candidate: got .*; need one of identity, tanh, positive"):
                make(3, candidate=candidate)
    for given in ({"outputs": 0}, {"max_phase": 0}, {"max_phase": "pi"}):
        with pytest.raises(jrnn.InputError, match=f"^{next(iter(given))}: got "):
            jrnn.lru(3, **given)


@pytest.mark.parametrize("on", ["outputs", None, "state", True], ids=repr)
def test_layer_norm_on(on):
    with pytest.raises(jrnn.InputError, match="^on: got .*; need 'output' or 'hidden'"):
        jrnn.layer_norm(jrnn.gru(3), on=on)


@pytest.mark.parametrize("epsilon", [0, -1e-5, float("nan"), float("inf"), "1e-5"], ids=repr)
def test_layer_norm_epsilon(epsilon):
    with pytest.raises(jrnn.InputError, match="^epsilon: got .*; need a positive number"):
        jrnn.layer_norm(jrnn.gru(3), epsilon=epsilon)


def test_layer_norm_of_the_hidden_state_of_a_stack():
    with pytest.raises(jrnn.InputError, match="^on: got 'hidden' for a state of type tuple; .*wrap each layer"):
        jrnn.layer_norm(jrnn.stack(jrnn.gru(3), jrnn.gru(2)), on="hidden").init(KEY, 2)


def test_wrappers_of_a_hidden_part():
    """Named by their own names; what has no hidden part is refused with what fits."""
    unit = jrnn.lru(2)
    params = unit.init(KEY, 2)
    for cell in (jrnn.zoneout(unit), scale_gradient(unit), h_detach(unit, 0.5)):
        with pytest.raises(jrnn.InputError, match=r"^cell: got LRU for a state of type LRUState; need .*lru has none"):
            jrnn.unroll(cell, params, jnp.ones((3, 2)))
    reads_ahead = type("Ahead", (), {"causal": False})()
    for name, wrap in (("scale_gradient", scale_gradient), ("h_detach", partial(h_detach, p=0.5))):
        with pytest.raises(jrnn.InputError, match=f"^cell: got Ahead; need a causal cell; put {name} around"):
            wrap(reads_ahead)


@pytest.mark.parametrize("combine", [jrnn.residual, jrnn.layer_norm, jrnn.learnable_initial_state])
def test_combinators_refuse_what_is_not_causal(combine):
    for cell, name in ((BOTH, "Bidirectional"), (jrnn.stack(jrnn.gru(3), BOTH), "Stack")):
        need = f"need a causal cell; put {combine.__name__} around the cell of each direction"
        with pytest.raises(jrnn.InputError, match=f"^cell: got {name}; {need}"):
            combine(cell)


@pytest.mark.parametrize("cell", [BOTH, jrnn.stack(BOTH)], ids=["bidirectional", "stack"])
def test_what_reads_the_future_cannot_be_streamed(cell):
    params = cell.init(KEY, 2)
    with pytest.raises(jrnn.InputError, match="^cell: got .*; need a causal cell: it reads the future"):
        jrnn.step(cell, params, cell.initial_state(params, ()), jnp.ones(2))


@pytest.mark.parametrize("thing", [jrnn.gru, type(jrnn.gru(3)), "lstm", 64, None, [jrnn.gru(3)]], ids=short)
def test_what_is_no_cell(thing):
    """A class or a constructor where a cell belongs; a name; a list of layers."""
    given = thing.__name__ if isinstance(thing, type) else type(thing).__name__
    need = r"need a cell such as jrnn.lstm\(64\), or jrnn.from_functions"
    calls = {
        "cell": [jrnn.residual, jrnn.layer_norm, jrnn.learnable_initial_state, jrnn.dropout],
        r"cells\[1\]": [lambda cell: jrnn.stack(jrnn.gru(3), cell)],
        "forward": [jrnn.Bidirectional] if thing is not None else [],
        "backward": [lambda cell: jrnn.Bidirectional(jrnn.gru(3), cell)] if thing is not None else [],
    }
    calls["cell"].append(lambda cell: jrnn.unroll(cell, None, jnp.ones((5, 2))))
    calls["cell"].append(lambda cell: jrnn.step(cell, None, None, jnp.ones(2)))
    for argument, functions in calls.items():
        for function in functions:
            with pytest.raises(jrnn.InputError, match=f"^{argument}: got {given}; {need}"):
                function(thing)


def test_a_stack_of_nothing():
    with pytest.raises(jrnn.InputError, match="^cells: got none; need at least one cell"):
        jrnn.stack()


def test_residual_needs_equal_sizes():
    cell = jrnn.residual(jrnn.gru(3))
    params = cell.init(KEY, 2)
    with pytest.raises(
        jrnn.InputError, match=r"^cell: got outputs of shape \(3,\) for inputs of shape \(2,\); need equal"
    ):
        jrnn.unroll(cell, params, jnp.ones((5, 2)))
    with pytest.raises(jrnn.InputError, match="^cell: got outputs of shape"):
        jrnn.stack(cell, jrnn.gru(2)).init(KEY, 2)


@pytest.mark.parametrize("make", MAKE)
def test_inputs_that_do_not_fit(make):
    cell = make(3)
    params = cell.init(KEY, 2)
    start = cell.initial_state(params, ())
    with pytest.raises(
        jrnn.InputError, match=r"^xs: got inputs of shape \(5,\) a step; need 2 features on the last axis"
    ):
        jrnn.unroll(cell, params, jnp.ones((4, 5)))
    with pytest.raises(jrnn.InputError, match="^xs: got a dict; need one array of floating-point features"):
        cell.step(params, start, {"a": jnp.ones(2)})
    with pytest.raises(jrnn.InputError, match="^xs: got inputs of shape"):
        cell.step(params, start, jnp.ones(()))


def test_states_that_do_not_fit():
    cell = jrnn.lstm(3)
    params, xs = cell.init(KEY, 2), jnp.ones((5, 4, 2))
    good = cell.initial_state(params, (4,))
    with pytest.raises(jrnn.InputError, match=r"^initial_state: got ElmanState\(h=float64\[4, 3\]\); need LSTMState"):
        jrnn.unroll(cell, params, xs, initial_state=jrnn.ElmanState(good.h))
    with pytest.raises(
        jrnn.InputError, match=r"^initial_state: got LSTMState\(h=float64\[3\], .*need LSTMState\(h=float64\[4, 3\]"
    ):
        jrnn.unroll(cell, params, xs, initial_state=cell.initial_state(params, ()))
    with pytest.raises(jrnn.InputError, match="^state: got"):
        jrnn.step(cell, params, (good.h, good.c), xs[0])


def test_readout():
    head = jrnn.dense(3)
    params = head.init(KEY, 5)
    with pytest.raises(jrnn.InputError, match=r"^y: got shape \(2, 4\); need 5 features on the last axis"):
        head(params, jnp.ones((2, 4)))
    with pytest.raises(jrnn.InputError, match="^y: got dtype int32; need floating-point values"):
        head(params, jnp.ones((2, 5), "int32"))


def test_output_size_needs_one_array():
    def start(params, batch):
        return {"a": jnp.zeros((*batch, 2)), "b": jnp.zeros(batch)}

    parts = {"initial_state": start, "step": lambda p, s, x: s}
    several = jrnn.from_functions(**parts, output=lambda p, s, x: s)
    with pytest.raises(jrnn.InputError, match="^cell: got a cell with output .*need an output that is one array"):
        jrnn.output_size(several, 3, ())
    flat = jrnn.from_functions(**parts, output=lambda p, s, x: s["b"])
    with pytest.raises(jrnn.InputError, match="need an output that is one array with a feature axis"):
        jrnn.output_size(flat, 3, ())


def test_output_size_asks_with_inputs_of_the_parameters_dtype():
    """Strict promotion refuses float32 + float64: the question must not be put in JAX's default dtype."""
    cell = jrnn.from_functions(
        initial_state=lambda p, batch: jnp.zeros((*batch, 3), p["a"].dtype),
        step=lambda p, s, x: p["a"] * s + x,
        output=lambda p, s, x: s * p["a"] + x,
    )
    assert jrnn.output_size(cell, 3, {"a": jnp.ones((), "float32"), "steps": jnp.ones((), int)}) == 3


def test_output_size_computes_nothing():
    """From shapes alone: a cell far too large for this memory is measured at once."""
    cell = jrnn.stack(jrnn.lstm(10**6), jrnn.Bidirectional(jrnn.gru(10**6)))
    assert jrnn.output_size(cell, 10**6) == 2 * 10**6


def test_hidden_part():
    h, c = jnp.ones(2), jnp.zeros(2)
    assert hidden_part(jrnn.LSTMState(h, c)) is h and hidden_part(h) is h and hidden_part((h,)) is h
    assert with_hidden(jrnn.LSTMState(h, c), c) == jrnn.LSTMState(c, c)
    assert with_hidden((h,), c)[0] is c and with_hidden(h, c) is c
    with pytest.raises(jrnn.InputError, match="^output: got none, and a state of type tuple"):
        hidden_part((h, c))


def test_ravel_state_refuses_what_has_no_common_batch():
    good = jrnn.LSTMState(np.ones((4, 3)), np.ones((4, 5)))
    assert jrnn.ravel_state(good).shape == (4, 8)
    with pytest.raises(jrnn.InputError, match="^state: got leaves of shapes .*; need the same 1 leading axes"):
        jrnn.ravel_state(jrnn.LSTMState(np.ones((4, 3)), np.ones((2, 3))))
    with pytest.raises(jrnn.InputError, match="^state: got a pytree without arrays"):
        jrnn.ravel_state(())


@pytest.mark.parametrize(
    "cell, other, words",
    [
        (jrnn.elman(4), jrnn.elman(5), r"params\['w_in'\].*\(2, 5\).*\(F, 4\)"),
        (jrnn.elman(4), jrnn.lstm(4), r"params\['w_in'\].*\(2, 16\)"),
        (jrnn.gru(4), jrnn.gru(4, reset_after=False), "params.*bias_rec"),
        (jrnn.linear(4), jrnn.elman(4), r"params\['w_rec'\].*\(4, 4\).*\(4,\)"),
        (jrnn.lstm(4), jrnn.stack(jrnn.lstm(4)), "params.*tuple"),
    ],
    ids=str,
)
def test_parameters_of_another_cell_are_refused(cell, other, words, key):
    with pytest.raises(jrnn.InputError, match=words):
        jrnn.step(cell, other.init(key, 2), cell.initial_state(cell.init(key, 2), ()), jnp.zeros(2))

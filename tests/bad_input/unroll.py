"""Bad input to `unroll`, `step`, `value_and_grads`, the array functions of `kernels` and every constructor."""

import random

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from jrnn import initializers, kernels

from .rows import Call

T, B, F, H = 4, 3, 2, 3
LSTM, GRU = jrnn.lstm(H), jrnn.gru(H)
STACK, BOTH = jrnn.stack(GRU, LSTM), jrnn.Bidirectional(GRU)
LEARNT, NORMED = jrnn.learnable_initial_state(GRU), jrnn.layer_norm(GRU)
XS = np.zeros((T, B, F), np.float32)


def arrays(gates, **further):
    """The parameters of a cell with so many gates."""
    shapes = {"w_in": (F, gates * H), "w_rec": (H, gates * H), "bias": (gates * H,)} | further
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


OF_LSTM, OF_GRU = arrays(4), arrays(3, bias_rec=(H,))
ZEROS = np.zeros((B, H), np.float32)
STATE = jrnn.LSTMState(ZEROS, ZEROS)


def unrolled(params=OF_LSTM, xs=XS, cell=LSTM, **options):
    return jrnn.unroll(cell, params, xs, **options)


def changed(name, value):
    return {**OF_LSTM, name: value}


def option(name, argument, value, *words, **more):
    return Call(f"unroll: {name}", argument, lambda: unrolled(**{argument: value} | more), words)


def of_params(name, params, *words, cell=LSTM, argument="params"):
    return Call(f"unroll: {name}", argument, lambda: unrolled(params, cell=cell), words)


class Tensor:
    """As PyTorch's: a shape, and a dtype that is not NumPy's."""

    shape, dtype = (12,), "torch.float32"


def summed(run):
    return jnp.sum(run.outputs)


def gradients(loss=summed, params=OF_LSTM, xs=XS, function=jrnn.value_and_grads, **options):
    return function(LSTM, params, xs, loss, **options)


def stepped(state=STATE, x=XS[0], params=OF_LSTM, cell=LSTM, **options):
    return jrnn.step(cell, params, state, x, **options)


def problem(**changes):
    arguments = dict(weights=LSTM.kernel(OF_LSTM), xs=XS, start=tuple(STATE), steps=T, batch_shape=(B,))
    return kernels.problem_of(**arguments | changes)


def traced(name):
    return jax.jit(lambda flag: unrolled(**{name: flag}).last)(True)


COMPLEX = XS.astype(np.complex64)
ROWS = [
    # what is unrolled
    Call("unroll: a cell's name", "cell", lambda: unrolled(cell="lstm"), ("str", "jrnn.lstm(64)")),
    # parameters
    of_params("parameters by name", "weights", "a str", "cell.init"),
    of_params("no parameters", None, "a NoneType", "w_in"),
    of_params("a list of parameters", list(OF_LSTM.values()), "a list", "w_in"),
    of_params("another cell's parameters", OF_GRU, "(2, 9)", "(F, 12)", argument="params['w_in']"),
    of_params("a parameter left out", {k: v for k, v in OF_LSTM.items() if k != "bias"}, "w_rec", "bias"),
    of_params("integer parameters", changed("w_rec", OF_LSTM["w_rec"].astype(int)), "int", argument="params['w_rec']"),
    of_params("boolean parameters", changed("bias", np.ones(12, bool)), "dtype bool", argument="params['bias']"),
    of_params("complex parameters", changed("w_in", np.zeros((F, 12), complex)), "complex", argument="params['w_in']"),
    of_params("a parameter as lists", changed("bias", [0.0] * 12), "a list", "an array", argument="params['bias']"),
    of_params("a parameter as text", changed("bias", "zeros"), "a str", argument="params['bias']"),
    of_params("a parameter of text", changed("bias", np.array(["0"] * 12)), "dtype <U1", argument="params['bias']"),
    of_params("a parameter of objects", changed("bias", np.array([None] * 12)), "object", argument="params['bias']"),
    of_params("another library's tensor", changed("bias", Tensor()), "a Tensor", argument="params['bias']"),
    of_params("a parameter as a number", changed("bias", 0.0), "a float", argument="params['bias']"),
    of_params("a matrix transposed", changed("w_in", np.zeros((12, F), "f")), "(12, 2)", argument="params['w_in']"),
    of_params("too few layers", (OF_GRU,), "a tuple of 1", "2 layers", cell=STACK),
    of_params("too many layers", (OF_GRU, OF_LSTM, OF_LSTM), "a tuple of 3", "2 layers", cell=STACK),
    of_params("one layer's parameters for a stack", OF_GRU, "a dict", "2 layers", cell=STACK),
    of_params("layers in a dict", {"0": OF_GRU, "1": OF_LSTM}, "a dict", "2 layers", cell=STACK),
    of_params("one direction's parameters", {"forward": OF_GRU}, "['forward']", "backward", cell=BOTH),
    of_params("both directions in a tuple", (OF_GRU, OF_GRU), "a tuple", "backward", cell=BOTH),
    of_params("one set for both directions", OF_GRU, "w_in", "backward", cell=BOTH),
    of_params("no initial state", OF_GRU, "w_in", "initial_state", cell=LEARNT),
    of_params(
        "a learnt state with a batch", {"cell": OF_GRU, "initial_state": jrnn.GRUState(ZEROS)}, "(3, 3)", "(3,)",
        cell=LEARNT, argument="params['initial_state']",
    ),
    of_params(
        "a learnt state of another cell", {"cell": OF_GRU, "initial_state": STATE}, "LSTMState", "GRUState",
        cell=LEARNT, argument="params['initial_state']",
    ),
    of_params("no scale", OF_GRU, "w_in", "scale", cell=NORMED),
    of_params(
        "a scale of another size", {"cell": OF_GRU, "scale": np.ones(2, "f"), "bias": np.ones(3, "f")}, "(2,)", "(3,)",
        cell=NORMED, argument="params['scale']",
    ),
    # inputs and states
    option("complex inputs", "xs", COMPLEX, "complex64", "floating-point"),
    option("boolean inputs", "xs", XS > 0, "bool", "floating-point"),
    option("inputs of text", "xs", np.array([["a"]]), "an array of numbers"),
    option("ragged inputs", "xs", [[1.0], [1.0, 2.0]], "numbers without axes"),
    option("inputs of dates", "xs", np.zeros((T, B, F), "datetime64[s]"), "an array of numbers"),
    option("a number beyond 64 bits", "xs", 2**70, "an array of numbers"),
    option("a complex state", "initial_state", jrnn.LSTMState(ZEROS + 0j, ZEROS), "complex", "float32[3, 3]"),
    option("a complex reset state", "reset_state", jrnn.LSTMState(ZEROS, ZEROS + 0j), "complex", "LSTMState("),
    option("a complex tap", "state_tap", jrnn.LSTMState(*[np.zeros((T + 1, B, H), complex)] * 2), "complex"),
    option("states of a stack for one cell", "initial_state", (STATE, STATE), "LSTMState("),
    option("half of a stack's state", "initial_state", (jrnn.GRUState(ZEROS),), "2 layers", cell=STACK,
           params=(OF_GRU, OF_LSTM)),
    option("one state for both directions", "initial_state", jrnn.GRUState(ZEROS), "BidirectionalState", cell=BOTH,
           params={"forward": OF_GRU, "backward": OF_GRU}),
    # options
    option("a length as text", "length", "4", "'4'"),
    option("a length that is true", "length", True, "True"),
    option("lengths as text", "lengths", "444", "an array of numbers"),
    option("ragged lengths", "lengths", [[1], [1, 2]], "an array of numbers"),
    option("complex lengths", "lengths", np.ones(B) + 0j, "integers"),
    option("a scalar mask", "mask", True, "()", "(4, 3)"),
    option("a scalar reset", "resets", False, "()", "(4, 3)"),
    option("a mask of one sequence", "mask", np.ones(T, bool), "(4,)", "(4, 3)"),
    option("a mask as text", "mask", "1111", "an array of numbers"),
    option("complex resets", "resets", np.zeros((T, B), complex), "bool"),
    option("no direction", "reverse", None, "None", "True or False"),
    option("a direction in words", "reverse", "yes", "'yes'", "True or False"),
    option("a direction as an array", "reverse", np.array([True]), "True or False"),
    option("a direction as a number", "reverse", 1, "True or False"),
    Call("unroll: a traced direction", "reverse", lambda: traced("reverse"), ("True or False, static under jit",)),
    Call("unroll: states, traced", "return_states", lambda: traced("return_states"), ("static under jit",)),
    option("states in words", "return_states", "all", "'all'"),
    option("rematerialisation as an array", "remat", np.array([1, 2]), "'sqrt'"),
    option("truncation as text", "truncate", "20", "'20'"),
    option("an unknown implementation", "implementation", "fast", "'fast'", "native"),
    option("an unknown second implementation", "implementation", ["reference", "x"], "'x'", "native"),
    option("an unknown implementation of a stack", "implementation", ["reference", "x"], "'x'", cell=STACK,
           params=(OF_GRU, OF_LSTM)),
    option("no implementation at all", "implementation", [], "[]", "native"),
    option("an implementation as a number", "implementation", 3, "3", "native"),
    option("numbers among implementations", "implementation", ["reference", 3], "3", "native"),
    option("implementations as a set", "implementation", {"reference"}, "native"),
    # keys
    option("a seed for a key", "key", 0, "0", "jax.random.key(seed)"),
    option("Python's generator", "key", random.Random(0), "Random", "jax.random.key(seed)"),
    option("NumPy's generator", "key", np.random.default_rng(0), "Generator", "jax.random.key(seed)"),
    option("a raw key of another size", "key", np.zeros(3, np.uint32), "uint32[3]", "jax.random.key(seed)"),
    option("raw keys", "key", np.zeros((B, 2), np.uint32), "uint32[3, 2]", "one PRNG key"),
    option("a raw key of another dtype", "key", np.zeros(2, np.int32), "int32[2]", "one PRNG key"),
    Call("unroll: several keys", "key", lambda: unrolled(key=jax.random.split(jax.random.key(0), B)), ("[3]", "one")),
    Call(
        "unroll: a key where nothing is drawn", "key", lambda: unrolled(key=jax.random.key(0)),
        ("LSTM, which draws no noise", "jrnn.dropout"),
    ),
    Call(
        "unroll: a key at rate 0", "key", lambda: unrolled(cell=jrnn.dropout(LSTM, outputs=0), key=jax.random.key(0)),
        ("draws no noise",),
    ),
    Call("step: a key where nothing is drawn", "key", lambda: stepped(key=jax.random.key(0)), ("jrnn.dropout",)),
    Call("gradients: a key where nothing is drawn", "key", lambda: gradients(key=jax.random.key(0)), ("LSTM",)),
    # step
    Call("step: no state", "state", lambda: stepped(None), ("None", "cell.initial_state")),
    Call("step: a complex state", "state", lambda: stepped(jrnn.LSTMState(ZEROS + 1j, ZEROS)), ("complex",)),
    Call("step: the hidden part alone", "state", lambda: stepped(ZEROS), ("LSTMState(",)),
    Call("step: text", "x", lambda: stepped(x="a"), ("an array of numbers",)),
    Call("step: a number", "x", lambda: stepped(x=1.0), ("shapes [()]",)),
    Call("step: parameters by name", "params", lambda: stepped(params="weights"), ("a str",)),
    Call("step: a time in words", "t", lambda: stepped(t="now"), ("'now'",)),
    Call("step: a time in between", "t", lambda: stepped(t=0.5), ("one integer",)),
    Call("step: both directions", "cell", lambda: stepped(cell=BOTH), ("reads the future",)),
    # losses
    Call("gradients: no loss", "loss", lambda: gradients(None), ("a NoneType", "a function")),
    Call("gradients: a loss's name", "loss", lambda: gradients("mse"), ("a str", "a function")),
    Call("gradients: a loss's value", "loss", lambda: gradients(0.5), ("a float", "a function")),
    Call("gradients: a loss of text", "loss", lambda: gradients(lambda run: "low"), ("returns str", "real number")),
    Call("gradients: a loss of nothing", "loss", lambda: gradients(lambda run: None), ("returns NoneType",)),
    Call("gradients: a loss of several", "loss", lambda: gradients(lambda run: (summed(run), 1)), ("returns tuple",)),
    Call("gradients: a loss with axes", "loss", lambda: gradients(lambda run: run.last), ("float32[3, 3]",)),
    Call("gradients: a complex loss", "loss", lambda: gradients(lambda run: summed(run).astype(complex)), ("[]",)),
    Call("gradients: an integer loss", "loss", lambda: gradients(lambda run: 3), ("int", "real number")),
    Call("gradients: a tap", "state_tap", lambda: gradients(state_tap=STATE), ("none", "states")),
    Call("gradients: parameters by name", "params", lambda: gradients(params="weights"), ("a str",)),
    Call("gradients: text in the head", "loss_params['w']", lambda: gradients(loss_params={"w": "a"}), ("a str",)),
    Call("state_gradients: no loss", "loss", lambda: gradients(3, function=jrnn.state_gradients), ("a int",)),
    # array functions
    Call("kernels: no weights", "weights", lambda: problem(weights=OF_LSTM), ("a dict", "Weights")),
    Call("kernels: a kind by number", "weights.kind", lambda: problem(weights=LSTM.kernel(OF_LSTM)._replace(kind=3)),
         ("3", "lstm")),
    Call("kernels: a kind in a list", "weights.kind",
         lambda: problem(weights=LSTM.kernel(OF_LSTM)._replace(kind=["lstm"])), ("['lstm']",)),
    Call("kernels: a weight as lists", "weights.bias",
         lambda: problem(weights=LSTM.kernel(OF_LSTM)._replace(bias=[0.0] * 12)), ("a list",)),
    Call("kernels: complex inputs", "xs", lambda: problem(xs=COMPLEX), ("complex64", "real")),
    Call("kernels: inputs as lists", "xs", lambda: problem(xs=XS.tolist()), ("a list",)),
    Call("kernels: steps as text", "steps", lambda: problem(steps="4"), ("'4'",)),
    Call("kernels: steps as a float", "steps", lambda: problem(steps=4.0), ("4.0",)),
    Call("kernels: a batch as a number", "batch_shape", lambda: problem(batch_shape=B), ("3", "a tuple")),
    Call("kernels: a bare state", "start", lambda: problem(start=ZEROS), ("a ndarray", "h, c")),
    Call("kernels: a state as lists", "start", lambda: problem(start=(ZEROS.tolist(),) * 2), ("a list",)),
    Call("kernels: events in a dict", "events", lambda: problem(events={"resets": XS}), ("a dict", "Events")),
    Call("kernels: events as lists", "events.valid", lambda: problem(events=kernels.Events(valid=[True] * T)),
         ("a list",)),
    Call("kernels: recur of weights", "problem", lambda: kernels.recur(OF_LSTM, "xla"), ("dict", "problem_of")),
    Call("kernels: recur of nothing", "problem", lambda: kernels.recur_all([], "xla"), ("none",)),
    Call("kernels: recur by a list", "implementation", lambda: kernels.recur(problem(), ["xla"]), ("['xla']",)),
    Call("kernels: recur by a number", "implementation", lambda: kernels.recur(problem(), 3), ("3",)),
    Call("kernels: a step of text", "x", lambda: kernels.step(LSTM.kernel(OF_LSTM), tuple(STATE), "a"), ("a str",)),
    Call("kernels: a step with half a state", "state",
         lambda: kernels.step(LSTM.kernel(OF_LSTM), (ZEROS,), XS[0]), ("2: h, c",)),
    Call("kernels: a step of other features", "x",
         lambda: kernels.step(LSTM.kernel(OF_LSTM), tuple(STATE), ZEROS), ("(3, 3)", "(3, 2)")),
    Call("explain: a name", "cell", lambda: kernels.explain("lstm", OF_LSTM), ("a str",)),
    Call("explain: an unknown second name", "implementation", lambda: kernels.explain(LSTM, OF_LSTM, ["xla", "x"]),
         ("'x'",)),
    Call("output_size: no cell", "cell", lambda: jrnn.output_size("lstm", 3), ("str",)),
    Call("output_size: text", "input_size", lambda: jrnn.output_size(LSTM, "3"), ("'3'",)),
    Call("initial_state: a batch as a number", "batch_shape", lambda: LSTM.initial_state(OF_LSTM, 3), ("a tuple",)),
]  # fmt: skip

MAKERS = {"elman": jrnn.elman, "lstm": jrnn.lstm, "gru": jrnn.gru, "linear": jrnn.linear}
MADE = {name: make(H) for name, make in MAKERS.items()}
MADE |= {"dense": jrnn.dense(H), "stack": STACK, "both": BOTH, "learnt": LEARNT, "normed": NORMED}
MADE |= {"dropout": jrnn.dropout(GRU, outputs=0.5), "residual": jrnn.residual(GRU)}
NO_KEYS = {"a seed": 0, "no key": None, "a generator": random.Random(0), "a raw key of 3": np.zeros(3, np.uint32)}
ROWS += [
    Call(f"{name}: init with {what}", "key", lambda cell=cell, key=key: cell.init(key, F), ("jax.random.key(seed)",))
    for name, cell in MADE.items()
    for what, key in NO_KEYS.items()
]
ROWS += [
    Call(f"{name}: init of {size!r}", "input_size", lambda c=cell, s=size: c.init(jax.random.key(0), s), (repr(size),))
    for name, cell in MADE.items()
    for size in (-1, 2.5, "3", True)
]
ROWS += [Call("dense: init of None", "input_size", lambda: jrnn.dense(2).init(jax.random.key(0), None), ("None",))]
ROWS += [
    Call(f"{name}: {argument} = {value!r}", argument, lambda m=make, a=argument, v=value: m(**{"hidden": H, a: v}))
    for name, make in MAKERS.items()
    for argument, values in {
        "hidden": ("3", -1, 0, float("nan"), True, None, 2.0, [3]),
        "dtype": ("float31", "int32", "complex64", bool, 3),
        "w_in": ("glort", 3, None, np.zeros((F, H)), initializers.glorot),
        "bias": ("ones", 0.0, None, [0.0], initializers.chrono),
    }.items()
    for value in values
]
CONSTRUCTORS = [
    ("activation", lambda v: jrnn.elman(H, v), ("Tanh", "sigmoid", None, 3, jnp.tanh, ["tanh"])),
    ("reset_after", lambda v: jrnn.gru(H, v), (32, None, "no", 1)),
    ("map", jrnn.orthogonal_map, ("qr", None, 3, ["exp"])),
    ("start", lambda v: jrnn.orthogonal_map(start=v), ("haar", 3, ["henaff"])),
    ("w_rec", lambda v: jrnn.gru(H, w_rec=v), (jrnn.orthogonal_map(),)),
    ("scale", jrnn.cures.orthogonal_rates, ("1", -1.0, float("nan"), True, None)),
    ("decay", lambda v: jrnn.linear(H, decay=v), ("12", 0.9, (0.9,), (0.9, 0.5), (True, True), (0.1, float("nan")))),
    ("features", jrnn.dense, ("3", -1, 0, True, None, 2.5)),
    ("w", lambda v: jrnn.dense(H, w=v), ("glort", 3, None)),
    ("cell", jrnn.residual, ("gru", None, 3, jrnn.gru)),
    ("cell", jrnn.layer_norm, ("gru", None, BOTH)),
    ("cell", jrnn.learnable_initial_state, ("gru", None, BOTH)),
    ("cell", lambda v: jrnn.clip_state_gradient(v, 1.0), ("gru", None, BOTH)),
    ("cell", lambda v: jrnn.dropout(v, outputs=0.5), ("gru", None, jrnn.gru)),
    ("on", lambda v: jrnn.layer_norm(GRU, on=v), ("outputs", None, True, ["output"])),
    ("epsilon", lambda v: jrnn.layer_norm(GRU, epsilon=v), ("1e-5", 0, -1e-5, float("nan"), True, None, 1j, [1e-5])),
    ("max_norm", lambda v: jrnn.clip_state_gradient(GRU, v), ("1", 0, -1.0, float("nan"), True, None, [1.0])),
    ("outputs", lambda v: jrnn.dropout(GRU, outputs=v), ("0.5", -0.1, 1.5, float("nan"), True, None, [0.5])),
    ("recurrent", lambda v: jrnn.dropout(GRU, recurrent=v), ("0.5", -0.1, np.complex64(0.5), [0.5])),
    ("between", lambda v: jrnn.dropout(STACK, between=v), ("0.5", -0.1, 1.5, True)),
    ("cells[0]", jrnn.stack, ("gru", None, [GRU, GRU], jrnn.gru)),
    ("forward", jrnn.Bidirectional, ("gru", None, 3, jrnn.gru)),
    ("backward", lambda v: jrnn.Bidirectional(GRU, v), ("gru", 3, jrnn.gru)),
    ("gain", initializers.orthogonal, ("1", -1.0, float("nan"), float("inf"), True, None)),
    ("gain", initializers.gaussian, ("1", -1.0, float("nan"), True, None, [1.0])),
    ("scale", initializers.identity, ("1", float("nan"), True, None)),
    ("value", initializers.forget_bias, ("1", float("nan"), True, None)),
    ("value", initializers.constant, ("1", float("inf"), True, 1j)),
    ("t_max", initializers.chrono, ("10", 2, float("inf"), True, None)),
    ("t_max", lambda v: jrnn.lstm(H, t_max=v), ("10", 2, float("inf"), True)),
    ("t_max", lambda v: jrnn.gru(H, t_max=20, bias=v), ("pytorch", None, initializers.chrono(20))),
    ("t_max", lambda v: jrnn.lstm(H, t_max=20, bias=v), ("zeros", initializers.forget_bias(2))),
    ("refine", lambda v: jrnn.lstm(H, refine=v), (1, "yes", None)),
    ("refine", lambda v: jrnn.gru(H, refine=v), (1, None)),
    ("d", initializers.uniform_gate, ("10", 2, float("inf"), True, None)),
    ("t_max", lambda v: jrnn.leaky(GRU, v), ("10", 2, float("inf"), True, None)),
    ("cell", lambda v: jrnn.leaky(v, 9), ("gru", None, BOTH, STACK)),
    ("step", lambda v: jrnn.from_functions(initial_state=len, step=v), (None, "tanh", 3)),
    ("initial_state", lambda v: jrnn.from_functions(initial_state=v, step=len), (None, ZEROS)),
    ("output", lambda v: jrnn.from_functions(initial_state=len, step=len, output=v), ("h", ZEROS)),
    ("init", lambda v: jrnn.from_step(len, initial_state=len, init=v), ("zeros", 3)),
    ("input_ndim", lambda v: jrnn.from_functions(initial_state=len, step=len, input_ndim=v), ("1", -1, None, True)),
    ("batched", lambda v: jrnn.from_step(len, initial_state=len, batched=v), (None, "no", 1)),
    ("initialiser", lambda v: jrnn.lstm(H, bias=v).init(jax.random.key(0), F), (
        initializers.orthogonal(), initializers.identity(), lambda key, shape, dtype: "zeros",
        lambda key, shape, dtype: np.zeros(shape, complex), lambda key, shape, dtype: np.zeros(7),
        lambda key, shape, dtype: None,
    )),
]  # fmt: skip
ROWS += [
    Call(f"constructor {i}: {argument}, {j}: {value!r:.40}".split(" at 0x")[0], argument, lambda m=make, v=value: m(v))
    for i, (argument, make, values) in enumerate(CONSTRUCTORS)
    for j, value in enumerate(values)
]

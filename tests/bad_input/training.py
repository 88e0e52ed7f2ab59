"""Bad input to `fit`, `stream`, `evaluate`, `save`, `load` and `Objective`; nothing here is compiled."""

from functools import cache

import jax
import numpy as np
import optax

import jrnn
from jrnn.training import Objective, evaluate, first_nonfinite, fit, load, save, stream, tangent_growth

from .rows import Call

CELL = jrnn.elman(2)
CLASSIFY = Objective("classify", 3)
LINEAR = {"cell": jrnn.linear(2), "params": {name: np.ones((2, 2)[i:]) for i, name in enumerate(("w_in", "w_rec"))}}
LINEAR["params"]["bias"] = LINEAR["params"]["w_rec"]
X = np.ones((4, 3, 2), np.float32)
Y = np.array([0, 1, 2, 0])
BATCH = {"x": np.ones((3, 4, 2), np.float32), "y": Y}
RAGGED = [[[1.0, 2.0]], [[1.0]], [[1.0, 2.0]], [[1.0, 2.0]]]
TEXT = np.array([["a", "b"]] * 4)


@cache
def weights():
    """Parameters of the cell and the head, as NumPy arrays."""
    params = {"w_in": np.ones((2, 2), np.float32), "w_rec": np.ones((2, 2), np.float32), "bias": np.ones(2, np.float32)}
    return params, {"w": np.ones((2, 3), np.float32), "bias": np.ones(3, np.float32)}


def fitting(name, argument, *words, data=None, files=None, **options):
    """A row of `fit`; `data` replaces some of the arrays, or all of it."""
    given = {**{"x": X, "y": Y}, **data} if isinstance(data, dict) else {"x": X, "y": Y} if data is None else data
    given = {key: value for key, value in given.items() if value is not Ellipsis} if isinstance(given, dict) else given
    arguments = {"cell": CELL, "objective": CLASSIFY, "data": given, "steps": 1, **options}
    return Call(f"fit, {name}", argument, lambda: fit(**arguments), words, files)


def streaming(name, argument, *words, chunk=None, **options):
    """A row of `stream`."""

    def call():
        params, head = weights()
        chunks = [BATCH if chunk is None else chunk]
        same = {"params": params, "loss_params": head, "optimizer": optax.sgd(0.1)}
        next(stream(**{"cell": CELL, "loss": CLASSIFY, "chunks": chunks, **same, **options}))

    return Call(f"stream, {name}", argument, call, words)


def evaluating(name, argument, *words, **options):
    """A row of `evaluate`."""

    def call():
        params, head = weights()
        same = {"params": params, "objective": CLASSIFY, "loss_params": head, "data": {"x": X, "y": Y}}
        evaluate(**{"cell": CELL, **same, **options})

    return Call(f"evaluate, {name}", argument, call, words)


def saving(name, argument, params=None, *words, files=None, directory="model", **options):
    """A row of `save`."""
    given = {"w": np.ones(2)} if params is None else params
    return Call(
        f"save, {name}", argument, lambda: save(directory, **{"cell": CELL, "params": given, **options}), words, files
    )


def loading(name, argument, directory, *words, files=None, **options):
    """A row of `load`."""
    return Call(f"load, {name}", argument, lambda: load(directory, **options), words, files)


def a_file(folder):
    (folder / "file").write_text("x")


def a_run(folder):
    """What looks like the checkpoints of a run."""
    (folder / "run" / "checkpoints" / "3").mkdir(parents=True)


def a_damaged_model(folder):
    place = folder / "model" / "model" / "0"
    place.mkdir(parents=True)
    (place / "files.json").write_text("[]")


ROWS = [
    fitting("inputs of text", "data['x']", "<U1[4, 2]", "numbers", data={"x": TEXT}),
    fitting("inputs of objects", "data['x']", "object[4]", data={"x": np.array([None] * 4)}),
    fitting("ragged inputs", "data['x']", "list", "numbers", data={"x": RAGGED}),
    fitting("one text as inputs", "data['x']", data={"x": "abc"}),
    fitting("dates as inputs", "data['x']", "datetime64", data={"x": np.zeros((4, 3, 2), "M8[D]")}),
    fitting("records as inputs", "data['x']", data={"x": np.zeros((4, 3), [("a", "f4")])}),
    fitting("80-bit floats as inputs", "data['x']", "float128", data={"x": X.astype(np.longdouble)}),
    fitting("a number as inputs", "data['x']", data={"x": 3.0}),
    fitting("inputs without a time axis", "data['x']", "[4]", "[cases, T, F]", data={"x": np.ones(4)}),
    fitting("no case", "data['x']", "at least one case", data={"x": X[:0], "y": Y[:0]}),
    fitting(
        "NaN among the inputs",
        "data['x']",
        "nan at [1, 2, 0]",
        data={"x": np.where(np.arange(24).reshape(4, 3, 2) == 10, np.nan, X)},
    ),
    fitting("inputs that are None", "data", "None as x", data={"x": None}),
    fitting("no inputs", "data", "['y']", data={"x": ...}),
    fitting("no targets", "data['y']", "none", "classify", data={"y": ...}),
    fitting("a misspelled name", "data", "'label'", data={"label": Y}),
    fitting("a name that is no text", "data", "3", data={3: Y}),
    fitting("a log that is no function", "log", "a str", "a function of a dict", log="wandb"),
    fitting("data that is text", "data", "a str", data="digits"),
    fitting("data that is a tuple", "data", "a tuple", data=(X, Y)),
    fitting("targets of text", "data['y']", data={"y": np.array(["a"] * 4)}),
    fitting("ragged targets", "data['y']", data={"y": [[1], [1, 2], [1], [1]]}),
    fitting("classes as floats", "y", "float64[4]", "integers", data={"y": Y * 1.0}),
    fitting("a class too high", "data['y']", "the class 3 for case 2", "0 to 2", data={"y": Y + 1}),
    fitting("too few targets", "data['y']", "[2]", "4 cases", data={"y": Y[:2]}),
    fitting("lengths as floats", "data['lengths']", "one integer a case", data={"lengths": np.ones(4)}),
    fitting("a length above T", "data['lengths']", "9 for case 1", data={"lengths": np.array([1, 9, 1, 1])}),
    fitting("ragged lengths", "data['lengths']", data={"lengths": [1, [2], 3, 1]}),
    fitting("a mask of text", "data['mask']", data={"mask": np.array([["a"] * 3] * 4)}),
    fitting("a mask without time", "data['mask']", "[4]", "[4, 3]", data={"mask": np.ones(4, bool)}),
    fitting("resets of another length", "data['resets']", "[4, 9]", data={"resets": np.ones((4, 9), bool)}),
    fitting("a function that returns nothing", "data", "a NoneType from data(0)", data=lambda step: None),
    fitting("a function that returns no inputs", "data", "['y'] from data(0)", data=lambda step: {"y": Y}),
    fitting(
        "a function that returns text", "data", "a str at ['x'] from data(0)", data=lambda step: {"x": "abc", "y": Y}
    ),
    fitting(
        "a function that returns an object",
        "data",
        "a set at ['z'] from data(0)",
        data=lambda step: {**BATCH, "z": {1}},
    ),
    fitting("a negative number of steps", "steps", "-1", steps=-1),
    fitting("half a step", "steps", "2.5", steps=2.5),
    fitting("True steps", "steps", "True", steps=True),
    fitting("steps as text", "steps", "'3'", steps="3"),
    fitting("more steps than an int32 counts", "steps", "2^31", steps=2**40),
    fitting("an empty batch", "batch_size", "0", batch_size=0),
    fitting("no batch size", "batch_size", "None", batch_size=None),
    fitting("a negative seed", "seed", "-1", seed=-1),
    fitting("a seed of 64 bits", "seed", "2^63", seed=2**63),
    fitting("no checkpoints", "checkpoint_every", "0", checkpoint_every=0),
    fitting("flow_every as a bool", "flow_every", "True", flow_every=True),
    fitting("parameters that are text", "params", "a str at the top", params="a"),
    fitting("parameters with text", "params", "a str at ['w_in']", params={"w_in": "a"}),
    fitting("parameters with an object", "params", "a object at ['w_in']", params={"w_in": object()}),
    fitting("a function as parameters", "params", "a function", params=lambda key: {}),
    fitting("whole numbers as parameters", "params", "int32 at ['w_in']", params={"w_in": np.ones((2, 2), np.int32)}),
    fitting("a key as parameters", "params", "key<fry>", params={"w_in": jax.random.key(0)}),
    fitting("a head without a bias", "loss_params", "['w']", "bias", loss_params={"w": np.ones((2, 3), np.float32)}),
    fitting(
        "a head for other classes", "loss_params", "(2, 5)", loss_params={"w": np.ones((2, 5)), "bias": np.ones(5)}
    ),
    fitting("an optimizer by name", "optimizer", "'adam'", optimizer="adam"),
    fitting("an optimizer that was not called", "optimizer", "function adam", optimizer=optax.adam),
    fitting("a rate beside an optimizer", "learning_rate", "0.1", optimizer=optax.sgd(0.1), learning_rate=0.1),
    fitting("two rates", "learning_rate", "schedule", learning_rate=np.ones(2)),
    fitting("an infinite rate", "learning_rate", "inf", learning_rate=float("inf")),
    fitting("a norm of zero", "max_norm", "0.0", max_norm=0.0),
    fitting("a schedule of norms", "max_norm", "function", max_norm=optax.constant_schedule(1.0)),
    fitting("a number as folder", "out", "3", "a path", out=3),
    fitting("an empty path", "out", "''", out=""),
    fitting("a path with a NUL", "out", "a path", out="a\0b"),
    fitting("a path in bytes", "out", "b'a'", out=b"a"),
    fitting("a file as folder", "out", "File exists", out="file", files=a_file),
    fitting("a folder below a file", "out", "Not a directory", out="file/run", files=a_file),
    fitting("a name too long", "out", "File name too long", out="a" * 300),
    fitting("a folder that holds a run", "out", "resume=True", out="run", files=a_run),
    fitting("resume without a folder", "out", "None", resume=True),
    fitting("TensorBoard without a folder", "out", "None", tensorboard=True),
    fitting("an option that unroll has not", "unroll_options", "['trunc']", unroll_options={"trunc": 2}),
    fitting("the class of a cell", "cell", cell=jrnn.gru),
    fitting("a cell by name", "cell", cell="gru"),
    fitting("an objective by name", "objective", "a str", objective="classify"),
    fitting("the class of objectives", "objective", "the class Objective", objective=Objective),
    fitting("a loss of two arguments", "objective", "(unrolled, batch)", objective=lambda unrolled, batch: 0.0),
    Call("an unknown task", "task", lambda: Objective("cluster", 2), ("'cluster'", "regress")),
    Call("no class", "features", lambda: Objective("classify", 0)),
    Call("classes as a float", "features", lambda: Objective("classify", 2.0)),
    Call("a head without a key", "key", lambda: CLASSIFY.init(None, 2)),
    Call("a head with a seed for a key", "key", lambda: CLASSIFY.init(3, 2), ("3", "jax.random.key")),
    Call("a head of no run", "unrolled", lambda: CLASSIFY(weights()[1], 3, {"y": Y}), ("a int", "`unroll`")),
    Call("a batch without targets", "batch", lambda: CLASSIFY(weights()[1], None, {"x": X}), ("['x']", "classify")),
    Call("no batch", "batch", lambda: CLASSIFY(weights()[1], None, None), ("a NoneType",)),
    streaming("a number as chunks", "chunks", "a int", chunks=3),
    streaming("RTRL of a dense layer", "rtrl", "a Elman", "jrnn.linear", rtrl=True),
    streaming("RTRL by name", "rtrl", "'yes'", "`sensitivities`", rtrl="yes", **LINEAR),
    streaming("RTRL of None", "rtrl", "None", rtrl=None, **LINEAR),
    streaming("RTRL cut off", "unroll_options", "truncate", rtrl=True, unroll_options={"truncate": 2}, **LINEAR),
    streaming("one chunk as chunks", "chunks", "a dict", chunks=BATCH),
    streaming("a chunk of text", "chunks", "as chunk 0", "a str", chunk="abc"),
    streaming("a chunk without inputs", "chunks", "as chunk 0", "['y']", chunk={"y": Y}),
    streaming("inputs of text", "chunks", "as chunk 0", "a str at ['x']", chunk={"x": "abc", "y": Y}),
    streaming("targets of text", "chunks", "as chunk 0", "at ['y']", chunk={**BATCH, "y": np.array(["a"] * 4)}),
    streaming("a cell that reads the future", "cell", "Bidirectional", cell=jrnn.Bidirectional(CELL)),
    streaming("a loss by name", "loss", "a str", loss="classify"),
    streaming("parameters that are text", "params", "a str", params="abc"),
    streaming("whole numbers as parameters", "params", "int64", params={"w_in": np.ones((2, 2), np.int64)}),
    streaming("no head", "loss_params", "None", loss_params=None),
    streaming("no optimizer", "optimizer", "None", optimizer=None),
    streaming("an optimizer's state that is text", "opt_state", "a str", opt_state="abc"),
    streaming("a seed for a key", "key", "3", key=3),
    streaming("a state of another size", "initial_state", initial_state=np.ones((9, 2))),
    evaluating("an objective by name", "objective", "a str", objective="classify"),
    evaluating("parameters that are text", "params", "a str", params="abc"),
    evaluating("a function as data", "data", "a function", data=lambda step: BATCH),
    evaluating("an empty batch", "batch_size", "0", batch_size=0),
    evaluating("ragged inputs", "data['x']", data={"x": RAGGED, "y": Y}),
    Call("the first NaN of no batch", "batch", lambda: first_nonfinite(CELL, CLASSIFY, *weights(), 3), ("a int",)),
    Call("growth with a seed for a key", "key", lambda: tangent_growth(CELL, weights()[0], BATCH["x"], 3), ("3",)),
    Call(
        "growth with an option that unroll has not",
        "options",
        lambda: tangent_growth(CELL, weights()[0], BATCH["x"], jax.random.key(0), trunc=2),
        ("['trunc']",),
    ),
    saving("a function", "params", {"w": len}, "a builtin_function_or_method at ['w']"),
    saving("a set", "params", {"w": {1}}, "a set at ['w']"),
    saving("text", "params", "abc", "a str at the top"),
    saving("an array of objects", "params", {"w": np.array([None])}, "object[1] at ['w']"),
    saving("an array of text", "params", {"w": np.array("abc")}, "<U3[] at ['w']"),
    saving("an array of dates", "params", {"w": np.zeros(2, "M8[D]")}, "datetime64[D][2]"),
    saving("80-bit floats", "params", {"w": np.longdouble(1)}, "float128[]"),
    saving("a shape without values", "params", {"w": jax.ShapeDtypeStruct((2,), "float32")}, "a ShapeDtypeStruct"),
    saving("an integer that no array holds", "params", {"w": 2**70}, "a int"),
    saving("keys of two kinds", "params", {1: 1.0, "a": 2.0}, "text"),
    Call(
        "save, a traced array", "params", lambda: jax.eval_shape(lambda w: save("m", CELL, {"w": w}), 1.0), ("traced",)
    ),
    saving("a head of text", "loss_params", None, "a str", loss_params={"w": "abc"}),
    saving("an objective that is a number", "objective", None, "a int", objective=3),
    saving("metadata that is no JSON", "metadata", None, "JSON", metadata={"a": {1}}),
    saving("metadata that is a list", "metadata", None, "a list", metadata=[1]),
    saving("a cell by name", "cell", cell="gru"),
    saving("into a file", "directory", None, "File exists", directory="file", files=a_file),
    saving("to a number", "directory", None, "3", directory=3),
    saving("to nowhere", "directory", None, "''", directory=""),
    loading("a number", "directory", 3, "a path"),
    loading("nothing", "directory", None, "a path"),
    loading("an empty path", "directory", "", "a path"),
    loading("a path with a NUL", "directory", "a\0b", "a path"),
    loading("a file", "directory", "file", "a file", files=a_file),
    loading("below a file", "directory", "file/model", "no folder", files=a_file),
    loading("no folder", "directory", "none", "no folder"),
    loading("a folder without a model", "directory", ".", "without a model"),
    loading("a name too long", "directory", "a" * 300, "File name too long"),
    loading("a damaged model", "directory", "model", "no checksums", "whole checkpoint", files=a_damaged_model),
    loading("a cell by name", "cell", "model", cell="gru"),
]

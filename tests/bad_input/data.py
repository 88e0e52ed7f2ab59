"""Bad input to `jrnn.data`: archives, tables, names, seeds and `Dataset` itself, in Python and on the command line."""

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jrnn.data import Dataset, latch, load, task

from .rows import Call, Command

CASES, T = 12, 5
X = np.random.default_rng(0).normal(size=(CASES, T, 2))
Y = np.arange(CASES) % 3
LENGTHS = np.full(CASES, T)
table = lambda at: (at / "a.csv").write_text("\n".join(["a,b", *LINES]))  # noqa: E731
LINES = [f"{np.sin(step):.4f},{step * step % 11}.5" for step in range(40)]


def npz(name: str, argument: str, *words: str, **arrays: Any) -> Call:
    """An archive of good arrays but for those given; None leaves one out."""
    held = {key: value for key, value in ({"x": X, "y": Y} | arrays).items() if value is not None}
    return Call(f"npz: {name}", argument, lambda: load("a.npz"), words, lambda at: np.savez(at / "a.npz", **held))


def archive(name: str, *words: str, x: bytes | None = None, change: Callable[[bytes], bytes] | None = None) -> Call:
    """An archive whose x is these bytes, and then changed as a whole."""

    def files(at: Path) -> None:
        with zipfile.ZipFile(at / "a.npz", "w") as file:
            file.writestr("x.npy", npy(X) if x is None else x)
            file.writestr("y.npy", npy(Y))
        if change:
            (at / "a.npz").write_bytes(change((at / "a.npz").read_bytes()))

    return Call(f"npz: {name}", "--data", lambda: load("a.npz"), ("a.npz", *words), files)


def csv(name: str, text: str | bytes, *words: str) -> Call:
    content = text if isinstance(text, bytes) else text.encode()
    return Call(f"csv: {name}", "--data", lambda: load("a.csv"), words, lambda at: (at / "a.csv").write_bytes(content))


def dated(hours: list[int]) -> str:
    """A table with a row at each of these hours of 2020."""
    return "\n".join(f"2020-01-{hour // 24 + 1:02} {hour % 24:02}:00,{hour * hour % 11}.5" for hour in hours)


def good_archive(at: Path) -> None:
    np.savez(at / "a.npz", x=X, y=Y)


def negative_tokens(at: Path) -> None:
    np.savez(at / "a.npz", x=np.arange(CASES * T).reshape(CASES, T) - 1, y=Y)


def made(name: str, argument: str, *words: str, **changes: Any) -> Call:
    """`Dataset` of good fields but for those given."""
    good = {"name": "made", "x": X, "y": Y, "lengths": None, "task": "classify", "outputs": 3}
    good |= {"train": [0, 1, 2], "test": [3, 4], "lag": 2, "lag_reason": "made", "source": "made"}
    return Call(f"Dataset: {name}", argument, lambda: Dataset(**(good | changes)), words)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def header(shape: str, descr: str = "'<f8'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(80)


def patched(signature: bytes, offset: int, form: str, value: int) -> Callable[[bytes], bytes]:
    """Overwrites one field of the first record of this kind."""

    def change(whole: bytes) -> bytes:
        at = whole.index(signature) + offset
        return whole[:at] + struct.pack(form, value) + whole[at + struct.calcsize(form) :]

    return change


def twice(at: Path) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(at / "a.npz", "w") as file:
        warnings.simplefilter("ignore")
        for name, array in (("x.npy", X), ("x.npy", X), ("y.npy", Y)):
            file.writestr(name, npy(array))


def single(at: Path) -> None:
    (at / "a.npz").write_bytes(npy(X))


def at_place(value: Any, *place: int) -> np.ndarray:
    x = X.copy()
    x[place] = value
    return x


class Raises:
    """As a tensor that needs a gradient: NumPy may not have it."""

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise RuntimeError("it needs a gradient; use detach()")


RAGGED = [[1.0], [1.0, 2.0]]
DIRECTORY = b"PK\x01\x02"

ROWS = [
    npz("no y", "--data", "a.npz with x", "the array y", y=None),
    npz("no x", "--data", "a.npz with y", "the array x", x=None),
    npz("other names", "--data", "inputs, y", "the array x", x=None, inputs=X),
    npz("Python objects", "x", "Python objects", x=X.astype(object)),
    npz("y of Python objects", "y", "Python objects", y=np.array([{}] * CASES)),
    npz("text", "x", "text", "real numbers", x=X.astype(str)),
    npz("bytes as text", "x", "text", x=X.astype("S4")),
    npz("complex", "x", "complex128", x=X + 1j),
    npz("bool", "x", "bool", x=X > 0),
    npz("dates", "x", "datetime64", x=X.astype("M8[s]")),
    npz("durations", "x", "timedelta64", x=X.astype("m8[s]")),
    npz("structured", "x", "structured", x=np.zeros((CASES, T), [("a", "f4"), ("b", "f4")])),
    npz("raw bytes, as bfloat16 is saved", "x", "bfloat16", "float32", x=X.astype(np.float16).view("V2")),
    npz("one axis", "x", "[12]", "cases, time, features", x=X[:, 0, 0]),
    npz("four axes", "x", "[12, 5, 2, 1]", x=X[..., None]),
    npz("a scalar", "x", "[]", x=np.float32(3)),
    npz("no cases", "x", "[0, 5, 2]", x=X[:0], y=Y[:0]),
    npz("no steps", "x", "[12, 0, 2]", x=X[:, :0]),
    npz("no features", "x", "[12, 5, 0]", x=X[:, :, :0]),
    npz("one case", "x", "1 case", "at least 2", x=X[:1], y=np.ones(1)),
    npz("nan", "x", "nan at case 3, time 2, feature 1", x=at_place(np.nan, 3, 2, 1)),
    npz("inf", "x", "inf at case 0, time 0, feature 0", x=at_place(np.inf, 0, 0, 0)),
    npz("too large for float32", "x", "1e+300", x=at_place(1e300, 1, 1, 1)),
    npz("y shorter than x", "y", "[11]", "12 cases", y=Y[:-1]),
    npz("y of other steps", "y", "[12, 4, 1]", y=np.ones((CASES, 4, 1))),
    npz("one text", "y", "the label 'a' only", y=np.array(["a"] * 12)),
    npz("labels beside 0 and 1", "y", "[12, 3]", y=np.tile([0, 1, 2], (CASES, 1))),
    Call("npz: tokens of numbers", "--tokens", lambda: load("a.npz", tokens=True), ("float64",), good_archive),
    Call("npz: a negative token", "--tokens", lambda: load("a.npz", tokens=True), ("-1", "from 0"), negative_tokens),
    Call(
        "npz: interpolation", "--missing", lambda: load("a.npz", missing="interpolate"), ("a .csv file",), good_archive
    ),
    Call("tokens of a table", "--tokens", lambda: load("a.csv", tokens=True), (".npz",)),
    Call(
        "txt: too short",
        "--data",
        lambda: load("a.txt"),
        ("5 characters",),
        lambda at: (at / "a.txt").write_text("short"),
    ),
    Call(
        "txt: no UTF-8",
        "--data",
        lambda: load("a.txt"),
        ("UTF-8",),
        lambda at: (at / "a.txt").write_bytes(b"\xff\xfe" * 200),
    ),
    npz("y complex", "y", "complex", y=Y * 1j),
    npz("y nan", "y", "nan at case 0", y=np.full(CASES, np.nan)),
    npz("one label", "y", "the label 0 only", "two classes", y=Y * 0),
    npz("one bool", "y", "the label 1 only", y=Y >= 0),
    npz("the label -1", "y", "label -1 at case 0", "at least 0", y=Y - 1),
    npz("the label -100", "y", "label -100 at case 2", "at least 0", y=np.where(Y == 2, -100, Y)),
    npz("the label -100 at a step", "y", "label -100 at case 0, time 4", y=np.tile([0, 1, 2, 0, -100], (CASES, 1))),
    npz("numbers as labels", "y", "label 2000000", "floats", y=Y * 10**6),
    npz(
        "labels beyond int64",
        "y",
        "label 18446744073709551615",
        y=np.where(Y == 0, np.uint64(2**64 - 1), Y.astype("u8")),
    ),
    npz("one-hot integers", "y", "[12, 3]", y=np.eye(3, dtype=int)[Y]),
    npz("a length beyond x", "lengths", "6 at case 0", lengths=LENGTHS + 1),
    npz("a length below nought", "lengths", "-1 at case 0", lengths=LENGTHS * 0 - 1),
    npz("lengths all nought", "lengths", "0 for every case", lengths=LENGTHS * 0),
    npz("lengths as floats", "lengths", "float64", "integers", lengths=LENGTHS * 1.0),
    npz("lengths of other cases", "lengths", "[3]", lengths=LENGTHS[:3]),
    npz("lengths of Python objects", "lengths", "Python objects", lengths=LENGTHS.astype(object)),
    archive("deep brackets in a header", "x", "damaged header", x=header("(" * 9000)),
    archive("text as x.npy", "x", "cannot be read", x=b"1,2,3\n4,5,6\n"),
    archive("nothing as x.npy", "x", "cannot be read", x=b""),
    archive("a header that claims 1e12 numbers", "x", "8,000,000,000,000 bytes", x=header("(1000000000000,)")),
    archive("a header that claims too few", "x", "and has 80", x=header("(2,)")),
    archive("a negative shape", "x", "shape", x=header("(-10,)")),
    archive("an unknown dtype", "x", "damaged header", x=header("(10,)", "'<q9'")),
    archive("a pickle", "x", "cannot be read", x=b"\x80\x04K\x01."),
    archive("an encrypted member", "x is encrypted", change=patched(DIRECTORY, 8, "<H", 1)),
    archive("an unknown packing", "method 77", change=patched(DIRECTORY, 10, "<H", 77)),
    archive(
        "a directory that claims 4e9 bytes",
        "x unpacks to 4,000,000,000",
        change=patched(DIRECTORY, 24, "<I", 4 * 10**9),
    ),
    archive("a wrong checksum", "x", "cannot be read", change=patched(DIRECTORY, 16, "<I", 1)),
    archive("cut short", "cannot be read", change=lambda whole: whole[: len(whole) // 2]),
    archive("noughts", "cannot be read", change=lambda whole: bytes(len(whole))),
    archive("empty", "cannot be read", change=lambda whole: b""),
    archive("a table by another name", "cannot be read", change=lambda whole: "\n".join(LINES).encode()),
    Call("npz: x twice", "--data", lambda: load("a.npz"), ("holds x twice",), twice),
    Call("npz: a single array", "--data", lambda: load("a.npz"), ("a single array", "np.savez"), single),
    Call("npz: a folder", "--data", lambda: load("a.npz"), ("not a file",), lambda at: (at / "a.npz").mkdir()),
    csv("empty", "", "empty"),
    csv("blank lines", "\n \n\n", "empty"),
    csv("a header alone", "a,b\n", "only 'a,b'"),
    csv("text in a cell", "a,b\n1,2\n3,x4\n", "'x4' in line 3, column 2"),
    csv("a column of words", "a,b\nx,5\ny,6\n", "column 1", "text throughout"),
    csv("dates of either order", "01/02/2020,5\n01/02/2020,6\n", "day or month first", "2020-12-31"),
    csv("several series stacked", "\n".join(f"2020-01-0{i % 3 + 1},{i}.5" for i in range(30)), "the time of another"),
    csv("gaps longer than the series", dated([*range(9), *range(99, 109)]), "90 rows are missing"),
    csv("a gap", dated([*range(9), *range(10, 30)]), "1 missing row (after 2020-01-01 08:00:00)", "--missing"),
    csv("a row without a time", dated([0, 1]) + "\n,5", "line 3", "a time in every row"),
    csv("rows of different widths", "1,2\n3,4,5\n", "3 cells in line 2"),
    csv("an empty line", "1,2\n\n3,4\n", "line 2"),
    csv("an empty cell", "1,2\n3,\n", "the first in line 2, column 2", "--missing interpolate"),
    csv("nan", "1,nan\n2,3\n", "1 missing value"),
    csv("a missing value by name", "1,2\nNA,3\n", "1 missing value"),
    csv("infinity", "1,2\n-inf,3\n", "-inf in line 2"),
    csv("too large for float32", "1\n1e39\n", "1e39 in line 2"),
    csv("underlines in a number", "1_000,2\n3,4\n", "1_000"),
    csv("UTF-16", "\n".join(LINES).encode("utf-16"), "UTF-8"),
    csv("noughts", bytes(100), "NUL"),
    csv("a cell without end", '"' + "1" * 200_000, "cannot be read"),
    csv("decimal commas", "\n".join(f"{i},5" for i in range(40)), "decimal commas", "a point"),
    csv("decimal commas in quotes", "\n".join(f'"{i},5"' for i in range(40)), "decimal commas", "a point"),
    csv("decimal commas below one title", "a\n" + "\n".join(f"{i},5" for i in range(40)), "decimal comma"),
    csv("too few rows", "\n".join(LINES[:19]), "19 steps", "at least 20"),
    csv("constant", "\n".join(["7,1"] * 40), "decimal commas"),
    csv("constant with points", "\n".join(["7.5"] * 40), "no column that varies"),
    csv("an archive by another name", npy(X), "cannot be read"),
    *[
        Call(f"csv: {name}", argument, lambda options=options: load("a.csv", **options), words, table)
        for name, argument, options, words in (
            ("a target that is not there", "--target", {"target": "c"}, ("'c'", "a column of a.csv")),
            ("no horizon", "--horizon", {"horizon": 0}, ("at least 1",)),
            ("a horizon beyond the series", "--horizon", {"horizon": 20}, ("20, beside windows of",)),
            ("half a step of history", "--history", {"history": 2.5}, ("2.5",)),
            ("a history longer than the series", "--data", {"history": 40}, ("40 steps", "at least 81")),
            ("another way with gaps", "--missing", {"missing": "drop"}, ("refuse, interpolate, mask",)),
        )
    ],
    Call("a target of a named set", "--target", lambda: load("digits", target="x"), ("a .csv file",)),
    Call("csv: a folder", "--data", lambda: load("a.csv"), ("not a file",), lambda at: (at / "a.csv").mkdir()),
    *[
        Call(f"load({name!r})", "--data", lambda name=name: load(name), ("digits",))
        for name in (3, None, b"a.csv", "", "a")
    ],
    *[
        Call(f"load({name!r}) ", "--data", lambda name=name: load(name), ("PATH.csv",))
        for name in ("a.npy", "no.csv", "\0.npz")
    ],
    *[
        Call(
            f"{name} with seed {seed!r}",
            "--seed",
            lambda name=name, seed=seed: load(name, seed=seed),
            ("whole number",),
        )
        for name in ("digits", "sunspots")
        for seed in (-1, 1.5, "0", True, None, np.nan)
    ],
    *[
        Call(f"load({name!r})  ", "--data", lambda name=name: load(name), words)
        for name, words in (
            ("marked_bit:20", ("'marked_bit:20'", "marked-bit, latch, adding", "lorenz")),
            ("latch", ("a lag in steps after the colon", "latch:200")),
            ("latch:", ("a lag in steps after the colon",)),
            ("adding:2.5", ("a lag in steps after the colon",)),
            ("adding:-3", ("a lag in steps after the colon",)),
            ("marked-bit:0", ("'marked-bit:0'", "from 1 to 100,000")),
            ("marked-bit:100001", ("from 1 to 100,000",)),
            ("copy:10", ("from 11",)),
            ("two-lag-coin:1", ("from 2 to 50,000", "a shorter one")),
            ("temporal-order:7", ("from 8 to 80,000",)),
            ("lorenz:5001", ("from 1 to 5,000",)),
        )
    ],
    *[
        Call(f"latch({lag!r})", "lag", lambda lag=lag: latch(lag), ("whole number",))
        for lag in (0, -1, 2.0, "3", True, None, 10**6)
    ],
    Call("task('cluster:3')", "--data", lambda: task("cluster:3"), ("'cluster:3'", "delayed-xor")),
    *[
        Call(f"a batch of {size!r}", "size", lambda size=size: latch(3).batch(None, size), ("positive integer",))
        for size in (0, 2.0, True)
    ],
    Call("a data set of 11 cases", "cases", lambda: latch(3).dataset(cases=11), ("at least 12",)),
    Call("a task's seed below 0", "seed", lambda: latch(3).dataset(-1), ("at least 0",)),
    made("a warm-up for one answer", "warmup", "1", "from 0 to 0", warmup=1),
    made(
        "a warm-up as long as T",
        "warmup",
        "5",
        "from 0 to 4",
        warmup=5,
        task="classify_each",
        y=np.ones((CASES, T), int),
    ),
    made("a plateau of nought", "plateau", "0.0", plateau=0.0),
    made("a least loss above the plateau", "best_loss", "0.6", plateau=0.5, best_loss=0.6),
    made("a case to choose by that is trained on", "validation", "case 2", "in train", validation=[2, 5]),
    made("two axes", "x", "[12, 5]", x=X[:, :, 0]),
    made("ragged lists", "x", "list", x=RAGGED),
    made("a tensor that needs a gradient", "x", "Raises", "detach", x=Raises()),
    made("a string", "x", "text", x="abc"),
    made("None", "x", "Python object", x=None),
    made("a dictionary", "x", "Python object", x={"a": 1}),
    made("nan", "x", "nan at case 1, time 1, feature 1", x=at_place(np.nan, 1, 1, 1)),
    made("another task", "task", "'sort'", "classify", task="sort"),
    made("a task that is no text", "task", "3", task=3),
    made("a task that is a list", "task", "['classify']", task=["classify"]),
    made("one class", "outputs", "1", "at least 2", outputs=1),
    made("outputs as a float", "outputs", "3.0", outputs=3.0),
    made("labels as floats", "y", "float64", "integers", y=Y * 1.0),
    made("a label too high", "y", "label 2 at case 2", outputs=2),
    made("a negative label", "y", "label -1 at case 0", y=Y - 1),
    made("numbers of another shape", "y", "[12, 2]", task="regress", y=np.ones((CASES, 2))),
    made("lengths too long", "lengths", "6 at case 0", lengths=LENGTHS + 1),
    made("lengths of lists", "lengths", "list", lengths=RAGGED),
    made("no training case", "train", "no cases", train=[]),
    made("a case twice", "train", "twice", train=[0, 0]),
    made("a case that is not there", "test", "12 at position 0", test=[12]),
    made("a case in both parts", "test", "case 2", test=[2, 3]),
    made("cases as text", "train", "text", train=["a", "b"]),
    made("lag nought", "lag", "0", "1 to 4", lag=0),
    made("a lag beyond the steps", "lag", "5", lag=5),
    made("a lag as a float", "lag", "2.0", lag=2.0),
    made("a lag as text", "lag", "'2'", lag="2"),
    Command(
        "diagnose a table of text",
        ("diagnose", "--data", "a.csv"),
        ("--data", "'x'"),
        lambda at: (at / "a.csv").write_text("a\n1\nx\n"),
    ),
    Command("diagnose a task without its lag", ("diagnose", "--data", "marked-bit"), ("--data", "marked-bit:200")),
    Command("diagnose a file that is not there", ("diagnose", "--data", "no.npz"), ("--data", "no.npz")),
]

"""Bad input on the command line: options, paths, and what asks for more than the machine has."""

import os

import numpy as np

from .rows import Command

HELP = "--help"
TINY = ("--data", "tiny.npz", "--hidden", "4", "--steps", "2", "--batch-size", "8")
WHOLE = ("two", "2.5", "1e3", "", " ", "0x10", "½", "²", "3,000", "1 2", "inf", "nan", "9" * 5000)
REAL = ("ten", "", "1,5", "1e", "½", "0x1p4", "1 2")


def sequences(folder):
    """A user's own file: 20 sequences of 6 steps, 2 features, two classes."""
    x = np.random.default_rng(0).normal(size=(20, 6, 2)).astype(np.float32)
    np.savez(folder / "tiny.npz", x=x, y=np.arange(20) % 2)


def with_file(name, content=b"not empty"):
    """Those sequences, and another file."""

    def write(folder):
        sequences(folder)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    return write


def with_run(folder):
    """A folder that looks like a run with a checkpoint of step 3."""
    sequences(folder)
    (folder / "run" / "checkpoints" / "3").mkdir(parents=True)


def diagnose(name, args, words, files=sequences):
    return Command(name, ("diagnose", *args), words, files)


def tiny(name, args, words, files=sequences):
    """With small data that are there, so that only `args` are wrong."""
    return diagnose(name, (*TINY, *args), words, files)


def shown(text):
    """How a row names a value."""
    return repr(text) if len(text) < 20 else f"{len(text)} digits"


WORDS = [
    *(
        tiny(f"{option} {shown(text)}", (option, text), (option, "a whole number", HELP))
        for option, texts in (("--hidden", WHOLE), ("--steps", WHOLE[:2]), ("--seed", WHOLE[:2]), ("--lag", WHOLE[:2]))
        for text in texts
    ),
    *(
        tiny(f"{option} {shown(text)}", (option, text), (option, "a number", HELP))
        for option, texts in (("--max-norm", REAL), ("--learning-rate", REAL[:2]))
        for text in texts
    ),
    *(
        tiny(f"{option} without a value", (option,), (option, "nothing", HELP))
        for option in ("--data", "--cell", "--hidden", "--lag", "--model", "--rnn", "--out", "--learning-rate")
    ),
    tiny("an option that needs none", ("--resume=yes",), ("--resume", "'yes'", HELP)),
    tiny("an unknown option", ("--units", "3"), ("--units", "no such option", HELP)),
    tiny("an unknown option with a newline", ("--un\nits",), ("--un\\nits", HELP)),
    tiny("an option of diagnose's neighbour", ("--rate=1",), ("--rate=1", HELP)),
    tiny("a word too many", ("now",), ("now", HELP)),
    tiny("two options alike", ("--l", "3"), ("--l", "--layers, --learning-rate, --lag", HELP)),
    Command(
        "an unknown command", ("diagnoze",), ("'diagnoze'", "one of diagnose, train, prescribe, predict, compare", HELP)
    ),
    Command(
        "an option before the command",
        ("--hidden", "3", "diagnose"),
        ("'3'", "one of diagnose, train, prescribe, predict, compare", HELP),
    ),
    Command("an option of diagnose given to train", ("train", "--lag", "3"), ("--lag", "no such option", HELP)),
    Command("a model given to train", ("train", "--model", "run"), ("--model", HELP)),
]

NUMBERS = [
    tiny("hidden 0", ("--hidden", "0"), ("--hidden", "0", "positive")),
    tiny("hidden -3", ("--hidden", "-3"), ("--hidden", "-3", "positive")),
    tiny("hidden past int32", ("--hidden", "99999999999"), ("--hidden", "99999999999", "memory")),
    tiny("hidden past int64", ("--hidden", "9" * 30), ("--hidden", "memory")),
    tiny("hidden past a float", ("--hidden", "9" * 400), ("--hidden", "memory")),
    tiny("hidden of 160 GB", ("--hidden", "200000"), ("--hidden", "200000", "GiB", "memory")),
    tiny("an LSTM too wide", ("--cell", "lstm", "--hidden", "150000"), ("--hidden", "150000", "GiB")),
    tiny("a GRU too wide", ("--cell", "gru", "--hidden", "150000"), ("--hidden", "150000", "GiB")),
    tiny("layers 0", ("--layers", "0"), ("--layers", "0", "from 1")),
    tiny("layers without end", ("--layers", "100000"), ("--layers", "100000", "from 1 to")),
    tiny("layers past int64", ("--layers", "9" * 30), ("--layers", "from 1 to")),
    tiny("steps 0", ("--steps", "0"), ("--steps", "0", "from 1")),
    tiny("steps -1", ("--steps", "-1"), ("--steps", "-1", "from 1")),
    tiny("steps past int32", ("--steps", str(10**18)), ("--steps", str(10**18), "2147483647")),
    tiny("batch size 0", ("--batch-size", "0"), ("--batch-size", "0", "from 1")),
    tiny("batch size past the data", ("--batch-size", "17"), ("--batch-size", "17", "from 1 to 16")),
    tiny("batch size past int64", ("--batch-size", str(10**30)), ("--batch-size", "from 1 to 16")),
    tiny("seed -1", ("--seed", "-1"), ("--seed", "-1", "from 0")),
    tiny("seed 2**63", ("--seed", str(2**63)), ("--seed", str(2**63), str(2**63 - 1))),
    tiny("seed past a float", ("--seed", "9" * 400), ("--seed", str(2**63 - 1))),
    tiny("lag 0", ("--lag", "0"), ("--lag", "0", "from 1 to 5")),
    tiny("lag -1", ("--lag", "-1"), ("--lag", "-1", "from 1 to 5")),
    tiny("lag of the whole sequence", ("--lag", "6"), ("--lag", "6", "from 1 to 5")),
    tiny("lag past int64", ("--lag", str(10**30)), ("--lag", "from 1 to 5")),
    *(
        tiny(f"{option} {text}", (f"{option}={text}",), (option, "a positive number"))
        for option in ("--max-norm", "--learning-rate")
        for text in ("0", "-1", "nan", "-inf", "1e-400", "-0.0")
    ),
    *(
        tiny(f"--learning-rate {text}", ("--learning-rate", text), ("--learning-rate", "inf", "a positive number"))
        for text in ("inf", "1e400", "infinity")
    ),
    tiny("learning rate past float32", ("--learning-rate", "1e39"), ("--learning-rate", "1e+39", "a positive number")),
    tiny("another cell", ("--cell", "rnn"), ("--cell", "'rnn'", "elman, lstm, gru")),
    tiny("a cell in capitals", ("--cell", "LSTM"), ("--cell", "'LSTM'", "elman, lstm, gru")),
    tiny("no cell", ("--cell", ""), ("--cell", "''", "elman, lstm, gru")),
    tiny("a cell with a newline", ("--cell", "l\nstm"), ("--cell", "elman, lstm, gru")),
    tiny("a cell's name without end", ("--cell", "x" * 100000), ("--cell", "elman, lstm, gru")),
]

LONG = "x" * 300
OUT = [
    tiny("out ''", ("--out", ""), ("--out", "''", "a folder")),
    tiny("out with a NUL", ("--out", "a\0b"), ("--out", "a\\x00b", "a folder")),
    tiny("out too long a name", ("--out", LONG), ("--out", "a folder")),
    tiny("out too long a path", ("--out", "y/" * 3000), ("--out", "a folder")),
    tiny("out below too long a name", ("--out", f"new/{LONG}/run"), ("--out", "a folder")),
    tiny("out is a file", ("--out", "a.txt"), ("--out", "a.txt", "a folder"), with_file("a.txt")),
    tiny("out is a file with a slash", ("--out", "a.txt/"), ("--out", "a.txt", "a folder"), with_file("a.txt")),
    tiny("out below a file", ("--out", "a.txt/run"), ("--out", "a.txt/run", "a folder"), with_file("a.txt")),
    tiny("out is the data", ("--out", "tiny.npz"), ("--out", "tiny.npz", "a folder")),
    tiny("out is a device", ("--out", os.devnull), ("--out", os.devnull, "a folder")),
    tiny("out below a device", ("--out", f"{os.devnull}/x"), ("--out", f"{os.devnull}/x", "a folder")),
    tiny("out with a newline, a file", ("--out", "a\nb"), ("--out", "a\\nb", "a folder"), with_file("a\nb")),
    tiny("out holds a run", ("--out", "run"), ("--out", "run", "--resume"), with_run),
    tiny("out holds a run, with a slash", ("--out", "run/"), ("--out", "run", "--resume"), with_run),
    tiny("out is no UTF-8", ("--out", "caf\udce9"), ("--out", "caf\\udce9", "UTF-8")),
    tiny("resume without a run", ("--resume",), ("--resume", "no run", "--out")),
    Command("train: out is a file", ("train", *TINY, "--out", "tiny.npz"), ("--out", "a folder"), sequences),
    Command("train: out holds a run", ("train", *TINY, "--out", "run"), ("--out", "--resume"), with_run),
    Command("train: out with a NUL", ("train", *TINY, "--out", "\0"), ("--out", "a folder"), sequences),
]

DATA = [
    *(
        diagnose(f"data {what}", ("--data", text), ("--data", "digits, mnist"))
        for what, text in (
            ("''", ""),
            ("with a NUL", "a\0b.npz"),
            ("with a NUL, a table", "a\0b.csv"),
            ("of too long a name", f"{LONG}.npz"),
            ("a folder", "."),
            ("a device", os.devnull),
            ("a name in capitals", "Digits"),
            ("a name with a space", "digits "),
            ("with a newline, missing", "my\ndata.npz"),
            ("of another ending", "tiny.txt"),
            ("a link to the web", "https://example.org/x.npz"),
            ("an escape sequence", "\x1b[2J.npz"),
            ("no UTF-8", "\udce9.npz"),
        )
    ),
]

MODEL = [
    *(
        diagnose(f"model {what}", ("--data", "tiny.npz", "--model", text), ("--model", *words))
        for what, text, words in (
            ("''", "", ()),
            ("with a NUL", "a\0b", ()),
            ("with a NUL, a file", "a\0b.npz", ()),
            ("with a NUL, a function", "a\0b:f", ()),
            ("of too long a name", LONG, ()),
            ("missing", "nowhere", ("nowhere",)),
            ("missing, with a newline", "no\nwhere", ("no\\nwhere",)),
            ("a folder without a model", ".", ("without a model",)),
            ("a device", os.devnull, ()),
            ("a function of no module", "nowhere_at_all:f", ("nowhere_at_all",)),
            ("a function of no name", "json:", ()),
            ("a function that is not there", "json:nothing", ("nothing",)),
        )
    ),
    diagnose("a model beside no data", ("--model", "m.npz"), ("--data", "none"), with_file("m.npz")),
    *(
        diagnose(f"{option} beside --model", ("--model", ".", option, value), (option, "beside --model"))
        for option, value in (
            ("--cell", "gru"),
            ("--hidden", "3"),
            ("--layers", "2"),
            ("--steps", "2"),
            ("--max-norm", "1"),
            ("--learning-rate", "1"),
            ("--batch-size", "1"),
            ("--seed", "1"),
        )
    ),
    diagnose("--resume beside --model", ("--model", ".", "--resume"), ("--resume", "--model")),
    *(
        tiny(f"{option} without --model", (option, "x"), (option, "--model"))
        for option in ("--rnn", "--head", "--direction")
    ),
    *(
        diagnose(
            f"a user's module that {does}",
            ("--data", "tiny.npz", "--model", f"{name}:f"),
            ("--model", name, *words),
            with_file(f"{name}.py", text.encode()),
        )
        for does, name, text, words in (
            ("exits when imported", "exits_at_once", "raise SystemExit(0)", ("SystemExit",)),
            ("exits with a text", "exits_with_text", "import sys\nsys.exit('bye')", ("bye",)),
            ("exits when called", "exits_when_called", "def f():\n    raise SystemExit(7)", ("SystemExit",)),
            ("raises when imported", "raises_at_once", "1 / 0", ("ZeroDivisionError",)),
            ("raises a text of many lines", "raises_lines", "raise ValueError('a\\nb\\nc')", ("ValueError",)),
            ("is no Python", "no_python", "def", ("SyntaxError",)),
        )
    ),
]

ROWS = [*WORDS, *NUMBERS, *OUT, *DATA, *MODEL]

"""The options of the commands, and how a mistake in them is told: in one line."""

from __future__ import annotations

import argparse
import re
import textwrap
from typing import NoReturn

from jrnn.commands.console import one_line
from jrnn.commands.kinds import KINDS as CELLS
from jrnn.commands.numbers import real, whole
from jrnn.commands.series_options import add_missing, add_series_options
from jrnn.cures.catalogue import KINDS, usage
from jrnn.training.intervals import LEVELS

DATA = """\
data (--data):
  digits    1,797 real handwritten digits, read pixel by pixel: 64 steps, 10 classes (default)
  mnist     5,000 real MNIST images, 784 steps, 10 classes
  sunspots  yearly sunspot numbers from 1700: forecast the next year
  text      Python's own documentation, character by character: predict the next one
  NAME:LAG  a task whose answer lies LAG steps back, with the loss of who does not reach it:
            marked-bit:200, latch, adding, copy, two-lag-coin, delayed-xor, temporal-order;
            lorenz forecasts so many steps ahead; of neuroscience: flip-flop, delayed-match,
            context-decision, ready-set-go
  PATH.npz  your sequences: x [cases, time, features], y, and lengths [cases] if they differ;
            --tokens reads integers x [cases, time] as symbols, --missing mask leaves out
            answers that are missing (NaN, or -100 among classes)
  PATH.txt  your text, character by character: predict the next one
  PATH.csv  your series, one row a step: dates become the index, columns that count are not
            forecast, and what was understood is printed; forecast the next row, or --target
            and --horizon
"""
EXAMPLES = {
    "diagnose": """\
examples:
  jrnn diagnose                           an Elman network on digits, before and after training
  jrnn diagnose --cell lstm --data text   the same with an LSTM on text
  jrnn diagnose --data mine.npz --lag 50  your own: can it learn from 50 steps back?
  jrnn diagnose --model DIR               what `jrnn train` saved
  jrnn diagnose --model lstm.safetensors --data mine.npz --rnn encoder --head classifier
  jrnn diagnose --model speech.onnx --data frames.npz
  jrnn diagnose --model my.models:tagger --data mine.npz

models from elsewhere (--model), diagnosed on --data:
  PATH.safetensors, PATH.npz   a PyTorch state_dict with an RNN, LSTM or GRU in it (PyTorch is
            not needed). --head names the linear layer that answers the task; without it each
            output that the task asks for is pulled in a random direction
  PATH.onnx                    its LSTM, GRU or RNN nodes, pulled in a random direction
  package.module:function      what the function returns, called without arguments:
            (cell, params) of jrnn, such as jrnn.interop.from_equinox gives; a Flax nnx module;
            or (linen module, variables). A recurrent cell is pulled in a random direction. Of
            a whole model the RNN inside is diagnosed, with the task's loss on what the model
            returns: model(x), or model(x, lengths) where lengths differ, x [cases, time,
            features] -> [cases, outputs], or [cases, time, outputs] for a task at each step
""",
    "train": """\
examples:
  jrnn train --cell gru --data sunspots --out sun
  jrnn train --cell gru --data sunspots --out sun --resume    go on after Ctrl-C or a crash
  jrnn train --cell gru --data power.csv --target load --horizon 24 --change --out day
  jrnn train --cell gru --data mine.npz --cure chrono:200   gates that start open for 200 steps
  jrnn train --cell gru --data mine.npz --seeds 5           is it the network, or the seed?
""",
    "predict": """\
examples:
  jrnn predict --model DIR --data new.csv --out forecast.csv    the steps after the last row
  jrnn predict --model DIR --data new.npz --out answers.csv     an answer for each sequence in x
  jrnn predict --model DIR --data prompt.txt --steps 1000       a model of a text goes on with another
""",
    "prescribe": """\
examples:
  jrnn prescribe --data mine.npz --cell gru --lag 200 --budget 10m
  jrnn prescribe --data mine.npz --cell elman --cure leaky:200 --cure tune-gain    these alone
  jrnn prescribe --data mine.npz --cell gru --cure chrono:200+leaky:200            both together
  jrnn prescribe --model DIR --lag 200      the network that `jrnn train` saved, from its start
""",
    "compare": """\
examples:
  jrnn compare elman lstm                  two folders of `jrnn diagnose --out` or `jrnn train --out`
  jrnn compare elman lstm gru --lag 50 --out side-by-side
""",
}


REWORDED = (
    (r"^argument ", ""),
    (r"expected one argument$", "got nothing; need a value"),
    (r"ignored explicit argument (.*)$", r"got \1; need no value"),
    (
        r"invalid choice: (.*) \(choose from (.*)\)$",
        lambda found: f"got {found[1]}; need one of {found[2].replace(chr(39), '')}",  # newer Pythons do not quote
    ),
)
"""What argparse says, in the words of every other refusal."""


class Parser(argparse.ArgumentParser):
    """Refuses in one line, in the name of the command."""

    def error(self, message: str) -> NoReturn:
        for old, new in REWORDED:
            message = re.sub(old, new, message, flags=re.DOTALL)
        self.exit(2, f"{self.prog}: {one_line(message)} (see `{self.prog} --help`)\n")

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[override]
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"{unknown[0]}: no such {'option' if unknown[0].startswith('-') else 'argument'}")
        return found, unknown


def parser() -> argparse.ArgumentParser:
    """The options of all commands."""
    top = Parser(
        prog="jrnn",
        description="Shows where the gradient of a recurrent network goes, on your data.",
        epilog="`jrnn COMMAND --help` tells a command's options.",
    )
    top.add_argument("--version", action="store_true", help="print the version and leave")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in (
        ("diagnose", "train a network and report how far back its gradient reaches, before and after"),
        ("train", "train a network and save it"),
        ("prescribe", "race what is known to help against a network as it is, and say what helps"),
        ("predict", "what a saved network answers on new data, in the unit of the data, with intervals"),
    ):
        one = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog="\n".join(
                [*[DATA] * (name != "predict"), *[cures()] * (name in ("train", "prescribe")), EXAMPLES[name]]
            ),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == "predict":
            add_predict(one)
        else:
            add_options(one, name)
    add_compare(commands)
    return top


def add_compare(commands: argparse._SubParsersAction) -> None:
    """`jrnn compare` has options of its own."""
    text = "put saved runs and reports side by side: what arrives at a lag, growth, reach, verdict"
    one = commands.add_parser(
        "compare",
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=EXAMPLES["compare"],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("runs", metavar="RUN", nargs="+", help="a folder of `jrnn train --out` or `jrnn diagnose --out`")
    one.add_argument("--lag", type=whole, metavar="L", help="the lag to compare at (default: the one that all need)")
    text = "measure all of them on these data (default: each on its own; a report as it was measured)"
    one.add_argument("--data", metavar="NAME|NAME:LAG|PATH", help=text)
    one.add_argument("--out", metavar="DIR", help="write the figure there: compare.png")


def cures() -> str:
    """The cures and what each does, for the help."""
    lines = (f"  {usage(kind):27} {kind.sentence}" for kind in KINDS)
    wrapped = (textwrap.fill(line, 95, subsequent_indent=" " * 30) for line in lines)
    return "\n".join(["cures (--cure):", *wrapped, ""])


def add_predict(one: argparse.ArgumentParser) -> None:
    """The options of `jrnn predict`."""
    one.add_argument("--model", metavar="DIR", required=True, help="what `jrnn train` saved")
    one.add_argument("--data", metavar="PATH", help="new data of the same columns (default: those of the model)")
    one.add_argument("--out", metavar="FILE", help="what to write (default: forecast.csv, continuation.txt)")
    text = "the share of the held-out errors that an interval holds (default: 0.9)"
    one.add_argument("--level", type=real, choices=LEVELS, default=0.9, help=text)
    add_missing(one)
    group = one.add_argument_group("of a model that was trained on a text, which goes on with the text in --data")
    group.add_argument("--steps", type=whole, metavar="N", help="characters to write (default: 500)")
    text = "below 1 the likely more often, 0 always the likeliest (default: 1)"
    group.add_argument("--temperature", type=real, metavar="X", help=text)
    group.add_argument("--seed", type=whole, metavar="N", help="of the draws (default: 0)")


def add_options(one: argparse.ArgumentParser, command: str) -> None:
    """Defaults of the model's options are None, so that one given beside --model can be told."""
    one.add_argument("--data", metavar="NAME|NAME:LAG|PATH", help="digits, mnist, ..., marked-bit:200, PATH.npz")
    one.add_argument("--cell", choices=CELLS, metavar="KIND", help=", ".join(CELLS).replace(",", " (default),", 1))
    one.add_argument("--hidden", type=whole, metavar="H", help="units in each layer (default: 128)")
    one.add_argument("--layers", type=whole, metavar="N", help="layers (default: 1)")
    races = command == "prescribe"
    if not races:
        text = "optimizer updates (default: 8000; fewer where sequences are longer than 64)"
        one.add_argument("--steps", type=whole, metavar="N", help=text)
        text = "train from so many seeds, --seed and those after it, in one program, and tell how far they differ"
        one.add_argument("--seeds", type=whole, metavar="N", help=text)
    one.add_argument(
        "--max-norm", type=real, metavar="X", help="clip the gradient's global norm at X, inf for never (default: 1)"
    )
    one.add_argument("--learning-rate", type=real, metavar="X", help="of Adam (default: 0.001)")
    one.add_argument("--batch-size", type=whole, metavar="N", help="sequences in an update (default: 32)")
    one.add_argument("--seed", type=whole, metavar="N", help="of parameters, batches and the split (default: 0)")
    text = "race this one (default: those that fit the cell)" if races else "apply it"
    text += "; A+B act together" + ", as do several" * (not races)
    one.add_argument("--cure", metavar="NAME[:X]", action="append", help=f"a cure, such as chrono:200: {text}")
    if command != "train":
        one.add_argument(
            "--lag", type=whole, metavar="L", help="the lag the task needs, in steps (default: from the data)"
        )
    if races:
        one.add_argument("--budget", metavar="TIME", help="wall clock, such as 90s, 10m or 1h (default: 10m)")
        one.add_argument("--updates", type=whole, metavar="N", help="of a run in the final, instead of a budget")
        one.add_argument("--seeds", type=whole, metavar="N", help="in the final, at least 8 (default: 8)")
        text = "held-out loss that counts as solved (default: none, but for tasks with a known plateau)"
        one.add_argument("--solved", type=real, metavar="LOSS", help=text)
        text = "race the network that `jrnn train` saved, from its start, with its options"
        one.add_argument("--model", metavar="DIR", help=text)
        one.set_defaults(steps=None, resume=False, tensorboard=False)
    if command == "diagnose":
        one.add_argument(
            "--model", metavar="DIR|FILE|FUNCTION", help="diagnose what `jrnn train` saved, or a model from elsewhere"
        )
        one.add_argument(
            "--rnn",
            metavar="NAME",
            action="append",
            help="which recurrent layer of --model; of a .onnx file several, bottom first, make a stack",
        )
        one.add_argument("--head", metavar="NAME", help="the linear layer of a state_dict that answers the task")
        one.add_argument("--direction", metavar="WAY", help="forward or backward, of a bidirectional layer")
    one.add_argument("--out", metavar="DIR", help="where to write (default: jrnn-report, or jrnn-report-2, ...)")
    if not races:
        one.add_argument("--tensorboard", action="store_true", help="write TensorBoard event files too")
        one.add_argument("--resume", action="store_true", help="go on with the run in --out")
    add_series_options(one)

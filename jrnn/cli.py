"""The command line: `jrnn diagnose` and `jrnn train`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from jrnn.types import InputError

DATA = """\
data (--data):
  digits    1,797 real handwritten digits, read pixel by pixel: 64 steps, 10 classes (default)
  mnist     5,000 real MNIST images, 784 steps, 10 classes
  sunspots  yearly sunspot numbers from 1700: forecast the next year
  text      Python's own documentation, character by character: predict the next one
  PATH.npz  your sequences: x [cases, time, features], y, and lengths [cases] if they differ
  PATH.csv  your series, one row a step, one column a feature: forecast the next row
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
""",
}


def parser() -> argparse.ArgumentParser:
    """The options of both commands."""
    top = argparse.ArgumentParser(
        prog="jrnn",
        description="Shows where the gradient of a recurrent network goes, on your data.",
        epilog="`jrnn COMMAND --help` tells a command's options.",
    )
    top.add_argument("--version", action="store_true", help="print the version and leave")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in (
        ("diagnose", "train a network and report how far back its gradient reaches, before and after"),
        ("train", "train a network and save it"),
    ):
        one = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=DATA + "\n" + EXAMPLES[name],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_options(one, name == "diagnose")
    return top


def add_options(one: argparse.ArgumentParser, diagnoses: bool) -> None:
    """Defaults of the model's options are None, so that one given beside --model can be told."""
    one.add_argument("--data", metavar="NAME|PATH", help="digits, mnist, sunspots, text, PATH.npz or PATH.csv")
    one.add_argument("--cell", metavar="KIND", help="elman, lstm or gru (default: elman)")
    one.add_argument("--hidden", type=int, metavar="H", help="units in each layer (default: 128)")
    one.add_argument("--layers", type=int, metavar="N", help="layers (default: 1)")
    one.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="optimizer updates (default: 8000; fewer where sequences are longer than 64)",
    )
    one.add_argument(
        "--max-norm", type=float, metavar="X", help="clip the gradient's global norm at X, inf for never (default: 1)"
    )
    one.add_argument("--learning-rate", type=float, metavar="X", help="of Adam (default: 0.001)")
    one.add_argument("--batch-size", type=int, metavar="N", help="sequences in an update (default: 32)")
    one.add_argument("--seed", type=int, metavar="N", help="of parameters, batches and the split (default: 0)")
    if diagnoses:
        one.add_argument(
            "--lag", type=int, metavar="L", help="the lag the task needs, in steps (default: from the data)"
        )
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
    one.add_argument("--tensorboard", action="store_true", help="write TensorBoard event files too")
    one.add_argument("--resume", action="store_true", help="go on with the run in --out")


def main(argv: list[str] | None = None) -> int:
    """Runs a command; 0 if all went well, 2 for bad input (one clear line, no traceback), 130 after Ctrl-C."""
    top = parser()
    args = top.parse_args(argv)
    if args.version:
        import jrnn

        print(f"jrnn {jrnn.__version__}")
        return 0
    if args.command is None:
        top.print_help()
        return 2
    from jrnn import commands, training

    try:
        return commands.diagnose(args, network_of) if args.command == "diagnose" else commands.train(args)
    except InputError as error:
        print(f"jrnn {args.command}: {spelled(error, args)}", file=sys.stderr)
        return 2
    except training.NonFiniteError as error:
        print(f"jrnn {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was trained is kept: add --resume (and its --out) to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        print(f"jrnn {args.command}: out of memory; a smaller --hidden or --batch-size needs less", file=sys.stderr)
        return 1


def network_of(model: str, **options: Any) -> Any:
    """A network of a file or a function; only this needs the libraries at the edge."""
    from jrnn.interop import given

    return given.network_of(model, **options)


def spelled(error: InputError, args: argparse.Namespace) -> str:
    """The message, with an argument that is an option written as one."""
    options = {"directory": "model", "path": "model", "state_dict": "model", "prefix": "rnn", "name": "rnn"}
    name = options.get(error.argument, error.argument)
    return f"--{name.replace('_', '-')}{str(error)[len(error.argument) :]}" if hasattr(args, name) else str(error)


if __name__ == "__main__":
    sys.exit(main())

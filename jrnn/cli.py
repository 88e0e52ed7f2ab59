"""The command line: `jrnn diagnose`, `train`, `prescribe`, `compare` and `predict`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from jrnn import commands, training
from jrnn.commands.compiled_programs import compiling_quickly, keep_programs
from jrnn.commands.console import complain, open_console
from jrnn.commands.options import parser
from jrnn.commands.threads import one_blas_thread
from jrnn.types import InputError


def main(argv: list[str] | None = None) -> int:
    """Runs a command; 0 if all went well, 2 for bad input (one clear line, no traceback), 130 after Ctrl-C."""
    open_console()
    top = parser()
    args = top.parse_args(argv)
    if args.version:
        import jrnn

        print(f"jrnn {jrnn.__version__}")
        return 0
    if args.command is None:
        top.print_help()
        return 2
    program = f"{top.prog} {args.command}"
    keep_programs()
    try:
        with one_blas_thread(), compiling_quickly():
            if args.command == "diagnose":
                return commands.diagnose(args, network_of)
            others = {"prescribe": commands.prescribe, "train": commands.train}
            others |= {"predict": commands.predict, "compare": commands.compare}
            return others[args.command](args)
    except InputError as error:
        complain(program, spelled(error, args))
        return 2
    except (training.NonFiniteError, training.StorageError) as error:
        complain(program, str(error))
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was trained is kept: add --resume (and its --out) to go on", file=sys.stderr)
        return 130
    except MemoryError as error:
        complain(program, f"out of memory; {error}")
        return 1


def network_of(model: str, **options: Any) -> Any:
    """A network of a file or a function; only this needs the libraries at the edge."""
    from jrnn.interop import model_argument

    try:
        return model_argument.network_of(model, **options)
    except SystemExit as stop:  # of the user's own module
        raise InputError("model", f"{model}, which raises SystemExit({stop.code!r})", "code that goes on") from stop


def spelled(error: InputError, args: argparse.Namespace) -> str:
    """An error's message, its argument written as the option that it came from."""
    options = {"directory": "model", "path": "model", "state_dict": "model", "prefix": "rnn", "name": "rnn"}
    name = options.get(error.argument, error.argument)
    return f"--{name.replace('_', '-')}{str(error)[len(error.argument) :]}" if hasattr(args, name) else str(error)


if __name__ == "__main__":
    sys.exit(main())

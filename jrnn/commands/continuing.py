"""`jrnn predict` with a network that was trained on a text: how it goes on with another one."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from jrnn import data
from jrnn.commands.folders import write_whole
from jrnn.commands.output import say
from jrnn.data.characters import characters_of
from jrnn.training.generating import READ
from jrnn.types import InputError
from jrnn.wording import number

DEFAULTS = {"steps": 500, "temperature": 1.0, "seed": 0}
SHOWN, BEFORE = 400, 80  # characters in the terminal: drawn, and of the prompt


def is_text(known: dict[str, Any]) -> bool:
    """Whether a saved model was trained on a text."""
    source = str(known.get("data", ""))
    return "alphabet" in known or source == "text" or source.lower().endswith(".txt")


def continue_text(args: Namespace, saved: Any, source: Path, out: Path) -> None:
    """Writes what follows the text in `source`; one line end at its end is not part of it, as editors add that.

    Raises:
      InputError: the text is empty, or an option does not fit.
    """
    if args.missing is not None:
        raise InputError("--missing", args.missing, "a model of a .csv file")
    saved = saved._replace(metadata=saved.metadata | {"alphabet": alphabet_of(saved.metadata)})
    prompt = characters_of(source).removesuffix("\n")
    if not prompt:
        raise InputError("--data", f"{source.name}, which is empty", "a text of one character at least, to go on with")
    how = {name: value if getattr(args, name) is None else getattr(args, name) for name, value in DEFAULTS.items()}
    read = prompt[-READ:]
    foreign = sum(character not in saved.metadata["alphabet"] for character in read)
    if len(read) < len(prompt):
        say(f"Of {len(prompt):,} characters the last {READ:,} are read.")
    if foreign:
        were = "was" if foreign == 1 else "were"
        say(f"{foreign:,} of them {were} rare or absent in training: such read as one symbol.")
    text = saved.generate(prompt, **how)
    write_whole(out, text)
    say(f"{'...' * (len(prompt) > BEFORE)}{prompt[-BEFORE:]}\n----\n{text[:SHOWN]}{'...' * (len(text) > SHOWN)}\n----")
    drawn = f"temperature {number(how['temperature'])}, seed {how['seed']}"
    say(f"What follows the text ({drawn}). Written: {out} ({len(text):,} characters).")


def alphabet_of(known: dict[str, Any]) -> str:
    """The characters of a model's symbols; of an older model, which does not keep them, those of its text."""
    if "alphabet" in known:
        return known["alphabet"]
    try:
        found = data.load(known["data"])
    except InputError as error:
        needed = "the text that it was trained on in its place, or to train it again"
        raise InputError("--model", f"one that does not keep its characters ({error})", needed) from error
    if found.outputs != known.get("features", found.outputs):
        given = f"one that does not keep its characters, and {known['data']} has changed since"
        raise InputError("--model", given, "to train it again")
    return found.alphabet

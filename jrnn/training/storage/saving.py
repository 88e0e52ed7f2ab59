"""A model on disk: the cell's description, its parameters, the head's, and whatever the user wants to remember."""

import json
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jrnn.cells import check_cell, is_causal
from jrnn.cells._advance import state_shapes
from jrnn.training.arguments import check_arrays, check_known, check_objective
from jrnn.training.generating import generate
from jrnn.training.predicting import Forecast, first_state, predict, stepper
from jrnn.training.storage import checkpoints
from jrnn.training.storage.descriptions import complete, described, difference, restored, spelled
from jrnn.training.storage.folders import folder_of, storing, writable
from jrnn.training.storage.locking import locked
from jrnn.training.storage.trees import as_written, like_template
from jrnn.types import InputError, Params
from jrnn.unrolling.checks import is_count
from jrnn.wording import arrays, brief, cell_title

PATIENCE = 60.0  # seconds to wait for another process that saves in the same folder


class Saved(NamedTuple):
    """What `load` found."""

    cell: Any
    """The cell: rebuilt from its description, or the one that was given."""
    params: Params
    """Its parameters, every bit as saved."""
    loss_params: Params
    """The objective's (head's) parameters; None if there are none."""
    objective: Any
    """The `Objective`; None if there was none, or if it is a function (code is not stored)."""
    metadata: dict[str, Any]
    """What `save` was given; for a checkpoint of `fit`: its `metadata`, and {"step": ..., "config": ...}."""

    @property
    def weights(self) -> dict[str, Params]:
        """{"cell": params, "loss": loss_params}, what `stepper` takes."""
        return {"cell": self.params, "loss": self.loss_params}

    def predict(
        self, x: Any, *, lengths: Any = None, level: float = 0.9, scaled: bool = False, gap: Any = 0
    ) -> Forecast:
        """What the network answers, in the user's unit; for the host.

        What `jrnn train` saved scales its inputs and outputs as its training data were scaled. Intervals hold `level`
        of the held-out residuals of each output: they are of the width that errors had there, and promise that share
        only if later errors are like those. They do not widen with x, but after a gap: where the newest g values of a
        target are missing, they are of the width of such forecasts on held-out data.

        Args:
          x: [cases, T, F], or [T, F] for one sequence, in the unit of the data that were trained on; finite.
          lengths: [cases] valid steps.
          level: 0.5, 0.8, 0.9 or 0.95.
          scaled: whether x is scaled already, as `jrnn.data.Series.scaled` does (of columns with missing values too);
            a model of changes then answers with the change from the last value.
          gap: of a series, how many of the newest values of the targets x does not know and repeats the last known one
            for: a number, or one for each target. Where x has marks of missing values, those count by themselves.
        Raises:
          InputError: x does not fit, or the model was saved without an `Objective`.
        """
        return predict(self, x, lengths, level, scaled, gap)

    def generate(self, prompt: str, *, steps: int = 500, temperature: float = 1.0, seed: int = 0) -> str:
        """How a network that was trained on a text goes on with `prompt`: a character at a time, each read again.

        Each is drawn from softmax(z / temperature); characters that were rare in training are never drawn, and in the
        prompt all read as the same.

        Args:
          prompt: at least one character; the last 1,000 are read.
          steps: how many characters.
          temperature: below 1 what is likely is drawn more often, at 0 always the likeliest; above 1 less often.
          seed: the same one draws the same text.
        Raises:
          InputError: the model was trained on no text (`jrnn train --data book.txt`), or an argument does not fit.
        """
        return generate(self, prompt, steps, temperature, seed)

    def stepper(self, *, scaled: bool = False) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
        """One step at a time: step(weights, state, x) -> (state, what `predict` answers after this x).

        A pure function for streams, `jit`, `scan` and `jrnn.interop.to_stablehlo`; the scaling is inside the program.

            one, state = saved.stepper(), saved.first_state()
            state, forecast = one(saved.weights, state, x)     # x [F], forecast [H, K], both in the user's unit

        Args:
          scaled: whether x and the answer stay as the network has them, standardised.
        """
        return stepper(self, scaled)

    def first_state(self, batch_shape: tuple[int, ...] = ()) -> Any:
        """The state that `stepper` starts from: the cell's own, and the last value where changes are forecast."""
        return first_state(self, batch_shape)

    def __repr__(self) -> str:
        step = self.metadata.get("step") if isinstance(self.metadata, dict) else None
        return brief(
            self, cell_title(self.cell), f"params {arrays(self.params)}", "" if step is None else f"step {step}"
        )


def save(
    directory: str | os.PathLike[str],
    cell: Any,
    params: Params,
    *,
    loss_params: Params = None,
    objective: Any = None,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Saves a cell with its parameters in `directory`, which is made if need be; an older save there is replaced.

    The new one is written beside the old (`directory/model/<number>`, by Orbax) and gets its name when it is whole;
    only then does the old one go. A process killed at any moment leaves one or the other. Processes that save in one
    folder at once wait for each other.

    Args:
      directory: where.
      cell: any cell. Those of jrnn.cells are stored as JSON; of a cell with functions of your own only the names are
        stored, and `load` then needs `cell=`.
      params, loss_params: pytrees of arrays, of any dtype.
      objective: an `Objective`, or a function (whose name is stored).
      metadata: a dict that JSON can hold. Its "step", if it has one, is what `load` compares with checkpoints of `fit`
        in the same folder.
    Raises:
      InputError: the folder cannot be written, an array is none, params are those of an ensemble, metadata is no JSON,
        or Orbax is not installed.
      StorageError: the disk is full, or the like; the older save is whole.
    """
    check_cell(cell)
    metadata = check_metadata(metadata)
    check_known("params", params)
    check_single(cell, params)
    check_known("loss_params", loss_params)
    if objective is not None:
        check_objective(objective)
    root = writable("directory", folder_of("directory", directory))
    folder = root / "model"
    trees = {"params": params, "loss_params": loss_params}
    about = {"cell": described(cell), "objective": described(objective), "metadata": metadata}
    with locked(root, "saving", "directory", PATIENCE), storing(root):
        checkpoints.tidy(folder, keep=2)
        checkpoints.write(folder / str(max(checkpoints.steps_in(folder), default=-1) + 1), trees, about)
        checkpoints.tidy(folder, keep=1)


def check_single(cell: Any, params: Params) -> None:
    """InputError for the parameters of an ensemble, which fit the cell once an axis in front is gone."""

    def fits(member: Any) -> bool:
        try:
            return bool(state_shapes(cell, jax.tree.map(member, params)))
        except Exception:  # what else may be wrong shows where it is used
            return False

    if is_causal(cell) and not fits(lambda leaf: leaf) and fits(lambda leaf: leaf[0]):
        needed = "those of one network: fitted.member(i).params, or the member's own folder, out/seed-<seed>"
        raise InputError("params", "the parameters of an ensemble", needed)


def load(directory: str | os.PathLike[str], *, cell: Any = None, like: Params = None) -> Saved:
    """Loads what `save` wrote in `directory`, or the newest checkpoint of `fit` there, whichever has the higher step.

    A model saved without a "step" in its metadata counts if it was written after that checkpoint.

    A damaged folder is passed over with a warning if an older whole one is left. No code is run or imported: only
    jrnn's own classes come back.

    Args:
      directory: as given to `save`, or as `out` to `fit`; a single checkpoint `out/checkpoints/<step>` too.
      cell: the cell, needed if it holds functions of your own; otherwise checked against the stored one.
      like: parameters of the same structure, needed if they are not made of dicts, lists and tuples.
    Returns:
      a `Saved`.
    Raises:
      InputError: nothing is there, all is damaged, the model is another one than `cell`, its cell cannot be rebuilt,
        or its arrays are float64 and JAX is not set to have them.
    """
    if cell is not None:
        check_cell(cell)
    try:
        stored = find(folder_of("directory", directory))
    except OSError as error:
        raise InputError("directory", f"{directory!s:.80} ({error.strerror})", "a folder that can be read") from error
    if like is not None:
        check_arrays("like", like)
    with checkpoints.understood(stored.path, "directory"):
        return rebuilt(stored, cell, like)


def rebuilt(stored: checkpoints.Stored, cell: Any, like: Params) -> Saved:
    """What a checkpoint describes, or InputError."""
    about = stored.about
    if cell is None:
        if not complete(about["cell"]):
            needed = f"cell=, since functions are not stored: {spelled(about['cell'])}"
            raise InputError("cell", "none", needed)
        cell = restored(about["cell"])
    elif described(cell) != about["cell"]:
        given, needed = difference(described(cell), about["cell"])
        raise InputError("cell", given, f"{needed}, as in {stored.path}")
    tree = stored.trees["params"]
    params = as_written(tree) if like is None else like_template(tree, like, "like", stored.path)
    objective = restored(about["objective"]) if complete(about["objective"]) else None
    return Saved(cell, params, as_written(stored.trees["loss_params"]), objective, about.get("metadata", {}))


def find(directory: Path) -> checkpoints.Stored:
    """The checkpoint that `directory` stands for, or InputError."""
    if (directory / checkpoints.FILES).exists():
        try:
            return checkpoints.read(directory)
        except checkpoints.Damaged as error:
            raise InputError("directory", str(error), "a whole checkpoint") from error
    readable: list[checkpoints.Stored] = []
    errors: list[InputError] = []
    for name in ("model", "checkpoints"):
        try:
            stored = checkpoints.newest(directory / name)
            readable += [] if stored is None else [stored]
        except InputError as error:
            errors.append(error)
    if errors and not readable:
        raise errors[0]
    for error in errors:
        warnings.warn(f"passed over: {error}", UserWarning, stacklevel=3)
    if readable:
        return readable[1] if len(readable) == 2 and newer(readable[1], readable[0]) else readable[0]
    what = "a folder without a model" if directory.is_dir() else "no folder" if not directory.exists() else "a file"
    raise InputError("directory", f"{directory}, {what}", "a folder that `save` or `fit(out=...)` wrote")


def newer(checkpoint: checkpoints.Stored, model: checkpoints.Stored) -> bool:
    """Whether a checkpoint of `fit` is of a later step than a model, or written later if the model has no step."""
    ours, theirs = (stored.about.get("metadata", {}).get("step") for stored in (checkpoint, model))
    return ours > theirs if is_count(ours) and is_count(theirs) else checkpoint.time > model.time


def check_metadata(metadata: Any) -> dict[str, Any]:
    """The metadata as JSON gives it back, or InputError."""
    if metadata is not None and not isinstance(metadata, Mapping):
        raise InputError("metadata", f"a {type(metadata).__name__}", "a dict that JSON can hold")
    try:
        return json.loads(json.dumps(dict(metadata or {})))
    except (TypeError, ValueError) as error:
        raise InputError("metadata", str(error), "what JSON can hold") from error

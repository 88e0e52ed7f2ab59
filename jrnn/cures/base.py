"""What a cure is: a value that transforms a training problem, in up to three places, and tells how to apply it."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import optax

from jrnn.cells import check_number
from jrnn.cures.within import kind_of
from jrnn.types import Array, InputError, Params


class Training(NamedTuple):
    """How a problem is trained, beside its cell and its parameters."""

    optimizer: optax.GradientTransformation
    """What turns the clipped gradient into an update."""
    max_norm: float | None = 1.0
    """The largest global gradient norm; None: no clip."""
    penalties: tuple[Any, ...] = ()
    """Terms beside the loss, as `jrnn.training.fit` takes them."""


class Cure:
    """Base of all cures: each is a frozen dataclass whose fields are its settings, and overrides what it transforms.

    A cure acts in three places, in this order: on the cell (gates, time constants, backward rules: what the network
    is), on the initial parameters (measured on the user's inputs), on the training (penalties, clip, optimizer).
    Cures compose: `apply_to_cell` and its two siblings apply several, one after the other, place by place.
    """

    name: ClassVar[str]
    """What tables and the command line call it: "chrono"."""
    sentence: ClassVar[str]
    """What it does, in one sentence."""
    formula: ClassVar[str]
    """The formula, in plain text."""
    source: ClassVar[str]
    """Who published it."""

    def refuses(self, cell: Any) -> str | None:
        """Why it does not fit a cell; None if it does."""
        return None

    def on_cell(self, cell: Any) -> Any:
        """The cell that takes the place of `cell`."""
        return cell

    def on_params(self, cell: Any, params: Params, batch: Mapping[str, Any], key: Array) -> Params:
        """The initial parameters that take the place of `params`, measured on a batch: x [T, B, F], lengths [B]."""
        return params

    def on_training(self, training: Training) -> Training:
        """The training that takes the place of `training`."""
        return training

    @property
    def option(self) -> str:
        """How the command line and tables write it: "chrono:200"."""
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]  # type: ignore[arg-type]
        return ":".join([self.name, *map(repr, values)])

    @property
    def python(self) -> str:
        """The expression that makes it."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        settings = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields)
        return f"jrnn.cures.{type(self).__name__}({settings})"

    @property
    def trains(self) -> bool:
        """Whether it acts on the training."""
        return type(self).on_training is not Cure.on_training

    @property
    def measures(self) -> bool:
        """Whether it acts on the initial parameters."""
        return type(self).on_params is not Cure.on_params


def check_cures(cures: Any) -> tuple[Cure, ...]:
    """The cures as a tuple, or InputError."""
    needed = "a sequence of cures, such as [jrnn.cures.Chrono(200)]"
    if isinstance(cures, Cure):
        raise InputError("cures", f"{cures.option}, not in a sequence", needed)
    if isinstance(cures, str) or not isinstance(cures, Sequence) or not all(isinstance(each, Cure) for each in cures):
        raise InputError("cures", f"{cures!r:.80}", needed)
    return tuple(cures)


def apply_to_cell(cures: Sequence[Cure], cell: Any) -> Any:
    """The cell under all of them.

    Raises:
      InputError: one does not fit the cell that those before it made; says why, and what would fit.
    """
    for cure in cures:
        why = cure.refuses(cell)
        if why is not None:
            raise InputError("cures", f"{cure.option} for {kind_of(cell)}", why)
        cell = cure.on_cell(cell)
    return cell


def apply_to_params(cures: Sequence[Cure], cell: Any, params: Params, batch: Mapping[str, Any], key: Array) -> Params:
    """The initial parameters of the cured cell under all of them."""
    for cure in cures:
        params = cure.on_params(cell, params, batch, key)
    return params


def apply_to_training(cures: Sequence[Cure], training: Training) -> Training:
    """The training under all of them."""
    for cure in cures:
        training = cure.on_training(training)
    return training


def settle(cure: Any, name: str, good: Callable[[float], bool], needed: str) -> None:
    """Makes a setting a plain number, so that equal cures compare equal; InputError unless it is `good`."""
    number = check_number(name, getattr(cure, name), good, needed)
    object.__setattr__(cure, name, int(number) if number == math.floor(number) else number)

"""What the array functions are given, checked before compiled code reads it."""

from __future__ import annotations

from jrnn.kernels.problem import GATES, Events, Weights
from jrnn.types import Array, InputError, Shape


def check_weights(weights: Weights) -> None:
    """InputError unless the kind is known and its arrays are there, fit each other and have one dtype."""
    if weights.kind not in GATES:
        raise InputError("weights.kind", repr(weights.kind), f"one of {tuple(GATES)}")
    inside = weights.kind == "gru"
    if inside != (weights.bias_rec is not None):
        need = "[H], as the reset comes after the product" if inside else f"None, as a {weights.kind} has no such bias"
        raise InputError("weights.bias_rec", "None" if weights.bias_rec is None else "an array", need)
    units, features = weights.w_rec.shape[:1], weights.w_in.shape[:1]
    if not (units and features):
        raise InputError("weights", "a number for a matrix", "w_in [F, G H], w_rec [H, G H], bias [G H]")
    wide = (GATES[weights.kind] * units[0],)
    shapes = {
        "w_rec": units if weights.kind == "linear" else units + wide,
        "w_in": features + wide,
        "bias": wide,
        "bias_rec": units,
    }
    for name, shape in shapes.items():
        array = getattr(weights, name)
        if array is not None and (array.shape, array.dtype) != (shape, weights.w_rec.dtype):
            need = f"{weights.w_rec.dtype}{list(shape)}, to go with w_rec {list(weights.w_rec.shape)}"
            raise InputError(f"weights.{name}", f"{array.dtype}{list(array.shape)}", need)


def check_states(kind: str, name: str, arrays: tuple[Array, ...] | None, shape: Shape) -> None:
    """InputError unless they are h, or the LSTM's (h, c), of this shape; None will do."""
    if arrays is None:
        return
    needed = ("h", "c") if kind == "lstm" else ("h",)
    if len(arrays) != len(needed):
        raise InputError(name, f"{len(arrays)} arrays", f"{len(needed)}: {', '.join(needed)}")
    for array in arrays:
        check_shape(name, array, shape)


def check_shape(name: str, array: Array, shape: Shape) -> None:
    """InputError unless the array has this shape."""
    if array.shape != shape:
        raise InputError(name, f"shape {array.shape}", f"{shape}, to go with the weights and the batch")


def check_events(events: Events, shape: Shape) -> None:
    """InputError unless they are of bool, [T, *B] or [T]."""
    for name, flags in events._asdict().items():
        if flags is not None and (str(flags.dtype) != "bool" or flags.shape not in (shape, shape[:1])):
            raise InputError(f"events.{name}", f"{flags.dtype}{list(flags.shape)}", f"bool{list(shape)} or [T]")

"""What is timed: one layer, one batch, a loss, the same numbers in every process, and the arithmetic it takes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

GATES = {"elman": 1, "lstm": 4, "gru": 3}
"""Blocks of H columns in the weights, in PyTorch's order: h; i, f, g, o; r, z, n."""

JUMPS = ("elman relu",)
"""Cells whose slope jumps."""

VARIANTS = (*JUMPS, "gru reset before")
"""Cells with the same weights and FLOPs that some library has in the place of Elman's tanh or the reset after U h."""


class Size(NamedTuple):
    """T steps, B sequences, F input features, H hidden units."""

    steps: int
    batch: int
    features: int
    hidden: int


SIZES = {
    "S": Size(1000, 1, 32, 64),
    "M": Size(128, 32, 64, 128),
    "L": Size(512, 32, 64, 256),
    "P": Size(784, 128, 1, 128),
    "X": Size(100, 64, 256, 512),
}
QUICK_SIZES = {"quick": Size(32, 8, 16, 32)}


class Problem(NamedTuple):
    """A training step: the gradient of mean(outputs * cotangent) with respect to every weight, float32."""

    cell: str
    """A key of GATES or one of VARIANTS."""
    xs: np.ndarray
    """[T, B, F]."""
    cotangent: np.ndarray
    """[T, B, H], fixed random numbers."""
    weights: dict[str, np.ndarray]
    """jrnn's layout: w_in [F, gates*H], w_rec [H, gates*H], bias [gates*H]; gru: bias_rec [H], zero as nnx has none."""

    @property
    def size(self) -> Size:
        """T, B, F, H."""
        return Size(*self.xs.shape, self.cotangent.shape[-1])


def problem(cell: str, size: Size, seed: int = 0, moved: int = 0) -> Problem:
    """The same arrays for the same arguments, whoever asks; a variant has those of its cell.

    `moved`: each input goes up or down by a rounding, in another way for every positive number.
    """
    rng = np.random.default_rng(seed)
    steps, batch, features, hidden = size
    width = gates(cell) * hidden
    weights = {
        "w_in": normal(rng, (features, width), features**-0.5),
        "w_rec": normal(rng, (hidden, width), 0.5 * hidden**-0.5),
        "bias": normal(rng, (width,), 0.1),
    }
    if cell == "gru":
        weights["bias_rec"] = np.zeros(hidden, np.float32)
    xs, cotangent = normal(rng, (steps, batch, features), 1.0), normal(rng, (steps, batch, hidden), 1.0)
    if moved:
        up = np.random.default_rng(moved).random(xs.shape, np.float32) < 0.5
        xs = np.nextafter(xs, np.where(up, np.inf, -np.inf).astype(np.float32))
    return Problem(cell, xs, cotangent, weights)


def normal(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Gaussian numbers of a given standard deviation, float32."""
    return np.float32(scale) * rng.standard_normal(shape, np.float32)


def gates(cell: str) -> int:
    """Blocks of H columns in the weights of a cell or a variant of it."""
    return GATES[cell.split()[0]]


def forward_flops(cell: str, size: Size) -> int:
    """Multiplications and additions of x w_in and h w_rec: 2 * T * B * gates * H * (F + H)."""
    steps, batch, features, hidden = size
    return 2 * steps * batch * gates(cell) * hidden * (features + hidden)


def step_flops(cell: str, size: Size) -> int:
    """Multiplications and additions in the matrix products of a training step without dxs.

    Each step of each sequence multiplies by w_in and w_rec forwards, by w_rec transposed backwards for dL/dh, and adds
    an outer product to the gradients of w_in and w_rec: 2 * T * B * gates * H * (2 * (F + H) + H).
    """
    steps, batch, features, hidden = size
    return 2 * steps * batch * gates(cell) * hidden * (2 * (features + hidden) + hidden)

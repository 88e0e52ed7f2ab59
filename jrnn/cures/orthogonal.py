"""The learning rate of orthogonal recurrent matrices."""

from __future__ import annotations

from typing import Any

import jax
import optax

from jrnn.cells._numbers import check_not_negative
from jrnn.types import Params


def orthogonal_rates(scale: float = 0.1) -> optax.GradientTransformation:
    """Scales the updates of what `jrnn.orthogonal_map` makes its matrix of, wherever it stands in the parameters.

    `optax.chain(optax.adam(rate), jrnn.cures.orthogonal_rates())` trains it at a tenth of the rate, as Lezcano-Casado
    and Martinez-Rubio (2019) do: a step in these parameters turns the whole state, at every time. It stands behind the
    optimiser, because Adam would undo a scale before it. A leaf is taken by its name, "rotation".

    Args:
      scale: its learning rate over that of the others, 0 or more.
    Raises:
      InputError: scale is no such number.
    """
    scale = check_not_negative("scale", scale)
    return optax.masked(optax.scale(scale), is_rotation)


def is_rotation(params: Params) -> Any:
    """A tree of bool like the parameters: whether a leaf holds an orthogonal matrix's free parameters."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: getattr(path[-1:] and path[-1], "key", "") == "rotation", params
    )

"""Cells that carry something along beside the state of another: tangents, directions of growth."""

from __future__ import annotations

from typing import Any

from jrnn.cells._advance import prepared
from jrnn.types import Array, Params


class Carrying:
    """Base of such cells, frozen dataclasses with a field `cell`, whose parameters and inputs they have."""

    cell: Any

    @property
    def input_ndim(self) -> int:
        return getattr(self.cell, "input_ndim", 1)

    def init(self, key: Array, input_size: int | None) -> Params:
        return self.cell.init(key, input_size)

    def prepared(self, params: Params) -> Params:
        return prepared(self.cell, params)

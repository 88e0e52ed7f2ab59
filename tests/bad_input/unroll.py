"""Bad input to `unroll` and its kin."""

import numpy as np

import jrnn

from .rows import Call

CELL = jrnn.gru(3)

ROWS = [
    Call(
        "parameters of another kind",
        "params",
        lambda: jrnn.unroll(CELL, "weights", np.zeros((4, 2))),
        ("a str", "w_in"),
    ),
]

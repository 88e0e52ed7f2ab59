"""The cells that `--cell` takes, by the names of the command line."""

from __future__ import annotations

from jrnn import cells

KINDS = {
    "elman": cells.elman,
    "lstm": cells.lstm,
    "gru": cells.gru,
    "min-gru": cells.min_gru,
    "min-lstm": cells.min_lstm,
    "rg-lru": cells.rg_lru,
    "lru": cells.lru,
    "lem": cells.lem,
    "cornn": cells.cornn,
    "unicornn": cells.unicornn,
    "antisymmetric": cells.antisymmetric,
    "indrnn": cells.indrnn,
}
"""The first is the default."""

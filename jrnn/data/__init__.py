"""Data sets as plain NumPy arrays, each with its held-out part and the time lag its task needs.

`load("digits")` gives a `Dataset`; `NAMES` has the other names, and a path to a .npz or .csv file works too. This room
imports NumPy, the standard library and `jrnn.types` only; other packages are read when asked for.
"""

from jrnn.data.dataset import Dataset
from jrnn.data.loading import NAMES, load

__all__ = ["NAMES", "Dataset", "load"]

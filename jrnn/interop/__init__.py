"""The edge: cells, modules and weights of other libraries. Each is an extra, imported when it is first used.

from_nnx, from_linen, from_equinox, from_haiku   a foreign cell -> (jrnn cell, its parameters)
jrnn.interop.nnx, jrnn.interop.linen             RNN, Bidirectional, Stack as Flax modules; probe, for training loops
tap_nnx, tap_linen                               the RNN inside a model, for the instruments
to_stablehlo                                     a function with jrnn inside as a program for processes without
jrnn.interop.weights                             parameters from and to other libraries, as NumPy arrays
open_gates                                       the cure of that name on Flax's and PyTorch's weights
jrnn.interop.trained                             trained networks that other packages carry
"""

from jrnn.interop.equinox_cells import from_equinox as from_equinox
from jrnn.interop.exporting import to_stablehlo as to_stablehlo
from jrnn.interop.flax_cells import from_linen as from_linen
from jrnn.interop.flax_cells import from_nnx as from_nnx
from jrnn.interop.haiku_cells import from_haiku as from_haiku
from jrnn.interop.tap_in_linen import tap_linen as tap_linen
from jrnn.interop.tap_in_nnx import tap_nnx as tap_nnx
from jrnn.interop.weights.opening import open_gates as open_gates

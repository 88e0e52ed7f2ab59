"""The implementations of the array functions, one in each file. To add one: a file, and a line in `IMPLEMENTATIONS`."""

from jrnn.kernels.implementations.associative import ASSOCIATIVE
from jrnn.kernels.implementations.base import ASKED as ASKED
from jrnn.kernels.implementations.base import SHAPES_ONLY as SHAPES_ONLY
from jrnn.kernels.implementations.base import CallFacts as CallFacts
from jrnn.kernels.implementations.base import Implementation as Implementation
from jrnn.kernels.implementations.cuda import CUDA
from jrnn.kernels.implementations.native import NATIVE
from jrnn.kernels.implementations.reference import REFERENCE as REFERENCE
from jrnn.kernels.implementations.tpu import TPU
from jrnn.kernels.implementations.xla import XLA

IMPLEMENTATIONS: dict[str, Implementation] = {
    implementation.name: implementation for implementation in (NATIVE, CUDA, TPU, ASSOCIATIVE, XLA, REFERENCE)
}
"""By name, in the order in which they are tried; the last one takes every call."""

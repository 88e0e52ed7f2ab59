"""Weights of other libraries as `(cell, params)` and back, by NumPy arrays: none of the libraries is imported
(but onnx, by `load_onnx`, which reads .onnx files).

    library    layers                              gates         what is different
    PyTorch    RNN, LSTM, GRU; layers, directions  ifgo; rzn     two biases, matrices transposed
    Keras      SimpleRNN, LSTM, GRU, CuDNN's       ifco; zrh     reset_after, hard_sigmoid
    linen      SimpleCell, LSTMCell, GRUCell       a Dense each  carry (c, h)
    nnx        SimpleCell, LSTMCell, GRUCell       ifgo; rzn     GRUCell has no b_hn
    Equinox    LSTMCell, GRUCell                   ifgo; rzn     matrices transposed
    Haiku      VanillaRNN, LSTM, GRU               igfo; zra     forget bias + 1; GRU: z takes the new, r before
    ONNX       RNN, LSTM, GRU                      iofc; zrh     two biases, linear_before_reset

jrnn's own layout is `jrnn.cells`. JAX arrays come out: float64 stays so only where JAX has it switched on.
"""

from jrnn.interop.weights.equinox_layout import from_equinox as from_equinox
from jrnn.interop.weights.equinox_layout import to_equinox as to_equinox
from jrnn.interop.weights.files import load_npz as load_npz
from jrnn.interop.weights.files import load_safetensors as load_safetensors
from jrnn.interop.weights.files import save_safetensors as save_safetensors
from jrnn.interop.weights.flax_layout import from_linen as from_linen
from jrnn.interop.weights.flax_layout import from_nnx as from_nnx
from jrnn.interop.weights.flax_layout import to_linen as to_linen
from jrnn.interop.weights.flax_layout import to_nnx as to_nnx
from jrnn.interop.weights.haiku_layout import from_haiku as from_haiku
from jrnn.interop.weights.haiku_layout import to_haiku as to_haiku
from jrnn.interop.weights.keras_layout import from_keras as from_keras
from jrnn.interop.weights.keras_layout import to_keras as to_keras
from jrnn.interop.weights.onnx_file import OnnxRNN as OnnxRNN
from jrnn.interop.weights.onnx_file import load_onnx as load_onnx
from jrnn.interop.weights.onnx_layout import from_onnx as from_onnx
from jrnn.interop.weights.onnx_layout import to_onnx as to_onnx
from jrnn.interop.weights.torch_layout import from_torch as from_torch
from jrnn.interop.weights.torch_layout import to_torch as to_torch

"""The middle between all layouts: one direction of one layer as NumPy arrays in jrnn's layout, and the checks."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jrnn.cells import GRU, LSTM, Bidirectional, Elman, Stack, elman, gru, lstm, stack
from jrnn.interop.weights.files import error_text
from jrnn.types import InputError, Params

GATES = {"rnn": 1, "gru": 3, "lstm": 4}
NAMES = {"rnn": "elman", "lstm": "lstm", "gru": "gru"}  # jrnn's
KINDS = {count: kind for kind, count in GATES.items()}
FLOATS = tuple(np.dtype(each) for each in (jnp.bfloat16, np.float16, np.float32, np.float64))


class Layer(NamedTuple):
    """Blocks in jrnn's order: lstm i, f, g, o; gru r, z, n."""

    kind: str
    w_in: np.ndarray  # [F, G*H]
    w_rec: np.ndarray  # [H, G*H]
    bias: np.ndarray  # [G*H]
    bias_rec: np.ndarray | None = None  # [H], of a GRU that resets after the matmul: b_hn
    activation: str = "tanh"  # of an rnn

    @property
    def hidden(self) -> int:
        return self.w_rec.shape[0]


def cell_of(layer: Layer) -> tuple[Any, Params]:
    """The cell and its parameters as JAX arrays."""
    params = {"w_in": layer.w_in, "w_rec": layer.w_rec, "bias": layer.bias}
    if layer.kind == "gru":
        cell: Any = gru(layer.hidden, reset_after=layer.bias_rec is not None)
        params |= {} if layer.bias_rec is None else {"bias_rec": layer.bias_rec}
    else:
        cell = lstm(layer.hidden) if layer.kind == "lstm" else elman(layer.hidden, layer.activation)
    return cell, {name: jnp.asarray(array) for name, array in params.items()}


def layer_of(cell: Any, params: Params, kinds: Sequence[str] = ("rnn", "lstm", "gru")) -> Layer:
    """The inverse of `cell_of`; InputError for a cell that the target has no layer for."""
    kind = {Elman: "rnn", LSTM: "lstm", GRU: "gru"}.get(type(cell), "")
    if kind not in kinds:
        names = " or ".join(f"jrnn.{NAMES[k]}" for k in kinds)
        raise InputError("cell", type(cell).__name__, f"{names}: the layout has no other layer")
    if not isinstance(params, Mapping):
        raise InputError("params", f"a {type(params).__name__}", f"the dict that jrnn.{NAMES[kind]}(...).init makes")
    arrays = {name: real_array(f"params[{name!r}]", array) for name, array in params.items()}
    cell.initial_state(arrays)  # refuses names and shapes that are not the cell's
    own = {"w_in", "w_rec", "bias"} | ({"bias_rec"} if getattr(cell, "reset_after", False) else set())
    if arrays.keys() != own:
        raise InputError("params", sorted(map(str, arrays)), f"no others than {sorted(own)}")
    return Layer(
        kind, arrays["w_in"], arrays["w_rec"], arrays["bias"], arrays.get("bias_rec"), getattr(cell, "activation", "")
    )


def sequence_of(layers: Sequence[Sequence[Layer]]) -> tuple[Any, Params]:
    """Layers, bottom first, of one or two directions each: the cell itself, `Bidirectional`, or a stack of such."""
    made = []
    for ways in layers:
        cells, params = zip(*map(cell_of, ways), strict=True)
        if len(ways) == 1:
            made.append((cells[0], params[0]))
        else:
            made.append((Bidirectional(*cells), {"forward": params[0], "backward": params[1]}))
    if len(made) == 1:
        return made[0]
    return stack(*(cell for cell, _ in made)), tuple(params for _, params in made)


def layers_of(cell: Any, params: Params) -> list[list[Layer]]:
    """The inverse of `sequence_of`."""
    if isinstance(cell, Stack):
        if not isinstance(params, tuple | list) or len(params) != len(cell.cells):
            given = f"{len(params)} of them" if isinstance(params, tuple | list) else f"a {type(params).__name__}"
            raise InputError("params", given, f"a tuple with those of each of the {len(cell.cells)} layers")
        return [ways for each, own in zip(cell.cells, params, strict=True) for ways in layers_of(each, own)]
    if isinstance(cell, Bidirectional):
        if not isinstance(params, Mapping) or params.keys() != {"forward", "backward"}:
            given = sorted(map(str, params)) if isinstance(params, Mapping) else f"a {type(params).__name__}"
            raise InputError("params", given, '{"forward": ..., "backward": ...}, those of each direction')
        return [[layer_of(cell.forward, params["forward"]), layer_of(cell.backward, params["backward"])]]
    return [[layer_of(cell, params)]]


def kind_of(name: str, array: np.ndarray, hidden: int, axis: int) -> str:
    """The kind of layer, from the number of gates: the array's `axis` holds G*H."""
    count = array.shape[axis] / hidden if hidden else 0
    if count not in KINDS:
        needed = f"1, 3 or 4 gates of {hidden} units on axis {axis}"
        raise InputError(name, f"shape {array.shape}", f"{needed} (a simple RNN, a GRU or an LSTM)")
    return KINDS[int(count)]


def fetch(arrays: Any, name: str, shape: Sequence[int | None]) -> np.ndarray:
    """arrays[name] as NumPy, of this shape (None: any size), or an InputError that names it."""
    if not isinstance(arrays, Mapping) or name not in arrays:
        given = sorted(map(str, arrays)) if isinstance(arrays, Mapping) else type(arrays).__name__
        raise InputError(name, f"none among {given}", f"an array of shape {spelled(shape)}")
    array = real_array(name, arrays[name])
    check_shape(name, array, shape)
    return array


def real_array(name: str, value: Any) -> np.ndarray:
    """A foreign array of real floats as NumPy has it, in native byte order; anything else is refused by its name.

    Tensors of PyTorch may need gradients, lie on a GPU, or be bfloat16, which NumPy has not by itself.
    """
    needed = "real numbers of type float16, bfloat16, float32 or float64"
    try:
        if callable(getattr(value, "detach", None)):
            value = value.detach().cpu()
        narrow = str(getattr(value, "dtype", "")) == "torch.bfloat16"
        array = np.asarray(value.float()).astype(jnp.bfloat16) if narrow else np.asarray(value)
    except Exception as error:  # foreign objects raise what they like
        raise InputError(name, f"a {type(value).__name__} that is no array ({error_text(error)})", needed) from error
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype not in FLOATS:
        dequantise = "; numbers of other types are quantised: dequantise them first" * (array.dtype.kind in "iuV")
        raise InputError(name, f"dtype {array.dtype}", f"{needed}{dequantise}")
    return array


def check_shape(name: str, array: np.ndarray, shape: Sequence[int | None]) -> None:
    """InputError unless the array has this shape; None stands for any size."""
    fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    if not fits:
        raise InputError(name, f"shape {array.shape}", f"shape {spelled(shape)}")


def spelled(shape: Sequence[int | None]) -> str:
    """(None, 12) -> [*, 12]."""
    return f"[{', '.join('*' if n is None else str(n) for n in shape)}]"


def reorder(array: np.ndarray, given: str, wanted: str, axis: int = -1) -> np.ndarray:
    """Blocks along `axis`, named by the letters of `given`, in the order of `wanted`."""
    blocks = dict(zip(given, np.split(array, len(given), axis=axis), strict=True))
    return np.concatenate([blocks[gate] for gate in wanted], axis=axis)


def two_biases(kind: str, of_input: np.ndarray, of_state: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """(bias, bias_rec) from PyTorch's b_ih and b_hh, gates in jrnn's order: their sum, but for a GRU's candidate."""
    if kind != "gru":
        return of_input + of_state, None
    first = 2 * (of_state.shape[0] // 3)
    return np.concatenate([of_input[:first] + of_state[:first], of_input[first:]]), of_state[first:]


def bias_pair(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `two_biases`: all of it on the input's side, but for b_hn."""
    of_state = np.zeros_like(layer.bias)
    if layer.bias_rec is not None:
        of_state[2 * layer.hidden :] = layer.bias_rec
    return layer.bias, of_state


def check_reset(layer: Layer, after: bool, library: str) -> None:
    """InputError for the GRU variant that the target library does not have."""
    if layer.kind == "gru" and (layer.bias_rec is not None) != after:
        name = f"reset_after={not after}"
        needed = f"jrnn.gru(..., reset_after={after}), the only GRU that {library} has: no weights make one the other"
        raise InputError("cell", f"a GRU with {name}", needed)


def check_activation(activation: Any, allowed: Mapping[str, str], argument: str = "activation") -> str:
    """jrnn's name of an Elman network's activation."""
    if activation not in allowed:
        raise InputError(argument, repr(activation), f"one of {sorted(allowed)}")
    return allowed[activation]

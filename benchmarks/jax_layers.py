"""One recurrent layer in each JAX library, on given weights. Imports a library only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks import layouts
from benchmarks.problem import Size


class Layer(NamedTuple):
    """A layer as its library's documentation runs it."""

    convert: Callable[[dict[str, Any]], Any]
    """jrnn's weights -> its parameters."""
    unroll: Callable[[Any, Any], Any]
    """(parameters, xs [T, B, F]) -> outputs [T, B, H]."""
    start: Any
    """The zero state of one sequence."""
    step: Callable[[Any, Any, Any], tuple[Any, Any]]
    """(parameters, state, x [1, F]) -> (state, output of H numbers)."""
    chosen: str | None = None
    """jrnn: the implementation it takes."""


def own_cell(cell_name: str, size: Size) -> Any:
    """jrnn's cell."""
    import jrnn

    cells = {
        "elman": jrnn.elman,
        "elman relu": lambda hidden: jrnn.elman(hidden, "relu"),
        "lstm": jrnn.lstm,
        "gru": jrnn.gru,
        "gru reset before": lambda hidden: jrnn.gru(hidden, reset_after=False),
    }
    return cells[cell_name](size.hidden)


def jrnn(cell_name: str, size: Size, implementation: str | None = None) -> Layer:
    """`jrnn.unroll` and `jrnn.step`."""
    import jrnn

    cell = own_cell(cell_name, size)
    params = jax.tree.map(lambda a: a.astype(jnp.float32), cell.init(jax.random.key(0), size.features))
    return Layer(
        convert=dict,
        unroll=lambda params, xs: jrnn.unroll(cell, params, xs, implementation=implementation).outputs,
        start=cell.initial_state(params, (1,)),
        step=lambda params, state, x: jrnn.step(cell, params, state, x),
        chosen=str(jrnn.kernels.explain(cell, params, implementation)),
    )


def linen(cell_name: str, size: Size, dtype: Any = jnp.float32) -> Layer:
    """`flax.linen.RNN`, parameters and arithmetic in `dtype`; one kernel a gate."""
    from flax import linen

    cells = {"elman": linen.SimpleCell, "lstm": linen.OptimizedLSTMCell, "gru": linen.GRUCell}
    cell = cells[cell_name](size.hidden, dtype=dtype, param_dtype=dtype)
    layer = linen.RNN(cell, time_major=True)
    return Layer(
        convert=lambda weights: {"params": {"cell": layouts.to_linen(cell_name, weights)}},
        unroll=layer.apply,
        start=cell.initialize_carry(jax.random.key(0), (1, size.features)),
        step=lambda params, state, x: cell.apply({"params": params["params"]["cell"]}, state, x),
    )


def nnx(cell_name: str, size: Size) -> Layer:
    """`flax.nnx.RNN`; its GRU has no recurrent bias."""
    from flax import nnx

    cells = {"elman": nnx.SimpleCell, "lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}
    layer = nnx.RNN(cells[cell_name](size.features, size.hidden, rngs=nnx.Rngs(0)), time_major=True)
    graph, empty, rest = nnx.split(layer, nnx.Param, ...)

    def convert(weights: dict[str, Any]) -> Any:
        params = jax.tree.map(lambda a: a, empty)  # a copy: the next call replaces what is in it
        nnx.replace_by_pure_dict(params, {"cell": layouts.to_nnx(cell_name, weights)})
        return params

    def unroll(params: Any, xs: Any) -> Any:
        # the carry is zero whatever the key, but nnx counts keys and lets no outer counter change under a trace
        return nnx.merge(graph, params, rest)(xs, rngs=nnx.Rngs(0))

    start = layer.cell.initialize_carry((1, size.features), rngs=nnx.Rngs(0))
    return Layer(convert, unroll, start, lambda params, state, x: nnx.merge(graph, params, rest).cell(state, x))


def jrnn_in_linen(cell_name: str, size: Size) -> Layer:
    """`jrnn.interop.linen.RNN`."""
    from jrnn.interop.linen import RNN

    plain = jrnn(cell_name, size)
    layer = RNN(own_cell(cell_name, size), time_major=True)
    return plain._replace(convert=lambda weights: {"params": {"cell": dict(weights)}}, unroll=layer.apply)


def jrnn_in_nnx(cell_name: str, size: Size) -> Layer:
    """`jrnn.interop.nnx.RNN`."""
    from flax import nnx

    from jrnn.interop.nnx import RNN

    plain = jrnn(cell_name, size)
    layer = RNN(own_cell(cell_name, size), size.features, time_major=True, rngs=nnx.Rngs(0))
    graph, empty, rest = nnx.split(layer, nnx.Param, ...)

    def convert(weights: dict[str, Any]) -> Any:
        params = jax.tree.map(lambda a: a, empty)
        nnx.replace_by_pure_dict(params, {"params": dict(weights)})
        return params

    return plain._replace(convert=convert, unroll=lambda params, xs: nnx.merge(graph, params, rest)(xs))


def equinox(cell_name: str, size: Size) -> Layer:
    """A cell of Equinox in `lax.scan`, mapped over the batch; the cell is its own pytree of parameters."""
    import equinox

    cells = {"lstm": equinox.nn.LSTMCell, "gru": equinox.nn.GRUCell}
    names = ("weight_ih", "weight_hh", "bias", *(("bias_n",) if cell_name == "gru" else ()))
    cell = cells[cell_name](size.features, size.hidden, key=jax.random.key(0), dtype=jnp.float32)
    zeros = jnp.zeros(size.hidden, jnp.float32)
    start = (zeros, zeros) if cell_name == "lstm" else zeros

    def step(cell: Any, state: Any, x: Any) -> tuple[Any, Any]:
        state = cell(x, state)
        return state, state[0] if cell_name == "lstm" else state

    def one(cell: Any, xs: Any) -> Any:
        return jax.lax.scan(lambda state, x: step(cell, state, x), start, xs)[1]

    return Layer(
        convert=lambda weights: equinox.tree_at(
            lambda cell: tuple(getattr(cell, name) for name in names), cell, layouts.to_equinox(weights)
        ),
        unroll=jax.vmap(one, in_axes=(None, 1), out_axes=1),
        start=start,
        step=lambda cell, state, x: step(cell, state, x[0]),  # as one who has a single stream calls it
    )


def haiku(cell_name: str, size: Size) -> Layer:
    """`haiku.dynamic_unroll`; its VanillaRNN is relu, its GRU resets before the product."""
    import haiku

    cores = {
        "elman relu": lambda hidden: haiku.VanillaRNN(hidden, double_bias=False),
        "lstm": haiku.LSTM,
        "gru reset before": haiku.GRU,
    }

    def zeros(batch: int) -> Any:
        h = jnp.zeros((batch, size.hidden), jnp.float32)
        return haiku.LSTMState(h, h) if cell_name == "lstm" else h

    def unrolled(xs: Any) -> Any:
        return haiku.dynamic_unroll(cores[cell_name](size.hidden), xs, zeros(xs.shape[1]))[0]

    def stepped(state: Any, x: Any) -> tuple[Any, Any]:
        y, state = cores[cell_name](size.hidden)(x, state)
        return state, y

    unroll, step = (haiku.without_apply_rng(haiku.transform(f)).apply for f in (unrolled, stepped))
    return Layer(lambda weights: layouts.to_haiku(cell_name, weights), unroll, zeros(1), step)


LAYERS = {
    "jrnn": jrnn,
    "jrnn xla": lambda cell_name, size: jrnn(cell_name, size, "xla"),
    "jrnn reference": lambda cell_name, size: jrnn(cell_name, size, "reference"),
    "flax.linen": linen,
    "flax.nnx": nnx,
    "equinox": equinox,
    "haiku": haiku,
}

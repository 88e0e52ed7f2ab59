"""Real-time recurrent learning (RTRL) for one diagonal layer: dh_t/dtheta carried forwards, beside the state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.cells import draws_noise
from jrnn.cells._advance import state_shapes
from jrnn.cells._base import static_cell
from jrnn.cells._carrying import Carrying
from jrnn.kernels import RECURRENCES
from jrnn.numerics import split_floating
from jrnn.types import Array, InputError, Params, Shape, State, ravel_state, size_of, unravel_state, wide_dtype


class Sensitive(NamedTuple):
    """A state and its derivatives with respect to the parameters."""

    state: State
    e: list[Array]
    """For each floating-point leaf of the parameters [*B, *its shape]: dh_i/dtheta of the one unit i it acts on."""


@static_cell
class Sensitivities(Carrying):
    """A cell that carries e_t along: e_t = J_t e_{t-1} + dh_t/dtheta, the second with h_{t-1} held.

    One parameter acts on one unit and J_t is diagonal: both terms are products with a vector of ones.
    """

    cell: Any

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> Sensitive:
        real, whole = split_floating(params)
        h, pull = jax.vjp(lambda real: ravel_state(self.cell.initial_state(whole(real), ()), 0), real)
        e = [widen(leaf, batch_shape) for leaf in pull(jnp.ones_like(h))[0]]
        return Sensitive(self.cell.initial_state(params, batch_shape), e)

    def step(self, params: Params, sensitive: Sensitive, x: Any) -> Sensitive:
        real, whole = split_floating(params)
        like = state_shapes(self.cell, params, ())

        def advance_one(h: Array, x: Any) -> tuple[Array, list[Array], Array]:
            """(h', dh'/dtheta, the diagonal of J) of one sequence."""

            def advance(real: list[Array], h: Array) -> Array:
                return ravel_state(self.cell.step(whole(real), unravel_state(h, like), x), 0)

            after, pull = jax.vjp(advance, real, h)
            return after, *pull(jnp.ones_like(after))

        h = ravel_state(sensitive.state)
        for _ in range(h.ndim - 1):
            advance_one = jax.vmap(advance_one)
        after, immediate, j = advance_one(h, x)
        e = [
            new.astype(old.dtype) + owners(j, new).astype(old.dtype) * old
            for new, old in zip(immediate, sensitive.e, strict=True)
        ]
        treedef = jax.tree.structure(sensitive.state)
        return Sensitive(jax.tree.unflatten(treedef, [after]), e)

    def output(self, params: Params, sensitive: Sensitive, x: Any) -> Array:
        return ravel_state(sensitive.state)


def widen(leaf: Array, batch_shape: Shape) -> Array:
    """[*B, ...] of a sensitivity, in float32 at least: it is summed over the whole past."""
    return jnp.broadcast_to(leaf.astype(wide_dtype(leaf.dtype)), (*batch_shape, *leaf.shape))


def owners(values: Array, like: Array) -> Array:
    """Values of units [*B, H] for each entry of a parameter [*B, ..., G*H], the one of the unit that it acts on."""
    blocks = like.shape[-1] // values.shape[-1]
    tiled = jnp.concatenate([values] * blocks, axis=-1)
    between = (1,) * (like.ndim - values.ndim)
    return jnp.broadcast_to(tiled.reshape(*values.shape[:-1], *between, like.shape[-1]), like.shape)


def depending(sensitive: Sensitive, params: Params) -> State:
    """The state, with the derivative e with respect to the parameters (and its own value: theta - theta is 0)."""
    (h,), treedef = jax.tree.flatten(sensitive.state)
    size, moved = h.shape[-1], jnp.zeros(h.shape, wide_dtype(h.dtype))
    for theta, e in zip(split_floating(params)[0], sensitive.e, strict=True):
        nothing = (theta - jax.lax.stop_gradient(theta)).astype(e.dtype)
        own = jax.lax.stop_gradient(e) * jnp.broadcast_to(nothing, e.shape)
        parts = own.reshape(*h.shape[:-1], size_of(theta.shape) // size, size)
        moved += jnp.sum(parts, axis=-2).astype(moved.dtype)
    return treedef.unflatten([jax.lax.stop_gradient(h) + moved.astype(h.dtype)])


def entering_sensitivities(rtrl: Any, params: Params, batch_shape: Shape) -> list[Array]:
    """The given ones [*B, the leaf's shape], or InputError where they do not fit; zeros where none are given: the state
    is then held fixed."""
    real = split_floating(params)[0]
    shapes, dtypes = [(*batch_shape, *leaf.shape) for leaf in real], [wide_dtype(leaf.dtype) for leaf in real]
    if isinstance(rtrl, bool):
        return [jnp.zeros(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
    given = [jnp.shape(leaf) for leaf in rtrl]
    if given != shapes:
        raise InputError("rtrl", f"sensitivities of shapes {given}", f"{shapes}, [*B, the shape of the parameter]")
    return [jnp.asarray(leaf).astype(dtype) for leaf, dtype in zip(rtrl, dtypes, strict=True)]


def check_rtrl(rtrl: Any, cell: Any, params: Params, state: Any, options: Any, key: Any) -> None:
    """InputError unless it is one layer in which each parameter acts on one unit, run forwards and without cuts, and
    given sensitivities come with the state that they belong to."""
    needed = "one diagonal layer, such as jrnn.linear(64): RTRL is not implemented for others"
    kernel = getattr(cell, "kernel", None) and cell.kernel(params)
    states = jax.tree.leaves(state_shapes(cell, params))
    alone = kernel is not None and hasattr(RECURRENCES.get(kernel[0]), "terms") and len(states) == 1
    if not alone or not jnp.issubdtype(states[0].dtype, jnp.floating):
        raise InputError("rtrl", f"a {type(cell).__name__}", needed)
    size = states[0].shape[-1]
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not jnp.ndim(leaf) or jnp.shape(leaf)[-1] % size:
            given = f"params{jax.tree_util.keystr(path)} of shape {jnp.shape(leaf)}"
            raise InputError("rtrl", given, f"{needed}; parameters with its {size} units on the last axis")
    real = split_floating(params)[0]
    if not isinstance(rtrl, bool) and not (isinstance(rtrl, list | tuple) and len(rtrl) == len(real)):
        raise InputError("rtrl", f"{rtrl!r:.60}", "True, False, or the `sensitivities` of a `Streamed` of this cell")
    if not isinstance(rtrl, bool) and state is None:
        raise InputError("rtrl", "sensitivities without initial_state", "the state of that `Streamed` beside them")
    for name in ("truncate", "reverse", "reset_state", "state_tap"):
        if (options or {}).get(name):
            raise InputError("unroll_options", f"{name} beside rtrl", f"no {name}: the gradient goes back to the start")
    if key is not None and draws_noise(cell):
        raise InputError("key", "one beside rtrl", "none: the sensitivities are those of the cell without its noise")

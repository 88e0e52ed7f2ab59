"""What clipping does to each lag's share of the gradient, measured on a run: nothing, unless it clips at every step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from jrnn.cells._base import static_cell
from jrnn.cells._clipping import clip_factor, clip_on_the_way_back
from jrnn.cells._gradient_scaling import scaled
from jrnn.cells._wrappers import Wrapper
from jrnn.cures.clipping import check_max_norm, clip_by_global_norm, finite
from jrnn.displays import plotted_by
from jrnn.flow import gradient_flow
from jrnn.numerics import norm, norm_of, share_of
from jrnn.types import Array, Inputs, Params, State, ravel_state, widened
from jrnn.unrolling import value_and_grads
from jrnn.unrolling.checks import as_arrays, concrete
from jrnn.wording import arrays, brief, number

OF_THE_SPLIT = (
    "output_times",
    "max_pairs",
    "by_lag",
    "lag_gradients",
    "parts",
)  # options that a plain gradient has no use for


class ClippingProof(NamedTuple):
    """The gradient split by lag, sum_tau G_tau = dL/dparams: as it is, clipped as a whole, and clipped at every step.

    Norms in units of L over the parameters', lags tau = 0..T. The lag profile is ||G_tau|| / ||G_0||; where G_0 is zero
    the first G_tau that is not takes its place.
    """

    max_norm: Float[Array, ""]
    """The global clip's."""
    coefficient: Float[Array, ""]
    """c = <clip(g), g> / <g, g>: what `clip_by_global_norm` multiplied the gradient g by, from what it returned. g is
    that of the cell's parameters and the loss's together, as in training."""
    coefficient_spread: Float[Array, ""]
    """max_i |clip(g)_i / g_i - c| / c over the entries g_i: zero to rounding where every entry was multiplied by the
    same number."""
    lag_norms: Float[Array, " T+1"]
    """||G_tau||_2, [T+1], unclipped."""
    clipped_lag_norms: Float[Array, " T+1"]
    """||r * G_tau||_2, [T+1], r_i = clip(g)_i / g_i entry by entry: the pieces of the gradient that was clipped."""
    sum_error: Float[Array, ""]
    """||sum_tau r * G_tau - clip(g)|| / sum_tau ||r * G_tau||: that they are its pieces."""
    largest_difference: Float[Array, ""]
    """max_tau |p'_tau - p_tau| / max(1, p_tau), p and p' the lag profiles before and after the global clip."""
    step_max_norm: Float[Array, ""]
    """The per-step clip's."""
    step_coefficients: Float[Array, "T *B"]
    """c_t = min(1, step_max_norm / ||delta_t||), [T, *B], delta_t = dL/dh_t in the clipped recursion; row i is the step
    that reads x_{i+1}, 1 where nothing was clipped."""
    per_step_lag_norms: Float[Array, " T+1"]
    """||G'_tau||_2, [T+1], of the pieces of the gradient under the per-step clip (`clip_state_gradient`): each output's
    pull taken back through J_t^T c_t, with the c_t of the run."""
    per_step_sum_error: Float[Array, ""]
    """||sum_tau G'_tau - g'|| / sum_tau ||G'_tau||, g' the gradient that the per-step clip leaves."""
    largest_per_step_difference: Float[Array, ""]
    """As `largest_difference`, for the per-step clip."""
    exact: Bool[Array, ""]
    """As of `GradientFlow`: whether every output was followed. If not, the pieces are estimates and do not add up."""

    def __repr__(self) -> str:
        known, moved = concrete(self.largest_difference), ""
        if known is not None and known.ndim == 0:
            moved = f"the global clip changes the lag profile by {number(known.item())} at most"
        return brief(self, f"lag_norms {arrays(self.lag_norms)} [T+1]", moved)

    plot = plotted_by("plot_clipping_proof")

    def profile(self, norms: Array) -> Array:
        """||G_tau|| / ||G_0|| of one of the fields with norms, [T+1]."""
        return lag_profile(norms)


@static_cell
class Limited(Wrapper):
    """The per-step clip with limits that come with the inputs: x = {"x": the cell's, "limit" [*B, 1, ...]}."""

    cell: Any

    def step(self, params: Params, state: State, x: Any, noise: Any = None, reads: Any = None) -> State:
        after = super().step(params, state, x["x"], noise, reads)
        limits = beside(x["limit"], self)
        return clip_on_the_way_back(after, limits, limits.ndim)

    def output(self, params: Params, state: State, x: Any, noise: Any = None) -> Any:
        return super().output(params, state, x["x"], noise)


@static_cell
class Scaled(Limited):
    """The same backward pass with its coefficients c_t given, x["limit"]: linear, so that its parts add up."""

    def step(self, params: Params, state: State, x: Any, noise: Any = None, reads: Any = None) -> State:
        after = Wrapper.step(self, params, state, x["x"], noise, reads)
        scale = beside(x["limit"], self)
        return jax.tree.map(lambda h: scaled(h, scale) if jnp.issubdtype(h.dtype, jnp.inexact) else h, after)


def clipping_proof(
    cell: Any,
    params: Params,
    xs: Inputs,
    loss: Callable[..., Array],
    *,
    max_norm: float,
    loss_params: Params = None,
    step_max_norm: float | None = None,
    **options: Any,
) -> ClippingProof:
    """Measures what clipping does to the lags: the global clip multiplies all by one number, a per-step clip does not.

    Clipping the whole gradient, clip(g) = c g with g = sum_tau G_tau, makes every G_tau c G_tau: the ratio of what far
    and near steps contribute stays what it was, and nothing that vanished comes back (Pascanu, Mikolov, Bengio 2013,
    section 3.2). c is not assumed: the real transformation is given the real gradient, and what it did to each entry is
    done to the same entry of each G_tau. A clip of delta_t inside the recursion (`clip_state_gradient`) is compared
    with it. Where only the last output is in the loss, and delta shrinks backwards, that clip acts at the last
    step alone, once a sequence, and the profile changes little; it changes most where delta grows.

    It costs two `gradient_flow`s and holds all G_tau, (T+1) x the parameters.

    Args:
      cell, params, xs, loss, loss_params: as for `jrnn.gradient_flow`; the cell without `clip_state_gradient`.
      max_norm: the global clip's, above 0. The identity is shown for what it did; above the gradient's norm, nothing.
      step_max_norm: the per-step clip's; by default the median of the ||dL/dh_t|| that are not zero (t = 1..T, all
        sequences), so that it has something to clip.
      options: any other option of `gradient_flow`: lengths, resets, initial_state, reverse, max_pairs, ...
    Returns:
      A `ClippingProof`.
    Raises:
      InputError: max_norm or step_max_norm is no number above 0, or as `gradient_flow`.
    """
    max_norm = check_max_norm(max_norm)
    step_max_norm = None if step_max_norm is None else check_max_norm(step_max_norm, "step_max_norm")
    xs = as_arrays("xs", xs)
    options["loss_params"] = loss_params
    passes = {name: value for name, value in options.items() if name not in OF_THE_SPLIT}
    options |= {"by_lag": True, "lag_gradients": True, "parts": False}
    flow = gradient_flow(cell, params, xs, loss, **options)
    grads = value_and_grads(cell, params, xs, loss, **passes)[1]
    g, of_loss = real_leaves(params, grads.params), real_leaves(loss_params, grads.loss_params)
    norms = norms_of(pieces_of(flow))  # of a sample, `flow.lag_norms` is another estimate
    whole = as_a_whole(max_norm, g, of_loss, pieces_of(flow), norms)

    sizes = norm(flow.state_gradients)
    backwards = bool(options.get("reverse", False))
    at_steps = sizes[:-1] if backwards else sizes[1:]
    limit = typical(at_steps) if step_max_norm is None else jnp.asarray(step_max_norm, sizes.dtype)
    rows = (*at_steps.shape, *[1] * getattr(cell, "input_ndim", 1))
    limits = {"x": xs, "limit": jnp.broadcast_to(limit, rows)}
    per_step = value_and_grads(Limited(cell), params, limits, loss, **passes)[1]
    sizes = norm(ravel_state(per_step.states, at_steps.ndim))
    factors = clip_factor(sizes[:-1] if backwards else sizes[1:], limit)
    given = {"x": xs, "limit": factors.reshape(rows)}
    linear = gradient_flow(Scaled(cell), params, given, loss, **options)
    g, per_step_norms = real_leaves(params, per_step.params), norms_of(pieces_of(linear))
    return ClippingProof(
        max_norm=jnp.asarray(max_norm, norms.dtype),
        lag_norms=norms,
        step_max_norm=limit,
        step_coefficients=factors,
        per_step_lag_norms=per_step_norms,
        exact=flow.exact,
        **whole,
        **step_by_step(g, pieces_of(linear), per_step_norms, norms),
    )


@jax.jit
def as_a_whole(max_norm: Array, g: list, of_loss: list, pieces: list, norms: Array) -> dict[str, Array]:
    """What the global clip did to the gradient g of the cell and of the loss, and so to the pieces of g."""
    clip: Any = clip_by_global_norm(max_norm)
    clipped, clipped_of_loss = clip.update((g, of_loss), clip.init((g, of_loss)))[0]
    coefficient = one_number([*g, *of_loss], [*clipped, *clipped_of_loss])
    ratios = [ratio(a, b, coefficient) for a, b in zip(g, clipped, strict=True)]
    every = [*ratios, *(ratio(a, b, coefficient) for a, b in zip(of_loss, clipped_of_loss, strict=True))]
    pieces = [jax.vmap(jnp.multiply, (0, None))(G, r) for G, r in zip(pieces, ratios, strict=True)]
    clipped_norms = norms_of(pieces)
    return {
        "coefficient": coefficient,
        "coefficient_spread": largest([jnp.abs(r.astype(coefficient.dtype) - coefficient) for r in every])
        / coefficient,
        "clipped_lag_norms": clipped_norms,
        "sum_error": sum_error(pieces, clipped_norms, clipped),
        "largest_difference": difference(norms, clipped_norms),
    }


@jax.jit
def step_by_step(g: list, pieces: list, norms: Array, plain: Array) -> dict[str, Array]:
    """What the per-step clip did, from the gradient g that it left and the pieces of the linear recursion."""
    return {
        "per_step_sum_error": sum_error(pieces, norms, g),
        "largest_per_step_difference": difference(plain, norms),
    }


def norms_of(pieces: list[Array]) -> Array:
    """[T+1]: the norm of the piece of each lag."""
    return jax.vmap(norm_of)(pieces)


def lag_profile(norms: Array) -> Array:
    """||G_tau|| over the first of them that is not zero; zero where all are."""
    return share_of(norms, norms[jnp.argmax(norms != 0)])


def difference(norms: Array, others: Array) -> Array:
    """The largest difference of two lag profiles, relative to the first where that is above 1."""
    before, after = lag_profile(norms), lag_profile(others)
    return jnp.max(jnp.abs(after - before) / jnp.maximum(before, jnp.ones_like(before)))


def one_number(g: list[Array], clipped: list[Array]) -> Array:
    """The c with which c g comes nearest to clipped; 1 for a zero gradient, which determines no c."""
    size = norm_of(g)
    unit = [a.astype(size.dtype) / jnp.where(size > 0, size, jnp.ones_like(size)) for a in g]
    pairs = zip(unit, clipped, strict=True)
    along = sum((jnp.vdot(u, b.astype(size.dtype)) for u, b in pairs), jnp.zeros_like(size))
    return jnp.where(size > 0, along / jnp.where(size > 0, size, jnp.ones_like(size)), jnp.ones_like(size))


def ratio(g: Array, clipped: Array, otherwise: Array) -> Array:
    """clipped / g entry by entry; `otherwise` where an entry is too small to tell (zero, or no normal number)."""
    least = jnp.finfo(g.dtype).tiny / jnp.finfo(g.dtype).eps
    is_told = (jnp.abs(g) > least) & (jnp.abs(clipped) > least) | ~finite(g) | ~finite(clipped)
    return jnp.where(is_told, clipped / jnp.where(is_told, g, jnp.ones_like(g)), otherwise.astype(g.dtype))


def sum_error(pieces: list[Array], norms: Array, whole: list[Array]) -> Array:
    """How far the pieces [T+1, ...] are from adding up to `whole`, relative to the sum of their norms."""
    gap = norm_of([jnp.sum(widened(a), axis=0) - widened(b) for a, b in zip(pieces, whole, strict=True)])
    return share_of(gap, jnp.sum(norms))


@jax.jit
def typical(sizes: Array) -> Array:
    """The median of those above zero; infinite if there are none."""
    if not sizes.size:
        return jnp.full((), jnp.inf, sizes.dtype)
    positive = sizes > 0
    count = jnp.sum(positive, dtype=jnp.int32)
    ranked = jnp.sort(jnp.where(positive, sizes, jnp.zeros_like(sizes)), axis=None)  # the positive ones come last
    last = sizes.size - 1
    middle = ranked[jnp.stack([last - count // 2, last - jnp.maximum(count - 1, 0) // 2])]
    return jnp.where(count > 0, jnp.mean(middle), jnp.full_like(ranked[0], jnp.inf))


def largest(arrays: list[Array]) -> Array:
    """The largest entry of all."""
    return jnp.max(jnp.stack([jnp.max(a, initial=0) for a in arrays]))


def real_leaves(params: Params, tree: Any) -> list[Array]:
    """The leaves of a gradient that belong to floating-point parameters."""
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(tree), strict=True)
    return [leaf for of, leaf in pairs if jnp.issubdtype(jnp.result_type(of), jnp.floating)]


def pieces_of(flow: Any) -> list[Array]:
    """The leaves of G_tau, [T+1, ...]."""
    return jax.tree.leaves(flow.lag_gradients)


def beside(row: Array, cell: Any) -> Array:
    """[*B, 1, ...] -> [*B]: what came with an input, without the axes that stand for its features."""
    return row.reshape(row.shape[: row.ndim - cell.input_ndim])

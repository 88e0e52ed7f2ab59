"""Initialisers, chosen per cell by name or as a function `(key, shape, dtype) -> array`, as in `jax.nn.initializers`.

A weight initialiser is called once per gate block ([F, H] or [H, H]); a bias initialiser once per gate ([H]). Those
that tie gates together (`forget_bias`, `chrono`, `uniform_gate`, `pytorch`) have a method `for_gates(key, gates,
hidden, dtype) -> [gates*H]`.

Names. Weights: orthogonal, identity, glorot, lecun, gaussian, pytorch, zeros. Biases: zeros, unit_forget, pytorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.cells._draws import normal_draw, orthogonal_draw, split_keys
from jrnn.cells._gate_names import check_roles
from jrnn.cells._numbers import check_number, check_t_max_alone
from jrnn.types import Array, InputError, Shape, wide_dtype

Initializer = Callable[..., Array]


def settle(init: Any, name: str, good: Callable[[float], bool], needed: str) -> None:
    """Makes a field a plain number, so that equal initialisers compare equal; InputError unless it is `good`."""
    number = check_number(name, getattr(init, name), good, f"{needed}, not a traced one: a cell is static")
    object.__setattr__(init, name, number)


def check_matrix(init: Any, shape: Shape) -> None:
    """InputError where an initialiser of matrices is asked for a vector."""
    if len(shape) != 2:
        raise InputError("initialiser", f"{init!r} for a bias of shape {shape}", "one that draws vectors")


@dataclass(frozen=True)
class orthogonal:  # noqa: N801 - used as a function: orthogonal(gain) is hashable and compares by value
    """gain * Q with Q from the QR of a Gaussian matrix, uniformly distributed (Saxe, McClelland, Ganguli 2014)."""

    gain: float = 1.0

    def __post_init__(self):
        settle(self, "gain", lambda g: 0 <= g < math.inf, "a finite number, 0 or more")

    def __call__(self, key: Array, shape: Shape, dtype: Any) -> Array:
        wide = wide_dtype(dtype)
        check_matrix(self, shape)
        if min(shape) == 0:
            return jnp.zeros(shape, dtype)
        return orthogonal_draw(key, self.gain, shape, wide).astype(dtype)


@dataclass(frozen=True)
class identity:  # noqa: N801
    """scale * I, the IRNN's recurrent matrix (Le, Jaitly, Hinton 2015, scale 1 with ReLU)."""

    scale: float = 1.0

    def __post_init__(self):
        settle(self, "scale", math.isfinite, "a finite number")

    def __call__(self, key: Array, shape: Shape, dtype: Any) -> Array:
        check_matrix(self, shape)
        return (self.scale * jnp.eye(shape[0], shape[1])).astype(dtype)


@dataclass(frozen=True)
class gaussian:  # noqa: N801
    """N(0, gain^2 / fan_in): gain is the g of random-network theory."""

    gain: float = 1.0

    def __post_init__(self):
        settle(self, "gain", lambda g: 0 <= g < math.inf, "a finite number, 0 or more")

    def __call__(self, key: Array, shape: Shape, dtype: Any) -> Array:
        wide = wide_dtype(dtype)
        std = self.gain / max(shape[0], 1) ** 0.5
        return normal_draw(key, np.asarray(std, wide), shape, wide).astype(dtype)


@dataclass(frozen=True)
class glorot:  # noqa: N801
    """U(-a, a), a = sqrt(6 / (fan_in + fan_out)) (Glorot, Bengio 2010)."""

    def __call__(self, key: Array, shape: Shape, dtype: Any) -> Array:
        return uniform_draw(key, shape, (6.0 / max(sum(shape), 1)) ** 0.5, dtype)


@dataclass(frozen=True)
class pytorch:  # noqa: N801
    """U(-a, a), a = 1/sqrt(H), for every weight; biases are the sum of two such draws (b_ih + b_hh), one for gate n."""

    def __call__(self, key: Array, shape: Shape, dtype: Any) -> Array:
        return uniform_draw(key, shape, shape[-1] ** -0.5, dtype)

    def for_gates(self, key: Array, gates: tuple[str, ...], hidden: int, dtype: Any) -> Array:
        def block(gate: str, key: Array) -> Array:
            first, second = (self(k, (hidden,), dtype) for k in jax.random.split(key))
            return first if gate == "n" else first + second

        return jnp.concatenate([block(g, k) for g, k in zip(gates, jax.random.split(key, len(gates)), strict=True)])


@dataclass(frozen=True)
class pytorch_linear:  # noqa: N801
    """U(-a, a), a = 1/sqrt(fan_in), as `torch.nn.Linear` starts its weights: "pytorch" for `jrnn.dense`."""

    def __call__(self, key: Array, shape: Shape, dtype: Any) -> Array:
        return uniform_draw(key, shape, max(shape[0], 1) ** -0.5, dtype)


@dataclass(frozen=True)
class forget_bias:  # noqa: N801
    """A constant on the gate that keeps the state (f of the LSTM, z of the GRU), zero elsewhere (Gers et al. 2000)."""

    value: float = 1.0

    def __post_init__(self):
        settle(self, "value", math.isfinite, "a finite number")

    def for_gates(self, key: Array, gates: tuple[str, ...], hidden: int, dtype: Any) -> Array:
        check_roles(self, gates, "keeps")
        keeps = getattr(gates, "keeps", None)
        return jnp.concatenate([jnp.full(hidden, self.value if g == keeps else 0.0, dtype) for g in gates])


@dataclass(frozen=True)
class chrono:  # noqa: N801
    """b_f ~ ln U[1, t_max - 1], b_i = -b_f; the GRU's b_z likewise (Tallec, Ollivier 2018): time scales up to t_max."""

    t_max: float

    def __post_init__(self):
        object.__setattr__(self, "t_max", check_t_max(self.t_max))

    def for_gates(self, key: Array, gates: tuple[str, ...], hidden: int, dtype: Any) -> Array:
        return tied(self, gates, log_time_scales(key, (hidden,), self.t_max, dtype))


@dataclass(frozen=True)
class uniform_gate:  # noqa: N801
    """b_f = ln(u / (1 - u)), u ~ U[1/d, 1 - 1/d], b_i = -b_f; the GRU's b_z likewise (Gu et al. 2020).

    The gate that keeps starts uniform in [1/d, 1 - 1/d]: time scales of all sizes up to d steps, most of them short. Of
    what a unit holds, ((1-a)^(L+1) - a^(L+1)) / ((L+1) (1-2a)), a = 1/d, is left after L steps in the mean: 1.8e-3 with
    d = L = 200, where `chrono(200)` leaves .15. The published d is the number of units; that reaches no lag much above
    d (d = 64: 2e-4 at lag 200), so give the lag instead. On a bit to be kept for 200 steps it loses: `chrono(200)`
    takes 150 updates, an LSTM with `uniform_gate(200)` more than 300, a refined GRU (`refine=True`) 250 to 400.
    It is for data that need time scales of all sizes.
    """

    d: float

    def __post_init__(self):
        object.__setattr__(self, "d", check_t_max(self.d, "d"))

    def for_gates(self, key: Array, gates: tuple[str, ...], hidden: int, dtype: Any) -> Array:
        u = jax.random.uniform(key, (hidden,), wide_dtype(dtype), 1 / self.d, 1 - 1 / self.d)
        return tied(self, gates, (jnp.log(u) - jnp.log1p(-u)).astype(dtype))


@dataclass(frozen=True)
class constant:  # noqa: N801
    """One value everywhere."""

    value: float = 0.0

    def __post_init__(self):
        settle(self, "value", math.isfinite, "a finite number")

    def __call__(self, key: Array, shape: Shape, dtype: Any) -> Array:
        return jax.device_put(np.full(shape, self.value, dtype))  # `jnp.full` would compile a program


@dataclass(frozen=True)
class ring:  # noqa: N801
    """Decays d from `low` to `high`, d^2 uniform: complex numbers of these moduli fill a ring (Orvieto et al. 2023).

    What is left after L steps: E d^(2L) = (high^(2L+2) - low^(2L+2)) / ((L+1) (high^2 - low^2)).
    """

    low: float = 0.9
    high: float = 0.999

    def __post_init__(self):
        settle(self, "low", lambda d: 0 < d < 1, "a decay between 0 and 1")
        settle(self, "high", lambda d: self.low <= d < 1, "a decay below 1 and at least `low`")

    def __call__(self, key: Array, shape: Shape, dtype: Any) -> Array:
        square = jax.random.uniform(key, shape, wide_dtype(dtype), self.low**2, self.high**2)
        return jnp.sqrt(square).astype(dtype)


@dataclass(frozen=True)
class time_constant:  # noqa: N801
    """Decays d = a^power, a = u / (1 + u), u ~ U[1, t_max - 1]: time constants 1 / (1 - a) = 1 + u up to t_max.

    The law of `chrono`, for decays that are no gates: there sigmoid(b_f) = a.
    """

    t_max: float
    power: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "t_max", check_t_max(self.t_max))
        settle(self, "power", lambda p: 0 < p < math.inf, "a number above 0")

    def __call__(self, key: Array, shape: Shape, dtype: Any) -> Array:
        u = jax.random.uniform(key, shape, wide_dtype(dtype), 1.0, self.t_max - 1.0)
        return ((u / (1 + u)) ** self.power).astype(dtype)


WEIGHTS: dict[str, Initializer] = {
    "orthogonal": orthogonal(),
    "identity": identity(),
    "glorot": glorot(),
    "lecun": gaussian(),
    "gaussian": gaussian(),
    "pytorch": pytorch(),
    "zeros": constant(),
}
BIASES: dict[str, Any] = {"zeros": constant(), "unit_forget": forget_bias(), "pytorch": pytorch()}


def check_t_max(t_max: Any, name: str = "t_max") -> float:
    """A longest time scale as a plain float, or InputError."""
    need = "a longest time scale above 2 steps, not a traced one: a cell is static"
    return check_number(name, t_max, lambda t: 2 < t < math.inf, need)


def log_time_scales(key: Array, shape: Shape, t_max: float, dtype: Any) -> Array:
    """ln U[1, t_max - 1]: with it before its sigmoid, a gate that keeps has time scales up to t_max steps."""
    return jnp.log(jax.random.uniform(key, shape, wide_dtype(dtype), 1.0, t_max - 1.0)).astype(dtype)


def tied(init: Any, gates: tuple[str, ...], keep: Array) -> Array:
    """[gates*H]: `keep` on the gate that keeps the state, -keep on the one that admits what is new, zero elsewhere."""
    check_roles(init, gates, "keeps", "admits")
    keeps, admits = (getattr(gates, role, None) for role in ("keeps", "admits"))
    return jnp.concatenate([keep if g == keeps else -keep if g == admits else jnp.zeros_like(keep) for g in gates])


def uniform_draw(key: Array, shape: Shape, bound: float, dtype: Any) -> Array:
    """U(-bound, bound)."""
    return jax.random.uniform(key, shape, wide_dtype(dtype), -bound, bound).astype(dtype)


def chrono_or(bias: Any, default: str | None, t_max: Any) -> Any:
    """The bias of a gated cell, or `chrono(t_max)` in place of its default; InputError where both are given."""
    if t_max is None:
        return bias
    short = chrono(t_max)
    check_t_max_alone(t_max, "bias", bias, default, "t_max is short for bias=jrnn.initializers.chrono(t_max)")
    return short


def named(argument: str, init: Any, table: dict[str, Any]) -> Any:
    """An initialiser by name, or the function itself; InputError if there is no such name or it is no initialiser."""
    if isinstance(init, str) and init in table:
        return table[init]
    need = f"one of {sorted(table)}, or a function (key, shape, dtype) -> array"
    if isinstance(init, type):
        raise InputError(argument, f"the class {init.__name__}", f"{need}, such as {init.__name__}(...)")
    if isinstance(init, str) or not (callable(init) or (table is BIASES and hasattr(init, "for_gates"))):
        raise InputError(argument, repr(init), need)
    return init


def weight_blocks(init: Any, key: Array, shape: Shape, gates: int, dtype: Any) -> Array:
    """[shape[0], gates * shape[1]]: one draw a gate, side by side."""
    return jnp.concatenate([drawn(init, k, shape, dtype) for k in split_keys(key, gates)], axis=1)


def bias_blocks(init: Any, key: Array, gates: tuple[str, ...], hidden: int, dtype: Any) -> Array:
    """[gates * hidden]."""
    if hasattr(init, "for_gates"):
        return init.for_gates(key, gates, hidden, dtype)
    return jnp.concatenate([drawn(init, k, (hidden,), dtype) for k in split_keys(key, len(gates))])


def drawn(init: Initializer, key: Array, shape: Shape, dtype: Any) -> Array:
    """What an initialiser gives, held to the shape and dtype it was asked for."""
    value = init(key, shape, dtype)
    kind = getattr(value, "dtype", None)
    real = kind is not None and (jnp.issubdtype(kind, jnp.floating) or jnp.issubdtype(kind, jnp.integer))
    if not real or value.shape != shape:
        given = f"a {type(value).__name__}" if kind is None else f"an array of shape {value.shape}, {kind},"
        need = f"an array of shape {shape} of real numbers, from (key, shape, dtype)"
        raise InputError("initialiser", f"{given} from {init!r}", need)
    return jnp.asarray(value).astype(dtype)

"""One table of recurrences, and random operands for them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.kernels import IMPLEMENTATIONS as REGISTRY
from jrnn.kernels import RECURRENCES, Events, Operands, Outcome, Scan
from jrnn.kernels.implementations import CallFacts
from jrnn.kernels.implementations.cuda import CUDA
from jrnn.kernels.implementations.tpu import Tpu
from jrnn.kernels.implementations.xla import Xla
from jrnn.kernels.primitives import forward
from jrnn.kernels.recurrences.gated import Units
from jrnn.kernels.recurrences.min_gru import InputWeights
from jrnn.types import wide_dtype

from . import emulator


class Case(NamedTuple):
    kind: str
    groups: int
    steps: int
    rows: int
    features: int
    units: int
    events: str = ""  # of "lengths mask resets cuts tap tap_is_zero reverse"

    def __str__(self):
        sizes = "x".join(map(str, self[1:6]))
        return "-".join([self.kind, sizes, *self.events.split()])

    def __contains__(self, name):
        return name in self.events.split()

    @property
    def scan(self):
        backwards = tuple((g % 2 == 1) != ("reverse" in self) for g in range(self.groups))
        return Scan(RECURRENCES[self.kind], backwards, "tap_is_zero" in self)


EMULATED = {
    "tpu": Tpu(interpret=jax.default_backend() != "tpu"),
    "cuda": CUDA if jax.default_backend() == "gpu" else emulator.EmulatedCuda(),
    "xla of accelerators": Xla(few_launches=True),
}
"""Implementations as they run on devices that are not here: under their names with the fixture `emulated`."""


def able(kind, dtype="float64"):
    """The implementations to compare with the spec: all that run this recurrence here."""
    facts = CallFacts(RECURRENCES[kind], dtype, jax.default_backend())
    return tuple(name for name, each in REGISTRY.items() if not each.by_autodiff and each.refuses(facts) is None)


IMPLEMENTATIONS = able("lstm")  # without the native one where it was not built


ALL = "lengths mask resets cuts tap"
LEAKY = ("leaky_tanh", "leaky_relu", "leaky_identity")
GATES = {"tanh": 1, "relu": 1, "identity": 1, **dict.fromkeys(LEAKY, 1), "linear": 1}
GATES |= {"lstm": 4, "gru": 3, "gru_reset_before": 3}
KINDS = (*GATES, "gated", "complex", "min_gru")
GATES |= {"min_gru": 2, "min_gru_tanh": 2, "min_gru_positive": 2}
WITHOUT_WEIGHTS = ("gated", "complex")  # their features are a and b, as many as the units ask for
CASES = [
    *(Case(kind, 1, 6, 5, 3, 4) for kind in KINDS),
    *(Case(kind, 1, 7, 3, 2, 5, ALL + " reverse") for kind in ("tanh", "lstm", "gru", "gru_reset_before")),
    Case("lstm", 1, 9, 13, 7, 19, "lengths"),
    Case("gru", 1, 5, 8, 17, 33, "resets reverse"),
    Case("relu", 2, 4, 2, 3, 70, "mask tap_is_zero"),
    Case("lstm", 1, 300, 1, 90, 70),  # few rows, large chunks: a thread without rows does what waits for no step
    Case("gru", 1, 270, 2, 12, 83, ALL + " reverse"),
    Case("tanh", 1, 300, 2, 7, 150, "lengths cuts tap"),
    Case("gru", 1, 150, 2, 1, 1, "lengths resets tap_is_zero"),  # the same by one thread
    Case("tanh", 3, 3, 7, 0, 9, "tap"),
    Case("lstm", 2, 1, 1, 1, 1, "lengths tap_is_zero"),
    Case("gru", 2, 3, 40, 4, 6, ALL),
    Case("tanh", 1, 40, 9, 2, 130, "cuts lengths"),
    Case("linear", 1, 7, 3, 2, 5, ALL + " reverse"),
    Case("linear", 2, 17, 3, 0, 4, "lengths resets tap_is_zero"),
    Case("gru_reset_before", 2, 3, 40, 4, 6, ALL),
    Case("gru_reset_before", 1, 9, 13, 7, 19, "lengths tap_is_zero"),
    Case("gru_reset_before", 1, 300, 1, 110, 75, "lengths resets tap_is_zero"),
    Case("gru_reset_before", 2, 40, 9, 0, 70, "mask resets"),
    Case("gated", 1, 7, 3, 0, 5, ALL + " reverse"),
    Case("complex", 1, 7, 3, 0, 5, ALL + " reverse"),
    Case("min_gru_tanh", 1, 7, 3, 2, 5, ALL + " reverse"),
    Case("min_gru", 2, 40, 9, 0, 70, "mask resets"),
    Case("min_gru_positive", 1, 150, 2, 110, 75, "lengths cuts tap_is_zero"),
    Case("gated", 2, 150, 5, 0, 33, "lengths resets tap_is_zero"),  # rows that threads share
    Case("complex", 1, 300, 1, 0, 70, "mask tap"),  # units that threads share
    Case("lstm", 1, 3, 2, 130, 150),  # weights that threads pack and sum together
    Case("gru", 2, 2, 3, 100, 170),
    Case("tanh", 1, 3, 2, 160, 301),
    Case("gru_reset_before", 1, 3, 2, 130, 165),
    Case("leaky_tanh", 2, 7, 3, 2, 5, ALL),
    Case("leaky_tanh", 1, 270, 2, 12, 83, "lengths resets reverse tap_is_zero"),
    Case("leaky_relu", 1, 5, 40, 0, 19, "mask cuts tap"),
    Case("lstm", 1, 4, 4, 6, 37),  # rows of each height of a tile, and one more
    Case("gru", 1, 4, 8, 6, 37, "lengths"),
    Case("lstm", 1, 4, 7, 6, 37, "resets"),
    Case("tanh", 1, 4, 7, 6, 100, "tap"),
    Case("tanh", 1, 4, 4, 6, 45, "reverse"),
]


def make(case, dtype=jnp.float64, seed=0):
    """(operands, events) of random numbers."""
    rng, (_, e, t, b, f, h, _) = np.random.default_rng(seed), case
    wide, parts = GATES.get(case.kind, 0) * h, len(RECURRENCES[case.kind].parts)

    def array(*shape, scale=0.5):
        return jax.device_put((rng.normal(size=shape) * scale).astype(dtype))  # compiles nothing, as jnp.asarray would

    def state(*shape):
        return tuple(array(e, *shape, b, h) for _ in range(parts))

    def flags(rate):
        return jax.device_put(rng.random((e, t, b)) < rate)

    square = () if case.kind == "linear" else (wide,)
    if case.kind.startswith("min_gru"):
        weights = InputWeights(array(e, f, wide), array(e, wide))
    elif case.kind in WITHOUT_WEIGHTS:
        weights = Units(array(e, 0, h))
    else:
        weights = array(e, f, wide), array(e, h, *square, scale=1 / np.sqrt(h)), array(e, wide)
        further = (array(e, h, scale=2),) if case.kind in LEAKY else (array(e, h),) if case.kind == "gru" else ()
        weights = RECURRENCES[case.kind].weights(*weights, *further)
    tap = (
        jax.tree.map(lambda a: a * (0 if "tap_is_zero" in case else 1), state(t))
        if "tap" in case or "tap_is_zero" in case
        else None
    )
    if case.kind in WITHOUT_WEIGHTS:
        xs = array(e, t, b, 2 * parts * h).astype(wide_dtype(dtype))
    else:
        xs = array(e, t, b, f)
    operands = Operands(xs, weights, state(), state() if "resets" in case else None, tap)
    inside = valid = None
    if "lengths" in case:
        inside = valid = jax.device_put(np.arange(t)[None, :, None] < rng.integers(0, t + 1, (e, 1, b)))
    if "mask" in case:
        valid = flags(0.7) if inside is None else flags(0.7) & inside
    events = Events(inside, valid, flags(0.2) if "resets" in case else None, flags(0.2) if "cuts" in case else None)
    return operands, events


def fields(operands):
    """{name: array or arrays} of the operands, the weights by their own names."""
    return {name: value for name, value in operands._asdict().items() if name != "weights"} | operands.weights._asdict()


def replaced(operands, **values):
    """The operands with some of `fields` replaced."""
    own = {name: values.pop(name) for name in operands.weights._fields if name in values}
    return operands._replace(weights=operands.weights._replace(**own), **values)


def kernel(scan, save_gates=True, all_states=True, name=None):
    """The recurrence by an implementation, through the primitive."""

    implementation = REGISTRY[name or able(scan.recurrence.name)[0]]
    return lambda operands, events: forward(scan, operands, events, implementation, all_states, save_gates)


def pulled(run, cotangents):
    """A random linear function of everything a recurrence returns."""

    def loss(operands, events):
        found = run(operands, events)
        return sum(jnp.sum(a * c) for a, c in zip(jax.tree.leaves(found), cotangents, strict=True))

    return loss


def cotangents_like(found, seed=1):
    rng = np.random.default_rng(seed)
    return [jax.device_put(rng.normal(size=a.shape).astype(a.dtype)) for a in jax.tree.leaves(found)]


def close(found, wanted, tol):
    """Every array, relative to its own size."""
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol * (1 + np.max(np.abs(b), initial=0)))


__all__ = [
    "CASES",
    "EMULATED",
    "IMPLEMENTATIONS",
    "KINDS",
    "Case",
    "Outcome",
    "able",
    "close",
    "cotangents_like",
    "fields",
    "kernel",
    "make",
    "pulled",
    "replaced",
]

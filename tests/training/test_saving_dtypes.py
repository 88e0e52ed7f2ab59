"""Every kind of array comes back as it was: bits, shape and dtype; saved, in checkpoints, and through a resume."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import cases

import jrnn
from jrnn.training import Objective, fit, load, save

pytestmark = pytest.mark.thorough

DTYPES = ["float16", "bfloat16", "float32", "float64", "complex64", "complex128", "bool"]
DTYPES += [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
SHAPES = [(), (1,), (3,), (1, 1), (2, 3), (2, 3, 4), (0,), (2, 0, 3)]
CELL = jrnn.elman(2)


def filled(dtype, shape):
    """Numbers with a sign, a fraction and, for floats, NaN, -0.0 and the smallest number."""
    rng = np.random.default_rng(0)
    array = rng.normal(0, 9, shape) * (1 + 1j if dtype.startswith("complex") else 1)
    array = np.abs(array) if dtype.startswith("uint") else array
    array = np.asarray(array, jnp.dtype(dtype))
    if array.size >= 3 and "float" in dtype:
        array.reshape(-1)[:3] = [np.nan, -0.0, jnp.finfo(dtype).smallest_subnormal]
    return array


def bits(leaf):
    """What is compared: (dtype, shape, bytes)."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return str(leaf.dtype), leaf.shape, np.asarray(jax.random.key_data(leaf)).tobytes()
    array = np.asarray(leaf)
    return array.dtype.name, array.shape, array.astype(array.dtype.newbyteorder("="), order="C").tobytes()


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in theirs:
        assert bits(ours[name]) == bits(theirs[name]), name


def others():
    """What is no plain array in row order."""
    key = jax.random.key(7)
    return {
        "every second, backwards, transposed": np.arange(24.0).reshape(4, 6)[::2, ::-2].T,
        "in column order": np.asfortranarray(np.arange(6.0, dtype=np.float32).reshape(2, 3)),
        "big-endian": np.arange(3.0).astype(">f8"),
        "one big-endian number": np.array(3.5).astype(">f4"),
        "read-only": np.broadcast_to(np.float32(2.0), (2, 3)),
        "a bool": True,
        "an int": 3,
        "a float": 2.5,
        "a complex number": 1j,
        "a NumPy bool": np.bool_(True),
        "a NumPy int8": np.int8(-3),
        "a NumPy float16": np.float16(0.1),
        "a NumPy float64": np.float64(0.1),
        "a bfloat16": jnp.bfloat16(0.1),
        "a weak JAX number": jnp.asarray(2.0),
        "a key": key,
        "keys": jax.random.split(key, 3),
        "a table of keys": jax.random.split(key, (2, 3)),
        "no keys": jax.random.split(key, 3)[:0],
        "a key of another kind": jax.random.key(7, impl="rbg"),
        "a raw key": jax.random.key_data(key),
    }


def test_every_dtype_and_shape_comes_back(tmp_path):
    params = {f"{dtype}{list(shape)}": filled(dtype, shape) for dtype in DTYPES for shape in SHAPES}
    on_device = {f"{name} on the device": jnp.asarray(array) for name, array in params.items()}
    params = {**params, **on_device, **others()}
    save(tmp_path, CELL, params, loss_params=params)
    found = load(tmp_path)
    assert_same(found.params, params)
    assert_same(found.loss_params, params)
    assert_same(load(tmp_path, like=jax.tree.map(lambda leaf: leaf, params)).params, params)


@pytest.mark.parametrize("number", [True, 3, 2.5, 1j, -0.0])
def test_plain_numbers_come_back_without_64_bits_too(number, tmp_path):
    with jax.enable_x64(False):
        save(tmp_path, CELL, {"a": number})
        assert bits(load(tmp_path).params["a"]) == bits(jnp.asarray(number))


def test_a_resume_keeps_every_kind_of_optimizer_state(tmp_path):
    """A state that holds everything, and changes at every step by what is in it."""

    def init(params):
        arrays = {f"{d}[]": jnp.zeros((), d) for d in DTYPES} | {
            f"{s}": jnp.zeros(s) for s in ((1, 1), (0,), (2, 1, 3))
        }
        return {"arrays": arrays, "key": jax.random.key(3), "raw": jax.random.key_data(jax.random.key(4))}

    def update(updates, state, params=None):
        key, own = jax.random.split(state["key"])

        def step(a):
            if a.dtype == bool:
                return ~a
            return a + jax.random.randint(own, a.shape, 0, 3).astype(a.dtype)

        arrays = jax.tree.map(step, state["arrays"])
        noise = jax.random.normal(own, ()) + arrays["float64[]"]
        updates = jax.tree.map(lambda u: (-0.01 * u.astype("float64") - 1e-3 * noise).astype(u.dtype), updates)
        return updates, {"arrays": arrays, "key": key, "raw": state["raw"] + jnp.uint32(1)}

    options = {"optimizer": optax.GradientTransformation(init, update), "batch_size": 8, "checkpoint_every": 2}
    same = {"cell": jrnn.gru(2, dtype="float16"), "objective": Objective("classify", 3), "data": cases(), **options}
    whole = fit(**same, steps=5, out=tmp_path / "whole")
    for steps in (3, 5):
        parts = fit(**same, steps=steps, out=tmp_path / "parts", resume=True)
    for name in ("params", "loss_params", "opt_state"):
        ours, theirs = (jax.tree_util.tree_flatten_with_path(getattr(run, name))[0] for run in (parts, whole))
        assert_same(*({jax.tree_util.keystr(path): leaf for path, leaf in leaves} for leaves in (ours, theirs)))
    assert not np.array_equal(parts.opt_state.inner_state[1]["raw"], init(None)["raw"])


def test_a_schedule_of_hyperparameters_is_resumed(tmp_path):
    schedule = optax.linear_schedule(0.1, 0.01, 6)
    same = {"cell": CELL, "objective": Objective("classify", 3), "data": cases(), "max_norm": None, "batch_size": 8}
    clip = optax.inject_hyperparams(jrnn.clip_by_global_norm)(max_norm=schedule)
    same["optimizer"] = optax.chain(clip, optax.inject_hyperparams(optax.adam)(schedule))
    whole = fit(**same, steps=5, out=tmp_path / "whole")
    for steps in (2, 5):
        parts = fit(**same, steps=steps, out=tmp_path / "parts", resume=True)
    assert_same(parts.params, whole.params)
    np.testing.assert_allclose(parts.opt_state.inner_state[0].hyperparams["max_norm"], schedule(4), rtol=1e-6)

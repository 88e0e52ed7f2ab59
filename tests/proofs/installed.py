"""What a newcomer with the wheel has: its own compiled kernel, which is right. `wheel.sh` runs this elsewhere."""

import shutil
import sysconfig

import jax
import numpy as np

import jrnn
from jrnn.kernels.implementations import native

jax.config.update("jax_enable_x64", True)
compilers = [found for name in ("c++", "g++", "clang++", "cc") if (found := shutil.which(name))]
assert not compilers, compilers
assert not isinstance(native.library(), str), native.library()
assert native.LIBRARY.is_relative_to(sysconfig.get_path("platlib")), native.LIBRARY

cell, rng = jrnn.elman(5), np.random.default_rng(0)
params = jax.tree.map(lambda a: rng.normal(size=a.shape) / 2, cell.init(jax.random.key(0), 3))
xs, pull = rng.normal(size=(9, 4, 3)), rng.normal(size=(9, 4, 5))


def by_kernel(params):
    return (jrnn.unroll(cell, params, xs, implementation="native").outputs * pull).sum()


def by_loop(params):
    """h_t = tanh(x_t W_in + h_{t-1} W_rec + b), in NumPy."""
    h, total = np.zeros((4, 5)), 0.0
    for x, p in zip(xs, pull):
        h = np.tanh(x @ params["w_in"] + h @ params["w_rec"] + params["bias"])
        total += (h * p).sum()
    return total


loss, grads = jax.jit(jax.value_and_grad(by_kernel))(params)
np.testing.assert_allclose(loss, by_loop(params), rtol=1e-12)
moved = jax.tree.map(lambda a: rng.normal(size=a.shape), params)
slope = sum(np.vdot(g, d) for g, d in zip(jax.tree.leaves(grads), jax.tree.leaves(moved)))
ahead, behind = (jax.tree.map(lambda a, d, s=s: a + s * d, params, moved) for s in (1e-6, -1e-6))
np.testing.assert_allclose(slope, (by_loop(ahead) - by_loop(behind)) / 2e-6, rtol=1e-7)
print(f"the wheel's kernel ({native.instructions()}): values and gradients as the loop has them")

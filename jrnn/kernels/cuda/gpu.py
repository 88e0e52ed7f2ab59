"""The GPU that JAX runs on: what kernels are compiled for, and whether they can be."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import jax

from jrnn.kernels.cuda import build
from jrnn.kernels.cuda.plan import Plan, Target
from jrnn.kernels.implementations import native


def handlers(library: Any) -> dict[str, Any]:
    """The launcher's two, by XLA's stages."""
    found = {"initialize": library.jrnn_cuda_initialize, "execute": library.jrnn_cuda}
    return {stage: jax.ffi.pycapsule(each) for stage, each in found.items()}


def clusters(library: Any, code: bytes, plan: Plan) -> int:
    """How many clusters of a kernel run at once; below 0 where the driver does not tell."""
    numbers = (ctypes.c_int64 * len(plan.sizes))(*plan.sizes)
    return library.jrnn_cuda_clusters(code, ctypes.c_int64(len(code)), plan.name.encode(), numbers)


def cuda_version() -> int:
    """The major version of CUDA that the driver has."""
    library = native.library()
    return 0 if isinstance(library, str) else library.jrnn_cuda_version() // 1000


class Gpu:
    """What the implementation asks of the machine; the tests have another one, on a CPU."""

    backend = "gpu"
    call = "jrnn_cuda"
    """The name of the foreign function."""

    @staticmethod
    @cache
    def target() -> Target | str:
        """The GPUs, which must be alike, or why there is none that the kernels run on."""
        device, *others = jax.local_devices()
        capability = getattr(device, "compute_capability", None)
        if any(getattr(other, "compute_capability", None) != capability for other in others):
            return "it runs on GPUs that are alike, and these have different compute capabilities"
        try:
            major, minor = map(int, capability.split("."))  # pyright: ignore[reportOptionalMemberAccess]
        except (AttributeError, ValueError):  # AMD's have names here
            return f"it runs on NVIDIA GPUs, and this is {device.device_kind}"
        return Target((major, minor), int(getattr(device, "core_count", Target._field_defaults["processors"])))

    @staticmethod
    @cache
    def missing() -> str | None:
        """Why kernels cannot be compiled or launched; None if they can. It makes the launcher known to XLA."""
        library = native.library()
        if isinstance(library, str):
            return library
        if not hasattr(library, "jrnn_cuda_missing"):
            return "the launcher was not built: install jrnn again"
        library.jrnn_cuda_missing.restype = ctypes.c_char_p
        why = library.jrnn_cuda_missing().decode()
        if why:
            return why
        target = Gpu.target()
        why = target if isinstance(target, str) else build.missing(target, cuda_version())
        if why is None:
            jax.ffi.register_ffi_target(Gpu.call, handlers(library), platform="CUDA")
        return why

    @staticmethod
    @cache
    def has_room(plan: Plan) -> bool:
        """Whether it can run the plan's blocks side by side: clusters above 8 blocks need not fit."""
        return clusters(native.library(), Gpu.code(plan), plan) > 0

    @staticmethod
    def code(plan: Plan) -> bytes:
        """What the driver loads."""
        target = Gpu.target()
        assert isinstance(target, Target), target
        return build.code(plan, target, cuda_version())

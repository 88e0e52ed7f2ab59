"""Memory: an error before training that cannot fit, with the least it would take; a hint where memory runs out."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jrnn.types import InputError

FLOAT, GIB = 4, 2**30
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container


def check_memory(args: Namespace, layer: Any, features: int, steps: int) -> None:
    """InputError if training takes more memory than the machine has in all."""
    members = 1 if args.command == "prescribe" else args.seeds or 1  # trained side by side
    needed, installed = members * least_bytes(args, layer, features, steps), memory()
    if needed > installed:
        shape = f"{args.layers} layer{'s' * (args.layers > 1)} of {args.hidden} units at batch size {args.batch_size}"
        given = f"{args.hidden}, and {shape} takes at least {gib(needed)} GiB of memory"
        raise InputError("--hidden", given, f"at most the {gib(installed)} GiB of this machine")


def least_bytes(args: Namespace, layer: Any, features: int, steps: int) -> int:
    """The least that training a stack of `layer` holds at once, in bytes: the weights, their gradient and Adam's two
    moments, and for each step of a batch (1 + g) H numbers with g gates; all float32."""
    hidden, gates = args.hidden, len(getattr(layer, "gates", ("h",)))
    weights = parameters(layer, features) + (args.layers - 1) * parameters(layer, hidden)
    return FLOAT * (4 * weights + args.layers * steps * args.batch_size * (1 + gates) * hidden)


def parameters(layer: Any, features: int) -> int:
    """The number of parameters of a layer with so many input features; nothing is computed."""
    if layer.hidden > np.iinfo(np.int32).max:
        return layer.hidden  # a lower bound: no array has an axis of this length, so that `init` fails
    params = jax.eval_shape(lambda: layer.init(jax.random.key(0), features))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def gib(size: float) -> str:
    """Bytes in GiB, as people read them: 1.5, 596, 1,862,645."""
    return f"{size // GIB:,}" if size >= 100 * GIB else f"{size / GIB:.3g}"


def memory() -> int:
    """Bytes of memory of the device that JAX computes on, or of the machine and its container."""
    device = jax.devices()[0].memory_stats()
    if device and "bytes_limit" in device:
        return device["bytes_limit"]
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if hasattr(os, "sysconf") else [2**63]
    for path in map(Path, LIMITS):
        text = path.read_text(encoding="utf-8").strip() if path.is_file() else "max"
        limits += [int(text)] if text.isdecimal() else []
    return min(limits)


@contextmanager
def computing(hint: str) -> Iterator[None]:
    """Where memory runs out inside this block, a MemoryError that says what would need less."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error).lower()
        if isinstance(error, MemoryError) or "resource_exhausted" in text or "out of memory" in text:
            raise MemoryError(hint) from error
        raise

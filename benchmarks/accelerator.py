"""The kernels for GPUs and TPUs on such a device: checked against the specification, then timed beside others.

Each case has a limit: a kernel that waits for ever ends its process, not the run. What is not checked, or is wrong, is
not timed. All of it takes less than eight minutes; what is left then is named.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks.problem import Size, problem
from benchmarks.tables import number, table
from benchmarks.timing import seconds

KERNELS = {"gpu": "cuda", "tpu": "tpu"}
"""The implementation to look at, by the platform that JAX runs on."""
STEPS, FEATURES = 1024, 64
BFLOAT16 = [(hidden, 16) for hidden in (256, 64, 128, 512)] + [(256, batch) for batch in (128, 8, 64)]
CASES = [
    *((cell, *sizes, "bfloat16") for sizes in BFLOAT16 for cell in ("lstm", "gru", "elman")),
    *((cell, 256, 16, "float32") for cell in ("lstm", "gru", "elman")),
]
"""(cell, H, B, dtype), those that matter most first."""
QUICK = [("lstm", 20, 5, "bfloat16"), ("gru", 20, 5, "float32")]
TOLERANCE = {"bfloat16": 2e-2, "float32": 1e-5}
"""Of outputs and every gradient, relative to its norm; float32 with three products of TF32."""
LIMIT, TOTAL = 90, 440
"""Seconds: of a case, and from when on no more are begun."""
KINDS = ("forward", "step")


class Worker:
    """A process that does one job after another; one that takes too long is ended, and another begun."""

    def __init__(self) -> None:
        self.process: Any = None

    def __call__(self, function: Callable, *arguments: Any) -> Any:
        """What the function returns; a string, the reason, if it failed or took longer than LIMIT."""
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.pipe, theirs = context.Pipe()
            self.process = context.Process(target=serve, args=(theirs,), daemon=True)
            self.process.start()
        self.pipe.send((function, arguments))
        try:
            if self.pipe.poll(LIMIT):
                return self.pipe.recv()
            why = f"no answer in {LIMIT} s"
        except EOFError:
            why = "its process ended"
        self.process.kill()
        self.process = None
        return why


def serve(pipe: Any) -> None:
    """A worker's loop."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch measures on the same device
    while True:
        function, arguments = pipe.recv()
        try:
            answer = function(*arguments)
        except Exception as error:  # a case that fails is told, and the others go on
            answer = f"{type(error).__name__}: {error}"[:500]
        pipe.send(answer)


def run(
    quick: bool, say: Callable[[str], None], ask: Callable[..., Any] | None = None, kernel: str | None = None
) -> dict[str, Any]:
    """Every case: the check, then the times; `ask` runs a function elsewhere, `kernel` is the one to look at."""
    begun, ask = time.perf_counter(), ask or Worker()
    device = ask(device_facts)
    kernel = kernel or (KERNELS.get(device["platform"]) if isinstance(device, dict) else None)
    if kernel is None:
        return {"device": device, "kernel": None, "cases": [], "left": []}
    other, cases, left = Worker(), [], []
    for case in QUICK if quick else CASES:
        name = " ".join(map(str, case))
        if time.perf_counter() - begun > TOTAL:
            left.append(name)
            continue
        found: dict[str, Any] = {"case": list(case), "check": ask(check, kernel, case)}
        say(f"accelerator {name}: {found['check']}")
        if isinstance(found["check"], dict) and found["check"]["right"]:
            for contender in (kernel, "xla", "flax.linen"):
                found[contender] = ask(jax_seconds, contender, case, quick)
            if not quick:
                found["cuDNN"] = other(torch_seconds, case)
        cases.append(found)
    return {"device": device, "kernel": kernel, "cases": cases, "left": left}


def device_facts() -> dict[str, Any]:
    """What JAX runs on."""
    import jax

    device = jax.devices()[0]
    return {
        "platform": jax.default_backend(),
        "kind": device.device_kind,
        "capability": getattr(device, "compute_capability", None),
        "jax": jax.__version__,
    }


def layer_of(case: tuple, steps: int, contender: str) -> tuple[Any, Any, Any]:
    """(parameters, xs, the function (parameters, xs) -> outputs) of a contender."""
    import jax
    import jax.numpy as jnp

    import jrnn
    from benchmarks.jax_layers import linen

    cell_name, hidden, batch, dtype = case
    given = problem(cell_name, Size(steps, batch, FEATURES, hidden))
    if contender.startswith("flax"):
        layer = linen(cell_name, given.size)
        return jax.tree.map(jnp.asarray, (layer.convert(given.weights), given.xs)) + (layer.unroll,)
    cell = {"elman": jrnn.elman, "lstm": jrnn.lstm, "gru": jrnn.gru}[cell_name](hidden, dtype=dtype)
    params, xs = jax.tree.map(lambda a: jnp.asarray(a, dtype), (dict(given.weights), given.xs))

    def outputs(params: Any, xs: Any, **options: Any) -> Any:
        return jrnn.unroll(cell, params, xs, implementation=contender, **options).outputs

    return params, xs, outputs


def check(kernel: str, case: tuple) -> dict[str, Any]:
    """How far values and gradients are from the specification's, with lengths and resets, and whether bits repeat."""
    import jax
    import jax.numpy as jnp

    steps, batch = 24, case[2]
    lengths = jnp.asarray(np.random.default_rng(0).integers(0, steps + 1, batch))
    resets = jnp.asarray(np.random.default_rng(1).random((steps, batch)) < 0.1)

    def results(name: str) -> Any:
        params, xs, outputs = layer_of(case, steps, name)

        def loss(params: Any, xs: Any) -> tuple[Any, Any]:
            found = outputs(params, xs, lengths=lengths, resets=resets).astype(jnp.float32)
            return jnp.sum(jnp.sin(found)), found

        with jax.default_matmul_precision("highest"):
            call = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
            return [jax.tree.map(lambda a: np.asarray(a, np.float64), call(params, xs)) for _ in range(2)]

    (found, again), (wanted, _) = results(kernel), results("reference")
    pairs = list(zip(*map(jax.tree.leaves, (found, wanted)), strict=True))
    errors = [float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30)) for a, b in pairs]
    repeats = all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (found, again)), strict=True))
    return {"error": max(errors), "repeats": repeats, "right": repeats and max(errors) <= TOLERANCE[case[3]]}


def jax_seconds(contender: str, case: tuple, quick: bool) -> dict[str, float]:
    """Seconds of each of KINDS, a median."""
    import jax
    import jax.numpy as jnp

    params, xs, outputs = layer_of(case, 8 if quick else STEPS, contender)
    calls = {
        "forward": jax.jit(outputs),
        "step": jax.jit(jax.grad(lambda params, xs: jnp.sum(outputs(params, xs).astype(jnp.float32) ** 2))),
    }
    return {
        kind: timed(lambda call=call: jax.block_until_ready(call(params, xs)), quick) for kind, call in calls.items()
    }


def torch_seconds(case: tuple) -> dict[str, float]:
    """The same by cuDNN through PyTorch, in the same precision: bfloat16's numbers are half's."""
    import torch

    cell, hidden, batch, dtype = case
    kind = torch.half if dtype == "bfloat16" else torch.float32
    module = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](FEATURES, hidden).cuda().to(kind)
    xs = torch.randn(STEPS, batch, FEATURES, device="cuda", dtype=kind)

    def forward() -> None:
        with torch.no_grad():
            module(xs)
        torch.cuda.synchronize()

    def step() -> None:
        module.zero_grad(set_to_none=True)
        (module(xs)[0].float() ** 2).sum().backward()
        torch.cuda.synchronize()

    return {"forward": timed(forward, False), "step": timed(step, False)}


def timed(call: Callable[[], Any], quick: bool) -> float:
    """The median of some calls, after two."""
    for _ in range(1 if quick else 2):
        call()
    return median(seconds(call) for _ in range(1 if quick else 9))


def show(report: dict[str, Any]) -> str:
    """Microseconds a step of the sequence: forward, then training."""
    if report["kernel"] is None:
        return f"No GPU or TPU: nothing was measured ({report['device']})."
    contenders = (report["kernel"], "xla", "flax.linen", "cuDNN")
    head = ["cell", "H", "B", "dtype", "error", *(f"{name} {kind}" for name in contenders for kind in KINDS)]
    rows = []
    for found in report["cases"]:
        checked = found["check"]
        row = [*map(str, found["case"]), f"{checked['error']:.1e}" if isinstance(checked, dict) else "failed"]
        for name in contenders:
            times = found.get(name)
            row += [number(times[kind] / STEPS * 1e6) if isinstance(times, dict) else "-" for kind in KINDS]
        rows.append(row)
    reasons = [f"{found['case']}: {why}" for found in report["cases"] for why in found.values() if isinstance(why, str)]
    left = [f"Not begun in {TOTAL} s: {', '.join(report['left'])}"] if report["left"] else []
    return "\n".join([f"{report['device']}, microseconds a step, T = {STEPS}", table(head, rows), *reasons, *left])

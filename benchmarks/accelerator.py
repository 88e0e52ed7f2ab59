"""The kernels for GPUs and TPUs on such a device: checked against the specification, then timed beside others.

Each case has a limit: a kernel that waits for ever ends its process, not the run; so does any error, after which a
device may be in no state to go on. What is not checked, or is wrong, is not timed. All of it takes less than eight
minutes; what is left then is named.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import numpy as np

from benchmarks.device_jobs import Worker
from benchmarks.problem import Size, problem
from benchmarks.tables import number, table
from benchmarks.timing import seconds

KERNELS = {"gpu": "cuda", "tpu": "tpu"}
"""The implementation to look at, by the platform that JAX runs on."""
STEPS, FEATURES = 1024, 64
SIZES = [(hidden, 16) for hidden in (64, 128, 512)] + [(256, batch) for batch in (128, 8, 64)]
ODD = ("lstm", "gru", "elman", "gru reset before", "lstm both ways")
CASES = [
    *((cell, 256, 16, dtype) for dtype in ("bfloat16", "float32", "tf32") for cell in ("lstm", "gru", "elman")),
    *((cell, 100, 11, dtype) for dtype in ("bfloat16", "float32") for cell in ODD),
    *((cell, *sizes, "bfloat16") for sizes in SIZES for cell in ("lstm", "gru", "elman")),
]
"""(cell, H, B, dtype), those that matter most first; those of odd sizes are checked alone."""
QUICK = [("lstm", 20, 5, "bfloat16"), ("gru", 20, 5, "float32"), ("lstm both ways", 20, 5, "float32")]
PRECISION = {"bfloat16": None, "float32": "highest", "tf32": "tensorfloat32"}
"""`jax.default_matmul_precision`: float32 by three products of TF32, or by one."""
TOLERANCE = {"bfloat16": 2e-2, "float32": 1e-5, "tf32": 1e-2}
"""Of outputs and every gradient, relative to its norm."""
LIMIT, TOTAL = 90, 440
"""Seconds: of a job, and from when on no more are begun."""
WAIT = {"JRNN_CUDA_WAIT": "100000000"}
"""Of the process that checks: a wait for ever is an error there."""
KINDS = ("forward", "step")


def run(
    quick: bool, say: Callable[[str], None], ask: Callable[..., Any] | None = None, kernel: str | None = None
) -> dict[str, Any]:
    """Every case: the check, then the times; `ask` runs a function elsewhere, `kernel` is the one to look at."""
    begun = time.perf_counter()
    until = begun + TOTAL
    inspect, ask = ask or Worker(LIMIT, until, WAIT), ask or Worker(LIMIT, until)
    device = ask(device_facts)
    kernel = kernel or (KERNELS.get(device["platform"]) if isinstance(device, dict) else None)
    if kernel is None:
        return {"device": device, "kernel": None, "cases": [], "left": []}
    other, cases, left = Worker(LIMIT, until), [], []
    chosen = QUICK if quick else CASES
    for each in (inspect, ask):  # only the waits differ
        say(f"accelerator compiled: {each(compile_all, kernel, chosen)}")
    for case in chosen:
        name = " ".join(map(str, case))
        if time.perf_counter() - begun > TOTAL:
            left.append(name)
            continue
        found: dict[str, Any] = {"case": list(case), "check": inspect(check, kernel, case)}
        say(f"accelerator {name}: {found['check']}")
        if isinstance(found["check"], dict) and found["check"]["right"] and case[0] in CELLS and case[1] != 100:
            if not quick:
                found["long"] = inspect(check_long, kernel, case)
                say(f"accelerator {name}, {STEPS} steps: {found['long']}")
            if isinstance(found.get("long"), dict) and not found["long"]["right"]:
                cases.append(found)
                continue
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


CELLS = ("lstm", "gru", "elman")


def layer_of(case: tuple, steps: int, contender: str) -> tuple[Any, Any, Any]:
    """(parameters, xs, the function (parameters, xs) -> outputs) of a contender."""
    import jax
    import jax.numpy as jnp

    import jrnn
    from benchmarks.jax_layers import linen

    cell_name, hidden, batch, dtype = case[0], *case[1:3], "bfloat16" if case[3] == "bfloat16" else "float32"
    size = Size(steps, batch, FEATURES, hidden)
    given = problem(cell_name if cell_name in CELLS else "gru", size)
    xs = jnp.asarray(given.xs, dtype)
    if contender.startswith("flax"):
        layer = linen(cell_name, size, dtype)
        return jax.tree.map(lambda a: jnp.asarray(a, dtype), layer.convert(given.weights)), xs, layer.unroll
    if cell_name == "gru reset before":
        cell = jrnn.gru(hidden, reset_after=False, dtype=dtype)
    elif cell_name == "lstm both ways":
        cell = jrnn.Bidirectional(jrnn.lstm(hidden, dtype=dtype))
    else:
        cell = getattr(jrnn, cell_name)(hidden, dtype=dtype)
    weights = given.weights if cell_name in CELLS else cell.init(jax.random.key(0), FEATURES)
    params = jax.tree.map(lambda a: jnp.asarray(a, dtype), dict(weights))

    def outputs(params: Any, xs: Any, **options: Any) -> Any:
        return jrnn.unroll(cell, params, xs, implementation=contender, **options).outputs

    return params, xs, outputs


def gradient_of(outputs: Callable[..., Any], **options: Any) -> Any:
    """The compiled function (parameters, xs) -> (the gradients of a loss of the outputs, the outputs)."""
    import jax
    import jax.numpy as jnp

    def loss(params: Any, xs: Any) -> tuple[Any, Any]:
        found = outputs(params, xs, **options).astype(jnp.float32)
        return jnp.sum(jnp.sin(found)), found

    return jax.jit(jax.grad(loss, (0, 1), has_aux=True))


def compile_all(kernel: str, cases: list[tuple]) -> dict[str, float]:
    """Compiles the kernels of all cases, several at once, and keeps them."""
    import jax

    begun = time.perf_counter()

    def compile_one(case: tuple) -> None:
        params, xs, outputs = layer_of(case, 24, kernel)
        with jax.default_matmul_precision(PRECISION[case[3]]):  # pyright: ignore[reportArgumentType]
            gradient_of(outputs).lower(params, xs)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        list(pool.map(compile_one, cases))
    return {"seconds": round(time.perf_counter() - begun, 1)}


def check(kernel: str, case: tuple) -> dict[str, Any]:
    """How far values and gradients are from the specification's, with events of all kinds, and whether bits repeat."""
    import jax.numpy as jnp

    steps, batch = 24, case[2]
    lengths = jnp.asarray(np.random.default_rng(0).integers(0, steps + 1, batch))
    resets, mask = (jnp.asarray(np.random.default_rng(i).random((steps, batch)) < p) for i, p in ((1, 0.1), (2, 0.8)))
    events = [{"lengths": lengths, "resets": resets, "truncate": 7}, {"mask": mask, "reverse": True}]
    found = [compared(kernel, "reference", case, steps, **each) for each in events]
    error, repeats = max(each["error"] for each in found), all(each["repeats"] for each in found)
    return {"error": error, "repeats": repeats, "right": repeats and error <= TOLERANCE[case[3]]}


def check_long(kernel: str, case: tuple) -> dict[str, Any]:
    """The same as long as what is timed, against XLA; rounded at every step, they drift apart."""
    found = compared(kernel, "xla", case, STEPS)
    return found | {"right": found["repeats"] and found["error"] <= 3 * TOLERANCE[case[3]]}


def compared(kernel: str, other: str, case: tuple, steps: int, **events: Any) -> dict[str, Any]:
    """The largest error of outputs and gradients, relative to its norm, and whether two calls give the same bits."""
    import jax

    def results(name: str, precision: str | None) -> Any:
        params, xs, outputs = layer_of(case, steps, name)
        with jax.default_matmul_precision(precision):  # pyright: ignore[reportArgumentType]
            call = gradient_of(outputs, **events)
            return [jax.tree.map(lambda a: np.asarray(a, np.float64), call(params, xs)) for _ in range(2)]

    found, again = results(kernel, PRECISION[case[3]])
    wanted, _ = results(other, "highest")
    pairs = list(zip(*map(jax.tree.leaves, (found, wanted)), strict=True))
    errors = [float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30)) for a, b in pairs]
    repeats = all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (found, again)), strict=True))
    return {"error": float(np.max(errors)), "repeats": repeats}  # NaN if one is


def jax_seconds(contender: str, case: tuple, quick: bool) -> dict[str, float]:
    """Seconds of each of KINDS, a median; an error where calls of the same arguments give different bits."""
    import jax
    import jax.numpy as jnp

    params, xs, outputs = layer_of(case, 8 if quick else STEPS, contender)
    calls = {
        "forward": jax.jit(outputs),
        "step": jax.jit(jax.grad(lambda params, xs: jnp.sum(outputs(params, xs).astype(jnp.float32) ** 2))),
    }
    found = {}
    with jax.default_matmul_precision(PRECISION[case[3]]):  # pyright: ignore[reportArgumentType]
        for kind, call in calls.items():
            made = []
            found[kind] = timed(lambda: made.append(jax.block_until_ready(call(params, xs))), quick)  # noqa: B023
            bits = [[np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(each)] for each in made]
            if contender in KERNELS.values() and any(each != bits[0] for each in bits):
                raise ValueError(f"{kind}: other bits in another call")
    return found


def torch_seconds(case: tuple) -> dict[str, float]:
    """The same by cuDNN through PyTorch, in the same precision: bfloat16's numbers are half's."""
    import torch

    cell, hidden, batch, dtype = case
    kind = torch.half if dtype == "bfloat16" else torch.float32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
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

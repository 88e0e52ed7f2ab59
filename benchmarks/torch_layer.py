"""The same layer in PyTorch, whole and step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.frameworks import GEMM_SIZE, Built
from benchmarks.problem import Problem, gates

MODULES = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
CELLS = {"elman": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}


def settle(one_thread: bool) -> torch.device:
    """The threads and float32 that is float32 on every device; returns the device."""
    if one_thread:
        torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fill(module: Any, problem: Problem, suffix: str) -> None:
    """Gives a module or cell the weights; of its two biases the second is zero but for the GRU's bias_rec."""
    hidden = problem.size.hidden
    second = np.zeros(gates(problem.cell) * hidden, np.float32)
    if "bias_rec" in problem.weights:
        second[2 * hidden :] = problem.weights["bias_rec"]
    given = {
        "weight_ih": problem.weights["w_in"].T,
        "weight_hh": problem.weights["w_rec"].T,
        "bias_ih": problem.weights["bias"],
        "bias_hh": second,
    }
    with torch.no_grad():
        for name, value in given.items():
            getattr(module, name + suffix).copy_(torch.from_numpy(value.copy()))


def build_torch(problem: Problem, one_thread: bool) -> Built:
    """`torch.nn.RNN`, `LSTM` or `GRU`; cuDNN's on a GPU."""
    device = settle(one_thread)
    on_gpu = device.type == "cuda"
    hidden = problem.size.hidden
    layer = MODULES[problem.cell](problem.size.features, hidden)
    fill(layer, problem, "_l0")
    layer = layer.to(device)
    xs, cotangent = (torch.from_numpy(a).to(device) for a in (problem.xs, problem.cotangent))
    square = torch.ones(GEMM_SIZE, GEMM_SIZE, device=device)

    def finished(value: Any) -> Any:
        if on_gpu:
            torch.cuda.synchronize()
        return value

    def forward() -> Any:
        with torch.no_grad():
            return finished(layer(xs)[0])

    def step() -> Any:
        layer.zero_grad(set_to_none=True)
        outputs, _ = layer(xs)
        (outputs * cotangent).mean().backward()
        return finished(outputs)

    def results() -> dict[str, np.ndarray]:
        step()
        found = {
            "outputs": forward(),
            "w_in": layer.weight_ih_l0.grad.T,
            "w_rec": layer.weight_hh_l0.grad.T,
            "bias": layer.bias_ih_l0.grad,
        }
        if "bias_rec" in problem.weights:
            found["bias_rec"] = layer.bias_hh_l0.grad[2 * hidden :]
        return {name: value.cpu().numpy().copy() for name, value in found.items()}

    return Built(
        run={"forward": forward, "step": step},
        results=results,
        gemm=lambda: finished(square @ square),
        compile_seconds=None,
        device=torch.cuda.get_device_name() if on_gpu else "cpu",
        device_peak=lambda: torch.cuda.max_memory_allocated() if on_gpu else None,
    )


def stream_torch(problem: Problem) -> Callable[[], np.ndarray]:
    """The cell over the steps of `problem` in a loop of Python, as PyTorch runs it; gives the last output."""
    device = settle(one_thread=False)
    cell = CELLS[problem.cell](problem.size.features, problem.size.hidden)
    fill(cell, problem, "")
    cell, xs = cell.to(device), torch.from_numpy(problem.xs).to(device)

    def run() -> np.ndarray:
        state = None
        with torch.inference_mode():
            for x in xs:
                state = cell(x, state)
        return (state[0] if problem.cell == "lstm" else state).cpu().numpy()

    return run

"""Times on a GPU, in microseconds. Inputs rotate, so that a call does not find the last call's in the cache."""

from collections.abc import Callable
from statistics import median

import torch

from kernels.case import Arguments

_REPEATS = 200
_WARM_UP = 20
_CAPTURED = 20
"""Calls in one CUDA graph."""

Run = Callable[..., object]


def median_us(run: Run, inputs: list[Arguments]) -> float:
    """Median of a call as Python makes it: small kernels wait for their launch, which is part of the time."""
    for number in range(_WARM_UP):
        run(*inputs[number % len(inputs)])
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(_REPEATS)]
    for number, (begin, end) in enumerate(events):
        begin.record()
        run(*inputs[number % len(inputs)])
        end.record()
    torch.cuda.synchronize()
    return median(1e3 * begin.elapsed_time(end) for begin, end in events)


def captured_us(run: Run, inputs: list[Arguments]) -> float | None:
    """Median of a call among calls captured into one CUDA graph, which the CPU does not slow down.

    None where the call cannot be captured, as it waits for the GPU.
    """
    run(*inputs[0])
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            for number in range(_CAPTURED):
                run(*inputs[number % len(inputs)])
    except RuntimeError:
        return None
    return median_us(lambda: graph.replay(), [()]) / _CAPTURED


def copy_of(size: int) -> Run:
    """A copy that reads and writes `size` bytes together."""
    source, target = (torch.empty(max(1, size // 2), dtype=torch.uint8, device="cuda") for _ in range(2))
    return lambda *_: target.copy_(source)

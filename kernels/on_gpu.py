"""All that needs a GPU, by one command out of a plain checkout: `python -m kernels.on_gpu`.

Needs torch, triton, numpy, onnx, onnxruntime, pytest, jaxtyping and rich, on Python 3.11 or later, and nothing of ours
installed. Runs the GPU tests, then the benchmarks, and ends within eight minutes; what time did not suffice for is
listed. Writes kernels/results/<device>.json.

Exit status: 0 all tests passed and no case answered wrongly; 1 otherwise, also where tests were not reached; 3 there is
no GPU, and what needs none is in order: the GPU tests are collected (and skip), every op answers its cases on the CPU,
every kernel compiles for sm_90.
"""

import os
import sys
import time
from collections.abc import Mapping

import torch

from kernels.compile import ARCHITECTURES
from kernels.gpu_run import GpuTests, run_benchmarks, run_tests
from kernels.progress import say
from kernels.results import versions, write_results
from kernels.without_gpu import rehearse

NO_GPU = 3
"""Exit status where there is no GPU and nothing is wrong."""
_TESTS_S, _ALL_S = 300.0, 450.0
"""Seconds after which tests, and everything, are stopped; the rest of the eight minutes is for starting and ending."""


def main() -> int:
    """The exit status; prints progress."""
    if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
        raise ValueError(
            f"TRITON_INTERPRET is {os.environ['TRITON_INTERPRET']}: kernels would not reach the GPU; unset it"
        )
    started = time.monotonic()
    present = torch.cuda.is_available()
    say(f"{torch.cuda.get_device_name() if present else 'no GPU here'}; {_shown(versions())}")
    tests = run_tests(started + _TESTS_S)
    say(f"tests: {_shown(tests.counts)}; failed: {tests.failed}; unfinished: {tests.unfinished}")
    broken = bool(tests.failed or tests.unfinished)
    return _without_gpu(broken) if not present else _with_gpu(tests, broken, started)


def _with_gpu(tests: GpuTests, broken: bool, started: float) -> int:
    timings, left_out = run_benchmarks(tests.gaps, started + _ALL_S)
    if "onnx_us" not in {name for timing in timings for name, value in vars(timing).items() if value is not None}:
        left_out.append("onnx_us: needs onnxruntime's CUDA provider, and onnxscript to write the models")
    run = {
        "command": "python -m kernels.on_gpu",
        "seconds": round(time.monotonic() - started, 1),
        "tests": dict(tests.counts) | {"failures": tests.failed, "unfinished": tests.unfinished},
        "left_out": left_out,
    }
    say(f"written to {write_results(timings, run)} after {run['seconds']} s; left out: {left_out}")
    return int(broken or not all(timing.ok for timing in timings))


def _without_gpu(broken: bool) -> int:
    say(f"no GPU here: the tests were collected only; now ops on the CPU and kernels for sm_{ARCHITECTURES[1]}")
    faults = rehearse()
    for fault in faults:
        say(f"FAULT {fault}")
    state = "faults, see above" if faults or broken else "all that needs none is in order"
    say(f"no GPU here: nothing was launched or timed, no results are written; {state}")
    return 1 if faults or broken else NO_GPU


def _shown(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


if __name__ == "__main__":
    sys.exit(main())

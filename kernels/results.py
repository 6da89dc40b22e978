"""What was measured on GPUs: `kernels/results/<device>.json`."""

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch

from kernels.bench import Timing
from kernels.case import Case
from kernels.compile import toolchain
from kernels.devices import gpu_named, roofline_us
from kernels.registry import OPS

RESULTS = Path(__file__).with_name("results")


def write_results(timings: list[Timing], run: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Writes what was measured on this GPU, with what `run` says of the run; the path."""
    device = torch.cuda.get_device_name()
    major, minor = torch.cuda.get_device_capability()
    path = folder / f"{device.replace(' ', '-').lower()}.json"
    found = {"device": device, "arch": major * 10 + minor, "versions": versions()} | run
    folder.mkdir(exist_ok=True)
    path.write_text(json.dumps(found | {"rows": rows(timings, device)}, indent=2) + "\n")
    return path


def rows(timings: list[Timing], device: str) -> list[dict[str, Any]]:
    """Each timing with the roofline of this device and how many times it the kernels took, inside a CUDA graph where
    that was measured; None where the device's peaks are not known."""
    cases = {(op.name, case.config, case.name): case for op in OPS for case in op.cases()}
    return [_row(timing, cases[timing.op, timing.config, timing.case], device) for timing in timings]


def versions() -> dict[str, str | None]:
    """Of everything that decides times; from the modules, as distributions of one module differ in name."""
    modules = {"torch": torch, "numpy": np, "onnx": onnx, "onnxruntime": ort}
    found = {name: module.__version__ for name, module in modules.items()} | toolchain()
    return found | {"python": platform.python_version(), "cuda": torch.version.cuda}


def measured(folder: Path = RESULTS) -> Iterator[tuple[int, Timing]]:
    """Architecture and timing of everything that was measured on GPUs."""
    names = {field.name for field in fields(Timing)}
    for file in sorted(folder.glob("*.json")):
        found = json.loads(file.read_text())
        for row in found["rows"]:
            yield found["arch"], Timing(**{name: value for name, value in row.items() if name in names})


def _row(timing: Timing, case: Case, device: str) -> dict[str, Any]:
    gpu = gpu_named(device)
    modelled = roofline_us(gpu, case.work) if gpu else None
    best = timing.captured_us or timing.op_us
    ratio = best / modelled if best and modelled else None
    return asdict(timing) | {"modelled_us": modelled, "over_modelled": ratio}

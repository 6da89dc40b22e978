"""What was measured with: versions of the packages that results depend on, and the machine."""

import importlib.metadata
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

UNTRAINED = "none: untrained weights"
"""The run of a result that measures time alone."""
_PACKAGES = ("torch", "onnx", "onnxruntime-gpu", "onnxscript", "triton", "tritonclient", "numpy", "nvidia-pytriton")


def versions() -> dict[str, str]:
    """Python and the packages that results depend on; tritonserver is that of the wheel."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), "tritonserver": "2.51.0", **found}


def command() -> str:
    """How this process was called."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name, *sys.argv[1:]])


def circumstances() -> dict[str, Any]:
    """What every result says of how it was measured: when, by which command, with which versions, on which machine."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"recorded": now, "versions": versions(), "hardware": hardware(), "command": command()}


def hardware() -> dict[str, Any]:
    """Processor, cores that this process may use, memory, kernel."""
    models = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    kibibytes = [int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(kibibytes[0] / 2**20, 1) if kibibytes else None,
        "kernel": platform.release(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()

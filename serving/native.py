"""The native form of the backend `onnxruntime`: C++ that tritonserver loads in place of a Python process per model.

It is compiled on the machine that serves, into the cache, under a name that follows from its sources: what lies there
is never out of date. `python -m serving.native` compiles it.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serving import whole_folder
from serving.runtime import BACKENDS, cache
from serving.startup import StartupError

SOURCES = BACKENDS / "onnxruntime" / "native"
LIBRARY = "libtriton_onnxruntime.so"
COMPILER = "g++"
FLAGS = ("-std=c++20", "-O2", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror")


def library() -> Path:
    """The compiled backend. Raises StartupError, naming the remedy, where it was not compiled from these sources."""
    path = _folder() / LIBRARY
    if not path.is_file():
        raise StartupError(
            f"the native backend is not built ({path} is missing): run make native, which needs {COMPILER}, or serve "
            "with --backend python"
        )
    return path


def onnxruntime_library() -> Path:
    """ONNX Runtime's C library in the wheel `onnxruntime` or `onnxruntime-gpu`; found without importing it.

    Raises:
        StartupError: neither is installed.
    """
    spec = importlib.util.find_spec("onnxruntime")
    for location in (spec.submodule_search_locations or []) if spec else []:
        for path in (Path(location) / "capi").glob("libonnxruntime.so.*"):
            return path
    raise StartupError("no libonnxruntime.so in this environment: pip install onnxruntime-gpu")


def build() -> Path:
    """Compiles the backend where that was not done yet, and returns it.

    Raises:
        StartupError: there is no compiler, or it failed; says what it said.
    """
    target = _folder()
    if not (target / LIBRARY).is_file():
        whole_folder.publish(target, _fill)
    return target / LIBRARY


def _fill(folder: Path) -> None:
    # The object files stay beside it, for the program that its tests link of them.
    linked(compiled(sorted(SOURCES.glob("*.cpp")), folder, FLAGS), folder / LIBRARY, ("-shared",))


def compiled(sources: Sequence[Path], folder: Path, flags: Sequence[str]) -> list[Path]:
    """The object files of sources, in a folder. Raises StartupError as `build` does."""

    def compile_one(source: Path) -> Path:
        target = folder / f"{source.stem}.o"
        _run([*flags, "-I", str(SOURCES), "-c", str(source), "-o", str(target)])
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, sources))


def linked(objects: Sequence[Path], target: Path, flags: Sequence[str]) -> None:
    """A library or a program of object files. Raises StartupError as `build` does."""
    _run([*flags, *map(str, objects), "-ldl", "-o", str(target)])


def _folder() -> Path:
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sorted(SOURCES.glob("*")):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return cache() / "native" / digest.hexdigest()[:16]


def _run(arguments: Sequence[str]) -> None:
    try:
        result = subprocess.run([COMPILER, *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        raise StartupError(f"the native backend cannot be built without {COMPILER}: apt-get install g++") from None
    if result.returncode:
        raise StartupError(f"{COMPILER} failed on the native backend:\n{result.stderr}")


if __name__ == "__main__":
    try:
        sys.stdout.write(f"native backend: {build()}\n")
    except StartupError as error:
        sys.exit(str(error))

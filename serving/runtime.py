"""Where tritonserver comes from, and the environment in which it finds Python and its backends."""

import ctypes.util
import hashlib
import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from serving import whole_folder
from serving.backends import backlog, restarts
from serving.startup import StartupError

WHEEL = "nvidia-pytriton==0.7.0"
BACKENDS = Path(__file__).parent / "backends"
NATIVE = "onnxruntime"
"""The backend that has a native form too."""


def cache() -> Path:
    """The directory for what can be made again: $RECSERVE_CACHE, else ~/.cache/recserve; without symbolic links."""
    return Path(os.environ.get("RECSERVE_CACHE") or Path.home() / ".cache" / "recserve").resolve()


def backend_cache() -> Path:
    """Where backend directories are, one for each content."""
    return cache() / "backends"


def wheel_root() -> Path:
    """The installed wheel's tritonserver directory; the wheel is found without importing it.

    Raises:
        StartupError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("pytriton")
    for location in (spec.submodule_search_locations or []) if spec else []:
        root = Path(location) / "tritonserver"
        if (root / "bin" / "tritonserver").is_file():
            return root
    raise StartupError(f"no tritonserver in this environment: pip install {WHEEL}")


def backend_directory(sources: Path, native: Path | None = None) -> Path:
    """A directory that tritonserver takes as --backend-directory, made once per content in the cache.

    Args:
        sources: a directory with one directory per Python-based backend, each with a model.py.
        native: the library that is the backend `onnxruntime` in place of the Python-based one of that name.

    Raises:
        StartupError: the wheel is not installed, or has no stub for this Python.
    """
    files = dict(_backend_files(sources, native))
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    target = backend_cache() / digest.hexdigest()[:16]
    try:
        # As old as its last use: what was not used for long is pruned.
        os.utime(target)
    except FileNotFoundError:
        whole_folder.publish(target, partial(_copy, files))
    return target


def _backend_files(sources: Path, native: Path | None) -> Iterator[tuple[str, Path]]:
    """(path in the backend directory, file to copy)."""
    root = wheel_root()
    stub = root / "python_backend_stubs" / sysconfig.get_python_version() / "triton_python_backend_stub"
    if not stub.is_file():
        raise StartupError(f"{WHEEL} has no stub for Python {sysconfig.get_python_version()}; use Python 3.11")
    yield f"python/{stub.name}", stub
    for path in (root / "backends" / "python").iterdir():
        if path.is_file():
            yield f"python/{path.name}", path
    if native is not None:
        yield f"{NATIVE}/{native.name}", native
    for model in sources.glob("*/model.py"):
        if native is not None and model.parent.name == NATIVE:
            continue
        for path in model.parent.glob("*.py"):
            yield f"{model.parent.name}/{path.name}", path


def _copy(files: Mapping[str, Path], folder: Path) -> None:
    for name, path in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy2(path, folder / name)


def environment(state: str, histories: str, metrics_url: str, num_restarts: int = 0) -> dict[str, str]:
    """The server's environment: libraries of the wheel, this virtual environment first, one thread per library.

    Raises:
        StartupError: the wheel or libpython is missing.
    """
    inherited = dict(os.environ)
    inherited.pop("PYTHONHOME", None)
    libraries = [
        str(wheel_root().parents[1] / "nvidia_pytriton.libs"),
        *libpython_directory(sysconfig.get_python_version()),
    ]
    return inherited | {
        "LD_LIBRARY_PATH": os.pathsep.join([*libraries, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]),
        # The stub finds the virtual environment only through python3 on PATH.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "RECSERVE_STATE": state,
        "RECSERVE_HISTORIES": histories,
        backlog.METRICS: metrics_url,
        restarts.VARIABLE: str(num_restarts),
    }


def libpython_directory(version: str) -> list[str]:
    """The directory to add to the loader's path; none where the loader finds libpython by itself.

    Raises:
        StartupError: libpython, which the backends' stub loads, is nowhere to be found.
    """
    library = f"libpython{version}.so.1.0"
    directory = Path(sysconfig.get_config_var("LIBDIR") or "")
    if (directory / library).is_file():
        return [str(directory)]
    if ctypes.util.find_library(f"python{version}"):
        return []
    raise StartupError(
        f"{library} is missing, which tritonserver's Python backend loads: apt-get install libpython{version} "
        "(Debian's package)"
    )

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

from serving import runtime
from serving.startup import StartupError


def test_the_backend_directory_holds_the_stub_of_this_python_and_our_backend() -> None:
    folder = runtime.backend_directory(runtime.BACKENDS)
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {
        "python/libtriton_python.so",
        "python/triton_python_backend_stub",
        "python/triton_python_backend_utils.py",
        "onnxruntime/model.py",
    } <= names
    assert os.access(folder / "python" / "triton_python_backend_stub", os.X_OK)
    assert runtime.backend_directory(runtime.BACKENDS) == folder


def test_a_changed_backend_gets_a_directory_of_its_own(tmp_path: Path) -> None:
    sources = tmp_path / "backends"
    shutil.copytree(runtime.BACKENDS, sources)
    assert runtime.backend_directory(sources) == runtime.backend_directory(runtime.BACKENDS)
    (sources / "onnxruntime" / "model.py").write_text("changed = True\n")
    changed = runtime.backend_directory(sources)
    assert changed != runtime.backend_directory(runtime.BACKENDS)
    assert (changed / "onnxruntime" / "model.py").read_text() == "changed = True\n"
    assert sorted(path.name for path in changed.parent.iterdir() if path.name.startswith("tmp")) == []


def test_the_server_finds_this_environment_and_one_thread_per_library() -> None:
    environment = runtime.environment("lmdb:///state", "lmdb:///histories", "http://127.0.0.1:8002/metrics")
    assert environment["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert "nvidia_pytriton.libs" in environment["LD_LIBRARY_PATH"].split(os.pathsep)[0]
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["RECSERVE_STATE"] == "lmdb:///state"
    assert environment["RECSERVE_HISTORIES"] == "lmdb:///histories"
    assert environment["RECSERVE_METRICS"] == "http://127.0.0.1:8002/metrics"


def test_a_missing_libpython_is_named_with_debians_package() -> None:
    with pytest.raises(StartupError, match=r"libpython9\.9\.so\.1\.0 is missing.*apt-get install libpython9\.9"):
        runtime.libpython_directory("9.9")


def test_the_libpython_of_this_python_is_found() -> None:
    directories = runtime.libpython_directory(sysconfig.get_python_version())
    assert all((Path(directory) / "libpython3.11.so.1.0").is_file() for directory in directories)

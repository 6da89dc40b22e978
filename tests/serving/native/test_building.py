"""How the native backend is compiled, found and laid before the server, and what ONNX Runtime is told of threads."""

import shutil
from pathlib import Path

import pytest

from serving import native, runtime
from serving.admin import Admin
from serving.startup import StartupError
from tests.serving import models
from tests.serving.native import graphs
from tests.serving.native.conftest import Served


def test_without_a_compiler_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSERVE_CACHE", str(tmp_path))
    monkeypatch.setattr(native, "COMPILER", "no-such-compiler")
    with pytest.raises(StartupError, match=r"cannot be built without no-such-compiler: apt-get install g\+\+"):
        native.build()
    assert [*(tmp_path / "native").iterdir()] == [], "nothing half-made stays"
    with pytest.raises(StartupError, match=r"the native backend is not built .* run make native"):
        native.library()


def test_a_source_that_changes_is_another_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = native._folder()
    (tmp_path / "one.cpp").write_text("int one;")
    monkeypatch.setattr(native, "SOURCES", tmp_path)
    changed = native._folder()
    (tmp_path / "one.cpp").write_text("int two;")
    assert len({before, changed, native._folder()}) == 3


def test_the_library_lies_in_place_of_the_python_form(library: Path) -> None:
    folder = runtime.backend_directory(runtime.BACKENDS, library)
    assert [path.name for path in (folder / "onnxruntime").iterdir()] == [native.LIBRARY]
    assert (folder / "fused" / "model.py").is_file()
    assert (runtime.backend_directory(runtime.BACKENDS) / "onnxruntime" / "model.py").is_file()


@pytest.mark.triton_server
def test_sessions_have_the_threads_of_the_configuration(cpp: Served, tiny: Path) -> None:
    """By what a model adds to the server's threads, whose number varies by a few of its own."""
    wanted = {
        "alone": ("", 0),
        "inside": (graphs.parameters(intra_op_thread_count=24), 23),
        "across": (graphs.parameters(inter_op_thread_count=16, execution_mode=1), 15),
        "unused": (graphs.parameters(inter_op_thread_count=16, execution_mode=0), 0),
    }
    with Admin(cpp.server.url, deadline_s=30.0, admin_key=cpp.server.admin_key) as admin:
        added = {}
        for name, (parameters, _) in wanted.items():
            config = models.SCALED.replace('"scaled"', f'"{name}"').replace(models.BATCHING, parameters)
            entry = models.publish(tiny, config, models.scaled())
            before = threads(cpp)
            admin.load(name)
            added[name] = threads(cpp) - before
            admin.unload(name)
            shutil.rmtree(entry)
    assert added == {name: pytest.approx(number, abs=4) for name, (_, number) in wanted.items()}


def threads(one: Served) -> int:
    return len([*Path(f"/proc/{one.server.process.pid}/task").iterdir()])

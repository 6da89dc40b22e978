"""The run on a GPU as far as it goes without one: what it imports, when it stops, what it makes of what it sees."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from kernels import gpu_run, on_gpu, results, without_gpu
from kernels.bench import Timing
from kernels.gpu_run import GpuTests, bounded, merged
from kernels.registry import OPS

ROOT = Path(__file__).parents[2]
GIVEN = ("torch", "triton", "numpy", "onnx", "onnxruntime-gpu", "pytest", "jaxtyping", "rich")
"""All that a machine with a GPU has to offer; either distribution of onnxruntime."""


def with_requirements(names: tuple[str, ...]) -> set[str]:
    """These distributions and all that they cannot do without."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python in whose environment nothing else is installed than a machine with a GPU has."""
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, with_pip=False)
    (site,) = home.glob("lib/python*/site-packages")
    for name in with_requirements(GIVEN):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    return home / "bin" / "python"


def python(interpreter: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TRITON_INTERPRET")}
    return subprocess.run(
        [interpreter, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_bare_environment_lacks_what_the_suite_has(bare_python: Path) -> None:
    for name in ("onnxscript", "polars", "hypothesis", "xdist", "lightning"):
        assert "ModuleNotFoundError" in python(bare_python, "-c", f"import {name}").stderr


@pytest.mark.slow
def test_the_gpu_tests_are_collected_and_run_with_nothing_else_installed(bare_python: Path) -> None:
    done = python(bare_python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/kernels/gpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout or "skipped" in done.stdout


@pytest.mark.slow
def test_the_modules_of_the_run_are_imported_and_an_op_is_timed_with_nothing_else_installed(bare_python: Path) -> None:
    script = (
        "import kernels.on_gpu, kernels.gpu_times\nfrom kernels.results import versions\nprint(versions())\n"
        "from kernels.bench import time_case, worst_gap\nfrom kernels.registry import OPS\n"
        "case = next(case for case in OPS[0].cases() if case.name == 'request')\n"
        "print(time_case('op', case, 'cpu', worst_gap(case, 'cpu')))"
    )
    done = python(bare_python, "-c", script)
    assert done.returncode == 0, done.stderr
    assert "onnxruntime" in done.stdout
    assert "ok=True" in done.stdout, done.stderr
    assert "onnx_us=None" in done.stdout, "there is no exporter"


def test_the_sources_are_python_3_12(tmp_path: Path) -> None:
    candidates = [shutil.which("python3.12"), *sorted(Path.home().glob(".pyenv/versions/3.12*/bin/python"))]
    version = ["-c", "import sys; sys.exit(sys.version_info[:2] != (3, 12))"]
    newer = [path for path in candidates if path and not subprocess.run([path, *version], check=False).returncode]
    if not newer:
        pytest.skip("no Python 3.12 here")
    for folder in ("kernels", "tests/kernels"):
        copy = shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
        done = python(Path(newer[-1]), "-W", "error", "-m", "compileall", "-q", str(copy))
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_process_is_stopped_with_its_children_when_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_run, "_LEAST_S", 0.0)
    script = (
        "import subprocess, sys, pathlib, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(tmp_path / 'child')!r}).write_text(str(child.pid))\ntime.sleep(60)"
    )
    started = time.monotonic()
    assert bounded(["-c", script], started + 3) is None
    assert time.monotonic() - started < 20
    child = int((tmp_path / "child").read_text())
    state = Path(f"/proc/{child}/stat")
    while _runs(state):
        assert time.monotonic() - started < 30, "a process that was killed is gone as soon as it is scheduled"
        time.sleep(0.05)


def _runs(state: Path) -> bool:
    try:
        return state.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_status_comes_back_and_nothing_starts_without_time() -> None:
    assert bounded(["-c", "import sys; sys.exit(7)"], time.monotonic() + 60) == 7
    assert bounded(["-c", "raise SystemExit"], time.monotonic() + 1) is None


def test_what_the_tests_report_is_counted_and_their_gaps_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_fine.py").write_text(
        "import pytest\n"
        "def test_good(record_property): record_property('gap', 'op-narrow-request=2.5e-07')\n"
        "def test_bad(): assert False\n"
        "@pytest.mark.skip\ndef test_absent(): pass\n"
    )
    (tmp_path / "test_gone.py").write_text("import os\nos._exit(1)\n")
    monkeypatch.setattr(gpu_run, "TESTS", tmp_path)
    found = gpu_run.run_tests(time.monotonic() + 120)
    assert found.counts == {"passed": 1, "failed": 1, "skipped": 1}
    assert found.gaps == {"op-narrow-request": 2.5e-7}
    assert [name.rpartition("::")[2] for name in found.failed] == ["test_bad"]
    assert found.unfinished == ["test_gone.py"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks what happens without a GPU")
@pytest.mark.parametrize(("body", "status"), [("pass", on_gpu.NO_GPU), ("assert False", 1)])
def test_without_a_gpu_the_run_says_so_and_still_finds_faults(
    body: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test_one.py").write_text(f"def test_one(): {body}\n")
    monkeypatch.setattr(gpu_run, "TESTS", tmp_path)
    monkeypatch.setattr(without_gpu, "OPS", OPS[:1])
    assert on_gpu.main() == status
    said = capsys.readouterr().out
    assert "no GPU here: nothing was launched or timed" in said
    assert "low_rank_attention/linear-fp32-narrow/sm_90: " in said


def test_under_the_interpreter_the_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(ValueError, match="TRITON_INTERPRET is 1: kernels would not reach the GPU; unset it"):
        on_gpu.main()


def test_an_op_that_answers_wrongly_and_a_kernel_that_does_not_compile_are_faults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (case, *_) = OPS[0].cases()
    wrong = replace(case, op=lambda *given: torch.zeros(1))
    broken = OPS[0].specializations()[6]._replace(constexprs={})
    monkeypatch.setattr(without_gpu, "OPS", (OPS[0]._replace(cases=lambda: [wrong], specializations=lambda: [broken]),))
    answer, kernel = without_gpu.rehearse()
    assert answer.startswith("low_rank_attention-linear-fp32-narrow-request: gap ")
    assert "linear-fp32-narrow/sm_90 does not compile" in kernel


def test_tests_that_get_no_time_are_unfinished() -> None:
    found: GpuTests = gpu_run.run_tests(time.monotonic())
    assert found.unfinished == sorted(path.name for path in gpu_run.TESTS.glob("test_*.py"))
    assert not found.counts


def test_rows_of_one_case_become_one_timing() -> None:
    base = {"op": "toy", "case": "request", "config": "narrow", "gap": 0.0, "ok": True}
    (timing,) = merged([base | {"op_us": 9.0}, base | {"captured_us": 2.0}, base | {"compiled_us": 4.0}])
    assert timing == Timing(
        op="toy", case="request", config="narrow", gap=0.0, ok=True, op_us=9.0, captured_us=2.0, compiled_us=4.0
    )


def test_a_row_names_the_roofline_of_its_device_and_the_ratio_to_it() -> None:
    case = OPS[0].cases()[0]
    timing = Timing(op=OPS[0].name, case=case.name, config=case.config, gap=0.0, ok=True, op_us=30.0, captured_us=3.0)
    (row,) = results.rows([timing], "NVIDIA H200")
    assert row["modelled_us"] > 0
    assert row["over_modelled"] == pytest.approx(3.0 / row["modelled_us"])
    (unknown,) = results.rows([timing], "NVIDIA Unheard-of")
    assert unknown["modelled_us"] is unknown["over_modelled"] is None
    assert json.dumps(row)


def test_versions_come_from_the_modules_whatever_their_distributions_are_called() -> None:
    import onnxruntime

    found = results.versions()
    assert found["onnxruntime"] == onnxruntime.__version__
    assert {"python", "torch", "triton", "ptxas", "numpy", "onnx", "cuda"} < set(found)
    assert found["python"] == sys.version.split()[0]

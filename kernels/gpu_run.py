"""The two halves of a run on a GPU, each in processes that are stopped when their time is over: tests, benchmarks."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from kernels.bench import Timing
from kernels.progress import say
from kernels.registry import OPS

_ROOT = Path(__file__).parents[1]
TESTS = _ROOT / "tests" / "kernels" / "gpu"
_OP_S = {"plain": 90.0, "compiled": 60.0}
"""Most seconds of one op, so that none takes the time of all."""
_LEAST_S = 15.0
"""A process that has less than this is not started."""


@dataclass
class GpuTests:
    """What came of the GPU tests."""

    counts: Counter[str] = field(default_factory=Counter)
    """passed, failed, skipped."""
    failed: list[str] = field(default_factory=list)
    gaps: dict[str, float] = field(default_factory=dict)
    """Case -> its gap to the reference."""
    unfinished: list[str] = field(default_factory=list)
    """Files that were stopped, or ended without a report."""


def run_tests(deadline: float) -> GpuTests:
    """Runs every file of GPU tests until `deadline`, of time.monotonic()."""
    found = GpuTests()
    for file in sorted(TESTS.glob("test_*.py")):
        say(f"tests: {file.name}")
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            bounded(["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}", str(file)], deadline)
            if not _add_report(found, report):
                found.unfinished.append(file.name)
    return found


def run_benchmarks(gaps: dict[str, float], deadline: float) -> tuple[list[Timing], list[str]]:
    """Times every op until `deadline`: all of them as called and in CUDA graphs, then torch.compile's form of them.

    Returns timings, and in words what was left out.
    """
    left_out = []
    with tempfile.TemporaryDirectory() as folder:
        known, rows = Path(folder) / "gaps.json", Path(folder) / "rows.jsonl"
        known.write_text(json.dumps(gaps))
        rows.touch()
        for phase, most in _OP_S.items():
            for op in OPS:
                say(f"benchmarks: {op.name}, {phase}")
                command = ["-m", "kernels.gpu_times", op.name, phase, str(known), str(rows)]
                status = bounded(command, min(deadline, time.monotonic() + most))
                if status != 0:
                    reason = "no time left" if status is None else f"ended with status {status}"
                    left_out.append(f"{op.name}, {phase}: {reason}; the rows that are there are complete")
        return merged([json.loads(line) for line in rows.read_text().splitlines()]), left_out


def merged(rows: Sequence[Mapping[str, object]]) -> list[Timing]:
    """One timing per case out of rows that each hold a part of it."""
    whole: dict[tuple[object, ...], dict[str, object]] = {}
    for row in rows:
        whole.setdefault((row["op"], row["case"], row["config"]), {}).update(row)
    return [Timing(**row) for row in whole.values()]  # pyright: ignore[reportArgumentType]


def bounded(command: list[str], deadline: float) -> int | None:
    """Exit status of a Python command in the root of the checkout; None where it was stopped, or not started, for time.

    With the process end those that it started.
    """
    if deadline - time.monotonic() < _LEAST_S:
        return None
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, *command], cwd=_ROOT, env=os.environ | {"PYTHONPATH": path}, start_new_session=True
    )
    try:
        return process.wait(deadline - time.monotonic())
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _add_report(found: GpuTests, report: Path) -> bool:
    """Whether pytest wrote its report, which it does at its end."""
    if not report.is_file():
        return False
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it
        outcome = {child.tag for child in case}
        name = f"{case.get('classname')}::{case.get('name')}"
        if outcome & {"failure", "error"}:
            found.counts["failed"] += 1
            found.failed.append(name)
        else:
            found.counts["skipped" if "skipped" in outcome else "passed"] += 1
        for entry in case.iter("property"):
            key, gap = str(entry.get("value")).rsplit("=", 1)
            found.gaps[key] = float(gap)
    return True

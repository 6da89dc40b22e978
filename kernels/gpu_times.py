"""Times one hot op on a GPU, in a process of its own: a fault of one kernel must not spoil the others' times.

`python -m kernels.gpu_times OP plain|compiled GAPS ROWS` reads the gaps that the tests found (JSON: case -> gap), and
appends a line to ROWS (JSON: fields of a Timing) for each case as soon as it is timed.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from kernels.bench import Timing, add_captured, add_compiled, time_case, worst_gap
from kernels.case import Case
from kernels.progress import say
from kernels.registry import OPS


def case_key(op: str, case: Case) -> str:
    """Name of a case among those of all ops."""
    return f"{op}-{case.config}-{case.name}"


def _plain(op: str, cases: list[Case], gaps: dict[str, float], rows: Path) -> None:
    """Every case as it is called first, then inside CUDA graphs: a capture that fails may spoil what follows."""
    timings = []
    for case in cases:
        known = gaps.get(case_key(op, case))
        timings.append(time_case(op, case, "cuda", worst_gap(case, "cuda") if known is None else known))
        _append(timings[-1], rows)
    for timing, case in zip(timings, cases, strict=True):
        _append(add_captured(timing, case), rows)


def _compiled(op: str, cases: list[Case], gaps: dict[str, float], rows: Path) -> None:
    for case in cases:
        gap = gaps.get(case_key(op, case), float("inf"))
        base = Timing(op=op, case=case.name, config=case.config, gap=gap, ok=gap <= case.tolerance)
        _append(add_compiled(base, case), rows)


def _append(timing: Timing, rows: Path) -> None:
    known = {name: value for name, value in asdict(timing).items() if value is not None}
    with rows.open("a") as file:
        file.write(json.dumps(known) + "\n")
    times = [f"{name} {value:.2f}" for name, value in known.items() if name.endswith("_us")]
    say(f"  {timing.op} {timing.config}, {timing.case}: {', '.join(times) if timing.ok else 'WRONG, not timed'}")


if __name__ == "__main__":
    name, phase, gaps_file, rows_file = sys.argv[1:]
    (found,) = [op for op in OPS if op.name == name]
    {"plain": _plain, "compiled": _compiled}[phase](
        name, found.cases(), json.loads(Path(gaps_file).read_text()), Path(rows_file)
    )

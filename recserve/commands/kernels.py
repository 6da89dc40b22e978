"""`recserve kernels report` and `bench`: what the hot ops' kernels cost, by static facts, by model, by the clock."""

from dataclasses import asdict, dataclass
from typing import Literal

from kernels import bench, report
from kernels.results import write_results
from recserve.commands.command import Command, show, table

_REPORTED = ["config", "regs", "spill", "shared", "occ", "x min", "model us", "GPU us"]
"""Spill: bytes of stack plus local loads and stores."""


@dataclass(frozen=True, kw_only=True)
class Report(Command):
    """Table of op, architecture and configuration; compiles all kernels, needs no GPU.

    Registers to occupancy are read from the machine code, bytes over the minimum are counted in the interpreter,
    modelled microseconds are a roofline, measured ones stay empty until `kernels bench` ran on a GPU.
    """

    def run(self) -> int:
        with self.console.status("kernels: starting") as status:
            rows = report.rows(lambda text: status.update(f"kernels: {text}"))
        for op, arch in dict.fromkeys((row.op, row.arch) for row in rows):
            lines = [_line(row) for row in rows if (row.op, row.arch) == (op, arch)]
            show(self.console, table(f"{op}, {arch}", _REPORTED, lines))
        self.emit({"rows": [asdict(row) for row in rows]})
        return 0 if all(row.stack_bytes == row.local_loads == row.local_stores == 0 for row in rows) else 1


@dataclass(frozen=True, kw_only=True)
class Bench(Command):
    """Time the hot ops, each after its answer was compared with the reference; exits with 1 where one is wrong.

    On a GPU the results go to kernels/results/<device>.json, which `kernels report` reads.
    """

    device: Literal["cuda", "cpu"] = "cuda"
    """Device; cpu times the CPU implementations against ONNX Runtime on the function bodies, one thread each."""
    op: str | None = None
    """Op to time; all by default."""

    def run(self) -> int:
        with self.console.status("kernels: timing") as status:
            timings = bench.bench(self.device, self.op, lambda done: status.update(f"kernels: timed {done.config}"))
        columns = ["op", "case", "config", "gap", "op us", "eager us", "compiled us", "onnx us", "copy us", "onnx / op"]
        show(self.console, table(f"kernels on {self.device}", columns, [_cells(timing) for timing in timings]))
        if self.device == "cuda" and self.op is None:
            self.console.print(
                f"written to {write_results(timings, {'command': 'recserve kernels bench'})}", highlight=False
            )
        self.emit(
            {"device": self.device, "rows": [asdict(timing) | {"onnx_ratio": ratio(timing)} for timing in timings]}
        )
        return 0 if all(timing.ok for timing in timings) else 1


def _line(row: report.Row) -> list[str]:
    spill = row.stack_bytes + row.local_loads + row.local_stores
    static = (row.config, row.registers, spill, row.shared_bytes, row.occupancy)
    return [_shown(value) for value in (*static, row.bytes_over_minimum, row.modelled_us, row.measured_us)]


def ratio(timing: bench.Timing) -> float | None:
    """ONNX Runtime's time over the op's: above 1 the op is faster."""
    return timing.onnx_us / timing.op_us if timing.onnx_us and timing.op_us else None


def _cells(timing: bench.Timing) -> list[str]:
    times = (timing.op_us, timing.eager_us, timing.compiled_us, timing.onnx_us, timing.copy_us, ratio(timing))
    gap = f"{timing.gap:.1e}" if timing.ok else f"WRONG: {timing.gap:.1e}"
    return [timing.op, timing.case, timing.config, gap, *map(_shown, times)]


def _shown(value: float | int | str | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)

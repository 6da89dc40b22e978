"""One line per op, architecture and configuration: static facts, modelled times and measured times, never mixed."""

from collections.abc import Callable
from dataclasses import dataclass

from kernels.case import Case
from kernels.compile import compile_one
from kernels.devices import A100, H100_SXM, roofline_us
from kernels.metering import Overhead, measure
from kernels.registry import OPS, HotOp
from kernels.results import measured

_MODELS = {80: A100, 90: H100_SXM}
_UNKNOWN = Overhead(None, None)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Static facts as in `Compiled`; None is what nobody knows."""

    op: str
    arch: str
    config: str
    registers: int
    stack_bytes: int
    local_loads: int
    local_stores: int
    shared_bytes: int
    occupancy: float
    bytes_over_minimum: float | None
    """Bytes that all programs request, re-reads included, over the compulsory ones; counted in the interpreter."""
    sectors_over_minimum: float | None
    """Bytes of the distinct 32-byte sectors, which is what device memory moves, over the compulsory ones."""
    case: str
    """The regime that the two times are of."""
    modelled_us: float | None
    """Roofline on an A100 (sm_80) or H100 SXM (sm_90): a bound from data sheets, no launch cost, no measurement."""
    measured_us: float | None
    """Median on a GPU of that architecture; None until `recserve kernels bench` ran there."""


def rows(report: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Compiles and meters everything (about a minute); `report` is told what is being done."""
    report("metering in the interpreter")
    overheads = measure([op.name for op in OPS])
    timings = {(t.op, t.config, t.case, arch): t.op_us for arch, t in measured()}
    found = []
    for op in OPS:
        regimes = _regimes(op)
        for spec in op.specializations():
            report(f"compiling {spec.key}")
            compiled = compile_one(spec)
            case = regimes.get(spec.config)
            overhead = overheads.get(f"{op.name}/{spec.config}", _UNKNOWN)
            found.append(
                Row(
                    op=op.name,
                    arch=f"sm_{spec.arch}",
                    config=spec.config,
                    registers=compiled.registers,
                    stack_bytes=compiled.stack_bytes,
                    local_loads=compiled.local_loads,
                    local_stores=compiled.local_stores,
                    shared_bytes=compiled.shared_bytes,
                    occupancy=compiled.occupancy,
                    bytes_over_minimum=overhead.requested,
                    sectors_over_minimum=overhead.sectors,
                    case=case.name if case else "",
                    modelled_us=roofline_us(_MODELS[spec.arch], case.work) if case and spec.arch in _MODELS else None,
                    measured_us=timings.get((op.name, spec.config, case.name if case else "", spec.arch)),
                )
            )
    return found


def _regimes(op: HotOp) -> dict[str, Case]:
    """Configuration -> the largest case that uses it."""
    return {case.config: case for case in sorted(op.cases(), key=lambda case: case.work.read)}

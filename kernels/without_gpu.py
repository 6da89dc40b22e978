"""What of a run on a GPU needs none: every op against its definition on the CPU, every kernel through the compiler."""

from kernels.bench import worst_gap
from kernels.compile import ARCHITECTURES, compile_one
from kernels.gpu_times import case_key
from kernels.progress import say
from kernels.registry import OPS

_SATURATED = "saturated"
"""Cases that take a CPU minutes."""


def rehearse() -> list[str]:
    """What fails, in words: an op's CPU implementation, a kernel that does not compile or that spills."""
    return [*_wrong_answers(), *_broken_kernels()]


def _wrong_answers() -> list[str]:
    wrong = []
    for op in OPS:
        for case in op.cases():
            if case.name == _SATURATED:
                continue
            gap = worst_gap(case, "cpu")
            say(f"  {op.name} {case.config}, {case.name}, on the CPU: gap {gap:.1e}")
            if not gap <= case.tolerance:
                wrong.append(f"{case_key(op.name, case)}: gap {gap:.1e}, at most {case.tolerance:.1e}")
    return wrong


def _broken_kernels() -> list[str]:
    broken = []
    for spec in (spec for op in OPS for spec in op.specializations()):
        if spec.arch != ARCHITECTURES[1]:
            continue
        try:
            compiled = compile_one(spec)
        # The compiler's passes raise RuntimeError, its front end CompilationError, which is an Exception only.
        except Exception as error:
            broken.append(f"{spec.key} does not compile: {str(error).strip().splitlines()[-1]}")
            continue
        spilled = compiled.stack_bytes + compiled.local_loads + compiled.local_stores
        say(f"  {spec.key}: {compiled.registers} registers, {compiled.seconds:.1f} s")
        if spilled:
            broken.append(f"{spec.key} spills")
    return broken

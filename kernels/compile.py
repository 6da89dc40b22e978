"""Compiles kernels for GPUs that are not there, and reads from the machine code what they will cost.

Needs no GPU: Triton lowers to PTX, the wheel's ptxas, cuobjdump and nvdisasm do the rest. Not under the interpreter.
"""

import hashlib
import re
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

ARCHITECTURES = (80, 90, 100)
WARPS_PER_SM = 64
_REGISTERS_PER_SM = 65536
_BLOCKS_PER_SM = 32
_SHARED_PER_SM = {80: 164 * 1024, 90: 228 * 1024, 100: 228 * 1024}
_SHARED_RESERVED = 1024
"""Bytes of shared memory that the system takes from each block."""
_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
_TENSOR = {"mma": r"\bmma\.sync", "wgmma": r"\bwgmma\.mma_async", "tcgen05": r"\btcgen05\.mma"}


class Specialization(NamedTuple):
    """A kernel as it is shipped: one op, one configuration, one architecture."""

    op: str
    config: str
    arch: int
    """80, 90 or 100."""
    fn: Any
    """The function under `@triton.jit`."""
    signature: dict[str, str]
    """Parameter -> "*fp32", "i32", ..., or "constexpr", in the order of the parameters."""
    constexprs: dict[str, Any]
    attrs: dict[tuple[int, ...], list[list[Any]]]
    """From `divisible_by_16`."""
    num_warps: int
    num_stages: int

    @property
    def key(self) -> str:
        """`op/config/sm_XX`: its name in budgets and manifest."""
        return f"{self.op}/{self.config}/sm_{self.arch}"


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """What the machine code of a specialization says: static facts, no times."""

    op: str
    config: str
    arch: int
    registers: int
    stack_bytes: int
    local_loads: int
    local_stores: int
    """Instructions that go to local memory: spills."""
    shared_bytes: int
    occupancy: float
    """Most resident warps over the 64 that an SM holds; what registers and shared memory allow."""
    vector_loads: int
    scalar_loads: int
    """Global loads of at least 8 bytes a thread, and smaller ones."""
    tensor_instructions: dict[str, int]
    """Kind (mma, wgmma, tcgen05) -> number in the PTX; kinds that do not occur are left out."""
    ptx_sha256: str
    opcodes_sha256: str
    """Of the opcodes of the machine code, in order, without operands."""
    seconds: float


def divisible_by_16(fn: Any, names: list[str]) -> dict[tuple[int, ...], list[list[Any]]]:
    """Attributes that promise that these parameters are multiples of 16; without them no load is vectorised."""
    return {(fn.arg_names.index(name),): [["tt.divisibility", 16]] for name in names}


def compile_one(spec: Specialization) -> Compiled:
    """Compiles `spec`; raises triton's CompilationError where it does not compile."""
    started = time.perf_counter()
    # Where the source lies must not change PTX and machine code.
    knobs.compilation.disable_line_info = True
    kernel = triton.compile(
        ASTSource(spec.fn, spec.signature, spec.constexprs, spec.attrs),
        target=GPUTarget("cuda", spec.arch, 32),
        options={"num_warps": spec.num_warps, "num_stages": spec.num_stages, "enable_fp_fusion": False},
    )
    seconds = time.perf_counter() - started
    cubin = kernel.asm["cubin"]
    usage, instructions = _disassemble(cubin)
    registers, shared = usage["REG"], int(kernel.metadata.shared)
    loads = [name for name in instructions if re.match(r"LDG(STS)?\b", name)]
    vectors = sum(bool(re.search(r"\.(64|128)\b", name)) for name in loads)
    tensor = {kind: len(re.findall(pattern, kernel.asm["ptx"])) for kind, pattern in _TENSOR.items()}
    return Compiled(
        op=spec.op,
        config=spec.config,
        arch=spec.arch,
        registers=registers,
        stack_bytes=usage["STACK"],
        local_loads=_count(instructions, "LDL"),
        local_stores=_count(instructions, "STL"),
        shared_bytes=shared,
        occupancy=occupancy(spec.arch, registers, shared, spec.num_warps),
        vector_loads=vectors,
        scalar_loads=len(loads) - vectors,
        tensor_instructions={kind: count for kind, count in tensor.items() if count},
        ptx_sha256=_sha256(kernel.asm["ptx"]),
        opcodes_sha256=_sha256("\n".join(instructions)),
        seconds=seconds,
    )


def occupancy(arch: int, registers: int, shared: int, num_warps: int) -> float:
    """Share of an SM's warps that registers and shared memory [bytes a block] let be resident."""
    # Registers are handed out to a warp in blocks of 256.
    per_warp = -(-registers * 32 // 256) * 256
    by_registers = _REGISTERS_PER_SM // per_warp // num_warps
    by_shared = _SHARED_PER_SM[arch] // (shared + _SHARED_RESERVED)
    blocks = min(by_registers, by_shared, _BLOCKS_PER_SM, WARPS_PER_SM // num_warps)
    return blocks * num_warps / WARPS_PER_SM


def toolchain() -> dict[str, str]:
    """Versions that decide PTX and machine code."""
    return {"triton": triton.__version__} | {tool: _version(tool) for tool in ("ptxas", "ptxas-blackwell")}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _version(tool: str) -> str:
    words = _run(tool, "--version")
    release = re.search(r"V(\d+\.\d+\.\d+)", words)
    return release.group(1) if release else words.strip()


def _disassemble(cubin: bytes) -> tuple[Counter[str], list[str]]:
    """Resource usage by its name in cuobjdump, and the opcodes of all instructions."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = _run("cuobjdump", "--dump-resource-usage", file.name)
        listing = _run("nvdisasm", "--print-code", file.name)
    counts = Counter({name: int(value) for name, value in re.findall(r"\b(REG|STACK|SHARED|LOCAL):(\d+)", usage)})
    return counts, re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", listing)


def _count(instructions: list[str], opcode: str) -> int:
    return sum(name.split(".")[0] == opcode for name in instructions)


def _run(tool: str, *arguments: str) -> str:
    return subprocess.run([_TOOLS / tool, *arguments], check=True, capture_output=True, text=True).stdout

"""Resource budgets of the shipped kernels, and the manifest of what they compile to, for each release of Triton.

The manifest has the digest of the PTX, byte by byte, and of the machine code's opcodes, in order. Not of its operands:
ptxas swaps two registers as the addresses fall at which it holds them (of two kernels for sm_100 under 3.6.0 and 3.7.1;
with address space randomisation off always the same way), so that the same PTX has two machine codes.

`python -m kernels.budgets` compiles all of them and records what the installed release makes of them; `make budgets`
does so with every release. Run it after a change of a kernel, and read the difference.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from kernels.compile import Compiled, Specialization, compile_one, toolchain

BUDGETS = Path(__file__).with_name("budgets.json")
MANIFEST = Path(__file__).with_name("manifest.json")


class Budget(NamedTuple):
    """What a kernel may take at most, and what it must reach; the tensor-core instructions must be these kinds."""

    registers: int
    shared_bytes: int
    occupancy: float
    vector_loads: int
    tensor_instructions: list[str]


def budget_of(compiled: Compiled) -> Budget:
    """The budget that `compiled` just keeps, with a tenth of slack in registers, rounded up to 8."""
    return Budget(
        registers=min(255, -(-int(compiled.registers * 1.1) // 8) * 8),
        shared_bytes=compiled.shared_bytes,
        occupancy=round(compiled.occupancy * 0.75, 4),
        vector_loads=compiled.vector_loads,
        tensor_instructions=sorted(compiled.tensor_instructions),
    )


def excess(compiled: Compiled, budget: Budget) -> list[str]:
    """What breaks the budget, in words; stack and local memory are never allowed."""
    checks = [
        (compiled.stack_bytes == 0, f"{compiled.stack_bytes} bytes of stack, allowed 0"),
        (compiled.local_loads == 0, f"{compiled.local_loads} local loads, allowed 0"),
        (compiled.local_stores == 0, f"{compiled.local_stores} local stores, allowed 0"),
        (compiled.registers <= budget.registers, f"{compiled.registers} registers, allowed {budget.registers}"),
        (
            compiled.shared_bytes <= budget.shared_bytes,
            f"{compiled.shared_bytes} bytes of shared memory, allowed {budget.shared_bytes}",
        ),
        (compiled.occupancy >= budget.occupancy, f"occupancy {compiled.occupancy}, at least {budget.occupancy}"),
        (
            compiled.vector_loads >= budget.vector_loads,
            f"{compiled.vector_loads} vector loads, at least {budget.vector_loads}",
        ),
        (
            sorted(compiled.tensor_instructions) == budget.tensor_instructions,
            f"tensor instructions {compiled.tensor_instructions}, expected kinds {budget.tensor_instructions}",
        ),
    ]
    return [message for holds, message in checks if not holds]


def digests(compiled: Compiled) -> dict[str, str]:
    """What the manifest holds of a kernel: sha256 of its `ptx` and of the `opcodes` of its machine code."""
    return {"ptx": compiled.ptx_sha256, "opcodes": compiled.opcodes_sha256}


def read_budgets(release: str, path: Path = BUDGETS) -> dict[str, Budget]:
    """Budgets by `Specialization.key`. Raises ValueError for a release of Triton that was not recorded."""
    return {key: Budget(**fields) for key, fields in _recorded(release, path).items()}


def read_manifest(release: str, path: Path = MANIFEST) -> dict[str, Any]:
    """`toolchain` (versions) and `kernels` (key -> `digests`). Raises ValueError as `read_budgets` does."""
    return _recorded(release, path)


def write(specializations: list[Specialization]) -> None:
    """Compiles all and records budgets and manifest; raises ValueError for a kernel that spills."""
    compiled = {spec.key: compile_one(spec) for spec in specializations}
    budgets = {key: budget_of(result) for key, result in compiled.items()}
    spills = [f"{key}: {', '.join(excess(compiled[key], budget))}" for key, budget in budgets.items()]
    if broken := [line for line in spills if not line.endswith(": ")]:
        raise ValueError("; ".join(broken))
    versions = toolchain()
    _record(BUDGETS, versions["triton"], {key: budget._asdict() for key, budget in budgets.items()})
    kernels = {key: digests(result) for key, result in compiled.items()}
    _record(MANIFEST, versions["triton"], {"toolchain": versions, "kernels": kernels})


def _recorded(release: str, path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text())
    if release not in found:
        raise ValueError(f"{path.name} knows Triton {', '.join(found)}, not {release}; run `python -m kernels.budgets`")
    return found[release]


def _record(path: Path, release: str, value: dict[str, Any]) -> None:
    found = json.loads(path.read_text()) | {release: value}
    path.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    from kernels.registry import OPS

    write([spec for op in OPS for spec in op.specializations()])

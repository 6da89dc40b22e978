"""Inputs of a known size for a hot op, with all ways to compute them: what benchmarks, meter and report work on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from kernels.devices import Work

Arguments = tuple[Any, ...]
Outputs = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One regime of one op."""

    name: str
    """ "request" (one user, 1,000 candidates: what a CPU is timed on), "saturated" (as many as fill a GPU), others."""
    config: str
    """Configuration of the kernel that this regime uses."""
    inputs: Callable[[int], Arguments]
    """Seed -> arguments of `op`, tensors on the CPU; what is not a tensor is a constant of the op."""
    op: Callable[..., Outputs]
    """The operator; the device of its tensors decides which implementation runs."""
    reference: Callable[..., Outputs]
    """The definition, from the same arguments."""
    launch: Callable[..., Outputs]
    """The kernel with exactly `config`, whatever the device, also under the interpreter."""
    work: Work
    """What a call cannot do without."""
    batched: Callable[..., Outputs] | None = None
    """The same in plain PyTorch without loops over users, which a kernel has to beat; compiled as well."""
    tolerance: float = 0.0
    """Largest |op - reference| / max(1, |reference|); 0 for integers, which must be equal."""
    metered: bool = False
    """Small enough for the interpreter (at most about 50 programs)."""
    in_onnx: bool = True
    """Whether `op` has a node in ONNX; what draws random numbers or reads a sketch stays outside of graphs."""

"""Named GPUs and the time that memory traffic and arithmetic take on them at best: models, not measurements.

Peaks are dense, without sparsity, at boost clock, from NVIDIA's data sheets: "NVIDIA H100 Tensor Core GPU" (SXM5
column), "NVIDIA H200 Tensor Core GPU" (SXM column), "NVIDIA A100 Tensor Core GPU" (80 GB SXM column), "NVIDIA L4 Tensor
Core GPU". The H100, H200 and L4 sheets print tensor-core peaks with sparsity; the figures here are half of those.
SMs from the architecture white papers.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

Precision = Literal["fp16", "bf16", "tf32", "fp32", "int32"]


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """What a roofline needs."""

    name: str
    arch: int
    """Compute capability times ten."""
    sms: int
    bandwidth: float
    """Bytes per second of device memory."""
    peak: dict[Precision, float]
    """Operations per second; a fused multiply-add counts as two. int32: adds, logic and shifts, one each."""


H100_SXM = Gpu(
    name="H100 SXM",
    arch=90,
    sms=132,
    bandwidth=3.35e12,
    peak={"fp16": 989e12, "bf16": 989e12, "tf32": 494e12, "fp32": 67e12, "int32": 16.7e12},
)
H200 = replace(H100_SXM, name="H200", bandwidth=4.8e12)
A100 = Gpu(
    name="A100",
    arch=80,
    sms=108,
    bandwidth=2.039e12,
    peak={"fp16": 312e12, "bf16": 312e12, "tf32": 156e12, "fp32": 19.5e12, "int32": 9.7e12},
)
L4 = Gpu(
    name="L4",
    arch=89,
    sms=58,
    bandwidth=0.3e12,
    peak={"fp16": 121e12, "bf16": 121e12, "tf32": 60e12, "fp32": 30.3e12, "int32": 7.6e12},
)

GPUS = {gpu.name: gpu for gpu in (H100_SXM, H200, A100, L4)}

_REPORTED = {
    "NVIDIA H100 80GB HBM3": H100_SXM,
    "NVIDIA H200": H200,
    "NVIDIA A100-SXM4-80GB": A100,
    "NVIDIA L4": L4,
}


def gpu_named(device: str) -> Gpu | None:
    """The GPU whose driver calls it so; None for one whose peaks are not listed here."""
    return _REPORTED.get(device)


class Work(NamedTuple):
    """What one call cannot do without: every input byte read once, every output byte written once, all arithmetic."""

    read: int
    """Bytes."""
    written: int
    """Bytes."""
    operations: int
    """Floating-point or integer operations of the slower kind that `precision` names."""
    precision: Precision


def roofline_us(gpu: Gpu, work: Work) -> float:
    """Microseconds that `work` takes at best: the larger of its memory time and its arithmetic time."""
    memory = (work.read + work.written) / gpu.bandwidth
    return 1e6 * max(memory, work.operations / gpu.peak[work.precision])

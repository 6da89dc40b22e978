"""What of consistency pruning is compiled ahead, budgeted and recorded: eight codebooks, hard mode on ids in three
sizes, soft mode on shares."""

import torch

from kernels.compile import ARCHITECTURES, Specialization, divisible_by_16
from kernels.consistency_pruning.configs import CONFIGS, constants
from kernels.consistency_pruning.kernel import consistency_pruning_kernel
from kernels.consistency_pruning.state import Rule

_CODEBOOKS = 8


def specializations() -> list[Specialization]:
    """All configurations for all architectures."""
    return [
        spec
        for arch in ARCHITECTURES
        for spec in (
            _specialization(arch, "64", Rule(window=40, codebook_size=256), slots=20),
            _specialization(arch, "128", Rule(window=100, codebook_size=300), slots=50),
            _specialization(arch, "128-shares", Rule(window=100, codebook_size=300, penalty=2**-15), 50, width=32),
            _specialization(arch, "1024", Rule(window=100, codebook_size=300), slots=50),
        )
    ]


def _specialization(arch: int, name: str, rule: Rule, slots: int, width: int = 1) -> Specialization:
    config = CONFIGS[arch][name]
    constexprs = constants(config, rule, torch.float32, (slots, _CODEBOOKS, width))
    pointers = [parameter for parameter in consistency_pruning_kernel.arg_names if parameter.endswith("_ptr")]
    signature = {parameter: "i32" for parameter in consistency_pruning_kernel.arg_names}
    signature |= dict.fromkeys(pointers, "*i32") | dict.fromkeys(constexprs, "constexpr")
    signature |= {"scores_ptr": "*fp32", "next_scores_ptr": "*fp32"}
    return Specialization(
        "consistency_pruning",
        name,
        arch,
        consistency_pruning_kernel,
        signature,
        constexprs,
        divisible_by_16(consistency_pruning_kernel, pointers),
        config.num_warps,
        config.num_stages,
    )

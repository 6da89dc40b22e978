"""What is compiled and budgeted: both kernels, at the sizes of two models, few fields and many."""

from typing import Any, NamedTuple

import torch

from kernels.combo_id_attention.configs import CONFIGS, Bucket, Config, constants_of, padded
from kernels.combo_id_attention.cost import Sizes
from kernels.combo_id_attention.kernel import combo_candidates_kernel, combo_users_kernel
from kernels.compile import Specialization, divisible_by_16

_TYPES = {torch.float32: "fp32", torch.float16: "fp16"}


class Model(NamedTuple):
    """What a trained model fixes."""

    user: int
    item: int
    heads: int
    width: int
    rows: int
    """Of the first codebook; the second has three fewer."""
    dtype: torch.dtype


MODELS: dict[Bucket, Model] = {
    "narrow": Model(8, 6, 4, 16, 2**20, torch.float32),
    "wide": Model(40, 24, 4, 16, 2**20, torch.float16),
}


def specializations() -> list[Specialization]:
    """Both kernels of every configuration."""
    return [
        _specialization(kernel, arch, bucket, config)
        for (arch, bucket), config in CONFIGS.items()
        for kernel in (combo_users_kernel, combo_candidates_kernel)
    ]


def sizes_of(bucket: Bucket, requests: int, candidates: int) -> Sizes:
    """Sizes of a call of the bucket's model."""
    model = MODELS[bucket]
    return Sizes(
        requests=requests,
        candidates=candidates,
        user=model.user,
        item=model.item,
        heads=model.heads,
        width=model.width,
        itemsize=model.dtype.itemsize,
        score_itemsize=model.dtype.itemsize,
    )


def config_name(bucket: Bucket, kernel: str) -> str:
    """Name of a configuration of the "users" or "candidates" kernel."""
    return f"{bucket}-{_TYPES[MODELS[bucket].dtype]}-{kernel}"


def _specialization(kernel: Any, arch: int, bucket: Bucket, config: Config) -> Specialization:
    model = MODELS[bucket]
    constants = constants_of(model.user, model.heads, model.width, model.dtype) | {
        "NUM_ITEM": model.item,
        "NUM_FIELDS": model.user + model.item,
        "FIRST_SIZE": model.rows,
        "SECOND_SIZE": model.rows - 3,
        "BLOCK_CANDIDATES": config.candidates,
        "BLOCK_HEADS": config.heads,
        "BLOCK_ITEM": padded(model.item, model.dtype),
    }
    pointers = dict.fromkeys(("ids_ptr", "user_ids_ptr", "item_ids_ptr", "salt_ptr"), "*i64") | {"ends_ptr": "*i32"}
    pointers |= dict.fromkeys(("peaks_ptr", "totals_ptr", "values_ptr", "mix_ptr", "tau_ptr"), "*fp32")
    names = kernel.arg_names
    aligned = [name for name in names if name.endswith("_ptr")]
    signature = {name: "constexpr" if name in constants else "i32" for name in names}
    return Specialization(
        op="combo_id_attention",
        config=config_name(bucket, "users" if kernel is combo_users_kernel else "candidates"),
        arch=arch,
        fn=kernel,
        signature=signature | {name: pointers.get(name, f"*{_TYPES[model.dtype]}") for name in aligned},
        constexprs={name: constants[name] for name in names if name in constants},
        attrs=divisible_by_16(kernel, aligned),
        num_warps=config.num_warps,
        num_stages=config.num_stages,
    )

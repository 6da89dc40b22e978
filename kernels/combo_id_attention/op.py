"""The operator `recserve::combo_id_attention`: the CPU form, the kernel on a GPU, and one bare node in ONNX."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kernels.bodies import DOMAIN
from kernels.combo_id_attention.cpu import combo_id_attention_cpu
from kernels.combo_id_attention.kernel import launch
from kernels.combo_id_attention.reference import PRIMES, Codebooks, Fields, Fusion, split

NODE = f"{DOMAIN}::ComboIdAttention"


def combo_id_attention(
    users: Fields, items: Fields, ends: Int[Tensor, " B"], codebooks: Codebooks, fusion: Fusion
) -> Float[Tensor, "C F HD"]:
    """o_i of all fields of each candidate; the definition is `reference.combo_id_attention`.

    Arithmetic is fp32 (fp64 for fp64 tokens), the result has the dtype of the tokens. `ends` are accumulated counts of
    candidates, int32 or int64; requests may be empty. A candidate with a NaN or an infinite score answers NaN and
    changes no other one. Raises ValueError for shapes or types that do not fit.
    """
    _check(users, items, codebooks, fusion)
    arguments = (*users, *items, ends, *codebooks, *fusion)
    if torch.onnx.is_in_onnx_export():
        return torch.onnx.ops.symbolic(
            NODE, arguments, dtype=items.tokens.dtype, shape=_output_shape(users, items, fusion), version=1
        )
    return _operator(*arguments)


@torch.library.custom_op("recserve::combo_id_attention", mutates_args=(), device_types="cpu")
def _operator(  # noqa: PLR0913 - a schema of tensors has no structures
    user_tokens: Tensor,
    user_ids: Tensor,
    item_tokens: Tensor,
    item_ids: Tensor,
    ends: Tensor,
    first: Tensor,
    second: Tensor,
    salt: Tensor,
    mix: Tensor,
    tau: Tensor,
) -> Tensor:
    users, items = Fields(user_tokens, user_ids), Fields(item_tokens, item_ids)
    return combo_id_attention_cpu(users, items, ends, Codebooks(first, second, salt), Fusion(mix, tau))


@_operator.register_kernel("cuda")
def _on_cuda(  # noqa: PLR0913 - the operator's schema
    user_tokens: Tensor,
    user_ids: Tensor,
    item_tokens: Tensor,
    item_ids: Tensor,
    ends: Tensor,
    first: Tensor,
    second: Tensor,
    salt: Tensor,
    mix: Tensor,
    tau: Tensor,
) -> Tensor:
    users, items = Fields(user_tokens, user_ids), Fields(item_tokens, item_ids)
    return launch(users, items, ends, Codebooks(first, second, salt), Fusion(mix, tau))


@_operator.register_fake
def _fake(  # noqa: PLR0913 - the operator's schema
    user_tokens: Tensor,
    user_ids: Tensor,
    item_tokens: Tensor,
    item_ids: Tensor,
    ends: Tensor,
    first: Tensor,
    second: Tensor,
    salt: Tensor,
    mix: Tensor,
    tau: Tensor,
) -> Tensor:
    users, items = Fields(user_tokens, user_ids), Fields(item_tokens, item_ids)
    return item_tokens.new_empty(_output_shape(users, items, Fusion(mix, tau)))


def _output_shape(users: Fields, items: Fields, fusion: Fusion) -> tuple[int, int, int]:
    num_heads = fusion.mix.shape[1]
    width = items.tokens.shape[2] // (3 * num_heads + 2)
    return items.ids.shape[0], users.ids.shape[1] + items.ids.shape[1], num_heads * width


def _check(users: Fields, items: Fields, codebooks: Codebooks, fusion: Fusion) -> None:
    num_fields = users.ids.shape[1] + items.ids.shape[1]
    num_heads = fusion.mix.shape[1]
    for side, fields in (("user", users), ("item", items)):
        if fields.ids.dtype != torch.int64:
            raise ValueError(f"{side} ids must be int64, got {fields.ids.dtype}")
        if fields.tokens.shape[1] != fields.ids.shape[1]:
            raise ValueError(f"{side}: {fields.tokens.shape[1]} tokens for {fields.ids.shape[1]} ids")
    if not items.ids.shape[1]:
        raise ValueError("an item needs at least one field")
    if fusion.tau.shape != (num_fields, num_fields) or codebooks.salt.shape != (2, 4, num_fields):
        found = f"tau {list(fusion.tau.shape)} and salt {list(codebooks.salt.shape)}"
        raise ValueError(f"{num_fields} fields need tau [F, F] and salt [2, 4, F], got {found}")
    sizes = codebooks.first.shape[0], codebooks.second.shape[0]
    if math.gcd(*sizes) != 1 or max(sizes) > min(PRIMES):
        raise ValueError(f"the codebooks need sizes below 2^31 that share no divisor, got {sizes}")
    if codebooks.first.shape[1] != num_heads or codebooks.second.shape[1] != num_heads:
        raise ValueError(f"mix is for {num_heads} heads, the codebooks for {codebooks.first.shape[1]}")
    split(items.tokens[:0], num_heads)

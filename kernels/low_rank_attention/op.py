"""Low-rank attention as PyTorch operators: a fast CPU form, the kernel on a GPU, and one bare node in ONNX."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kernels.bodies import DOMAIN
from kernels.low_rank_attention.kernel import launch, launch_absorbed
from kernels.low_rank_attention.reference import Variant, user_slices

_NODES: dict[str, str] = {"linear": "LowRankAttention", "softmax": "LowRankSoftmaxAttention"}


def low_rank_attention(  # noqa: PLR0913 - the operator's inputs
    queries: Float[Tensor, "C H E"],
    ends: Int[Tensor, " B"],
    keys: Float[Tensor, "B H R E"],
    values: Float[Tensor, "B H R V"],
    bias: Float[Tensor, "B HV"],
    ranks: Int[Tensor, " B"] | None = None,
    variant: Variant = "linear",
) -> Float[Tensor, "C HV"]:
    """Eq. (6) of `reference.py`: packed candidates attend to their users' prestored rows.

    Floats fp32 or fp16 (on a CPU also fp64), all of one type, sums in fp32 at least; `ends` accumulated element
    counts, int32 or int64, which do not decrease; rows of user b beyond ranks[b] do not count. Raises ValueError
    for shapes, types or a variant that do not fit.
    """
    if not torch.onnx.is_in_onnx_export():
        return _factored(queries, ends, keys, values, bias, ranks, variant)
    inputs = (queries, ends, keys, values, bias)
    if ranks is None:
        return _node(_NODES[variant], inputs, bias)
    return _node(f"{_NODES[variant]}Ranked", (*inputs, ranks), bias)


def absorbed_attention(
    targets: Float[Tensor, "C D"],
    ends: Int[Tensor, " B"],
    product: Float[Tensor, "B D HV"],
    bias: Float[Tensor, "B HV"],
) -> Float[Tensor, "C HV"]:
    """Eq. (7) of `reference.py`, types as in `low_rank_attention`."""
    if not torch.onnx.is_in_onnx_export():
        return _absorbed(targets, ends, product, bias)
    return _node("AbsorbedAttention", (targets, ends, product, bias), bias)


def _node(name: str, inputs: tuple[Tensor, ...], bias: Tensor) -> Tensor:
    shape = (inputs[0].shape[0], bias.shape[1])
    return torch.onnx.ops.symbolic(f"{DOMAIN}::{name}", inputs, dtype=inputs[0].dtype, shape=shape, version=1)


@torch.library.custom_op("recserve::low_rank_attention", mutates_args=(), device_types="cuda")
def _factored(  # noqa: PLR0913 - the operator's inputs
    queries: Tensor,
    ends: Tensor,
    keys: Tensor,
    values: Tensor,
    bias: Tensor,
    ranks: Tensor | None,
    variant: str,
) -> Tensor:
    _check_factored(queries, ends, keys, values, bias, ranks, variant)
    on_device = None if ranks is None else ranks.to(queries.device)
    form: Variant = "softmax" if variant == "softmax" else "linear"
    return launch(queries, ends.to(queries.device), keys, values, bias, on_device, form)


def _factored_on_cpu(  # noqa: PLR0913 - the operator's inputs
    queries: Tensor,
    ends: Tensor,
    keys: Tensor,
    values: Tensor,
    bias: Tensor,
    ranks: Tensor | None,
    variant: str,
) -> Tensor:
    """Two products a user, or one with the small Kc^T Vc where that is less work."""
    _check_factored(queries, ends, keys, values, bias, ranks, variant)
    heads, key = queries.shape[1:]
    rank, value = values.shape[2:]
    wide = torch.promote_types(queries.dtype, torch.float32)
    packed, keys, values = queries.to(wide), keys.to(wide), values.to(wide)
    biases = bias.to(wide).view(-1, heads, 1, value)
    valid = None if ranks is None else torch.arange(rank) < ranks[:, None]
    if valid is not None:
        keys, values = (x.masked_fill(~valid[:, None, :, None], 0) for x in (keys, values))
    # Sizes decide, not the number of candidates: a request's bits must not depend on it.
    absorbs = variant == "linear" and key * value <= rank * (key + value)
    absorbed = keys.transpose(2, 3) @ values if absorbs else None  # (B, H, E, V)
    outputs = torch.empty(queries.shape[0], heads, value, dtype=queries.dtype)
    for user, own in enumerate(user_slices(ends, queries.shape[0])):
        if own.start >= own.stop:
            continue
        by_head = packed[own].transpose(0, 1)  # (H, C, E)
        if absorbed is not None:
            attended = torch.baddbmm(biases[user], by_head, absorbed[user])
        else:
            scores = torch.bmm(by_head, keys[user].transpose(1, 2))  # (H, C, R)
            weights = _weights(scores, None if valid is None else valid[user], variant)
            attended = torch.baddbmm(biases[user], weights, values[user])
        outputs[own].copy_(attended.transpose(0, 1))
    return outputs.flatten(1)


def _weights(scores: Tensor, valid: Tensor | None, variant: str) -> Tensor:
    """What the values are weighed with; rows that are not valid weigh nothing, also where none is."""
    if variant == "linear":
        return scores if valid is None else scores.masked_fill(~valid, 0)
    if valid is None:
        return torch.softmax(scores, dim=2)
    if not valid.any():
        return torch.zeros_like(scores)
    return torch.softmax(scores.masked_fill(~valid, -torch.inf), dim=2)


@torch.library.custom_op("recserve::absorbed_attention", mutates_args=(), device_types="cuda")
def _absorbed(targets: Tensor, ends: Tensor, product: Tensor, bias: Tensor) -> Tensor:
    _check_absorbed(targets, ends, product, bias)
    return launch_absorbed(targets, ends.to(targets.device), product, bias)


def _absorbed_on_cpu(targets: Tensor, ends: Tensor, product: Tensor, bias: Tensor) -> Tensor:
    """One product a user."""
    _check_absorbed(targets, ends, product, bias)
    wide = torch.promote_types(targets.dtype, torch.float32)
    packed, products, biases = targets.to(wide), product.to(wide), bias.to(wide)
    outputs = torch.empty(targets.shape[0], bias.shape[1], dtype=targets.dtype)
    for user, own in enumerate(user_slices(ends, targets.shape[0])):
        if own.start < own.stop:
            outputs[own].copy_(torch.addmm(biases[user], packed[own], products[user]))
    return outputs


# Straight to the dispatcher: register_kernel's wrapper takes 25 us a call.
torch.library.impl("recserve::low_rank_attention", "cpu", _factored_on_cpu)
torch.library.impl("recserve::absorbed_attention", "cpu", _absorbed_on_cpu)


@_factored.register_fake
def _(  # noqa: PLR0913 - the operator's inputs
    queries: Tensor, ends: Tensor, keys: Tensor, values: Tensor, bias: Tensor, ranks: Tensor | None, variant: str
) -> Tensor:
    return queries.new_empty(queries.shape[0], bias.shape[1])


@_absorbed.register_fake
def _(targets: Tensor, ends: Tensor, product: Tensor, bias: Tensor) -> Tensor:
    return targets.new_empty(targets.shape[0], bias.shape[1])


def _check_factored(  # noqa: PLR0913 - the operator's inputs
    queries: Tensor, ends: Tensor, keys: Tensor, values: Tensor, bias: Tensor, ranks: Tensor | None, variant: str
) -> None:
    if variant not in _NODES:
        raise ValueError(f"variant must be one of {sorted(_NODES)}, not '{variant}'")
    (candidates, heads, key), users = queries.shape, ends.shape[0]
    rank, value = values.shape[2:]
    expected = {
        "keys": (keys, (users, heads, rank, key)),
        "values": (values, (users, heads, rank, value)),
        "bias": (bias, (users, heads * value)),
    }
    _check(expected, queries.dtype, users, candidates)
    if ranks is not None and ranks.shape != (users,):
        raise ValueError(f"ranks must have shape [{users}], one rank a user, not {list(ranks.shape)}")


def _check_absorbed(targets: Tensor, ends: Tensor, product: Tensor, bias: Tensor) -> None:
    users, width, out = ends.shape[0], targets.shape[1], bias.shape[-1]
    expected = {"product": (product, (users, width, out)), "bias": (bias, (users, out))}
    _check(expected, targets.dtype, users, targets.shape[0])


def _check(
    expected: dict[str, tuple[Tensor, tuple[int, ...]]], dtype: torch.dtype, users: int, candidates: int
) -> None:
    for name, (tensor, shape) in expected.items():
        if tensor.shape != shape or tensor.dtype != dtype:
            found = f"{list(tensor.shape)} {tensor.dtype}"
            raise ValueError(f"{name} must be {list(shape)} {dtype}, as the other inputs say, not {found}")
    if candidates and not users:
        raise ValueError(f"{candidates} candidates and no user: ends is empty")

"""Path sampling as PyTorch operators: a fast CPU form, the kernel on a GPU, and one bare node in ONNX."""

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from kernels.bodies import DOMAIN
from kernels.path_sampling import cpu
from kernels.path_sampling.kernel import launch, launch_given, launch_sketch
from kernels.path_sampling.reference import MAX_FIELDS, PathMasks, Plan
from kernels.path_sampling.sketch import Layout

NODE = f"{DOMAIN}::PathSampling"


def path_sampling(weights: Int32[Tensor, "B F"], keys: Int64[Tensor, " B"], plan: Plan) -> PathMasks:
    """Paths of the instances `keys`, eq. (2) to (6) of `reference.py`; F is 1 to 64.

    A row's paths follow from its weights, its key and the plan alone. It has no node in ONNX, whose graphs hold no
    randomness: there, make the words of `path_words` an input and call `path_selection`. Raises ValueError for shapes
    or types that do not fit, and for anchors or draws that F fields do not have.
    """
    return PathMasks(*_sample(weights, keys, plan.paths, plan.draws, plan.anchors, plan.seed, plan.version))


def path_selection(weights: Int32[Tensor, "B F"], words: Int32[Tensor, "B P K 4"], anchors: int = 0) -> PathMasks:
    """Paths from random words drawn before by `path_words`, eq. (3) to (6): the part that ONNX has a node for.

    Raises ValueError as `path_sampling`.
    """
    if not torch.onnx.is_in_onnx_export():
        return PathMasks(*_select(weights, words, anchors))
    rows, paths = words.shape[:2]
    return PathMasks(
        *torch.onnx.ops.symbolic_multi_out(
            NODE,
            (weights, words),
            {"anchors": anchors},
            dtypes=(torch.int64, torch.int32),
            shapes=((rows, paths), (rows,)),
            version=1,
        )
    )


def sketch_lookup(sketch: Int32[Tensor, "N D W"], keys: Int64[Tensor, "..."], layout: Layout) -> Int32[Tensor, "..."]:
    """Lower bounds of how often each key was counted, eq. (4) of `sketch.py`.

    It has no node in ONNX: a sketch lives beside the graph. Raises ValueError where sketch and layout do not fit.
    """
    if sketch.shape != (layout.blocks, layout.rows, layout.width) or sketch.dtype != torch.int32:
        raise ValueError(f"a sketch of {layout} is int32, not {sketch.dtype} {list(sketch.shape)}")
    return _look_up(sketch, keys, layout.salt)


@torch.library.custom_op("recserve::path_sampling", mutates_args=(), device_types="cpu")
def _sample(  # noqa: PLR0913 - a schema has no structures
    weights: Tensor, keys: Tensor, paths: int, draws: int, anchors: int, seed: int, version: int
) -> tuple[Tensor, Tensor]:
    _check_rows(weights, anchors, draws)
    _check_keys(weights, keys)
    words = cpu.path_words(keys.numpy(), Plan(paths=paths, draws=draws, anchors=anchors, seed=seed, version=version))
    return _as_tensors(*cpu.draw_paths(weights.numpy(), words, anchors))


@torch.library.custom_op("recserve::path_selection", mutates_args=(), device_types="cpu")
def _select(weights: Tensor, words: Tensor, anchors: int) -> tuple[Tensor, Tensor]:
    _check_words(weights, words)
    _check_rows(weights, anchors, words.shape[2])
    random = words.numpy().view(np.uint32).astype(np.uint64)
    return _as_tensors(*cpu.draw_paths(weights.numpy(), cpu.Block(*np.moveaxis(random, -1, 0)), anchors))


@torch.library.custom_op("recserve::sketch_lookup", mutates_args=(), device_types="cpu")
def _look_up(sketch: Tensor, keys: Tensor, salt: int) -> Tensor:
    bounds = cpu.sketch_lookup(sketch.numpy(), keys.numpy().reshape(-1), _layout(sketch, salt))
    return torch.from_numpy(bounds).reshape(keys.shape)


@_sample.register_kernel("cuda")
def _sample_on_gpu(  # noqa: PLR0913 - a schema has no structures
    weights: Tensor, keys: Tensor, paths: int, draws: int, anchors: int, seed: int, version: int
) -> tuple[Tensor, Tensor]:
    _check_rows(weights, anchors, draws)
    _check_keys(weights, keys)
    return launch(weights, keys, Plan(paths=paths, draws=draws, anchors=anchors, seed=seed, version=version))


@_select.register_kernel("cuda")
def _select_on_gpu(weights: Tensor, words: Tensor, anchors: int) -> tuple[Tensor, Tensor]:
    _check_words(weights, words)
    _check_rows(weights, anchors, words.shape[2])
    return launch_given(weights, words, anchors)


@_look_up.register_kernel("cuda")
def _look_up_on_gpu(sketch: Tensor, keys: Tensor, salt: int) -> Tensor:
    return launch_sketch(sketch, keys, _layout(sketch, salt))


@_sample.register_fake
def _(  # noqa: PLR0913 - a schema has no structures
    weights: Tensor, keys: Tensor, paths: int, draws: int, anchors: int, seed: int, version: int
) -> tuple[Tensor, Tensor]:
    rows = weights.shape[0]
    return weights.new_empty(rows, paths, dtype=torch.int64), weights.new_empty(rows, dtype=torch.int32)


@_select.register_fake
def _(weights: Tensor, words: Tensor, anchors: int) -> tuple[Tensor, Tensor]:
    rows, paths = words.shape[:2]
    return weights.new_empty(rows, paths, dtype=torch.int64), weights.new_empty(rows, dtype=torch.int32)


@_look_up.register_fake
def _(sketch: Tensor, keys: Tensor, salt: int) -> Tensor:
    return keys.new_empty(keys.shape, dtype=torch.int32)


def _as_tensors(masks: np.ndarray, flags: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(masks), torch.from_numpy(flags)


def _layout(sketch: Tensor, salt: int) -> Layout:
    blocks, rows, width = sketch.shape
    return Layout(blocks=blocks, rows=rows, width=width, salt=salt)


def _check_rows(weights: Tensor, anchors: int, draws: int) -> None:
    if weights.dim() != 2 or weights.dtype != torch.int32 or not 1 <= weights.shape[1] <= MAX_FIELDS:
        raise ValueError(f"weights must be int32 [B, 1 to {MAX_FIELDS}], not {weights.dtype} {list(weights.shape)}")
    fields = weights.shape[1]
    if fields < MAX_FIELDS and not 0 <= anchors < 1 << fields:
        raise ValueError(f"anchors {anchors:#x} name fields that do not exist: there are {fields}")
    free = fields - (anchors & (1 << MAX_FIELDS) - 1).bit_count()
    if draws > free:
        raise ValueError(f"{draws} draws per path, but only {free} of {fields} fields are no anchors")


def _check_keys(weights: Tensor, keys: Tensor) -> None:
    if keys.shape != weights.shape[:1] or keys.dtype != torch.int64:
        raise ValueError(f"keys must be int64 [{weights.shape[0]}], not {keys.dtype} {list(keys.shape)}")


def _check_words(weights: Tensor, words: Tensor) -> None:
    if words.dim() != 4 or words.shape[::3] != (weights.shape[0], 4) or words.dtype != torch.int32:
        found = f"{words.dtype} {list(words.shape)}"
        raise ValueError(f"words must be int32 [{weights.shape[0]}, P, K, 4] of path_words, not {found}")

"""What a signature means on each side: its axes in the ONNX graph, and whether tensors fit it."""

import re
from collections.abc import Iterator, Sequence

from torch import Tensor

from training.system import KernelServable, Packed, Servable, Signature, TensorSpec

BATCH = "batch"
"""The name of the batch axis in every exported graph."""

_MODEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_DTYPES = ("int32", "int64", "float16", "float32")


def graph_axes(spec: TensorSpec) -> tuple[int | str, ...]:
    """Axes of the tensor in the ONNX graph: ragged tensors are packed, all others start with the batch."""
    return spec.shape if spec.ragged else (BATCH, *spec.shape)


def client_inputs(signature: Signature) -> tuple[TensorSpec, ...]:
    """The inputs that a request carries; the server fills in the others."""
    return tuple(spec for spec in signature.inputs if spec.of is None)


def as_packed(result: Tensor | Packed) -> Packed:
    """What a module returned, as a tuple also where it has one output."""
    return (result,) if isinstance(result, Tensor) else tuple(result)


def check_signature(signature: Signature) -> None:
    """Raises ValueError, naming model and tensor, for a signature that tritonserver could not serve."""
    if not _MODEL_NAME.fullmatch(signature.name):
        raise ValueError(f"model name '{signature.name}': use letters, digits, '-' and '_', starting with a letter")
    if signature.max_batch_size < 1:
        raise ValueError(f"model '{signature.name}': max_batch_size is {signature.max_batch_size}; it must be >= 1")
    for problem in _problems(signature):
        raise ValueError(f"model '{signature.name}': {problem}")


def axis_sizes(signature: Signature, specs: Sequence[TensorSpec], tensors: Packed) -> dict[str, int]:
    """Sizes of the symbolic axes in `tensors`.

    Raises ValueError naming the tensor where number, dtype, rank or a size does not fit the signature.
    """
    if len(specs) != len(tensors):
        raise ValueError(f"model '{signature.name}': {len(tensors)} tensors for {[spec.name for spec in specs]}")
    sizes: dict[str, int] = {}
    for spec, tensor in zip(specs, tensors, strict=True):
        axes, found = graph_axes(spec), f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
        expected = f"model '{signature.name}', tensor '{spec.name}': expected {spec.dtype} {list(axes)}, found {found}"
        if str(tensor.dtype) != f"torch.{spec.dtype}" or len(axes) != tensor.ndim:
            raise ValueError(expected)
        for axis, length in zip(axes, tensor.shape, strict=True):
            size, rest = divmod(length, spec.per)
            if rest:
                raise ValueError(f"{expected}, which is no multiple of {spec.per}")
            known = sizes.setdefault(axis, size) if isinstance(axis, str) else axis
            if known != size:
                raise ValueError(f"{expected}, but axis '{axis}' is {known}")
    return sizes


def _problems(signature: Signature) -> Iterator[str]:
    names = [spec.name for spec in (*signature.inputs, *signature.outputs)]
    yield from (f"tensor '{name}' is listed twice" for name in sorted({n for n in names if names.count(n) > 1}))
    if not signature.outputs or not client_inputs(signature):
        yield "it needs at least one input that a client sends, and one output"
    ragged = {spec.name: spec.shape for spec in signature.inputs if spec.ragged}
    for spec in (*signature.inputs, *signature.outputs):
        yield from (f"tensor '{spec.name}': {problem}" for problem in _tensor_problems(spec))
        if spec.of is not None and spec.of not in ragged:
            yield f"tensor '{spec.name}': of='{spec.of}' is not a ragged input; those are {sorted(ragged)}"
        elif spec.of is not None and spec.ragged and spec.shape != ragged[spec.of]:
            yield f"tensor '{spec.name}': shape {spec.shape} must be that of '{spec.of}', {ragged[spec.of]}"
    counted = {spec.of for spec in signature.inputs}
    for name in sorted(set(ragged) - counted):
        yield f"ragged input '{name}' needs an int32 input with of='{name}', or its requests cannot be told apart"
    for spec in signature.outputs:
        if spec.per > 1 and isinstance(signature, Servable | KernelServable):
            yield f"output '{spec.name}': per={spec.per}, but a graph's ragged outputs have the lengths of an input"
        if spec.ragged and spec.of is None:
            yield f"ragged output '{spec.name}' needs of=<the input whose lengths it has>"


def _tensor_problems(spec: TensorSpec) -> Iterator[str]:
    if spec.dtype not in _DTYPES:
        yield f"dtype '{spec.dtype}' is not one of {_DTYPES}"
    if BATCH in spec.shape:
        yield f"the batch axis is implied; leave '{BATCH}' out of shape {spec.shape}"
    if spec.ragged and (len(spec.shape) != 1 or not isinstance(spec.shape[0], str)):
        yield f"a ragged tensor has one symbolic axis, found shape {spec.shape}"
    counts = spec.of is not None and not spec.ragged
    if counts and (spec.shape != () or spec.dtype != "int32"):
        yield f"accumulated counts are int32 with shape (), found {spec.dtype} {spec.shape}"
    if not counts and spec.shape == ():
        yield "tritonserver needs at least one axis beside the batch; use shape (1,)"
    if not spec.ragged and not (spec.min_elements is spec.max_elements is None):
        yield "min_elements and max_elements bound ragged inputs only"
    if spec.per < 1 or (spec.per > 1 and not (spec.ragged and spec.of)):
        yield f"per is {spec.per}; it is 1, or more for a ragged output, where of=<the input that it multiplies>"

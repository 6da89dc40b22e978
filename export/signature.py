"""What a signature means on each side: its axes in the ONNX graph, and whether tensors fit it."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from training.servable import Axis, Bound, Packed, Signature, TensorSpec

BATCH = "batch"
"""The name of the batch axis in every exported graph."""

_MODEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_DTYPES = ("bool", "int32", "int64", "float16", "float32")


def graph_axes(spec: TensorSpec) -> tuple[int | str, ...]:
    """Axes of the tensor in the ONNX graph: ragged tensors are packed, all others start with the batch."""
    return spec.shape if spec.ragged else (BATCH, *spec.shape)


def client_inputs(signature: Signature) -> tuple[TensorSpec, ...]:
    """The inputs that a request carries; the server fills in the others."""
    return tuple(spec for spec in signature.inputs if spec.of is None)


class Bounds(NamedTuple):
    """Least and greatest size of an axis in one request; None for no bound."""

    least: int
    greatest: int | None


def declared_axes(signature: Signature) -> dict[str, Bounds]:
    """Of each symbolic axis of a client's inputs, the bounds that their `Axis` declare: the strictest."""
    bounds: dict[str, Bounds] = {}
    for spec in client_inputs(signature):
        for axis in spec.shape:
            if isinstance(axis, str):
                own = Bounds(axis.least, axis.greatest) if isinstance(axis, Axis) else Bounds(0, None)
                bounds[str(axis)] = _strictest(bounds.get(str(axis), own), own)
    return bounds


def followers(signature: Signature) -> dict[str, Axis]:
    """The axes of a client's inputs whose size follows from another's, by name."""
    axes = [axis for spec in client_inputs(signature) for axis in spec.shape]
    return {str(axis): axis for axis in axes if isinstance(axis, Axis) and axis.of is not None}


def axis_bounds(signature: Signature) -> dict[str, Bounds]:
    """As `declared_axes`, with `min_elements` and `max_elements` of ragged inputs."""
    bounds = declared_axes(signature)
    for spec in client_inputs(signature):
        if spec.ragged and isinstance(spec.shape[0], str):
            axis, own = str(spec.shape[0]), Bounds(spec.min_elements or 0, spec.max_elements)
            bounds[axis] = _strictest(bounds[axis], own)
    return bounds


def _strictest(one: Bounds, other: Bounds) -> Bounds:
    greatest = [bound.greatest for bound in (one, other) if bound.greatest is not None]
    return Bounds(max(one.least, other.least), min(greatest, default=None))


def limit(bound: Bound, unlimited: int) -> np.ndarray:
    """A declared bound as int64 to compare an input's values with: [], or [F] with `unlimited` where there is none."""
    if isinstance(bound, int):
        return np.array(bound)
    return np.array([unlimited if place is None else place for place in bound])


LOWEST, HIGHEST = -(2**63), 2**63 - 1
"""What no int64 goes beyond."""


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
    for spec in (*signature.inputs, *signature.outputs):
        yield from (f"tensor '{spec.name}': {problem}" for problem in _tensor_problems(spec))
    for axis, (least, greatest) in axis_bounds(signature).items():
        if least < 0 or (greatest is not None and greatest < max(1, least)):
            yield f"axis '{axis}': sizes from {least} to {greatest} hold nothing; write 0 <= least <= greatest"
    yield from _follower_problems(signature)
    yield from _packing_problems(signature)
    yield from _id_problems(signature)


def _follower_problems(signature: Signature) -> Iterator[str]:
    following = followers(signature)
    own = sorted(set(declared_axes(signature)) - set(following))
    for name, axis in following.items():
        if axis.of not in own or axis.times < 1:
            yield f"axis '{name}' has {axis.times} for each of '{axis.of}'; write 1 or more, of one of {own}"


def _id_problems(signature: Signature) -> Iterator[str]:
    """What keeps raw ids from being mapped."""
    gives_ids = signature.is_graph or bool(signature.steps) or signature.gives_ids
    for spec in (*signature.inputs, *signature.outputs):
        where = f"tensor '{spec.name}'"
        if spec.ids is not None and spec.dtype != "int64":
            yield f"{where}: only int64 ids have a map, found {spec.dtype}"
        if spec.mapped is None:
            continue
        if not (spec.minimum is spec.maximum is None):
            yield f"{where}: raw ids have no bounds, as one that the map does not hold is 0; leave them out"
        if "/" in spec.name:
            yield f"{where}: its map may lie in a file of this name; leave '/' out of it"
    for spec in signature.outputs:
        if spec.mapped is not None and not gives_ids:
            yield f"output '{spec.name}': only a graph, or a step that says so, gives raw ids; leave its map out"
        if spec.client_dtype == "string" and spec.ragged:
            # It would hand out the memory of its string objects (onnxruntime_backend, ReadOutputTensors).
            yield (
                f"output '{spec.name}': NVIDIA's onnxruntime backend cannot cut packed strings into requests; leave it "
                "out, as a client knows its own candidates, or give it a fixed length"
            )


def _packing_problems(signature: Signature) -> Iterator[str]:
    """Ragged tensors and their counts, and what only a graph may have."""
    is_graph = signature.is_graph
    ragged = {spec.name: spec.shape for spec in signature.inputs if spec.ragged}
    for spec in (*signature.inputs, *signature.outputs):
        if spec.shape == () and spec.of is None and not is_graph:
            yield f"tensor '{spec.name}': only a graph's tensors may have shape (); use shape (1,)"
        if spec.of is not None and spec.of not in ragged:
            yield f"tensor '{spec.name}': of='{spec.of}' is not a ragged input; those are {sorted(ragged)}"
        elif spec.of is not None and spec.ragged and spec.shape != ragged[spec.of]:
            yield f"tensor '{spec.name}': shape {spec.shape} must be that of '{spec.of}', {ragged[spec.of]}"
    for name in sorted(set(ragged) - {spec.of for spec in signature.inputs}):
        yield f"ragged input '{name}' needs an int32 input with of='{name}', or its requests cannot be told apart"
    for spec in signature.outputs:
        if spec.per > 1 and is_graph:
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
    yield from (
        f"axis {axis} has no element; a fixed size is 1 or more"
        for axis in spec.shape
        if isinstance(axis, int) and axis < 1
    )
    if spec.dtype == "bool" and not (spec.minimum is spec.maximum is None):
        yield "minimum and maximum bound numbers, not bool"
    for bound in (spec.minimum, spec.maximum):
        if isinstance(bound, tuple) and spec.shape != (len(bound),):
            yield f"{len(bound)} bounds need an input of shape ({len(bound)},), found {spec.shape}; give one for all"
    if not spec.ragged and not (spec.min_elements is spec.max_elements is None):
        yield "min_elements and max_elements bound ragged inputs only"
    if spec.per < 1 or (spec.per > 1 and not (spec.ragged and spec.of)):
        yield f"per is {spec.per}; it is 1, or more for a ragged output, where of=<the input that it multiplies>"

"""Many requests, one run: what NVIDIA's C++ onnxruntime backend does with a dynamic batch, for any way to compute.

Pure functions on numpy. A request is a mapping from input name to array [b, *shape]; a ragged input is [1, n].

Axes: B requests (or rows) of a run, C elements of a ragged input packed over the run.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from recserve_client import texts
from serving.backends.onnxruntime.model_spec import AxisSpec, BatchInputSpec, InputSpec, ModelSpec, OutputSpec

Request = Mapping[str, np.ndarray]
Compute = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""The feeds of a run -> its outputs."""


def _accumulated_with_zero(counts: np.ndarray) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(counts)))


_BATCH_INPUTS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "BATCH_ELEMENT_COUNT": np.asarray,
    "BATCH_ACCUMULATED_ELEMENT_COUNT": np.cumsum,
    "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO": _accumulated_with_zero,
    # Only the shape speaks: its one axis is as long as the longest request.
    "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE": lambda counts: np.zeros(counts.max()),
}


def answer(
    spec: ModelSpec,
    requests: Sequence[Request],
    compute: Compute,
) -> list[dict[str, np.ndarray]]:
    """Answers requests that passed `check`, run by run."""
    return [part for group in runs(spec, requests) for part in unpack(spec, group, compute(pack(spec, group)))]


def runs(spec: ModelSpec, requests: Sequence[Request]) -> list[Sequence[Request]]:
    """The requests of each run, in order: all of them, one each where the model does not batch, or as many as have
    `run_elements` elements together, of which a request alone may have more."""
    if not spec.max_batch_size:
        return [[request] for request in requests]
    if spec.run_elements is None:
        return [requests]
    sizes = [elements(spec, request) for request in requests]
    starts, filled = [0], 0
    for place, size in enumerate(sizes):
        if filled and filled + size > spec.run_elements:
            starts.append(place)
            filled = 0
        filled += size
    return [requests[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]


def elements(spec: ModelSpec, request: Request) -> int:
    """Of the longest of a request's ragged inputs; 0 where it has none."""
    return max((request[field.name].size for field in spec.inputs if field.ragged), default=0)


def isolated(
    run: Callable[[list[Request]], list[dict[str, np.ndarray]]], batch: list[Request]
) -> list[dict[str, np.ndarray] | Exception]:
    """One answer per request: the arrays, or why there are none. Where a run fails, each request is run alone."""
    if not batch:
        return []
    try:
        return [*run(batch)]
    except Exception as error:  # the errors of runtimes have no base class of their own
        if len(batch) == 1:
            return [error]
    return [answer for request in batch for answer in isolated(run, [request])]


def check(spec: ModelSpec, request: Request) -> None:
    """Raises ValueError, naming the field, its value and the remedy, where one request cannot be answered."""
    ragged = spec.ragged
    for field in spec.inputs:
        array = request.get(field.name)
        if array is None:
            raise ValueError(
                f"{spec.name}: input '{field.name}' is missing; send {[spec.name for spec in spec.inputs]}"
            )
        if array.dtype != field.dtype:
            wanted = "an array of str" if field.dtype == object else field.dtype
            raise ValueError(f"{spec.name}: input '{field.name}' is {array.dtype}; send {wanted}")
        if ragged and array.shape[0] != 1:
            raise ValueError(
                f"{spec.name}: input '{field.name}' has batch size {array.shape[0]}; this model takes requests of "
                "unlike length, so send one request [1, n] per user: the server batches them"
            )
        if spec.max_batch_size and array.shape[0] == 0:
            raise ValueError(f"{spec.name}: input '{field.name}' has batch size 0; send 1 or more")
        if field.dtype == object:
            _check_text(spec.name, field, array)
        if field.bounded:
            _check_bounds(spec.name, field, array)
    for axis in spec.axes:
        _check_axis(spec, axis, request)


def _check_axis(spec: ModelSpec, axis: AxisSpec, request: Request) -> None:
    sizes = _sizes(spec, axis, request)
    for name, size in sizes:
        where = f"{spec.name}: input '{name}' has {size} elements along '{axis.name}'"
        if size < axis.least:
            raise ValueError(f"{where}; send {axis.least} or more")
        if axis.greatest is not None and size > axis.greatest:
            raise ValueError(f"{where}; send {axis.greatest} or fewer")
        if size != sizes[0][1]:
            first, first_size = sizes[0]
            raise ValueError(f"{where}, input '{first}' has {first_size}; send as many of one as of the other")
    if axis.follows is not None:
        _check_follower(spec, sizes[0], axis.follows, request)


def _check_follower(spec: ModelSpec, found: tuple[str, int], follows: tuple[int, str], request: Request) -> None:
    """`found` is an input and its size along an axis that follows another."""
    (name, size), (times, axis) = found, follows
    followed = next(one for one in spec.axes if one.name == axis)
    first, first_size = _sizes(spec, followed, request)[0]
    if size != times * first_size:
        raise ValueError(
            f"{spec.name}: input '{name}' has {size} elements, input '{first}' has {first_size}; send {times} for each "
            f"of '{first}'"
        )


def _sizes(spec: ModelSpec, axis: AxisSpec, request: Request) -> list[tuple[str, int]]:
    """Inputs, and how long each is along an axis."""
    batch = 1 if spec.max_batch_size else 0
    return [(name, request[name].shape[batch + number]) for name, number in axis.places]


def _check_text(model: str, field: InputSpec, array: np.ndarray) -> None:
    try:
        texts.check(array, field.max_bytes)
    except ValueError as error:
        raise ValueError(f"{model}: input '{field.name}': {error}") from error


def _check_bounds(model: str, field: InputSpec, array: np.ndarray) -> None:
    where = f"{model}: input '{field.name}'"
    if field.max_elements is not None and array.size > field.max_elements:
        raise ValueError(
            f"{where} has {array.size} elements, more than the {field.max_elements} that one request may carry; "
            "shorten it, or split it into several requests"
        )
    if field.min_elements is not None and array.size < field.min_elements:
        raise ValueError(f"{where} has {array.size} elements; send {field.min_elements} or more")
    if array.size == 0:
        return
    if array.dtype.kind == "f" and not field.missing and np.isnan(array).any():
        raise ValueError(f"{where} holds NaN; send numbers")
    if field.minimum is not None and (wrong := array < field.minimum).any():
        value, bound = _first(array, field.minimum, wrong)
        raise ValueError(f"{where}: {value} is {'negative' if bound == 0 else f'below {bound}'}; send {bound} or more")
    if field.maximum is not None and (wrong := array > field.maximum).any():
        value, bound = _first(array, field.maximum, wrong)
        raise ValueError(f"{where}: {value} is above {bound}; send {bound} or less")


def _first(array: np.ndarray, bounds: np.ndarray, wrong: np.ndarray) -> tuple[str, int]:
    """The first wrong value in words, and the bound of its place."""
    index = tuple(np.argwhere(wrong)[0])
    value = str(array[index])
    if bounds.ndim == 0:
        return value, int(bounds)
    return f"{value} at place {index[-1]}", int(bounds[index[-1]])


def pack(spec: ModelSpec, requests: Sequence[Request]) -> dict[str, np.ndarray]:
    """The feeds of one run: regular inputs [B, *shape], ragged inputs [C], batch inputs [B], [B + 1] or [longest]."""
    feeds = {field.name: _packed(spec, field, requests) for field in spec.inputs}
    for batch_input in spec.batch_inputs:
        feeds[batch_input.name] = _counted(batch_input, requests)
    return feeds


def _packed(spec: ModelSpec, field: InputSpec, requests: Sequence[Request]) -> np.ndarray:
    arrays = [request[field.name].reshape(-1) if field.ragged else request[field.name] for request in requests]
    joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    if field.dtype == object:
        joined = texts.decoded(joined)
    return joined if field.reshape is None or field.ragged else _reshaped(spec, joined, field.reshape)


def _reshaped(spec: ModelSpec, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`array` with `shape` behind its batch."""
    return array.reshape((*array.shape[: 1 if spec.max_batch_size else 0], *shape))


def _counted(batch_input: BatchInputSpec, requests: Sequence[Request]) -> np.ndarray:
    counts = np.array([request[batch_input.source].size for request in requests])
    return _BATCH_INPUTS[batch_input.kind](counts).astype(batch_input.dtype)


def unpack(
    spec: ModelSpec, requests: Sequence[Request], outputs: Mapping[str, np.ndarray]
) -> list[dict[str, np.ndarray]]:
    """Gives each request its own part of the outputs of one run.

    Args:
        spec: the model's configuration.
        requests: the requests that were packed.
        outputs: regular outputs [B, *shape], scattered outputs [C]; may be fewer than the model has.

    Raises:
        ValueError: the model gave more or fewer rows than the requests have.
    """
    answers: list[dict[str, np.ndarray]] = [{} for _ in requests]
    for output in spec.outputs:
        if output.name not in outputs:
            continue
        parts = _parts(spec, output, requests, outputs[output.name])
        for answer, part in zip(answers, parts, strict=True):
            answer[output.name] = part
    return answers


def _parts(spec: ModelSpec, output: OutputSpec, requests: Sequence[Request], array: np.ndarray) -> list[np.ndarray]:
    if spec.max_batch_size == 0:
        return [array if output.reshape is None else _reshaped(spec, array, output.reshape)]
    if output.scattered_like is None:
        first = spec.inputs[0].name
        rows = [request[first].shape[0] for request in requests]
        shapes = [(count, *array.shape[1:]) for count in rows]
    else:
        shapes = [request[output.scattered_like].shape for request in requests]
        rows = [int(np.prod(shape)) for shape in shapes]
    if array.ndim == 0 or array.shape[0] != sum(rows):
        raise ValueError(
            f"{spec.name}: output '{output.name}' has shape {array.shape} for {sum(rows)} rows of {len(requests)} "
            "requests; its first axis must be the batch"
        )
    if output.reshape is not None and output.scattered_like is None:
        array = _reshaped(spec, array, output.reshape)
        shapes = [(count, *array.shape[1:]) for count in rows]
    ends = np.cumsum(rows)
    return [array[end - count : end].reshape(shape) for end, count, shape in zip(ends, rows, shapes, strict=True)]

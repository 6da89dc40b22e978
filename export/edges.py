"""The edges of what a client may send: sizes of the open axes, and ids; as the eager module sees them.

`settled` declares what the module cannot answer, `edge_cases` are the requests on which the graph has to agree.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np

from export import eager
from export.goldens import cut_tensors, pack
from export.probe import Case
from export.signature import axis_bounds, client_inputs, declared_axes
from training.system import Axis, KernelServable, Packed, Servable, TensorSpec

_FARTHEST = {"int32": 2**31 - 1, "int64": 2**40}
"""An id that is far outside of any table."""
_MOST_POSITIONS = 64

Graph = TypeVar("Graph", bound=Servable | KernelServable)
Request = dict[str, np.ndarray]


class Place(NamedTuple):
    """One position of an input of a request."""

    spec: TensorSpec
    request: Request
    position: tuple[int, ...]


def settled(model: Graph, report: Callable[[str], None]) -> Graph:
    """The signature with bounds for what its module raises on and nobody declared; `report` hears of each.

    A request that eager would refuse is then refused by the server as well, and alone.
    Raises ValueError where the module raises within bounds that were declared.
    """
    for axis, (least, _) in axis_bounds(model).items():
        found = _least(model, axis, least)
        if found > least:
            report(f"{model.name}: axis '{axis}' starts at {found}, as forward cannot answer less: less is refused")
            model = replace(model, inputs=tuple(_with_least(spec, axis, found) for spec in model.inputs))
    inputs = []
    for spec in model.inputs:
        bounded = spec if spec.of is not None or spec.dtype not in _FARTHEST else _with_range(model, spec)
        if bounded != spec:
            legal = f"{_shown(bounded.minimum)} to {_shown(bounded.maximum)}"
            report(f"{model.name}: input '{spec.name}' takes values from {legal}, as forward does: others are refused")
        inputs.append(bounded)
    return replace(model, inputs=tuple(inputs))


def edge_cases(model: Servable) -> list[Case]:
    """Requests at the least and the declared greatest size of each axis, and with the lowest and highest ids."""
    return [*_axis_cases(model), *_id_cases(model)]


def _axis_cases(model: Servable) -> Iterator[Case]:
    for axis, (least, _) in axis_bounds(model).items():
        greatest = declared_axes(model)[axis].greatest
        sizes = {least: _few(model), greatest: (1,)} if greatest else {least: _few(model)}
        for size, batch_sizes in sizes.items():
            for batch_size in batch_sizes:
                tensors = _sized(model, axis, size, batch_size)
                what = f"axis '{axis}' of size {size} (batch of {batch_size})"
                bound = f"least={size + 1}" if size == least else f"greatest=<less than {size}>"
                remedy = f"declare the sizes that it can answer: shape=(..., Axis('{axis}', {bound}), ...)"
                yield Case(what, tensors, _answer(model, tensors), remedy)


def _few(model: Servable | KernelServable) -> tuple[int, ...]:
    """Batches of one and of more than one request, where the model takes them."""
    return (1, 2)[: model.max_batch_size]


def _id_cases(model: Servable) -> Iterator[Case]:
    request = _longest(model)
    for spec in client_inputs(model):
        if spec.dtype not in _FARTHEST:
            continue
        remedy = f"declare minimum and maximum of '{spec.name}', clamp it in forward, or make an input of each position"
        for bound, sign in ((spec.minimum, -1), (spec.maximum, 1)):
            hint = None
            for position in _positions(spec, request):
                place = Place(spec, request, position)
                if bound is not None and _answers(model, place, bound):
                    yield _id_case(model, place, bound, remedy)
                    continue
                hint = _end(model, place, sign, hint)
                yield _id_case(model, place, sign * _FARTHEST[spec.dtype] if hint is None else hint, remedy)
                if hint is not None:
                    yield _id_case(model, place, hint + sign, remedy)


def _id_case(model: Servable, place: Place, value: int, remedy: str) -> Case:
    tensors = _changed(model, place, value)
    what = f"input '{place.spec.name}' with {value} at {list(place.position)}"
    return Case(what, tensors, _answer(model, tensors) if _answers(model, place, value) else None, remedy)


def _answer(model: Servable | KernelServable, tensors: Packed) -> dict[str, np.ndarray]:
    outputs = eager.ask(model, tensors)
    return {spec.name: tensor.numpy() for spec, tensor in zip(model.outputs, outputs, strict=True)}


def _least(model: Servable | KernelServable, axis: str, least: int) -> int:
    """The least size from `least` on that the module answers. Raises ValueError where it was declared and is not it."""
    shortest = min(_size(model, request, axis) for request in _pool(model))
    for size in range(least, max(least + 1, shortest)):
        try:
            answers = [
                _answer(model, _sized(model, axis, size, batch_size)) for batch_size in (1, 2)[: model.max_batch_size]
            ]
        except ValueError as error:
            fault = str(error)
        else:
            if not any(np.isnan(array).any() for answer in answers for array in answer.values()):
                return size
            fault = f"model '{model.name}': its answer holds NaN"
        if least > 0:
            raise ValueError(f"{fault}, where axis '{axis}' has its declared least size {least}; declare a larger one")
    return max(least, shortest)


def _size(model: Servable | KernelServable, request: Request, axis: str) -> int:
    """How long `axis` is in a request."""
    for spec in client_inputs(model):
        for name, size in zip(spec.shape, request[spec.name].shape[1:], strict=False):
            if name == axis:
                return size
    raise AssertionError(axis)


def _pool(model: Servable | KernelServable) -> list[Request]:
    """Requests of the example, of several sizes where it has them."""
    batches = [eager.example(model, batch_size, seed) for batch_size, seed in ((16, 0), (7, 1), (2, 2), (1, 3))]
    return [request for inputs in batches for request in cut_tensors(model, model.inputs, inputs, inputs)]


def _longest(model: Servable | KernelServable) -> Request:
    return max(_pool(model), key=lambda request: sum(array.size for array in request.values()))


def _sized(model: Servable | KernelServable, axis: str, size: int, batch_size: int) -> Packed:
    """Requests of the example, those whose size is nearest, with `size` elements along `axis`: the first ones, or all
    of them again. All other axes are those of the nearest request."""
    pool = sorted(_pool(model), key=lambda request: abs(_size(model, request, axis) - size))
    like = [request for request in pool if _others(model, request, axis) == _others(model, pool[0], axis)]
    chosen = [like[number % len(like)] for number in range(batch_size)]
    return pack(model, [_resized(model, request, axis, size) for request in chosen])


def _others(model: Servable | KernelServable, request: Request, axis: str) -> list[int]:
    """Sizes of the regular open axes beside `axis`, which requests of a batch have in common."""
    return [
        size
        for spec in client_inputs(model)
        if not spec.ragged
        for name, size in zip(spec.shape, request[spec.name].shape[1:], strict=False)
        if name != axis
    ]


def _resized(model: Servable | KernelServable, request: Request, axis: str, size: int) -> Request:
    arrays = {}
    for spec in client_inputs(model):
        array = request[spec.name]
        for number, name in enumerate(spec.shape, start=1):
            if name == axis:
                shortened = np.arange(size) % max(1, array.shape[number])
                array = (
                    np.take(array, shortened, axis=number)
                    if array.size or not size
                    else np.zeros((*array.shape[:number], size, *array.shape[number + 1 :]), array.dtype)
                )
        arrays[spec.name] = array
    return arrays


def _with_least(spec: TensorSpec, axis: str, least: int) -> TensorSpec:
    if spec.of is not None or axis not in spec.shape:
        return spec
    if spec.ragged:
        return replace(spec, min_elements=least)
    shape = tuple(
        Axis(str(size), least, size.greatest if isinstance(size, Axis) else None) if size == axis else size
        for size in spec.shape
    )
    return replace(spec, shape=shape)


def _with_range(model: Servable | KernelServable, spec: TensorSpec) -> TensorSpec:
    """The spec with the ends of what forward answers, where they were not declared.

    Downwards that of the position that answers least, unless the example goes below it: a graph counts a negative id
    from a table's end. Upwards that of the one that answers most: a graph fails on an id beyond its table.
    """
    lowest, highest = spec.minimum, spec.maximum
    if lowest is None:
        ends = [end for end in _ends(model, spec, -1) if end is not None]
        seen = np.concatenate([request[spec.name].ravel() for request in _pool(model)])
        lowest = max(ends) if ends and (seen >= max(ends)).all() else None
    if highest is None:
        ends = _ends(model, spec, 1)
        known = [end for end in ends if end is not None]
        highest = max(known) if known and len(known) == len(ends) else None
    return replace(spec, minimum=lowest, maximum=highest)


def _ends(model: Servable | KernelServable, spec: TensorSpec, sign: int) -> list[int | None]:
    """`_end` of each position."""
    ends: list[int | None] = []
    request = _longest(model)
    for position in _positions(spec, request):
        ends.append(_end(model, Place(spec, request, position), sign, ends[-1] if ends else None))
    return ends


def _end(model: Servable | KernelServable, place: Place, sign: int, hint: int | None) -> int | None:
    """The last value upwards (or with sign -1 downwards) that forward answers; None where it answers all.

    `hint` is such an end of another position.
    """
    if hint is not None and _answers(model, place, hint) and not _answers(model, place, hint + sign):
        return hint
    good, bad = int(place.request[place.spec.name][place.position]), sign * _FARTHEST[place.spec.dtype]
    if _answers(model, place, bad):
        return None
    while abs(bad - good) > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if _answers(model, place, middle) else (good, middle)
    return good


def _answers(model: Servable | KernelServable, place: Place, value: int) -> bool:
    try:
        eager.ask(model, _changed(model, place, value))
    except ValueError:
        return False
    return True


def _changed(model: Servable | KernelServable, place: Place, value: int) -> Packed:
    array = place.request[place.spec.name].copy()
    array[place.position] = value
    return pack(model, [{**place.request, place.spec.name: array}])


def _positions(spec: TensorSpec, request: Request) -> list[tuple[int, ...]]:
    """Places in a request's array that may be treated differently: all of the fixed axes, the ends of the open ones."""
    array = request[spec.name]
    open_axes = [number for number, size in enumerate(spec.shape or (1,), start=1) if isinstance(size, str)]
    indices = [
        index
        for index in np.ndindex(array.shape)
        if all(index[number] in (0, array.shape[number] - 1) for number in open_axes)
    ]
    step = max(1, -(-len(indices) // _MOST_POSITIONS))
    return indices[::step]


def _shown(bound: int | float | None) -> str:
    return "any" if bound is None else str(bound)

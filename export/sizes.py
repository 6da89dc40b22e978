"""Sizes of the open axes that a client may send; as the eager module sees them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np

from export import eager
from export.goldens import cut_tensors, pack
from export.probe import Case
from export.signature import Bounds, axis_bounds, client_inputs, declared_axes, followers
from training.servable import Axis, KernelServable, Packed, Servable, TensorSpec

_TIMES_LONGER = 8
_LONGEST_TRIED = 4096
"""Elements along an axis: attention over more takes long, and much memory."""

Graph = TypeVar("Graph", bound=Servable | KernelServable)
Request = dict[str, np.ndarray]


def settled_sizes(model: Graph, report: Callable[[str], None]) -> Graph:
    """The signature with the least and the greatest size that its module answers, where they were not declared; axes
    that follow another have none of their own.

    Raises ValueError where the module raises at a least size that was declared.
    """
    for axis, (least, _) in _own_bounds(model).items():
        found = _least(model, axis, least)
        if found > least:
            report(f"{model.name}: axis '{axis}' starts at {found}, as forward cannot answer less: less is refused")
            model = replace(model, inputs=tuple(_with_least(spec, axis, found) for spec in model.inputs))
    for axis, (_, greatest) in _own_bounds(model).items():
        if greatest is None and (found := _greatest(model, axis)) is not None:
            report(f"{model.name}: axis '{axis}' ends at {found}, as forward cannot answer more: more is refused")
            model = replace(model, inputs=tuple(_with_greatest(spec, axis, found) for spec in model.inputs))
    return model


def _own_bounds(model: Servable | KernelServable) -> dict[str, Bounds]:
    """Of the axes that follow no other."""
    following = followers(model)
    return {axis: bounds for axis, bounds in axis_bounds(model).items() if axis not in following}


def size_cases(model: Servable) -> Iterator[Case]:
    for axis, (least, _) in _own_bounds(model).items():
        greatest = declared_axes(model)[axis].greatest
        sizes = {least: _few(model), greatest: (1,)} if greatest else {least: _few(model)}
        for size, batch_sizes in sizes.items():
            for batch_size in batch_sizes:
                tensors = _sized(model, axis, size, batch_size)
                what = f"axis '{axis}' of size {size} (batch of {batch_size})"
                bound = f"least={size + 1}" if size == least else f"greatest=<less than {size}>"
                remedy = f"declare the sizes that it can answer: shape=(..., Axis('{axis}', {bound}), ...)"
                yield Case(what, tensors, answer_of(model, tensors), remedy)


def _few(model: Servable | KernelServable) -> tuple[int, ...]:
    """Batches of one and of more than one request, where the model takes them."""
    return (1, 2)[: model.max_batch_size]


def answer_of(model: Servable | KernelServable, tensors: Packed) -> dict[str, np.ndarray]:
    outputs = eager.ask(model, tensors)
    return {spec.name: tensor.numpy() for spec, tensor in zip(model.outputs, outputs, strict=True)}


def _least(model: Servable | KernelServable, axis: str, least: int) -> int:
    """The least size from `least` on that the module answers. Raises ValueError where it was declared and is not it."""
    shortest = min(size_along(model, request, axis) for request in pool(model))
    for size in range(least, max(least + 1, shortest)):
        try:
            answers = [answer_of(model, _sized(model, axis, size, number)) for number in _few(model)]
        except ValueError as error:
            fault = str(error)
        else:
            if not any(np.isnan(array).any() for answer in answers for array in answer.values()):
                return size
            fault = f"model '{model.name}': its answer holds NaN"
        if least > 0:
            raise ValueError(f"{fault}, where axis '{axis}' has its declared least size {least}; declare a larger one")
    return max(least, shortest)


def _greatest(model: Servable | KernelServable, axis: str) -> int | None:
    """The size after which the module raises, as beyond a table of positions; None where it answers all that is tried:
    `_TIMES_LONGER` times the longest example."""
    good = max([1, *(size_along(model, request, axis) for request in pool(model))])
    bad = _TIMES_LONGER * good
    if bad > _LONGEST_TRIED or _answerssize_along(model, axis, bad):
        return None
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if _answerssize_along(model, axis, middle) else (good, middle)
    return good


def _answerssize_along(model: Servable | KernelServable, axis: str, size: int) -> bool:
    try:
        eager.ask(model, _sized(model, axis, size, 1))
    except ValueError:
        return False
    return True


def size_along(model: Servable | KernelServable, request: Request, axis: str) -> int:
    """How long `axis` is in a request."""
    for spec in client_inputs(model):
        for name, size in zip(spec.shape, request[spec.name].shape[1:], strict=False):
            if name == axis:
                return size
    raise AssertionError(axis)


def pool(model: Servable | KernelServable) -> list[Request]:
    """Requests of the example, of several sizes where it has them."""
    batches = [eager.example(model, batch_size, seed) for batch_size, seed in ((16, 0), (7, 1), (2, 2), (1, 3))]
    return [request for inputs in batches for request in cut_tensors(model, model.inputs, inputs, inputs)]


def _sized(model: Servable | KernelServable, axis: str, size: int, batch_size: int) -> Packed:
    """Requests of the example, those whose size is nearest, with `size` elements along `axis`: the first ones, or all
    of them again. All other axes are those of the nearest request."""
    nearest = sorted(pool(model), key=lambda request: abs(size_along(model, request, axis) - size))
    like = [request for request in nearest if _others(model, request, axis) == _others(model, nearest[0], axis)]
    chosen = [like[number % len(like)] for number in range(batch_size)]
    return pack(model, [resized(model, request, axis, size) for request in chosen])


def _others(model: Servable | KernelServable, request: Request, axis: str) -> list[int]:
    """Sizes of the regular open axes beside `axis`, which requests of a batch have in common."""
    return [
        size
        for spec in client_inputs(model)
        if not spec.ragged
        for name, size in zip(spec.shape, request[spec.name].shape[1:], strict=False)
        if name != axis
    ]


def resized(model: Servable | KernelServable, request: Request, axis: str, size: int) -> Request:
    """A request with so many elements along an axis, and as many as belong to them along those that follow it: the
    first ones, or all of them again."""
    sizes = {axis: size, **{name: one.times * size for name, one in followers(model).items() if one.of == axis}}
    arrays = {}
    for spec in client_inputs(model):
        array = request[spec.name]
        for number, name in enumerate(spec.shape, start=1):
            if isinstance(name, str) and name in sizes:
                array = _cut(array, number, sizes[name])
        arrays[spec.name] = array
    return arrays


def _cut(array: np.ndarray, number: int, size: int) -> np.ndarray:
    """With so many elements along an axis, zeros where there is none to take."""
    if array.size or not size:
        return np.take(array, np.arange(size) % max(1, array.shape[number]), axis=number)
    return np.zeros((*array.shape[:number], size, *array.shape[number + 1 :]), array.dtype)


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


def _with_greatest(spec: TensorSpec, axis: str, greatest: int) -> TensorSpec:
    if spec.of is not None or axis not in spec.shape:
        return spec
    if spec.ragged:
        return replace(spec, max_elements=greatest)
    shape = tuple(
        Axis(str(size), size.least if isinstance(size, Axis) else 0, greatest) if size == axis else size
        for size in spec.shape
    )
    return replace(spec, shape=shape)

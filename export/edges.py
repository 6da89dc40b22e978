"""The edges of what a client may send: sizes of the open axes, and ids; as the eager module sees them.

`settled` declares what the module cannot answer, `edge_cases` are the requests on which the graph has to agree.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from export import eager
from export.goldens import pack
from export.probe import Case
from export.signature import client_inputs, followers
from export.sizes import Graph, Request, answer_of, pool, resized, settled_sizes, size_along, size_cases
from training.servable import KernelServable, Packed, Servable, TensorSpec

_FARTHEST = {"int32": 2**31 - 1, "int64": 2**40}
"""An id that is far outside of any table."""
_MOST_POSITIONS = 64
_ELEMENTS = 4
"""Along a packed axis."""
_SHOWN_PLACES = 4


class Place(NamedTuple):
    """One position of an input of a request."""

    spec: TensorSpec
    request: Request
    position: tuple[int, ...]


def settled(model: Graph, report: Callable[[str], None]) -> Graph:
    """The signature with bounds for what its module raises on and nobody declared; `report` hears of each.

    A request that eager would refuse is then refused by the server as well, and alone.
    Raises ValueError where the module raises within bounds that were declared, or on an id that its map gives.
    """
    model = settled_sizes(model, report)
    inputs = []
    for spec in model.inputs:
        if spec.mapped is not None:
            _check_map(model, spec)
        is_free = spec.of is not None or spec.mapped is not None or spec.dtype not in _FARTHEST
        bounded = spec if is_free else _with_range(model, spec)
        if bounded != spec:
            legal = _shown(bounded)
            report(f"{model.name}: input '{spec.name}' takes values from {legal}, as forward does: others are refused")
        inputs.append(bounded)
    return replace(model, inputs=tuple(inputs))


def edge_cases(model: Servable) -> list[Case]:
    """Requests at the least and the declared greatest size of each axis, and with the lowest and highest ids."""
    return [*size_cases(model), *_id_cases(model)]


def _id_cases(model: Servable) -> Iterator[Case]:
    request = _longest(model)
    for spec in client_inputs(model):
        if spec.dtype not in _FARTHEST:
            continue
        if spec.mapped is not None:
            yield from _map_cases(model, spec, request)
            continue
        remedy = f"declare minimum and maximum of '{spec.name}', clamp it in forward, or make an input of each position"
        for bounds, sign in ((spec.minimum, -1), (spec.maximum, 1)):
            hint = None
            for position in _positions(spec, request):
                place = Place(spec, request, position)
                bound = bounds[position[-1]] if isinstance(bounds, tuple) else bounds
                if bound is not None and (case := _id_case(model, place, bound, remedy)).expected is not None:
                    yield case
                    continue
                hint = _end(model, place, sign, hint)
                yield _id_case(model, place, sign * _FARTHEST[spec.dtype] if hint is None else hint, remedy)
                if hint is not None:
                    yield _id_case(model, place, hint + sign, remedy)


def _map_cases(model: Servable, spec: TensorSpec, request: Request) -> Iterator[Case]:
    """Any raw id is legal: what has to be answered are the dense ids at the map's ends."""
    remedy = f"let forward answer 0 and each id of the map of '{spec.name}' alike in eager mode and in the graph"
    for position, value in _map_ends(spec, request):
        yield _id_case(model, Place(spec, request, position), value, remedy)


def _check_map(model: Servable | KernelServable, spec: TensorSpec) -> None:
    assert spec.mapped is not None
    request = _longest(model)
    for position, value in _map_ends(spec, request):
        if not _answers(model, Place(spec, request, position), value):
            raise ValueError(
                f"model '{model.name}': its forward does not answer the dense id {value} of input '{spec.name}'; give "
                f"its table a row for each id that a client's becomes, 0 (not in the map) to {len(spec.mapped.ids)}"
            )


def _map_ends(spec: TensorSpec, request: Request) -> list[tuple[tuple[int, ...], int]]:
    """Positions, each with the least and the greatest dense id that a client can reach."""
    assert spec.mapped is not None
    ends = (0, len(spec.mapped.ids))
    return [(position, end) for position in _positions(spec, request) for end in ends]


def _id_case(model: Servable, place: Place, value: int, remedy: str) -> Case:
    tensors = _changed(model, place, value)
    what = f"input '{place.spec.name}' with {value} at {list(place.position)}"
    try:
        expected = answer_of(model, tensors)
    except ValueError:
        expected = None
    return Case(what, tensors, expected, remedy)


def _longest(model: Servable | KernelServable) -> Request:
    """With few elements along a packed axis, where one is as good as another: hundreds of tries then take seconds."""
    found = max(pool(model), key=lambda request: sum(array.size for array in request.values()))
    packed = [*{str(spec.shape[0]) for spec in client_inputs(model) if spec.ragged} - set(followers(model))]
    # Several may belong together, though nothing says so.
    if len(packed) != 1 or size_along(model, found, packed[0]) <= _ELEMENTS:
        return found
    return resized(model, found, packed[0], _ELEMENTS)


def _with_range(model: Servable | KernelServable, spec: TensorSpec) -> TensorSpec:
    """The spec with the ends of what forward answers, where they were not declared."""
    lowest, highest = spec.minimum, spec.maximum
    if lowest is None:
        ends = _ends(model, spec, -1)
        lowest = _of_places(spec, ends) or _lowest(model, spec, ends)
    if highest is None:
        ends = _ends(model, spec, 1)
        highest = _of_places(spec, ends) or _highest(ends)
    return replace(spec, minimum=lowest, maximum=highest)


def _of_places(spec: TensorSpec, ends: list[int | None]) -> tuple[int | None, ...] | None:
    """An end for each place of an input of shape (F,), such as fields with an offset each; None where all are alike."""
    return tuple(ends) if spec.shape == (len(ends),) and len(set(ends)) > 1 else None


def _lowest(model: Servable | KernelServable, spec: TensorSpec, ends: list[int | None]) -> int | None:
    """That of the place that answers least, unless the example goes below it: a graph counts a negative id from a
    table's end."""
    known = [end for end in ends if end is not None]
    seen = np.concatenate([request[spec.name].ravel() for request in pool(model)])
    return max(known) if known and (seen >= max(known)).all() else None


def _highest(ends: list[int | None]) -> int | None:
    """That of the place that answers most: a graph fails on an id beyond its table."""
    known = [end for end in ends if end is not None]
    return max(known) if known and len(known) == len(ends) else None


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


def _shown(spec: TensorSpec) -> str:
    """The bounds of an input in words, of the first places where each has its own."""
    bounds = (spec.minimum, spec.maximum)
    if not any(isinstance(bound, tuple) for bound in bounds):
        return " to ".join("any" if bound is None else str(bound) for bound in bounds)
    width = max(len(bound) for bound in bounds if isinstance(bound, tuple))
    each = zip(*(bound if isinstance(bound, tuple) else (bound,) * width for bound in bounds), strict=True)
    words = [" to ".join("any" if bound is None else str(bound) for bound in pair) for pair in each]
    places = [f"{text} at place {place}" for place, text in enumerate(words[:_SHOWN_PLACES])]
    return ", ".join([*places, *(["and so on"] if width > _SHOWN_PLACES else [])])

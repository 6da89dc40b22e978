"""Inputs of a served model beyond what its task asks: an event's field, a key, a knob of the system's own."""

import difflib

import numpy as np
from tritonclient.grpc.model_config_pb2 import DataType, ModelInput  # pyright: ignore[reportAttributeAccessIssue]

from export.served import Served
from training.asking import Tensors
from training.interactions import Interactions, RawId
from training.layers.click_context import moments, nothing
from training.layers.item_filters import EXCLUDED, ONLY, filter_fields
from training.layers.requests import USER_ID
from training.schema import Field

_NUMBERS = {"TYPE_INT32": np.int32, "TYPE_INT64": np.int64, "TYPE_FP32": np.float32}
_WORDS: dict[type[np.number], str] = {
    np.int32: "a whole number of 32 bits",
    np.int64: "a whole number of 64 bits",
    np.float32: "a finite number of 32 bits",
}
_KEYS = 2**31
_SAID = 0.1
"""Share of the requests that say what they may leave out."""


def further(served: Served, request: Tensors) -> dict[str, ModelInput]:
    """What the model takes and the request lacks, by name."""
    return {tensor.name: tensor for tensor in served.config.input if tensor.name not in request}


def complete(served: Served, request: Tensors) -> Tensors:
    """Of a request and what was added to it, what the model takes."""
    return {name: array for name, array in request.items() if name in served.inputs}


def filled(tensor: ModelInput, value: object) -> np.ndarray:
    """[1, ...]: an input whose elements are all the value, or those of a text with commas between them. Raises
    ValueError for a value of another kind, and for another number of elements."""
    shape = [1, *(size if size > 0 else 1 for size in tensor.dims)]
    kind = _kind(tensor)
    if kind is None:
        return np.full(shape, value, dtype=object)
    parts = value.split(",") if isinstance(value, str) else [value]
    if not all(_fits(part, kind) for part in parts):
        raise ValueError(f"{tensor.name}={value}: it must be {_WORDS[kind]}")
    if len(parts) not in (1, shape[-1]):
        raise ValueError(f"{tensor.name}={value}: {len(parts)} numbers; say one, or {shape[-1]}")
    return np.broadcast_to(np.array(parts, kind), shape).copy()


def left_out(served: Served, tensor: ModelInput) -> np.ndarray | None:
    """[1, ...]: what stands for an input that a client may leave out; None for any other."""
    text = served.neutral(tensor.name)
    if text is None:
        return None
    if tensor.dims[0] < 0 and not text:
        return np.zeros((1, 0), _kind(tensor) or object)
    return filled(tensor, text)


def further_input(served: Served, interactions: Interactions, tensor: ModelInput, said: str | None) -> np.ndarray:
    """[1, ...]: an input as a person says it, or what it is where nobody does. Raises ValueError, naming it, for what
    it cannot be."""
    neutral = left_out(served, tensor)
    if said is None:
        return filled(tensor, missing(interactions, tensor.name)) if neutral is None else neutral
    if tensor.name == EXCLUDED:
        items = [_item(interactions, tensor.name, one) for one in said.split(",") if one]
        return np.array([items], _kind(tensor) or object)
    field = _filtered(interactions, tensor.name)
    return filled(tensor, said if field is None or not field.values else _code(tensor.name, field, said))


def _item(interactions: Interactions, name: str, said: str) -> RawId:
    try:
        return interactions.named("item", said)
    except ValueError as error:
        raise ValueError(f"{name}={said}: {error}") from None


def _filtered(interactions: Interactions, name: str) -> Field | None:
    """The field of the items that an input wants a value of."""
    return next((one for one in filter_fields(interactions) if name == f"{ONLY}{one.name}"), None)


def _code(name: str, field: Field, said: str) -> int:
    values = field.values or ()
    if said not in values:
        near = difflib.get_close_matches(said, values, 3, 0.4) or values[1:4]
        raise ValueError(f"{name}={said}: no item has it; such as {', '.join(near)}")
    return values.index(said)


def missing(interactions: Interactions, name: str) -> object:
    """What stands for nobody, or for an event's field that is missing; 0 for any other input."""
    if name == USER_ID.name:
        return interactions.raw("user", 0)
    field = _event_field(interactions, name)
    return 0 if field is None else nothing(field)


def drawn(
    served: Served, interactions: Interactions, tensor: ModelInput, random: np.random.Generator, count: int
) -> list[np.ndarray]:
    """[1, ...] of each of `count` requests: of an event's field what an event had that is drawn, of a bounded number
    any within the bounds, of another whole number any of 31 bits, else what is missing."""
    neutral = left_out(served, tensor)
    if neutral is not None:
        return [neutral if random.random() > _SAID else _within(served, tensor, random, neutral) for _ in range(count)]
    field = _event_field(interactions, tensor.name)
    if field is not None:
        rows = random.integers(0, len(interactions.events), count)
        return list(moments(field, interactions.events[field.name][rows])[:, None])
    kind, lowest, highest = _kind(tensor), *(served.bound(side, tensor.name) for side in ("minimum", "maximum"))
    if kind is not None and lowest is not None and highest is not None:
        return [filled(tensor, kind(random.uniform(lowest, highest))) for _ in range(count)]
    if kind is not None and kind != np.float32:
        return [filled(tensor, int(random.integers(0, _KEYS))) for _ in range(count)]
    return [filled(tensor, missing(interactions, tensor.name))] * count


def _within(served: Served, tensor: ModelInput, random: np.random.Generator, otherwise: np.ndarray) -> np.ndarray:
    """Any whole number within the bounds; of an input without them what it is otherwise."""
    lowest, highest = (served.bound(side, tensor.name) for side in ("minimum", "maximum"))
    if lowest is None or highest is None:
        return otherwise
    return filled(tensor, int(random.integers(int(lowest), int(highest) + 1)))


def _fits(value: object, kind: type[np.number]) -> bool:
    """Whether numpy keeps what a person wrote: it would wrap a number beyond an int32, and make 1e60 infinite."""
    try:
        if issubclass(kind, np.integer):
            return np.iinfo(kind).min <= int(str(value)) <= np.iinfo(kind).max
        return not abs(float(str(value))) > float(np.finfo(np.float32).max)
    except ValueError:
        return False


def _kind(tensor: ModelInput) -> type[np.number] | None:
    """None for text."""
    return _NUMBERS.get(DataType.Name(tensor.data_type))  # pyright: ignore[reportAttributeAccessIssue]


def _event_field(interactions: Interactions, name: str) -> Field | None:
    return next((one for one in interactions.schema.fields if (one.name, one.role) == (name, "event")), None)

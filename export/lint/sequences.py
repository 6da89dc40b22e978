"""Checks of the sequence batcher: strategies, control inputs, implicit states."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tritonclient.grpc.model_config_pb2 import (
    DataType,  # pyright: ignore[reportAttributeAccessIssue]
    ModelConfig,  # pyright: ignore[reportAttributeAccessIssue]
    ModelSequenceBatching,  # pyright: ignore[reportAttributeAccessIssue]
)

from export.lint.data_files import file_problem
from export.lint.entry import Problem

_CONTROL = ModelSequenceBatching.Control
_VALUES = ("int32_false_true", "fp32_false_true", "bool_false_true")
_ID_TYPES = ("TYPE_UINT64", "TYPE_INT64", "TYPE_UINT32", "TYPE_INT32", "TYPE_STRING")
_FIELD = "sequence_batching"


def sequence_problems(folder: Path, config: ModelConfig) -> Iterator[Problem]:
    """What the server refuses of `sequence_batching`; `folder` is the model's."""
    batching = config.sequence_batching
    if batching.HasField("oldest"):
        yield from preferred_problems(f"{_FIELD}.oldest", batching.oldest.preferred_batch_size, config.max_batch_size)
    utilization = batching.direct.minimum_slot_utilization
    if not 0 <= utilization <= 1:
        reason = f"{utilization:g} is not between 0 and 1"
        yield f"{_FIELD}.direct.minimum_slot_utilization", reason, "set a share of the slots"
    yield from _controls(batching)
    for state in batching.state:
        yield from _initial_state(folder, state)


def preferred_problems(field: str, sizes: Iterable[int], largest: int) -> Iterator[Problem]:
    """What is wrong with the preferred batch sizes of a batcher, `field`."""
    if wrong := [size for size in sizes if not 1 <= size <= largest]:
        remedy = f"use sizes from 1 to max_batch_size, {largest}" if largest else "set max_batch_size, or remove them"
        yield f"{field}.preferred_batch_size", f"{wrong}: not between 1 and max_batch_size", remedy


def _controls(batching: Any) -> Iterator[Problem]:
    seen_names: set[str] = set()
    seen_kinds: set[int] = set()
    for number, control_input in enumerate(batching.control_input):
        field = f"{_FIELD}.control_input.{control_input.name}"
        if not control_input.name:
            yield f"{_FIELD}.control_input[{number}].name", "the tensor has no name", "name it"
            continue
        if control_input.name in seen_names:
            yield field, "the tensor is given twice", "list its controls in one control_input"
            continue
        seen_names.add(control_input.name)
        for control in control_input.control:
            if control.kind in seen_kinds:
                reason = f"{_CONTROL.Kind.Name(control.kind)} is given to two tensors"
                yield field, reason, "give it to one"
            else:
                yield from _control(field, control)
            seen_kinds.add(control.kind)


def _control(field: str, control: Any) -> Iterator[Problem]:
    kind, given = _CONTROL.Kind.Name(control.kind), [name for name in _VALUES if getattr(control, name)]
    if control.kind == _CONTROL.CONTROL_SEQUENCE_CORRID:
        data_type = DataType.Name(control.data_type)
        if given:
            yield field, f"{kind} takes no {given[0]}", "set data_type instead"
        elif data_type not in _ID_TYPES:
            yield field, f"{kind} cannot be {data_type}", f"set data_type to one of {_ID_TYPES}"
    elif len(given) != 1:
        yield field, f"{kind} has the values {given or 'of no type'}", f"give exactly one of {_VALUES}"
    elif len(getattr(control, given[0])) != 2:
        reason = f"{kind} has {given[0]} {list(getattr(control, given[0]))}"
        yield field, reason, "give two values: for false and for true"


def _initial_state(folder: Path, state: Any) -> Iterator[Problem]:
    """The server does not refuse a wrong one: it ends, whatever else it serves."""
    field = f"{_FIELD}.state.{state.input_name}"
    if len(state.initial_state) > 1:
        yield field, f"{len(state.initial_state)} values of initial_state; the server ends", "keep one"
        return
    for initial in state.initial_state:
        for reason, remedy in _initial_problems(folder, state, initial):
            yield field, f"initial_state: {reason}; the server ends", remedy
            return


def _initial_problems(folder: Path, state: Any, initial: Any) -> Iterator[tuple[str, str]]:
    wanted, given = list(state.dims), list(initial.dims)
    if initial.data_type != state.data_type:
        yield (
            f"the type is {DataType.Name(initial.data_type)}, that of the state {DataType.Name(state.data_type)}",
            "use one type",
        )
    if not initial.name:
        yield "no name", "name it"
    if len(given) != len(wanted) or any(size not in (-1, own) for size, own in zip(wanted, given, strict=False)):
        yield f"dims are {given}, those of the state {wanted}", "use the same dims"
    if -1 in given:
        yield f"dims are {given}", "give each size"
    data = initial.WhichOneof("state_data")
    if data is None:
        yield "no data", "set zero_data or data_file"
    if data == "data_file" and (reason := file_problem(folder / "initial_state" / initial.data_file, initial)):
        yield reason, "put the whole tensor into the model's folder initial_state"

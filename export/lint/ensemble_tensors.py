"""Checks of an ensemble's tensors against those of its steps: names, types, dims, batch sizes, decoupled models."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from tritonclient.grpc.model_config_pb2 import (
    DataType,  # pyright: ignore[reportAttributeAccessIssue]
    ModelConfig,  # pyright: ignore[reportAttributeAccessIssue]
)

from export.lint.entry import Problem

_STEP = "ensemble_scheduling.step"
_Graded = tuple[Literal["error", "warning"], Problem]


class _Tensor(NamedTuple):
    """A tensor as one model sees it."""

    model: str
    data_type: int
    dims: tuple[int, ...]
    full: tuple[int, ...]
    """With the batch axis."""


def fit_problems(config: ModelConfig, models: Mapping[str, ModelConfig]) -> Iterator[_Graded]:
    """What keeps the steps from working together; `models` holds every step's configuration."""
    tensors = _own_tensors(config)
    for number, step in enumerate(config.ensemble_scheduling.step):
        model = models[step.model_name]
        if 0 < model.max_batch_size < config.max_batch_size:
            reason = f"{config.max_batch_size} exceeds the {model.max_batch_size} of '{step.model_name}'"
            yield "error", ("max_batch_size", reason, f"set it to at most {model.max_batch_size}")
        for kind, mapping, own in (("input", step.input_map, model.input), ("output", step.output_map, model.output)):
            field = f"{_STEP}[{number}].{kind}_map"
            # Without tensors, the server completes the configuration from the model.
            if own:
                for problem in _names(field, step.model_name, kind, mapping, own):
                    yield "error", problem
            for tensor in own:
                if tensor.name in mapping and tensor.dims and tensor.data_type:
                    seen = _seen(step.model_name, model, tensor, reshaped=False)
                    first = tensors.setdefault(mapping[tensor.name], seen)
                    yield from _mismatch(field, mapping[tensor.name], first, seen)
    yield from _overwritten(config)
    for problem in _decoupled(config, models):
        yield "error", problem


def _seen(name: str, config: ModelConfig, tensor: Any, reshaped: bool) -> _Tensor:
    use_shape = reshaped and tensor.HasField("reshape")
    sizes = tensor.reshape.shape if use_shape else tensor.dims
    # A size that is no size is a finding of its own.
    dims = tuple(size if size > 0 else -1 for size in sizes)
    full = (-1, *dims) if config.max_batch_size > 0 else dims
    return _Tensor(name, tensor.data_type, dims, full)


def _own_tensors(config: ModelConfig) -> dict[str, _Tensor]:
    return {
        tensor.name: _seen(config.name, config, tensor, reshaped=True)
        for tensor in (*config.output, *config.input)
        if tensor.dims and tensor.data_type
    }


def _names(field: str, model: str, kind: str, mapping: Mapping[str, str], own: Any) -> Iterator[Problem]:
    offered = {tensor.name for tensor in own}
    unknown = sorted(set(mapping) - offered)
    for name in unknown:
        yield field, f"'{model}' has no {kind} '{name}'", f"use one of {sorted(offered)}"
    # A name that is not there is most often that of the input that is missing.
    if kind == "input" and not unknown:
        for name in sorted({tensor.name for tensor in own if not tensor.optional} - set(mapping)):
            yield field, f"input '{name}' of '{model}' is not mapped", "map it to a tensor of the ensemble"


def _mismatch(field: str, name: str, first: _Tensor, seen: _Tensor) -> Iterator[_Graded]:
    if first.data_type != seen.data_type:
        types = [DataType.Name(tensor.data_type) for tensor in (seen, first)]
        reason = f"'{name}' is {types[0]} for '{seen.model}' and {types[1]} for '{first.model}'"
        yield "error", (field, reason, "map tensors of one type, or change one of the models")
    elif not (_alike(first.dims, seen.dims) or _alike(first.full, seen.full)):
        reason = f"'{name}' is {list(seen.full)} for '{seen.model}' and {list(first.full)} for '{first.model}'"
        yield "error", (field, reason, "map tensors of one shape, or change one of the models")
    elif not _alike(first.full, seen.full):
        reason = f"'{name}' is {list(seen.full)} for '{seen.model}' and {list(first.full)} for '{first.model}'"
        yield "warning", (field, f"{reason}: it loads, and requests fail", "let both have a batch axis, or neither")


def _alike(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(one) == len(other) and all(-1 in pair or pair[0] == pair[1] for pair in zip(one, other, strict=True))


def _overwritten(config: ModelConfig) -> Iterator[_Graded]:
    given = {tensor.name for tensor in config.input}
    for number, step in enumerate(config.ensemble_scheduling.step):
        for name in sorted(given & set(step.output_map.values())):
            reason = f"writes the ensemble's input '{name}': whoever reads it may get either"
            yield "warning", (f"{_STEP}[{number}].output_map", reason, "give it another name")


def _decoupled(config: ModelConfig, models: Mapping[str, ModelConfig]) -> Iterator[Problem]:
    """A step may not join tensors of different streams: a decoupled model's outputs are a stream of their own."""
    streams = {tensor.name: 0 for tensor in config.input}
    waiting = list(enumerate(config.ensemble_scheduling.step))
    while ready := [(number, step) for number, step in waiting if set(step.input_map.values()) <= set(streams)]:
        for number, step in ready:
            joined = {streams[name] for name in step.input_map.values()}
            if len(joined) > 1:
                reason = f"'{step.model_name}' joins the answers of different decoupled models"
                yield f"{_STEP}[{number}].input_map", reason, "let one decoupled model lie before it at most"
            own = models[step.model_name].model_transaction_policy.decoupled
            stream = number + 1 if own else min(joined)
            streams |= {name: stream for name in step.output_map.values() if name not in streams}
        waiting = [pair for pair in waiting if pair not in ready]

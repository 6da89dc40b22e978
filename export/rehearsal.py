"""Before anything is exported: a module answers its own example, and the same request always alike.

A server batches requests as they come and runs several instances, so an answer may depend neither on the neighbours
in a batch nor on earlier requests.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from export import eager
from export.goldens import cut_tensors, pack
from export.signature import check_signature, limit
from export.verify import TOLERANCE
from serving import golden
from training.servable import Bound, KernelServable, Packed, Servable, TensorSpec

Request = Mapping[str, np.ndarray]
Change = Callable[[TensorSpec, np.ndarray], np.ndarray]
"""(input, its values) -> other values."""

_NUM_REQUESTS = 16
_FAR_OFF = 1e-2
"""Gap that no rounding of large values explains."""
_NUM_REPEATS = 3
_COUPLED = (
    "a request alone and the same request in a batch get different answers; in forward nothing may mix the requests of "
    "the batch: look for softmax, mean, sort or cumsum over axis 0 (or over all packed elements), and for BatchNorm in "
    "training mode"
)


def rehearse(model: Servable | KernelServable) -> None:
    """Raises ValueError, with what the user's code raised or with the output that shows it, where it does not.

    The module is left as it was but for what forward itself changes in it.
    """
    check_signature(model)
    inputs = eager.example(model, _NUM_REQUESTS, 0)
    before = _versions(model)
    first = eager.ask(model, inputs)
    changed = [name for name, version in _versions(model).items() if before.get(name, version) != version]
    _refuse_other_answers(model, inputs, first)
    _refuse_coupling(model, inputs)
    _refuse_coupling_by_value(model, inputs)
    if changed:
        raise ValueError(
            f"model '{model.name}': its forward changes '{changed[0]}' of the module in place; a request must leave no "
            "trace in a server that runs several instances: make the state an input, or change it outside forward"
        )


def _versions(model: Servable | KernelServable) -> dict[str, tuple[int, int]]:
    """Of each weight and buffer, which tensor it is and how often it was written to."""
    named = (*model.module.named_parameters(), *model.module.named_buffers())
    return {name: (id(tensor), tensor._version) for name, tensor in named}


def _refuse_other_answers(model: Servable | KernelServable, inputs: Packed, first: Packed) -> None:
    answers = (eager.ask(model, inputs) for _ in range(_NUM_REPEATS))
    gaps = (golden.compare(_named(model, first), _named(model, again), TOLERANCE) for again in answers)
    gap = next((gap for gap in gaps if not gap.ok), None)
    if gap is None:
        return
    with _RandomOperators() as random:
        eager.ask(model, inputs)
    for operator in random.found:
        raise ValueError(
            f"model '{model.name}': operator '{operator}' in its forward is random; make the noise an input"
        )
    raise ValueError(
        f"model '{model.name}': output '{gap.output}'{list(gap.index)} differs when the same request is asked twice: "
        "its forward keeps a state; make the state an input"
    )


class _RandomOperators(TorchDispatchMode):
    """Collects the operators that draw random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def _refuse_coupling(model: Servable | KernelServable, inputs: Packed) -> None:
    """Each request alone, against the same in a batch with others, and with others in another order."""
    requests = cut_tensors(model, model.inputs, inputs, inputs)
    shapes = _regular_shapes(model, requests[0])
    others = [
        request for seed in (1, 2) for request in _requests(model, seed) if _regular_shapes(model, request) == shapes
    ]
    alone = [_alone(model, request) for request in requests]
    for batch in (requests, [*others, *reversed(requests)]):
        packed = pack(model, batch)
        answers = cut_tensors(model, model.outputs, eager.ask(model, packed), packed)
        answers = answers if batch is requests else answers[::-1][: len(requests)]
        for number, (expected, actual) in enumerate(zip(alone, answers, strict=True)):
            gap = golden.compare(expected, actual, TOLERANCE)
            if not gap.ok:
                values = [f"{array[gap.output][gap.index]!r}" for array in (expected, actual)]
                raise ValueError(
                    f"model '{model.name}': output '{gap.output}'{list(gap.index)} of request {number} is {values[0]} "
                    f"alone and {values[1]} in a batch of {len(batch)}: {_COUPLED}"
                )


def _refuse_coupling_by_value(model: Servable | KernelServable, inputs: Packed) -> None:
    """Values that no example holds: one request at the ends of what is legal, beside the same at the other end.

    A maximum over the batch, of lengths or magnitudes, shows only where its requests differ in it. What forward
    raises on, alone or together, says nothing.
    """
    if model.max_batch_size < 2:
        return
    request = cut_tensors(model, model.inputs, inputs, inputs)[0]
    variants = {name: _variant(model, request, change) for name, change in _VARIANTS.items()}
    alone = {name: answer[0] for name, one in variants.items() if (answer := _answered(model, [one]))}
    for one, other in itertools.permutations(alone, 2):
        beside = _answered(model, [variants[one], variants[other]])
        if beside is None:
            continue
        gap = golden.compare(alone[one], beside[0], _FAR_OFF)
        if not gap.ok:
            values = [f"{answer[gap.output][gap.index]!r}" for answer in (alone[one], beside[0])]
            raise ValueError(
                f"model '{model.name}': output '{gap.output}'{list(gap.index)} is {values[0]} alone and {values[1]} in "
                f"a batch with a request of {other} values: {_COUPLED}"
            )


def _variant(model: Servable | KernelServable, request: Request, change: Change) -> Request:
    """The request with other values in all inputs."""
    changed = {spec.name: change(spec, request[spec.name]) for spec in model.inputs if spec.name in request}
    return {**request, **changed}


def _end_of(bound: Bound | None, own: np.integer) -> np.ndarray:
    """What is declared, and a value of the request where nothing is."""
    return np.array(own) if bound is None else limit(bound, int(own))


def _ids_or(scale: float, end: Callable[[TensorSpec, np.ndarray], Any]) -> Change:
    def change(spec: TensorSpec, array: np.ndarray) -> np.ndarray:
        if spec.of is not None or array.dtype == np.bool_ or not array.size:
            return array
        if array.dtype.kind == "f":
            return (array * scale).astype(array.dtype)
        return np.full_like(array, end(spec, array))

    return change


_VARIANTS: dict[str, Change] = {
    "usual": lambda _, array: array,
    "least": _ids_or(
        1e-2, lambda spec, array: array.min() if spec.minimum is None else limit(spec.minimum, int(array.min()))
    ),
    "small": _ids_or(-1.0, lambda _, array: min(1, int(array.max()))),
    "greatest": _ids_or(
        1e2, lambda spec, array: array.max() if spec.maximum is None else limit(spec.maximum, int(array.max()))
    ),
}


def _answered(model: Servable | KernelServable, requests: Sequence[Request]) -> list[dict[str, np.ndarray]] | None:
    """The eager answers; None where forward raises on these values, or answers with what is no number."""
    packed = pack(model, requests)
    try:
        outputs = eager.ask(model, packed)
    except ValueError:
        return None
    if any(torch.isnan(tensor).any() for tensor in outputs):
        return None
    return cut_tensors(model, model.outputs, outputs, packed)


def _alone(model: Servable | KernelServable, request: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    packed = pack(model, [request])
    try:
        answer = eager.ask(model, packed)
    except ValueError as error:
        outputs = [spec.name for spec in model.outputs]
        raise ValueError(
            f"{error}: outputs {outputs} are answered for {_NUM_REQUESTS} requests and not for one of them: {_COUPLED}"
        ) from error
    return cut_tensors(model, model.outputs, answer, packed)[0]


def _requests(model: Servable | KernelServable, seed: int) -> list[dict[str, np.ndarray]]:
    inputs = eager.example(model, _NUM_REQUESTS, seed)
    return cut_tensors(model, model.inputs, inputs, inputs)


def _regular_shapes(model: Servable | KernelServable, request: Mapping[str, np.ndarray]) -> list[tuple[int, ...]]:
    """What requests of one batch have in common."""
    return [request[spec.name].shape for spec in model.inputs if not spec.ragged and spec.of is None]


def _named(model: Servable | KernelServable, outputs: Packed) -> dict[str, np.ndarray]:
    named: dict[str, Tensor] = dict(zip((spec.name for spec in model.outputs), outputs, strict=True))
    return {name: tensor.numpy() for name, tensor in named.items()}

"""Requests as a client sends them, cut from the packed tensors of a batch, and goldens made of them."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from export import client_ids, eager
from export.signature import HIGHEST, LOWEST, Bounds, axis_bounds, client_inputs, limit
from serving.golden import Golden
from serving.histories.examples import example_ids, refuse_examples
from training.layers.requests import USER_ID
from training.servable import Packed, Signature, TensorSpec

NUM_GOLDENS = 16


def make_goldens(signature: Signature, seed: int = 0) -> list[Golden]:
    """Requests of `example(16, seed)`, each with the eager answer, and both fp64 answers where there is a reference.

    Raises ValueError where example or answer does not fit the signature, or where an answer holds NaN.
    The server must answer a golden, so the example has to keep to the bounds as well.
    """
    inputs = eager.example(signature, NUM_GOLDENS, seed)
    outputs = eager.ask(signature, inputs)
    for spec, tensor in zip(signature.outputs, outputs, strict=True):
        if torch.isnan(tensor).any():
            raise ValueError(
                f"model '{signature.name}': output '{spec.name}' holds NaN on its example; NaN tells a client that its "
                "answer is invalid, so let forward return a number (0/0 and inf - inf are NaN) or infinity"
            )
    requests = cut(signature, inputs, outputs)
    for request in requests:
        _check_bounds(signature, request.inputs)
    goldens = [_of_client(signature, request) for request in requests]
    if signature.unrounded is not None:
        before = eager.compute(signature, signature.unrounded, inputs)
        goldens = [
            replace(one, unrounded={name: array for name, array in answer.items() if array.dtype.kind == "f"})
            for one, answer in zip(goldens, cut_tensors(signature, signature.outputs, before, inputs), strict=True)
        ]
    if signature.reference is None:
        return goldens
    reference = eager.compute(signature, signature.reference, _in_double(inputs))
    references = _cut_in_double(signature, inputs, reference)
    return [
        replace(golden, reference64=reference, served64=served)
        for golden, reference, served in zip(goldens, references, _served64(signature, inputs), strict=True)
    ]


def _of_client(signature: Signature, golden: Golden) -> Golden:
    """With raw ids, as a client sends and gets them."""
    inputs = client_ids.sent(signature.inputs, golden.inputs)
    if signature.reads_histories:
        user = next(spec for spec in signature.inputs if spec.name == USER_ID.name)
        if user.mapped is not None:
            refuse_examples(user.mapped.ids)
        kind = "string" if user.client_dtype == "string" else "int64"
        inputs[USER_ID.name] = example_ids(golden.inputs[USER_ID.name], kind)
    return Golden(inputs, client_ids.answered(signature.outputs, golden.outputs))


def cut(signature: Signature, inputs: Packed, outputs: Packed) -> list[Golden]:
    """One golden per request: a leading batch axis of 1, ragged tensors as [1, n], no counts, dense ids."""
    requests = cut_tensors(signature, signature.inputs, inputs, inputs)
    answers = cut_tensors(signature, signature.outputs, outputs, inputs)
    return [Golden(request, answer) for request, answer in zip(requests, answers, strict=True)]


def cut_tensors(
    signature: Signature, specs: Sequence[TensorSpec], tensors: Packed, inputs: Packed
) -> list[dict[str, np.ndarray]]:
    """Cuts `tensors`, described by `specs`, into the requests of the batch whose inputs are `inputs`."""
    ends = _ends(signature, inputs)
    num_requests = next(len(tensor) for spec, tensor in zip(signature.inputs, inputs, strict=True) if not spec.ragged)
    cuts: list[dict[str, np.ndarray]] = [{} for _ in range(num_requests)]
    for spec, tensor in zip(specs, tensors, strict=True):
        if spec.of is not None and not spec.ragged:
            continue
        array = tensor.detach().numpy()
        if spec.ragged:
            borders = [spec.per * end for end in ends[spec.of or spec.name][:-1]]
            parts = [part[None] for part in np.split(array, borders)]
        else:
            rows = array[:, None] if spec.shape == () else array
            parts = [rows[row : row + 1] for row in range(num_requests)]
        for request, part in zip(cuts, parts, strict=True):
            request[spec.name] = part
    return cuts


def pack(signature: Signature, requests: Sequence[Mapping[str, np.ndarray]]) -> Packed:
    """The graph's inputs for requests that the server would put into one batch: the inverse of `cut_tensors`."""
    packed = []
    for spec in signature.inputs:
        if spec.of is not None:
            counts = [request[spec.of].shape[1] for request in requests]
            packed.append(torch.tensor(counts, dtype=torch.int64).cumsum(0).to(torch.int32))
        else:
            arrays = [request[spec.name] for request in requests]
            joined = np.concatenate([array[0] for array in arrays] if spec.ragged else arrays)
            packed.append(torch.from_numpy(joined[:, 0] if spec.shape == () else joined))
    return tuple(packed)


def _ends(signature: Signature, inputs: Packed) -> dict[str, list[int]]:
    """Per ragged input the accumulated counts; raises ValueError where they do not cover the packed axis."""
    named = {spec.name: tensor for spec, tensor in zip(signature.inputs, inputs, strict=True)}
    ends = {spec.of: named[spec.name].tolist() for spec in signature.inputs if spec.of is not None}
    for name, counts in ends.items():
        if counts != sorted(counts) or counts[0] < 0 or counts[-1] != len(named[name]):
            raise ValueError(
                f"model '{signature.name}': accumulated counts {counts} do not divide the {len(named[name])} elements "
                f"of '{name}'; the last must be their number"
            )
    return ends


def _check_bounds(signature: Signature, request: Mapping[str, np.ndarray]) -> None:
    bounds = axis_bounds(signature)
    for spec in client_inputs(signature):
        values, prefix = request[spec.name], f"model '{signature.name}': an example of '{spec.name}'"
        for axis, size in zip(spec.shape, values.shape[1:], strict=False):
            least, greatest = bounds[str(axis)] if isinstance(axis, str) else Bounds(0, None)
            if greatest is not None and size > greatest:
                raise ValueError(f"{prefix} has {size} elements along '{axis}', above its greatest size {greatest}")
            if size < least:
                raise ValueError(f"{prefix} has {size} elements along '{axis}', below its least size {least}")
        if spec.minimum is not None and (values < limit(spec.minimum, LOWEST)).any():
            raise ValueError(f"{prefix} holds {values.min()}, below its minimum {spec.minimum}")
        if spec.maximum is not None and (values > limit(spec.maximum, HIGHEST)).any():
            raise ValueError(f"{prefix} holds {values.max()}, above its maximum {spec.maximum}")


def _in_double(tensors: Packed) -> Packed:
    return tuple(tensor.double() if tensor.is_floating_point() else tensor for tensor in tensors)


def _cut_in_double(signature: Signature, inputs: Packed, outputs: Packed) -> list[dict[str, np.ndarray]]:
    requests = cut_tensors(signature, signature.outputs, _in_double(outputs), inputs)
    return [client_ids.answered(signature.outputs, request) for request in requests]


def _served64(signature: Signature, inputs: Packed) -> list[dict[str, np.ndarray]]:
    """The served form's answers in fp64: by `eager64`, or else by the module in double; empty where neither is."""
    if signature.eager64 is not None:
        eager64 = signature.eager64
    elif signature.module is not None:
        eager64 = copy.deepcopy(signature.module).double()
    else:
        return [{} for _ in range(NUM_GOLDENS)]
    return _cut_in_double(signature, inputs, eager.compute(signature, eager64, _in_double(inputs)))

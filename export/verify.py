"""The check that what was exported answers what the eager module answers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch

from export import client_ids, eager
from export.goldens import cut_tensors, pack
from export.ranking import unproven
from export.run_alone import open_session
from serving import golden
from training.servable import Packed, Servable, Signature

TOLERANCE = 1e-5
"""Largest |served - eager| / max(1, |eager|) of an fp32 export."""

_BREAK_TIES = (
    "; where scores tie, the order of their items is free: return them beside the ids as an output 'scores' of the "
    "same shape and order, or make no two of them equal"
)

_DECLARE_HALF = "; it is computed in float16: declare it float16, which has a tolerance of its own, and return it so"

_LONGEST_REASON = 300

Run = Callable[[Packed], dict[str, np.ndarray]]
"""Inputs in the signature's order, with dense ids -> outputs by name, with raw ids."""


def run_session(session: ort.InferenceSession, signature: Signature, tensors: Packed) -> dict[str, np.ndarray]:
    """Outputs by name, with the raw ids of the graph, for inputs in the signature's order with dense ids."""
    arrays = {spec.name: tensor.numpy() for spec, tensor in zip(signature.inputs, tensors, strict=True)}
    feeds = client_ids.sent(signature.inputs, arrays)
    names = [spec.name for spec in signature.outputs]
    return {name: np.asarray(array) for name, array in zip(names, session.run(names, feeds), strict=True)}


def verify_onnx(servable: Servable, path: Path) -> float:
    """The worst gap of ORT on the CPU against the eager module: batches of 1, 2, 7 and the largest, and each of
    16 requests alone, among them the empty ones.

    Raises ValueError with output, index and both values where the gap exceeds TOLERANCE.
    """
    session = open_session(path)

    def run(tensors: Packed) -> dict[str, np.ndarray]:
        try:
            return run_session(session, servable, tensors)
        except Exception as error:  # ONNX Runtime's have no common base
            reason = " ".join(str(error).split())[:_LONGEST_REASON]
            sizes = ", ".join(f"{spec.name} {list(t.shape)}" for spec, t in zip(servable.inputs, tensors, strict=True))
            raise ValueError(
                f"model '{servable.name}': forward answers, but ONNX Runtime fails on inputs {sizes}: {reason}; where "
                "the graph took a size for a constant, write x.shape[n] in forward, and repeat_interleave along an "
                "axis of its own (dim=1) or with a tensor of repeats"
            ) from error

    return verify(servable, run, "ONNX Runtime")


def verify(signature: Signature, run: Run, runner: str) -> float:
    """The worst gap of `run` against the eager answers, on the same requests as in `verify_onnx`.

    Raises ValueError with output, index and both values where the gap exceeds TOLERANCE.
    """
    limit, worst = signature.max_batch_size, 0.0
    for batch_size in sorted({size for size in (1, 2, 7, limit) if size <= limit}):
        tensors = eager.example(signature, batch_size, batch_size)
        worst = max(worst, _gap(signature, run, runner, tensors, f"batch of {batch_size}"))
    inputs = eager.example(signature, 16, 0)
    for number, request in enumerate(cut_tensors(signature, signature.inputs, inputs, inputs)):
        alone = pack(signature, [request])
        worst = max(worst, _gap(signature, run, runner, alone, f"request {number} of 16 alone"))
    return worst


def _gap(signature: Signature, run: Run, runner: str, tensors: Packed, case: str) -> float:
    names = [spec.name for spec in signature.outputs]
    answers = [tensor.numpy() for tensor in eager.ask(signature, tensors)]
    expected = client_ids.answered(signature.outputs, dict(zip(names, answers, strict=True)))
    actual = run(tensors)
    gap = golden.compare(expected, actual, TOLERANCE)
    dense = [client_ids.dense(signature.outputs, side) for side in (expected, actual)] if gap.ok else []
    if gap.ok and (name := unproven(signature, tensors, *dense)):
        raise ValueError(f"model '{signature.name}', {case}: output '{name}' has other items than eager{_BREAK_TIES}")
    if gap.ok:
        return gap.relative
    shown = [
        f"{side} {array[gap.index]!r}" if gap.index else f"{side} {array.dtype} {list(array.shape)}"
        for side, array in (("eager", expected[gap.output]), (runner, actual[gap.output]))
    ]
    raise ValueError(
        f"model '{signature.name}', {case}: output '{gap.output}'{list(gap.index)} differs: {', '.join(shown)} "
        f"(gap {gap.relative:.3g}, allowed {golden.tolerance_of(expected[gap.output].dtype, TOLERANCE):g})"
        f"{_advice(signature, expected[gap.output], gap)}"
    )


def _advice(signature: Signature, expected: np.ndarray, gap: golden.Gap) -> str:
    if gap.index and expected.dtype.kind in "iO":
        return _BREAK_TIES
    weights = {} if signature.module is None else signature.module.state_dict()
    is_half = any(tensor.dtype == torch.float16 for tensor in weights.values())
    return _DECLARE_HALF if is_half and expected.dtype == np.float32 else ""

"""The two sides of a signature's ids: dense ones, which the module sees, and raw ones, which a client sends and gets.

Everything in this process is dense; what a graph, a golden or a server takes and gives is raw. Tensors without a map
are the same on both sides. Arrays may be those of a request or of a batch.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from recserve_client.texts import LONGEST_BYTES
from serving.ids import PARAMETER
from training.servable import EnsembleStep, Packed, Signature, TensorSpec

Arrays = Mapping[str, np.ndarray]


def parameters(signature: Signature) -> dict[str, str]:
    """What `config.pbtxt` says of raw ids: the longest string, the number that an answer says where there is none
    (text is empty there), and which tensors a backend maps itself."""
    inputs = {
        f"max_bytes.{spec.name}": str(LONGEST_BYTES) for spec in signature.inputs if spec.client_dtype == "string"
    }
    numbers = [spec for spec in signature.outputs if spec.mapped is not None and spec.mapped.kind == "int64"]
    outputs = {f"no_id.{spec.name}": str(spec.mapped.filling) for spec in numbers if spec.mapped is not None}
    beside = ",".join(spec.name for spec in mapped_beside(signature))
    return inputs | outputs | ({PARAMETER: beside} if beside else {})


def mapped_beside(signature: Signature) -> list[TensorSpec]:
    """Tensors whose maps lie as files beside a model that is no graph of ONNX."""
    if not signature.maps_beside:
        return []
    return [spec for spec in (*signature.inputs, *signature.outputs) if spec.mapped is not None]


def save_maps(signature: Signature, folder: Path) -> None:
    """Writes the maps that a backend or step reads."""
    for spec in mapped_beside(signature):
        if spec.mapped is not None:
            spec.mapped.save(folder, spec.name)


def ensemble_faults(ensemble: Signature, models: Mapping[str, Signature]) -> Iterator[str]:
    """Tensors that two sides of an ensemble would map differently; of the steps that are in `models`."""
    maps = {spec.name: spec.mapped for spec in ensemble.inputs}
    for step in ensemble.steps:
        specs = models[step.model].inputs if step.model in models else ()
        for spec in specs:
            tensor = step.inputs.get(spec.name)
            if tensor in maps and maps[tensor] != spec.mapped:
                yield f"'{tensor}' and input '{spec.name}' of '{step.model}' have different maps of ids; give them one"
        maps |= {step.outputs[spec.name]: spec.mapped for spec in _outputs(step, models)}
    for spec in ensemble.outputs:
        if spec.name in maps and maps[spec.name] != spec.mapped:
            yield f"output '{spec.name}' and the step that gives it have different maps of ids; give them one"


def _outputs(step: EnsembleStep, models: Mapping[str, Signature]) -> list[TensorSpec]:
    return [spec for spec in models[step.model].outputs if spec.name in step.outputs] if step.model in models else []


def known(specs: Sequence[TensorSpec], tensors: Packed) -> Packed:
    """Inputs of a module as they are once a client has sent them: an id that the map does not hold is 0."""
    return tuple(
        tensor
        if spec.mapped is None
        else torch.where((tensor < 1) | (tensor > len(spec.mapped.ids)), torch.zeros_like(tensor), tensor)
        for spec, tensor in zip(specs, tensors, strict=True)
    )


def sent(specs: Sequence[TensorSpec], arrays: Arrays) -> dict[str, np.ndarray]:
    """Inputs with raw ids. Where the module would see 0, one of a few raw ids that the map does not hold."""
    maps = {spec.name: spec.mapped.sent for spec in specs if spec.mapped is not None}
    return {name: maps[name](array) if name in maps else array for name, array in arrays.items()}


def answered(specs: Sequence[TensorSpec], arrays: Arrays) -> dict[str, np.ndarray]:
    """Outputs with raw ids."""
    maps = {spec.name: spec.mapped.raw for spec in specs if spec.mapped is not None}
    return {name: maps[name](array) if name in maps else array for name, array in arrays.items()}


def dense(specs: Sequence[TensorSpec], arrays: Arrays) -> dict[str, np.ndarray]:
    """Outputs with dense ids, 0 for what is none."""
    maps = {spec.name: spec.mapped.dense for spec in specs if spec.mapped is not None}
    return {name: maps[name](array) if name in maps else array for name, array in arrays.items()}

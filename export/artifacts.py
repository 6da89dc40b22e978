"""The files of one version folder."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.numpy import save_file

from export import client_ids, eager
from export.edges import edge_cases
from export.goldens import make_goldens
from export.kernel_form import save_kernel_form
from export.onnx import export_onnx
from export.probe import check_edges
from export.signature import client_inputs
from export.verify import verify_onnx
from serving import golden, manifest
from serving.backends.recserve.program import PROGRAM_FILE
from serving.state_source import STATE_FILE
from training import schema as schema_file
from training.servable import KernelServable, PathSamplerServable, Servable, Signature, UserStateServable

MODEL_FILE = "model.onnx"
GOLDEN_FILE = "golden.safetensors"
SCHEMA_FILE = "schema.json"
HISTORIES_FILE = "histories.safetensors"

_LIBRARIES = ("torch", "triton", "onnx", "onnxscript", "onnxruntime-gpu")

_USER_STATE_MODEL = '''"""The user's state, from the store or the encoder; the code lives in serving.user_state."""

from serving.user_state import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''

_PATH_SAMPLER_MODEL = '''"""Paths of the candidates of a request; the code lives in serving.path_sampler."""

from serving.path_sampler import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a release comes from."""

    kind: Literal["run", "factory"]
    name: str
    """The folder of the run, or `package.module:factory`."""


def write_version(
    folder: Path, signature: Signature, version: int, source: Source, release: Sequence[str] = ()
) -> None:
    """Writes all files of one version into an empty folder, the manifest last. `release` names the models that appear
    together with this one.

    Raises ValueError where the model breaks a rule of export, or the graph answers differently than the module.
    """
    if isinstance(signature, Servable):
        export_onnx(signature, folder / MODEL_FILE)
        verify_onnx(signature, folder / MODEL_FILE)
        check_edges(signature, folder / MODEL_FILE, edge_cases(signature))
    elif isinstance(signature, KernelServable):
        save_kernel_form(signature, folder / PROGRAM_FILE)
    elif isinstance(signature, UserStateServable):
        _write_user_state(folder, signature)
    elif isinstance(signature, PathSamplerServable):
        (folder / "model.py").write_text(_PATH_SAMPLER_MODEL)
        signature.sampler.save(folder)
    client_ids.save_maps(signature, folder)
    golden.write(folder / GOLDEN_FILE, make_goldens(signature))
    if signature.origin.schema is not None:
        _write_json(folder / SCHEMA_FILE, schema_file.to_json(signature.origin.schema))
    facts: dict[str, Any] = {
        "model": signature.name,
        "version": version,
        "source": asdict(source),
        "release": sorted({signature.name, *release}),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {library: installed(library) for library in _LIBRARIES},
    }
    if isinstance(signature, KernelServable):
        facts["form_of"] = signature.form_of
    manifest.write(folder, facts)


def _write_user_state(folder: Path, signature: UserStateServable) -> None:
    encoder = signature.encoder
    for problem in _history_problems(signature):
        raise ValueError(f"model '{signature.name}': {problem}")
    if _stamp(encoder) != signature.stamp:
        raise ValueError(
            f"model '{signature.name}': its stamp is {signature.stamp}, that of encoder '{encoder.name}' "
            f"{_stamp(encoder)}; the encoder needs an int64 output 'stamp' of shape (1,) with the same value"
        )
    _check_empty_history(signature)
    (folder / "model.py").write_text(_USER_STATE_MODEL)
    save_file(
        {name: np.ascontiguousarray(array) for name, array in signature.histories.items()}, folder / HISTORIES_FILE
    )
    state = {
        "encoder": encoder.name,
        "stamp": signature.stamp,
        "inputs": [spec.name for spec in client_inputs(encoder)],
        "encoder_max_batch_size": encoder.max_batch_size,
        "outputs": [{"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)} for spec in encoder.outputs],
    }
    _write_json(folder / STATE_FILE, state)


def _check_empty_history(signature: UserStateServable) -> None:
    """Raises ValueError where the encoder has no state for zeros, with which users without a history are scored."""
    encoder, histories = signature.encoder, signature.histories
    zeros = [np.zeros((1, *histories[spec.name].shape[1:]), spec.dtype) for spec in client_inputs(encoder)]
    state = eager.ask(encoder, tuple(map(torch.from_numpy, zeros)))
    for spec, tensor in zip(encoder.outputs, state, strict=True):
        if not torch.isfinite(tensor).all():
            raise ValueError(
                f"model '{signature.name}': encoder '{encoder.name}' answers '{spec.name}' with "
                "numbers that are not finite for an empty history (zeros in all inputs); let it give a state"
            )


def _history_problems(signature: UserStateServable) -> Iterator[str]:
    histories = signature.histories
    expected = {"user_ids", *(spec.name for spec in client_inputs(signature.encoder))}
    if set(histories) != expected:
        yield f"histories holds {sorted(histories)}; it must hold {sorted(expected)}"
        return
    users = histories["user_ids"]
    if users.dtype != np.int64 or users.ndim != 1 or (users[1:] <= users[:-1]).any():
        yield "histories['user_ids'] must be int64 [U], ascending, each user once"
    for spec in client_inputs(signature.encoder):
        array = histories[spec.name]
        if len(array) != len(users) or array.dtype != spec.dtype:
            found = f"{array.dtype} {list(array.shape)}"
            yield f"histories['{spec.name}'] is {found}; it must be {spec.dtype} [{len(users)}, ...]"


def _stamp(encoder: Servable) -> int | None:
    """The mark that the encoder puts on its states; None where it has no int64 output `stamp` of shape (1,)."""
    outputs = [(spec.name, spec.dtype, spec.shape) for spec in encoder.outputs]
    if ("stamp", "int64", (1,)) not in outputs:
        return None
    answer = eager.ask(encoder, eager.example(encoder, 1, 0))
    return int(answer[outputs.index(("stamp", "int64", (1,)))].item())


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")

"""What tritonserver fills in of a configuration by itself: the backend from the files, the tensors from the graph."""

from pathlib import Path
from typing import Any, NamedTuple

import onnx
from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from export.lint.onnx_types import DATA_TYPES, axes, is_tensor

TENSORFLOW = "tensorflow"
_DEFAULT_MAX_BATCH_SIZE = 4
"""Of a graph that can be batched, where the configuration has neither tensors nor a size."""


class Kind(NamedTuple):
    """A backend whose models tritonserver knows by their file."""

    backend: str
    platform: str
    file: str


KINDS = (
    Kind(TENSORFLOW, "tensorflow_savedmodel", "model.savedmodel"),
    Kind(TENSORFLOW, "tensorflow_graphdef", "model.graphdef"),
    Kind("tensorrt", "tensorrt_plan", "model.plan"),
    Kind("onnxruntime", "onnxruntime_onnx", "model.onnx"),
    Kind("openvino", "", "model.xml"),
    Kind("pytorch", "pytorch_libtorch", "model.pt"),
    Kind("python", "", "model.py"),
)
"""In the order in which the server tries them."""


PLATFORMS = {kind.platform: kind.backend for kind in KINDS if kind.platform}
"""Platform -> the backend that it goes with; these backends go with no other platform."""


def settled_backend(config: ModelConfig) -> str:
    """The backend that would run the model; empty for ensembles, and where backend and platform contradict."""
    if config.HasField("ensemble_scheduling") or config.platform == "ensemble":
        return ""
    fits = config.backend not in PLATFORMS.values() or PLATFORMS.get(config.platform) == config.backend
    return config.backend if fits else ""


def fill_backend(config: ModelConfig, folder: Path) -> None:
    """Sets name, backend, platform and model file where the server derives them from each other or from the files."""
    config.name = config.name or folder.name
    if config.platform == "ensemble":
        return
    for kind in KINDS:
        if _is_of(kind, config, folder):
            config.backend = config.backend or kind.backend
            config.platform = config.platform or kind.platform
            config.default_model_filename = config.default_model_filename or kind.file
            return
    _, dot, backend = folder.name.partition(".")
    if dot and not (config.backend or config.platform or config.default_model_filename):
        config.backend, config.default_model_filename = backend, f"model.{backend}"


def _is_of(kind: Kind, config: ModelConfig, folder: Path) -> bool:
    if config.backend and config.backend != kind.backend:
        return False
    decided = bool(config.backend) and kind.backend != TENSORFLOW
    if config.platform:
        return config.platform == kind.platform or decided
    if decided or config.default_model_filename:
        return decided or config.default_model_filename == kind.file
    versions = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return bool(versions) and (versions[0] / kind.file).exists()


def complete_tensors(config: ModelConfig, model: onnx.ModelProto) -> bool:
    """Adds the inputs or outputs that an ONNX model's configuration lacks; whether it did.

    As NVIDIA's onnxruntime backend does: where one side is missing, the batch size too is taken from the graph.
    """
    if (config.input or config.batch_input) and config.output:
        return False
    given = {value.name for value in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in given]
    values = [*inputs, *model.graph.output]
    if not all(is_tensor(value) for value in values):
        return False
    if config.max_batch_size == 0 and all(axes(value.type.tensor_type)[:1] == [-1] for value in values):
        config.max_batch_size = _DEFAULT_MAX_BATCH_SIZE
    if not (config.input or config.batch_input):
        _add(config.input, inputs, config)
    if not config.output:
        _add(config.output, model.graph.output, config)
    return True


def _add(tensors: Any, values: Any, config: ModelConfig) -> None:
    for value in values:
        dims = axes(value.type.tensor_type)[1 if config.max_batch_size > 0 else 0 :]
        tensor = tensors.add(name=value.name, dims=dims or [1])
        tensor.data_type = DATA_TYPES.get(value.type.tensor_type.elem_type, "TYPE_INVALID")
        if not dims and config.max_batch_size > 0:
            tensor.reshape.SetInParent()

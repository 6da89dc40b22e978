"""The configuration that a target uses."""

from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

FUSED = "fused"
"""The Python-based backend that runs an ensemble's steps in one process, on the target `cpu`."""


def is_ensemble(model: Path) -> bool:
    """Whether the model in this folder consists of others, whichever backend runs it."""
    config = read_config(model, "cpu")
    return config.backend == FUSED or bool(config.ensemble_scheduling.step)


def read_config(model: Path, target: str) -> ModelConfig:
    """The configuration that the target uses: configs/<target>.pbtxt, else config.pbtxt."""
    own = model / "configs" / f"{target}.pbtxt"
    return read_file(own if own.is_file() else model / "config.pbtxt")


def read_file(path: Path) -> ModelConfig:
    """The configuration in a file. Raises ValueError where it holds none."""
    try:
        return text_format.Parse(path.read_text(), ModelConfig())
    except (OSError, text_format.ParseError) as error:
        raise ValueError(f"{path} cannot be read: {error}; export the model again") from error

"""An ONNX model of the repository in this process: the floor under every served latency, and what parity compares."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime
from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from serving.backends import packing
from serving.backends.onnxruntime import batching
from serving.backends.onnxruntime.model_spec import ModelSpec
from serving.readiness import latest_version


class DirectModel:
    """One version of an ONNX model with the target's configuration, as the server would run it."""

    def __init__(self, session: onnxruntime.InferenceSession, spec: ModelSpec) -> None:
        self.session = session
        self.spec = spec

    @classmethod
    def open(cls, model: Path, target: str = "cpu") -> Self:
        """The newest version in a model's folder. Raises ValueError where folder or configuration are not fit."""
        spec = ModelSpec.parse(json_format.MessageToDict(read_config(model, target), preserving_proto_field_name=True))
        return cls(batching.load_session(latest_version(model) / spec.filename, spec), spec)

    def run(self, requests: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """The answers to requests [1, ...] in one run of the graph. Raises ValueError for one that breaks a bound."""
        for request in requests:
            packing.check(self.spec, request)
        return batching.run(self.session, self.spec, requests)


def read_config(model: Path, target: str) -> ModelConfig:
    """The configuration that the target uses: configs/<target>.pbtxt, else config.pbtxt."""
    own = model / "configs" / f"{target}.pbtxt"
    path = own if own.is_file() else model / "config.pbtxt"
    try:
        return text_format.Parse(path.read_text(), ModelConfig())
    except (OSError, text_format.ParseError) as error:
        raise ValueError(f"{path} cannot be read: {error}; export the model again") from error

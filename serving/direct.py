"""An ONNX model of the repository in this process: the floor under every served latency, and what parity compares."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime
from google.protobuf import json_format

from serving.backends import packing
from serving.backends.onnxruntime import batching
from serving.backends.onnxruntime.model_spec import ModelSpec
from serving.configs import read_config
from serving.versions import served_version


class DirectModel:
    """One version of an ONNX model with the target's configuration, as the server would run it."""

    def __init__(self, session: onnxruntime.InferenceSession, spec: ModelSpec) -> None:
        self.session = session
        self.spec = spec

    @classmethod
    def open(cls, model: Path, target: str = "cpu", version: str | None = None) -> Self:
        """A version in a model's folder, the newest by default. Raises ValueError where anything there is not fit."""
        spec = ModelSpec.parse(json_format.MessageToDict(read_config(model, target), preserving_proto_field_name=True))
        folder = served_version(model) if version is None else model / version
        return cls(batching.load_session(folder / spec.filename, spec), spec)

    def run_checked(self, requests: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """As `run`, of requests that passed the check."""
        return batching.run(self.session, self.spec, requests)

    def run(self, requests: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """The answers to requests [1, ...] in one run of the graph. Raises ValueError for one that breaks a bound."""
        for request in requests:
            packing.check(self.spec, request)
        return self.run_checked(requests)

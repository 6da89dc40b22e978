"""The Python-based `fused` backend: an ensemble of `config.pbtxt` as one model, on the target `cpu`.

Version n runs version n of each step, so no roll-out can mix two releases.
"""

import json
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

from serving.backends.backlog import Backlog
from serving.backends.fused.chain import Chain, Link, OnnxStep, Step
from serving.configs import read_config
from serving.direct import DirectModel
from serving.state_source import STATE_FILE
from serving.user_state import Refusal, StateStep, respond, tensors_of

TARGET = "cpu"


class TritonPythonModel:
    """One instance, in its own process."""

    def initialize(self, args: dict[str, str]) -> None:
        """Opens the steps; raises ValueError for one that cannot run here."""
        config = json.loads(args["model_config"])
        folder = Path(args["model_repository"])
        version = args["model_version"]
        self._backlog = Backlog.of(config, version)
        self._inputs = [tensor["name"] for tensor in config["input"]]
        steps = read_config(folder, "gpu").ensemble_scheduling.step
        self._state_steps: list[StateStep] = []
        links = [
            Link(self._open(folder.parent / step.model_name, version), dict(step.input_map), dict(step.output_map))
            for step in steps
        ]
        self._chain = Chain(links, self._inputs, [tensor["name"] for tensor in config["output"]])

    def _open(self, model: Path, version: str) -> Step:
        if not (model / version).is_dir():
            raise ValueError(f"{model} has no version {version}: an ensemble's steps are published together with it")
        if read_config(model, TARGET).backend == "onnxruntime":
            return OnnxStep(DirectModel.open(model, TARGET, version))
        if (model / version / STATE_FILE).is_file():
            step = StateStep(pb_utils, model / version)
            self._state_steps.append(step)
            return step
        # Imports torch, which other ensembles do without.
        from serving.path_sampler import SAMPLER_FILE, SamplerStep

        if (model / version / SAMPLER_FILE).is_file():
            return SamplerStep(model / version)
        known = "no ONNX model, no user state and no path sampler"
        raise ValueError(f"{model.name} cannot run inside an ensemble's process: it is {known}")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers a dynamic batch, or refuses it where too much waits."""
        if self._backlog is None:
            return self._responses(requests)
        return self._backlog.guard(
            [request.inputs()[0].as_numpy().shape[0] for request in requests],
            lambda: self._responses(requests),
            lambda reason: respond(pb_utils, Refusal(reason, "UNAVAILABLE")),
        )

    def _responses(self, requests: list[Any]) -> list[Any]:
        asked = [tensors_of(pb_utils, request, self._inputs) for request in requests]
        return [respond(pb_utils, answer) for answer in self._chain.answer(asked)]

    def finalize(self) -> None:
        """Closes the stores."""
        for step in self._state_steps:
            step.close()

"""The Python-based `fused` backend: an ensemble of `config.pbtxt` as one model, on the target `cpu`.

Version n runs version n of each step, so no roll-out can mix two releases.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.backends.fused.chain import Chain, Link, OnnxStep
from serving.configs import read_config
from serving.direct import DirectModel
from serving.state_source import STATE_FILE
from serving.steps import Step, StepModel
from serving.user_state import StateStep

TARGET = "cpu"


class TritonPythonModel(StepModel):
    """An ensemble's steps in one process."""

    def open(self, backend: Any, folder: Path, config: Mapping[str, Any]) -> Chain:
        model, version = folder.parent, folder.name
        links = [
            Link(_open(backend, model.parent / step.model_name, version), dict(step.input_map), dict(step.output_map))
            for step in read_config(model, "gpu").ensemble_scheduling.step
        ]
        inputs, outputs = ([tensor["name"] for tensor in config[side]] for side in ("input", "output"))
        return Chain(links, inputs, outputs)


def _open(backend: Any, model: Path, version: str) -> Step:
    """One step. Raises ValueError for one that cannot run here."""
    if not (model / version).is_dir():
        raise ValueError(f"{model} has no version {version}: an ensemble's steps are published together with it")
    if read_config(model, TARGET).backend == "onnxruntime":
        return OnnxStep(DirectModel.open(model, TARGET, version))
    if (model / version / STATE_FILE).is_file():
        return StateStep(backend, model / version)
    # Imports torch, which other ensembles do without.
    from serving.path_sampler import SAMPLER_FILE, SamplerStep

    if (model / version / SAMPLER_FILE).is_file():
        return SamplerStep(model / version)
    known = "no ONNX model, no user state and no path sampler"
    raise ValueError(f"{model.name} cannot run inside an ensemble's process: it is {known}")

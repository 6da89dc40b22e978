"""Findings, and what the linter reads of each model's folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import onnx
from google.protobuf.message import DecodeError
from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from export.artifacts import MODEL_FILE
from export.model_config import KERNEL_BACKEND, parse
from export.repository import versions

DEFAULT_TARGET = "config.pbtxt"


class Finding(NamedTuple):
    """One thing that is wrong."""

    severity: Literal["error", "warning"]
    file: str
    """Relative to the repository."""
    field: str
    """Field of the configuration, tensor or node; empty where the file as a whole is meant."""
    reason: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model's folder."""

    repository: Path
    name: str
    configs: dict[str, ModelConfig]
    """File in the folder -> its content: `config.pbtxt`, then `configs/*.pbtxt`."""
    graphs: dict[str, onnx.ModelProto]
    """File in the folder -> ONNX model, one per version, without weights kept outside."""

    @property
    def folder(self) -> Path:
        return self.repository / self.name

    def error(self, file: str, field: str, reason: str, remedy: str) -> Finding:
        return Finding("error", f"{self.name}/{file}", field, reason, remedy)

    def warning(self, file: str, field: str, reason: str, remedy: str) -> Finding:
        return Finding("warning", f"{self.name}/{file}", field, reason, remedy)


def is_onnx(config: ModelConfig) -> bool:
    """Whether ONNX Runtime runs the model."""
    return config.backend == "onnxruntime" or config.platform == "onnxruntime_onnx"


def is_kernel_form(config: ModelConfig) -> bool:
    """Whether our own backend runs the model, as a saved program."""
    return config.backend == KERNEL_BACKEND


def is_ensemble(config: ModelConfig) -> bool:
    """Whether the model is made of other models."""
    return config.platform == "ensemble" or config.HasField("ensemble_scheduling")


def read_entries(repository: Path) -> tuple[list[Entry], list[Finding]]:
    """All models of a repository, and findings for the files that could not be read."""
    entries, findings = [], []
    for folder in sorted(repository.iterdir()):
        if folder.is_dir() and not folder.name.startswith("."):
            entry = Entry(repository=repository, name=folder.name, configs={}, graphs={})
            findings += _read_configs(entry)
            findings += _read_graphs(entry)
            entries.append(entry)
    return entries, findings


def _read_configs(entry: Entry) -> list[Finding]:
    findings = []
    if not (entry.folder / DEFAULT_TARGET).exists():
        remedy = "write one; what the server completes by itself has no bounded queue and no thread count"
        findings.append(entry.error(DEFAULT_TARGET, "", "the model has no configuration", remedy))
    for path in [entry.folder / DEFAULT_TARGET, *sorted(entry.folder.glob("configs/*.pbtxt"))]:
        file = str(path.relative_to(entry.folder))
        try:
            if path.exists():
                entry.configs[file] = parse(path.read_text())
        except ValueError as error:
            remedy = "correct the text; fields that tritonserver's protobuf does not have are refused by the server"
            findings.append(entry.error(file, "", str(error), remedy))
    return findings


def _read_graphs(entry: Entry) -> list[Finding]:
    findings = []
    if not any(is_onnx(config) for config in entry.configs.values()):
        return findings
    default = entry.configs.get(DEFAULT_TARGET, ModelConfig()).default_model_filename
    for version in versions(entry.folder):
        file = f"{version}/{default or MODEL_FILE}"
        try:
            entry.graphs[file] = _load(entry.folder / file)
        except (OSError, DecodeError) as error:
            findings.append(entry.error(file, "", f"not a readable ONNX file ({error})", "export the model again"))
    return findings


def _load(path: Path) -> onnx.ModelProto:
    # A model with external data may be a folder that holds the graph and the data under its own name.
    return onnx.load(str(path / MODEL_FILE if path.is_dir() else path), load_external_data=False)

"""Findings, and what the linter reads of each model's folder."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import onnx
from google.protobuf.message import DecodeError
from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from export.kinds import KERNEL_BACKEND, MODEL_FILE
from export.lint.completion import complete_tensors, fill_backend, settled_backend
from export.lint.versions import found_versions, served_versions
from export.model_config import parse

DEFAULT_TARGET = "config.pbtxt"

_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0e-\x1f]")
"""The server's parser stops at one, that of Python reads on."""


class Finding(NamedTuple):
    """One thing that is wrong."""

    severity: Literal["error", "warning"]
    file: str
    """Relative to the repository."""
    field: str
    """Field of the configuration, tensor or node; empty where the file as a whole is meant."""
    reason: str
    remedy: str


Problem = tuple[str, str, str]
"""Field, reason and remedy of a finding that is an error."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model's folder."""

    repository: Path
    name: str
    configs: dict[str, ModelConfig] = field(default_factory=dict)
    """File in the folder -> its content, completed as the server does: `config.pbtxt`, then `configs/*.pbtxt`."""
    graphs: dict[str, onnx.ModelProto] = field(default_factory=dict)
    """File in the folder -> ONNX model, of each version that is served, without weights kept outside."""

    @property
    def folder(self) -> Path:
        return self.repository / self.name

    def error(self, file: str, field: str, reason: str, remedy: str) -> Finding:
        return Finding("error", f"{self.name}/{file}", field, reason, remedy)

    def warning(self, file: str, field: str, reason: str, remedy: str) -> Finding:
        return Finding("warning", f"{self.name}/{file}", field, reason, remedy)


def is_onnx(config: ModelConfig) -> bool:
    """Whether ONNX Runtime runs the model."""
    return settled_backend(config) == "onnxruntime"


def is_kernel_form(config: ModelConfig) -> bool:
    """Whether our own backend runs the model, as a saved program."""
    return config.backend == KERNEL_BACKEND


def is_ensemble(config: ModelConfig) -> bool:
    """Whether the model is made of other models."""
    return config.platform == "ensemble" or config.HasField("ensemble_scheduling")


def graph_files(entry: Entry, config: ModelConfig) -> list[str]:
    """Files of the graphs that the configuration serves."""
    if not is_onnx(config):
        return []
    name = config.default_model_filename or MODEL_FILE
    return [f"{version}/{name}" for version in served_versions(entry.folder, config)]


def read_entries(repository: Path) -> tuple[list[Entry], list[Finding]]:
    """All models of a repository, and findings for the files that could not be read."""
    entries, findings = [], []
    for folder in sorted(path for path in repository.iterdir() if path.is_dir()):
        entry = Entry(repository=repository, name=folder.name)
        if not _is_model(folder):
            reason = "tritonserver takes every folder for a model, and does not start where one holds none"
            findings.append(entry.error("", "", reason, "move it out of the repository"))
            continue
        findings += _read_configs(entry)
        findings += _read_graphs(entry)
        findings += _complete(entry)
        entries.append(entry)
    return entries, findings


def _is_model(folder: Path) -> bool:
    configs = [folder / DEFAULT_TARGET, *folder.glob("configs/*.pbtxt")]
    return any(path.exists() for path in configs) or bool(found_versions(folder))


def _read_configs(entry: Entry) -> list[Finding]:
    findings = []
    for path in [entry.folder / DEFAULT_TARGET, *sorted(entry.folder.glob("configs/*.pbtxt"))]:
        file = str(path.relative_to(entry.folder))
        try:
            entry.configs[file] = _parse(path) if path.exists() else ModelConfig()
        except (OSError, ValueError) as error:
            remedy = "correct the text; fields that tritonserver's protobuf does not have are refused by the server"
            findings.append(entry.error(file, "", str(error), remedy))
            continue
        fill_backend(entry.configs[file], entry.folder)
    if not (entry.folder / DEFAULT_TARGET).exists():
        reason = "the model has no configuration: only a server that completes configurations loads it"
        findings.append(entry.warning(DEFAULT_TARGET, "", reason, "write one, with bounds for queue and threads"))
    return findings


def _parse(path: Path) -> ModelConfig:
    text = path.read_text(encoding="utf-8-sig")
    if found := _CONTROL_CHARACTER.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"not a model configuration: {line}: control character {found.group()!r}")
    return parse(text)


def _read_graphs(entry: Entry) -> list[Finding]:
    findings = []
    for file in sorted({file for config in entry.configs.values() for file in graph_files(entry, config)}):
        try:
            entry.graphs[file] = _load(entry.folder / file)
        except (OSError, DecodeError) as error:
            findings.append(entry.error(file, "", f"not a readable ONNX file ({error})", "export the model again"))
    return findings


def _load(path: Path) -> onnx.ModelProto:
    # A model with external data may be a folder that holds the graph and the data under its own name.
    return onnx.load(str(path / MODEL_FILE if path.is_dir() else path), load_external_data=False)


def _complete(entry: Entry) -> list[Finding]:
    """Fills in tensors that a configuration leaves to the server, where the server finds them in the graph."""
    findings = []
    for file, config in entry.configs.items():
        graphs = [entry.graphs[name] for name in graph_files(entry, config) if name in entry.graphs]
        if not (graphs and complete_tensors(config, graphs[-1])) or not (entry.folder / file).exists():
            continue
        reason = "left to the server, which reads them from the graph unless --disable-auto-complete-config is given"
        findings.append(entry.warning(file, "input, output", reason, "write them down, as recserve serve needs them"))
    return findings

"""One small repository per case: a base configuration with one change, written by us and judged by the real server."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

IDENTITY: Mapping[str, str] = {
    "backend": 'backend: "identity"',
    "max_batch_size": "max_batch_size: 8",
    "input": 'input [{ name: "x" data_type: TYPE_FP32 dims: [ 4 ] }]',
    "output": 'output [{ name: "y" data_type: TYPE_FP32 dims: [ 4 ] }]',
    "instance_group": "instance_group [{ kind: KIND_CPU }]",
}
"""Section of the configuration -> its text."""

ANSWERS_NOTHING = """\
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([]) for _ in requests]
"""
"""A model.py that loads and answers, so that a refusal is the server's own."""

Judge = Literal["core", "onnxruntime", "source", "machine"]
"""Who says whether the case loads: tritonserver's core; ONNX Runtime, with which NVIDIA's backend opens the graph; the
source of a backend that the wheel does not have; or the machine, with its GPUs and what is installed in the server."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One repository of one or more models."""

    name: str
    field: str | None
    """The field that the linter's error names; None where the model loads."""
    base: Mapping[str, str] = dataclasses.field(default_factory=lambda: IDENTITY)
    changes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Section -> its text in place of the base's; empty drops it. `$` stands for `<name>_`: the other models' names."""
    files: Mapping[str, str | bytes] = dataclasses.field(default_factory=lambda: {"1/": ""})
    """Path in the model's folder -> content; a path that ends in `/` is an empty folder."""
    more: Mapping[str, str | bytes] = dataclasses.field(default_factory=dict)
    """Files beside `files`."""
    parts: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    """Further models, by the end of their name -> their changes to the base `IDENTITY`."""
    judge: Judge = "core"
    hangs: bool = False
    """Whether the server hangs or ends instead of refusing, so that the case is asked last."""
    strict: bool = True
    """Whether a server with --disable-auto-complete-config says the same."""

    @property
    def models(self) -> list[str]:
        """Folders of the model and of those that it needs."""
        return [self.name, *(f"{self.name}_{end}" for end in self.parts)]

    def write(self, repository: Path) -> None:
        """Writes the model, and those that it needs."""
        _write(repository / self.name, self._text(self.base, self.changes), {**self.files, **self.more})
        for end, changes in self.parts.items():
            _write(repository / f"{self.name}_{end}", self._text(IDENTITY, changes), {"1/": ""})

    def _text(self, base: Mapping[str, str], changes: Mapping[str, str]) -> str:
        sections = {**base, **changes}
        return "\n".join(text for text in sections.values() if text).replace("$", f"{self.name}_")


def _write(folder: Path, config: str, files: Mapping[str, str | bytes]) -> None:
    folder.mkdir(parents=True)
    if config:
        (folder / "config.pbtxt").write_text(config)
    for name, content in files.items():
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

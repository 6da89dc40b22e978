"""The file model.pt2: an exported program in which the hot ops are still custom ops, and how it is run.

Axes: B requests (or rows) of a run, C elements of a ragged input packed over the run.
"""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

import kernels
from serving.backends.onnxruntime.model_spec import ModelSpec
from serving.backends.recserve import graphs
from serving.backends.recserve.graphs import Feeds

PROGRAM_FILE = "model.pt2"
DOMAIN = "recserve"
"""Namespace of the hot ops among torch's operators."""

_NAMES = "names.json"


class Names(NamedTuple):
    """What the program's arguments and results are called, in their order; a program knows its own names only."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def save_program(program: ExportedProgram, names: Names, path: Path) -> None:
    """Writes the program with the names of its tensors into one file."""
    torch.export.save(program, path, extra_files={_NAMES: json.dumps(names._asdict())})


def load_program(path: Path) -> tuple[ExportedProgram, Names]:
    """The program in a file that `save_program` wrote, on the CPU, with the hot ops registered.

    torch's reader evaluates what such a file says: it deserves the trust of a model.py, and no less care.

    Raises:
        ValueError: the file is none of ours.
    """
    register_hot_ops()
    extra = {_NAMES: ""}
    try:
        program = torch.export.load(path, extra_files=extra)
        names = json.loads(extra[_NAMES])
        return program, Names(tuple(names["inputs"]), tuple(names["outputs"]))
    except (OSError, BadZipFile, RuntimeError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a program that can be run: {error}; export the model again") from error


def register_hot_ops() -> None:
    """Makes all operators of `kernels` known to torch: a program is read only where its operators exist."""
    for folder in kernels.__path__:
        for path in sorted(Path(folder).glob("*/op.py")):
            import_module(f"{kernels.__name__}.{path.parent.name}.op")


def hot_ops(program: ExportedProgram) -> set[str]:
    """Names of the hot ops that the program calls."""
    return {operator.name() for operator in graphs.operators(program) if operator.namespace == DOMAIN}


class Program:
    """A loaded program on one device: feeds by name in, outputs by name out, both in host memory."""

    def __init__(self, path: Path, spec: ModelSpec, device: torch.device) -> None:
        program, self._names = load_program(path)
        _same_names(spec, self._names)
        self._spec = spec
        self._device = device
        if device.type == "cuda":
            program = move_to_device_pass(program, device)
        self._module = program.module()
        capturable = device.type == "cuda" and graphs.capturable(program)
        self._graphs = graphs.Graphs(self._eager, device) if capturable else None

    @torch.inference_mode()
    def __call__(self, feeds: Feeds) -> Feeds:
        """Regular inputs [B, *shape], ragged inputs [C], counts [B] -> outputs [B, *shape] or [C].

        On a GPU one copy per tensor and direction, whatever the number of requests.
        """
        bucket = graphs.bucket_of(self._spec, feeds) if self._graphs is not None else None
        if self._graphs is None or bucket is None:
            return self._named(self._eager(self._on_device(feeds)))
        outputs = self._graphs(self._on_host(graphs.pad(self._spec, feeds, bucket)))
        return graphs.cut(self._spec, feeds, self._named(outputs))

    def _eager(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        outputs = self._module(*tensors)
        return (outputs,) if isinstance(outputs, Tensor) else outputs

    def _on_host(self, feeds: Feeds) -> list[Tensor]:
        return [torch.from_numpy(feeds[name]) for name in self._names.inputs]

    def _on_device(self, feeds: Feeds) -> list[Tensor]:
        return [tensor.to(self._device) for tensor in self._on_host(feeds)]

    def _named(self, outputs: Sequence[Tensor]) -> dict[str, np.ndarray]:
        return {name: tensor.cpu().numpy() for name, tensor in zip(self._names.outputs, outputs, strict=True)}


def _same_names(spec: ModelSpec, names: Names) -> None:
    configured = {tensor.name for tensor in (*spec.inputs, *spec.batch_inputs)}
    outputs = {tensor.name for tensor in spec.outputs}
    if configured != set(names.inputs) or not outputs <= set(names.outputs):
        raise ValueError(
            f"{spec.name}: the configuration has inputs {sorted(configured)} and outputs {sorted(outputs)}, the "
            f"program {sorted(names.inputs)} and {sorted(names.outputs)}; export the model again"
        )

"""The kinds of models that a release consists of, and what publishing does with each: the one place that tells them.

A new kind is a line of `KINDS`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from export.edges import edge_cases, settled
from export.kernel_form import kernel_form, save_kernel_form
from export.onnx import export_onnx
from export.probe import check_edges
from export.rehearsal import rehearse
from export.sizes import Graph
from export.verify import verify_onnx
from serving.backends.recserve.program import PROGRAM_FILE
from serving.steps import PARAMETER, STEPS
from training.servable import EnsembleServable, KernelServable, Servable, Signature, StepServable

MODEL_FILE = "model.onnx"
KERNEL_BACKEND = "recserve"
"""The Python-based backend that runs saved programs."""

STEP_MODEL = '''"""A step that is no graph; config.pbtxt says which, the code lives in serving.steps."""

from serving.steps.model import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''

Report = Callable[[str], None]


class Kind(NamedTuple):
    """What publishing does with one kind of model; `Any` stands for a signature of that kind."""

    write: Callable[[Any, Path], None]
    """Writes the files of a version into an empty folder. Raises ValueError where one cannot be."""
    backend: str = ""
    """The backend of `config.pbtxt`; none for an ensemble."""
    filename: str = ""
    """`default_model_filename`, where it is not the backend's own."""
    settle: Callable[[Any, Report], Signature] = lambda signature, report: signature
    """The signature with the bounds of what it can answer; the report hears of each."""
    parameters: Callable[[Any], Mapping[str, str]] = lambda signature: {}
    """Of `config.pbtxt`, beside those that every model has."""
    facts: Callable[[Any], Mapping[str, str]] = lambda signature: {}
    """What the manifest says of it, beside what it says of every model."""
    kernel_form: Callable[[Any], KernelServable | None] = lambda signature: None
    """Its kernel form, where its program calls a hot op."""


def kind_of(signature: Signature) -> Kind:
    """Raises ValueError for a signature of no kind."""
    for one in type(signature).__mro__:
        if one in KINDS:
            return KINDS[one]
    raise ValueError(f"model '{signature.name}': a bare {type(signature).__name__} cannot be served; use a Servable")


def kernel_forms(signatures: Sequence[Signature]) -> tuple[KernelServable, ...]:
    """`<name>_kernel` for each servable whose program calls a hot op.

    Raises ValueError where a servable's module is in training mode or cannot be exported.
    """
    forms = [kind_of(signature).kernel_form(signature) for signature in signatures]
    return tuple(form for form in forms if form is not None)


def _rehearsed(graph: Graph, report: Report) -> Graph:
    rehearse(graph)
    return settled(graph, report)


def _write_onnx(servable: Servable, folder: Path) -> None:
    export_onnx(servable, folder / MODEL_FILE)
    verify_onnx(servable, folder / MODEL_FILE)
    check_edges(servable, folder / MODEL_FILE, edge_cases(servable))


def _write_program(servable: KernelServable, folder: Path) -> None:
    save_kernel_form(servable, folder / PROGRAM_FILE)


def _write_step(step: StepServable, folder: Path) -> None:
    if step.kind not in STEPS:
        raise ValueError(f"model '{step.name}': nothing opens a step of kind '{step.kind}'; those are {sorted(STEPS)}")
    (folder / "model.py").write_text(STEP_MODEL)
    step.write(folder, step.asks)


KINDS: dict[type[Signature], Kind] = {
    Servable: Kind(write=_write_onnx, backend="onnxruntime", settle=_rehearsed, kernel_form=kernel_form),
    KernelServable: Kind(
        write=_write_program,
        backend=KERNEL_BACKEND,
        filename=PROGRAM_FILE,
        settle=_rehearsed,
        facts=lambda form: {"form_of": form.form_of},
    ),
    StepServable: Kind(write=_write_step, backend="python", parameters=lambda step: {PARAMETER: step.kind}),
    EnsembleServable: Kind(write=lambda ensemble, folder: None),
}

"""The kernel form of a servable: its module as a saved program that calls the hot ops themselves.

The portable form of the same module is ONNX, where a runtime without our operators runs the ops' function bodies.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.utils._python_dispatch import TorchDispatchMode

from export import client_ids
from export.onnx import check_servable, distinct_example
from export.traceable import Traceable, dynamic_shapes
from export.verify import verify
from serving.backends.recserve.program import DOMAIN, Names, hot_ops, load_program, save_program
from training.servable import KernelServable, Packed, Servable

SUFFIX = "_kernel"


def kernel_form(servable: Servable) -> KernelServable | None:
    """`<name>_kernel` where the module calls a hot op.

    Raises ValueError where the module is in training mode, and where one that calls a hot op cannot be exported.
    """
    check_servable(servable)
    # Not seen from its program: modules without a hot op need none, and not all of them have one.
    return _kernel_form(servable, _traced(servable)) if _calls_hot_op(servable) else None


def save_kernel_form(servable: KernelServable, path: Path) -> float:
    """Writes the program to `path`, reads it again, and returns the worst gap of its answers to the eager ones.

    Raises ValueError where the program calls no hot op, or where it answers otherwise: on the requests and with the
    tolerance of the ONNX form.
    """
    check_servable(servable)
    if not hot_ops(servable.program):
        raise ValueError(f"model '{servable.name}' calls no hot op; serve its ONNX form '{servable.form_of}' alone")
    names = Names(tuple(spec.name for spec in servable.inputs), tuple(spec.name for spec in servable.outputs))
    save_program(servable.program, names, path)
    module = load_program(path)[0].module()

    def run(tensors: Packed) -> dict[str, np.ndarray]:
        with torch.no_grad():
            outputs = module(*tensors)
        named = {name: tensor.numpy() for name, tensor in zip(names.outputs, outputs, strict=True)}
        return client_ids.answered(servable.outputs, named)

    return verify(servable, run, "the saved program")


def _kernel_form(servable: Servable, program: ExportedProgram) -> KernelServable:
    return KernelServable(
        name=f"{servable.name}{SUFFIX}",
        inputs=servable.inputs,
        outputs=servable.outputs,
        example=servable.example,
        eager=servable.eager,
        max_batch_size=servable.max_batch_size,
        reference=servable.reference,
        eager64=servable.eager64,
        origin=servable.origin,
        module=servable.module,
        program=program,
        form_of=servable.name,
    )


class _Called(TorchDispatchMode):
    """Notes whether a hot op is called."""

    is_any = False

    def __torch_dispatch__(
        self, func: torch._ops.OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        self.is_any |= func.namespace == DOMAIN
        return func(*args, **(kwargs or {}))


def _calls_hot_op(servable: Servable) -> bool:
    module, tensors = Traceable(servable), distinct_example(servable)
    with torch.no_grad(), _Called() as called:
        module(*tensors)
    return called.is_any


def _traced(servable: Servable) -> ExportedProgram:
    tensors = distinct_example(servable)
    try:
        with torch.no_grad():
            program = torch.export.export(Traceable(servable), tensors, dynamic_shapes=dynamic_shapes(servable))
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"model '{servable.name}': its forward cannot be exported: {reason}") from error
    # They may be real users' requests, and they are the one part of the file that would be pickled.
    program.example_inputs = None
    return program

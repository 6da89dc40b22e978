"""The kernel form of a servable: its module as a saved program that calls the hot ops themselves.

The portable form of the same module is ONNX, where a runtime without our operators runs the ops' function bodies.
"""

from pathlib import Path

import numpy as np
import torch
from torch.export import ExportedProgram

from export import client_ids
from export.onnx import check_servable, distinct_example
from export.traceable import Traceable, dynamic_shapes
from export.verify import verify
from serving.backends.recserve.program import Names, hot_ops, load_program, save_program
from training.servable import KernelServable, Packed, Servable

SUFFIX = "_kernel"


def kernel_form(servable: Servable) -> KernelServable | None:
    """`<name>_kernel` where the program calls a hot op.

    Raises ValueError where the module is in training mode or cannot be exported.
    """
    program = _traced(servable)
    return _kernel_form(servable, program) if hot_ops(program) else None


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


def _traced(servable: Servable) -> ExportedProgram:
    check_servable(servable)
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

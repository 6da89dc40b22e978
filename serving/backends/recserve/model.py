"""The Python-based `recserve` backend: a saved program whose hot ops run on our kernels, on a CPU on their CPU forms.

Requests are checked, packed and answered as by the `onnxruntime` stand-in. They are packed in host memory, where
their ids are checked and where tritonserver hands them over (FORCE_CPU_ONLY_INPUT_TENSORS at its default), and numpy
and torch share that memory; a GPU gets one copy per packed tensor. Nothing of `training` is imported.
"""

from pathlib import Path

import numpy as np
import torch

from serving.backends import packing
from serving.backends.onnxruntime.model_spec import CPU_KINDS
from serving.backends.packed_model import PackedModel
from serving.backends.packing import Request
from serving.backends.recserve.program import Program
from serving.ids import IdMaps


class TritonPythonModel(PackedModel):
    """One instance of one program, in its own process."""

    kinds = (*CPU_KINDS, "KIND_GPU")

    def load(self, path: Path, args: dict[str, str]) -> None:
        """Reads the program; on an instance of kind GPU it moves to the GPU of that instance."""
        torch.set_num_threads(self.spec.intra_op_threads)
        torch.set_num_interop_threads(self.spec.inter_op_threads)
        on_gpu = args["model_instance_kind"] == "GPU"
        device = torch.device("cuda", int(args["model_instance_device_id"])) if on_gpu else torch.device("cpu")
        self._program = Program(path, self.spec, device)
        self._ids = IdMaps.load(path.parent, self.spec.mapped_ids)

    def run(self, batch: list[Request]) -> list[dict[str, np.ndarray]]:
        """The answers of one run of the program."""
        return packing.answer(self.spec, batch, lambda feeds: self._ids.raw(self._program(self._ids.dense(feeds))))

"""The Python-based `onnxruntime` backend: stands in for NVIDIA's C++ backend on a machine without its container.

A configuration that says `backend: "onnxruntime"` runs unchanged on either. What this one cannot do is refused when
the model is loaded.
"""

from pathlib import Path

import numpy as np

from serving.backends.onnxruntime import batching
from serving.backends.packed_model import PackedModel
from serving.backends.packing import Request


class TritonPythonModel(PackedModel):
    """One session of ONNX Runtime on the CPU."""

    def load(self, path: Path, args: dict[str, str]) -> None:
        """Opens the ONNX file of the version."""
        self._session = batching.load_session(path, self.spec)

    def run(self, batch: list[Request]) -> list[dict[str, np.ndarray]]:
        """The answers of one run of the session."""
        return batching.run(self._session, self.spec, batch)

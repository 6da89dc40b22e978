"""The Python-based `fused` backend: an ensemble of `config.pbtxt` as one model, on the target `cpu`.

Version n runs version n of each step, so no roll-out can mix two releases.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.backends.fused.chain import Chain, open_chain
from serving.steps import model
from serving.steps.model import TritonHost


class TritonPythonModel(model.TritonPythonModel):
    """An ensemble's steps in one process."""

    def open(self, host: TritonHost, folder: Path, config: Mapping[str, Any]) -> Chain:
        return open_chain(host, folder.parent, folder.name)

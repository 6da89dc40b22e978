"""The Python-based `fused` backend: an ensemble of `config.pbtxt` as one model, on the target `cpu`.

Version n runs version n of each step, so no roll-out can mix two releases.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serving.backends.fused.chain import Chain, open_chain
from serving.backends.fused.watch import Counts, StepWatch
from serving.spans import Context
from serving.steps import model
from serving.steps.model import TritonHost
from serving.watch import families

_FAMILIES = families.STEP_RUNS, families.STEP_REQUESTS, families.STEP_REFUSALS, families.STEP_SECONDS
"""As `Counts` has them."""


class TritonPythonModel(model.TritonPythonModel):
    """An ensemble's steps in one process."""

    def open(self, host: TritonHost, folder: Path, config: Mapping[str, Any]) -> Chain:
        name = folder.parent.name
        self._watch = StepWatch(lambda step: _counts(host, name, step), self.tracer and self.tracer.sender)
        return open_chain(host, folder.parent, folder.name, watch=self._watch)

    def answered(self, requests: list[Any], contexts: Sequence[Context | None]) -> list[Any]:
        """Tells of the steps, too."""
        self._watch.batch(contexts)
        return super().answered(requests, contexts)


def _counts(host: TritonHost, name: str, step: str) -> Counts:
    return Counts(*(host.prometheus.counter(family, name, step) for family in _FAMILIES))

"""The Python-based `fused` backend: an ensemble of `config.pbtxt` as one model, on the target `cpu`.

Version n runs version n of each step, so no roll-out can mix two releases.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.backends.fused.chain import Chain, open_chain
from serving.backends.fused.watch import Counts, StepWatch
from serving.spans import OUTCOMES, Context, SpanSender
from serving.steps import model
from serving.steps.model import TritonHost
from serving.traces import URL
from serving.watch import families

_FAMILIES = families.STEP_RUNS, families.STEP_REQUESTS, families.STEP_REFUSALS, families.STEP_SECONDS
"""As `Counts` has them."""


class TritonPythonModel(model.TritonPythonModel):
    """An ensemble's steps in one process."""

    def open(self, host: TritonHost, folder: Path, config: Mapping[str, Any]) -> Chain:
        name, url = folder.parent.name, os.environ.get(URL)
        count = host.counter(families.STEP_SPANS, name, OUTCOMES)
        self._sender = SpanSender(url, count) if url else None
        self._watch = StepWatch(lambda step: _counts(host, name, step), self._sender)
        return open_chain(host, folder.parent, folder.name, watch=self._watch)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers a dynamic batch, and tells of its steps."""
        if self._sender is not None:
            self._watch.batch([_context(request) for request in requests])
        return super().execute(requests)

    def finalize(self) -> None:
        """Closes the steps, and tells what is left to tell."""
        if self._sender is not None:
            self._sender.close()
        super().finalize()


def _counts(host: TritonHost, name: str, step: str) -> Counts:
    return Counts(*(host.prometheus.counter(family, name, step) for family in _FAMILIES))


def _context(request: Any) -> Context | None:
    """Of tritonserver's own span around the model; None for a request that is not traced."""
    said = request.trace().get_context()
    return Context.of(json.loads(said).get("traceparent", "")) if said else None

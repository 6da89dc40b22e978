"""What a model's process observes of its requests: refusals, scores, its release, and the log of requests.

It never changes an answer, and never fails a request.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from serving import manifest
from serving.watch import families
from serving.watch.prometheus import Prometheus
from serving.watch.reference import Reference
from serving.watch.request_log import RequestLog
from serving.watch.scores import Scores

QUEUE_FULL = "queue_full"
REASONS: Mapping[str, str] = {"INVALID_ARG": "invalid", "UNAVAILABLE": "unavailable", "INTERNAL": "internal"}
"""Status of an error -> label."""

Tensors = Mapping[str, np.ndarray]


class Observer:
    """Of one version of a model, in one of its processes."""

    def __init__(self, prometheus: Prometheus, folder: Path, warn: Callable[[str], None]) -> None:
        """Of a version folder; of a model that nobody exported here, refusals alone are counted. `warn` is told once
        where the log of requests cannot be written. Raises ValueError for a damaged folder."""
        model, version = folder.parent.name, folder.name
        self._refused = {
            reason: prometheus.counter(families.REFUSALS, model, reason) for reason in (*REASONS.values(), QUEUE_FULL)
        }
        said = _manifest(folder)
        prometheus.gauge(families.RELEASE_INFO, *_release(model, version, said))(1)
        reference = Reference.read(folder)
        self._output = reference.output if reference else ""
        self._scores = Scores(prometheus, model, version, reference) if reference else None
        # What clients ask is logged, not what its parts ask each other.
        is_asked = said.get("whole") == model
        self._log = RequestLog.of_environment(prometheus, model, version, warn) if is_asked else None

    def refused(self, status: str, number: int = 1) -> None:
        """Requests that got an error, by its status, or `QUEUE_FULL`."""
        self._refused[REASONS.get(status, status)](number)

    def answered(self, inputs: Tensors, outputs: Tensors) -> None:
        """A request and its answer; nobody may write to the outputs later."""
        if self._scores is not None and self._output in outputs:
            self._scores.add(outputs[self._output])
        if self._log is not None:
            self._log.add(inputs, outputs)

    def close(self) -> None:
        """Tells and writes the rest."""
        for one in (self._scores, self._log):
            if one is not None:
                one.close()


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        return manifest.read(folder)
    except ValueError:
        return {}


def _release(model: str, version: str, said: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels of what the manifest says a release was made of; "" where it does not say."""
    identity, source = said.get("identity") or {}, said.get("source") or {}
    runs = [Path(one["run"]).name for one in said.get("measured") or []]
    named = source.get("name", "")
    run = "+".join(runs) or (Path(named).name if source.get("kind") == "run" else named)
    return model, version, identity.get("system") or "", identity.get("dataset") or "", run

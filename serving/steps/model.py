"""The shell of our steps under tritonserver's Python backend; the only text that a version folder's `model.py` imports.

Imported inside the backend's process alone, where `triton_python_backend_utils` exists.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

from serving.backends import restarts
from serving.backends.backlog import Backlog
from serving.histories.guard import GuardedHistories
from serving.histories.histories import Histories
from serving.state.states import States
from serving.steps import open_step
from serving.steps.step import Answer, NotAnsweredError, Refusal, Step, Tensors
from serving.tally import Tally


class TritonHost:
    """What a process of the Python backend offers a step."""

    def __init__(self) -> None:
        # The server drops a family, with its series, when the last reference to it goes.
        self._families: list[Any] = []
        self._series: dict[str, Any] = {}
        self._tally: Tally | None = None
        self._histories: Histories | None = None

    def ask(self, model: str, version: int, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """Asks inside the server. Raises NotAnsweredError."""
        request = pb_utils.InferenceRequest(
            model_name=model,
            model_version=version,
            requested_output_names=[*outputs],
            inputs=[pb_utils.Tensor(name, array) for name, array in inputs.items()],
        )
        try:
            response = request.exec()
        except pb_utils.TritonModelException as error:
            raise NotAnsweredError(f"{model} version {version} could not be asked: {error}", is_busy=True) from error
        if response.has_error():
            error = response.error()
            is_busy = error.code() == pb_utils.TritonError.UNAVAILABLE
            raise NotAnsweredError(f"{model} version {version} failed: {error.message()}", is_busy=is_busy)
        tensors = [pb_utils.get_output_tensor_by_name(response, name) for name in outputs]
        return {tensor.name(): tensor.as_numpy() for tensor in tensors if tensor is not None}

    def counter(self, name: str, description: str, model: str, outcomes: Sequence[str]) -> Callable[[str, int], None]:
        """A Prometheus counter family with a series per outcome."""
        labels = [{"model": model, "outcome": outcome} for outcome in outcomes]
        counts = dict(zip(outcomes, self._counts(name, description, labels), strict=True))
        return lambda outcome, number: counts[outcome](number)

    def total(self, name: str, description: str, model: str) -> Callable[[float], None]:
        """A Prometheus counter."""
        (count,) = self._counts(name, description, [{"model": model}])
        return count

    def _counts(
        self, name: str, description: str, labels: Sequence[dict[str, str]]
    ) -> Iterator[Callable[[float], None]]:
        family = pb_utils.MetricFamily(name=name, description=description, kind=pb_utils.MetricFamily.COUNTER)
        self._families.append(family)
        tally = self._tally = self._tally or Tally(lambda what, number: self._series[what].increment(number))
        for one in labels:
            what = f"{name} {one}"
            self._series[what] = family.Metric(labels=one)
            yield partial(tally.add, what)

    def close(self) -> None:
        """Tells the server what was counted last."""
        if self._tally is not None:
            self._tally.close()

    def states(self, model: str) -> States:
        """The store that RECSERVE_STATE names; its troubles go to the server's log."""
        from serving.state.guard import GuardedStore

        warn = pb_utils.Logger.log_warn
        return GuardedStore(os.environ.get("RECSERVE_STATE"), lambda text: warn(f"{model}: {text}"))

    def histories(self) -> Histories | None:
        """The store that RECSERVE_HISTORIES names."""
        url = os.environ.get("RECSERVE_HISTORIES")
        if url and self._histories is None:
            self._histories = Histories(GuardedHistories(url))
        return self._histories


class TritonPythonModel:
    """Drives a step; one per model instance, each in its own process."""

    def initialize(self, args: dict[str, str]) -> None:
        """Opens the version folder. A ValueError stops the loading."""
        # Elsewhere than under our own server nobody may have said so before a step imports torch.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        config = json.loads(args["model_config"])
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._backlog = Backlog.of(config, args["model_version"])
        self._restarts = restarts.gauge(pb_utils)
        self._host = TritonHost()
        self._step = self.open(self._host, Path(args["model_repository"]) / args["model_version"], config)

    def open(self, host: TritonHost, folder: Path, config: Mapping[str, Any]) -> Step:
        """The step of a version folder; `config` is its model's configuration in the JSON form."""
        return open_step(host, folder)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers a dynamic batch, or refuses it where too much waits."""
        asked = [
            {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
            for request in requests
        ]
        if self._backlog is None:
            return self._responses(asked)
        rows = [next(iter(tensors.values())).shape[0] for tensors in asked]
        return self._backlog.guard(
            rows, lambda: self._responses(asked), lambda reason: _response(Refusal(reason, "UNAVAILABLE"))
        )

    def finalize(self) -> None:
        """Closes the step."""
        self._step.close()
        self._host.close()

    def _responses(self, asked: Sequence[Tensors]) -> list[Any]:
        return [_response(answer) for answer in self._step.answer(asked)]


def _response(answer: Answer) -> Any:
    if isinstance(answer, Refusal):
        error = pb_utils.TritonError(answer.reason, getattr(pb_utils.TritonError, answer.status))
        return pb_utils.InferenceResponse(output_tensors=[], error=error)
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in answer.items()])

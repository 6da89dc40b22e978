"""The shell of our steps under tritonserver's Python backend; the only text that a version folder's `model.py` imports.

Imported inside the backend's process alone, where `triton_python_backend_utils` exists.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

from serving.backends import restarts
from serving.backends.backlog import Backlog
from serving.histories.guard import GuardedHistories
from serving.histories.histories import Histories
from serving.spans import Context
from serving.state.states import States
from serving.steps import open_step
from serving.steps.step import Answer, NotAnsweredError, Refusal, Step, Tensors
from serving.tracer import Tracer, errors_of
from serving.watch.families import Family
from serving.watch.observer import QUEUE_FULL, Observer
from serving.watch.prometheus import Prometheus


class TritonHost:
    """What a process of the Python backend offers a step."""

    def __init__(self) -> None:
        self.prometheus = Prometheus(pb_utils)
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

    def counter(self, family: Family, model: str, outcomes: Sequence[str]) -> Callable[[str, int], None]:
        """Series of a family with the labels model and outcome."""
        counts = {outcome: self.prometheus.counter(family, model, outcome) for outcome in outcomes}
        return lambda outcome, number: counts[outcome](number)

    def total(self, family: Family, model: str) -> Callable[[float], None]:
        """The series of a family with the label model."""
        return self.prometheus.counter(family, model)

    def close(self) -> None:
        """Tells the server what was counted last."""
        self.prometheus.close()

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
        self._host = TritonHost()
        restarts.tell(self._host.prometheus)
        folder = Path(args["model_repository"]) / args["model_version"]
        name, warn = folder.parent.name, pb_utils.Logger.log_warn
        self.tracer = Tracer.of_environment(name, self._host.prometheus)
        self._step = self.open(self._host, folder, config)
        self._observer = Observer(self._host.prometheus, folder, lambda text: warn(f"{name}: {text}"))

    def open(self, host: TritonHost, folder: Path, config: Mapping[str, Any]) -> Step:
        """The step of a version folder; `config` is its model's configuration in the JSON form."""
        return open_step(host, folder)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers a dynamic batch, or refuses it where too much waits."""
        if self.tracer is None:
            return self.answered(requests, [None] * len(requests))
        batch = self.tracer.begin([request.parameters() for request in requests])
        responses = self.answered(requests, batch.contexts)
        self.tracer.end(batch, errors_of(responses))
        return responses

    def answered(self, requests: list[Any], contexts: Sequence[Context | None]) -> list[Any]:
        """The responses; `contexts` are those of the requests that are traced."""
        asked = [
            {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
            for request in requests
        ]
        if self._backlog is None:
            return self._responses(asked)
        rows = [next(iter(tensors.values())).shape[0] for tensors in asked]
        return self._backlog.guard(
            rows,
            lambda: self._responses(asked),
            lambda reason: self._refused(Refusal(reason, "UNAVAILABLE"), QUEUE_FULL),
        )

    def finalize(self) -> None:
        """Closes the step."""
        self._step.close()
        if self.tracer is not None:
            self.tracer.close()
        self._observer.close()
        self._host.close()

    def _responses(self, asked: Sequence[Tensors]) -> list[Any]:
        return [
            self._response(request, answer) for request, answer in zip(asked, self._step.answer(asked), strict=True)
        ]

    def _response(self, request: Tensors, answer: Answer) -> Any:
        if isinstance(answer, Refusal):
            return self._refused(answer, answer.status)
        self._observer.answered(request, answer)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in answer.items()])

    def _refused(self, refusal: Refusal, counted: str) -> Any:
        self._observer.refused(counted)
        error = pb_utils.TritonError(refusal.reason, getattr(pb_utils.TritonError, refusal.status))
        return pb_utils.InferenceResponse(output_tensors=[], error=error)

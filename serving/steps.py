"""The models that we write in Python for tritonserver: what such a step is, and the shell that the server drives."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from serving.backends import restarts
from serving.backends.backlog import Backlog

Tensors = dict[str, np.ndarray]
"""Of one request, by name, each [1, ...]."""


class Refusal(NamedTuple):
    """Why a request gets no answer."""

    reason: str
    status: Literal["INVALID_ARG", "UNAVAILABLE", "INTERNAL"]
    """The request is wrong; the same request may succeed later; the models do not fit together."""


Answer = Tensors | Refusal


class Step(Protocol):
    """The computation, free of tritonserver's requests and responses."""

    def answer(self, requests: Sequence[Tensors]) -> Sequence[Answer]:
        """One answer per request of a dynamic batch, in order; a request that is wrong is refused alone."""
        ...

    def close(self) -> None:
        """Gives back what it holds."""
        ...


class StepModel:
    """Drives a step under the Python backend; one per model instance, each in its own process."""

    def initialize(self, args: dict[str, str]) -> None:
        """Opens the version folder. A ValueError stops the loading."""
        # Exists only inside the backend's process; a module-level import would keep the steps from tests.
        import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

        config = json.loads(args["model_config"])
        self._backend: Any = pb_utils
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._backlog = Backlog.of(config, args["model_version"])
        self._restarts = restarts.gauge(pb_utils)
        self._step = self.open(pb_utils, Path(args["model_repository"]) / args["model_version"], config)

    def open(self, backend: Any, folder: Path, config: Mapping[str, Any]) -> Step:
        """The step of a version folder; `backend` is `triton_python_backend_utils`, `config` in its JSON form."""
        raise NotImplementedError

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers a dynamic batch, or refuses it where too much waits."""
        asked = [
            {name: self._backend.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
            for request in requests
        ]
        if self._backlog is None:
            return self._responses(asked)
        rows = [next(iter(tensors.values())).shape[0] for tensors in asked]
        return self._backlog.guard(
            rows, lambda: self._responses(asked), lambda reason: self._response(Refusal(reason, "UNAVAILABLE"))
        )

    def finalize(self) -> None:
        """Closes the step."""
        self._step.close()

    def _responses(self, asked: Sequence[Tensors]) -> list[Any]:
        return [self._response(answer) for answer in self._step.answer(asked)]

    def _response(self, answer: Answer) -> Any:
        backend = self._backend
        if isinstance(answer, Refusal):
            error = backend.TritonError(answer.reason, getattr(backend.TritonError, answer.status))
            return backend.InferenceResponse(output_tensors=[], error=error)
        return backend.InferenceResponse([backend.Tensor(name, array) for name, array in answer.items()])

"""What our Python-based backends share: a dynamic batch of requests becomes one run, each request gets its answer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

from serving.backends import packing, restarts
from serving.backends.backlog import Backlog
from serving.backends.onnxruntime.model_spec import CPU_KINDS, ModelSpec
from serving.backends.packing import Request


class PackedModel:
    """One instance of one model, in its own process; a backend says how it is loaded and run."""

    kinds = CPU_KINDS
    """Kinds of instances that the backend runs."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the model file of the version; raises where the configuration asks for what is not supported."""
        if args["model_instance_kind"] != "GPU" and int(np.__version__.split(".")[0]) >= 2:
            # The stub of the wheel, which has no GPU, was built against numpy 1 and hands out garbage with numpy 2,
            # without an error.
            raise RuntimeError(f"numpy {np.__version__} does not work with this server; pip install 'numpy<2'")
        config = json.loads(args["model_config"])
        self.spec = ModelSpec.parse(config, self.kinds)
        self._backlog = Backlog.of(config, args["model_version"])
        self._restarts = restarts.gauge(pb_utils)
        self.load(Path(args["model_repository"]) / args["model_version"] / self.spec.filename, args)

    def load(self, path: Path, args: dict[str, str]) -> None:
        """Makes the model at `path` ready to run; `args` as for `initialize`."""
        raise NotImplementedError

    def run(self, batch: list[Request]) -> list[dict[str, np.ndarray]]:
        """The answers to requests that passed the check, of one run."""
        raise NotImplementedError

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers a dynamic batch, or refuses it where the model is too far behind."""
        if self._backlog is None:
            return self._responses(requests)
        return self._backlog.guard(
            [self._rows(request) for request in requests],
            lambda: self._responses(requests),
            lambda reason: _refusal(reason, pb_utils.TritonError.UNAVAILABLE),
        )

    def _rows(self, request: Any) -> int:
        """What the request fills of a batch."""
        return 1 if self.spec.ragged else request.inputs()[0].as_numpy().shape[0]

    def _responses(self, requests: list[Any]) -> list[Any]:
        """Of one run; a request that cannot be answered gets its own error."""
        responses: list[Any] = [None] * len(requests)
        accepted: list[tuple[int, Request]] = []
        for place, request in enumerate(requests):
            arrays = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            try:
                packing.check(self.spec, arrays)
            except ValueError as error:
                responses[place] = _refusal(str(error), pb_utils.TritonError.INVALID_ARG)
            else:
                accepted.append((place, arrays))
        answers = packing.isolated(self.run, [arrays for _, arrays in accepted])
        for (place, _), answer in zip(accepted, answers, strict=True):
            responses[place] = _response(requests[place], answer)
        return responses


def _response(request: Any, answer: dict[str, np.ndarray] | Exception) -> Any:
    if isinstance(answer, Exception):
        return _refusal(f"the model failed on this request: {answer}", pb_utils.TritonError.INTERNAL)
    wanted = request.requested_output_names()
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, answer[name]) for name in answer if name in wanted])


def _refusal(text: str, code: Any) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(text, code))

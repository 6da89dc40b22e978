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
from serving.tracer import Tracer, errors_of
from serving.watch.observer import QUEUE_FULL, Observer
from serving.watch.prometheus import Prometheus


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
        self._prometheus = Prometheus(pb_utils)
        restarts.tell(self._prometheus)
        folder = Path(args["model_repository"]) / args["model_version"]
        self.load(folder / self.spec.filename, args)
        self._tracer = Tracer.of_environment(self.spec.name, self._prometheus)
        warn = pb_utils.Logger.log_warn
        self._observer = Observer(self._prometheus, folder, lambda text: warn(f"{self.spec.name}: {text}"))

    def load(self, path: Path, args: dict[str, str]) -> None:
        """Makes the model at `path` ready to run; `args` as for `initialize`."""
        raise NotImplementedError

    def run(self, batch: list[Request]) -> list[dict[str, np.ndarray]]:
        """The answers to requests that passed the check, of one run."""
        raise NotImplementedError

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers a dynamic batch, or refuses it where the model is too far behind."""
        if self._tracer is None:
            return self._answered(requests)
        batch = self._tracer.begin([request.parameters() for request in requests])
        responses = self._answered(requests)
        self._tracer.end(batch, errors_of(responses))
        return responses

    def _answered(self, requests: list[Any]) -> list[Any]:
        if self._backlog is None:
            return self._responses(requests)
        return self._backlog.guard(
            [self._rows(request) for request in requests],
            lambda: self._responses(requests),
            lambda reason: self._refusal(reason, "UNAVAILABLE", QUEUE_FULL),
        )

    def finalize(self) -> None:
        """Tells and writes what is still on its way."""
        if self._tracer is not None:
            self._tracer.close()
        self._observer.close()
        self._prometheus.close()

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
                responses[place] = self._refusal(str(error), "INVALID_ARG")
            else:
                accepted.append((place, arrays))
        answers = packing.isolated(self.run, [arrays for _, arrays in accepted])
        for (place, arrays), answer in zip(accepted, answers, strict=True):
            responses[place] = self._response(requests[place], arrays, answer)
        return responses

    def _response(self, request: Any, arrays: Request, answer: dict[str, np.ndarray] | Exception) -> Any:
        if isinstance(answer, Exception):
            return self._refusal(f"the model failed on this request: {answer}", "INTERNAL")
        self._observer.answered(arrays, answer)
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, answer[name]) for name in answer if name in wanted])

    def _refusal(self, text: str, status: str, counted: str = "") -> Any:
        self._observer.refused(counted or status)
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(text, getattr(pb_utils.TritonError, status)))

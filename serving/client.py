"""A typed client of tritonserver over gRPC: one channel, a deadline on every call, errors that say what to do.

The deadline is the caller's: it is not sent to the server, and a call that passes it is not cancelled, since either
kills the server of the wheel (see `serving.calls`). Nothing of gRPC starts at import, so a gevent program can call
`grpc.experimental.gevent.init_gevent()` before it makes its first `Client`. Such a program must close its clients: an
open channel keeps it from ending.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import grpc
import numpy as np
from google.protobuf import json_format
from numpy.typing import ArrayLike
from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from serving import tensors
from serving.calls import MAX_MESSAGE_BYTES, MAX_OVERDUE, Calls, Closed, Overdue, TooManyOverdue, messages
from serving.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModelUnavailable,
    QueueFull,
    ServerFailure,
    ServerUnavailable,
    ServingError,
    StaleState,
)

ADMIN_HEADER = "triton-grpc-protocol-admin-key"
"""The header that opens the APIs which `serving.server` restricts."""


class InferStats(NamedTuple):
    """What the server counted for one model since it was loaded, over all of its versions."""

    requests: int
    """Inferences: rows of all requests that were computed."""
    executions: int
    """Runs of the model; fewer than requests where the dynamic batcher did its work."""
    success: int
    fail: int
    queue_ns: int
    compute_input_ns: int
    compute_infer_ns: int
    compute_output_ns: int


class TensorInfo(NamedTuple):
    """One input or output as the server describes it."""

    name: str
    datatype: str
    """The protocol's name, for example INT64."""
    shape: tuple[int, ...]
    """With the batch axis; -1 is any length."""


class ModelMetadata(NamedTuple):
    """Name, versions and tensors of a served model."""

    name: str
    versions: tuple[str, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


class Client:
    """A connection to one tritonserver; may be shared by threads.

    Every method raises a `ServingError`: `ServerUnavailable` where nobody answers, `DeadlineExceeded` where the
    answer takes longer than the deadline.
    """

    def __init__(self, url: str, *, deadline_s: float = 5.0, admin_key: str | None = None) -> None:
        """`url` is host:port. `admin_key` (a `TritonServer` has it) opens the model control, trace and log APIs."""
        self.url = url
        self._deadline_s = deadline_s
        self._headers = ((ADMIN_HEADER, admin_key),) if admin_key else ()
        self._calls = Calls(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the channel after the calls under way, for which it waits up to 10 s."""
        self._calls.close()

    def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: str = "",
        deadline_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Sends one request and returns all outputs by name; arrays are read-only, those of text hold `str`.

        Args:
            model: name of the model.
            inputs: arrays or lists [batch, *shape]; a ragged input is [1, n]. Text is `str`, or `bytes` of UTF-8.
            version: version number; empty for the one that the model's version policy chooses.
            deadline_s: seconds until this call gives up; the client's default where None.

        Raises:
            StaleState: a float output holds NaN.
            ServingError: any other, by what went wrong.
        """
        request = tensors.infer_request(model, version, inputs)
        outputs = tensors.outputs(self._call("ModelInfer", request, deadline_s))
        _refuse_nan(model, outputs)
        return outputs

    def server_ready(self) -> bool:
        """Whether the server runs and all of its models are loaded; False where nobody answers."""
        try:
            return bool(self._call("ServerReady", messages.ServerReadyRequest()).ready)
        except (ServerUnavailable, DeadlineExceeded):
            return False

    def model_ready(self, name: str) -> bool:
        """Whether the server is willing to run this model."""
        return bool(self._call("ModelReady", messages.ModelReadyRequest(name=name)).ready)

    def model_names(self) -> list[str]:
        """Sorted names of the models that are loaded. Needs the admin key."""
        index = self._call("RepositoryIndex", messages.RepositoryIndexRequest())
        return sorted({model.name for model in index.models if model.state == "READY"})

    def version_states(self, model: str) -> dict[str, str]:
        """READY, UNAVAILABLE or another state of each version that was ever loaded. Needs the admin key."""
        index = self._call("RepositoryIndex", messages.RepositoryIndexRequest())
        return {one.version: one.state for one in index.models if one.name == model}

    def metadata(self, model: str) -> ModelMetadata:
        """Versions and tensors of a model."""
        reply = self._call("ModelMetadata", messages.ModelMetadataRequest(name=model))
        inputs, outputs = (
            tuple(TensorInfo(tensor.name, tensor.datatype, tuple(tensor.shape)) for tensor in tensors)
            for tensors in (reply.inputs, reply.outputs)
        )
        return ModelMetadata(reply.name, tuple(reply.versions), inputs, outputs)

    def config(self, model: str) -> ModelConfig:
        """The configuration as the server understood it."""
        return self._call("ModelConfig", messages.ModelConfigRequest(name=model)).config

    def statistics(self, model: str) -> InferStats:
        """Counts and times of a model."""
        versions = self._call("ModelStatistics", messages.ModelStatisticsRequest(name=model)).model_stats
        counts = [
            (
                stats.inference_count,
                stats.execution_count,
                stats.inference_stats.success.count,
                stats.inference_stats.fail.count,
                stats.inference_stats.queue.ns,
                stats.inference_stats.compute_input.ns,
                stats.inference_stats.compute_infer.ns,
                stats.inference_stats.compute_output.ns,
            )
            for stats in versions
        ]
        return InferStats(*(sum(column) for column in zip(*counts, strict=True)))

    def load(self, model: str, config: ModelConfig | None = None, *, deadline_s: float | None = None) -> None:
        """Loads or reloads a model from the repository, with `config` instead of the file there.

        Needs the admin key and the control mode `explicit`.
        """
        text = None if config is None else json_format.MessageToJson(config, preserving_proto_field_name=True)
        self._load(model, text, {}, deadline_s)

    def load_files(self, model: str, config: str, files: Mapping[str, bytes]) -> None:
        """Loads a model from `config` (JSON) and `files` (path in the model's folder -> content), not the repository.

        Needs the admin key and the control mode `explicit`.
        """
        self._load(model, config, files, None)

    def unload(self, model: str) -> None:
        """Unloads a model. Needs the admin key and the control mode `explicit`."""
        self._call("RepositoryModelUnload", messages.RepositoryModelUnloadRequest(model_name=model))

    def _load(self, model: str, config: str | None, files: Mapping[str, bytes], deadline_s: float | None) -> None:
        request = messages.RepositoryModelLoadRequest(model_name=model)
        if config is not None:
            request.parameters["config"].string_param = config
        for path, content in files.items():
            request.parameters[f"file:{path}"].bytes_param = content
        self._call("RepositoryModelLoad", request, deadline_s)

    def _call(self, method: str, request: Any, deadline_s: float | None = None) -> Any:
        deadline = self._deadline_s if deadline_s is None else deadline_s
        if not 0 <= deadline < math.inf:
            raise InvalidRequest(f"deadline_s is {deadline}; give seconds, 0 or more")
        try:
            return self._calls.call(method, request, self._headers, deadline)
        except Overdue:
            raise DeadlineExceeded(
                f"{self.url}: no answer within {deadline:g} s; give the call a longer deadline_s or the server less "
                "load"
            ) from None
        except TooManyOverdue:
            raise ServerUnavailable(
                f"{self.url}: {MAX_OVERDUE} calls passed their deadline and are still under way, so no other is sent; "
                "the server hangs, or is too slow for this load"
            ) from None
        except Closed:
            raise ServerUnavailable(f"{self.url}: this client was closed; make a new Client") from None
        except grpc.RpcError as error:
            raise _translate(error, self.url) from error


def _refuse_nan(model: str, outputs: Mapping[str, np.ndarray]) -> None:
    for name, array in outputs.items():
        if np.issubdtype(array.dtype, np.floating) and np.isnan(array).any():
            raise StaleState(
                f"{model}: output '{name}' holds NaN: a float input is not a number, or, where the model reads a "
                "user's state, that is of another model version; check the inputs, or rebuild it (recserve state build)"
            )


def _translate(error: Any, url: str) -> ServingError:
    """The exception that says what to do, by status and, where tritonserver reuses a status, by text."""
    text = str(error.details())
    match error.code().name:
        case "UNAVAILABLE":
            return _unavailable(text, url)
        case "NOT_FOUND":
            return ModelUnavailable(
                f"{url}: {text}; export it into the served repository, or ask for what Client.model_names() lists"
            )
        case "INVALID_ARGUMENT" | "OUT_OF_RANGE" | "UNIMPLEMENTED":
            return InvalidRequest(text)
        case "RESOURCE_EXHAUSTED":
            return InvalidRequest(f"{text}; a message may hold {MAX_MESSAGE_BYTES} bytes, so send fewer rows")
        case "CANCELLED":
            return ServerUnavailable(f"{url}: the call was cancelled: {text}")
        case "INTERNAL" if "is not healthy" in text:
            return ModelUnavailable(
                f"{url}: {text} The process that runs the model died; recserve serve starts it again, so retry"
            )
        case _:
            return ServerFailure(f"{url}: {text}; the server's log says more")


def _unavailable(text: str, url: str) -> ServingError:
    lower = text.lower()
    if "queue" in lower or "timeout expired" in lower:
        return QueueFull(f"{text}; retry with back-off, or serve with more instances or servers")
    if "restricted" in lower:
        remedy = "make the client with the server's admin_key" if ADMIN_HEADER in text else "this API is switched off"
        return InvalidRequest(f"{text}; {remedy}")
    if "explicit model load" in lower:
        return InvalidRequest(f"{text}; start the server with model_control='explicit'")
    if "model" in lower:
        return ModelUnavailable(f"{url}: {text}")
    return ServerUnavailable(f"{url}: {text}; is the server running there? start one with recserve serve")

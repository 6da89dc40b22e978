"""A typed client of tritonserver over gRPC: one channel, a deadline on every call, errors that say what to do.

Nothing of gRPC starts at import, so a gevent program can call `grpc.experimental.gevent.init_gevent()` before it
makes its first `Client`. Such a program must close its clients: an open channel keeps it from ending.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from google.protobuf import json_format
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

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

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
ADMIN_HEADER = "triton-grpc-protocol-admin-key"
"""The header that opens the APIs which `serving.server` restricts."""

_CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Its own connection, so that two clients neither share a socket nor each other's reconnection back-off.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 250),
    ("grpc.enable_http_proxy", 0),
]


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
        """`url` is host:port. `admin_key` (a `TritonServer` has it) opens configuration, statistics, model control."""
        self.url = url
        self._deadline_s = deadline_s
        self._headers = {ADMIN_HEADER: admin_key} if admin_key else None
        self._connection = InferenceServerClient(url, channel_args=_CHANNEL_OPTIONS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the channel; calls in flight fail with `ServerUnavailable`."""
        self._connection.close()

    def infer(
        self,
        model: str,
        inputs: Mapping[str, np.ndarray],
        *,
        version: str = "",
        deadline_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Sends one request and returns all outputs by name; arrays are read-only.

        Args:
            model: name of the model.
            inputs: arrays [batch, *shape]; a ragged input is [1, n].
            version: version number; empty for the one that the model's version policy chooses.
            deadline_s: seconds until this call gives up; the client's default where None.

        Raises:
            StaleState: a float output holds NaN.
            ServingError: any other, by what went wrong.
        """
        response = self._call(
            self._connection.infer,
            model,
            [_tensor(model, name, array) for name, array in inputs.items()],
            version,
            deadline_s=deadline_s,
        )
        outputs = {output.name: response.as_numpy(output.name) for output in response.get_response().outputs}
        _refuse_nan(model, outputs)
        return outputs

    def server_ready(self) -> bool:
        """Whether the server runs and all of its models are loaded; False where nobody answers."""
        try:
            return bool(self._call(self._connection.is_server_ready))
        except (ServerUnavailable, DeadlineExceeded):
            return False

    def model_ready(self, name: str) -> bool:
        """Whether the server is willing to run this model."""
        return bool(self._call(self._connection.is_model_ready, name))

    def model_names(self) -> list[str]:
        """Sorted names of the models that are loaded. Needs the admin key."""
        index = self._call(self._connection.get_model_repository_index)
        return sorted({model.name for model in index.models if model.state == "READY"})

    def metadata(self, model: str) -> ModelMetadata:
        """Versions and tensors of a model."""
        reply = self._call(self._connection.get_model_metadata, model)
        inputs, outputs = (
            tuple(TensorInfo(tensor.name, tensor.datatype, tuple(tensor.shape)) for tensor in tensors)
            for tensors in (reply.inputs, reply.outputs)
        )
        return ModelMetadata(reply.name, tuple(reply.versions), inputs, outputs)

    def config(self, model: str) -> ModelConfig:
        """The configuration as the server understood it. Needs the admin key."""
        return self._call(self._connection.get_model_config, model).config

    def statistics(self, model: str) -> InferStats:
        """Counts and times of a model. Needs the admin key."""
        versions = self._call(self._connection.get_inference_statistics, model).model_stats
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
        self._call(partial(self._connection.load_model, config=text), model, deadline_s=deadline_s)

    def unload(self, model: str) -> None:
        """Unloads a model. Needs the admin key and the control mode `explicit`."""
        self._call(self._connection.unload_model, model)

    def _call(self, method: Callable[..., Any], *arguments: object, deadline_s: float | None = None) -> Any:
        deadline = self._deadline_s if deadline_s is None else deadline_s
        try:
            return method(*arguments, headers=self._headers, client_timeout=deadline)
        except InferenceServerException as error:
            raise _translate(error, self.url, deadline) from error
        except ValueError as error:
            # grpc: "Cannot invoke RPC on closed channel!"
            raise ServerUnavailable(f"{self.url}: {error}; make a new Client") from error


def _tensor(model: str, name: str, array: np.ndarray) -> InferInput:
    datatype = np_to_triton_dtype(array.dtype)
    if datatype is None:
        raise InvalidRequest(
            f"{model}: input '{name}' has dtype {array.dtype}, which tritonserver does not know; cast it"
        )
    return InferInput(name, list(array.shape), datatype).set_data_from_numpy(array)


def _refuse_nan(model: str, outputs: Mapping[str, np.ndarray]) -> None:
    for name, array in outputs.items():
        if np.issubdtype(array.dtype, np.floating) and np.isnan(array).any():
            raise StaleState(
                f"{model}: output '{name}' holds NaN: a state of another model version, or an input that is not a "
                "number, reached the model; rebuild the state (recserve state build) and check the float inputs"
            )


def _translate(error: InferenceServerException, url: str, deadline_s: float) -> ServingError:
    """The exception that says what to do, by status and, where tritonserver reuses a status, by text."""
    text = str(error.message())
    match (error.status() or "").removeprefix("StatusCode."):
        case "UNAVAILABLE":
            return _unavailable(text, url)
        case "DEADLINE_EXCEEDED":
            return DeadlineExceeded(
                f"{url}: no answer within {deadline_s:g} s; give the call a longer deadline_s or the server less load"
            )
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
            return ModelUnavailable(f"{url}: {text} The process that runs the model died: start the server again")
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

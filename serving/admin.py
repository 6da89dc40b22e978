"""A client of one server for those who run it: loads and unloads models, reads counts and whole configurations.

It shows every failure: nothing is sent again.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from google.protobuf import json_format
from tritonclient.grpc import service_pb2
from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from recserve_client import Client, Tls
from recserve_client.connections import NO_HEADERS
from recserve_client.protocol import Method
from recserve_client.statuses import ADMIN_HEADER

messages: Any = service_pb2
"""All of the protocol's messages, which are made at import, where no type checker sees them."""


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


class Admin(Client):
    """A connection to one tritonserver; may be shared by threads."""

    def __init__(
        self,
        url: str,
        *,
        deadline_s: float = 5.0,
        admin_key: str | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
        tls: Tls | None = None,
    ) -> None:
        """`url` is host:port. `admin_key` (a `TritonServer` has it) opens the model control, trace and log APIs."""
        key = {ADMIN_HEADER: admin_key} if admin_key else {}
        super().__init__(url, deadline_s=deadline_s, headers={**headers, **key}, tls=tls, retries=0)
        self.url = url

    def model_names(self) -> list[str]:
        """Sorted names of the models that are loaded. Needs the admin key."""
        index = self.call("RepositoryIndex", messages.RepositoryIndexRequest())
        return sorted({model.name for model in index.models if model.state == "READY"})

    def version_states(self, model: str) -> dict[str, str]:
        """READY, UNAVAILABLE or another state of each version that was ever loaded. Needs the admin key."""
        index = self.call("RepositoryIndex", messages.RepositoryIndexRequest())
        return {one.version: one.state for one in index.models if one.name == model}

    def config(self, model: str) -> ModelConfig:
        """The configuration as the server understood it."""
        return self.call("ModelConfig", messages.ModelConfigRequest(name=model)).config

    def statistics(self, model: str) -> InferStats:
        """Counts and times of a model."""
        versions = self.call("ModelStatistics", messages.ModelStatisticsRequest(name=model)).model_stats
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
        self.call("RepositoryModelUnload", messages.RepositoryModelUnloadRequest(model_name=model))

    def call(self, name: str, request: Any, deadline_s: float | None = None) -> Any:
        """The reply to one call of the protocol, by its name."""
        ask = self._core.ask(deadline_s, retried=False)
        method = Method(name, getattr(messages, f"{name}Response"))
        return self._run(self._core.exchange(method, request, ask), ask)

    def _load(self, model: str, config: str | None, files: Mapping[str, bytes], deadline_s: float | None) -> None:
        request = messages.RepositoryModelLoadRequest(model_name=model)
        if config is not None:
            request.parameters["config"].string_param = config
        for path, content in files.items():
            request.parameters[f"file:{path}"].bytes_param = content
        self.call("RepositoryModelLoad", request, deadline_s)

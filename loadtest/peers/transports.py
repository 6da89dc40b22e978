"""How the load generator talks to each peer; works under gevent. One connection per user, kept alive."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

import numpy as np
from geventhttpclient import HTTPClient
from safetensors.numpy import load, save

from loadtest.peers.h2load import Wire, grpc
from loadtest.transports import OURS, Connect, ours
from recserve_client import Client
from recserve_client.tensors import infer_request

WireOf = Callable[[str, Mapping[str, np.ndarray]], Wire]
"""Model and inputs -> the request."""
TIMEOUT_S = 5.0
"""As our client's deadline."""


class HTTPError(RuntimeError):
    """An answer with another status than 200."""


class Posted(NamedTuple):
    """How a peer takes a safetensors file."""

    path: str
    content_type: str
    body: Callable[[bytes], bytes]
    """The file -> what is sent."""


BENTOML = Posted("/score", "application/json", lambda file: b'{"bodies":["' + b64encode(file) + b'"]}')
LITSERVE = Posted("/predict", "application/octet-stream", lambda file: file)


class HTTP:
    """A safetensors file of the inputs goes out, one of the outputs comes back."""

    def __init__(self, url: str, posted: Posted) -> None:
        host, _, port = url.partition(":")
        self._posted = posted
        self._client = HTTPClient(
            host,
            int(port),
            headers={"Content-Type": posted.content_type},
            connection_timeout=TIMEOUT_S,
            network_timeout=TIMEOUT_S,
        )

    def infer(self, model: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs by name; raises HTTPError, or an OSError where nobody answers. The path names the model."""
        response = self._client.post(self._posted.path, body=self._posted.body(save(dict(inputs))))
        body = bytes(response.read())
        if response.status_code != HTTPStatus.OK:
            raise HTTPError(f"{model}: status {response.status_code}: {body[:200].decode(errors='replace')}")
        return load(body)

    def close(self) -> None:
        """Closes the socket."""
        self._client.close()


class BytesOverV2:
    """The V2 protocol with a safetensors file of the inputs in one BYTES tensor, and one of the outputs back; both in
    base64, as BYTES are text to our client."""

    def __init__(self, url: str) -> None:
        self._client = Client(url, deadline_s=TIMEOUT_S, retries=0)

    def infer(self, model: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs by name; raises a ServingError."""
        (answer,) = self._client.infer(model, {"request": _as_text(inputs)}).values()
        return load(b64decode(answer[0]))

    def close(self) -> None:
        """Closes the channel."""
        self._client.close()


def _as_text(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.array([b64encode(save(dict(inputs))).decode()], np.object_)


def _of_v2(model: str, inputs: Mapping[str, np.ndarray]) -> Wire:
    return grpc("/inference.GRPCInferenceService/ModelInfer", infer_request(model, "", inputs).SerializeToString())


def _in_bytes(model: str, inputs: Mapping[str, np.ndarray]) -> Wire:
    return _of_v2(model, {"request": _as_text(inputs)})


def _of_posted(posted: Posted) -> WireOf:
    return lambda _model, inputs: Wire(
        posted.path, {"content-type": posted.content_type}, posted.body(save(dict(inputs))), http1=True
    )


WIRES: dict[str, WireOf] = {
    OURS: _of_v2,
    "bentoml": _of_posted(BENTOML),
    "grpcio": _of_v2,
    "litserve": _of_posted(LITSERVE),
    "mlserver": _in_bytes,
}
"""What the same calls are on the wire."""

TRANSPORTS: dict[str, Connect] = {
    "bentoml": lambda url: HTTP(url, BENTOML),
    "grpcio": ours,
    "litserve": lambda url: HTTP(url, LITSERVE),
    "mlserver": BytesOverV2,
}

"""LitServe: a LitAPI with batching on, over HTTP with a binary body."""

# The framework is in the peer's own environment only.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import litserve
import numpy as np
from fastapi import Body, Response
from safetensors.numpy import load, save

from loadtest.peers.scorer import MAX_BATCH_SIZE, OUTPUT, arguments, onnx_scorer

BATCH_TIMEOUT_S = 0.001
"""With 0 the worker asks its queue without a pause, and takes the core from the HTTP server beside it."""
OCTETS = "application/octet-stream"


class ScorerAPI(litserve.LitAPI):
    """decode_request, batch, predict, unbatch and encode_response run in this order in the worker process."""

    def __init__(self, model: Path) -> None:
        super().__init__(max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_S)
        self._model = model

    def setup(self, device: str) -> None:
        """Called once in the worker."""
        self._scorer = onnx_scorer(self._model)

    def decode_request(self, request: Annotated[bytes, Body(media_type=OCTETS)]) -> dict[str, np.ndarray]:
        """The body, which FastAPI hands on as it came, is a safetensors file of the inputs."""
        return load(request)

    def batch(self, inputs: Sequence[dict[str, np.ndarray]]) -> Sequence[dict[str, np.ndarray]]:
        """Requests are of unlike length: the scorer packs them."""
        return inputs

    def predict(self, inputs: Sequence[dict[str, np.ndarray]]) -> list[np.ndarray]:
        """scores [1, n] of each request."""
        return self._scorer.score(inputs)

    def unbatch(self, output: list[np.ndarray]) -> list[np.ndarray]:
        """The scorer has split them."""
        return output

    def encode_response(self, output: np.ndarray) -> Response:
        """A safetensors file again."""
        return Response(save({OUTPUT: output}), media_type=OCTETS)


def main() -> None:
    model, port = arguments()
    server = litserve.LitServer(
        ScorerAPI(model),
        accelerator="cpu",
        devices=1,
        workers_per_device=1,
        # What its documentation advises above 100 requests per second: ZeroMQ in place of the manager's queue.
        fast_queue=True,
    )
    server.run(
        host="127.0.0.1",
        port=port,
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )


if __name__ == "__main__":
    main()

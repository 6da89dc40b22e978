"""The KServe V2 protocol on grpcio: every request runs alone, on the thread that took it."""

# The generated modules name nothing.
# pyright: reportAttributeAccessIssue=false

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import triton_to_np_dtype

from loadtest.peers.scorer import OUTPUT, arguments, onnx_scorer

THREADS = 10
"""As in grpc's own examples."""


class Score(Protocol):
    """Answers one request: inputs by name, [1, ...] each -> scores [1, n]."""

    def __call__(self, inputs: dict[str, np.ndarray]) -> np.ndarray: ...


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers ModelInfer; all other calls are unimplemented."""

    def __init__(self, score: Score) -> None:
        self._score = score

    def ModelInfer(  # noqa: N802 - the protocol's name
        self,
        request: Any,
        context: grpc.ServicerContext,
    ) -> Any:
        """One request of one user."""
        inputs = {
            tensor.name: np.frombuffer(raw, triton_to_np_dtype(tensor.datatype)).reshape(tensor.shape)
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        scores = self._score(inputs)
        return service_pb2.ModelInferResponse(
            model_name=request.model_name,
            outputs=[{"name": OUTPUT, "datatype": "FP32", "shape": scores.shape}],
            raw_output_contents=[scores.tobytes()],
        )


def serve(score: Score, threads: int, port: int) -> None:
    """Serves until it is stopped."""
    server = grpc.server(ThreadPoolExecutor(threads))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(score), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def main() -> None:
    model, port = arguments()
    scorer = onnx_scorer(model)
    serve(lambda inputs: scorer.score([inputs])[0], THREADS, port)


if __name__ == "__main__":
    main()

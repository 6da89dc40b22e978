"""MLServer: a custom runtime with adaptive batching, over the KServe V2 protocol on gRPC."""

# The framework is in the peer's own environment only.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import json
import os
import sys
from base64 import b64decode, b64encode
from pathlib import Path

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput
from safetensors.numpy import load, save

from loadtest.peers.scorer import MAX_BATCH_SIZE, arguments, onnx_scorer

MAX_BATCH_TIME_S = 0.001
"""To be found by experiment, says the documentation; 0.2 ms and 10 ms gave less throughput here."""


class ScorerRuntime(MLModel):
    """One tensor of BYTES [1] per request, a safetensors file of the inputs in base64: batches may be ragged."""

    async def load(self) -> bool:
        """Called once."""
        self._scorer = onnx_scorer(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """BYTES [B] -> BYTES [B], safetensors files of the scores in base64."""
        scores = self._scorer.score([load(b64decode(body)) for body in payload.inputs[0].data])
        bodies = [b64encode(save({"scores": each})) for each in scores]
        output = ResponseOutput(name="scores", datatype="BYTES", shape=[len(bodies)], data=bodies)
        return InferenceResponse(model_name=self.name, outputs=[output])


def main() -> None:
    """Writes the two settings files into the working directory, and becomes `mlserver start`."""
    model, port = arguments()
    settings = {
        "host": "127.0.0.1",
        "grpc_port": port,
        "http_port": port + 1,
        "metrics_port": port + 2,
        # No process between gRPC and the only model, which has one core.
        "parallel_workers": 0,
        # No line in the log for each request.
        "debug": False,
    }
    model_settings = {
        "name": model.parent.parent.name,
        "implementation": f"{__spec__.name}.{ScorerRuntime.__name__}",
        "max_batch_size": MAX_BATCH_SIZE,
        "max_batch_time": MAX_BATCH_TIME_S,
        "parameters": {"uri": str(model)},
    }
    Path("settings.json").write_text(json.dumps(settings))
    Path("model-settings.json").write_text(json.dumps(model_settings))
    command = str(Path(sys.executable).with_name("mlserver"))
    os.execv(command, [command, "start", "."])  # noqa: S606 - no shell wanted


if __name__ == "__main__":
    main()

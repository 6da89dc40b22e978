"""BentoML: a service with adaptive batching, over HTTP."""

# The framework is in the peer's own environment only.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import os
import sys
from base64 import b64decode
from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType
from pydantic import PlainSerializer
from safetensors.numpy import load, save

from loadtest.peers.scorer import MAX_BATCH_SIZE, OUTPUT, arguments, onnx_scorer

MODEL = "RECSERVE_PEER_MODEL"
"""The environment variable with the ONNX file: BentoML makes the service itself, without arguments."""
MAX_LATENCY_MS = 1000
"""What would wait longer gets status 503: the bound of our own queue."""

# A batchable method takes and returns one list, whose parts the batcher joins and splits: one file for each request,
# so that their lengths do not matter. A raw body cannot become a list, and arrays in JSON cost more than base64 does.
Answers = Annotated[list[bytes], PlainSerializer(lambda answers: answers[0]), ContentType("application/octet-stream")]


@bentoml.service(name="scorer", workers=1, resources={"cpu": "1"}, logging={"access": {"enabled": False}})
class RankingScorer:
    """One instance in one worker."""

    def __init__(self) -> None:
        self._scorer = onnx_scorer(Path(os.environ[MODEL]))

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH_SIZE, max_latency_ms=MAX_LATENCY_MS)
    def score(self, bodies: list[str]) -> Answers:
        """Safetensors files of the inputs -> safetensors files of the scores."""
        scores = self._scorer.score([load(b64decode(body)) for body in bodies])
        return [save({OUTPUT: each}) for each in scores]


def main() -> None:
    model, port = arguments()
    os.environ[MODEL] = str(model)
    command = ["-m", "bentoml", "serve", f"{__spec__.name}:RankingScorer", "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, [sys.executable, *command])  # noqa: S606 - no shell wanted


if __name__ == "__main__":
    main()

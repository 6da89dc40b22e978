"""The scorer's ONNX file on onnxruntime, with the packing that our backend does: the same work under every peer.

Axes: B requests of a batch, n candidates of one request, C candidates of all requests.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime

RAGGED = "candidates"
OFFSETS = "candidate_offsets"
OUTPUT = "scores"
MAX_BATCH_SIZE = 64
"""Requests, as in the model's config.pbtxt."""


class Scorer:
    """One session on one thread."""

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._stacked = [node.name for node in self._session.get_inputs() if node.name not in (RAGGED, OFFSETS)]

    def score(self, requests: Sequence[Mapping[str, np.ndarray]]) -> list[np.ndarray]:
        """Answers all requests with one run.

        Args:
            requests: candidates int64 [1, n], n from request to request, and the state's tensors [1, ...].

        Returns:
            scores fp32 [1, n] of each request.
        """
        candidates = [request[RAGGED].reshape(-1) for request in requests]
        ends = np.cumsum([each.size for each in candidates], dtype=np.int32)
        feeds = {name: np.concatenate([request[name] for request in requests]) for name in self._stacked}
        feeds |= {RAGGED: np.concatenate(candidates), OFFSETS: ends}
        scores = np.asarray(self._session.run([OUTPUT], feeds)[0])
        return [part[None] for part in np.split(scores, ends[:-1])]


class Arguments(NamedTuple):
    """What `launch` tells a server."""

    model: Path
    port: int


def arguments() -> Arguments:
    """Of this process; every server takes the same two."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True, help="the ONNX file")
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    return Arguments(**vars(parser.parse_args()))

"""The scorer's ONNX file on onnxruntime, with the packing that our backend does: the same work under every peer.

The peers in torch run the same packing before the release's program.

Axes: B requests of a batch, n candidates of one request, C candidates of all requests.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime

RAGGED = "candidates"
OFFSETS = "candidate_offsets"
OUTPUT = "scores"
MAX_BATCH_SIZE = 64
"""Requests, as in the model's config.pbtxt."""


Run = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""The feeds of a run -> scores fp32 [C]."""


class Scorer:
    """Many requests, one run."""

    def __init__(self, run: Run, inputs: Sequence[str]) -> None:
        """`inputs` of the run, by name."""
        self._run = run
        self._stacked = [name for name in inputs if name not in (RAGGED, OFFSETS)]

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
        return [part[None] for part in np.split(self._run(feeds), ends[:-1])]


def onnx_scorer(model: Path) -> Scorer:
    """Of an ONNX file, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return Scorer(
        lambda feeds: np.asarray(session.run([OUTPUT], feeds)[0]), [node.name for node in session.get_inputs()]
    )


class Arguments(NamedTuple):
    """What `launch` tells a server."""

    model: Path
    port: int


def arguments() -> Arguments:
    """Of this process; every server takes the same two."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True, help="the model's file")
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    return Arguments(**vars(parser.parse_args()))

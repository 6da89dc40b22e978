"""A tiny user encoder, its user-state model and a ranker, as files and as numpy, for tests.

Weights are whole numbers, so that the graph and numpy agree bit for bit.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import parser
from safetensors.numpy import save_file

from serving.server import TritonServer
from serving.state import directory_of
from serving.state.source import StateSource
from tests.serving.models import publish

STAMP = 77
USERS = np.array([3, 5, 8, 13, 21, 34, 55, 89])
HISTORIES = np.arange(32).reshape(8, 4) % 11
LENGTHS = np.arange(1, 9).reshape(8, 1)
MAX_CANDIDATES = 50
OUTPUTS = [
    {"name": "keys", "dtype": "float32", "shape": [2, 2]},
    {"name": "stamp", "dtype": "int64", "shape": [1]},
]

_BATCHING = """dynamic_batching {
  max_queue_delay_microseconds: 20000
  default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 5000000 max_queue_size: 256 }
}"""
_STATE_OUTPUTS = """
output { name: "keys" data_type: TYPE_FP32 dims: [2, 2] }
output { name: "stamp" data_type: TYPE_INT64 dims: [1] }
"""
_CPU = "instance_group { kind: KIND_CPU count: 1 }"

ENCODER = f"""
name: "encoder" backend: "onnxruntime" max_batch_size: 8 {_BATCHING}
input {{ name: "history" data_type: TYPE_INT64 dims: [4] }}
input {{ name: "length" data_type: TYPE_INT64 dims: [1] }}
{_STATE_OUTPUTS} {_CPU}
"""

USER_STATE = f"""
name: "user_state" backend: "python" max_batch_size: 16 {_BATCHING}
input {{ name: "user_id" data_type: TYPE_INT64 dims: [1] }}
input {{ name: "candidates" data_type: TYPE_INT64 dims: [-1] allow_ragged_batch: true }}
{_STATE_OUTPUTS} {_CPU}
parameters {{ key: "step" value {{ string_value: "user_state" }} }}
parameters {{ key: "max_elements.candidates" value {{ string_value: "{MAX_CANDIDATES}" }} }}
"""

SCORER = f"""
name: "scorer" backend: "onnxruntime" max_batch_size: 16 {_BATCHING}
input {{ name: "keys" data_type: TYPE_FP32 dims: [2, 2] }}
input {{ name: "stamp" data_type: TYPE_INT64 dims: [1] }}
input {{ name: "candidates" data_type: TYPE_INT64 dims: [-1] allow_ragged_batch: true }}
output {{ name: "scores" data_type: TYPE_FP32 dims: [-1] }}
batch_input {{
  kind: BATCH_ACCUMULATED_ELEMENT_COUNT target_name: "ends" data_type: TYPE_INT32 source_input: "candidates"
}}
batch_output {{ target_name: "scores" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "candidates" }}
{_CPU}
"""

RANKER = """
name: "ranker" platform: "ensemble" max_batch_size: 16
input { name: "user_id" data_type: TYPE_INT64 dims: [1] }
input { name: "candidates" data_type: TYPE_INT64 dims: [-1] }
output { name: "scores" data_type: TYPE_FP32 dims: [-1] }
ensemble_scheduling {
  step {
    model_name: "user_state" model_version: -1
    input_map { key: "user_id" value: "user_id" }
    input_map { key: "candidates" value: "candidates" }
    output_map { key: "keys" value: "keys" }
    output_map { key: "stamp" value: "stamp" }
  }
  step {
    model_name: "scorer" model_version: -1
    input_map { key: "keys" value: "keys" }
    input_map { key: "stamp" value: "stamp" }
    input_map { key: "candidates" value: "candidates" }
    output_map { key: "scores" value: "scores" }
  }
}
"""


def encode(inputs: dict[str, np.ndarray], stamp: int = STAMP) -> dict[str, np.ndarray]:
    """history int64 [k, 4], length int64 [k, 1] -> keys float32 [k, 2, 2], stamp int64 [k, 1]; what `encoder` does."""
    keys = (inputs["history"] * inputs["length"]).astype(np.float32) @ _WEIGHTS
    return {"keys": keys.reshape(-1, 2, 2), "stamp": np.full((len(keys), 1), stamp)}


def keys_of(user: int) -> np.ndarray:
    """float32 [2, 2]"""
    row = int(np.flatnonzero(USERS == user)[0])
    return encode({"history": HISTORIES[row : row + 1], "length": LENGTHS[row : row + 1]})["keys"][0]


def scores_of(user: int, candidates: np.ndarray) -> np.ndarray:
    """float32, of the shape of `candidates`; what `ranker` answers."""
    return candidates.astype(np.float32) * keys_of(user).sum()


def write_state_model(folder: Path, *, stamp: int = STAMP, max_batch_size: int = 4) -> Path:
    """The artefacts of a user-state version folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / "config.pbtxt").write_text(USER_STATE)
    save_file({"user_ids": USERS, "history": HISTORIES, "length": LENGTHS}, folder / "histories.safetensors")
    description = {
        "encoder": "encoder",
        "stamp": stamp,
        "inputs": ["history", "length"],
        "outputs": OUTPUTS,
        "encoder_max_batch_size": max_batch_size,
    }
    (folder / "state.json").write_text(json.dumps(description))
    return folder


def state_folder(server: TritonServer) -> Path:
    """Where a server keeps its states."""
    folder = directory_of(server.state)
    assert folder is not None
    return folder


def source(folder: Path, *, version: int = 1) -> StateSource:
    """The user-state model of a folder that is written on the way."""
    return StateSource(write_state_model(folder), "user_state", version)


def publish_ranker(repository: Path, *, encoder_stamp: int = STAMP) -> None:
    """encoder, user_state, scorer and the ensemble of the last two; `encoder_stamp` other than STAMP is a mistake."""
    publish(repository, ENCODER, encoder(encoder_stamp))
    publish(repository, SCORER, scorer())
    publish(repository, RANKER)
    version = publish(repository, USER_STATE) / "1"
    write_state_model(version)
    (version / "model.py").write_text("from serving.steps.model import TritonPythonModel as TritonPythonModel\n")


def encoder(stamp: int) -> onnx.ModelProto:
    """The graph of `encode`."""
    weights = ", ".join(f"{weight:g}" for weight in _WEIGHTS.reshape(-1))
    return parser.parse_model(f"""
        <ir_version: 10, opset_import: ["": 20]>
        encoder (int64[B, 4] history, int64[B, 1] length) => (float[B, 2, 2] keys, int64[B, 1] stamp)
        <
            float[4, 4] weights = {{{weights}}}, int64[3] shape = {{-1, 2, 2}},
            int64 zero = {{0}}, int64 own = {{{stamp}}}
        >
        {{
            product = Mul(history, length)
            floats = Cast<to = 1>(product)
            flat = MatMul(floats, weights)
            keys = Reshape(flat, shape)
            nothing = Mul(length, zero)
            stamp = Add(nothing, own)
        }}
    """)


def scorer() -> onnx.ModelProto:
    """candidates [C] times the sum of their request's keys, not a number where the stamp is another."""
    return parser.parse_model(f"""
        <ir_version: 10, opset_import: ["": 20]>
        scorer (float[B, 2, 2] keys, int64[B, 1] stamp, int64[C] candidates, int32[B] ends) => (float[C] scores)
        <
            int64[2] axes = {{1, 2}}, int64[1] last = {{1}}, int64 zero = {{0}}, int64 step = {{1}},
            int64 expected = {{{STAMP}}}, float nan = {{nan}}
        >
        {{
            sums = ReduceSum<keepdims = 0>(keys, axes)
            stamps = Squeeze(stamp, last)
            fits = Equal(stamps, expected)
            trusted = Where(fits, sums, nan)
            shape = Shape(candidates)
            length = Squeeze(shape)
            places = Range(zero, length, step)
            column = Unsqueeze(places, last)
            bounds = Cast<to = 7>(ends)
            is_before = LessOrEqual(bounds, column)
            counted = Cast<to = 7>(is_before)
            row = ReduceSum<keepdims = 0>(counted, last)
            own = Gather(trusted, row)
            ids = Cast<to = 1>(candidates)
            scores = Mul(own, ids)
        }}
    """)


_WEIGHTS = (np.arange(16, dtype=np.float32) - 5).reshape(4, 4)

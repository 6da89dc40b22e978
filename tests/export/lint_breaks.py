"""Ways to break a release that is published, for the linter to find."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from export.model_config import read_config, render

Break = Callable[[Path], None]


def config(change: Callable[[Any], object], model: str = "scorer", file: str = "config.pbtxt") -> Break:
    """Changes a configuration; both targets of the scorer, unless a file is named."""

    def apply(repository: Path) -> None:
        both = file == "config.pbtxt" and model == "scorer"
        files = ("config.pbtxt", "configs/cpu.pbtxt") if both else (file,)
        for path in (repository / model / name for name in files):
            message = read_config(path)
            change(message)
            path.write_text(render(message))

    return apply


def graph(change: Callable[[onnx.ModelProto], object]) -> Break:
    """Changes the scorer's graph, and the manifest with it."""

    def apply(repository: Path) -> None:
        path = repository / "scorer" / "1" / "model.onnx"
        model = onnx.load(path)
        change(model)
        onnx.save(model, path)
        (path.parent / "manifest.json").unlink()

    return apply


def remove(path: str) -> Break:
    def apply(repository: Path) -> None:
        target = repository / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return apply


def write(path: str, text: str) -> Break:
    def apply(repository: Path) -> None:
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_text(text)

    return apply


def rename(old: str, new: str) -> Break:
    def apply(repository: Path) -> None:
        (repository / old).rename(repository / new)

    return apply


def freeze_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3


def save_optimised(repository: Path) -> None:
    path = repository / "encoder" / "1" / "model.onnx"
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def unlist(repository: Path) -> None:
    path = repository / "scorer" / "1" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["files"]["golden.safetensors"]
    path.write_text(json.dumps(manifest))


def add_noise(model: onnx.ModelProto) -> None:
    model.graph.node.append(onnx.helper.make_node("RandomNormal", [], ["noise"], name="noise", shape=[1]))


def make_whole(operator: str) -> Callable[[onnx.ModelProto], None]:
    """Keeps a table in few bytes, and makes all of it float32 in front of its look-up."""

    def change(model: onnx.ModelProto) -> None:
        looked_up = next(node for node in model.graph.node if node.op_type == "Gather")
        levels = onnx.numpy_helper.from_array(np.ones((51, 8), np.int8), "levels")
        scale = onnx.numpy_helper.from_array(np.ones((), np.float32), "scale")
        model.graph.initializer.extend([levels, scale])
        cast = onnx.helper.make_node("Cast", ["levels"], ["floats"], to=onnx.TensorProto.FLOAT)
        dequantised = onnx.helper.make_node("DequantizeLinear", ["levels", "scale"], ["floats"])
        model.graph.node.insert(0, onnx.helper.make_node("Identity", ["floats"], ["table"]))
        model.graph.node.insert(0, cast if operator == "Cast" else dequantised)
        looked_up.input[0], looked_up.name = "table", "look_up"

    return change


def drop_queue(message: Any) -> None:
    message.dynamic_batching.default_queue_policy.max_queue_size = 0


def delay(message: Any) -> None:
    policy = message.dynamic_batching.default_queue_policy
    policy.timeout_action = policy.DELAY


def more_threads(message: Any) -> None:
    message.parameters["intra_op_thread_count"].string_value = "3"


SCORER, CPU, GRAPH = "scorer/config.pbtxt", "scorer/configs/cpu.pbtxt", "scorer/1/model.onnx"
INTRA_OP = "parameters.intra_op_thread_count"
STEP_1 = "ensemble_scheduling.step[1]"

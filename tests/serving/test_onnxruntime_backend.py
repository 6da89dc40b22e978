"""The backend's configuration and its functions in process; tests/serving/test_batching.py has them in the server."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2 as proto

from serving.backends import packing
from serving.backends.onnxruntime import batching
from serving.backends.onnxruntime.model_spec import ModelSpec
from serving.server import ServerOptions, TritonServer
from serving.startup import StartupError
from tests.serving import models


def parsed(config: str) -> ModelSpec:
    message = text_format.Parse(config, proto.ModelConfig())  # pyright: ignore[reportAttributeAccessIssue]
    return ModelSpec.parse(json_format.MessageToDict(message, preserving_proto_field_name=True))


def loaded(folder: Path, config: str, model: onnx.ModelProto) -> tuple[onnxruntime.InferenceSession, ModelSpec]:
    onnx.save(model, folder / "model.onnx")
    spec = parsed(config)
    return batching.load_session(folder / "model.onnx", spec), spec


def score_request(candidates: list[int], weight: float) -> dict[str, np.ndarray]:
    return {"candidates": np.array([candidates], np.int64), "weight": np.array([[weight]], np.float32)}


def test_ragged_requests_are_packed_with_the_ends_of_each() -> None:
    requests = [score_request(list(range(count)), 1.0) for count in (0, 1, 5)]
    feeds = packing.pack(parsed(models.SCORER), requests)
    np.testing.assert_array_equal(feeds["candidates"], [0, 0, 1, 2, 3, 4])
    np.testing.assert_array_equal(feeds["ends"], np.array([0, 1, 6], np.int32))
    assert feeds["ends"].dtype == np.int32
    assert feeds["weight"].shape == (3, 1)


def test_each_request_gets_its_own_scores_back_in_the_shape_of_its_candidates(tmp_path: Path) -> None:
    session, spec = loaded(tmp_path, models.SCORER, models.scorer())
    requests = [score_request([], 9.0), score_request([7], 0.5), score_request([1, 2, 3], 2.0)]
    answers = batching.run(session, spec, requests)
    assert [answer["scores"].tolist() for answer in answers] == [[[]], [[3.5]], [[2.0, 4.0, 6.0]]]


def test_requests_of_several_rows_are_concatenated_and_split(tmp_path: Path) -> None:
    session, spec = loaded(tmp_path, models.SCALED, models.scaled())
    requests = [{"x": np.full((rows, 3), rows, np.float32)} for rows in (1, 3, 2)]
    for request, answer in zip(requests, batching.run(session, spec, requests), strict=True):
        np.testing.assert_array_equal(answer["y"], 2 * request["x"] + 1)
        np.testing.assert_array_equal(answer["z"], -request["x"])


def test_every_kind_of_batch_input_describes_the_batch(tmp_path: Path) -> None:
    session, spec = loaded(tmp_path, models.COUNTS, models.counts())
    requests = [{"items": np.zeros((1, count), np.int64)} for count in (2, 0, 3)]
    counts = np.concatenate([answer["counts"] for answer in batching.run(session, spec, requests)])
    np.testing.assert_array_equal(counts, [[2, 2, 0, 3], [0, 2, 2, 3], [3, 5, 2, 3]])


def test_a_model_without_batching_answers_each_request_as_it_is(tmp_path: Path) -> None:
    config = models.SCALED.replace("max_batch_size: 8", "").replace(models.BATCHING, "").replace("[3]", "[-1, 3]")
    session, spec = loaded(tmp_path, config, models.scaled())
    requests = [{"x": np.zeros((rows, 3), np.float32)} for rows in (2, 1)]
    assert [answer["y"].shape for answer in batching.run(session, spec, requests)] == [(2, 3), (1, 3)]


def test_a_run_with_too_few_rows_is_an_error_and_not_somebody_elses_answer() -> None:
    spec = parsed(models.SCALED)
    with pytest.raises(ValueError, match=r"output 'y' has shape \(1, 3\) for 2 rows of 2 requests"):
        packing.unpack(spec, [{"x": np.zeros((1, 3), np.float32)}] * 2, {"y": np.zeros((1, 3), np.float32)})


@pytest.mark.parametrize(
    ("candidates", "text"),
    [
        ([[5, -1]], "scorer: input 'candidates': -1 is negative; send 0 or more"),
        ([[1000]], "scorer: input 'candidates': 1000 is above 999; send 999 or less"),
        ([[1] * 101], "scorer: input 'candidates' has 101 elements, more than the 100 that one request may carry"),
        ([[1], [2]], "scorer: input 'candidates' has batch size 2"),
        ([[1.0]], "scorer: input 'candidates' is float64; send int64"),
    ],
)
def test_a_request_outside_the_bounds_is_refused_by_field_and_value(candidates: list[list[float]], text: str) -> None:
    request = {"candidates": np.array(candidates), "weight": np.ones((1, 1), np.float32)}
    with pytest.raises(ValueError, match=re.escape(text)):
        packing.check(parsed(models.SCORER), request)


def test_a_missing_input_is_named() -> None:
    with pytest.raises(ValueError, match="scorer: input 'weight' is missing"):
        packing.check(parsed(models.SCORER), {"candidates": np.array([[1]])})


@pytest.mark.parametrize(
    ("addition", "text"),
    [
        ("sequence_batching { }", "sequence_batching"),
        ('model_operations { op_library_filename: "x.so" }', "model_operations.op_library_filename"),
        ("optimization { cuda { graphs: true } }", "optimization.cuda"),
        (
            'optimization { execution_accelerators { cpu_execution_accelerator { name: "openvino" } } }',
            "optimization.execution_accelerators",
        ),
        ("instance_group { kind: KIND_GPU }", "instance_group.kind KIND_GPU"),
        ("model_transaction_policy { decoupled: true }", "model_transaction_policy.decoupled"),
        (
            'batch_input { kind: BATCH_ITEM_SHAPE target_name: "s" data_type: TYPE_FP32 source_input: "x" }',
            "batch_input.kind BATCH_ITEM_SHAPE",
        ),
        ('input { name: "o" data_type: TYPE_FP32 dims: [1] optional: true }', "tensor 'o': optional"),
        ('input { name: "s" data_type: TYPE_BF16 dims: [1] }', "tensor 's' has data_type TYPE_BF16"),
        (
            'parameters { key: "intra_op_thread_count" value { string_value: "two" } }',
            "parameter 'intra_op_thread_count' is 'two'",
        ),
        ("optimization { graph { level: 7 } }", "optimization.graph.level is 7"),
    ],
)
def test_what_the_backend_cannot_do_is_refused_and_not_ignored(tmp_path: Path, addition: str, text: str) -> None:
    with pytest.raises(ValueError, match=text.replace(".", r"\.")) as refusal:
        loaded(tmp_path, models.SCALED.replace(models.BATCHING, addition), models.scaled())
    assert str(refusal.value).startswith("scaled: ")


def test_threads_mode_and_graph_level_come_from_the_configuration(tmp_path: Path) -> None:
    values = {"intra_op_thread_count": 2, "inter_op_thread_count": 3, "execution_mode": 1}
    parameters = "".join(
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}' for key, value in values.items()
    )
    config = f"{models.SCALED} {parameters} optimization {{ graph {{ level: 2 }} }}"
    session, _ = loaded(tmp_path, config, models.scaled())
    options: Any = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 3)
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL


def test_one_thread_without_spinning_is_the_default(tmp_path: Path) -> None:
    session, _ = loaded(tmp_path, models.SCALED, models.scaled())
    options: Any = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_configuration_that_does_not_fit_the_graph_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"inputs of the configuration and of the graph differ.*\['w'\].*\['x'\]"):
        loaded(tmp_path, models.SCALED.replace('"x"', '"w"'), models.scaled())
    with pytest.raises(ValueError, match=r"outputs of the configuration and of the graph differ: .*\['q'\]"):
        loaded(tmp_path, models.SCALED.replace('"y"', '"q"'), models.scaled())


@pytest.mark.triton_server
def test_a_server_refuses_to_start_with_what_the_backend_cannot_do(tmp_path: Path) -> None:
    refused = models.SCALED.replace(models.BATCHING, "") + 'model_operations { op_library_filename: "x.so" }'
    models.publish(tmp_path / "s", refused, models.scaled())
    with pytest.raises(StartupError, match=r"scaled: model_operations\.op_library_filename is not supported"):
        TritonServer(tmp_path / "s", ServerOptions(check_golden=False)).start()

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
import pytest

from export.lint import Finding, cgroup_cores, check
from export.model_config import read_config, render
from export.repository import write_configs
from tests.export.models import release

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

BROKEN: dict[str, tuple[Break, str, str, str, str]] = {
    # what is broken: (how, severity, file, field, part of the reason)
    "no config": (remove(SCORER), "warning", SCORER, "", "the model has no configuration"),
    "unparsable config": (write(SCORER, "name: }"), "error", SCORER, "", "not a model configuration: 1:7"),
    "name of another folder": (rename("scorer", "ranking"), "error", "ranking/config.pbtxt", "name", "'scorer'"),
    "targets differ": (
        config(lambda c: c.output[0].dims.append(2), file="configs/cpu.pbtxt"),
        "warning",
        CPU,
        "output",
        "differs from config.pbtxt",
    ),
    "unbounded queue": (
        config(drop_queue),
        "warning",
        SCORER,
        "dynamic_batching.default_queue_policy.max_queue_size",
        "0 means no bound",
    ),
    "endless wait": (
        config(lambda c: c.dynamic_batching.default_queue_policy.ClearField("default_timeout_microseconds")),
        "warning",
        SCORER,
        "dynamic_batching.default_queue_policy.default_timeout_microseconds",
        "for ever",
    ),
    "late requests kept": (
        config(delay),
        "warning",
        SCORER,
        "dynamic_batching.default_queue_policy.timeout_action",
        "DELAY keeps",
    ),
    "bound of a backend that is not there": (
        config(lambda c: setattr(c.parameters["max_backlog_ms"], "string_value", "500")),
        "warning",
        SCORER,
        "parameters.max_backlog_ms",
        "only our backends",
    ),
    "bound without a number": (
        config(lambda c: setattr(c.parameters["max_backlog_ms"], "string_value", "soon"), file="configs/cpu.pbtxt"),
        "error",
        CPU,
        "parameters.max_backlog_ms",
        "'soon' is not a number",
    ),
    "two bounds": (
        config(drop_queue, file="configs/cpu.pbtxt"),
        "warning",
        CPU,
        "dynamic_batching.default_queue_policy",
        "stalls",
    ),
    "no batcher": (
        config(lambda c: c.ClearField("dynamic_batching")),
        "warning",
        SCORER,
        "dynamic_batching",
        "one by one",
    ),
    "threads unset": (
        config(lambda c: c.parameters.pop("intra_op_thread_count")),
        "warning",
        SCORER,
        INTRA_OP,
        "unset",
    ),
    "too many threads": (config(more_threads), "warning", CPU, INTRA_OP, "1 instances x 3 threads on 2 cores"),
    "too many instances": (
        config(lambda c: c.instance_group.add(count=4)),
        "warning",
        SCORER,
        INTRA_OP,
        "5 instances x 1 threads on 2 cores",
    ),
    "too many threads in all": (
        config(lambda c: c.instance_group.add(count=1)),
        "warning",
        "*/config.pbtxt, */configs/cpu.pbtxt",
        INTRA_OP,
        "together run 3 threads on 2 cores",
    ),
    "ragged input without counts": (
        config(lambda c: c.ClearField("batch_input")),
        "warning",
        SCORER,
        "input.candidates",
        "no batch_input tells",
    ),
    "counts of a regular input": (
        config(lambda c: setattr(c.input[1], "allow_ragged_batch", False)),
        "warning",
        SCORER,
        "batch_input.source_input",
        "source 'candidates' is not an input with allow_ragged_batch",
    ),
    "scatter to nowhere": (
        config(lambda c: c.batch_output[0].target_name.append("ghost")),
        "error",
        SCORER,
        "batch_output.scores.target_name",
        "there is no output 'ghost'",
    ),
    "packed output not cut": (
        config(lambda c: c.ClearField("batch_output")),
        "error",
        SCORER,
        "output.scores",
        "packs this output along 'candidates'",
    ),
    "counts the graph does not have": (
        config(lambda c: c.batch_input[0].target_name.append("ghost")),
        "error",
        SCORER,
        "batch_input.target_name",
        "the graph has no input 'ghost'",
    ),
    "counts of the wrong type": (
        config(lambda c: setattr(c.batch_input[0], "data_type", c.output[0].data_type)),
        "error",
        SCORER,
        "batch_input.candidate_offsets.data_type",
        "TYPE_FP32, but the graph has INT32",
    ),
    "input the graph does not have": (
        config(lambda c: c.input.add(name="ghost", data_type="TYPE_FP32", dims=[1])),
        "error",
        SCORER,
        "input.ghost",
        "the graph has no such input",
    ),
    "input not configured": (
        config(lambda c: c.input.pop(0)),
        "error",
        SCORER,
        "input",
        "the graph's input 'profile' is not configured",
    ),
    "output the graph does not have": (
        config(lambda c: c.output.add(name="ghost", data_type="TYPE_FP32", dims=[1])),
        "error",
        SCORER,
        "output.ghost",
        "the graph has no such output",
    ),
    "wrong dtype": (
        config(lambda c: setattr(c.input[0], "data_type", c.input[1].data_type)),
        "error",
        SCORER,
        "input.profile.data_type",
        "TYPE_INT64, but the graph has FLOAT",
    ),
    "wrong dims": (
        config(lambda c: c.input[0].dims.__setitem__(0, 9)),
        "error",
        SCORER,
        "input.profile.dims",
        "[9], but the graph has [8] behind the batch axis",
    ),
    "batch axis twice": (
        config(lambda c: c.input[0].dims.insert(0, -1)),
        "error",
        SCORER,
        "input.profile.dims",
        "the batch axis is given twice",
    ),
    "no batching but batch axis": (
        config(lambda c: c.ClearField("max_batch_size")),
        "error",
        SCORER,
        "input.profile.dims",
        "[8], but the graph has [-1, 8]",
    ),
    "packed input with two axes": (
        config(lambda c: setattr(c.input[0], "allow_ragged_batch", True)),
        "error",
        SCORER,
        "input.profile.allow_ragged_batch",
        "packs ragged requests along one axis",
    ),
    "frozen batch": (graph(freeze_batch), "error", SCORER, "input.profile.dims", "batch axis is frozen to 3"),
    "IR too new": (
        graph(lambda m: setattr(m, "ir_version", 11)),
        "error",
        GRAPH,
        "ir_version",
        "11, but tritonserver 2.51 reads at most 10; it loads from 2.66 on",
    ),
    "opset too new": (
        graph(lambda m: setattr(m.opset_import[0], "version", 99)),
        "error",
        GRAPH,
        "opset",
        "no server that we know loads it",
    ),
    "randomness": (graph(add_noise), "warning", GRAPH, "noise", "RandomNormal draws random numbers"),
    "optimised offline": (save_optimised, "warning", "encoder/1/model.onnx", "", "optimised offline"),
    "graph missing": (remove(GRAPH), "error", GRAPH, "", "not a readable ONNX file"),
    "graph unreadable": (write(GRAPH, "no protobuf"), "error", GRAPH, "", "not a readable ONNX file"),
    "file changed": (write(GRAPH, "no protobuf"), "error", GRAPH, "", "differs from the one that was published"),
    "file lost": (
        remove("user_state/1/state.json"),
        "error",
        "user_state/1/state.json",
        "",
        "the manifest lists this file",
    ),
    "file not listed": (unlist, "warning", "scorer/1/golden.safetensors", "", "does not list this file"),
    "no manifest": (remove("scorer/1/manifest.json"), "warning", "scorer/1/manifest.json", "", "no manifest"),
    "broken manifest": (
        write("scorer/1/manifest.json", "[]"),
        "error",
        "scorer/1/manifest.json",
        "files",
        "not a manifest",
    ),
    "no goldens": (
        remove("ranker/1/golden.safetensors"),
        "warning",
        "ranker/1/golden.safetensors",
        "",
        "no golden requests",
    ),
    "no Python model": (remove("user_state/1/model.py"), "error", "user_state/1/model.py", "", "finds no model"),
    "no version": (rename("scorer/1", "scorer/.1"), "error", "scorer/", "", "no version to serve"),
    "zero prefix": (rename("scorer/1", "scorer/01"), "error", "scorer/01", "", "without leading zeros"),
    "version with a name": (rename("scorer/1", "scorer/latest"), "error", "scorer/latest", "", "not a number"),
    "step missing": (
        remove("scorer"),
        "error",
        "ranker/config.pbtxt",
        f"{STEP_1}.model_name",
        "there is no model 'scorer'",
    ),
    "ensemble batch too large": (
        config(lambda c: setattr(c, "max_batch_size", 33), "ranker"),
        "error",
        "ranker/config.pbtxt",
        "max_batch_size",
        "33 exceeds the 32 of 'scorer'",
    ),
    "ensemble not connected": (
        config(lambda c: c.ensemble_scheduling.step[1].input_map.update({"profile": "ghost"}), "ranker"),
        "error",
        "ranker/config.pbtxt",
        f"{STEP_1}.input_map",
        "reads 'ghost', which nothing writes",
    ),
}


def test_published_release_is_clean(published_once: Path) -> None:
    assert check(published_once, cores=2) == []


@pytest.mark.parametrize("name", BROKEN)
def test_broken_repository_is_found_out(name: str, published: Path) -> None:
    break_it, severity, file, field, reason = BROKEN[name]
    break_it(published)
    found = [finding for finding in check(published, cores=2) if finding[:3] == (severity, file, field)]
    assert [finding for finding in found if reason in finding.reason]
    assert all(finding.remedy for finding in found)


def test_errors_come_first(published: Path) -> None:
    remove("encoder/1/golden.safetensors")(published)
    config(drop_queue)(published)
    severities = [finding.severity for finding in check(published, cores=2)]
    assert severities == sorted(severities)
    assert set(severities) == {"error", "warning"}


def test_committed_configs_without_versions_only_lack_versions(tmp_path: Path) -> None:
    write_configs(tmp_path, release())
    assert {finding.reason for finding in check(tmp_path, cores=2)} == {"there is no version to serve"}


def test_model_of_an_unknown_backend_is_let_be(tmp_path: Path) -> None:
    write("trees/config.pbtxt", 'name: "trees"\nbackend: "fil"\n')(tmp_path)
    write("trees/1/forest.json", "{}")(tmp_path)
    assert {finding.severity for finding in check(tmp_path, cores=2)} == {"warning"}


def test_empty_repository_has_no_findings_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    assert check(tmp_path) == []
    with pytest.raises(ValueError, match="is not a folder"):
        check(tmp_path / "nowhere")


def test_finding_is_a_plain_row() -> None:
    assert Finding._fields == ("severity", "file", "field", "reason", "remedy")


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_cores_follow_the_quota_of_the_container(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    for name, text in files.items():
        write(name, text)(tmp_path)
    assert cgroup_cores(tmp_path) == cores


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cpu.max": "max 100000\n"},
        {"cpu.max": "99900000 100000\n"},
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
    ],
)
def test_cores_without_a_quota_are_those_of_the_process(tmp_path: Path, files: dict[str, str]) -> None:
    unlimited = cgroup_cores(tmp_path)
    for name, text in files.items():
        write(name, text)(tmp_path)
    assert cgroup_cores(tmp_path) == unlimited >= 1

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from export.goldens import cut_tensors, pack
from export.onnx import check_graph, export_onnx
from export.run_alone import open_session
from export.verify import run_session, verify_onnx
from tests.export.models import encoder_model, profile_model, scorer_example, scorer_model
from training.servable import Packed, Servable, TensorSpec, servable


@pytest.fixture(scope="module")
def scorer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scorer") / "model.onnx"
    export_onnx(scorer_model(), path)
    return path


def axes(value: onnx.ValueInfoProto) -> tuple[str, list[int | str]]:
    return value.name, [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]


def scaled(forward: nn.Module) -> Servable:
    """A model with one input x [2] and one output y [2]."""
    return servable(
        name="scaled",
        module=forward,
        inputs=(TensorSpec(name="x", dtype="float32", shape=(2,)),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(2,)),),
        example=lambda batch_size, seed: (torch.ones(batch_size, 2) + seed,),
    )


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


class AlwaysDropout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, training=True)


class FrozenBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.zeros(len(x), 1)


class HalfPrecision(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.half()


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if x.sum() > 0 else x


class Search(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.searchsorted(torch.arange(9.0), x).float()


class SwappedAxes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1)


def test_packed_and_batch_axes_stay_two_symbolic_axes(scorer_file: Path) -> None:
    graph = onnx.load(scorer_file).graph
    assert [axes(value) for value in graph.input] == [
        ("profile", ["batch", 8]),
        ("candidates", ["candidates"]),
        ("candidate_offsets", ["batch"]),
    ]
    assert [axes(value) for value in graph.output] == [("scores", ["candidates"])]


def test_sequence_axis_is_symbolic_only_where_declared(tmp_path: Path) -> None:
    export_onnx(profile_model(), tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [axes(value) for value in graph.input] == [("history", ["batch", "length"]), ("user", ["batch", 4])]
    assert verify_onnx(profile_model(), tmp_path / "model.onnx") <= 1e-5


def test_graph_loads_in_the_oldest_server(scorer_file: Path) -> None:
    model = onnx.load(scorer_file)
    assert model.ir_version <= 10
    assert [entry.version <= 21 for entry in model.opset_import if entry.domain == ""] == [True]


def test_onnx_runtime_answers_what_the_module_answers(scorer_file: Path) -> None:
    assert verify_onnx(scorer_model(), scorer_file) <= 1e-5


def test_request_without_candidates_gets_no_scores(scorer_file: Path) -> None:
    scorer, inputs = scorer_model(), scorer_example(3, 0)
    empty = cut_tensors(scorer, scorer.inputs, inputs, inputs)[1]
    answer = run_session(open_session(scorer_file), scorer, pack(scorer, [empty]))
    assert answer["scores"].shape == (0,)


def test_reductions_count_axes_from_the_front(scorer_file: Path) -> None:
    graph = onnx.load(scorer_file).graph
    weights = {value.name: onnx.numpy_helper.to_array(value) for value in graph.initializer}
    reductions = [node for node in graph.node if node.op_type == "ReduceSum"]
    assert reductions
    assert weights.keys() <= {name for node in graph.node for name in node.input}
    assert all((weights[node.input[1]] >= 0).all() for node in reductions)


def test_weight_may_have_the_name_of_an_output(tmp_path: Path) -> None:
    export_onnx(encoder_model(), tmp_path / "model.onnx")
    assert verify_onnx(encoder_model(), tmp_path / "model.onnx") <= 1e-5


def test_weights_too_large_for_one_file_go_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.onnx._LARGEST_FILE", 0)
    export_onnx(scorer_model(), tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx.data").stat().st_size > 0
    assert verify_onnx(scorer_model(), tmp_path / "model.onnx") <= 1e-5


def test_first_export_of_a_process_is_silent(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from export.onnx import export_onnx\n"
        "from tests.export.models import encoder_model\n"
        f"export_onnx(encoder_model(), Path({str(tmp_path / 'model.onnx')!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Noise(), r"model 'scaled': node .* \(Random\w+\) is random; make the noise an input"),
        (AlwaysDropout(), r"model 'scaled': node .* \(\w+\) is random; make the noise an input"),
        (FrozenBatch(), r"input 'x': the graph has float32 \[3, 2\].*use x.shape\[0\], not len\(x\)"),
        (HalfPrecision(), r"output 'y': the graph has float16 \['batch', 2\], the signature says float32"),
        (Branch(), "its forward cannot be exported to ONNX: .*data-dependent"),
        (Search(), "its forward cannot be exported to ONNX: .*searchsorted"),
        (SwappedAxes(), r"output 'y': the graph has float32 \[2, 'batch'\], the signature says"),
    ],
)
def test_graph_that_breaks_a_rule_is_refused_by_name(
    module: nn.Module, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=message):
        export_onnx(scaled(module), tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")


def test_module_in_training_mode_is_refused(tmp_path: Path) -> None:
    model = scorer_model()
    model.module.train()
    with pytest.raises(ValueError, match=r"training mode; call \.eval\(\)"):
        export_onnx(model, tmp_path / "model.onnx")


@pytest.mark.parametrize(("ir", "opset"), [(11, 20), (10, 22)])
def test_too_new_a_file_is_refused_with_found_and_allowed(
    scorer_file: Path, tmp_path: Path, ir: int, opset: int
) -> None:
    model = onnx.load(scorer_file)
    model.ir_version = ir
    model.opset_import[0].version = opset
    onnx.save(model, tmp_path / "model.onnx")
    message = f"IR {ir} and opset {opset}; tritonserver 2.51 reads at most IR 10 and opset 21"
    with pytest.raises(ValueError, match=message):
        check_graph(scorer_model(), tmp_path / "model.onnx")


def test_randomness_inside_a_function_is_found(scorer_file: Path, tmp_path: Path) -> None:
    model = onnx.load(scorer_file)
    body = [onnx.helper.make_node("RandomNormalLike", ["x"], ["y"], name="noise")]
    opset = [onnx.helper.make_opsetid("", 20)]
    model.functions.append(onnx.helper.make_function("recserve", "Hidden", ["x"], ["y"], body, opset))
    model.opset_import.append(onnx.helper.make_opsetid("recserve", 1))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="node 'noise'"):
        check_graph(scorer_model(), tmp_path / "model.onnx")


def test_damaged_file_is_refused(scorer_file: Path, tmp_path: Path) -> None:
    model = onnx.load(scorer_file)
    model.graph.node[0].input[0] = "nowhere"
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="not valid ONNX"):
        check_graph(scorer_model(), tmp_path / "model.onnx")


def test_changed_weight_is_found_with_output_index_and_values(scorer_file: Path, tmp_path: Path) -> None:
    model = onnx.load(scorer_file)
    weight = next(value for value in model.graph.initializer if value.name == "items.weight")
    changed = onnx.numpy_helper.to_array(weight).copy()
    changed += 0.5
    weight.CopyFrom(onnx.numpy_helper.from_array(changed, weight.name))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"batch of 1: output 'scores'\[\d+\] differs: eager .*, ONNX Runtime"):
        verify_onnx(scorer_model(), tmp_path / "model.onnx")


def test_example_that_does_not_fit_the_signature_is_refused_by_name(tmp_path: Path) -> None:
    def as_int32(batch_size: int, seed: int) -> Packed:
        profile, candidates, offsets = scorer_example(batch_size, seed)
        return profile, candidates.int(), offsets

    with pytest.raises(ValueError, match=r"tensor 'candidates': expected int64 .* found int32"):
        export_onnx(replace(scorer_model(), example=as_int32), tmp_path / "model.onnx")


def test_axes_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    def one_each(batch_size: int, seed: int) -> Packed:
        ends = torch.arange(1, batch_size + 1, dtype=torch.int32)
        return torch.ones(batch_size, 8), torch.ones(batch_size, dtype=torch.int64), ends

    with pytest.raises(ValueError, match="symbolic axes must have different sizes"):
        export_onnx(replace(scorer_model(), example=one_each), tmp_path / "model.onnx")

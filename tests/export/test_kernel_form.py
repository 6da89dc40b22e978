"""The kernel form of a servable: which models have one, what is written, and that parity guards it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from torch import Tensor, nn

from export import lint
from export.artifacts import Source
from export.kernel_form import save_kernel_form
from export.kinds import kernel_forms
from export.model_config import Target, model_config, parse, render
from export.parity import ParityOptions, walk
from export.repository import publish
from recserve.cli import main
from serving.backends.recserve.program import hot_ops, load_program
from tests.export.hot_models import HotScorer, hot_model, hot_release
from tests.export.models import release


@pytest.fixture(scope="module")
def published_hot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hot scorer in both forms; not to be changed."""
    repository = tmp_path_factory.mktemp("hot") / "repository"
    publish(repository, hot_release(), Source(kind="factory", name="tests.export.hot_models:hot_release"))
    return repository


def test_only_models_with_a_hot_op_have_a_kernel_form() -> None:
    (form,) = kernel_forms((*release(), hot_model()))
    assert (form.name, form.form_of) == ("hot_kernel", "hot")
    original = hot_model()
    assert (form.inputs, form.outputs, form.max_batch_size) == (
        original.inputs,
        original.outputs,
        original.max_batch_size,
    )


def test_the_saved_program_still_calls_the_hot_op_and_answers_as_the_module(tmp_path: Path) -> None:
    _, form = hot_release()
    assert save_kernel_form(form, tmp_path / "model.pt2") <= 1e-5
    program, names = load_program(tmp_path / "model.pt2")
    assert hot_ops(program) == {"recserve::absorbed_attention"}
    assert names.inputs == ("candidates", "candidate_offsets", "product", "bias")
    assert names.outputs == ("scores",)


def test_nothing_in_the_file_is_pickled_or_somebodys_request(published_hot: Path) -> None:
    with ZipFile(published_hot / "hot_kernel" / "1" / "model.pt2") as archive:
        sizes = {member.filename.partition("/")[2]: member.file_size for member in archive.infolist()}
        configs = [archive.read(f"model/{name}") for name in sizes if name.endswith("_config.json")]
    assert sizes["data/sample_inputs/model.pt"] == 0
    entries = [entry for config in configs for entry in json.loads(config)["config"].values()]
    assert entries
    assert not any(entry["use_pickle"] for entry in entries)


def test_a_program_that_answers_otherwise_than_the_model_is_not_published(tmp_path: Path) -> None:
    _, form = hot_release()
    changed = replace(form, eager=lambda *tensors: (form.eager(*tensors)[0] + 1e-3,))
    with pytest.raises(ValueError, match=r"model 'hot_kernel', batch of 1: .* differs: .* the saved program"):
        publish(tmp_path / "repository", (hot_model(), changed), Source(kind="factory", name="x"))
    assert not list((tmp_path / "repository").glob("*/1"))


def test_a_model_without_hot_ops_is_refused_as_a_kernel_form(tmp_path: Path) -> None:
    class Plain(nn.Module):
        def forward(self, candidates: Tensor, ends: Tensor, product: Tensor, bias: Tensor) -> Tensor:
            return candidates * 2.0

    _, form = hot_release()
    plain = torch.export.export(Plain(), hot_model().example(3, 0))
    with pytest.raises(ValueError, match="calls no hot op; serve its ONNX form 'hot' alone"):
        save_kernel_form(replace(form, program=plain), tmp_path / "model.pt2")


def test_a_module_in_training_mode_is_refused() -> None:
    servable = hot_model()
    servable.module.train()
    with pytest.raises(ValueError, match=r"'hot' is in training mode; call \.eval\(\)"):
        kernel_forms((servable,))


def test_a_module_that_cannot_be_exported_is_refused_by_name() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scorer = HotScorer()

        def forward(self, *tensors: Tensor) -> Tensor:
            found = self.scorer(*tensors)
            return found * 2.0 if found.sum() > 0 else found * 3.0

    with pytest.raises(ValueError, match="model 'hot': its forward cannot be exported"):
        kernel_forms((replace(hot_model(), module=Branching().eval()),))


def test_a_module_without_a_hot_op_has_none_even_where_it_cannot_be_exported() -> None:
    class Branching(nn.Module):
        def forward(self, candidates: Tensor, ends: Tensor, product: Tensor, bias: Tensor) -> Tensor:
            return candidates * 2.0 if bias.sum() > 0 else candidates * 3.0

    assert kernel_forms((replace(hot_model(), module=Branching().eval()),)) == ()


@pytest.mark.parametrize(("target", "kind"), [("gpu", "KIND_GPU"), ("cpu", "KIND_CPU")])
def test_the_configuration_is_that_of_the_onnx_form_on_our_backend(target: Target, kind: str) -> None:
    onnx, form = (model_config(signature, target) for signature in hot_release())
    assert (form.backend, form.default_model_filename) == ("recserve", "model.pt2")
    group = form.instance_group[0]
    assert group.Kind.Name(group.kind) == kind
    for field in ("input", "output", "batch_input", "batch_output", "dynamic_batching", "max_batch_size"):
        assert getattr(form, field) == getattr(onnx, field)
    assert form.parameters["intra_op_thread_count"].string_value == "1"
    assert parse(render(form)) == form


def test_golden_requests_manifest_and_program_are_published_and_the_linter_agrees(published_hot: Path) -> None:
    version = published_hot / "hot_kernel" / "1"
    assert {path.name for path in version.iterdir()} == {
        "golden.safetensors",
        "manifest.json",
        "model.pt2",
        "reference.json",
    }
    assert json.loads((version / "manifest.json").read_text())["form_of"] == "hot"
    assert lint.check(published_hot, cores=8) == []


def test_the_linter_misses_the_program_and_the_counts(published_hot: Path, tmp_path: Path) -> None:
    repository = Path(shutil.copytree(published_hot, tmp_path / "repository"))
    (repository / "hot_kernel" / "1" / "model.pt2").unlink()
    path = repository / "hot_kernel" / "config.pbtxt"
    config = parse(path.read_text())
    del config.batch_input[:]
    path.write_text(render(config))
    found = {(finding.file, finding.field, finding.reason) for finding in lint.check(repository, cores=8)}
    assert ("hot_kernel/1/model.pt2", "", "the backend 'recserve' finds no model") in found
    assert any(file == "hot_kernel/config.pbtxt" and field == "input.candidates" for file, field, _ in found)


@pytest.mark.triton_server
def test_parity_passes_a_kernel_form_that_equals_its_onnx_form_and_stops_at_one_that_does_not(
    published_hot: Path, tmp_path: Path
) -> None:
    """The wrong one has other weights and goldens that fit them, so that only the other form can tell."""
    repository = Path(shutil.copytree(published_hot, tmp_path / "repository"))
    other = hot_model()
    with torch.no_grad():
        other.module.get_parameter("items.weight").mul_(1.01)
    (form,) = kernel_forms((other,))
    publish(repository, (replace(form, name="hot_wrong"),), Source(kind="factory", name="x"))
    ladder = walk(repository, ParityOptions(requests=128, clients=16))
    assert [(row.model, row.rung, row.ok) for row in ladder.rows] == [
        ("hot", "export", True),
        ("hot", "served", True),
        ("hot", "concurrent", True),
        ("hot_kernel", "kernel", True),
        ("hot_kernel", "concurrent", True),
        ("hot_wrong", "kernel", False),
    ]


def test_a_kernel_form_whose_onnx_form_is_unknown_cannot_be_walked(published_hot: Path, tmp_path: Path) -> None:
    repository = Path(shutil.copytree(published_hot, tmp_path / "repository"))
    path = repository / "hot_kernel" / "1" / "manifest.json"
    path.write_text(
        json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "form_of"})
    )
    with pytest.raises(ValueError, match=r"manifest\.json does not say which model this is a form of"):
        walk(repository, ParityOptions())


def test_the_command_publishes_kernel_forms_where_asked(tmp_path: Path) -> None:
    factory = "tests.export.hot_models:hot_factory"
    assert main(["export", factory, "--repository", str(tmp_path / "both"), "--kernel-form"]) == 0
    assert main(["export", factory, "--repository", str(tmp_path / "one")]) == 0
    assert (tmp_path / "both" / "hot_kernel" / "1" / "model.pt2").is_file()
    assert not (tmp_path / "one" / "hot_kernel").exists()

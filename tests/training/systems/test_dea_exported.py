"""DEA's graph is exported with its hot op, and a server answers alike in both forms."""

from dataclasses import replace
from pathlib import Path

import pytest

from export.artifacts import Source
from export.kinds import kernel_forms
from export.onnx import export_onnx
from export.parity import ParityOptions, walk
from export.repository import publish
from export.verify import verify_onnx
from serving.backends.recserve.program import hot_ops, load_program
from tests.training.systems.dea_models import SMALL, data, model
from tests.training.systems.test_dea_served import ranker
from training.systems.dea import servables


def test_two_layers_are_exported_with_the_hot_op(tmp_path: Path) -> None:
    served = ranker(replace(SMALL, layers=2))
    export_onnx(served, tmp_path / "model.onnx")
    assert verify_onnx(served, tmp_path / "model.onnx") < 1e-5
    assert (tmp_path / "model.onnx").read_bytes().count(b"ComboIdAttention") >= 2


@pytest.mark.slow
@pytest.mark.triton_server
def test_dea_is_served_in_both_forms_with_the_same_answers(tmp_path: Path) -> None:
    release = servables("dea", model(), SMALL, data())
    forms = kernel_forms(release)
    assert [form.name for form in forms] == ["dea_kernel"]
    publish(tmp_path, (*release, *forms), Source(kind="factory", name="tests.training.systems.dea_models:model"))
    program, _ = load_program(tmp_path / "dea_kernel" / "1" / "model.pt2")
    assert hot_ops(program) == {"recserve::combo_id_attention"}
    ladder = walk(tmp_path, ParityOptions(requests=100))
    assert ladder.ok, ladder.rows[-1]
    assert {row.rung for row in ladder.rows if row.model == "dea"} == {"model", "export", "served", "concurrent"}
    assert {row.rung for row in ladder.rows if row.model == "dea_kernel"} == {"model", "kernel", "concurrent"}

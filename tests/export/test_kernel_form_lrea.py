"""LREA's scorer in its kernel form answers as its ONNX form does, through the running server."""

from pathlib import Path

import pytest

from export.artifacts import Source
from export.kinds import kernel_forms
from export.parity import ParityOptions, walk
from export.repository import publish
from serving.backends.recserve.graphs import capturable
from serving.backends.recserve.program import hot_ops, load_program
from tests.conftest import lrea


@pytest.mark.slow
@pytest.mark.triton_server
def test_lreas_scorer_is_served_in_both_forms_with_the_same_answers(tmp_path: Path) -> None:
    release = lrea()
    forms = kernel_forms(release)
    assert [form.name for form in forms] == ["lrea_scorer_kernel"]
    publish(tmp_path, (*release, *forms), Source(kind="factory", name="tests.conftest:lrea"))
    program, _ = load_program(tmp_path / "lrea_scorer_kernel" / "1" / "model.pt2")
    assert hot_ops(program) == {"recserve::low_rank_attention"}
    assert capturable(program)
    ladder = walk(tmp_path, ParityOptions(requests=200))
    assert ladder.ok, ladder.rows[-1]
    assert {row.rung for row in ladder.rows if row.model == "lrea_scorer_kernel"} == {"kernel", "concurrent"}

"""The cases once more, before the real tritonserver."""

import json
from pathlib import Path

import pytest

from tests.export.lint_cases import corpus

pytestmark = [pytest.mark.triton_server, pytest.mark.slow]

ASKED = [name for name in corpus.of_judge("core") if not corpus.CASES[name].hangs]
"""A case that ends the server, or makes it wait, takes seconds: of those two are asked, all by the corpus's command."""

HANGING = ["state_initial_no_file", "version_empty"]


def test_server_loads_what_the_linter_lets_pass_and_refuses_the_rest(tmp_path: Path) -> None:
    verdicts = json.loads(corpus.VERDICTS.read_text())
    names = [*ASKED, *HANGING]
    answers = corpus.judged(tmp_path, names)
    assert {name: bool(answers[name]) for name in names} == {name: bool(verdicts[name]) for name in names}


def test_strict_server_refuses_only_what_the_linter_warns_of(tmp_path: Path) -> None:
    names = ["config_missing", "inputs_missing", "backend_none_but_plan", "input_dims_zero", "ensemble_chain"]
    refused = {name for name, reason in corpus.judged(tmp_path, names, strict=True).items() if reason}
    assert refused == {"config_missing", "input_dims_zero"}
    assert refused == {name for name in names if corpus.CASES[name].field is not None or not corpus.CASES[name].strict}

"""The linter's word on each case: an error on the field that is wrong, where the server refuses, and only there."""

import json
from pathlib import Path

import pytest

from export.lint import Finding, check
from tests.export.lint_cases import corpus


@pytest.fixture(scope="session")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    return corpus.linted(tmp_path_factory.mktemp("cases") / "repository")


@pytest.mark.parametrize("name", corpus.CASES)
def test_one_error_names_the_field_that_is_wrong_and_a_good_model_has_none(
    name: str, errors: dict[str, list[Finding]]
) -> None:
    field = corpus.CASES[name].field
    assert [error.field for error in errors[name]] == ([] if field is None else [field])


def test_reason_and_remedy_are_one_line_each(errors: dict[str, list[Finding]]) -> None:
    texts = [text for found in errors.values() for error in found for text in (error.reason, error.remedy)]
    assert texts
    assert not [text for text in texts if not text or "\n" in text]


def test_cases_say_what_the_server_said() -> None:
    verdicts = json.loads(corpus.VERDICTS.read_text())
    assert sorted(verdicts) == sorted(corpus.of_judge("core"))
    assert {name: bool(reason) for name, reason in verdicts.items()} == {
        name: corpus.CASES[name].field is not None for name in verdicts
    }


@pytest.mark.parametrize("name", corpus.of_judge("onnxruntime"))
def test_onnx_runtime_opens_what_the_linter_lets_pass(name: str, tmp_path: Path) -> None:
    assert bool(corpus.opened(tmp_path, name)) == (corpus.CASES[name].field is not None)


def test_table_counts_found_missed_and_false(errors: dict[str, list[Finding]]) -> None:
    lines = corpus.table(errors).splitlines()[1:]
    assert [line.split()[-2:] for line in lines] == [["0", "0"]] * 4
    worse = {**errors, "input_dims_zero": [], "input_open": errors["input_dims_zero"]}
    assert corpus.table(worse).splitlines()[1].split()[-2:] == ["1", "1"]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("config_missing", ""),
        ("graph_complete", "input, output"),
        ("machine_backend_of_its_own", "backend"),
        ("machine_auto_gpus", "instance_group[0].gpus"),
        ("ensemble_unbatched_step", "ensemble_scheduling.step[0].input_map"),
        ("ensemble_writes_input", "ensemble_scheduling.step[1].output_map"),
        ("inputs_same_name", "input.x"),
        ("graph_random", ""),
        ("dynamic_unbounded", "dynamic_batching.default_queue_policy.max_queue_size"),
    ],
)
def test_what_loads_and_hurts_later_is_a_warning(name: str, field: str, tmp_path: Path) -> None:
    corpus.CASES[name].write(tmp_path)
    assert ("warning", field) in {(found.severity, found.field) for found in check(tmp_path, cores=64)}

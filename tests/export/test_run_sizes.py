"""The bound of a run follows from what runs cost, and stands in the configuration of the target `cpu`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from export import run_sizes
from export.model_config import read_config
from export.repository import publish
from serving.backends import packing
from serving.backends.onnxruntime.model_spec import RUN_ELEMENTS, ModelSpec
from serving.backends.packing import Request
from tests.export.models import encoder_model, scorer_model
from tests.export.test_repository import SOURCE

Cost = Callable[[int], float]
"""Elements of a run -> what it takes."""


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the scorer's version."""
    repository = tmp_path_factory.mktemp("repository")
    publish(repository, [scorer_model()], SOURCE)
    return repository / "scorer" / "1"


def costing(patch: pytest.MonkeyPatch, cost: Cost) -> None:
    """In place of a clock: what the runs of a batch take by their elements."""
    took = [0.0]

    def run(_session: object, spec: ModelSpec, requests: Sequence[Request]) -> None:
        groups = packing.runs(spec, requests)
        took[0] = sum(cost(sum(one["candidates"].size for one in group)) for group in groups)

    def once(work: Callable[[], object]) -> float:
        work()
        return took[0]

    patch.setattr(run_sizes.batching, "run", run)
    patch.setattr(run_sizes, "_once", once)


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        pytest.param(lambda elements: 1000.0 + elements, None, id="a run by itself is dear"),
        pytest.param(lambda elements: float(elements), None, id="nothing is gained"),
        pytest.param(lambda elements: 1.0 + elements**2, 250, id="the least, where cost grows faster than the run"),
        pytest.param(lambda elements: 50.0 + elements * (1 + (elements > 1000)), 1000, id="what a cache holds"),
    ],
)
def test_the_bound_is_what_costs_least_over_batches_of_all_kinds(
    monkeypatch: pytest.MonkeyPatch, graph: Path, cost: Cost, expected: int | None
) -> None:
    costing(monkeypatch, cost)
    assert run_sizes.with_run_size(scorer_model(), graph, pytest.fail).run_elements == expected


def test_a_model_of_rows_has_none(monkeypatch: pytest.MonkeyPatch, graph: Path) -> None:
    monkeypatch.setattr(run_sizes, "measured", lambda *_: pytest.fail("nothing is to be measured"))
    assert run_sizes.with_run_size(encoder_model(), graph, pytest.fail).run_elements is None


@pytest.mark.parametrize("bound", [700, None])
def test_the_bound_stands_in_the_configuration_of_the_cpu_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bound: int | None
) -> None:
    monkeypatch.setattr(run_sizes, "measured", lambda *_: bound)
    publish(tmp_path, [scorer_model()], SOURCE)
    folder = tmp_path / "scorer"
    parameters = read_config(folder / "configs" / "cpu.pbtxt").parameters
    assert (parameters[RUN_ELEMENTS].string_value if RUN_ELEMENTS in parameters else None) == (bound and str(bound))
    assert RUN_ELEMENTS not in read_config(folder / "config.pbtxt").parameters


def test_the_bound_of_a_model_that_is_there_stays_and_operators_may_change_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run_sizes, "measured", lambda *_: 700)
    publish(tmp_path, [scorer_model()], SOURCE)
    path = tmp_path / "scorer" / "configs" / "cpu.pbtxt"
    path.write_text(path.read_text().replace('"700"', '"900"'))
    monkeypatch.setattr(run_sizes, "measured", lambda *_: pytest.fail("measured again"))
    publish(tmp_path, [scorer_model()], SOURCE)
    assert read_config(path).parameters[RUN_ELEMENTS].string_value == "900"


def test_what_goes_together_stays_in_proportion_within_its_bounds() -> None:
    spec = ModelSpec.parse(
        {
            "name": "paths",
            "max_batch_size": 8,
            "input": [
                {"name": name, "data_type": "TYPE_INT64", "dims": ["-1"], "allow_ragged_batch": True}
                for name in ("candidates", "masks")
            ]
            + [{"name": "user", "data_type": "TYPE_INT64", "dims": ["1"]}],
            "output": [],
            "parameters": {"max_elements.candidates": {"string_value": "20"}},
        }
    )
    request = {"candidates": np.array([[1, 2]]), "masks": np.arange(6)[None], "user": np.array([[7]])}
    found = run_sizes.stretched(spec, request, 40)
    assert found["candidates"].tolist() == [[1, 2] * 6]
    assert found["masks"].tolist() == [[0, 1, 2, 3, 4, 5] * 6]
    assert found["user"].tolist() == [[7]]
    assert run_sizes.stretched(spec, request, 1000)["candidates"].size == 20
    assert run_sizes.stretched(spec, request, 3)["masks"].size == 6


def test_a_graph_that_fails_on_longer_requests_has_none_and_says_so(
    monkeypatch: pytest.MonkeyPatch, graph: Path
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("index out of bounds\nat node 7")

    monkeypatch.setattr(run_sizes.batching, "run", fails)
    told: list[str] = []
    assert run_sizes.with_run_size(scorer_model(), graph, told.append).run_elements is None
    assert told == [
        "scorer: runs have no bound, as the graph refuses requests of more elements: index out of bounds",
    ]

"""What people are told of an answer that depends on a scenario, from the served parts alone."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from tests.training.click_views import view_of
from tests.training.data.test_scenario import of_items
from training.asking import NO_EVENTS, Tensors
from training.registry import SYSTEMS
from training.system import prepare


@pytest.mark.parametrize("name", ["gsvr", "sfpnet"])
def test_the_best_candidates_are_explained_by_the_scenario_of_each(name: str) -> None:
    system, whole = SYSTEMS[name], of_items("feature", "profile")
    config = system.config(dim=8, hidden=(8, 4), max_length=12)
    data = view_of(system, whole, 12)
    torch.manual_seed(0)
    module = system.build(config, data.schema)
    prepare(module, data)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    release = {one.name: one for one in system.release(module.eval(), config, data)}

    def infer(model: str, inputs: Mapping[str, np.ndarray]) -> Tensors:
        """One request, as the server would answer it."""
        ends = np.array([inputs["candidates"].shape[1]], np.int32) if "candidates" in inputs else None
        given = {
            key: array[0] if key == "candidates" else array
            for key, array in {**inputs, "candidate_offsets": ends}.items()
        }
        signature = release[model]
        answers = signature.eager(*(torch.from_numpy(given[spec.name]) for spec in signature.inputs))
        packed = {spec.name: spec.ragged for spec in signature.outputs}
        return {
            key: answer.numpy()[None] if packed[key] else answer.numpy()
            for key, answer in zip(packed, answers, strict=True)
        }

    request = {"user_id": np.array([[3]]), "candidates": np.array([[5, 9, 17, 2]])}
    answer = infer(name, request)
    assert system.explained is not None
    tables = system.explained(infer, name, whole, request, answer)
    best = int(request["candidates"][0, np.argmax(answer["scores"][0])])
    brand = int(whole.items["brand"][best])
    if name == "gsvr":
        (table,) = tables
        assert table.columns == ("title", "scenario", "the item's own", "mean", "deviation")
        assert len(table.rows) == 3 * 6, "the unknown scenario is no known item's"
        (own,) = (row for row in table.rows if row[0] == f"Item {best}" and row[2])
        assert own[1] == str(brand)
        assert abs(float(str(own[3])) - answer["scores"][0].max()) < 0.1
    else:
        gates, behaviours = tables
        assert str(brand) in gates.title
        assert [row[0] for row in gates.rows] == [1, 2]
        moved = [float(str(row[2])) for row in behaviours.rows]
        assert moved == sorted(moved, reverse=True)
        assert len(moved) == 8
        user = infer("sfpnet_history", {"user_id": request["user_id"], "candidates": np.array([[best]])})
        vectors = infer("sfpnet_scene", user)["tailored"][0, brand, : int(user["history_length"][0, 0])]
        assert f"beside a vector of {np.linalg.norm(vectors, axis=1).mean():.1f}" in behaviours.title
        nobody = {**request, "user_id": np.array([[10**9]])}
        _, none = system.explained(infer, name, whole, nobody, answer)
        assert (none.rows, none.lines) == ([], (NO_EVENTS,))

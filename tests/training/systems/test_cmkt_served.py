"""What CMKT serves, and what people are told from it."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.onnx import export_onnx
from export.run_alone import open_session
from export.verify import run_session
from tests.training.systems.cmkt_models import UPDATES, data, model
from training.asking import Question, Tensors
from training.data.simulated_students import Simulation, simulate
from training.servable import Servable, Signature
from training.system import PLAIN, prepare
from training.systems.cmkt import SYSTEM, Config
from training.systems.cmkt.config import Update
from training.systems.cmkt.parts import of_concepts
from training.tasks.tracing import TRACING
from training.tasks.tracing_served import MAX_ANSWERS


def release(update: Update) -> dict[str, Signature]:
    return {one.name: one for one in SYSTEM.release(model(update), Config(update=update), data())}


def answer(signature: Signature, inputs: Mapping[str, np.ndarray]) -> Tensors:
    """One request, as the server would answer it."""
    given = [
        np.array([inputs[spec.of].shape[1]], np.int32)
        if spec.of
        else inputs[spec.name][0]
        if spec.ragged
        else inputs[spec.name]
        for spec in signature.inputs
    ]
    found = signature.eager(*map(torch.from_numpy, given))
    return {
        spec.name: one.numpy()[None] if spec.ragged else one.numpy()
        for spec, one in zip(signature.outputs, found, strict=True)
    }


@pytest.mark.parametrize("update", UPDATES)
@torch.no_grad()
def test_people_are_told_what_the_opposite_of_the_last_answer_would_have_made(update: Update) -> None:
    served, interactions, module = release(update), data().interactions, model(update)
    request = TRACING.request(interactions, Question("7", (), ("3", "4", "5"), 100))
    told = TRACING.explained(
        lambda name, inputs: answer(served[name], inputs),
        "cmkt",
        interactions,
        request,
        answer(served["cmkt"], request),
    )
    mastery, asked = (one.rows for one in told)
    history, responses = (torch.from_numpy(request[name]) for name in ("history", "responses"))
    state = module.start(torch.tensor([7]))
    for place in range(history.shape[1] - 1):
        state = module.step(state, history[:, place], responses[:, place])
    last, right = history[:, -1], responses[:, -1]
    concepts = module.concepts(last)
    own = concepts[0][concepts[0] > 0]
    for column, said in ((1, right), (2, 1 - right)):
        by_hand = of_concepts(module.mastery(module.step(state, last, said)), concepts)[0, : len(own)]
        assert [row[column] for row in mastery] == pytest.approx(by_hand.tolist(), abs=1e-6)
    assert [row[0] for row in mastery] == [f"concept {number}" for number in own.tolist()]
    other = module.step(state, last, 1 - right)
    assert len(asked) == 3
    for _, item, _, otherwise, _ in asked:
        by_hand = module.ask(other, torch.tensor([int(str(item))])).sigmoid().item()
        assert otherwise == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize("update", UPDATES)
def test_a_server_can_keep_the_state_of_either_form(update: Update) -> None:
    live = TRACING.view(simulate(Simulation(students=30, replies=True, most_answers=40)).interactions, PLAIN)
    torch.manual_seed(0)
    config = Config(dim=8, hidden=12, update=update)
    module = SYSTEM.build(config, live.schema)
    prepare(module, live)
    served = {one.name: one for one in SYSTEM.release(module.eval(), config, live)}
    whole = served["cmkt_of_user"]
    request = whole.example(8, 1)
    assert whole.reference is not None
    for one, exact in zip(whole.eager(*request), whole.reference(*request), strict=True):
        assert (one - exact).abs().max() < 1e-5


def test_a_history_of_any_length_is_one_graph_without_a_loop_for_hard_mastery_too(tmp_path: Path) -> None:
    whole, file = release("hard")["cmkt"], tmp_path / "model.onnx"
    assert isinstance(whole, Servable)
    export_onnx(whole, file)
    session = open_session(file)
    for size in (1, 7, 8):
        request = whole.example(size, 1)
        assert (request[1].shape[0] > MAX_ANSWERS) == (size == 8)
        for found, one in zip(run_session(session, whole, request).values(), whole.eager(*request), strict=True):
            np.testing.assert_allclose(found, one, rtol=0, atol=1e-5)
    nodes = Counter(node.op_type for node in onnx.load(file).graph.node)
    assert nodes["GRU"] == 1
    assert not {"Loop", "Scan"} & {*nodes}
    assert nodes["Exp"] == 2, "whatever the length"

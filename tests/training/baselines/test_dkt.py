from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from google.protobuf import json_format

from export.model_config import model_config
from export.onnx import export_onnx
from export.run_alone import open_session
from export.verify import run_session
from serving.backends.onnxruntime.model_spec import ModelSpec
from serving.backends.packing import check
from tests.training.baselines.test_pfa import item_mean
from tests.training.test_every_system import repository
from training.baselines.dkt import DKT, SYSTEM, Config
from training.data.tracing import TracingBatch, TracingData
from training.fit import FitOptions, fit
from training.layers.tracer import fold_gap
from training.servable import Servable
from training.system import Wanted
from training.tasks.tracing import TRACING


@pytest.fixture(scope="module")
def data() -> TracingData:
    return TRACING.view(TRACING.planted(), Wanted(SYSTEM.reads, Config().max_length, {}))


@pytest.fixture
def model(data: TracingData) -> DKT:
    torch.manual_seed(0)
    built = DKT(Config(dim=8, hidden=12), data.schema)
    built.prepare(data)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(0, 0.3)
    return built.eval()


@pytest.mark.long
def test_training_beats_the_questions_means(data: TracingData, tmp_path: Path) -> None:
    config = Config(dim=16, hidden=32, batch_size=32, epochs=12)
    measured = fit(SYSTEM, config, data, FitOptions(run=tmp_path / "run", quiet=True)).metrics["test"]
    assert measured["auc"] > item_mean(data) + 0.01


def test_sequence_form_is_the_fold_of_its_steps(model: DKT, data: TracingData) -> None:
    batch = data.test.batch(np.arange(16))
    assert fold_gap(model, batch) < 1e-5
    shorter = batch._replace(length=batch.length // 2)
    assert fold_gap(model, shorter) < 1e-5


def test_an_answer_changes_nothing_up_to_itself_and_something_after(model: DKT, data: TracingData) -> None:
    batch = data.test.batch(np.array([2]))
    place = int(batch.length[0]) // 2
    flipped = batch.responses.clone()
    flipped[0, place] = 1 - flipped[0, place]
    before, after = model(batch), model(batch._replace(responses=flipped))
    assert torch.equal(before[:, : place + 1], after[:, : place + 1])
    assert not torch.equal(before[:, place + 1 :], after[:, place + 1 :])


def test_neither_padding_nor_neighbours_change_a_logit(model: DKT, data: TracingData) -> None:
    together = data.test.batch(np.arange(6))
    logits, state = model(together), model.after(together)
    for row in range(6):
        alone = data.test.batch(np.array([row]))
        length = int(alone.length[0])
        torch.testing.assert_close(model(alone)[0], logits[row, :length], rtol=0, atol=1e-6)
        torch.testing.assert_close(model.after(alone).hidden[0], state.hidden[row], rtol=0, atol=1e-6)


@pytest.mark.parametrize("number", [1, 2])
def test_readout_is_the_mean_of_its_concepts_moved_by_the_questions_difficulty(
    model: DKT, data: TracingData, number: int
) -> None:
    state = model.step(model.start(torch.zeros(1, dtype=torch.int64)), torch.tensor([3]), torch.tensor([1]))
    question = int(np.flatnonzero((data.concepts > 0).sum(axis=1) == number)[0])
    concepts = [concept for concept in data.concepts[question] if concept]
    readout = model.readout
    change = readout.change.weight[concepts].mean(dim=0) + readout.spread
    table = readout.concept.weight[concepts].mean(dim=0) + readout.difficulty.weight[question] * change
    by_hand = state.hidden[0] @ table[:-1] + table[-1]
    torch.testing.assert_close(model.ask(state, torch.tensor([question]))[0], by_hand)
    concept = model.readout.concept.weight[2]
    mastery = (state.hidden[0] @ concept[:-1] + concept[-1]).sigmoid()
    torch.testing.assert_close(model.mastery(state)[0, 1], mastery)


@pytest.mark.parametrize("form", ["dkt_step", "dkt_ask"])
def test_a_state_that_no_answers_lead_to_is_refused_by_name_and_says_nothing_in_the_graph(
    model: DKT, data: TracingData, tmp_path: Path, form: str
) -> None:
    kept = next(one for one in TRACING.release("dkt", model, data) if one.name == form)
    assert isinstance(kept, Servable)
    hidden, *others = kept.example(8, 1)
    hidden[1:7, 5] = torch.tensor([np.nan, np.inf, -np.inf, 3.4e38, 1.001, -1.001])
    hidden[7] = 1
    spec = ModelSpec.parse(json_format.MessageToDict(model_config(kept, "cpu"), preserving_proto_field_name=True))
    further = {"question": np.array([[3]]), "response": np.array([[1]]), "questions": np.array([[3, 4]])}
    for row in hidden[1:7, None].numpy():
        with pytest.raises(ValueError, match=f"{form}: input 'hidden'"):
            check(spec, {"hidden": row, **further})
    check(spec, {"hidden": hidden[7:].numpy(), **further})
    export_onnx(kept, tmp_path / "model.onnx")
    answers = run_session(open_session(tmp_path / "model.onnx"), kept, (hidden, *others))
    own = answers["next_hidden" if form == "dkt_step" else "mastery"]
    assert np.isnan(own[1:7]).all()
    assert not np.isnan(own[[0, 7]]).any()


def test_no_answers_are_the_start(model: DKT) -> None:
    none = torch.zeros(1, 3, dtype=torch.int64)
    batch = TracingBatch(none[:, 0], none + 1, none, none[:, 0], none.float())
    assert torch.equal(model.after(batch).hidden, model.start(none[:, 0]).hidden)


def test_the_whole_history_is_one_recurrent_node(tmp_path_factory: pytest.TempPathFactory) -> None:
    models = repository("dkt", tmp_path_factory.mktemp("every"))
    nodes = [node.op_type for node in onnx.load(models / "dkt" / "1" / "model.onnx").graph.node]
    assert nodes.count("GRU") == 1

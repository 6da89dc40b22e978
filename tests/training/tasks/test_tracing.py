from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from export.parity import ParityOptions, walk
from tests.training.test_every_system import repository
from training.asking import Question
from training.baselines.pfa import PFA, Config
from training.data.student_presets import DATASETS
from training.data.tracing import TracingBatch, TracingData
from training.interactions import Interactions, silent
from training.layers.tracer import fold_gap
from training.loop import predict
from training.metrics import accuracy, auc
from training.schema import Schema
from training.system import Wanted
from training.tasks.tracing import TRACING, cross_entropy
from training.tasks.tracing_slices import FIRST_ANSWERS


def view(interactions: Interactions, max_length: int = 200) -> TracingData:
    return TRACING.view(interactions, Wanted(frozenset(), max_length, {}))


def test_students_are_new_or_known_and_every_answer_counts_once() -> None:
    interactions = TRACING.planted()
    data = view(interactions)
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    counted = np.concatenate([split.measured().row for split in parts.values()])
    assert len(counted) == len(set(counted.tolist())) == len(interactions.events)
    user, time = (interactions.events[name].to_numpy() for name in ("user", "time"))
    newest = {name: {} for name in parts}
    for name, split in parts.items():
        rows = split.measured().row
        for row in rows:
            newest[name][user[row]] = max(time[row], newest[name].get(user[row], 0))
    measured = data.test.measured()
    new = set(user[measured.row[measured.is_new]].tolist())
    assert len(new) == 40
    assert not new & (set(newest["train"]) | set(newest["validation"]))
    for row in measured.row[~measured.is_new]:
        assert time[row] > newest["train"][user[row]]
        assert time[row] > newest["validation"].get(user[row], -1)


def test_held_out_answers_have_all_before_them_and_students_who_are_new_have_no_id() -> None:
    interactions = TRACING.planted()
    data = view(interactions, max_length=7)
    assert data.train.longest == 7
    batch = data.test.batch(np.arange(len(data.test)))
    user = interactions.events["user"].to_numpy()
    lengths = dict(zip(*np.unique(user, return_counts=True), strict=True))
    measured = data.test.measured()
    for sample in range(0, len(data.test), 29):
        row = measured.row[measured.sample == sample][0]
        assert batch.length[sample] == lengths[user[row]]
        assert batch.student[sample] == (0 if batch.counts[sample, 0] else user[row])
    assert data.students[user[measured.row[measured.is_new]]].max() == 0


def test_a_question_of_two_concepts_is_one_row() -> None:
    data = view(TRACING.planted())
    assert ((data.concepts > 0).sum(axis=1) == 2).any()
    assert data.concepts.shape[1] == 2
    assert len(data.train.measured().row) + len(data.validation.measured().row) + len(data.test.measured().row) == len(
        TRACING.planted().events
    )


def test_later_answers_change_no_earlier_batch() -> None:
    interactions = TRACING.planted()
    data = view(interactions)
    rows = data.test.measured().row
    label = interactions.events["label"].to_numpy().copy()
    label[rows] = 1 - label[rows]
    changed = view(replace(interactions, events=interactions.events.with_columns(label=pl.Series(label))))
    for before, after in ((data.train, changed.train), (data.validation, changed.validation)):
        for one, two in zip(before.batch(np.arange(50)), after.batch(np.arange(50)), strict=True):
            assert torch.equal(one, two)
    assert not torch.equal(data.test.batch(np.arange(50)).responses, changed.test.batch(np.arange(50)).responses)


def test_what_is_missing_is_named() -> None:
    interactions = TRACING.planted()
    fields = tuple(field for field in interactions.schema.fields if "concept" not in field.uses)
    with pytest.raises(
        ValueError, match="bare cannot be used for tracing: it lacks concepts of items; own tables: add concepts"
    ):
        view(replace(interactions, schema=Schema(dataset="bare", fields=fields)))
    with pytest.raises(ValueError, match="it lacks 10 students"):
        view(replace(interactions, events=interactions.events.filter(pl.col("user") < 10)))


def labelled(data: TracingData, rows: np.ndarray) -> TracingData:
    """The same with right answers in these rows of the events."""
    events = data.interactions.events.with_columns(label=pl.col("label"))
    label = events["label"].to_numpy().copy()
    label[rows] = 1
    return view(replace(data.interactions, events=events.with_columns(label=pl.Series(label))))


def test_a_part_whose_answers_are_all_right_has_no_auc_and_the_others_have_theirs() -> None:
    data = view(TRACING.planted())
    asked = data.test.measured()
    parts = {"auc", "auc new", "auc first", "auc known"}
    assert parts <= TRACING.evaluate(trained(data), predict, data.test).keys()
    for rows, lacks in (
        (asked.is_new, {"auc new", "auc first"}),
        (asked.is_new & (asked.step < FIRST_ANSWERS), {"auc first"}),
        (~asked.is_new, {"auc known"}),
        (np.ones(len(asked.row), bool), parts),
    ):
        changed = labelled(data, asked.row[rows])
        found = TRACING.evaluate(trained(changed), predict, changed.test)
        assert found.keys() & parts == parts - lacks
        assert np.isfinite(list(found.values())).all()


def test_students_of_few_answers_have_no_known_part_and_are_measured_all_the_same() -> None:
    planted = TRACING.planted()
    few = planted.events.filter(pl.int_range(pl.len()).over("user") < 1)
    data = view(replace(planted, events=few))
    assert "auc known" not in TRACING.evaluate(trained(data), predict, data.test)


def trained(data: TracingData) -> PFA:
    """A PFA with weights of any size; nothing here depends on what it learnt."""
    torch.manual_seed(0)
    model = PFA(Config(), data.schema)
    model.prepare(data)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    return model.eval()


def test_evaluation_measures_known_and_new_students_apart() -> None:
    data = view(TRACING.planted())
    model, rows = trained(data), np.arange(len(data.test))

    def predict(module: torch.nn.Module, split: object, batch_size: int) -> np.ndarray:
        parts = [data.test.batch(part) for part in np.array_split(rows, len(rows) // batch_size + 1)]
        with torch.inference_mode():
            return torch.cat([module(part) for part in parts]).numpy()

    measured = TRACING.evaluate(model, predict, data.test)
    batch = data.test.batch(rows)
    with torch.no_grad():
        logits = model(batch)
    counts, new = batch.counts > 0, (batch.student == 0)[:, None]
    first = torch.arange(logits.shape[1]) < 10
    for metric, part in (("auc", counts), ("auc new", counts & new), ("auc first", counts & new & first)):
        label = batch.responses[part].float().numpy()
        assert measured[metric] == pytest.approx(auc(label, logits[part].numpy()), abs=1e-9)
    assert measured["accuracy"] == accuracy(batch.responses[counts].float().numpy(), logits[counts].numpy())


def test_cross_entropy_is_over_the_answers_that_count() -> None:
    counts = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    responses, length = torch.tensor([[1, 0, 1], [1, 0, 0]]), torch.tensor([3, 1])
    batch = TracingBatch(torch.zeros(2, dtype=torch.int64), responses, responses, length, counts)
    logits = torch.tensor([[9.0, -1.0, 2.0], [0.5, 9.0, 9.0]])
    by_hand = np.mean([np.log1p(np.exp(-1)), np.log1p(np.exp(-2)), np.log1p(np.exp(-0.5))])
    assert cross_entropy(logits, batch).item() == pytest.approx(by_hand, rel=1e-6)


def test_the_fold_rung_breaks_where_a_sequence_form_is_wrong() -> None:
    data = view(TRACING.planted())
    batch = data.test.batch(np.arange(8))

    class Late(PFA):
        def forward(self, batch: TracingBatch) -> torch.Tensor:
            """Knows the answer that it is asked for."""
            return super().forward(batch) + 0.01 * batch.responses

    model, late = trained(data), Late(Config(), data.schema)
    late.load_state_dict(model.state_dict())
    assert fold_gap(model, batch) < 1e-5
    assert fold_gap(late, batch) > 1e-3


@pytest.mark.triton_server
@pytest.mark.slow
def test_the_plain_form_is_served_as_it_was_trained(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = view(TRACING.planted())
    release = TRACING.release("pfa", trained(data), data)
    assert [signature.name for signature in release] == ["pfa_start", "pfa_step", "pfa_ask", "pfa"]
    start, step, ask, whole = release
    user = torch.tensor([[3]])
    state = start.eager(user)
    for question, response in ((5, 1), (7, 0), (5, 1)):
        state = step.eager(*state, torch.tensor([[question]]), torch.tensor([[response]]))
    asked, ends = torch.tensor([5, 6, 7, 2**40]), torch.tensor([4], dtype=torch.int32)
    by_steps = ask.eager(*state, asked, ends)
    three = torch.tensor([3], dtype=torch.int32)
    at_once = whole.eager(user, torch.tensor([5, 7, 5]), three, torch.tensor([1, 0, 1]), three, asked, ends)
    for one, two in zip(by_steps, at_once, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)
    two = torch.tensor([2], dtype=torch.int32)
    torn = whole.eager(user, torch.tensor([5, 7, 5]), three, torch.tensor([1, 0]), two, asked, ends)
    assert torch.isnan(torn[0]).all()
    assert torch.isnan(torn[1]).all()
    models = repository("pfa", tmp_path_factory.mktemp("every"))
    ladder = walk(models, ParityOptions(requests=64, clients=8))
    assert ladder.ok, [row for row in ladder.rows if not row.ok]
    assert {row.rung for row in ladder.rows} == {"model", "export", "fold", "served", "concurrent"}


def test_a_question_becomes_a_request_and_an_answer_a_table() -> None:
    interactions = TRACING.planted()
    asked = Question(user=7, history=(), candidates=(5, 6), most=100)
    request = TRACING.request(interactions, asked)
    own = interactions.events.filter(pl.col("user") == 7).sort("time")
    assert request["history"][0].tolist() == own["item"].to_list()
    assert request["responses"][0].tolist() == own["label"].to_list()
    assert request["questions"].tolist() == [[5, 6]]
    assert TRACING.request(interactions, asked._replace(candidates=()))["questions"].shape == (1, 40)
    answer = {"probabilities": np.array([[0.25, 0.5]], np.float32), "mastery": np.full((1, 5), 0.75, np.float32)}
    shown = TRACING.shown(interactions, asked, request, answer)
    assert shown.rows == [[1, "item 6", 6, 0.5], [2, "item 5", 5, 0.25]]
    (mastery,) = TRACING.beside(interactions, request, answer)
    assert ["concept 5", 0.75] in [row[:2] for row in mastery.rows]
    with pytest.raises(ValueError, match="say which student"):
        TRACING.request(interactions, asked._replace(user=None))


def test_the_data_sets_of_students_need_no_files_and_fit_the_task() -> None:
    assert DATASETS[0].name == TRACING.default
    for dataset in DATASETS:
        data = view(dataset.read(None, silent))
        assert data.interactions.name == dataset.name
        assert data.q_matrix.shape == (len(data.concepts), data.concepts.max() + 1)
        assert (data.test.longest > 500) == dataset.name.startswith("simulated-students")

"""What is asked of a served tracing model about one student, and what a person reads of its answer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from recserve.course_picture import draw
from serving.ids import IdMap
from training.asking import Question, Tensors
from training.baselines.pfa import PFA, Config
from training.data.simulated_students import Simulation, simulate
from training.data.tracing import TracingData
from training.interactions import Interactions
from training.servable import Origin, Signature, of_origin
from training.system import PLAIN
from training.tasks.click import CLICK
from training.tasks.tracing import TRACING
from training.tasks.tracing_course import CONCEPTS, PREFIXES, prefixes
from training.tasks.tracing_served import MAX_ANSWERS

NAMED = ("unknown", "adding", "taking away", "halving", "doubling", "counting")


def interactions() -> Interactions:
    """Thirty students, whose ids and whose questions' ids are text; concepts have names."""
    plain = simulate(Simulation(students=30, replies=True, most_answers=90, answers=70)).interactions
    fields = tuple(replace(one, values=NAMED) if one.name == "concepts" else one for one in plain.schema.fields)
    names = {
        "user": IdMap(ids=np.array([f"s{number:02}" for number in range(1, 31)], object)),
        "item": IdMap(ids=np.array([f"q{number:02}" for number in range(1, 41)], object)),
    }
    return replace(plain, schema=replace(plain.schema, fields=fields), ids=names)


DATA = TRACING.view(interactions(), PLAIN)
EVENTS = DATA.interactions.events
LONGEST = int(EVENTS["user"].value_counts().sort("count", "user")["user"][-1])
STUDENT = Question(f"s{LONGEST:02}", (), (), 5_000)


def model(data: TracingData) -> PFA:
    torch.manual_seed(0)
    built = PFA(Config(), data.schema)
    built.prepare(data)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(0, 0.4)
    return built.eval()


Release = dict[str, Signature]


def release(data: TracingData) -> Release:
    return {one.name: one for one in TRACING.release("pfa", model(data), data)}


RELEASE = release(DATA)


class Served:
    """The release's own modules behind the names that clients send, and what was asked of them."""

    def __init__(self, of: Release = RELEASE) -> None:
        self.release, self.asked = of, list[tuple[str, Tensors]]()

    def __call__(self, name: str, request: Tensors) -> Tensors:
        self.asked.append((name, request))
        signature = self.release[name]
        sent = []
        for spec in signature.inputs:
            if spec.of is not None:
                sent.append(torch.tensor([request[spec.of].shape[1]], dtype=torch.int32))
                continue
            assert spec.name in request, f"{name} is not sent {spec.name}"
            value = request[spec.name]
            dense = torch.from_numpy(value if spec.ids is None else spec.ids.dense(value.ravel())[None])
            sent.append(dense[0] if spec.ragged else dense)
        found = signature.eager(*sent)
        return {
            spec.name: (one[None] if spec.ragged else one).numpy()
            for spec, one in zip(signature.outputs, found, strict=True)
        }


def of_sequence(question: Question = STUDENT) -> tuple[Tensors, Tensors]:
    """A request of `pfa` and its answer."""
    return asked("pfa", question)


def asked(name: str, question: Question = STUDENT) -> tuple[Tensors, Tensors]:
    whole = TRACING.request(DATA.interactions, question)
    names = {spec.name for spec in RELEASE[name].inputs}
    request = {key: value for key, value in whole.items() if key in names}
    return request, Served()(name, request)


def own(student: int = LONGEST) -> pl.DataFrame:
    return EVENTS.filter(pl.col("user") == student).sort("time")


def test_one_request_fits_the_model_that_is_sent_the_answers_and_the_one_whose_server_has_them() -> None:
    answers = own()
    (request, by_sequence), (kept, by_student) = (asked(name) for name in ("pfa", "pfa_of_user"))
    assert request["history"][0].tolist() == [f"q{item:02}" for item in answers["item"]]
    assert request["responses"][0].tolist() == [int(one) for one in answers["label"]]
    assert {*kept} == {"user_id", "candidates"}
    for name in ("probabilities", "mastery"):
        np.testing.assert_allclose(by_sequence[name], by_student[name], atol=1e-6)
    shown = [TRACING.shown(DATA.interactions, STUDENT, *one) for one in ((request, by_sequence), (kept, by_student))]
    assert [row[2] for row in shown[0].rows] == [row[2] for row in shown[1].rows]
    right = int((answers["label"] > 0).sum())
    assert shown[0].lines == (f"student s{LONGEST:02} (planted-tracing): {right} of {len(answers)} answers right",)
    assert "what was pushed to the server since counts, too" in shown[1].lines[0]


def test_a_student_whom_the_data_set_does_not_know_is_called_so() -> None:
    nobody = STUDENT._replace(user="nobody")
    (line,) = TRACING.shown(DATA.interactions, nobody, *asked("pfa", nobody)).lines
    assert line == "student nobody, who is unknown to planted-tracing and so without answers: 0 of 0 answers right"


def test_both_models_of_a_release_that_clients_ask_are_wholes_and_the_others_are_parts_of_them() -> None:
    release = of_origin(tuple(RELEASE.values()), Origin(system="pfa", task="tracing", schema=DATA.schema))
    whole = {one.name: one.origin.part_of for one in release}
    assert whole == {
        **dict.fromkeys(("pfa_encoder", "pfa_scorer", "pfa_observer", "pfa_state"), "pfa_of_user"),
        **dict.fromkeys(("pfa_start", "pfa_step", "pfa_ask"), "pfa"),
        **dict.fromkeys(("pfa_of_user", "pfa"), None),
    }


def test_questions_come_by_nearness_to_a_target_and_the_nearest_is_to_be_asked_next() -> None:
    shown = TRACING.shown(DATA.interactions, STUDENT, *of_sequence())
    probabilities = [float(str(row[3])) for row in shown.rows]
    assert probabilities == sorted(probabilities, reverse=True)
    for target in (0.0, 0.5, 0.7, 1.0):
        near = TRACING.towards(shown, target)
        gaps = [abs(float(str(row[3])) - target) for row in near.rows]
        assert gaps == sorted(gaps)
        assert [row[0] for row in near.rows] == list(range(1, 41))
        assert near.lines[-1].startswith(
            f"ask next: item {near.rows[0][2]}, probability {near.rows[0][3]:.3f}, nearest"
        )
        assert near.title.endswith(f"the ones nearest to {target:g} first")
    tied = shown._replace(rows=[[1, "item a", "a", 0.75], [2, "item b", "b", 0.25]])
    assert [row[2] for row in TRACING.towards(tied, 0.5).rows] == ["a", "b"]
    with pytest.raises(ValueError, match="--target: the answers of the task click are no probabilities"):
        CLICK.towards(shown, 0.7)


def test_mastery_is_a_table_by_the_concepts_names_with_the_answers_that_were_about_each() -> None:
    request, answer = of_sequence()
    (table,) = TRACING.beside(DATA.interactions, request, answer)
    answers = own()
    concepts = DATA.concepts[answers["item"].to_numpy()]
    expected = {}
    for number, name in enumerate(NAMED[1:], 1):
        about = (concepts == number).any(axis=1)
        right = int((answers["label"].to_numpy()[about] > 0).sum())
        expected[name] = pytest.approx((answer["mastery"][0, number - 1], int(about.sum()), right))
    assert {str(row[0]): tuple(row[1:]) for row in table.rows} == expected
    counts = [int(str(row[2])) for row in table.rows]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


@pytest.mark.parametrize("name", ["pfa", "pfa_of_user"])
def test_the_counterfactual_is_the_same_model_asked_with_the_last_answer_turned_over(name: str) -> None:
    request, answer = asked(name)
    served, answers = Served(), own()
    mastery, probabilities = TRACING.explained(served, name, DATA.interactions, request, answer)
    label = answers["label"].to_numpy() > 0
    item = int(answers["item"][-1])
    said = ["wrong", "right"]
    was, other = said[int(label[-1])], said[int(not label[-1])]
    assert mastery.lines == (f"the last answer, to item q{item:02}, was {was}", f"had this answer been {other}:")
    before, after = (Served()("pfa", {**of_sequence()[0], "responses": one}) for one in turned(label))
    expected = {}
    for concept in DATA.concepts[item].tolist():
        if concept:
            pair = (one["mastery"][0, concept - 1] for one in (before, after))
            expected[NAMED[concept]] = pytest.approx(tuple(pair))
    assert {str(row[0]): tuple(row[1:3]) for row in mastery.rows} == expected
    change = after["probabilities"][0] - before["probabilities"][0]
    largest = np.argsort(-np.abs(change), kind="stable")[:10]
    assert [row[1] for row in probabilities.rows] == [f"q{number + 1:02}" for number in largest]
    for row, number in zip(probabilities.rows, largest, strict=True):
        assert row[2:] == pytest.approx(
            [before["probabilities"][0, number], after["probabilities"][0, number], change[number]]
        )
    assert {asked for asked, _ in served.asked} == {"pfa"}
    assert abs(change[largest[0]]) > 1e-3, "a counterfactual that changes nothing"


def turned(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    other = label.copy()
    other[-1] = not other[-1]
    return label.astype(np.int64)[None], other.astype(np.int64)[None]


def test_a_student_without_answers_has_no_counterfactual_and_no_course() -> None:
    nobody = Question("nobody", (), (), 100)
    request, answer = of_sequence(nobody)
    (said,) = TRACING.explained(Served(), "pfa", DATA.interactions, request, answer)
    assert said.lines == ("no answer yet that could have been another one",)
    with pytest.raises(ValueError, match="--picture: student nobody has no answers in planted-tracing"):
        TRACING.course(Served(), "pfa", DATA.interactions, request)
    with pytest.raises(ValueError, match="--picture: nothing that the task click says of a user has a course"):
        CLICK.course(Served(), "pfa", DATA.interactions, request)


@pytest.mark.parametrize("name", ["pfa", "pfa_of_user"])
def test_the_course_of_mastery_is_the_served_model_s_word_for_prefixes_of_the_answers(
    name: str, tmp_path: Path
) -> None:
    request, _ = asked(name)
    served, answers = Served(), own()
    found = TRACING.course(served, name, DATA.interactions, request)
    assert len(answers) > PREFIXES >= len(found.steps) == len(served.asked)
    assert (found.steps[0], found.steps[-1]) == (0, len(answers))
    assert {asked for asked, _ in served.asked} == {"pfa"}
    assert {sent["questions"].shape for _, sent in served.asked} == {(1, 1)}
    assert [line.name for line in found.lines] == [
        str(row[0]) for row in TRACING.beside(DATA.interactions, *of_sequence())[0].rows
    ]
    whole, label = of_sequence()[0], answers["label"].to_numpy() > 0
    concepts = DATA.concepts[answers["item"].to_numpy()]
    for line in found.lines:
        number = NAMED.index(line.name)
        for place in (0, 7, len(found.steps) - 1):
            some = slice(0, int(found.steps[place]))
            sent = {**whole, "history": whole["history"][:, some], "responses": whole["responses"][:, some]}
            assert line.values[place] == pytest.approx(Served()("pfa", sent)["mastery"][0, number - 1])
        about = (concepts == number).any(axis=1)
        assert line.good.tolist() == (np.flatnonzero(about & label) + 1).tolist()
        assert line.bad.tolist() == (np.flatnonzero(about & ~label) + 1).tolist()
    draw(found, tmp_path / "course.svg")
    drawn = (tmp_path / "course.svg").read_text()
    assert all(text in drawn for text in (*NAMED[1:], "answers of the student", "mastery by concept, as pfa says"))


def test_prefixes_are_few_evenly_far_apart_and_end_with_all_answers() -> None:
    assert prefixes(3).tolist() == [0, 1, 2, 3]
    many = prefixes(1_999)
    assert (len(many), many[0], many[-1]) == (PREFIXES, 0, 1_999)
    assert set(np.diff(many).tolist()) <= {33, 34}


def test_only_the_concepts_that_were_answered_most_are_drawn_and_no_more_answers_sent_than_a_request_carries() -> None:
    simulation = Simulation(students=12, concepts=20, answers=800, length_spread=0.2, most_answers=900)
    data = TRACING.view(simulate(simulation).interactions, PLAIN)
    most = int(data.interactions.events["user"].value_counts().sort("count", "user")["user"][-1])
    request = TRACING.request(data.interactions, Question(most, (), (), 100))
    served = Served(release(data))
    found = TRACING.course(served, "pfa", data.interactions, request)
    assert len(found.lines) == CONCEPTS
    assert max(one["history"].shape[1] for _, one in served.asked) == MAX_ANSWERS < int(found.steps[-1])
    counts = [len(line.good) + len(line.bad) for line in found.lines]
    assert counts == sorted(counts, reverse=True)

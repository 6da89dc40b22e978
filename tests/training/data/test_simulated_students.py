from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from training.data.simulated_students import Simulation, Students, simulate
from training.data.student_presets import DATASETS, SYNTHETIC5
from training.interactions import silent
from training.metrics import auc


def students(**changes: object) -> Students:
    return simulate(replace(Simulation(students=200), **changes), seed=1)


def test_simulated_answers_have_the_probabilities_that_are_kept() -> None:
    found = students()
    label = found.interactions.events["label"].to_numpy()
    for low in (0.2, 0.5, 0.8):
        rows = (found.probability > low) & (found.probability < low + 0.2)
        assert label[rows].mean() == pytest.approx(found.probability[rows].mean(), abs=0.04)
    assert found.probability.min() >= Simulation().guess
    assert auc(label, found.probability) > 0.75
    assert np.array_equal(students().probability, found.probability)


def test_students_learn_and_those_who_forget_lose_it() -> None:
    learnt = students(learning=(0.2,), forgetting=(0.0,)).ability.mean()
    forgotten = students(learning=(0.2,), forgetting=(5.0,)).ability.mean()
    untaught = students(learning=(0.0,), forgetting=(0.0,)).ability.mean()
    assert learnt > forgotten > untaught


def test_blocked_order_stays_with_a_concept() -> None:
    def changes(order: str) -> float:
        found = students(order=order, both=0.0)
        concept = np.array([0, *(row[0] for row in found.interactions.items["concepts"].to_list()[1:])])
        return float(np.mean(np.diff(concept[found.interactions.events["item"].to_numpy()]) != 0))

    assert changes("blocked") < 0.2 < 0.6 < changes("interleaved")


def test_an_ability_is_that_of_the_next_answer_however_long_others_go_on() -> None:
    """One concept and no difficulty: the next probability follows from the ability alone."""
    plain = {
        "concepts": 2,
        "both": 0.0,
        "guess": 0.0,
        "difficulty_spread": 0.0,
        "forgetting": (0.1,),
        "learning": (0.3,),
    }
    whole = students(**plain)
    events = whole.interactions.events
    start = events.group_by("user", maintain_order=True).agg(pl.col("item"), pl.col("label"), pl.col("probability"))
    concept = whole.interactions.items["concepts"].list.first().to_numpy()
    for user, items, labels, probabilities in start.rows()[:40]:
        gained = {1: 0.0, 2: 0.0}
        first = {}
        for item, label, probability in zip(items, labels, probabilities, strict=True):
            own, ability = int(concept[item]), np.log(probability / (1 - probability))
            first.setdefault(own, ability)
            assert ability == pytest.approx(first[own] + gained[own], abs=1e-6)
            gained[own] += 0.3 if label > 0 else 0.18
            gained = {one: value * np.exp(-0.1) for one, value in gained.items()}
        for own, ability in first.items():
            assert whole.ability[user, own] == pytest.approx(ability + gained[own], abs=1e-6)


def test_what_only_the_simulation_knows_is_no_field_of_the_schema() -> None:
    interactions = students().interactions
    assert {"probability"} == {*interactions.events.columns} - {field.name for field in interactions.schema.fields}
    assert interactions.truth["mode"].shape == (201,)
    assert interactions.truth["ability"].shape == (201, 6)


def test_synthetic5_is_of_the_published_shape() -> None:
    assert SYNTHETIC5.name in [dataset.name for dataset in DATASETS]
    found = next(one for one in DATASETS if one.name == SYNTHETIC5.name).read(None, silent)
    events = found.events
    assert len(events) == 4_000 * 50
    order = events["item"].to_numpy().reshape(4_000, 50)
    assert (order == order[0]).all()
    assert sorted(order[0]) == [*range(1, 51)]
    parts = events.group_by("part").agg(pl.col("user").n_unique()).sort("part")
    assert parts.rows() == [(1, 1_800), (2, 200), (3, 2_000)]
    label, tests = events["label"].to_numpy(), events["part"].to_numpy() == 3
    means = np.bincount(order.ravel()[~tests], label[~tests]) / np.maximum(1, np.bincount(order.ravel()[~tests]))
    assert auc(label[tests], means[order.ravel()[tests]]) == pytest.approx(0.63, abs=0.015)

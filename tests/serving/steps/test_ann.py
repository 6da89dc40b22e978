"""The index of items: what it finds against all items scored, filters, damage, and its rung of the ladder."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import torch

from export.artifacts import Source
from export.lint import check
from export.parity import offline
from export.repository import publish
from serving.ann_index import FACTS_FILE, FEW, INDEX_FILE, AnnIndex, facts_of
from serving.steps.ann import AnnStep
from serving.steps.step import Refusal
from tests.serving.unhosted import Unhosted
from training.data.planted_clicks import planted_clicks
from training.layers.item_filters import ANY, filter_specs
from training.servable import Packed, StepServable, TensorSpec
from training.steps.ann import LEAST_RECALL, ann, build, factory_of

ITEMS, WIDTH, TOP = 3_000, 8, 10
COLOURS = 4


@cache
def vectors() -> np.ndarray:
    """Near 30 centres; row 0, the unknown item, would be the best for everybody."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(30, WIDTH))
    found = centres[random.integers(30, size=ITEMS + 1)] + 0.3 * random.normal(size=(ITEMS + 1, WIDTH))
    found[0] = 100
    return found.astype(np.float32)


@cache
def colours() -> np.ndarray:
    """One in a hundred has the last one."""
    found = np.random.default_rng(1).integers(0, COLOURS - 1, (ITEMS + 1, 1))
    found[::100] = COLOURS - 1
    return found


def requests(number: int, seed: int) -> Packed:
    random = np.random.default_rng(seed)
    asked = vectors()[random.integers(1, ITEMS, number)] + 0.2 * random.normal(size=(number, WIDTH))
    sizes = random.integers(0, 20, number)
    met = random.integers(0, ITEMS + 1, (number, 5))
    excluded = random.integers(1, ITEMS + 1, sizes.sum())
    only = random.integers(-1, COLOURS, (number, 1))
    tensors = asked.astype(np.float32), met, excluded, np.cumsum(sizes).astype(np.int32), only
    return tuple(map(torch.from_numpy, tensors))


def inputs() -> tuple[TensorSpec, ...]:
    excluded, offsets, _ = filter_specs(planted_clicks())
    return (
        TensorSpec(name="vector", dtype="float32", shape=(WIDTH,)),
        TensorSpec(name="history_items", dtype="int64", shape=(5,)),
        excluded,
        offsets,
        TensorSpec(name="only_colour", dtype="int64", shape=(1,), minimum=ANY, maximum=COLOURS - 1),
    )


def release() -> StepServable:
    items = TensorSpec(name="items", dtype="int64", shape=(TOP,))
    return ann("index", vectors(), {"colour": colours()}, TOP, inputs(), items, requests)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    publish(tmp_path / "models", (release(),), Source(kind="factory", name="tests.serving.steps.test_ann:release"))
    return tmp_path / "models"


def brute(vector: np.ndarray, left_out: set[int], colour: int) -> list[int]:
    """The best items by score, all of them looked at."""
    scores = vectors().astype(np.float64) @ vector
    order = np.argsort(-scores, kind="stable").tolist()
    kept = [one for one in order if one and one not in left_out and colour in (ANY, colours()[one, 0])]
    return kept[:TOP]


def asked(vector: np.ndarray, met: list[int], excluded: list[int], colour: int) -> dict[str, np.ndarray]:
    return {
        "vector": vector[None].astype(np.float32),
        "history_items": np.array([met + [0] * (5 - len(met))]),
        "excluded": np.array([excluded], np.int64),
        "only_colour": np.array([[colour]]),
    }


def test_nearly_all_of_the_best_are_found_with_their_exact_scores(repository: Path) -> None:
    step, found, wanted = AnnStep(Unhosted(), repository / "index" / "1"), 0, 0
    random = np.random.default_rng(5)
    for _ in range(60):
        vector = vectors()[random.integers(1, ITEMS)]
        best = brute(vector, set(), ANY)
        (answer,) = step.answer([asked(vector, best[:2], best[3:5], ANY)])
        assert not isinstance(answer, Refusal)
        items, expected = answer["items"][0].tolist(), brute(vector, {*best[:2], *best[3:5]}, ANY)
        assert not {0, *best[:2], *best[3:5]} & {*items}
        assert np.allclose(answer["scores"][0], vectors()[items] @ vector, atol=1e-5)
        assert (np.diff(answer["scores"][0]) <= 0).all()
        found, wanted = found + len({*items} & {*expected}), wanted + TOP
    assert found >= LEAST_RECALL * wanted


@pytest.mark.parametrize("colour", range(COLOURS))
def test_a_filter_that_leaves_few_is_answered_exactly(repository: Path, colour: int) -> None:
    assert FEW >= ITEMS
    step = AnnStep(Unhosted(), repository / "index" / "1")
    for number in range(1, 40):
        (answer,) = step.answer([asked(vectors()[number], [number], [], colour)])
        assert not isinstance(answer, Refusal)
        assert answer["items"][0].tolist() == brute(vectors()[number], {number}, colour)


def test_a_filter_that_leaves_many_looks_into_more_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.ann_index.FEW", 0)
    index = AnnIndex(build(vectors()), vectors(), {"colour": colours()}, 4)
    found = wanted = 0
    for number in range(1, 60):
        listed = index.best(vectors()[number], TOP, np.zeros(0, np.int64), {"colour": COLOURS - 1})
        assert set(colours()[listed.items, 0]) == {COLOURS - 1}
        expected = brute(vectors()[number], set(), COLOURS - 1)
        found, wanted = found + len({*listed.items.tolist()} & {*expected}), wanted + len(expected)
    assert found >= LEAST_RECALL * wanted


def test_a_list_that_cannot_be_filled_is_not_full(repository: Path) -> None:
    few = np.flatnonzero(colours()[1:, 0] == COLOURS - 1) + 1
    step = AnnStep(Unhosted(), repository / "index" / "1")
    (answer,) = step.answer([asked(vectors()[5], [], few[3:].tolist(), COLOURS - 1)])
    assert not isinstance(answer, Refusal)
    assert {*answer["items"][0, :3].tolist()} == {*few[:3].tolist()}
    assert (answer["items"][0, 3:] == 0).all()
    assert (answer["scores"][0, 3:] == -1e9).all()


def test_it_is_published_with_what_it_promises_and_passes_linter_and_ladder(repository: Path) -> None:
    facts = facts_of(repository / "index" / "1")
    assert (facts.factory, facts.top, facts.faiss) == (factory_of(ITEMS), TOP, faiss.__version__)
    assert facts.recall >= LEAST_RECALL
    assert not [one for one in check(repository) if one.severity == "error"]
    rows = {row.rung: row for row in offline(repository)}
    assert {name for name, row in rows.items() if row.ok} == {"export", "recall"}


def test_an_index_that_finds_less_than_promised_breaks_the_ladder(repository: Path) -> None:
    path = repository / "index" / "1" / FACTS_FILE
    facts = json.loads(path.read_text())
    step = AnnStep(Unhosted(), path.parent)
    tensors = requests(40, 3)
    ends = [0, *tensors[3].tolist()]
    rows = [
        asked(tensors[0][row].numpy(), tensors[1][row].tolist(), tensors[2][ends[row] : ends[row + 1]].tolist(), ANY)
        for row in range(40)
    ]
    whole = step.recall(rows)
    path.write_text(json.dumps({**facts, "nprobe": 1}))
    assert AnnStep(Unhosted(), path.parent).recall(rows) < LEAST_RECALL <= whole


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / INDEX_FILE).write_bytes(b"x" * 100), "is not the index that was written"),
        (lambda folder: (folder / INDEX_FILE).unlink(), "cannot be read"),
        (lambda folder: (folder / FACTS_FILE).write_text("{}"), "does not say what index this is"),
        (lambda folder: (folder / "vectors.safetensors").write_bytes(b""), "holds no vectors"),
    ],
)
def test_damage_is_named(repository: Path, change: Callable[[Path], object], said: str) -> None:
    change(repository / "index" / "1")
    with pytest.raises(ValueError, match=said):
        AnnStep(Unhosted(), repository / "index" / "1")


def test_lists_and_their_number_follow_from_the_number_of_items() -> None:
    assert [factory_of(number) for number in (100_000, 1_000_000)] == ["IVF1024,SQ8", "IVF4096,SQ8"]
    assert factory_of(30) == "IVF1,SQ8"


def test_a_search_in_a_mapped_index_starts_no_threads(repository: Path) -> None:
    index = AnnIndex.open(repository / "index" / "1")
    inverted: Any = faiss.extract_index_ivf(index._index).invlists
    lists = faiss.downcast_InvertedLists(inverted)
    assert isinstance(lists, faiss.OnDiskInvertedLists)
    assert lists.prefetch_nthread == 0

"""What HeterRec serves: vectors, a step that equals the full run, a new item, and what an answer hangs on."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from tests.training.systems.heterrec_models import SMALL, by_hand, data, model
from training.data.sequences import CONTENT, SequenceData, sequences
from training.fit import FitOptions, fit
from training.interactions import Content, Interactions
from training.layers.served_lists import packed
from training.schema import Schema
from training.servable import Signature
from training.system import Wanted, prepare
from training.systems.heterrec import SYSTEM, Config, HeterRec
from training.systems.heterrec.explained import explained, token_names
from training.systems.heterrec.parts import NEWEST, TokenEffects
from training.warm_start import warm_start

WALK = [4, 7, 9, 2, 30, 11, 5]


@cache
def released(config: Config = SMALL) -> dict[str, Signature]:
    return {one.name.removeprefix("heterrec").lstrip("_"): one for one in SYSTEM.release(model(config), config, data())}


def histories(*walks: list[int]) -> tuple[torch.Tensor, ...]:
    return packed([np.array(walk, np.int64) for walk in walks])


@pytest.mark.parametrize("mask", ["strict", "block"])
@pytest.mark.parametrize(("token_layers", "item_layers"), [(1, 1), (2, 0), (0, 2)])
def test_an_event_added_to_what_is_kept_equals_the_full_run(mask: str, token_layers: int, item_layers: int) -> None:
    config = Config(**{**vars(SMALL), "mask": mask, "token_layers": token_layers, "item_layers": item_layers})
    module, models = model(config), released(config)
    width = models["step"].outputs[1].shape[0]
    assert isinstance(width, int)
    past, tokens = torch.zeros(1, width), module.tables()[0]
    events = [*WALK, 2**40, -5, 8, 12, 13]
    assert len(events) == SMALL.max_length
    for number, item in enumerate(events):
        vector, past = models["step"].eager(torch.tensor([[item]]), torch.tensor([[number]]), past)
        walk = [*WALK, 0, 0, 8, 12, 13][: number + 1]
        (full,) = models["user"].eager(*histories(walk))
        torch.testing.assert_close(vector, full, atol=1e-5, rtol=1e-5)
        expected = by_hand(module, tokens[torch.tensor(walk)])[-1] / SMALL.temperature
        torch.testing.assert_close(full[0], expected, atol=1e-4, rtol=1e-5)


def test_users_with_other_numbers_of_events_take_a_step_together() -> None:
    step = released()["step"]
    item, events, past = step.example(8, 3)
    assert len(events.unique()) > 3
    vectors, kept = step.eager(item, events, past)
    for row in range(8):
        alone = step.eager(item[row : row + 1], events[row : row + 1], past[row : row + 1])
        torch.testing.assert_close(alone[0][0], vectors[row])
        torch.testing.assert_close(alone[1][0], kept[row])


def test_scores_are_the_products_of_the_served_vectors() -> None:
    history = histories(WALK, [3])
    items, scores = released()[""].eager(*history)
    (users,) = released()["user"].eager(*history)
    vectors = model().tables()[1]
    torch.testing.assert_close((users[:, None] * vectors[items]).sum(2), scores, atol=1e-4, rtol=1e-5)


def test_an_item_is_described_by_its_fields_and_content_and_the_unknown_id() -> None:
    served = released()["item"]
    assert [spec.name for spec in served.inputs] == ["category", "text", "graph"]
    content = data().content
    (vectors,) = served.eager(
        torch.tensor([[data().categories[7]], [2]]),
        *(torch.from_numpy(part[[7, 9]]) for part in (content.text, content.graph)),
    )
    counts = data().train_item_counts.copy()
    counts[7] = 0
    torch.testing.assert_close(vectors[0], model(view=replace(data(), train_item_counts=counts)).tables()[1][7])
    assert not torch.allclose(vectors[0], model().tables()[1][7], atol=1e-3)


def with_new_item(known: Interactions, like: int) -> Interactions:
    """One item more than there was: nobody chose it, and it is much like another one."""
    drawn = np.random.default_rng(0).normal(size=384).astype(np.float32)
    content = Content(*(np.concatenate([part, part[like][None]]) for part in known.content))
    content.text[-1] += 0.2 * drawn / np.linalg.norm(drawn)
    fields = tuple(
        replace(field, cardinality=62, values=(*(field.values or ()), "new"))
        if "key" in field.uses and field.role == "item"
        else field
        for field in known.schema.fields
    )
    row = known.items[like].with_columns(title=pl.lit("new"))
    return replace(
        known,
        schema=Schema(dataset=known.schema.dataset, fields=fields),
        items=pl.concat([known.items, row]),
        load_content=lambda: content,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = replace(SMALL, batch_size=32, epochs=6, learning_rate=1e-2)
    folder = tmp_path_factory.mktemp("heterrec") / "run"
    fit(SYSTEM, config, data(), FitOptions(run=folder, quiet=True))
    return folder


def taken_over(run: Path, view: SequenceData) -> HeterRec:
    module = HeterRec(SMALL, view.schema)
    prepare(module, view)
    warm_start(module, view.interactions, run, SMALL, new_as_unknown=True)
    return module.eval()


def test_an_item_that_was_added_after_training_is_found_by_its_fields_and_content(run: Path) -> None:
    """Without a step of training: users of its cluster are listed it before most others, other users are not."""
    like = 14
    view = sequences(with_new_item(data().interactions, like), Wanted(frozenset({CONTENT}), SMALL.max_length, {}))
    module = taken_over(run, view)
    tokens, vectors = module.tables()
    assert torch.equal(tokens[61, -1], module.ids.weight[0] + module.types[-1])
    own, others = [], []
    for user in range(60):
        history = view.sequences[user][:-1]
        with torch.no_grad():
            state = module.encode(tokens[torch.from_numpy(history)][None])[0, -1]
            scores = state @ vectors.T
        scores[[0, *history.tolist()]] = -torch.inf
        place = 1 + int((scores > scores[61]).sum())
        inside = (view.categories[history] == view.categories[like]).mean() > 0.5
        (own if inside else others).append(place)
    assert len(own) >= 5
    assert np.median(own) <= 8
    assert np.median(others) > 20


def test_what_a_token_counts_for_is_the_fall_of_the_score_without_it() -> None:
    module = model()
    effects = TokenEffects(module, torch.from_numpy(data().train_item_counts))
    history, ends = histories(WALK, [8, 3])
    found = effects(history, ends, torch.tensor([[21], [40]]))
    assert found.shape == (2, NEWEST, 4)
    assert not found[1, 2:].any()
    tokens, vectors = module.tables()
    share = torch.from_numpy(data().train_item_counts / data().train_item_counts.sum()).float()
    means = (share[:, None, None] * tokens).sum(0)
    whole = tokens[torch.tensor(WALK)]
    for newest, kind in ((0, 0), (0, 3), (4, 2)):
        without = whole.clone()
        without[len(WALK) - 1 - newest, kind] = means[kind]
        before, after = (by_hand(module, one)[-1] @ vectors[21] / SMALL.temperature for one in (whole, without))
        torch.testing.assert_close(found[0, newest, kind], before - after, atol=1e-4, rtol=1e-3)


def test_ask_tells_which_tokens_counted_with_titles_newest_first() -> None:
    models = released()
    request = {"history": np.array([WALK])}
    items, scores = models[""].eager(*histories(WALK))
    asked = []

    def infer(name: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        asked.append((name, tensors["item"].tolist()))
        (effects,) = models[name.removeprefix("heterrec_")].eager(*histories(WALK), torch.from_numpy(tensors["item"]))
        return {"effects": effects.numpy()}

    answer = {"items": items.numpy(), "scores": scores.numpy()}
    (table,) = explained(infer, "heterrec", data().interactions, request, answer)
    assert asked == [("heterrec_tokens", [[items[0, 0].item()]])]
    assert table.columns == ("title", "item", *model().names)
    assert token_names(data().interactions) == model().names
    assert [row[1] for row in table.rows] == WALK[::-1]
    assert table.rows[0][0] == "Item 5"
    assert f"Item {items[0, 0].item()}" in table.title
    total = np.abs(np.array([row[2:] for row in table.rows], np.float64)).sum(0)
    assert table.lines[0].startswith(f"of all changes: category {total[0] / total.sum():.0%}, text ")

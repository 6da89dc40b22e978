"""BBQ, the quantiser: what modalities share is kept apart from what they have alone, and is bound to behaviour."""

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.training.systems.tokenizer_models import SMALL, catalogue, items, prepared, wanted
from tests.training.walks import data_of
from training.data.catalogue import CatalogueData, ItemBatch
from training.data.synthetic_sequences import synthetic_sequences
from training.layers.quantiser import unit
from training.layers.residual import sum_of_words
from training.loop import predict
from training.systems.bbqrec import BBQ, QUANTISER
from training.systems.bbqrec.aims import agreement, behaviour_loss
from training.systems.bbqrec.club import Club, bound
from training.systems.bbqrec.neighbours import neighbours
from training.systems.bbqrec.quantiser import SHARED, Encoded, moving
from training.systems.bbqrec.tokenizer import products
from training.tasks.semantic_ids import SEMANTIC_IDS


@pytest.fixture(scope="module")
def data() -> CatalogueData:
    return catalogue(QUANTISER)


@pytest.fixture(scope="module")
def trained() -> BBQ:
    return after()


@cache
def after(steps: int = 80, **changed: Any) -> BBQ:
    """Trained on the planted catalogue."""
    return of(catalogue(QUANTISER), steps, **changed)


def of(data: CatalogueData, steps: int, **changed: Any) -> BBQ:
    """As a stage does it: what CLUB follows with has a rate of its own."""
    module = prepared(QUANTISER, data, **changed)
    torch.manual_seed(1)
    (stage,) = QUANTISER.stages_of(module.config)
    (group,) = stage.groups
    fast = [*group.parameters(module)]
    slow = [one for one in module.parameters() if all(one is not other for other in fast)]
    optimizer = torch.optim.AdamW([{"params": fast, "lr": 4 * group.learning_rate}, {"params": slow, "lr": 4e-3}])
    for _ in range(steps):
        loss, _ = stage.loss(module, data.train.batch(torch.randperm(len(data.train)).numpy()), 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.eval()


@torch.no_grad()
def encoded_by(module: BBQ, data: CatalogueData) -> Encoded:
    return module.encode(items(data))


def test_club_with_the_true_conditional_gives_what_is_known_of_correlated_gaussians() -> None:
    rho, random = 0.8, torch.Generator().manual_seed(0)
    x, noise = (torch.randn(200_000, 1, generator=random, dtype=torch.float64) for _ in range(2))
    y = rho * x + math.sqrt(1 - rho**2) * noise
    found = float(bound(rho * x, torch.full_like(x, math.log(1 - rho**2)), y))
    assert found == pytest.approx(rho**2 / (1 - rho**2), abs=0.03)
    assert found > -0.5 * math.log(1 - rho**2), "never below the mutual information"
    few = [part[:50] for part in (x, y)]
    spread = torch.full((50, 1), math.log(1 - rho**2), dtype=torch.float64)
    gaps = (few[1].T - rho * few[0]).square() / (2 * (1 - rho**2))
    assert float(bound(rho * few[0], spread, few[1])) == pytest.approx(float(gaps.mean() - gaps.diagonal().mean()))


def test_q_follows_the_latents_and_the_bound_moves_them_alone() -> None:
    torch.manual_seed(0)
    club = Club(4, 8, 3)
    x, y = (torch.randn(64, width).requires_grad_() for width in (4, 3))
    club.follow(x, y).backward()
    assert x.grad is None
    assert y.grad is None
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in club.parameters())
    club.zero_grad()
    y_tied = x[:, :3] + 0.1 * y
    for _ in range(100):
        with torch.no_grad():
            gradients = torch.autograd.grad(follow(club, x, y_tied), [*club.parameters()])
            for parameter, gradient in zip(club.parameters(), gradients, strict=True):
                parameter -= 0.05 * gradient
    shared = club.shared(x, y_tied)
    shared.backward()
    assert shared.item() > 0.1
    assert x.grad is not None
    assert x.grad.any()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in club.parameters())


def follow(club: Club, x: Tensor, y: Tensor) -> Tensor:
    with torch.enable_grad():
        return club.follow(x, y)


def test_neighbours_are_those_of_training_histories_within_five_places() -> None:
    data = data_of([[1, 2, 3, 4, 5, 6, 7, 8, 9], [3, 1, 10, 11], [12, 13]])
    pairs = {(int(one), int(other)) for one, other in neighbours(data).T}
    expected = {(one, other) for one in range(1, 8) for other in range(1, 8) if 0 < abs(one - other) <= 5}
    assert pairs == expected | {(3, 1), (1, 3), (12, 13), (13, 12)}
    assert neighbours(data).shape[1] == len(expected) + 4, "what was met twice stands there twice"


def test_who_was_held_out_never_matters() -> None:
    """Every user's last two items are others: not a bit of the trained quantiser differs."""
    first = synthetic_sequences()
    place = pl.int_range(pl.len()).over("user")
    ours = pl.when((place >= pl.len().over("user") - 2) & (pl.len().over("user") > 2))
    other = replace(first, events=first.events.with_columns(item=ours.then(61 - pl.col("item")).otherwise("item")))
    assert not first.events.equals(other.events)
    found = []
    for interactions in (first, other):
        data = QUANTISER.view(SEMANTIC_IDS.view(interactions, wanted()))
        assert isinstance(data, CatalogueData)
        found.append(of(data, 5).state_dict())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_a_neighbour_is_drawn_as_often_as_the_two_were_met_and_never_of_items_to_validate(data: CatalogueData) -> None:
    module = prepared(QUANTISER, data)
    torch.manual_seed(0)
    pairs = neighbours(data.sequences)
    held = data.validation.item
    own = pairs[1, (pairs[0] == 1) & ~np.isin(pairs[1], held)]
    drawn = module.partners(torch.ones(20_000, dtype=torch.int64)).bincount(minlength=61) / 20_000
    np.testing.assert_allclose(drawn.numpy(), np.bincount(own, minlength=61) / len(own), atol=0.02)
    assert not module.partners(torch.from_numpy(held)).any()
    everyone = module.partners(torch.arange(61).repeat(50)).unique().numpy()
    assert not np.isin(held, everyone).any()


def test_one_codebook_serves_all_sources_or_each_has_its_own(data: CatalogueData) -> None:
    shared, separate = (prepared(QUANTISER, data, books=books) for books in ("shared", "separate"))
    assert shared.book(0) is shared.book(1) is shared.book(SHARED)
    assert len({id(separate.book(source)) for source in range(3)}) == 3
    for module, same in ((shared, True), (separate, False)):
        latent = unit(torch.randn(40, 8, generator=torch.Generator().manual_seed(3)))
        first, second = (module.book(source)(latent) for source in (0, 1))
        equal = [torch.equal(one.codes, other.codes) for (_, one), (_, other) in zip(first, second, strict=True)]
        assert all(equal) == same


def test_a_contrast_moves_words_and_latents(data: CatalogueData) -> None:
    module = prepared(QUANTISER, data)
    encoded = module.encode(items(data))
    words = [moving(latent, levels) for latent, levels in zip(encoded.latents, encoded.found, strict=True)]
    torch.testing.assert_close(words[0], sum_of_words(encoded.found[0]))
    agreement(words[0], words[1], encoded.given[:, 0], 0.1).backward()
    moved = [part.grad is not None and part.grad.any() for part in module.books.parameters()]
    assert moved == [True] * len(moved)
    assert all(part.aligned[0].weight.grad.any() for part in module.parts())


def test_neither_the_item_nor_its_own_neighbour_is_a_negative() -> None:
    torch.manual_seed(0)
    mine, theirs, ids = (torch.randn(5, 8) for _ in range(3))
    item, partner = torch.tensor([1, 2, 3, 4, 5]), torch.tensor([9, 9, 1, 0, 7])
    found = behaviour_loss(mine, theirs, ids, (item, partner), 0.1)
    others = {0: [0, 4], 1: [1, 2, 4], 2: [0, 1, 2, 4], 4: [0, 1, 2, 4]}
    others[0].sort()
    parts = []
    for anchor in (mine, ids):
        rows = []
        for row, seen in others.items():
            logits = functional.cosine_similarity(anchor[row][None], theirs[seen]) / 0.1
            rows.append(-logits.log_softmax(0)[seen.index(row)])
        parts.append(torch.stack(rows).mean())
    torch.testing.assert_close(found, parts[0] + parts[1])


@pytest.mark.long
def test_words_follow_behaviour_and_without_it_less(data: CatalogueData, trained: BBQ) -> None:
    measured = QUANTISER.measure(trained, predict, data.test)
    alone = QUANTISER.measure(after(behaviour_weight=0.0), predict, data.test)
    assert measured["neighbours_alike"] > 2 * measured["strangers_alike"]
    assert measured["contrast"] < alone["contrast"] - 0.1


def test_neighbours_are_found_by_the_aligned_part_rather_than_by_what_a_modality_has_alone(data: CatalogueData) -> None:
    encoded = encoded_by(after(), data)
    pairs = torch.from_numpy(neighbours(data.sequences))
    nearer = []
    for latents in (encoded.latents[0], encoded.own[0]):
        cosine = functional.normalize(latents, dim=1) @ functional.normalize(latents, dim=1).T
        nearer.append(float(cosine[pairs[0] - 1, pairs[1] - 1].mean() - cosine.mean()))
    assert nearer[0] > 2 * nearer[1], nearer


@pytest.mark.long
def test_training_lowers_what_the_own_part_tells_of_the_aligned_one(data: CatalogueData) -> None:
    told = {}
    for weight in (0.0, 0.1):
        encoded = encoded_by(after(noise_weight=weight), data)
        pairs = zip(encoded.latents[:2], encoded.own, strict=True)
        told[weight] = sum(judged_anew(aligned, own) for aligned, own in pairs)
    assert told[0.1] < 0.5 * told[0.0], told


def judged_anew(aligned: Tensor, own: Tensor) -> float:
    """The bound by a q of its own, so that no run is judged by the one that it was trained against."""
    torch.manual_seed(2)
    club = Club(aligned.shape[1], 8, own.shape[1])
    optimizer = torch.optim.Adam(club.parameters(), lr=2e-2)
    for _ in range(100):
        optimizer.zero_grad()
        club.follow(aligned, own).backward()
        optimizer.step()
    return float(club.shared(aligned, own).detach())


def test_the_products_are_unique_ids_codes_by_source_and_their_words(data: CatalogueData, trained: BBQ) -> None:
    made = products(trained, data)
    codes, sources = made["codes"], made["sources"]
    assert codes.shape == (61, 4)
    assert len(codes[1:].unique(dim=0)) == 60
    assert sources.shape == (61, 3, 3)
    assert torch.equal(sources[1:, SHARED], codes[1:, :3])
    assert (sources[0] == -1).all()
    assert not codes[0].any()
    words = torch.stack([book.words[0] for book in trained.book(0).books])
    for source in range(3):
        expected = sum(words[level][sources[1:, source, level]] for level in range(3))
        torch.testing.assert_close(made["quantised"][1:, source], expected)
    assert not made["quantised"][0].any()


def test_each_level_leaves_less(data: CatalogueData, trained: BBQ) -> None:
    for levels in encoded_by(trained, data).found:
        norms = [float(residual.norm(dim=2).mean()) for residual, _ in levels]
        assert norms == sorted(norms, reverse=True)


def test_an_item_without_a_graph_has_no_codes_there_and_takes_those_of_its_text(data: CatalogueData) -> None:
    module = prepared(QUANTISER, data)
    batch = items(data)
    bare = ItemBatch(batch.item, batch.text, batch.graph * 0, batch.behaviour)
    found = module.tokens(bare)
    assert found.weights.tolist() == [[1.0] * 3 + [0.0] * 3 + [1.0] * 3] * 60
    assert torch.equal(found.codes[:, :3], found.codes[:, 6:])
    vectors = data.vectors._replace(graph=data.vectors.graph * 0)
    made = products(module, replace(data, vectors=vectors))
    assert (made["sources"][1:, 1] == -1).all()
    assert not made["quantised"][:, 1].any()
    assert (made["sources"][1:, [0, 2]] >= 0).all()


def test_numbers_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="levels is 0; it must be at least 1"):
        QUANTISER.config(**{**SMALL, "levels": 0})

"""The checks that show that DMAE is real: what each unit computes, from what, and what no answer may depend on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.click_views import view
from tests.training.systems.dmae_models import LENGTH, SMALL, batch, data, measured, model, trained
from training.data.click import AGES, HISTORY, ClickBatch, ClickData, ClickSplit
from training.data.planted_clicks import planted_clicks
from training.interactions import Content
from training.layers.item_content import ItemContent
from training.loop import predict
from training.needs import require
from training.systems.dmae import DMAE, SYSTEM
from training.systems.dmae.model import Interest, dmae_loss
from training.systems.dmae.units import (
    FINENESS,
    LEVELS,
    Encoding,
)

TEXT, GRAPH = 0, 1


def interests(built: DMAE, given: ClickBatch) -> list[Interest]:
    with torch.no_grad():
        return built.predicted(given).interests


def levels(built: DMAE, given: ClickBatch, modality: int) -> torch.Tensor:
    return built.compare(given.item, given.history_items)[modality].level


def with_vectors(modality: str, change: dict[int, np.ndarray]) -> DMAE:
    """An untrained model of items some of whose vectors are others."""
    content = data().interactions.content
    tables = {name: table.copy() for name, table in content._asdict().items()}
    for item, vector in change.items():
        tables[modality][item] = vector
    built = model()
    content = ItemContent(built.tables.num_items)
    content.prepare(Content(**tables))
    for name in tables:
        built.content.get_buffer(name).copy_((content.get_buffer(name) * FINENESS).round() / FINENESS)
    built.given.copy_(torch.stack([(built.content.get_buffer(name) != 0).any(1) for name in ("text", "graph")], 1))
    return built


def test_similarity_is_scale_free_and_goes_from_opposite_in_bucket_0_to_identical_in_the_last_one() -> None:
    random = np.random.default_rng(0)
    for width, name in ((384, "text"), (128, "graph")):
        vector = random.standard_normal(width).astype(np.float32)
        across = random.standard_normal(width).astype(np.float32)
        across -= vector * (across @ vector) / (vector @ vector)
        built = with_vectors(name, {1: vector, 2: 7 * vector, 3: -0.1 * vector, 4: across})
        found = built.compare(torch.tensor([1]), torch.tensor([[1, 2, 3, 4]]))[("text", "graph").index(name)].level
        assert found.tolist() == [[LEVELS, LEVELS, 0, LEVELS // 2]]
        encoding = built.encodings[0]
        assert isinstance(encoding, Encoding)
        assert encoding.bucket()[found].tolist() == [
            [SMALL.buckets - 1, SMALL.buckets - 1, 0, (SMALL.buckets - 1) // 2]
        ]
    everything = model().compare(torch.arange(1, 49), torch.arange(1, 49).repeat(48, 1))
    assert all(0 <= one.level.min() and one.level.max() <= LEVELS for one in everything)


def test_only_the_buckets_that_are_met_learn_and_scale_and_offset_do() -> None:
    built, given = model(), batch()
    built(given).sum().backward()
    for number, encoding in enumerate(built.encodings):
        assert isinstance(encoding, Encoding)
        mask = interests(built, given)[number].mask > 0
        met = encoding.bucket()[levels(built, given, number)[mask]].unique()
        moved = encoding.buckets.weight.grad
        assert moved is not None
        assert moved.any(1).nonzero().flatten().tolist() == met.tolist()
        assert len(met) < SMALL.buckets
        for one in (encoding.scale, encoding.offset):
            assert one.grad is not None
            assert one.grad != 0


@pytest.mark.parametrize("fusion", ["attention", "gate", "none"])
def test_the_graph_of_one_event_changes_the_text_vectors_of_all_events_where_modalities_are_fused(fusion: str) -> None:
    config = SYSTEM.config(**{**vars(SMALL), "fusion": fusion})
    built, given = model(config), batch(np.array([60]))
    assert given.history_length.item() == LENGTH
    place = 3
    before = interests(built, given)
    compared = built.compare(given.item, given.history_items)
    level = compared[GRAPH].level.clone()
    level[0, place] = LEVELS - level[0, place]
    compared[GRAPH] = compared[GRAPH]._replace(level=level)
    with torch.no_grad():
        after = built.predict(given, compared, built.vectors()).interests
    own, others = place, [one for one in range(LENGTH) if one != place]
    assert not torch.equal(after[GRAPH].encoded[0, own], before[GRAPH].encoded[0, own])
    assert torch.equal(after[TEXT].encoded, before[TEXT].encoded)
    moved = (after[TEXT].fused - before[TEXT].fused)[0].abs().amax(1)
    if fusion == "none":
        assert not moved.any()
    else:
        assert moved[own] > 0
        assert (moved[others] > 0).all()


def test_a_single_modality_asks_itself() -> None:
    built = model(replace(SMALL, modalities=("graph",)))
    given = batch()
    assert torch.isfinite(built(given)).all()
    assert built.given.shape[1] == 1
    (only,) = interests(built, given)
    alone = interests(model(replace(SMALL, modalities=("graph",), fusion="none")), given)[0]
    assert not torch.allclose(only.fused, alone.fused)


def test_the_order_of_events_does_not_count_and_their_ages_do() -> None:
    built, given = model(), batch()
    order = torch.randperm(given.history_items.shape[1])
    full = given.history_length == given.history_items.shape[1]
    shuffled = given._replace(
        **{name: getattr(given, name)[:, order] for name in ("history_items", "history_values", "history_ages")}
    )
    with torch.no_grad():
        torch.testing.assert_close(built(shuffled)[full], built(given)[full])
        aged = given._replace(history_ages=given.history_ages * 64 + 5)
        assert (built(aged) - built(given)).abs().max() > 0.01
    pairs = zip(interests(built, aged), interests(built, given), strict=True)
    assert all((one.fused - other.fused).abs().amax((1, 2)).min() > 0 for one, other in pairs)


def test_what_stands_behind_the_length_does_not_count() -> None:
    built, given = model(), batch(np.arange(len(data().test)))
    length = torch.minimum(given.history_length, torch.arange(len(given.item)) % LENGTH)
    cut = given._replace(history_length=length)
    noise = torch.arange(LENGTH) >= length[:, None]
    other = cut._replace(
        history_items=torch.where(noise, 5, cut.history_items),
        history_values=torch.where(noise, 1, cut.history_values),
        history_ages=torch.where(noise, 1 << 40, cut.history_ages),
    )
    with torch.no_grad():
        assert torch.equal(built(cut), built(other))
        assert torch.isfinite(built(cut)).all()
    assert (length == 0).any()


def test_the_target_s_own_earlier_events_are_dropped() -> None:
    """It would be the most similar event of all, and mark only that the item was met before."""
    built, given = model(), batch(np.array([60, 61, 62]))
    repeated = given.history_items.clone()
    repeated[:, 2] = given.item
    found = interests(built, given._replace(history_items=repeated))
    assert all(not one.mask[:, 2].any() and not one.weights[:, 2].any() for one in found)
    shorter = torch.cat([torch.arange(2), torch.arange(3, LENGTH)])
    without = given._replace(
        **{name: getattr(given, name)[:, shorter] for name in ("history_items", "history_values", "history_ages")},
        history_length=given.history_length - 1,
    )
    with torch.no_grad():
        torch.testing.assert_close(built(given._replace(history_items=repeated)), built(without))


def test_a_missing_vector_masks_its_modality_and_no_other() -> None:
    bare = len(data().interactions.items) - 1
    assert not data().interactions.content.graph[bare].any()
    built, given = model(), batch(np.array([60, 61]))
    of_target = given._replace(item=torch.tensor([bare, 3]), history_items=torch.full((2, LENGTH), 4))
    text, graph = interests(built, of_target)
    assert text.mask.all()
    assert graph.mask.sum(1).tolist() == [0, LENGTH]
    assert not graph.weights[0].any()
    history = given.history_items.clone()
    history[:, 1] = bare
    text, graph = interests(built, given._replace(history_items=history, item=torch.tensor([3, 3])))
    assert text.mask[:, 1].all()
    assert not graph.mask[:, 1].any()
    with torch.no_grad():
        assert torch.isfinite(built(of_target)).all()
        stranger = given._replace(item=torch.tensor([0, 10**12]))
        assert torch.isfinite(built(stranger)).all()
    assert not any(one.mask.any() for one in interests(built, stranger))


def test_histories_are_compared_with_all_candidates_of_a_request_as_one_by_one() -> None:
    built, given = model(), batch(np.array([60, 62]))
    item, request = torch.tensor([3, 9, 0, 10**12, 4, 5]), torch.tensor([0, 0, 0, 1, 1, 1])
    history = given.history_items
    once = built.compare_requests(item, history, request)
    one_by_one = built.compare(item, history[request])
    by_vectors = built.compare(item, history[request], all_items=0)
    for a, b, c in zip(once, one_by_one, by_vectors, strict=True):
        assert torch.equal(a.level, b.level)
        assert torch.equal(a.valid, b.valid)
        assert torch.equal(a.level, c.level)
        assert torch.equal(a.valid, c.valid)


@pytest.mark.long
def test_the_decoder_restores_the_similarities_of_held_out_rows_only_where_its_loss_counts() -> None:
    on, off = measured(trained(1.0)), measured(trained(0.0))
    assert on["decoder_rank"] > 0.9
    assert off["decoder_rank"] < 0.5
    assert on["decoder_loss"] < 0.1 * on["silent_loss"]
    assert off["decoder_loss"] > on["decoder_loss"]


def test_the_decoder_reaches_the_interests_and_no_answer() -> None:
    built, given = model(), batch()
    built(given).sum().backward()
    assert all(one.grad is None for one in built.decoders.parameters())
    loss, logged = dmae_loss(built, given, 0.0)
    without, _ = dmae_loss(model(replace(SMALL, decoder_weight=0.0)), given, 0.0)
    torch.testing.assert_close(loss, without + SMALL.decoder_weight * logged["decoding"])
    (loss - logged["loss"]).backward()
    assert all(one.grad is not None and one.grad.any() for one in built.decoders.parameters() if one.dim() > 1)


def test_data_without_content_is_refused_by_name() -> None:
    bare = replace(planted_clicks(), load_content=None)
    with pytest.raises(ValueError, match="planted-clicks cannot be used for dmae: it lacks texts of items"):
        require(bare, SYSTEM.name, SYSTEM.needs)


def without_vectors(*names: str) -> ClickData:
    interactions = data().interactions
    none = {name: np.zeros_like(getattr(interactions.content, name)) for name in names}
    content = interactions.content._replace(**none)
    return view(replace(interactions, load_content=lambda: content), frozenset({HISTORY, AGES}), LENGTH)


def test_items_without_any_vector_are_refused_and_without_one_modality_the_other_answers() -> None:
    built = DMAE(SMALL, data().schema)
    with pytest.raises(ValueError, match="no item of planted-clicks has a vector of text or graph; take din"):
        built.prepare(without_vectors("text", "graph"))
    built.prepare(without_vectors("graph"))
    text, graph = interests(built.eval(), batch())
    assert text.mask.any()
    assert not graph.mask.any()
    with torch.no_grad():
        assert torch.isfinite(built(batch())).all()


def test_what_the_decoder_restores_is_not_measured_where_no_row_has_two_events() -> None:
    first = np.flatnonzero(data().train.cost() < 2)
    assert len(first) > 5
    part = ClickSplit(data().train.source, data().train.places[first])
    found = SYSTEM.measure(model(), predict, part)
    assert not {"decoder_rank", "decoder_loss", "silent_loss"} & found.keys()
    assert "log_loss" in found


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"modalities": ()}, "name text, graph or both"),
        ({"modalities": ("text", "text")}, "each once"),
        ({"buckets": 0}, "at least 1"),
        ({"temperature": 0.0}, "above 0"),
        ({"decoder_weight": -1.0}, "not be negative"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(setting: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SYSTEM.config(**setting)


def test_variants_have_names() -> None:
    settings = ({}, {"fusion": "gate"}, {"fusion": "none", "decoder_weight": 0.0}, {"modalities": ("text",)})
    assert [SYSTEM.variant(SYSTEM.config(**one)) for one in settings] == ["", "gate", "unfused-undecoded", "text"]

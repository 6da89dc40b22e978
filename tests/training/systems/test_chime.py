"""CHIME: a life's behaviours as counts of words, which attention reads as if it read them all."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.systems.chime_models import LENGTH, SMALL, data, model
from training.layers.transformer import MASKED
from training.systems.chime import CHIME, LARGE, SYSTEM, attention
from training.systems.chime.adaptation import Behaviours, Projector
from training.systems.chime.compressor import exactly, summary
from training.systems.chime.representation import WindowAttention, receptive


def behaviours(times: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries [3, D], keys and values [L, K, D], codes [3, T, L]."""
    random = torch.Generator().manual_seed(seed)
    query, keys, values = (torch.randn(shape, generator=random) for shape in ((3, 8), (4, 16, 8), (4, 16, 8)))
    return query, keys, values, torch.randint(0, 16, (3, times, 4), generator=random)


@pytest.mark.parametrize("times", [1, 10, 5000])
def test_attention_over_a_histogram_is_attention_over_all_quantised_behaviours(times: int) -> None:
    query, keys, values, codes = behaviours(times)
    counts = attention.histogram(codes, torch.ones(3, times), 16)
    shares = attention.weights(attention.scores(query, keys), attention.log_counts(counts, query))
    found = attention.weighted(shares, values)
    for level in range(4):
        own, said = keys[level][codes[:, :, level]], values[level][codes[:, :, level]]  # (3, T, D)
        of_all = ((query[:, None] * own).sum(2) / 8**0.5).softmax(1)
        expected = (of_all[:, :, None] * said).sum(1)
        torch.testing.assert_close(found[:, 8 * level : 8 * level + 8], expected, rtol=1e-6, atol=1e-6)
        mean = attention.mean(counts, values)[:, 8 * level : 8 * level + 8]
        torch.testing.assert_close(mean, said.mean(1), rtol=1e-5, atol=1e-6)


def test_a_histogram_does_not_know_the_order_and_adds_up_over_any_split() -> None:
    *_, codes = behaviours(50)
    is_there = torch.arange(50) < torch.tensor([50, 31, 0])[:, None]
    counts = attention.histogram(codes, is_there, 16)
    assert counts.sum((1, 2)).tolist() == [200, 124, 0]
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    assert torch.equal(counts, attention.histogram(codes[:, order], is_there[:, order], 16))
    for split in (1, 17, 49):
        parts = (attention.histogram(codes[:, cut], is_there[:, cut], 16) for cut in (slice(split), slice(split, 50)))
        assert torch.equal(counts, sum(parts, torch.zeros_like(counts)))


def test_an_empty_histogram_says_nothing() -> None:
    query, keys, values, _ = behaviours(1)
    counts = torch.zeros(3, 4, 16, dtype=torch.int32)
    assert not attention.weights(attention.scores(query, keys), attention.log_counts(counts, query)).any()
    assert not attention.mean(counts, values).any()


def test_each_place_attends_to_its_window_of_older_places() -> None:
    torch.manual_seed(0)
    layer = WindowAttention(8, 2, 4)
    torch.nn.init.normal_(layer.distance)
    x, length = torch.randn(3, 11, 8), torch.tensor([11, 6, 1])
    query, key, value = (part.unflatten(2, (2, 4)).transpose(1, 2) for part in layer.projections(x).chunk(3, 2))
    place = torch.arange(11)
    distance = place[None] - place[:, None]
    seen = (distance >= 0) & (distance < 4) & (place < length[:, None, None])
    bias = torch.where(seen[:, None], layer.distance[:, distance.clamp(0, 3)], MASKED)
    shares = (query @ key.transpose(2, 3) / 2 + bias).softmax(3)
    expected = layer.output((shares @ value).transpose(1, 2).flatten(2))
    for row, end in enumerate(length.tolist()):
        torch.testing.assert_close(layer(x, length)[row, :end], expected[row, :end])


def interests(built: CHIME, items: torch.Tensor, length: int) -> torch.Tensor:
    """[L, I] of one history, newest first."""
    values, ages = torch.full_like(items, 4), 10 * torch.arange(len(items))
    found = built.compressor.interests(
        built.compressor.item_inputs(), Behaviours(items[None], values[None], ages[None]), torch.tensor([length])
    )
    return found[0].detach()


def test_later_events_do_not_change_what_earlier_ones_are() -> None:
    items = torch.arange(1, LENGTH + 1)
    before = interests(model(), items, LENGTH)
    changed = items.clone()
    changed[10] = 47
    after = interests(model(), changed, LENGTH)
    differs = (before - after).abs().amax(1) > 1e-6
    reach = receptive(SMALL.window, SMALL.depth)
    assert differs.tolist() == [10 - reach < place <= 10 for place in range(LENGTH)], "a window of newer places alone"


def test_what_lies_behind_the_history_does_not_count() -> None:
    items = torch.arange(1, LENGTH + 1)
    other = torch.where(torch.arange(LENGTH) < 12, items, 5)
    torch.testing.assert_close(interests(model(), items, 12)[:12], interests(model(), other, 12)[:12])


def test_projectors_learn_and_the_encoders_behind_them_do_not() -> None:
    built = model()
    built.compressor.adaptation.parts().square().sum().backward()
    assert {*dict(built.compressor.adaptation.content.named_parameters())} == set()
    for glu in built.compressor.adaptation.projectors.values():
        assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in glu.parameters())
    glu, x = Projector(3, 2), torch.randn(5, 3)
    gate = 1 / (1 + torch.exp(-(x @ glu.gate.weight.T + glu.gate.bias)))
    torch.testing.assert_close(glu(x), x @ glu.value.weight.T * gate)
    assert not glu(torch.zeros(1, 3)).any(), "an item without the modality"


def test_each_input_counts() -> None:
    built, items = model().compressor, torch.tensor([[3, 9, 4, 20]])
    history = Behaviours(items, torch.full_like(items, 4), torch.tensor([[0, 5, 50, 500]]))
    length = torch.tensor([4])
    before = built.interests(built.item_inputs(), history, length)
    with torch.no_grad():
        torch.nn.init.normal_(built.adaptation.gap.rows.weight)
    by_gap = built.interests(built.item_inputs(), history, length)
    for place, other in enumerate((items.flip(1), torch.ones_like(items), torch.tensor([[0, 40, 50, 500]]))):
        changed = Behaviours(*(other if number == place else part for number, part in enumerate(history)))
        assert not torch.allclose(by_gap, built.interests(built.item_inputs(), changed, length), atol=1e-4)
    assert not torch.allclose(before, by_gap, atol=1e-4)
    for name in ("text", "graph"):
        kept = built.adaptation.content.get_buffer(name).clone()
        built.adaptation.content.get_buffer(name).zero_()
        assert not torch.allclose(by_gap, built.interests(built.item_inputs(), history, length), atol=1e-4)
        built.adaptation.content.get_buffer(name).copy_(kept)


def test_a_gap_is_the_time_since_the_event_before_and_the_oldest_event_has_none() -> None:
    built = copy.deepcopy(model().compressor.adaptation)
    torch.nn.init.normal_(built.gap.rows.weight)
    torch.nn.init.normal_(built.first)
    items, ages = torch.tensor([[3, 9, 4, 0]]), torch.tensor([[0, 5, 50, 0]])
    known = torch.randn(built.num_items, SMALL.width)
    found = built.events(known, Behaviours(items, torch.full_like(items, 4), ages), torch.tensor([3]))
    gaps = (built.gap.rows.weight[(5).bit_length()], built.gap.rows.weight[(50 - 5).bit_length()], built.first)
    expected = known[items[0, :3]] + built.action(torch.full((3,), 4)) + torch.stack(gaps)
    torch.testing.assert_close(found[0, :3], expected)


def test_what_a_release_does_not_know_is_the_unknown_item_of_a_history() -> None:
    built = model()
    known = built.compressor.adaptation.num_items

    def met(item: int) -> torch.Tensor:
        items = torch.arange(1, LENGTH + 1)
        items[4] = item
        return interests(built, items, LENGTH)

    assert all(torch.equal(met(0), met(stranger)) for stranger in (-1, known, 2**40))
    assert not torch.allclose(met(0), met(known - 1), atol=1e-4)


def test_codes_tell_words_apart_that_are_nearer_to_each_other_than_fp32_sees() -> None:
    built = copy.deepcopy(model())
    first = built.compressor.levels[0].get_parameter("words")
    with torch.no_grad():
        first[0, 5] = torch.nextafter(first[0, 2], torch.full_like(first[0, 2], 9.0))
    batch = data().test.batch(np.arange(60))
    exact = exactly(built.compressor)
    history = Behaviours(batch.history_items, batch.history_values, batch.history_ages)
    with torch.no_grad():
        interests = exact.interests(exact.item_inputs(), history, batch.history_length).double().numpy()
    words = first[0].double().detach().numpy()
    codes = np.square(interests[:, :, None] - words).sum(3).argmin(2)
    expected = [np.bincount(row[:length], minlength=8) for row, length in zip(codes, batch.history_length, strict=True)]
    assert min(np.sum(expected, axis=0)[[2, 5]]) > 10
    assert built.compressed(batch).counts[:, 0].tolist() == np.array(expected).tolist()


def test_equal_words_give_the_lowest_code() -> None:
    built = copy.deepcopy(model().compressor)
    latents = torch.nn.functional.normalize(torch.randn(40, SMALL.interest), dim=1)
    with torch.no_grad():
        for level in built.levels.books:
            level.words[0, 5] = level.words[0, 2]
    codes = built.codes(latents)
    assert (codes == 2).any()
    assert not (codes == 5).any()


def test_codes_of_all_events_are_those_of_each_sample_s_own_history() -> None:
    built = model()
    for rows in (np.arange(60), np.arange(900, 1000)):
        batch = data().train.batch(rows)
        fresh, known = built.compressed(batch), built.remembered(batch)
        assert torch.equal(fresh.counts, known.counts)
        assert torch.equal(fresh.recent, known.recent)
        there = batch.history_length > 0
        torch.testing.assert_close(fresh.interest[there], known.interest[there])


def test_histories_that_were_cut_are_compressed_as_they_are() -> None:
    short = data(9)
    built = CHIME(replace(SMALL, max_length=9), short.schema)
    built.prepare(short)
    batch = short.test.batch(np.arange(80))
    assert (batch.history_length == 9).any()
    built.past = None
    fresh = built.remembered(batch)
    built.prepare(short)
    for _ in range(2):
        known = built.remembered(batch)
        assert torch.equal(fresh.counts, known.counts)
        assert torch.equal(fresh.recent, known.recent)
    with torch.no_grad():
        for parameter in built.compressor.decoder.parameters():
            parameter.add_(torch.randn_like(parameter))
    assert not torch.equal(built.compressed(batch).counts, fresh.counts)
    assert torch.equal(built.compressed(batch).counts, built.remembered(batch).counts), "of the weights as they are"


def test_a_histogram_holds_what_was_before_its_sample_and_nothing_else() -> None:
    batch = data().test.batch(np.arange(50))
    kept = model().remembered(batch)
    assert torch.equal(kept.counts.sum(2), batch.history_length[:, None].expand(-1, SMALL.levels))
    assert torch.equal((kept.recent[:, :, 0] >= 0).sum(1), batch.history_length.clamp(max=SMALL.recent))


def test_the_recent_histogram_is_that_of_the_newest_behaviours() -> None:
    codes, length = torch.randint(0, 8, (2, 20, 3)), torch.tensor([20, 3])
    kept = summary(codes, torch.zeros(2, 8), length, SMALL)
    found = attention.recent_histogram(kept.recent, 8)
    assert torch.equal(found[0], attention.histogram(codes[:1, :6], torch.ones(1, 6), 8)[0])
    assert torch.equal(found[1], kept.counts[1])


def test_each_stage_moves_its_own_part() -> None:
    built = model().train()
    first, second = SYSTEM.stages_of(SMALL)
    compress, rank = (list(stage.parameters(built)) for stage in (first, second))
    everything = {id(value) for value in built.parameters()}
    assert {id(value) for value in (*compress, *rank)} == everything
    assert len(compress) + len(rank) == len(everything)
    assert {id(value) for value in compress} == {id(value) for value in built.compressor.parameters()}
    second.loss(built, data().train.batch(np.arange(400, 440)), 0.0)[0].backward()
    assert all(value.grad is None for value in built.compressor.parameters())
    first.loss(built, first.samples(data()).batch(np.arange(8)), 0.0)[0].backward()
    assert all(value.grad is not None for value in built.compressor.decoder.parameters())


def test_the_large_configuration_has_a_language_model_s_size_and_answers() -> None:
    with torch.device("meta"):
        built = CHIME(LARGE, data().schema)
        length = torch.tensor([700, 3])
        history = Behaviours(*(torch.zeros(2, 700, dtype=torch.int64) for _ in range(3)))
        found = built.compressor.interests(built.compressor.item_inputs(), history, length)
    assert sum(value.numel() for value in built.compressor.decoder.parameters()) > 2e8
    assert found.shape == (2, 700, LARGE.interest)


def test_a_step_of_the_large_configuration_moves_its_first_block() -> None:
    """On a few short sequences; all other sizes are its own."""
    torch.manual_seed(0)
    built = CHIME(replace(LARGE, depth=1, max_length=LENGTH), data().schema)
    built.prepare(data())
    first = SYSTEM.stages_of(replace(LARGE, sequence=LENGTH))[0]
    loss, logged = first.loss(built, first.samples(data()).batch(np.arange(2)), 0.0)
    loss.backward()
    assert logged["immediate"] > 0
    assert logged["holistic"] > 0
    assert all(value.grad is not None and value.grad.any() for value in built.compressor.decoder.parameters())
    assert built.compressor.words.shape == (LARGE.levels, 256, 128)


def test_sizes_that_do_not_fit_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"width \(16\) must be a multiple of heads \(3\)"):
        replace(SMALL, heads=3)
    with pytest.raises(ValueError, match="window is 0"):
        replace(SMALL, window=0)

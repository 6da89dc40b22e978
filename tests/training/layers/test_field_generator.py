"""A generator of rows: its blocks, heads, masks, schedule and likelihoods against forms that are written out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.click_views import everything, view
from tests.training.systems.generator_models import SMALL, data, features, untrained
from training.layers.columns import Features
from training.layers.field_diffusion import drawn, generative_loss, masked_after
from training.layers.field_generator import FieldGenerator, GeneratorConfig, HSTUBlock
from training.layers.field_likelihood import equal, field_losses, log_likelihood, log_share
from training.system import prepare

STEPS = 50
TEMPERATURE = SMALL.temperature


def directions(module: FieldGenerator, x: Features, masks: torch.Tensor) -> torch.Tensor:
    return module.generator.directions(module.generator.states(module.masked(module.embedding(x), masks)))


def test_the_product_of_the_chain_is_the_closed_form_and_ends_in_the_mask() -> None:
    values_and_mask = 4
    chain = torch.eye(values_and_mask, dtype=torch.float64)
    for step in range(1, STEPS + 1):
        rate = 1 / (STEPS - step + 1)
        one = (1 - rate) * torch.eye(values_and_mask, dtype=torch.float64)
        one[:, -1] += rate
        chain = chain @ one
        closed = masked_after(torch.tensor([step]), STEPS).double()
        torch.testing.assert_close(chain[:-1, -1], closed.expand(3))
    assert masked_after(torch.tensor([20]), STEPS).item() == pytest.approx(0.4)
    torch.testing.assert_close(chain[:, -1], torch.ones(4, dtype=torch.float64))


def test_as_many_fields_are_masked_as_the_schedule_says() -> None:
    torch.manual_seed(0)
    even = drawn((20_000, 6), SMALL, torch.device("cpu"))
    share = even.masks.float().mean(1)
    assert share.mean().item() == pytest.approx((STEPS + 1) / (2 * STEPS), abs=0.01)
    # Of six fields all are masked in a seventh of the rows, if each rate from 0 to 1 is as likely.
    assert (share == 1).float().mean().item() == pytest.approx(1 / 7, abs=0.02)
    assert even.label.float().mean().item() == pytest.approx(0.5, abs=0.02)
    fixed = drawn((20_000, 6), replace(SMALL, pretraining="fixed", mask_rate=0.3), torch.device("cpu"))
    assert fixed.masks.float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert fixed.label.all()


def test_a_block_is_its_equation_token_by_token() -> None:
    torch.manual_seed(0)
    block, x = HSTUBlock(6, 2, 0.0).eval(), torch.randn(3, 4, 6)
    gate, value, query, key = torch.nn.functional.silu(block.mixed(block.before(x))).split(6, dim=-1)
    attended = torch.zeros(3, 4, 6)
    for head in (slice(0, 3), slice(3, 6)):
        for one in range(4):
            for other in range(4):
                share = torch.nn.functional.silu((query[:, one, head] * key[:, other, head]).sum(1) / 3**0.5)
                attended[:, one, head] += share[:, None] * value[:, other, head] / 4
    torch.testing.assert_close(block(x), x + block.out(block.after(attended) * gate), rtol=1e-5, atol=1e-5)
    twice = block(x, torch.full((4,), 2.0))
    assert not torch.allclose(twice, block(x)), "the query's factor counts"


def test_fields_in_another_order_with_their_places_give_the_same_logit() -> None:
    module, x = untrained(), features(20)
    order = torch.randperm(module.num_fields, generator=torch.Generator().manual_seed(0))
    fields = module.embedding(x)
    expected = module.denoiser.logit(module.denoiser.states(fields))
    with torch.no_grad():
        module.denoiser.places[:-1] = module.denoiser.places[:-1][order]
    torch.testing.assert_close(module.denoiser.logit(module.denoiser.states(fields[:, order])), expected)


def test_the_logit_is_the_difference_of_the_labels_cosines() -> None:
    module, x = untrained(), features(20)
    denoiser = module.denoiser
    state = denoiser.states(module.embedding(x))[:, -1]
    direction = denoiser.label_head(state)
    no, yes = (torch.cosine_similarity(direction, one[None]) for one in denoiser.labels)
    torch.testing.assert_close(module.logits(x), (yes - no) / TEMPERATURE + denoiser.bias)


def test_what_is_masked_is_not_read_and_a_dropped_field_is_masked() -> None:
    module, x = untrained(), features(20)
    keep = torch.ones_like(x.ids, dtype=torch.bool)
    assert torch.equal(module.logits(x), module.logits(x, keep))
    keep[:, 3] = False
    ids = x.ids.clone()
    ids[:, 3] = 1
    assert torch.equal(module.logits(x, keep), module.logits(x._replace(ids=ids), keep))
    assert torch.equal(directions(module, x, ~keep), directions(module, x._replace(ids=ids), ~keep))
    assert not torch.equal(module.logits(x, keep), module.logits(x))


def test_a_shown_label_counts_and_a_hidden_one_does_not() -> None:
    module, x = untrained(), features(20)
    fields = module.embedding(x)
    shown = [module.denoiser.states(fields, torch.full((20,), label)) for label in (0.0, 1.0, torch.nan)]
    assert not torch.allclose(shown[0], shown[1])
    assert torch.equal(shown[2], module.denoiser.states(fields))


@pytest.mark.parametrize("place", [0, 2])
def test_the_loss_of_a_field_of_few_values_is_a_softmax_over_all_that_training_saw(place: int) -> None:
    """Of the user ids, some were seen too seldom: together they are one value, the unknown, and not many."""
    module, x = untrained(), features(50)
    module.embedding.min_count = 12
    module.embedding.prepare(data())
    counts = data().statistics.counts[module.embedding.offsets[place] :][: module.embedding.sizes[place]]
    seen = [value for value, count in enumerate(counts) if count >= 12]
    assert len(counts) - len(seen) > (100 if place == 0 else 0)
    vectors = module.embedding.rows.weight[module.embedding.offsets[place] + torch.tensor([*seen, 0])]
    masks = torch.zeros_like(x.ids, dtype=torch.bool)
    masks[:30, place] = True
    expected, losses = directions(module, x, masks), []
    for row in range(30):
        if int(x.ids[row, place]) in seen:
            logits = torch.cosine_similarity(expected[row, place][None], vectors) / TEMPERATURE
            possible = logits if place == 0 else logits[:-1]
            losses.append(torch.logsumexp(possible, 0) - logits[seen.index(int(x.ids[row, place]))])
    found = field_losses(module.embedding, x, expected, masks, TEMPERATURE)
    torch.testing.assert_close(found.mean[place], torch.stack(losses).mean())
    assert found.rows.tolist() == [len(losses) * (number == place) for number in range(12)]
    assert found.overall == found.mean[place]


def test_only_masked_fields_have_a_loss() -> None:
    module, x = untrained(), features(50)
    masks = torch.rand(x.ids.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    expected = directions(module, x, masks)
    before = field_losses(module.embedding, x, expected, masks, TEMPERATURE)
    ids = torch.where(masks, x.ids, 1 + x.ids % 2)
    assert not torch.equal(ids, x.ids)
    after = field_losses(module.embedding, x._replace(ids=ids), expected, masks, TEMPERATURE)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    ids = torch.where(masks, 1 + x.ids % 2, x.ids)
    changed = field_losses(module.embedding, x._replace(ids=ids), expected, masks, TEMPERATURE)
    assert not torch.equal(before.mean, changed.mean)


def test_values_of_the_batch_are_corrected_by_their_share_and_equal_ones_are_no_negatives() -> None:
    module, x = untrained(), features(12)
    masks = torch.zeros_like(x.ids, dtype=torch.bool)
    masks[:, 5] = True
    expected, known = directions(module, x, masks), module.embedding.known(x.ids)[:, 5]
    assert len(set(known.tolist())) < 12, "some are equal"
    counts = module.embedding.frequency[module.embedding.offsets[5] :][: module.embedding.sizes[5]]
    vectors, losses = module.embedding(x)[:, 5], []
    for row in range(12):
        others = [one for one in range(12) if one == row or known[one] != known[row]]
        cosines = torch.cosine_similarity(expected[row, 5][None], vectors[others])
        share = counts[known[others]] / counts.sum()
        losses.append(-torch.log_softmax(cosines / TEMPERATURE - share.log(), 0)[others.index(row)])
    found = field_losses(module.embedding, x, expected, masks, TEMPERATURE, few=3)
    torch.testing.assert_close(found.mean[5], torch.stack(losses).mean(), rtol=1e-4, atol=1e-4)


def test_the_likelihood_over_all_values_sums_to_one_over_those_that_training_saw() -> None:
    module, x = untrained(), features(8)
    masks = torch.zeros_like(x.ids, dtype=torch.bool)
    expected = directions(module, x, masks)[:, 4]
    seen = module.embedding.frequency[module.embedding.offsets[4] :][: module.embedding.sizes[4]] > 0
    every = torch.stack(
        [
            log_likelihood(module.embedding, 4, torch.full((8,), value), expected, TEMPERATURE)
            for value in range(module.embedding.sizes[4])
        ]
    )
    torch.testing.assert_close(every[seen].exp().sum(0), torch.ones(8))
    shares = log_share(module.embedding, 4, torch.arange(module.embedding.sizes[4]))
    torch.testing.assert_close(shares[seen].exp().sum(), torch.tensor(1.0))


def test_fields_of_every_kind_are_generated_and_equal_only_where_all_of_it_is() -> None:
    made = view(everything())
    torch.manual_seed(0)
    module = FieldGenerator(GeneratorConfig(dim=8), made.schema)
    prepare(module, made)
    batch = made.train.batch(np.arange(200))
    loss, logged = generative_loss(module, batch, GeneratorConfig(dim=8))
    loss.backward()
    assert loss.isfinite()
    names = [field.name for field in made.features.layout.fields]
    assert [f"loss of {name}" for name in names] == [name for name in logged if name.startswith("loss of ")][:-1]
    x = Features(batch.ids, batch.dense, batch.sets)
    rows = torch.arange(200)
    same = equal(module.embedding, x, names.index("item_number"), rows)
    number = made.features.layout.dense.index(names.index("item_number"))
    assert torch.equal(
        same,
        (x.dense[:, None, number].nan_to_num() == x.dense[None, :, number].nan_to_num())
        & (x.ids[:, None, names.index("item_number")] == x.ids[None, :, names.index("item_number")]),
    )
    tags = next(one for one in made.features.layout.sets if one.place == names.index("item_tags"))
    part = x.sets[:, tags.start : tags.stop]
    assert torch.equal(equal(module.embedding, x, tags.place, rows), (part[:, None] == part).all(-1))


def test_weights_of_fields_follow_the_equation_and_turn_the_query() -> None:
    module, x = untrained(field_balance=True, layers=2), features(30)
    masks = torch.ones_like(x.ids, dtype=torch.bool)
    found = field_losses(module.embedding, x, directions(module, x, masks), masks, TEMPERATURE)
    weights = module.denoiser.log_weights
    assert weights is not None
    by_hand = sum(
        torch.exp(-weight) * loss + weight / 2 for weight, loss in zip(weights, found.mean, strict=True)
    ) / len(weights)
    torch.testing.assert_close(found.balanced(weights), by_hand)
    loss, logged = generative_loss(module, data().train.batch(np.arange(30)), replace(SMALL, pretraining="fixed"))
    means = [value for name, value in logged.items() if name.startswith("loss of ")]
    torch.testing.assert_close(loss, (torch.exp(-weights) * torch.stack(means) + weights / 2).mean())
    before = module.logits(x)
    with torch.no_grad():
        weights[0] += 2
    assert not torch.equal(module.logits(x), before)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"heads": 3}, r"dim \(16\) must be a multiple of heads \(3\)"),
        ({"layers": 0}, r"layers \(0\) and diffusion_steps"),
        ({"mask_rate": 0.0}, "mask_rate"),
        ({"labels": 0.0}, "labels"),
        ({"temperature": 0.0}, "temperature"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(changes: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GeneratorConfig(**changes)  # pyright: ignore[reportArgumentType]

"""MMQ-v2's checks: how strongly content is aligned, what the router weighs, and what is refused."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.training.systems.tokenizer_models import catalogue, items, prepared, train
from training.data.catalogue import CatalogueData
from training.layers.contrast import info_nce
from training.systems.mmq2 import SYSTEM, Config, align_to_behaviour, loss, wanted
from training.systems.mmq2.alignment import alignment_loss
from training.systems.mmq2.model import Projected
from training.systems.mmq2.richness import Richness, Sparsity, alignment_strength, load


@pytest.fixture(scope="module")
def data() -> CatalogueData:
    return catalogue(SYSTEM)


def test_the_strength_of_alignment_is_the_printed_one() -> None:
    richness = torch.tensor([0.0, 0.25, 0.5, 0.75, 0.9, 1.0], dtype=torch.float64)
    expected = torch.tensor([1.688e-4, 2.053e-3, 0.02460, 0.24954, 0.68394, 1.0], dtype=torch.float64)
    torch.testing.assert_close(alignment_strength(richness, 10, 9), expected, rtol=1e-3, atol=1e-6)
    many = alignment_strength(torch.linspace(0, 1, 500), 10, 9)
    assert (many.diff() > 0).all()
    assert many[-1] == 1.0


def test_the_contrastive_loss_is_a_softmax_over_cosines() -> None:
    anchors, candidates = torch.randn(5, 7), 3 * torch.randn(5, 7)
    cosines = functional.cosine_similarity(anchors[:, None], candidates[None], dim=2) / 0.07
    torch.testing.assert_close(
        info_nce(anchors, candidates, 0.07), -cosines.log_softmax(1).diagonal(), rtol=1e-4, atol=1e-5
    )


def test_a_tail_item_s_text_gets_w_times_the_gradient_of_a_head_item_s() -> None:
    """Two items in the same position: each other's mirror image, so that only the strength differs."""
    text = torch.tensor([[1.0, 0.2, 0.0], [1.0, 0.0, 0.2]], dtype=torch.float64, requires_grad=True)
    behaviour = torch.tensor([[0.5, 1.0, 0.0], [0.5, 0.0, 1.0]], dtype=torch.float64)
    strength = alignment_strength(torch.tensor([1.0, 0.25], dtype=torch.float64), 10, 9)
    (strength * info_nce(text, behaviour, 0.07)).mean().backward()
    assert text.grad is not None
    norms = text.grad.norm(dim=1)
    assert float(norms[1] / norms[0]) == pytest.approx(2.053e-3, rel=1e-3)


def test_each_item_is_aligned_by_its_own_strength() -> None:
    """By hand, item by item, against the candidates of the whole batch."""
    projected = Projected(*(torch.randn(6, 8, dtype=torch.float64) for _ in range(3)))
    text, graph, behaviour = (torch.nn.functional.normalize(part, dim=1) for part in projected)
    strength, values = torch.rand(6, dtype=torch.float64), []

    def contrast(anchor: torch.Tensor, candidate: torch.Tensor, item: int) -> torch.Tensor:
        return -(anchor[item] @ candidate.T / 0.07).log_softmax(0)[item]

    for item in range(6):
        content = contrast(text, graph, item) + contrast(graph, text, item)
        values.append(content + strength[item] * (contrast(text, behaviour, item) + contrast(graph, behaviour, item)))
    torch.testing.assert_close(alignment_loss(projected, strength, 0.07, "v3"), torch.stack(values).mean())


def test_versions_one_and_three_differ_and_agree_where_nothing_is_rich() -> None:
    projected = Projected(*(torch.randn(16, 8) for _ in range(3)))
    one, three = (alignment_loss(projected, torch.ones(16), 0.07, form) for form in ("v1", "v3"))
    assert abs(one.item() - three.item()) > 0.1
    nothing = torch.zeros(16)
    content = info_nce(projected.text, projected.graph, 0.07) + info_nce(projected.graph, projected.text, 0.07)
    for form in ("v1", "v3"):
        torch.testing.assert_close(alignment_loss(projected, nothing, 0.07, form), content.mean())


def test_noise_in_poor_behaviour_moves_content_less_than_without_the_controller(data: CatalogueData) -> None:
    batch = items(data)
    richness = prepared(SYSTEM, data).richness.of(batch.behaviour.norm(dim=1))
    poor = richness < 0.4
    assert 5 < poor.sum() < 55
    shifts = {}
    for name, strength in (("on", alignment_strength(richness, 10, 9)), ("off", torch.ones(60))):
        clean, noisy = (aligned_text(strength, poor, noise) for noise in (0.0, 1.0))
        shifts[name] = float((1 - functional.cosine_similarity(clean, noisy, dim=1)).mean())
    assert shifts["off"] > 0.01
    assert shifts["on"] < 0.05 * shifts["off"]


def aligned_text(strength: torch.Tensor, poor: torch.Tensor, noise: float) -> torch.Tensor:
    """h_t of the poor items after steps of alignment, in which each item's h_t moves freely; noise in their h_b."""
    random = torch.Generator().manual_seed(1)
    text, graph, behaviour, disturbance = (torch.randn(60, 8, generator=random) for _ in range(4))
    behaviour = torch.where(poor[:, None], behaviour + noise * disturbance, behaviour)
    text.requires_grad_()
    optimizer = torch.optim.SGD([text], lr=2.0)
    for _ in range(20):
        optimizer.zero_grad()
        alignment_loss(Projected(text, graph, behaviour), strength, 0.07, "v3").backward()
        optimizer.step()
    return text[poor].detach()


def test_the_module_aligns_each_item_as_strongly_as_it_is_rich(data: CatalogueData) -> None:
    module = prepared(SYSTEM, data)
    x = module.vectors(items(data))
    encoded, config = module.encode(x), module.config
    strength = alignment_strength(x.richness, config.alpha, config.beta)
    found, expected, without = (
        align_to_behaviour(module, x, encoded),
        alignment_loss(encoded.projected, strength, config.contrast_temperature, config.alignment),
        alignment_loss(encoded.projected, torch.ones_like(strength), config.contrast_temperature, config.alignment),
    )
    torch.testing.assert_close(found, expected)
    assert without - found > 0.1


def test_behaviour_s_projection_stays_where_alignment_must_not_move_it(data: CatalogueData) -> None:
    for detached in (False, True):
        module = prepared(SYSTEM, data, detach_behaviour=detached)
        x = module.vectors(items(data))
        align_to_behaviour(module, x, module.encode(x)).backward()
        gradient = module.projections[2][0].weight.grad
        assert (gradient is None) == detached


def test_the_router_is_never_negative_and_has_exact_zeros(data: CatalogueData) -> None:
    module = prepared(SYSTEM, data)
    encoded = module.encode(module.vectors(items(data)))
    routed = module.routed(encoded)
    assert (routed >= 0).all()
    assert (routed == 0).any()
    assert (routed > 0).any()
    torch.testing.assert_close(encoded.weights[:, :3], torch.ones(60, 3))


def test_the_scaler_of_the_router_is_the_sigmoid_of_richness(data: CatalogueData) -> None:
    module = prepared(SYSTEM, data)
    x = module.vectors(items(data))
    without = torch.relu(module.gates[2](module.inputs(x)[2]))
    norms = data.vectors.behaviour[1:].norm(dim=1)
    richness = (norms - norms.min()) / (norms.max() - norms.min())
    torch.testing.assert_close(module.routed(module.encode(x)), torch.sigmoid(richness)[:, None] * without)
    assert richness.std() > 0.1


@pytest.mark.parametrize("ste", ["index", "value"])
def test_an_expert_of_weight_zero_leaves_no_trace(data: CatalogueData, ste: str) -> None:
    module = prepared(SYSTEM, data, recon_ste=ste)
    encoded = module.encode(module.vectors(items(data)))
    closed = module.routed(encoded)[:, 1] == 0
    if not closed.any() or closed.all():
        pytest.fail("the small router must close this expert for some items only")
    place = module.num_positions - module.config.behaviour + 1
    codes, words, latents = encoded.chosen.codes.clone(), encoded.chosen.words.clone(), encoded.latents.clone()
    codes[:, place] = (codes[:, place] + 1) % module.num_words
    words[:, place] -= 7.0
    latents[:, place] += 7.0
    other = encoded._replace(latents=latents, chosen=encoded.chosen._replace(codes=codes, words=words))
    before, after = module.decode(encoded), module.decode(other)
    assert torch.equal(before[closed], after[closed])
    assert bool((before != after)[~closed].any(1).all())


def test_lambda_grows_where_too_many_are_active_and_shrinks_where_too_few() -> None:
    sparsity, target = Sparsity(3, 1e-3, 1.2), torch.full((10,), 0.4)
    sparsity.adapt(torch.ones(10, 3), target)
    assert sparsity.strength.item() == pytest.approx(1.2e-3)
    sparsity.adapt(torch.zeros(10, 3), target)
    sparsity.adapt(torch.zeros(10, 3), target)
    assert sparsity.strength.item() == pytest.approx(1e-3 / 1.2)
    for _ in range(300):
        sparsity.adapt(torch.ones(10, 3), target)
    assert sparsity.strength.item() == pytest.approx(1e2)


def test_experts_active_alike_at_the_target_have_a_load_of_one_which_carries_no_gradient() -> None:
    routed = torch.tensor([[1.0, 0, 0], [0, 2.0, 0], [0, 0, 3.0]], requires_grad=True)
    target = torch.full((3,), 2 / 3)
    loads = load(routed, target)
    torch.testing.assert_close(loads, torch.ones(3, 3))
    assert not loads.requires_grad
    assert Sparsity(3, 0.5, 1.2).loss(routed, target).item() == pytest.approx(0.5 * 6 / 3)
    crowded = torch.tensor([[1.0, 0, 0]] * 3)
    torch.testing.assert_close(load(crowded, target), torch.tensor([[3.0, 0.0, 0.0]] * 3))


def test_poor_items_pay_more_for_an_active_id() -> None:
    loads = load(torch.ones(2, 3), torch.tensor([0.0, 0.5]))
    torch.testing.assert_close(loads[1], 2 * loads[0])


def test_theta_leaves_the_asked_share_active_over_the_catalogue() -> None:
    richness = torch.rand(5000, generator=torch.Generator().manual_seed(0)) ** 2
    for share in (0.4, 0.6, 0.9):
        sparsity = Sparsity(3, 1e-8, 1.2)
        sparsity.prepare(richness, share)
        targets = sparsity.target(richness)
        assert 1 - targets.mean().item() == pytest.approx(share, abs=1e-4)
        assert targets.max() <= 2 / 3 + 1e-6
        assert targets[richness.argmax()] == targets.min()


def test_the_scale_of_all_behaviour_vectors_does_not_matter() -> None:
    vectors = torch.randn(100, 8)
    found = []
    for scale in (1.0, 10.0):
        richness = Richness()
        found.append(richness.of(richness.prepare(scale * vectors)))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*(alignment_strength(one, 10, 9) for one in found), rtol=1e-3, atol=1e-6)
    assert found[0].min() == 0
    assert found[0].max() == 1


def test_an_item_outside_the_catalogue_s_norms_is_taken_as_its_poorest_or_richest() -> None:
    richness = Richness()
    richness.prepare(torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
    assert richness.of(torch.tensor([0.1, 2.0, 9.0])).tolist() == pytest.approx([0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [
        (functional.normalize(torch.randn(61, 8), dim=1), "must not be L2-normalised"),
        (torch.zeros(61, 0), "needs the behaviour vectors of a sasrec run"),
        (torch.full((61, 8), torch.nan), "not finite"),
    ],
)
def test_behaviour_vectors_without_norms_of_their_own_are_refused(vectors: torch.Tensor, reason: str) -> None:
    data = catalogue(SYSTEM, vectors=vectors)
    with pytest.raises(ValueError, match=reason):
        prepared(SYSTEM, data)


def test_a_share_that_would_close_all_experts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"active_share is 0\.2"):
        Config(behaviour=3, active_share=0.2)


def test_the_loss_has_the_chosen_weights(data: CatalogueData) -> None:
    module = prepared(SYSTEM, data, sparsity_start=0.5)
    x = module.vectors(items(data))
    routed, target = module.routed(module.encode(x)), module.sparsity.target(x.richness)
    sparsity = module.sparsity.loss(routed, target).item()
    value, parts = loss(module, items(data), 0.0)
    expected = 12 * parts["recon"] + parts["align"] + sparsity + module.config.vq_weight * parts["vq"]
    assert value.item() == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.long
def test_training_reaches_the_active_share_and_rich_items_have_more_active_ids() -> None:
    data = catalogue(SYSTEM, num_items=120)
    module = prepared(SYSTEM, data, batch_size=114, hidden=32, latent=16)
    train(SYSTEM, module, data, 300, rate=1e-3)
    with torch.no_grad():
        x = module.vectors(items(data))
        active = module.routed(module.encode(x)) > 0
    assert float(active.float().mean()) == pytest.approx(wanted(module, data.test), abs=0.05)
    assert np.corrcoef(active.sum(1).numpy(), x.richness.numpy())[0, 1] > 0
    loads = active.float().mean(0)
    assert loads.min() > 0.2 * loads.mean()

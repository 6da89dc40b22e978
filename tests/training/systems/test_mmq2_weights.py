"""MMQ-v2's checks: what is exported, decoded and judged, and how its vectors are read."""

import pytest
import torch

from tests.training.systems.tokenizer_models import catalogue, items, prepared
from training.data.catalogue import CatalogueData
from training.layers.tokenizer import catalogue_tokens
from training.loop import predict
from training.servable import Servable
from training.systems.mmq2 import SYSTEM, wanted
from training.systems.mmq2.richness import Sparsity
from training.tasks.semantic_ids import products


@pytest.fixture(scope="module")
def data() -> CatalogueData:
    return catalogue(SYSTEM)


def test_exported_weights_are_ones_for_content_and_the_router_s_over_its_mean_for_behaviour(
    data: CatalogueData,
) -> None:
    module = prepared(SYSTEM, data).eval()
    module.sparsity.active_mean.fill_(0.05)
    routed = module.routed(module.encode(module.vectors(items(data))))
    expected = torch.cat([torch.ones(60, 3), routed / 0.05], dim=1)
    assert len(expected[:, 3:].unique()) > 30
    torch.testing.assert_close(module.tokens(items(data)).weights, expected)
    torch.testing.assert_close(catalogue_tokens(module, data.vectors)[1][1:], expected)
    torch.testing.assert_close(products(module, data)["weights"][1:], expected)
    (served,) = SYSTEM.release(module, module.config, data)
    assert SYSTEM.products is products
    assert isinstance(served, Servable)
    inputs = tuple(getattr(data.vectors, spec.name)[1:] for spec in served.inputs)
    torch.testing.assert_close(served.eager(*inputs)[1], expected)


def test_the_mean_of_active_weights_follows_the_batches_slowly() -> None:
    sparsity = Sparsity(3, 1e-3, 1.2)
    sparsity.adapt(torch.tensor([[0.0, 0.5, 0.1], [0.0, 0.0, 0.0]]), torch.full((2,), 0.4))
    assert sparsity.active_mean.item() == pytest.approx(0.95 * 1 + 0.05 * 0.3)
    sparsity.adapt(torch.zeros(2, 3), torch.full((2,), 0.4))
    assert sparsity.active_mean.item() == pytest.approx(0.95 * 1 + 0.05 * 0.3)


def test_what_is_decoded_and_judged_is_the_weighted_sum_of_the_words(data: CatalogueData) -> None:
    module, batch = prepared(SYSTEM, data).eval(), items(data)
    with torch.no_grad():
        for gate in module.gates:
            gate[2].weight.normal_()
    x = module.vectors(batch)
    encoded = module.encode(x)
    weights, words = encoded.weights, encoded.chosen.words
    assert weights.std() > 0.1
    summed = torch.stack([torch.stack([weights[row, p] * words[row, p] for p in range(6)]).sum(0) for row in range(60)])
    decoded = module.decoder(summed)
    torch.testing.assert_close(module.tokens(batch).decoded, decoded)
    torch.testing.assert_close(module.decode(encoded), decoded, rtol=1e-4, atol=1e-5)
    error = (torch.cat([x.text, x.graph, x.behaviour], dim=1) - decoded).square().sum(1).mean().item()
    assert SYSTEM.measure(module, predict, data.test)["recon_loss"] == pytest.approx(error, rel=1e-4)


def test_the_temperature_is_that_of_the_straight_through_s_gradient(data: CatalogueData) -> None:
    found = {}
    for temperature in (0.1, 1.0):
        module = prepared(SYSTEM, data, temperature=temperature, vq_weight=0.0)
        module.decode(module.encode(module.vectors(items(data)))).square().sum().backward()
        found[temperature] = module.codebooks.words.grad
    assert not torch.allclose(found[0.1], found[1.0], rtol=0.1)


@pytest.mark.parametrize(("bias", "active"), [(-1e3, 0.0), (1e3, 1.0), (None, None)])
def test_what_chooses_the_weights_is_reconstruction_and_ten_times_a_share_too_far_off(
    data: CatalogueData, bias: float | None, active: float | None
) -> None:
    module = prepared(SYSTEM, data).eval()
    if bias is not None:
        with torch.no_grad():
            module.gates[2][2].bias.fill_(bias)
    found = SYSTEM.measure(module, predict, data.test)
    routed = module.tokens(items(data)).weights[:, 3:]
    assert found["active_share"] == pytest.approx((routed > 0).float().mean().item())
    assert active is None or found["active_share"] == active
    too_far = max(0.0, abs(found["active_share"] - wanted(module, data.test)) - 0.04)
    assert found["kept_loss"] == pytest.approx(found["recon_loss"] + 10 * too_far)
    assert SYSTEM.stages_of(module.config)[0].monitor == "kept_loss"


def test_networks_read_behaviour_with_elements_of_size_one_and_reconstruct_its_share_of_the_mean_norm(
    data: CatalogueData,
) -> None:
    module = prepared(SYSTEM, data)
    x, given = module.vectors(items(data)), data.vectors.behaviour[1:]
    root_mean_square = given.square().sum(1).mean().sqrt()
    torch.testing.assert_close(x.behaviour, given / root_mean_square)
    torch.testing.assert_close(module.inputs(x)[2], given / root_mean_square * 8**0.5)
    torch.testing.assert_close(module.target(x), torch.cat([x.text, x.graph, x.behaviour], dim=1))


def test_the_system_chooses_words_by_cosine(data: CatalogueData) -> None:
    module = prepared(SYSTEM, data)
    latents = module.encode(module.vectors(items(data))).latents
    longer = latents * torch.linspace(0.1, 3.0, len(latents))[:, None, None]
    codes = module.codebooks(latents).codes
    assert torch.equal(module.codebooks(longer).codes, codes)
    with torch.no_grad():
        module.codebooks.words.mul_(torch.linspace(0.1, 3.0, module.num_words)[None, :, None])
    assert torch.equal(module.codebooks(latents).codes, codes)


def test_each_modality_s_gates_are_a_softmax_of_its_own_network() -> None:
    data = catalogue(SYSTEM)
    module = prepared(SYSTEM, data, text=2, graph=3)
    with torch.no_grad():
        for gate in module.gates[:2]:
            gate[2].weight.normal_(std=20.0)
    batch = items(data)
    weights = module.weights(module.vectors(batch))
    assert (weights[:, 0] == 1).all()
    torch.testing.assert_close(weights[:, 1:3], torch.softmax(module.gates[0](batch.text), dim=1))
    torch.testing.assert_close(weights[:, 3:6], torch.softmax(module.gates[1](batch.graph), dim=1))
    assert (weights[:, 1:6].std(0) > 0.05).all()

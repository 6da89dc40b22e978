"""MPQ: parallel nearest words, a soft gate, and the printed loss."""

import pytest
import torch

from tests.training.systems.tokenizer_models import catalogue, items, prepared, train
from training.loop import predict
from training.systems.mpq import SYSTEM, vector


def test_each_encoder_takes_the_nearest_word_of_its_own_codebook() -> None:
    data = catalogue(SYSTEM)
    module = prepared(SYSTEM, data)
    batch = items(data)
    latents = module.encoders(vector(batch))
    distances = (latents[:, :, None] - module.codebooks.words[None]).norm(dim=-1)
    nearest = distances.gather(2, module.tokens(batch).codes[:, :, None])[:, :, 0]
    torch.testing.assert_close(nearest, distances.amin(-1), rtol=1e-3, atol=1e-4)


def test_what_is_decoded_is_the_gated_sum_of_the_words() -> None:
    data = catalogue(SYSTEM)
    module, batch = prepared(SYSTEM, data), items(data)
    tokens = module.tokens(batch)
    gates = torch.softmax(module.gate(vector(batch)), dim=1)
    torch.testing.assert_close(gates.sum(1), torch.ones(60))
    words = torch.stack([module.codebooks.words[r][tokens.codes[:, r]] for r in range(4)])
    torch.testing.assert_close(tokens.decoded, module.decoder((gates.T[:, :, None] * words).sum(0)))
    assert torch.equal(tokens.target, torch.cat([batch.text, batch.graph], dim=1))


def test_gates_are_each_item_s_own_also_in_the_loss() -> None:
    data = catalogue(SYSTEM)
    module, batch = prepared(SYSTEM, data), items(data)
    with torch.no_grad():
        module.gate.weight.normal_(std=20.0)
    v, tokens = vector(batch), module.tokens(batch)
    gates = torch.softmax(module.gate(v), dim=1)
    assert (gates.std(0) > 0.1).all()
    words = torch.stack([module.codebooks.words[r][tokens.codes[:, r]] for r in range(4)], dim=1)
    decoded = module.decoder((gates[:, :, None] * words).sum(1))
    error = (v - decoded).square().sum(1).mean().item()
    assert module.loss(batch, 0.0)[1]["recon"].item() == pytest.approx(error, rel=1e-4)
    assert SYSTEM.measure(module, predict, data.test)["recon_loss"] == pytest.approx(error, rel=1e-4)


def test_the_temperature_is_that_of_the_straight_through_s_gradient() -> None:
    data, found = catalogue(SYSTEM), {}
    for temperature in (0.1, 1.0):
        module = prepared(SYSTEM, data, temperature=temperature, vq_weight=0.0)
        module.loss(items(data), 0.0)[0].backward()
        found[temperature] = module.codebooks.words.grad
    assert not torch.allclose(found[0.1], found[1.0], rtol=0.1)


def test_the_loss_is_reconstruction_words_and_orthogonality() -> None:
    data = catalogue(SYSTEM)
    module = prepared(SYSTEM, data, orthogonality=0.5, vq_weight=0.25)
    value, parts = module.loss(items(data), 0.0)
    expected = parts["recon"] + 0.25 * parts["vq"] + 0.5 * parts["ortho"]
    assert value.item() == pytest.approx(float(expected), rel=1e-6)


def test_training_moves_encoders_gate_words_and_decoder() -> None:
    data = catalogue(SYSTEM)
    module = prepared(SYSTEM, data)
    before = {name: value.clone() for name, value in module.named_parameters()}
    train(SYSTEM, module, data, 1)
    assert all(not torch.equal(value, before[name]) for name, value in module.named_parameters())

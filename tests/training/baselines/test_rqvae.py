"""RQ-VAE: each level quantises what the levels before leave over, and a last id tells collisions apart."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.training.systems.tokenizer_models import catalogue, items, prepared, train
from training.baselines.rqvae import SYSTEM, products, tell_apart
from training.layers.residual import sum_of_words
from training.layers.tokenizer import catalogue_tokens


def test_each_level_gets_what_the_levels_before_leave_over() -> None:
    data = catalogue(SYSTEM)
    module = prepared(SYSTEM, data)
    latent = torch.randn(20, module.config.latent)
    found = module.levels(latent)
    left = latent
    for residual, chosen in found:
        torch.testing.assert_close(residual[:, 0], left)
        left = left - chosen.words[:, 0]
    torch.testing.assert_close(sum_of_words(found), latent - left)


def test_the_residual_shrinks_over_the_levels_of_a_trained_model() -> None:
    data = catalogue(SYSTEM)
    module = prepared(SYSTEM, data, batch_size=57)
    train(SYSTEM, module, data, 20)
    batch = items(data)
    latent = module.encoder(torch.cat([batch.text, batch.graph], dim=1))
    norms = [residual.norm(dim=2).mean().item() for residual, _ in module.levels(latent)]
    assert norms == sorted(norms, reverse=True)


def test_each_level_takes_the_nearest_word() -> None:
    data = catalogue(SYSTEM)
    module = prepared(SYSTEM, data)
    for number, (residual, chosen) in enumerate(module.levels(torch.randn(50, module.config.latent))):
        distances = (residual - module.levels[number].words[0]).norm(dim=-1)
        assert torch.equal(chosen.codes[:, 0], distances.argmin(1))


def test_each_level_s_words_start_where_the_levels_before_leave_something_over() -> None:
    data = catalogue(SYSTEM)
    module = prepared(SYSTEM, data, words=8)
    batch = data.train.batch(np.arange(len(data.train)))
    latent = module.encoder(torch.cat([batch.text, batch.graph], dim=1))
    norms = [float((latent - latent.mean(0)).detach().norm(dim=1).mean())]
    for residual, chosen in module.levels(latent):
        norms.append(float((residual - chosen.words).detach().norm(dim=2).mean()))
    assert all(after < 0.9 * before for before, after in pairwise(norms)), norms


def test_the_loss_is_reconstruction_and_each_level_s_words_and_commitment() -> None:
    data = catalogue(SYSTEM)
    module, batch = prepared(SYSTEM, data), items(data)
    target = torch.cat([batch.text, batch.graph], dim=1)
    value, parts = SYSTEM.stages_of(module.config)[0].loss(module, batch, 0.0)
    found = module.levels(module.encoder(target))
    gaps = [(residual - chosen.words).square().sum((1, 2)).mean() for residual, chosen in found]
    decoded = module.decoder(torch.stack([chosen.words[:, 0] for _, chosen in found]).sum(0))
    recon = (target - decoded).square().sum(1).mean()
    torch.testing.assert_close(parts["recon"], recon)
    torch.testing.assert_close(parts["vq"], 1.25 * torch.stack(gaps).sum(), rtol=1e-4, atol=0)
    torch.testing.assert_close(value, parts["recon"] + parts["vq"])
    words = [level.words for level in module.levels]
    gradients = torch.autograd.grad(value, words)
    for level, (residual, chosen) in enumerate(found):
        pulled = torch.zeros_like(words[level][0])
        gap = 2 * (chosen.words - residual)[:, 0].detach() / len(residual)
        torch.testing.assert_close(
            gradients[level][0], pulled.index_add(0, chosen.codes[:, 0], gap), rtol=1e-3, atol=1e-9
        )


def test_equal_ids_are_numbered_by_item_id() -> None:
    codes = torch.tensor([[1, 2], [3, 4], [1, 2], [0, 0], [3, 4], [1, 2]])
    assert tell_apart(codes, 3).tolist() == [0, 0, 1, 0, 1, 2]


def test_more_equal_ids_than_can_be_numbered_are_an_error_with_a_remedy() -> None:
    with pytest.raises(ValueError, match="3 items share the ids of all levels, the last id can number 2; raise"):
        tell_apart(torch.zeros(3, 2, dtype=torch.int64), 2)


def test_products_name_every_item_apart() -> None:
    data = catalogue(SYSTEM)
    module = prepared(SYSTEM, data).eval()
    made = products(module, data)["codes"]
    assert len(np.unique(made[1:].numpy(), axis=0)) == 60
    assert torch.equal(made[:, :3], catalogue_tokens(module, data.vectors)[0])

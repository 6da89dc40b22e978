"""The loss of the generative stage: what it hides, asks for and reads."""

from dataclasses import replace

import numpy as np
import torch

from tests.training.click_views import everything, view
from tests.training.systems.generator_models import SMALL, data, untrained
from training.data.columns import Layout
from training.layers.columns import Features
from training.layers.field_diffusion import drawn, generative_loss, shuffled

TEMPERATURE = SMALL.temperature


def test_the_generative_loss_is_its_tokens_softmaxes_and_labels_written_out() -> None:
    """Each row token by token: a masked field and a hidden label are their masks, some ids of the others are unknown,
    and the values that count are those before that; hidden labels are asked for, shown ones are not."""
    config, module, batch = replace(SMALL, unknown_rate=0.3), untrained(), data().train.batch(np.arange(24))
    embedding, denoiser = module.embedding, module.denoiser
    torch.manual_seed(1)
    noise = drawn((24, 12), config, torch.device("cpu"))
    seen = torch.where(torch.rand(batch.ids.shape) < 0.3, 0, batch.ids)
    assert noise.label.any()
    assert not noise.label.all()
    surprises, entropies = [], []
    for row in range(24):
        vectors = embedding.rows.weight[embedding.offsets + seen[row]]
        fields = [denoiser.masks[k] if noise.masks[row, k] else vectors[k] for k in range(12)]
        token = denoiser.masks[12] if noise.label[row] else denoiser.labels[int(batch.label[row])]
        tokens = torch.stack([one + place for one, place in zip((*fields, token), denoiser.places, strict=True)])[None]
        for block in denoiser.blocks:
            tokens = block(tokens)
        state = denoiser.norm(tokens)[0]
        for k in noise.masks[row].nonzero()[:, 0].tolist():
            first, size = int(embedding.offsets[k]), embedding.sizes[k]
            met = [value for value in range(size) if int(embedding.frequency[first + value])]
            cosines = torch.cosine_similarity(
                (state[k] @ denoiser.field_heads[k])[None], embedding.rows.weight[[first + value for value in met]]
            )
            surprises.append(-torch.log_softmax(cosines / TEMPERATURE, 0)[met.index(int(batch.ids[row, k]))])
        if noise.label[row]:
            logit = denoiser.logit(state[None])[0]
            entropies.append(torch.nn.functional.softplus(logit * (1 - 2 * batch.label[row])))
    torch.manual_seed(1)
    loss, logged = generative_loss(module, batch, config)
    torch.testing.assert_close(
        loss, torch.stack(surprises).mean() + torch.stack(entropies).mean(), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(logged["loss of the label"], torch.stack(entropies).mean(), rtol=1e-4, atol=1e-4)


def test_without_a_label_token_pretraining_does_not_read_the_labels() -> None:
    module, batch = untrained(), data().train.batch(np.arange(100))
    for config, reads in ((SMALL, True), (replace(SMALL, pretraining="fixed"), False)):
        losses = []
        for label in (batch.label, 1 - batch.label):
            torch.manual_seed(0)
            losses.append(generative_loss(module, batch._replace(label=label), config)[0])
        assert torch.equal(*losses) != reads


def test_a_row_whose_label_nobody_knows_says_nothing_of_it() -> None:
    module, batch = untrained(), data().train.batch(np.arange(100))
    unknown = torch.arange(100) % 2 == 0
    label = torch.where(unknown, torch.nan, batch.label)
    torch.manual_seed(0)
    first = generative_loss(module, batch._replace(label=label), SMALL)[0]
    assert first.isfinite()
    none = generative_loss(module, batch._replace(label=torch.full_like(label, torch.nan)), SMALL)
    assert none[1]["loss of the label"] == 0


def test_shuffled_rows_keep_how_often_values_are_and_lose_what_belongs_together() -> None:
    torch.manual_seed(0)
    made = view(everything())
    batch = made.train.batch(np.arange(300))
    x = Features(batch.ids, batch.dense, batch.sets)
    mixed = shuffled(x, Layout(made.features.layout.fields))
    for place in range(x.ids.shape[1]):
        assert torch.equal(x.ids[:, place].sort().values, mixed.ids[:, place].sort().values)
    names = [field.name for field in made.features.layout.fields]
    item, kind = names.index("item_id"), names.index("item_kind")
    pairs, after = ({*zip(one.ids[:, item].tolist(), one.ids[:, kind].tolist(), strict=True)} for one in (x, mixed))
    assert len(after) > 2 * len(pairs)
    tags = next(one for one in made.features.layout.sets if one.place == names.index("item_tags"))
    there = (mixed.sets[:, tags.start : tags.stop] > 0).any(1)
    assert torch.equal(there.long(), mixed.ids[:, tags.place]), "a set stays with the id that says it is there"

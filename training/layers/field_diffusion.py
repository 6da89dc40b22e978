"""Masks over the fields of rows: a diffusion whose last state is the mask, and the loss of what they hide.

Of the fixed Markov chain Q_t = (1 - b_t) I + b_t 1 e_mask^T with b_t = 1 / (T - t + 1), a field is masked after t steps
with probability 1 - prod (1 - b_s) = t / T: masks are drawn from that at once. The chain is absorbing, so that the
network need not know the step (Ou et al., "Your Absorbing Discrete Diffusion Secretly Models the Conditional
Distributions of Clean Data", https://arxiv.org/abs/2406.03736).

Legend: B rows, F fields, T steps.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from training.data.click import ClickBatch
from training.data.columns import Layout
from training.layers.columns import Features
from training.layers.field_generator import FieldGenerator, GeneratorConfig
from training.layers.field_likelihood import field_losses
from training.layers.fields import with_unknown


class Noise(NamedTuple):
    """What a step hides."""

    masks: Bool[Tensor, "B F"]
    label: Bool[Tensor, " B"]


def masked_after(step: Int64[Tensor, " B"], steps: int) -> Float[Tensor, " B"]:
    """lambda(t) = t / T: the probability that a field is masked after so many steps."""
    return step / steps


def drawn(size: tuple[int, int], config: GeneratorConfig, device: torch.device) -> Noise:
    """Masks of B rows of F fields."""
    rows, fields = size
    if config.pretraining == "fixed":
        rate, shown = torch.full((rows,), config.mask_rate, device=device), 0.0
    else:
        step = torch.randint(1, config.diffusion_steps + 1, (rows,), device=device)
        rate, shown = masked_after(step, config.diffusion_steps), config.label_rate
    masks = torch.rand(rows, fields, device=device) < rate[:, None]
    return Noise(masks, torch.rand(rows, device=device) >= shown)


def generative_loss(
    module: FieldGenerator, batch: ClickBatch, config: GeneratorConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean of -log p over the masked fields, and the cross-entropy of hidden labels; NaN is one that nobody knows."""
    x = Features(batch.ids, batch.dense, batch.sets)
    if config.shuffled:
        x = shuffled(x, Layout(module.embedding.fields))
    noise = drawn((len(x.ids), module.num_fields), config, x.ids.device)
    seen = x._replace(ids=with_unknown(x.ids, config.unknown_rate))
    label = torch.where(noise.label, torch.nan, batch.label)
    generator = module.generator
    states = generator.states(module.masked(module.embedding(seen), noise.masks), label)
    found = field_losses(module.embedding, x, generator.directions(states), noise.masks, config.temperature)
    weights = generator.log_weights
    loss = found.overall if weights is None else found.balanced(weights)
    names = [field.name for field in module.embedding.fields]
    logged = {f"loss of {name}": value for name, value in zip(names, found.mean.detach(), strict=True)}
    if config.pretraining == "diffusion":
        asked = noise.label & ~batch.label.isnan()
        entropy = nn.functional.binary_cross_entropy_with_logits(
            generator.logit(states)[asked], batch.label[asked], reduction="sum"
        )
        loss = loss + entropy / asked.sum().clamp(min=1)
        logged["loss of the label"] = entropy.detach() / asked.sum().clamp(min=1)
    return loss, {"loss": loss.detach(), **logged}


def shuffled(x: Features, layout: Layout) -> Features:
    """Each field in an order of rows of its own: as often as before has it each value, and no two belong together."""
    ids, dense, sets = (part.clone() for part in x)
    for place in range(ids.shape[1]):
        order = torch.randperm(len(ids), device=ids.device)
        ids[:, place] = ids[order, place]
        if place in layout.dense:
            number = layout.dense.index(place)
            dense[:, number] = dense[order, number]
        for one in layout.sets:
            if one.place == place:
                sets[:, one.start : one.stop] = sets[order, one.start : one.stop]
    return Features(ids, dense, sets)

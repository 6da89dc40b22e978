"""LREA: Low-Rank Efficient Attention on Modeling Long-Term User Behaviors for CTR Prediction.

Song et al., Alibaba International, SIGIR 2025 (short), https://arxiv.org/abs/2503.02542

Only the abstract and public summaries were at hand. They state: compression of the history along its length with
compress and decompress matrices, rank much smaller than the length, a non-negativity loss that keeps the attention
nonlinear, serving by matrix absorption from a prestored user state. Reconstructed: ReLU as the nonlinearity, the
low-rank chain of `attention`. Our design: the learned bias, the scale-free form of the loss and its warm-up, pooling
over geometric segments as the start of W_dn and W_up, the adaptive variant, the stamp, all sizes, the final network.

Differs from the paper: unknown where the paper could not be read; no GPU memory holds the state, LMDB does.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from training.data.click import HISTORY, ClickBatch, ClickSplit
from training.system import Column, Predict, Stage, System
from training.systems.lrea.model import LREA, Config, lrea_loss, non_negativity_weight
from training.systems.lrea.servables import servables
from training.tasks.click import CLICK, measures, quality


def stages(config: Config) -> tuple[Stage, ...]:
    """One stage, end to end, with the non-negativity loss warmed up."""

    def loss(module: nn.Module, batch: ClickBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
        return lrea_loss(module, batch, non_negativity_weight(config, done))

    return (replace(CLICK.stage(config), loss=loss),)


class Diagnosis(nn.Module):
    """Per sample: logit of the training form, logit without ReLU, negative and whole mass of the attention."""

    def __init__(self, model: LREA) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: ClickBatch) -> Tensor:
        prediction = self.model.predict(batch)
        linear = self.model.predict(batch, linear=True)
        masked = prediction.scores * prediction.mask[:, None, :]
        negative, whole = torch.relu(-masked).sum((1, 2)), masked.abs().sum((1, 2))
        return torch.stack([prediction.logits, linear.logits, negative, whole], dim=1)


def evaluate(model: LREA, predict: Predict, split: ClickSplit) -> dict[str, float]:
    """Quality of the training form and of the served form, and the share of negative attention mass."""
    trained, served, negative, whole = predict(Diagnosis(model), split).T
    served_quality = {f"served_{name}": value for name, value in quality(split, served).items()}
    return {**measures(split, trained), **served_quality, "negative_share": float(negative.sum() / whole.sum())}


SYSTEM = System(
    name="lrea",
    title="LREA: low-rank efficient attention",
    paper="https://arxiv.org/abs/2503.02542",
    provenance="states: low rank, non-negativity loss, absorption; reconstructed: ReLU, the chain; "
    "our design: bias, scale-free loss, segments, adaptive slots, sizes",
    task=CLICK,
    config=Config,
    baseline="din",
    controls=("mean_pooling", "recency_pooling", "din_ages"),
    quick={"rank": 4, "max_length": 12},
    build=LREA,
    reads=frozenset({HISTORY}),
    stages=stages,
    evaluate=evaluate,
    columns=(Column(title="served AUC", metric="served_auc"),),
    served=servables,
)

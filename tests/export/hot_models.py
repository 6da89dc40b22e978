"""A scorer with a hot op: candidates against the prestored product of each user, in both forms."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from export.kinds import kernel_forms
from kernels.low_rank_attention import absorbed_attention
from tests.export.models import CANDIDATES, NUM_ITEMS, OFFSETS, SCORES, known, scorer_example
from training.servable import KernelServable, Packed, Servable, TensorSpec, servable

WIDTH = 8
PRODUCT = TensorSpec(name="product", dtype="float32", shape=(WIDTH, WIDTH))
BIAS = TensorSpec(name="bias", dtype="float32", shape=(WIDTH,))


class HotScorer(nn.Module):
    """Sum of each candidate's interest, out of its user's product and bias."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(NUM_ITEMS + 1, WIDTH)

    def forward(
        self,
        candidates: Int[Tensor, " C"],
        candidate_offsets: Int[Tensor, " B"],
        product: Float[Tensor, "B 8 8"],
        bias: Float[Tensor, "B 8"],
    ) -> Float[Tensor, " C"]:
        return absorbed_attention(self.items(known(candidates)), candidate_offsets, product, bias).sum(-1)


def hot_example(batch_size: int, seed: int) -> Packed:
    _, candidates, ends = scorer_example(batch_size, seed)
    generator = torch.Generator().manual_seed(seed)
    product = torch.randn(batch_size, WIDTH, WIDTH, generator=generator)
    return candidates, ends, product, torch.randn(batch_size, WIDTH, generator=generator)


def hot_model(name: str = "hot") -> Servable:
    torch.manual_seed(4)
    return servable(
        name=name,
        module=HotScorer(),
        inputs=(CANDIDATES, OFFSETS, PRODUCT, BIAS),
        outputs=(SCORES,),
        example=hot_example,
        max_batch_size=16,
    )


def hot_release() -> tuple[Servable, KernelServable]:
    """The scorer in both forms, in the order of publishing."""
    scorer = hot_model()
    (kernel_form,) = kernel_forms((scorer,))
    return scorer, kernel_form


def hot_factory() -> tuple[Servable]:
    """The scorer alone, as a user's own module would offer it."""
    return (hot_model(),)

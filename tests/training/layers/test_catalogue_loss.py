"""Cross-entropy over the whole catalogue is torch's own."""

import torch
from torch.nn import functional

from training.layers.catalogue_loss import catalogue_cross_entropy


def test_blocked_cross_entropy_equals_the_one_of_torch_with_its_gradients() -> None:
    torch.manual_seed(0)
    states, items = torch.randn(150, 8).double().requires_grad_(), torch.randn(40, 8).double().requires_grad_()
    targets = torch.randint(0, 40, (150,))
    plain = functional.cross_entropy(states @ items.T, targets)
    ours = catalogue_cross_entropy(states, items, targets)
    expected = torch.autograd.grad(3 * plain, (states, items))
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(torch.autograd.grad(3 * ours, (states, items)), expected)

"""Writes the weights of both models: `python -m shop.train`."""

from collections.abc import Callable

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, nll_loss

from shop import data, topics, two_tower


def fit(module: nn.Module, loss: Callable[[], Tensor]) -> nn.Module:
    """Minimises the loss in 200 steps."""
    optimiser = torch.optim.Adam(module.parameters(), lr=0.05, weight_decay=1e-4)
    for _ in range(200):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    return module


def main() -> None:
    """Trains on the training day."""
    torch.manual_seed(0)
    user, items, clicked = map(torch.from_numpy, data.clicks(data.TRAINING, 2000))
    scorer = two_tower.TwoTower()
    save_file(fit(scorer, lambda: cross_entropy(scorer(user, items), clicked)).state_dict(), two_tower.WEIGHTS)
    words, topic = map(torch.from_numpy, data.titles(data.TRAINING, 2000))
    reader = topics.Topics()
    save_file(fit(reader, lambda: nll_loss(reader(words).log(), topic)).state_dict(), topics.WEIGHTS)


if __name__ == "__main__":
    main()

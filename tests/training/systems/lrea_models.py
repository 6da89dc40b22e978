"""Small LREAs on planted clicks: untrained, trained for some steps, and their releases."""

import numpy as np
import torch

from tests.training.click_views import histories
from training.data.click import ClickData
from training.servable import Signature
from training.systems.lrea import LREA, Config, lrea_loss, servables

LENGTH = 16
SMALL = Config(dim=8, heads=2, rank=4, max_length=LENGTH, hidden=(8, 4), dropout=0.0)


def data() -> ClickData:
    return histories(LENGTH)


def model(config: Config = SMALL, seed: int = 0) -> LREA:
    torch.manual_seed(seed)
    built = LREA(config, data().schema)
    built.prepare(data())
    with torch.no_grad():
        built.bias.copy_(torch.randn(config.heads))
    return built.eval()


def attentive(config: Config) -> LREA:
    """With attention so large, of both signs, that much would change if it were computed otherwise."""
    built = model(config)
    with torch.no_grad():
        for part in (built.query, built.key, built.value):
            part.weight.mul_(8)
    return built


def released(config: Config) -> dict[str, Signature]:
    release = servables("lrea", attentive(config), config, histories(config.max_length))
    return {signature.name: signature for signature in release}


def train(config: Config, *, hinge: bool = False, steps: int = 150) -> LREA:
    """A short training on the planted set, with the scale-free loss or with the plain hinge."""
    built = model(config).train()
    with torch.no_grad():
        built.bias.zero_()
    optimiser = torch.optim.Adam(built.parameters(), lr=1e-2)
    random = np.random.default_rng(0)
    for _ in range(steps):
        batch = data().train.batch(random.integers(0, len(data().train), 128))
        loss, _ = lrea_loss(built, batch, 0.0 if hinge else config.non_negativity)
        if hinge:
            prediction = built.predict(batch)
            loss = loss + 50 * (torch.relu(-prediction.scores) * prediction.mask[:, None]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return built.eval()

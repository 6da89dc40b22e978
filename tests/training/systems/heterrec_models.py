"""Small HeterRecs on planted walks."""

from functools import cache

import torch

from training.data.sequences import CONTENT, SequenceData, sequences
from training.data.synthetic_sequences import synthetic_sequences
from training.system import Wanted
from training.systems.heterrec import Config, HeterRec

SMALL = Config(max_length=12, dim=16, steps=3)


@cache
def data() -> SequenceData:
    return sequences(synthetic_sequences(), Wanted(frozenset({CONTENT}), SMALL.max_length, {}))


def model(config: Config = SMALL, view: SequenceData | None = None) -> HeterRec:
    """Weights from a fixed seed, and no layer that adds tokens up, as those of a new model do; in evaluation."""
    torch.manual_seed(0)
    found = HeterRec(config, (view or data()).schema)
    found.prepare(view or data())
    for layer in (found.merge, found.of_item, found.of_user):
        layer.reset_parameters()
    return found.eval()


def by_hand(of: HeterRec, tokens: torch.Tensor) -> torch.Tensor:
    """States [L, d] of one history [L, m, d], with masks written out and every place alone."""
    length, number, _ = tokens.shape
    x = (tokens + of.positions.weight[:length, None]).flatten(0, 1)
    place = torch.arange(length).repeat_interleave(number)
    for block in of.token_blocks:
        if of.config.mask == "block":
            sees = place <= place[:, None]
        else:
            sees = torch.ones(len(place), len(place)).tril().bool()
        x = block(x[None], torch.where(sees, 0.0, -torch.inf))[0]
    x = of.merge(of.token_norm(x).reshape(length, -1))
    for block in of.item_blocks:
        x = block(x[None], torch.where(torch.ones(length, length).tril().bool(), 0.0, -torch.inf))[0]
    return torch.nn.functional.normalize(of.of_user(of.item_norm(x)), dim=1)
